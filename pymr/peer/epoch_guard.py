"""The guard of the epoch: nothing is done under one that could be forgotten. Between what is decided in
`control.following` and what carries it out."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from pymr.control.duties import PeerCommand, Remember, SendReport
from pymr.errors import disk_error

RETRY_SECONDS = 0.5
"""Between two tries to write the epoch down."""

COMMANDS_HELD_MAX = 10_000
"""Most commands that wait for a disk which is full; a peer that would hold more ends, to begin afresh."""

_log = logging.getLogger("pymr")


class EpochGuard:
    """Passes commands on; behind a Remember that cannot be written down, they wait until it can.

    Reports are not among those that wait: they would say that this peer follows. So the leader hears nothing
    of the peer meanwhile, and gives its work to others.
    problem: what is wrong, for operators; "" while nothing is. end: ends the peer.
    """

    def __init__(
        self,
        peer: str,
        state_folder: str,
        *,
        remember: Callable[[str, int], None],
        carry_out: Callable[[PeerCommand], None],
        call_later: Callable[[float, Callable[[], object]], object],
        end: Callable[[], object],
    ) -> None:
        self.problem = ""
        self._peer = peer
        self._state_folder = state_folder
        self._remember = remember
        self._carry_out = carry_out
        self._call_later = call_later
        self._end = end
        self._held: deque[PeerCommand] = deque()

    def take(self, command: PeerCommand) -> None:
        """Carry a command out, now or when those before it have been."""
        if not self._held:
            self._do(command)
        elif not isinstance(command, SendReport):
            self._held.append(command)
            if len(self._held) > COMMANDS_HELD_MAX:
                _log.error("%s; too much waits for that, so this peer ends", self.problem)
                self._end()

    def _do(self, command: PeerCommand) -> None:
        if not isinstance(command, Remember):
            self._carry_out(command)
            return
        try:
            self._remember(command.incarnation, command.epoch)
        except OSError as error:
            self._hold(command, error)

    def _hold(self, command: Remember, error: OSError) -> None:
        reason = disk_error("writing to", self._state_folder, error)
        if not self.problem:
            _log.error("epoch %d cannot be written down, so nothing is done: %s", command.epoch, reason)
        self.problem = f"the peer {self._peer} takes no part, as it cannot write down its state: {reason}"
        self._held.appendleft(command)
        self._call_later(RETRY_SECONDS, self._go_on)

    def _go_on(self) -> None:
        held, self._held = self._held, deque()
        while held:
            self._do(held.popleft())
            if self._held:  # it still cannot be written down, or not the next one
                self._held.extend(held)
                return
        if self.problem:
            self.problem = ""
            _log.info("the epoch is written down; this peer goes on")
