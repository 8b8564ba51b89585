"""The workers of a peer, as its daemon has them: one process at most for each slot, started by the fork
server.

Reads and writes only what is ready, so it never holds up the loop. What happens is told by `on_event`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable

from pymr.base.errors import StartError, WorkerDiedError
from pymr.peer.attempts.worker_protocol import (
    PIPE_CLOSED_STATUS,
    BadMessage,
    DriverOrder,
    Failed,
    FromWorker,
    Paused,
    PreviewSetup,
    Progress,
    Ready,
    Resumed,
    TaskDone,
    TaskOrder,
    WorkerSetup,
    frame,
)
from pymr.peer.panes.writers import PaneWriters
from pymr.peer.workers.events import (
    ForkServerDied,
    WorkerDied,
    WorkerEvent,
    WorkerFinished,
    WorkerLoaded,
    WorkerPaused,
    WorkerProgressed,
    WorkerResumed,
    WorkerView,
)
from pymr.peer.workers.fork_server import ForkServer, ForkServerLost, StartedWorker
from pymr.peer.workers.fork_server_protocol import Exited, StartFailed
from pymr.peer.workers.link import OutputSink, Watch, WorkerLink
from pymr.wire.outcomes import Failure

OWN_END_SECONDS_MAX = 0.5
"""How long a worker whose pipe has closed may take to end, before it counts as one that closed its files."""

_SIGNAL_HINTS: dict[int, str] = {
    signal.SIGSEGV: "a crash in C code that a function uses, or a recursion too deep for it",
    signal.SIGABRT: "an abort in C code that a function uses",
    signal.SIGKILL: "killed from outside, or the machine is out of memory",
}
_NO_SLOT = -1
_NO_NURSERY = "the process that starts the workers of this peer has ended; start the peer again"
_ENDED_WITH_NURSERY = "was ended with the process that starts the workers of this peer"
_CLOSED_PIPE = "closed its pipe to pymr (a function that closes all files?)"


class Workers:
    """on_event: called with a WorkerEvent as it happens; may call the methods here, also `end` and `start`.

    on_watch, on_unwatch: the loop's; called for each descriptor that comes and goes. Without them, ask
    `descriptors` before every wait. `tick` is to be called about ten times a second, with time.monotonic().
    """

    def __init__(
        self,
        peer_name: str,
        slots: int,
        fork_server: ForkServer,
        panes: PaneWriters,
        on_event: Callable[[WorkerEvent], None],
        on_watch: Watch = lambda *_: None,
        on_unwatch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.slots = slots
        self._peer_name = peer_name
        self._fork_server = fork_server
        self._panes = panes
        self._on_event = on_event
        self._on_watch = on_watch
        self._on_unwatch = on_unwatch
        self._by_slot: dict[int, WorkerLink] = {}
        self._by_id: dict[int, WorkerLink] = {}  # the same ones, and guests
        self._on_guest_end: dict[int, Callable[[str], None]] = {}
        self._watched: dict[int, Callable[[], None]] = {}
        self._last_id = 0
        self._is_lost = False
        self._watch(fork_server.fileno(), self._on_nursery)

    def start(self, slot: int, setup: WorkerSetup) -> None:
        """Start a worker in a slot, in the place of the one that is there. `assign` may follow at once.

        A worker that cannot be started is told as one that died, perhaps before this returns.
        """
        if not 0 <= slot < self.slots:
            raise ValueError(f"{self._peer_name} has no slot {slot}, but {self.slots}")
        self.end(slot)
        self._last_id += 1
        id = self._last_id
        pane = self._panes.open(slot, setup.run_id, lambda: self._begin(id))
        link = WorkerLink(id, slot, setup.run_id, pane, self._on_message, self._on_pipe_closed)
        link.moved_at = time.monotonic()
        self._by_slot[slot] = self._by_id[link.id] = link
        if self._is_lost:
            self._fail_to_start(link, _NO_NURSERY)
            return
        try:
            link.send(frame(setup))
        except BadMessage as error:
            self._die(link, Failure("JobError", f"the definition of the job: {error}", is_final=True))

    def _begin(self, id: int) -> None:
        """Its pane is open: how long that is, is told with whatever happens to a worker."""
        if id in self._by_id and not self._is_lost:
            self._fork_server.start_worker(id)

    def assign(self, slot: int, order: TaskOrder) -> bool:
        """Give a worker without a task one. False where the slot has no such worker (any more)."""
        link = self._by_slot.get(slot)
        if link is None or link.order is not None:
            return False
        link.order = order
        link.done, link.phase = (0, 0), None
        link.moved_at = time.monotonic()
        link.send(frame(order))
        return True

    def end(self, slot: int) -> None:
        """Kill the worker of a slot with all it has started, if there is one. No event tells of it."""
        link = self._by_slot.get(slot)
        if link is not None:
            self._let_go(link)

    def start_guest(
        self,
        setup: PreviewSetup,
        output: OutputSink,
        on_message: Callable[[FromWorker], None],
        on_end: Callable[[str], None],
    ) -> WorkerLink:
        """Start a worker that is in no slot, and of which no event tells: whoever asks for it holds its link.

        on_end: called once when it has ended, with how it did. Raises BadMessage for too long a setup,
        StartError where the process that starts workers has ended.
        """
        if self._is_lost:
            raise StartError(f"{self._peer_name}: {_NO_NURSERY}")
        framed = frame(setup)
        self._last_id += 1
        link = WorkerLink(
            self._last_id, _NO_SLOT, "", output, lambda _, message: on_message(message), lambda *_: None
        )
        self._by_id[link.id] = link
        self._on_guest_end[link.id] = on_end
        link.send(framed)
        self._fork_server.start_worker(link.id)
        return link

    def end_guest(self, link: WorkerLink) -> None:
        """Kill a guest with all it has started; `on_end` tells when that is done."""
        self._fork_server.kill_worker(link.id)

    def fail(self, slot: int, failure: Failure) -> bool:
        """End the worker of a slot, and tell of it as of one that died. False where there is none."""
        link = self._by_slot.get(slot)
        if link is None:
            return False
        self._die(link, failure)
        return True

    def type_into(self, slot: int, data: bytes) -> bool:
        """Type into a worker's terminal. False where there is none, or it does not take what was typed."""
        link = self._by_slot.get(slot)
        return link is not None and link.type(data)

    def is_driving(self, slot: int) -> bool:
        """Whether a worker drives a run on an external engine, for which nobody reads what is typed."""
        link = self._by_slot.get(slot)
        return link is not None and isinstance(link.order, DriverOrder)

    def resize(self, slot: int, columns: int, rows: int) -> None:
        """Give the terminal of a worker, if there is one, another size."""
        link = self._by_slot.get(slot)
        if link is not None:
            link.resize(columns, rows)

    def view(self, slot: int) -> WorkerView | None:
        """The worker of a slot as it is now; None where there is none."""
        link = self._by_slot.get(slot)
        if link is None:
            return None
        attempt = link.order.id if link.order is not None else None
        return WorkerView(slot, link.run_id, link.pid, link.state, attempt, link.done, link.moved_at)

    def views(self) -> list[WorkerView]:
        """All workers there are, by slot."""
        return [view for slot in range(self.slots) if (view := self.view(slot)) is not None]

    def descriptors(self) -> Iterable[tuple[int, Callable[[], None]]]:
        """What to wait for, and what to call when it is readable or has hung up."""
        return list(self._watched.items())

    def tick(self, now: float) -> None:
        """Do what waits for nothing but time. now: time.monotonic()."""
        self._fork_server.flush()
        for link in list(self._by_id.values()):
            link.flush()
            if link.pipe_closed_at is not None and now - link.pipe_closed_at >= OWN_END_SECONDS_MAX:
                self._die(link, self._death(link, _CLOSED_PIPE))

    def close(self) -> None:
        """End all workers, with what they have started, and the fork server."""
        for slot in list(self._by_slot):
            self.end(slot)
        self._unwatch(self._fork_server.fileno())
        self._fork_server.close()

    def _on_nursery(self) -> None:
        for event in self._fork_server.receive():
            if isinstance(event, ForkServerLost):
                self._lose_nursery()
                return
            link = self._by_id.get(event.id)
            if isinstance(event, StartedWorker):
                if link is not None:
                    link.open(event.pid, event.terminal, event.pipe, self._watch, self._unwatch)
                else:  # ended before it had begun, which the fork server knows
                    os.close(event.terminal)
                    os.close(event.pipe)
            elif isinstance(event, StartFailed) and link is not None:
                why = f"cannot be started: {event.error}"
                if not self._end_of_guest(link, why):
                    self._fail_to_start(link, why)
            elif isinstance(event, Exited) and link is not None:
                self._on_exit(link, event.status)

    def _on_exit(self, link: WorkerLink, status: int) -> None:
        link.read_last_messages()
        if self._end_of_guest(link, _death_in_words(status, is_busy=True)):
            return
        if self._by_id.get(link.id) is link:  # not let go of for one of those messages
            self._die(link, self._death(link, _death_in_words(status, is_busy=link.order is not None)))

    def _end_of_guest(self, link: WorkerLink, how: str) -> bool:
        """False where it is none."""
        on_end = self._on_guest_end.pop(link.id, None)
        if on_end is None:
            return False
        del self._by_id[link.id]
        on_end(how)
        return True

    def _on_pipe_closed(self, link: WorkerLink, why: str | None) -> None:
        if why is not None:
            text = (
                f"wrote into its pipe to pymr what is no message ({why}; a function that writes to any file?)"
            )
            self._die(link, self._death(link, text))
        else:
            link.pipe_closed_at = time.monotonic()  # its status is to come, where it has ended

    def _on_message(self, link: WorkerLink, message: FromWorker) -> None:
        if self._by_id.get(link.id) is not link:  # ended by the handler of a message before this one
            return
        slot = link.slot
        link.moved_at = time.monotonic()
        if isinstance(message, Progress):
            link.done, link.phase = message.done, message.phase
            self._on_event(WorkerProgressed(slot, message.done, message.ticks, message.phase))
        elif isinstance(message, TaskDone):
            self._finish(link, message)
        elif isinstance(message, Ready):
            link.is_ready = True
            self._on_event(WorkerLoaded(slot))
        elif isinstance(message, Failed):
            self._die(link, message.failure, last_words=None)
        elif isinstance(message, Paused):
            link.is_paused = True
            self._on_event(WorkerPaused(slot, message.where))
        elif isinstance(message, Resumed):
            link.is_paused = False
            self._on_event(WorkerResumed(slot))

    def _finish(self, link: WorkerLink, message: TaskDone) -> None:
        if link.order is None or link.order.id != message.id:
            self._on_pipe_closed(link, f"the end of {message.id.folder}, which it was not doing")
            return
        link.order = None
        link.done = (0, 0)
        link.is_paused = False
        pane_offset = None
        if isinstance(message.outcome, Failure):
            link.drain()
            pane_offset = link.pane_end
        self._on_event(WorkerFinished(link.slot, message.id, message.outcome, pane_offset))

    def _fail_to_start(self, link: WorkerLink, text: str) -> None:
        name = self._name_of(link)
        self._die(link, Failure(StartError.__name__, f"{name}: {text}", is_counted=False))

    def _death(self, link: WorkerLink, text: str) -> Failure:
        return Failure(WorkerDiedError.__name__, f"{self._name_of(link)} {text}")

    def _die(self, link: WorkerLink, failure: Failure, last_words: str | None = "") -> None:
        """last_words: for the pane; "" for the failure, None where the pane tells of it already."""
        if self._by_id.get(link.id) is not link:  # ended by the handler of an event before this one
            return
        self._let_go(link, failure.error if last_words == "" else last_words)
        attempt = link.order.id if link.order is not None else None
        self._on_event(WorkerDied(link.slot, attempt, failure, link.pane_end))

    def _let_go(self, link: WorkerLink, last_words: str | None = None) -> None:
        del self._by_slot[link.slot], self._by_id[link.id]
        self._fork_server.kill_worker(link.id)
        link.close(last_words)

    def _lose_nursery(self) -> None:
        self._is_lost = True
        self._unwatch(self._fork_server.fileno())
        for link in list(self._by_slot.values()):
            self._die(link, self._death(link, _ENDED_WITH_NURSERY))
        for link in [self._by_id[id] for id in self._on_guest_end]:  # nobody else tells of their end
            self._end_of_guest(link, _ENDED_WITH_NURSERY)
        self._on_event(ForkServerDied())

    def _watch(self, descriptor: int, on_ready: Callable[[], None]) -> None:
        self._watched[descriptor] = on_ready
        self._on_watch(descriptor, on_ready)

    def _unwatch(self, descriptor: int) -> None:
        if self._watched.pop(descriptor, None) is not None:
            self._on_unwatch(descriptor)

    def _name_of(self, link: WorkerLink) -> str:
        return f"{self._peer_name}/{link.slot}"


def _death_in_words(status: int, *, is_busy: bool) -> str:
    """How a worker ended whose end nobody had asked for. status: of exit; negative for a signal."""
    if status == PIPE_CLOSED_STATUS:
        return _CLOSED_PIPE
    if status >= 0:
        when = "in the middle of its work" if is_busy else "without having a task"
        return f"exited with status {status} {when} (a function that calls os._exit, or C code that does)"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}: {_SIGNAL_HINTS.get(-status, 'see what it printed last')}"
