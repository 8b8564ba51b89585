"""What each write of a leader is in Redis: the script, what it is told, and what its reply means."""

from __future__ import annotations

import time
from typing import Any

from pymr.control.stored_state import (
    BeginAttempt,
    BeginCycle,
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    LeaveQueue,
    ReleaseTasks,
    SavePlan,
    Write,
)
from pymr.peer.store import encoding as records
from pymr.peer.store import scripts
from pymr.peer.store.encoding import Argument

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def script_of(write: Write, token: str) -> tuple[str, list[Argument]]:
    """The script that does it, and its arguments. token: the same for a write that is asked for again."""
    match write:
        case BeginCycle(ended):
            return scripts.BEGIN_CYCLE, [ended]
        case LeaveQueue(job_name, job_version):
            return scripts.LEAVE_QUEUE, [job_name, job_version]
        case BeginRun(job_name, job_version, opens_cycle):
            ordinal = time.clock_gettime_ns(_BOOT_CLOCK) // 1000
            return scripts.BEGIN_RUN, [job_name, job_version, ordinal, int(opens_cycle)]
        case BeginAttempt(run_id, task):
            return scripts.BEGIN_ATTEMPT, [run_id, task, token]
        case SavePlan(run_id, plan):
            return scripts.SAVE_PLAN, [run_id, records.encode(plan)]
        case CommitTasks(run_id, tasks):
            arguments: list[Argument] = [run_id]
            for done in tasks:
                arguments += [done.id.task, done.id.attempt, records.encode_committed(done)]
            return scripts.COMMIT_TASKS, arguments
        case ReleaseTasks(run_id, ids, void):
            arguments = [run_id, len(ids)]
            for identity in ids:
                arguments += [identity.task, identity.attempt]
            for task, number in void.items():
                arguments += [task, number]
            return scripts.RELEASE_TASKS, arguments
        case BeginPublication(run_id):
            return scripts.BEGIN_PUBLICATION, [run_id]
        case EndRun():
            return scripts.END_RUN, records.ending(write)


def outcome_of(write: Write, reply: list[Any]) -> Any:
    """The outcome of a write, as its type says."""
    match write:
        case BeginCycle() | BeginAttempt():
            return int(reply[0])
        case BeginRun():
            return records.decode_run(reply[0]).record() if reply else None
        case LeaveQueue() | SavePlan() | BeginPublication():
            return bool(reply[0])
        case CommitTasks():
            return tuple(attempt.decode() for attempt in reply)
        case ReleaseTasks():
            return True
        case EndRun():
            return records.decode_ended_run(reply[0]).record()
