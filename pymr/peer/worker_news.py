"""What the workers of a peer tell, in the words in which its follower hears it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from pymr.control.duties import (
    PeerEvent,
    TaskEnded,
    WorkerEnded,
    WorkerHalted,
    WorkerMoved,
    WorkerReady,
    WorkerStarted,
)
from pymr.peer import worker_events
from pymr.peer.workers import Workers

_log = logging.getLogger("pymr")


def worker_news(event: worker_events.WorkerEvent, workers: Workers) -> Iterator[PeerEvent]:
    """The events for the follower. workers: as they are now, which may be later than the event."""
    match event:
        case worker_events.WorkerReady(slot):
            view = workers.view(slot)
            yield WorkerStarted(slot, view.pid if view else 0)
            yield WorkerReady(slot)
        case worker_events.WorkerMoved(slot, done, _, phase):
            yield WorkerMoved(slot, done, phase)
        case worker_events.WorkerPaused(slot, where):
            _log.info("worker %d waits at a breakpoint: %s", slot, where)
            yield WorkerHalted(slot, True)
        case worker_events.WorkerResumed(slot):
            yield WorkerHalted(slot, False)
        case worker_events.WorkerFinished(slot, id, outcome, pane_offset):
            yield TaskEnded(slot, id, outcome, pane_offset)
        case worker_events.WorkerDied(slot, _, failure, pane_offset) if workers.view(slot) is None:
            yield WorkerEnded(slot, failure, pane_offset)  # else another has had its slot since, which lives
