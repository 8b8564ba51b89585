"""A run in this very process, so that `breakpoint()` and prints in a user's function simply work."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pymr.engine.pipeline import map_all, reduce_all
from pymr.engine.tasks import JobContext, MapOutput, MapTask, ReduceOutput, ReduceTask
from pymr.local.phases import Observer, Phase, map_phase, reduce_phase, units_of


class InlineRun:
    """Does all tasks one after another, once each; the first error ends it."""

    def __init__(self, context: JobContext, directory: str, observer: Observer) -> None:
        self._context = context
        self._directory = directory
        self._observer = observer

    def map(self, tasks: Sequence[MapTask]) -> list[MapOutput]:
        """Outputs of the map tasks, in the order of the tasks."""
        phase = map_phase(tasks)
        self._observer.on_phase(phase)
        outputs = map_all(self._context, tasks, self._directory)
        self._end(phase, outputs)
        return outputs

    def reduce(self, tasks: Sequence[ReduceTask]) -> list[ReduceOutput]:
        """Outputs of the reduce tasks, in the order of the tasks."""
        phase = reduce_phase(tasks)
        self._observer.on_phase(phase)
        outputs = reduce_all(self._context, tasks, self._directory)
        self._end(phase, outputs)
        return outputs

    def _end(self, phase: Phase, outputs: Sequence[MapOutput | ReduceOutput]) -> None:
        done = [units_of(output) for output in outputs]
        phase.done = phase.total
        phase.done_units = sum(unit[0] for unit in done), sum(unit[1] for unit in done)
        phase.ended_at = time.monotonic()
        self._observer.on_phase(phase)
