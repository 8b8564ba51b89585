"""The schema of the keys in Redis, and the Lua scripts that change them, from the files in `lua/`.

Nothing is ever popped: one call moves a thing from one state to the next. Used by
`pymr.peer.store.store` only.

Keys, each below `pymr:CLUSTER:`. Needs Redis 6.2, and no Redis Cluster, as scripts put keys together.

    incarnation      string  id of this life of the cluster's state; missing in a Redis that forgot
    replaces         list    the incarnations before it, the latest first
    epoch            string  number of the latest leadership; only ever rises
    lease            string  `EPOCH BOOT PEER` of the leader; expires (see lease.py)
    peers            set     names of peers that were ever present
    presence:PEER    string  boot of a peer that is present; expires
    paused           string  "1" while no runs are to be started
    counters         hash    change, version, run: the last numbers given; trimmed: highest change of the
                             tombstones dropped; begin_epoch, begin_ordinal: of the last run begun; cycle,
                             cycle_began_at: of the present one
    job:NAME         hash    version change submitted_at status run_id first_run_id first_run_status
                             start_time end_time run_once project_hash cycle seconds group priority
                             outdated; "": none
    definitions      hash    name of each job in the table -> opaque Definition
    exceptions       hash    name of each job that has failed -> why
    group:NAME       set     names of the jobs in the table that have this group_name
    failed:NAME      set     those of them that have failed
    packed_jobs      hash    name of each job in the table -> most of job:NAME as msgpack, for quick reading
    changes          zset    name of each job in the table -> number of its last change
    tombstones       zset    name of a job that left the table -> number of that change
    deleted:NAME     hash    job:NAME as it was when somebody deleted it, and its definition; expires
    deleted          zset    name of each of those -> the last change before it left; those that have expired
                             stay in it until newer ones need their place, or it expires itself
    request:INCARNATION:ID   string  outcome of a console's request; expires
    package:HASH     string  a project, zipped; expires a day after it was last asked for unless a job uses it
    package_uses     hash    package -> number of jobs in the table that use it
    active           set     ids of the runs that have not ended
    run:ID           hash    job_name job_version epoch status start_time; until it ends, definition and plan:
                             opaque; then end_time, and record: opaque
    tasks:ID         hash    of an active run: task -> `ATTEMPT DIGEST ` and the opaque Committed
    released:ID      hash    of an active run: map task -> digest of its output that was lost;
                             step -> number of its last attempt that may have read what was lost
    attempts:ID      hash    of an active run: step -> `NUMBER TOKEN` of its last attempt, and of who asked
    states           hash    name of a job with hold_state, or that adds to its output -> opaque JobState of
                             its last run that succeeded; it stays when the job leaves the table. Also of a
                             job whose output a run has torn, or a peer has not yet shown
    states_changes   zset    name of each of those -> number of the change that set it
    history          zset    id of each run that has ended -> its start_time
    history:NAME     zset    the same for one job
    events           stream  `event`: opaque; capped
    events_token     string  of the last batch of events added

No script touches the long texts of many jobs: Lua 5.1 looks at every 32nd character of a text of 1,000 to
tell it from others, so that 10,000 jobs that differ by little but their names took 0.6 s and more, with Redis
standing still. They have hashes of their own, which are read and written as they are, in one transaction with
the script: see Store.changes, Store.recover.
What is opaque was encoded as msgpack by `encoding`; replies are assembled from it without decoding.
A script's ARGV: prefix of keys, incarnation ("" for any), epoch of a leader ("" for others), the highest
epoch and the last change of that incarnation that the peer knows of, then its own, which it finds in
`arguments`. It answers {'ok', ...}, {'forgot', incarnation, epoch} or {'stale', epoch}.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from pymr.wire.requests import UNDELETE_SECONDS


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the past is kept. Higher: more memory in Redis.

    tombstones: a peer that missed more deletions than these reads the whole table. deleted_jobs: so many can
    be put back, those deleted last. package_seconds: at least undelete_seconds, as a job that is put back
    needs its project. Others: see their names.
    """

    tombstones: int = 10_000
    history_runs: int = 10_000
    events: int = 10_000
    request_seconds: int = 86_400
    package_seconds: int = 86_400
    deleted_jobs: int = 1_000
    undelete_seconds: int = int(UNDELETE_SECONDS)


DEFAULT_LIMITS = Limits()


def script_text(body: str, limits: Limits) -> str:
    """A whole script: what all of them begin with, and its body."""
    constants = (
        f"local TOMBSTONES_MAX, HISTORY_MAX, EVENTS_MAX = "
        f"{limits.tombstones}, {limits.history_runs}, {limits.events}\n"
        f"local REQUEST_SECONDS, PACKAGE_SECONDS = {limits.request_seconds}, {limits.package_seconds}\n"
        f"local DELETED_MAX, UNDELETE_SECONDS = {limits.deleted_jobs}, {limits.undelete_seconds}\n"
    )
    return constants + _LIBRARY + body


def _lua(*names: str) -> str:
    """The texts of these files, one after the other."""
    folder = files(__package__) / "lua"
    return "\n".join((folder / f"{name}.lua").read_text() for name in names)


_LIBRARY = _lua("lib/fence", "lib/events", "lib/numbers", "lib/jobs", "lib/groups", "lib/runs")

# Jobs, packages, and what a peer that begins has to know: for every peer.
CHANGES = _lua("jobs/changes")
SUBMIT = _lua("lib/queue_job", "jobs/submit")
DELETE = _lua("jobs/delete")
UNDELETE = _lua("lib/queue_job", "jobs/undelete")
RETRY = _lua("jobs/retry")
FORCE = _lua("jobs/force")
PAUSE = _lua("jobs/pause")
PUT_PACKAGE = _lua("jobs/put_package")
HAS_PACKAGE = _lua("jobs/has_package")
RECOVER = _lua("jobs/recover")
INCARNATION = _lua("jobs/incarnation")
PRESENT = _lua("jobs/present")

# Cycles, runs and their tasks, history, events: for the leader.
BEGIN_CYCLE = _lua("runs/begin_cycle")
LEAVE_QUEUE = _lua("runs/leave_queue")
BEGIN_RUN = _lua("runs/begin_run")
BEGIN_ATTEMPT = _lua("runs/begin_attempt")
SAVE_PLAN = _lua("runs/save_plan")
COMMIT_TASKS = _lua("runs/commit_tasks")
RELEASE_TASKS = _lua("runs/release_tasks")
BEGIN_PUBLICATION = _lua("runs/begin_publication")
END_RUN = _lua("runs/end_run")
ACTIVE_RUNS = _lua("runs/active_runs")
HISTORY = _lua("runs/history")
ADD_EVENTS = _lua("runs/add_events")

# The lease and presence, which need none of the library: ARGV[1] is the prefix of all keys.
LOOK_AT_LEASE = _lua("lease/look")
RENEW_LEASE = _lua("lease/renew")
RELEASE_LEASE = _lua("lease/release")
SET_PRESENCE = _lua("lease/presence")
