"""Disk: what of a peer survives the end of its process."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulation.models import MapContent, ReduceContent, digest_of
from simulation.step_rules import StepContent

from pymr.control.counted_runs import stays
from pymr.control.follower.events import Held
from pymr.wire.outcomes import (
    DRIVER,
    AttemptId,
    DriverOutcome,
    MapOutcome,
    Outcome,
    ReduceOutcome,
    StepOutcome,
    TaskOutcome,
)
from pymr.wire.protocol import AttemptResult, PublishOrder

Content = MapContent | ReduceContent | StepContent

FIRST_BOOT = 1_000_000
"""The starts of a peer are counted from here on at the beginning: the time then, in milliseconds."""


@dataclass
class Attempt:
    """A finished attempt: its folder, under its last name."""

    content: Content
    outcome: TaskOutcome

    @property
    def digest(self) -> str:
        return self.outcome.digest if isinstance(self.outcome, MapOutcome) else ""


@dataclass
class Output:
    """What a job shows on a peer. runs: those in it, the latest last. added: those that have added to it, to
    what `base` had replaced all by."""

    runs: tuple[str, ...] = ()
    base: str = ""
    added: frozenset[str] = frozenset()
    parts: tuple[tuple[str, str, ReduceContent], ...] = ()  # (run, attempt's folder, content)


@dataclass
class Disk:
    """boot: of the last start; of a new disk, the time (see `pymr.peer.disk.local_state`)."""

    incarnation: str = ""
    epoch: int = 0
    boot: int = 0
    plans: dict[tuple[str, bool], list[tuple[int, ...]]] = field(default_factory=dict)
    attempts: dict[AttemptId, Attempt] = field(default_factory=dict)
    fetched: dict[tuple[AttemptId, int], tuple[tuple[int, int], ...]] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    consumed: dict[tuple[str, str, bool], frozenset[int]] = field(default_factory=dict)  # job, run, shared

    def held(self) -> list[Held]:
        return [
            Held(AttemptResult(id, attempt.outcome), attempt.digest) for id, attempt in self.attempts.items()
        ]

    def runs(self) -> list[str]:
        """Every run of which there is anything."""
        names = [run_id for run_id, _ in self.plans]
        names += [id.run_id for id in self.attempts] + [id.run_id for id, _ in self.fetched]
        return list(dict.fromkeys(names))

    def remove_run(self, run_id: str) -> None:
        self.plans = {key: plan for key, plan in self.plans.items() if key[0] != run_id}
        self.attempts = {id: one for id, one in self.attempts.items() if id.run_id != run_id}
        self.fetched = {key: one for key, one in self.fetched.items() if key[0].run_id != run_id}

    def remove(self, id: AttemptId) -> None:
        self.attempts.pop(id, None)

    def keep(self, id: AttemptId, content: Content) -> Outcome:
        """An attempt gets its last name; one that has it already is not done again."""
        if id not in self.attempts:
            self.attempts[id] = Attempt(content, outcome_of(id, content))
        return self.attempts[id].outcome

    def publish(self, order: PublishOrder) -> str:
        """Show the parts of a run; returns why it cannot. An earlier run never comes after a later one."""
        shown = self.outputs.get(order.job_name, Output())
        if order.run_id in shown.runs or (shown.runs and number_of(order.run_id) < number_of(shown.runs[-1])):
            return ""
        parts = []
        for name in order.attempts:
            attempt = next((one for id, one in self.attempts.items() if _is(id, order.run_id, name)), None)
            if attempt is None:
                return f"the output of {name} of run {order.run_id} is not whole any more"
            assert isinstance(attempt.content, tuple)
            parts.append((order.run_id, name, attempt.content))
        before = shown if order.add else Output()

        def is_kept(run_id: str) -> bool:
            return stays(run_id if run_id in before.added else "", before.base, order.counting)

        self.outputs[order.job_name] = Output(
            (*filter(is_kept, before.runs), order.run_id),
            before.base if order.add else order.run_id,
            frozenset(filter(is_kept, before.added)) | ({order.run_id} if order.add else set()),
            (*(part for part in before.parts if is_kept(part[0])), *parts),
        )
        return ""


def _is(id: AttemptId, run_id: str, folder: str) -> bool:
    return id.run_id == run_id and id.folder == folder


def number_of(run_id: str) -> int:
    return int(run_id.rpartition("-")[2])


def outcome_of(id: AttemptId, content: Content) -> TaskOutcome:
    if isinstance(content, StepContent):
        return StepOutcome(files=1, bytes=1)
    if isinstance(content, tuple):
        values = sum(len(values) for _, values in content)
        if id.kind == DRIVER:
            return DriverOutcome(
                records=values,
                bytes=values,
                groups=len(content),
                values=values,
                items=len(content),
                parts=1,
                stored_bytes=0,
            )
        return ReduceOutcome(groups=len(content), values=values, items=len(content), parts=1, stored_bytes=0)
    records = sum(len(items) for items in content.values())
    return MapOutcome(digest_of(content), records, records, records, records)
