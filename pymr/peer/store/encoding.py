"""How records look as bytes in Redis: what Python encodes and Lua never looks into, and what Lua assembles.

The layouts of the Stored structs are those of `packed_job`, `packed_run`, `packed_ended` in `lua/lib`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from pymr.control.counted_runs import counting_of, is_counted
from pymr.control.stored_state import Committed, EndRun, Event, JobRecord, JobState, RunPlan, RunRecord
from pymr.wire.outcomes import MapOutcome
from pymr.wire.rows import JobStatus, RunStatus

REASON_CHARACTERS_MAX = 500
"""Longest part of an exception that all the jobs of a group are told of."""

Argument = str | bytes | int
"""What a script may be given."""


class Definition(msgspec.Struct, frozen=True, array_like=True):
    """The part of a job that no script looks into."""

    fields: dict[str, Any]
    project_hash: str


class StoredJob(msgspec.Struct, frozen=True, array_like=True):
    """A job as Redis has it: "" and 0 stand for none."""

    name: str
    version: int
    change: int
    submitted_at: float
    status: JobStatus
    run_id: str
    first_run_id: str
    first_run_status: RunStatus | str
    start_time: float
    end_time: float
    cycle: int
    seconds: float
    outdated: str = ""  # two numbers

    def record(self, definition: Definition, exception: str) -> JobRecord:
        return JobRecord(
            name=self.name,
            version=self.version,
            change=self.change,
            fields=definition.fields,
            project_hash=definition.project_hash,
            submitted_at=self.submitted_at,
            status=self.status,
            first_run_id=self.first_run_id or None,
            first_run_status=self.first_run_status or None,  # type: ignore[arg-type]  # written by an EndRun
            run_id=self.run_id or None,
            start_time=self.start_time or None,
            end_time=self.end_time or None,
            exception=exception or None,
            cycle=self.cycle,
            seconds=self.seconds or None,
            outdated=_outdated(self.outdated),
        )


class StoredRun(msgspec.Struct, frozen=True, array_like=True):
    """An active run as Redis has it."""

    run_id: str
    job_name: str
    job_version: int
    epoch: int
    status: RunStatus
    start_time: float
    definition: Definition
    plan: RunPlan | None

    def record(self) -> RunRecord:
        return RunRecord(
            run_id=self.run_id,
            job_name=self.job_name,
            job_version=self.job_version,
            fields=self.definition.fields,
            project_hash=self.definition.project_hash,
            epoch=self.epoch,
            status=self.status,
            start_time=self.start_time,
            plan=self.plan,
        )


class EndedRun(msgspec.Struct, frozen=True, array_like=True):
    """A run that has ended: as its leader gave it, and when that was by the clock of Redis."""

    given: RunRecord
    end_time: float

    def record(self) -> RunRecord:
        return msgspec.structs.replace(self.given, end_time=self.end_time)


encode = msgspec.msgpack.Encoder().encode
_decode_job = msgspec.msgpack.Decoder(StoredJob).decode
_decode_definition = msgspec.msgpack.Decoder(Definition).decode
decode_run = msgspec.msgpack.Decoder(StoredRun).decode
decode_runs = msgspec.msgpack.Decoder(list[StoredRun]).decode
decode_ended_run = msgspec.msgpack.Decoder(EndedRun).decode
decode_ended_runs = msgspec.msgpack.Decoder(list[EndedRun]).decode
_decode_state = msgspec.msgpack.Decoder(JobState).decode


def told(event: Event | None) -> bytes:
    """An event that a script is to tell with what it does; nothing for None."""
    return b"" if event is None else encode(event)


decode_event = msgspec.msgpack.Decoder(Event).decode
_decode_committed = msgspec.msgpack.Decoder(Committed).decode


def changed_jobs(reply: Sequence[bytes]) -> tuple[JobRecord, ...]:
    """The jobs in a reply of three texts each: packed, definition, exception."""
    parts = zip(reply[::3], reply[1::3], reply[2::3], strict=True)
    return tuple(
        _decode_job(packed).record(_decode_definition(definition), exception.decode())
        for packed, definition, exception in parts
    )


def all_jobs(
    packed: Sequence[bytes], definitions: Mapping[bytes, bytes], exceptions: Mapping[bytes, bytes]
) -> tuple[JobRecord, ...]:
    """The jobs of a whole table, whose texts are found by their names."""
    jobs = []
    for job in map(_decode_job, packed):
        name = job.name.encode()
        definition = _decode_definition(definitions[name])
        jobs.append(job.record(definition, exceptions.get(name, b"").decode()))
    return tuple(jobs)


def encode_committed(task: Committed) -> bytes:
    """`ATTEMPT DIGEST ` and the rest: the two that scripts compare come first, as text."""
    digest = task.outcome.digest if isinstance(task.outcome, MapOutcome) else ""
    return f"{task.id.attempt} {digest} ".encode() + encode(task)


def decode_committed(stored: bytes) -> Committed:
    return _decode_committed(stored.split(b" ", 2)[2])


def submission(fields: Mapping[str, Any], project_hash: str) -> list[Argument]:
    """What the script that submits is told of a job: name, definition, project hash, run_once, group,
    priority."""
    definition = encode(Definition(dict(fields), project_hash))
    name, run_once = str(fields["job_name"]), _run_once(fields)
    return [name, definition, project_hash, run_once, _group(fields), _priority(fields)]


def ending(write: EndRun) -> list[Argument]:
    """What the script that ends a run is told: id, status, exception, that of its group, record, state, and
    how many runs of its job are outdated in a row."""
    record, state = write.record, state_to_keep(write)
    return [
        record.run_id,
        record.status,
        record.exception or "",
        group_failure(record),
        encode(record),
        encode(state) if state is not None else "",
        " ".join(map(str, write.outdated)) if any(write.outdated) else "",
    ]


def group_failure(run: RunRecord) -> str:
    """Why the other jobs of a run's group have failed with it."""
    group = _group(run.fields)
    reason = (run.exception or "").partition("\n")[0][:REASON_CHARACTERS_MAX]
    again = f"`pymr retry {group}` queues all of it again"
    return f"the job {run.job_name} of its group {group} failed: {reason}; {again}"


def state_to_keep(write: EndRun) -> JobState | None:
    """The state that the end of a run leaves: what it made counts if it succeeded, else only what it tore, or
    that it does not count."""
    state, record = write.state, write.record
    if state is None or record.status == "succeeded" or state.torn == record.run_id:
        return state
    return None if is_counted(record.run_id, counting_of(replace(state, shown=record.run_id))) else state


def decode_states(stored: Mapping[bytes, bytes]) -> dict[str, JobState]:
    return {name.decode(): _decode_state(state) for name, state in stored.items()}


def recovered_states(states: Mapping[str, JobState]) -> list[Argument]:
    """What the script that recovers is told of states: how many, then each name and its state."""
    arguments: list[Argument] = [len(states)]
    for name, state in states.items():
        arguments += [name, encode(state)]
    return arguments


def recovered_jobs(jobs: Sequence[JobRecord]) -> list[Argument]:
    """What the script that recovers is told: of each job all but its texts. What ran is queued again."""
    arguments: list[Argument] = []
    for job in jobs:
        is_lost = job.status == "running"
        has_first_run = job.first_run_status is not None
        arguments += [
            job.name,
            job.version,
            _seconds(job.submitted_at),
            "queued" if is_lost else job.status,
            job.first_run_id or "" if has_first_run else "",
            job.first_run_status or "",
            "" if is_lost else _seconds(job.start_time),
            _seconds(job.end_time),
            _run_once(job.fields),
            job.project_hash,
            0 if is_lost else job.cycle,
            _seconds(job.seconds),
            _group(job.fields),
            _priority(job.fields),
        ]
    return arguments


def recovered_texts(jobs: Sequence[JobRecord]) -> dict[str, list[tuple[str, bytes]]]:
    """By hash, what is to be in it: name of a job and text."""
    return {
        "definitions": [(job.name, encode(Definition(job.fields, job.project_hash))) for job in jobs],
        "exceptions": [(job.name, job.exception.encode()) for job in jobs if job.exception],
    }


def submitted(outcome: bytes, fields: Mapping[str, Any], project_hash: str) -> tuple[JobRecord, bool]:
    """The job that a script has queued, by its outcome, and whether it replaced one."""
    version, change, submitted_at, replaced, *seconds = outcome.split()
    record = JobRecord(
        name=str(fields["job_name"]),
        version=int(version),
        change=int(change),
        fields=dict(fields),
        project_hash=project_hash,
        submitted_at=float(submitted_at),
        seconds=float(seconds[0]) if seconds else None,
    )
    return record, replaced == b"1"


def submitter(definition: bytes) -> str:
    """Who submitted a job; "" where that is not known, or there is none."""
    return str(_decode_definition(definition).fields.get("job_submitter") or "") if definition else ""


def _outdated(stored: str) -> tuple[int, int]:
    changed, _, grown = stored.partition(" ")
    return (int(changed), int(grown)) if grown else (0, 0)


def _run_once(fields: Mapping[str, Any]) -> str:
    return "1" if fields.get("run_once") else ""


def _group(fields: Mapping[str, Any]) -> str:
    return str(fields.get("group_name") or "")


def _priority(fields: Mapping[str, Any]) -> int:
    return int(fields.get("job_priority") or 0)


def _seconds(time: float | None) -> str:
    return "" if time is None else f"{time:.6f}"
