"""Attempts at tasks, and how they end. Part of `protocol`."""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from xxhash import xxh3_64_hexdigest

DRIVER = "driver"
"""The kind of the one task of a run whose other tasks an external engine does: it drives that."""

INCOMPARABLE = "~"
"""Begins a digest that may differ for equal items: see engine.shuffler.CUT_BY_MEMORY."""

_ADDRESSES = re.compile(r"\b0x[0-9a-f]+")  # of objects, which are others in each process


class AttemptId(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One attempt at one task, `map-00012` or `reduce-00003`; or at a step on one peer, such as `copy-00000`.
    attempt: `EPOCH.N`, unique in its task; N of a step counts its attempts under all leaders."""

    run_id: str
    task: str
    attempt: str

    @property
    def folder(self) -> str:
        """The name of the attempt's folder below that of its run."""
        return f"{self.task}-{self.attempt}"

    @property
    def kind(self) -> str:
        """`map`, `reduce`, DRIVER or one of STEPS."""
        return self.task.rpartition("-")[0]

    @property
    def is_map(self) -> bool:
        """Whether it is of a map task."""
        return self.task.startswith("map-")

    @property
    def number(self) -> int:
        """Which of the tasks of its kind its task is; of a reduce task, the partition."""
        return int(self.task.rpartition("-")[2])

    @property
    def try_number(self) -> int:
        """The N of EPOCH.N."""
        return int(self.attempt.rpartition(".")[2])


class MapOutcome(msgspec.Struct, frozen=True, tag="map", gc=False):
    """A map task done. digest: of the content of all its runs, equal for equal items unless it begins with
    INCOMPARABLE. bytes: of input.

    bad_record: the first of them, for a person.
    """

    digest: str
    records: int
    bytes: int
    values: int
    stored_bytes: int
    counters: dict[str, int | float] = {}
    bad_records: int = 0
    bad_record: str = ""


class ReduceOutcome(msgspec.Struct, frozen=True, tag="reduce", gc=False):
    """A reduce task done. values: items that went in. parts: number of files."""

    groups: int
    values: int
    items: int
    parts: int
    stored_bytes: int
    counters: dict[str, int | float] = {}


class DriverOutcome(msgspec.Struct, frozen=True, tag="driver", kw_only=True):
    """A run on an external engine done, all of its map and reduce tasks. Fields as of their outcomes."""

    records: int
    bytes: int
    groups: int
    values: int
    items: int
    parts: int
    stored_bytes: int
    bad_records: int = 0
    counters: dict[str, int | float] = {}


class EnginePhase(msgspec.Struct, frozen=True, array_like=True):
    """How far a run on an external engine is, as its driver tells. done, total: tasks of the phase. mapped:
    (records, bytes) of the map tasks that are done."""

    name: Literal["map", "reduce"]
    done: int
    total: int
    mapped: tuple[int, int] = (0, 0)


class StepOutcome(msgspec.Struct, frozen=True, tag="step", kw_only=True):
    """A step of a script or file_transfer run done on a peer.

    files, bytes: listed, copied or deleted; skipped: files that were there already. exit_status, output: of a
    script, the latter its last lines.
    """

    files: int = 0
    bytes: int = 0
    skipped: int = 0
    exit_status: int = 0
    output: str = ""
    counters: dict[str, int | float] = {}


class Failure(msgspec.Struct, frozen=True, tag="failure"):
    """An attempt that failed. kind: the name of the error's class.

    is_final: trying again is of no use. is_counted: it counts against max_attempts; false where the machine
    failed and not the task. missing: the attempt whose output could not be had, where that is why: of a map
    task, or of an earlier step. exit_status, output: of a script that failed; see StepOutcome.
    is_of_disk: a disk of the machine is full, over its quota or read-only.
    """

    kind: str
    error: str
    is_final: bool = False
    is_counted: bool = True
    missing: AttemptId | None = None
    exit_status: int | None = None
    output: str = ""
    is_of_disk: bool = False


class EarlierFailure(msgspec.Struct, frozen=True, array_like=True):
    """How an earlier attempt at a task has failed, and which worker has printed that: the same error again is
    told of in a line. digest: see error_digest."""

    attempt: str
    worker: str
    digest: str


def error_digest(error: str, worker: str = "") -> str:
    """Equal for errors that differ only in addresses of objects, and in the worker they begin with."""
    return xxh3_64_hexdigest(comparable_error(error, worker).encode("utf-8", "backslashreplace"))


def comparable_error(error: str, worker: str = "") -> str:
    """An error without what differs in each process, so that it can be compared. worker: whose it is."""
    return _ADDRESSES.sub("", error.removeprefix(f"{worker} "))


TaskOutcome = MapOutcome | ReduceOutcome | StepOutcome | DriverOutcome
Outcome = TaskOutcome | Failure
