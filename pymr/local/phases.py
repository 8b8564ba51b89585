"""Phases: how far a run is, in numbers, for whoever shows it to its user."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pymr.engine.tasks import MapOutput, MapTask, ReduceOutput, ReduceTask
from pymr.errors import PymrError


@dataclass(slots=True)
class Phase:
    """How a phase stands. done and total: tasks. units: (records, bytes) in map, (groups, values) in reduce;
    the second of them is what `total_units`, bytes or values, is to reach. Times in monotonic seconds."""

    name: str
    total: int
    total_units: int
    done: int = 0
    done_units: tuple[int, int] = (0, 0)
    running_units: tuple[int, int] = (0, 0)
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None

    @property
    def units(self) -> tuple[int, int]:
        """What finished and running tasks have done so far."""
        return self.done_units[0] + self.running_units[0], self.done_units[1] + self.running_units[1]

    @property
    def seconds(self) -> float:
        """How long it has been going on, or took."""
        return (self.ended_at or time.monotonic()) - self.started_at

    @property
    def seconds_left(self) -> float | None:
        """What is left at the pace so far; None as long as there is none to tell."""
        done = self.units[1]
        if self.ended_at is not None or done <= 0 or self.seconds < 1.0:
            return None
        return max(0.0, self.seconds * (self.total_units - done) / done)


class Observer(Protocol):
    """Whoever shows a run to its user."""

    def on_phase(self, phase: Phase) -> None:
        """A phase has begun, moved or ended; called some ten times a second."""

    def on_output(self, worker: str, lines: list[str]) -> None:
        """A worker has printed lines."""

    def on_failed_attempt(self, task: str, attempt: int, attempts_max: int, error: PymrError) -> None:
        """An attempt has failed, and the task will be tried again."""


def map_phase(tasks: Sequence[MapTask]) -> Phase:
    """The map phase of these tasks, not begun."""
    return Phase("map", len(tasks), sum(split.length for task in tasks for split in task.splits))


def reduce_phase(tasks: Sequence[ReduceTask]) -> Phase:
    """The reduce phase of these tasks, not begun."""
    return Phase("reduce", len(tasks), sum(run.values for task in tasks for run in task.runs))


def units_of(output: MapOutput | ReduceOutput) -> tuple[int, int]:
    """What a finished task adds to its phase."""
    if isinstance(output, MapOutput):
        return output.records, output.bytes
    return output.groups, output.values
