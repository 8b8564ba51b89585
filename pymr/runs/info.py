"""The request and the result of `pymr run`. For its display see `phases`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pymr.config.cluster import EngineConfig
from pymr.engine.outputs import Part
from pymr.jobs.external_engines import EXTERNAL_ENGINES
from pymr.jobs.job import MapReduceJob

BACKENDS = EXTERNAL_ENGINES
"""Engines of others that a job can run on."""


@dataclass(frozen=True, slots=True)
class Backend:
    """An external engine that does the tasks. name: see BACKENDS. address: where it is; None for one of this
    machine that ends with the run. options: of the engine itself, the later of one name counts."""

    name: str
    address: str | None = None
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A job, and where and how to run it.

    input_dirs: absolute paths, in place of those of the job. data_dir: where `auxiliary/` lies.
    output_dir: where the output goes.
    inline: everything in this process, task after task, so that a debugger works in the functions.
    backend: whose workers do the tasks; None for those of a cluster of this run. grace_s: how long it is
    waited for workers of an external engine, when all are gone.
    """

    job: MapReduceJob
    input_dirs: tuple[str, ...]
    projects_dir: str
    data_dir: str
    output_dir: str
    workers: int
    engine: EngineConfig
    inline: bool = False
    backend: Backend | None = None
    grace_s: float = 1800.0

    @property
    def partitions(self) -> int:
        """Reduce partitions: as the job says, else one for each worker."""
        return self.job.partitions or self.workers


@dataclass(frozen=True, slots=True)
class RunResult:
    """What the tasks of a run have made, not yet in its place. values: items shuffled.

    outputs: folders, and the part files in each. phase_seconds: by phase, in their order. warnings: see
    `run_warnings`.
    """

    files: int
    records: int
    bytes: int
    values: int
    groups: int
    bad_records: int
    counters: dict[str, float]
    outputs: Sequence[tuple[str, Sequence[Part]]]
    bad_records_paths: Sequence[str]
    phase_seconds: dict[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What a run that succeeded did. seconds: from beginning to end; phase_seconds: by phase."""

    job_name: str
    output_dir: str
    files: int
    records: int
    bytes: int
    values: int
    groups: int
    items_out: int
    bad_records: int
    counters: dict[str, float]
    seconds: float = 0.0
    parts: tuple[Part, ...] = ()
    phase_seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
