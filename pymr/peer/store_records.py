"""How records look as bytes in Redis: what Python encodes and Lua never looks into, and what Lua assembles.

The layouts of the Stored structs are those of `packed_job`, `packed_run`, `packed_ended` in store_scripts.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from pymr.control.records import Committed, Event, JobRecord, RunPlan, RunRecord
from pymr.protocol import MapOutcome
from pymr.rows import JobStatus, RunStatus

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
    exception: str
    definition: Definition

    def record(self) -> JobRecord:
        return JobRecord(
            name=self.name,
            version=self.version,
            change=self.change,
            fields=self.definition.fields,
            project_hash=self.definition.project_hash,
            submitted_at=self.submitted_at,
            status=self.status,
            first_run_id=self.first_run_id or None,
            first_run_status=self.first_run_status or None,  # type: ignore[arg-type]  # written by an EndRun
            run_id=self.run_id or None,
            start_time=self.start_time or None,
            end_time=self.end_time or None,
            exception=self.exception or None,
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
decode_jobs = msgspec.msgpack.Decoder(list[StoredJob]).decode
decode_run = msgspec.msgpack.Decoder(StoredRun).decode
decode_runs = msgspec.msgpack.Decoder(list[StoredRun]).decode
decode_ended_run = msgspec.msgpack.Decoder(EndedRun).decode
decode_ended_runs = msgspec.msgpack.Decoder(list[EndedRun]).decode
decode_event = msgspec.msgpack.Decoder(Event).decode
_decode_committed = msgspec.msgpack.Decoder(Committed).decode


def encode_committed(task: Committed) -> bytes:
    """`ATTEMPT DIGEST ` and the rest: the two that scripts compare come first, as text."""
    digest = task.outcome.digest if isinstance(task.outcome, MapOutcome) else ""
    return f"{task.id.attempt} {digest} ".encode() + encode(task)


def decode_committed(stored: bytes) -> Committed:
    return _decode_committed(stored.split(b" ", 2)[2])


def submission(fields: Mapping[str, Any], project_hash: str) -> list[Argument]:
    """What the script that submits is told of a job: name, definition, project hash, run_once."""
    definition = encode(Definition(dict(fields), project_hash))
    return [str(fields["job_name"]), definition, project_hash, _run_once(fields)]


def recovered_jobs(jobs: Sequence[JobRecord]) -> list[Argument]:
    """What the script that recovers is told: of each job all it is to write. What ran is queued again."""
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
            job.exception or "",
            _run_once(job.fields),
            job.project_hash,
            encode(Definition(job.fields, job.project_hash)),
        ]
    return arguments


def _run_once(fields: Mapping[str, Any]) -> str:
    return "1" if fields.get("run_once") else ""


def _seconds(time: float | None) -> str:
    return "" if time is None else f"{time:.6f}"
