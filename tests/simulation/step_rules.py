"""Step rules: what must hold of the steps of script and file_transfer runs, whatever goes wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from simulation.world import ViolationError

from pymr.control.stored_state import Committed, RunRecord
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import StepInput, step_task


@dataclass(frozen=True)
class StepContent:
    """What an attempt at a step leaves: which attempts at the steps before it has read."""

    read: tuple[StepInput, ...]


READS = {"spread": ("list",), "copy": ("spread",), "delete": ("list",)}
"""Of which steps each reads what they have made; a copy without a spread reads the lists."""


def inputs_read(id: AttemptId, inputs: Iterable[StepInput]) -> tuple[StepInput, ...]:
    """Those inputs of an attempt that it reads."""
    kinds = {one.task.rpartition("-")[0] for one in inputs}
    wanted = READS.get(id.kind, ())
    if id.kind == "copy" and "spread" not in kinds:
        wanted = ("list",)
    return tuple(one for one in inputs if one.task.rpartition("-")[0] in wanted)


class StepRules:
    """Sees every attempt at a step, and every number that is given for one."""

    def __init__(self) -> None:
        self._begun: set[tuple[str, str, int]] = set()

    def begins(self, id: AttemptId) -> None:
        """A worker begins an attempt: no two may have the same number, under whatever leaders."""
        key = (id.run_id, id.task, id.try_number)
        if key in self._begun:
            raise ViolationError(f"{id.task} of {id.run_id}: the attempt {id.try_number} begins twice")
        self._begun.add(key)

    def numbered(self, record: RunRecord, task: str, committed: Iterable[str]) -> None:
        """A step is about to be tried: all before it have to be done, on every peer."""
        done = set(committed)
        assert record.plan is not None
        for step in record.plan.steps:
            if step.name == task.rpartition("-")[0]:
                return
            missing = [name for name in _tasks(step.name, step.peers) if name not in done]
            if missing:
                raise ViolationError(f"{task} of {record.run_id} is to begin before {missing} are done")

    def ended(self, record: RunRecord, committed: Iterable[tuple[Committed, StepContent | None]]) -> None:
        """A run has succeeded: every step was done by every peer, and from one and the same list."""
        assert record.plan is not None
        found = {done.id.task: (done, content) for done, content in committed}
        wanted = [name for step in record.plan.steps for name in _tasks(step.name, step.peers)]
        if missing := [name for name in wanted if name not in found]:
            raise ViolationError(f"{record.run_id} has succeeded without {missing}")
        for done, content in found.values():
            for one in content.read if content is not None else ():
                now = found[one.task][0].id.attempt
                if one.attempt != now:
                    text = f"{done.id.folder} of {record.run_id} has read {one.task}-{one.attempt}"
                    raise ViolationError(f"{text}, and {now} counts")


def _tasks(step: str, peers: tuple[str, ...]) -> list[str]:
    return [step_task(step, number) for number in range(len(peers))]
