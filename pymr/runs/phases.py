"""Phases: the progress of a run in numbers, for its display."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(slots=True)
class Phase:
    """Progress of a phase. done and total: tasks (segments in shuffle). units: (records, bytes) in map,
    (segments, bytes) in shuffle, (groups, values) in reduce; the second of them is to reach `total_units`,
    which is 0 where that is not known. seconds_left: see `time_left`; None where nothing moves. Times in
    monotonic seconds."""

    name: str
    total: int
    total_units: int
    done: int = 0
    units: tuple[int, int] = (0, 0)
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float | None = None
    seconds_left: float | None = None

    @property
    def seconds(self) -> float:
        """How long it has been going on, or took."""
        return (self.ended_at or time.monotonic()) - self.started_at

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.ended_at is not None:
            return 1.0
        done, total = (self.units[1], self.total_units) if self.total_units else (self.done, self.total)
        return min(done / total, 1.0) if total else 0.0


class Observer(Protocol):
    """Whoever shows a run to its user."""

    def on_phase(self, phase: Phase) -> None:
        """A phase has begun, moved or ended; called some ten times a second."""

    def on_output(self, worker: str, lines: list[str]) -> None:
        """A worker has printed lines."""

    def on_notice(self, text: str) -> None:
        """Something has happened that the user wants to know of, such as an attempt that failed."""
