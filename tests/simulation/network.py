"""Network: messages between peers, which may be lost, doubled, late or out of order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulation.world import World


@dataclass
class Network:
    """loss, doubling, lateness: probabilities for each message. cut: (from, to) that hear nothing.

    deliver: gives a message to a peer, at its time.
    """

    world: World
    deliver: Callable[[str, object], None]
    loss: float = 0.0
    doubling: float = 0.0
    lateness: float = 0.0
    late_seconds: float = 2.0
    cut: dict[tuple[str, str], int] = field(default_factory=dict)

    def send(self, sender: str, receiver: str, message: object) -> None:
        if sender != receiver and self.world.chance(self.loss):
            return
        for _ in range(2 if self.world.chance(self.doubling) else 1):
            late = self.world.chance(self.lateness)
            delay = self.world.between(0.0, self.late_seconds) if late else self.world.between(0.0005, 0.01)
            self.world.later(delay, lambda: self._arrive(sender, receiver, message))

    def _arrive(self, sender: str, receiver: str, message: object) -> None:
        if self.reaches(sender, receiver):
            self.deliver(receiver, message)

    def reaches(self, sender: str, receiver: str) -> bool:
        return sender == receiver or not self.cut.get((sender, receiver))

    def cut_for(self, seconds: float, pairs: list[tuple[str, str]]) -> None:
        """Let some peers not hear some others for a while."""
        for pair in pairs:
            self.cut[pair] = self.cut.get(pair, 0) + 1

        def mend() -> None:
            for pair in pairs:
                self.cut[pair] = max(0, self.cut.get(pair, 0) - 1)

        self.world.later(seconds, mend)

    def heal(self) -> None:
        self.loss = self.doubling = self.lateness = 0.0
        self.cut.clear()
