"""Input locks: who may type into a worker, one console at a time, for as long as it says that it still
does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping

from pymr.wire.requests import (
    ATTACH_SECONDS,
    TYPED_BYTES_MAX,
    AttachWorker,
    DetachWorker,
    Done,
    Refused,
    Reply,
    TypeIntoWorker,
)

_ANSWERED_MAX = 256
"""Of so many typings the answers are kept: a console that has not had one asks again, and means it once."""


class InputLocks:
    """The input locks of one peer's workers.

    peer, slots: whose they are, and how many. type_into: does it, or returns False where the worker takes
    nothing. resize: does it. is_driving: whether nobody reads there, see Workers. on_change: told who has
    which of them, by slot, when that changes. clock: seconds that never go back.
    """

    def __init__(
        self,
        peer: str,
        slots: int,
        *,
        type_into: Callable[[int, bytes], bool],
        resize: Callable[[int, int, int], object],
        is_driving: Callable[[int], bool],
        on_change: Callable[[Mapping[int, str]], object],
        clock: Callable[[], float],
    ) -> None:
        self._peer = peer
        self._slots = slots
        self._type_into = type_into
        self._resize = resize
        self._is_driving = is_driving
        self._on_change = on_change
        self._clock = clock
        self._holders: dict[int, tuple[str, float]] = {}
        self._told: dict[int, str] = {}
        self._answered: OrderedDict[str, Reply] = OrderedDict()

    def answer(self, request: AttachWorker | TypeIntoWorker | DetachWorker) -> Reply:
        """Let a console have a keyboard, type, or let go of it."""
        slot = self._slot_of(request.worker)
        if slot is None:
            return Refused(
                id=request.id,
                code="unknown",
                reason=f"{self._peer} has no worker {request.worker!r}; see `pymr workers`",
            )
        if request.id in self._answered:
            return self._answered[request.id]
        reply = self._answer(request, slot)
        if isinstance(request, TypeIntoWorker):
            self._answered[request.id] = reply
            if len(self._answered) > _ANSWERED_MAX:
                self._answered.popitem(last=False)
        self.look()
        return reply

    def look(self) -> None:
        """Tell of what has changed, be it that a time has run out; to be called some ten times a second."""
        holders = {slot: holder for slot in sorted(self._holders) if (holder := self._holder(slot))}
        if holders != self._told:
            self._told = holders
            self._on_change(holders)

    def _answer(self, request: AttachWorker | TypeIntoWorker | DetachWorker, slot: int) -> Reply:
        holder = self._holder(slot)
        if holder not in ("", request.holder):
            return Refused(id=request.id, code="held", reason=f"{holder} is typing into {request.worker}")
        if isinstance(request, DetachWorker):
            self._holders.pop(slot, None)
            return Done(id=request.id)
        if self._is_driving(slot):
            reason = f"{request.worker} drives a run on an external engine and reads nothing; see `pymr logs`"
            return Refused(id=request.id, code="invalid", reason=reason)
        self._holders[slot] = request.holder, self._clock() + ATTACH_SECONDS
        if isinstance(request, AttachWorker):
            if request.columns > 0 and request.rows > 0:
                self._resize(slot, min(request.columns, 1_000), min(request.rows, 1_000))
        elif len(request.data) > TYPED_BYTES_MAX:
            reason = f"at most {TYPED_BYTES_MAX:,} bytes can be typed at once"
            return Refused(id=request.id, code="invalid", reason=reason)
        elif not self._type_into(slot, request.data):
            reason = f"{request.worker} takes nothing of what is typed: it reads nothing, or has no process"
            return Refused(id=request.id, code="unavailable", reason=reason)
        return Done(id=request.id)

    def _slot_of(self, worker: str) -> int | None:
        peer, _, number = worker.partition("/")
        if peer == self._peer and number.isdecimal() and int(number) < self._slots:
            return int(number)
        return None

    def _holder(self, slot: int) -> str:
        holder, until = self._holders.get(slot, ("", 0.0))
        return holder if self._clock() < until else ""
