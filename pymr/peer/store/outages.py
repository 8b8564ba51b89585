"""How long Redis was away, as this peer has found: operators are told when it is back, and somebody leads."""

from __future__ import annotations

import time
from collections.abc import Callable

from pymr.control.stored_state import Event
from pymr.peer.store.lease import STEP_DOWN_SECONDS, LeaseView
from pymr.wire.wording import span


class Outages:
    """Sees every view of the lease. Nobody can be told of an outage while it lasts: events are in Redis."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._has_answered = False
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._problem = ""

    def see(self, view: LeaseView) -> None:
        now = self._clock()
        if not view.is_cut_off:
            self._has_answered = True
            if self._began_at is not None and self._ended_at is None:
                self._ended_at = now
            if view.state == "follower":  # another peer leads, and tells of it
                self._began_at = self._ended_at = None
        elif self._has_answered:
            if self._began_at is None or self._ended_at is not None:
                self._began_at, self._ended_at = now - STEP_DOWN_SECONDS, None
            self._problem = view.problem

    def take_events(self) -> tuple[Event, ...]:
        """The beginning and the end of an outage that is over and not yet told of; () where there is none."""
        began_at, ended_at = self._began_at, self._ended_at
        if began_at is None or ended_at is None:
            return ()
        self._began_at = self._ended_at = None
        back = f"Redis answers again, after {span(ended_at - began_at)} in which nothing was scheduled"
        return (
            Event(kind="redis.lost", text=self._problem, at=began_at),
            Event(kind="redis.back", text=back, at=ended_at),
        )
