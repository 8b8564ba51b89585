"""What the workers of a peer tell, in the words in which its follower hears it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from pymr.control.follower.events import (
    PeerEvent,
    TaskEnded,
    WorkerEnded,
    WorkerHalted,
    WorkerMoved,
    WorkerReady,
    WorkerStarted,
)
from pymr.peer.workers import events
from pymr.peer.workers.pool import Workers

_log = logging.getLogger("pymr")


def worker_news(event: events.WorkerEvent, workers: Workers) -> Iterator[PeerEvent]:
    """The events for the follower. workers: as they are now, which may be later than the event."""
    match event:
        case events.WorkerLoaded(slot):
            view = workers.view(slot)
            yield WorkerStarted(slot, view.pid if view else 0)
            yield WorkerReady(slot)
        case events.WorkerProgressed(slot, done, _, phase):
            yield WorkerMoved(slot, done, phase)
        case events.WorkerPaused(slot, where):
            _log.info("worker %d waits at a breakpoint: %s", slot, where)
            yield WorkerHalted(slot, True)
        case events.WorkerResumed(slot):
            yield WorkerHalted(slot, False)
        case events.WorkerFinished(slot, id, outcome, pane_offset):
            yield TaskEnded(slot, id, outcome, pane_offset)
        case events.WorkerDied(slot, _, failure, pane_offset) if workers.view(slot) is None:
            yield WorkerEnded(slot, failure, pane_offset)  # else another has had its slot since, which lives
