"""The guard of the epoch: nothing is done under one that could be forgotten. Between what is decided in
`control.follower.follower` and what carries it out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol

from pymr.base.errors import disk_error
from pymr.control.follower.events import PeerCommand, ReadJobs, Remember, SendReport

RETRY_SECONDS = 0.5
"""Between two tries to write the epoch down."""

COMMANDS_HELD_MAX = 10_000
"""Most commands that wait for a disk which is full or hangs; a peer that would hold more ends, to begin
afresh."""

_log = logging.getLogger("pymr")


class EpochMemory(Protocol):
    """What keeps the epoch, on a disk that may be full or hang."""

    def has(self, incarnation: str, epoch: int) -> bool:
        """Whether it is kept already, or a higher one."""

    def remember(self, incarnation: str, epoch: int) -> None:
        """Keep it. Raises OSError."""


class EpochGuard:
    """Passes commands on; those behind a Remember wait until it is written down. The loop does not.

    Reports do not wait for a disk that is at it: they promise nothing, and a peer whose disk hangs is not
    dead. They are dropped while the epoch cannot be written down: they would say that this peer follows. So
    the leader hears nothing of the peer meanwhile, and gives its work to others. The job table is read
    all the while: that is under no epoch, and a disk that is full for a night would let too much gather.
    do: does work in a thread of its own, as Thread.do. problem: what is wrong, for operators; "" while
    nothing is. end: ends the peer.
    """

    def __init__(
        self,
        peer: str,
        state_folder: str,
        *,
        memory: EpochMemory,
        do: Callable[
            [Callable[[], object], Callable[[object], object], Callable[[Exception], object]], object
        ],
        carry_out: Callable[[PeerCommand], None],
        call_later: Callable[[float, Callable[[], object]], object],
        end: Callable[[], object],
    ) -> None:
        self.problem = ""
        self._peer = peer
        self._state_folder = state_folder
        self._memory = memory
        self._do_beside = do
        self._carry_out = carry_out
        self._call_later = call_later
        self._end = end
        self._is_waiting = False
        self._held: deque[PeerCommand] = deque()

    def take(self, command: PeerCommand) -> None:
        """Carry a command out, now or when those before it have been."""
        if not self._is_waiting and not self._held:
            self._do(command)
        elif isinstance(command, ReadJobs):
            self._carry_out(command)
        elif not isinstance(command, SendReport):
            self._held.append(command)
            if len(self._held) > COMMANDS_HELD_MAX:
                why = self.problem or f"the epoch has not been written to {self._state_folder} yet"
                _log.error("%s, and too much waits for that: this peer ends", why)
                self._end()
        elif not self.problem:
            self._carry_out(command)

    def _do(self, command: PeerCommand) -> None:
        if not isinstance(command, Remember):
            self._carry_out(command)
            return
        incarnation, epoch = command.incarnation, command.epoch
        if self._memory.has(incarnation, epoch):
            return

        def fail(error: Exception) -> None:
            self._hold(command, error)

        self._is_waiting = True
        self._do_beside(lambda: self._memory.remember(incarnation, epoch), self._remembered, fail)

    def _remembered(self, _: object) -> None:
        if self.problem:
            self.problem = ""
            _log.info("the epoch is written down; this peer goes on")
        self._go_on()

    def _hold(self, command: Remember, error: Exception) -> None:
        reason = disk_error("writing to", self._state_folder, error) if isinstance(error, OSError) else error
        if not self.problem:
            _log.error("epoch %d cannot be written down, so nothing is done: %s", command.epoch, reason)
        self.problem = f"the peer {self._peer} takes no part, as it cannot write down its state: {reason}"
        self._held.appendleft(command)
        self._call_later(RETRY_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        while self._held and not self._is_waiting:
            self._do(self._held.popleft())
