"""Watching a run in an embedded cluster: asks the peer how it goes and tells an observer, until it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pymr.base.errors import FatalError, RunFailedError
from pymr.base.interruption import check_interruption
from pymr.client import Client
from pymr.client.errors import ClientError, RefusedError, UnreachableError
from pymr.client.wait import Outcome, Wait
from pymr.local.cluster import PEER, EmbeddedCluster
from pymr.local.output import PaneLines
from pymr.local.phases import PhaseReports
from pymr.runs.phases import Observer
from pymr.wire.requests import JobView
from pymr.wire.rows import PanePlace, RunRow

WAIT_SECONDS_MAX = 3.0
"""A run that cannot go on without something fails after this long: nobody else is there to provide it."""

SILENCE_SECONDS_MAX = 30.0
"""How long the peer may not answer."""

LAST_OUTPUT_SECONDS_MAX = 2.0
"""How long the end of the workers is waited for: then the last of their output is in their panes."""

_POLL_FIRST_SECONDS, _POLL_SECONDS = 0.01, 0.1
_QUICK_SECONDS = 0.5  # how long pauses are short, for quick jobs
_LOOK_FOR_BREAKPOINTS_SECONDS = 0.3
_LOOKS_AT_A_PANE_MAX = 4
_TOLD_EVENTS = ("task.failed", "task.lost", "run.waiting", "run.outdated")


class RunWatcher:
    """One run, from its submission on. in_own_words: what the user is to read instead of a text."""

    def __init__(
        self,
        client: Client,
        cluster: EmbeddedCluster,
        job_name: str,
        observer: Observer,
        in_own_words: Callable[[str], str],
    ) -> None:
        self._client = client
        self._cluster = cluster
        self._job_name = job_name
        self._observer = observer
        self._in_own_words = in_own_words
        self._phases = PhaseReports(observer)
        self._panes: list[PaneLines] = []
        self._panes_of = ""
        self._last_event = ""
        self._failures_told = 0
        self._halted: set[tuple[str, str | None]] = set()
        self._next_look_for_breakpoints = time.monotonic()
        self._answered_at = time.monotonic()
        self._waiting_since: float | None = None

    def until_end(self) -> RunRow:
        """What the run did. Raises RunFailedError, or another FatalError, with why it failed."""
        waiting = Wait(self._job_name)
        for pause_s in _pauses():
            check_interruption()
            self._cluster.check()
            try:
                outcome = self._look(waiting)
            except (UnreachableError, RefusedError) as error:
                self._pass_over(error)
                outcome = None
            self._show_output()
            if outcome is not None:
                return self._end(outcome)
            time.sleep(pause_s)
        raise AssertionError("pauses never end")

    def _look(self, waiting: Wait) -> Outcome | None:
        view = self._client.job(self._job_name)
        self._answered_at = time.monotonic()
        outcome = waiting.look(view)
        if view.row is not None and view.row.run_id:
            self._open_panes(view.row.run_id)
        self._phases.take(view)
        if len(view.failed_attempts) != self._failures_told:
            self._failures_told = len(view.failed_attempts)
            self._tell_events()
        if outcome is None:
            self._look_for_breakpoints()
            self._check_waiting(view)
        return outcome

    def _end(self, outcome: Outcome) -> RunRow:
        if outcome.run_id:
            self._open_panes(outcome.run_id)
        self._wait_for_workers(outcome.run_id)
        self._show_output(is_last=True)
        self._tell_events()
        ended = [run for run in self._client.history(self._job_name) if run.run_id == outcome.run_id]
        if not outcome.is_success:
            text = self._in_own_words(outcome.exception)
            shown_by = self._shown_by(outcome.exception, ended[0].failed_at) if ended else ""
            raise RunFailedError(text, shown_by, ended[0].failure_kind if ended else "")
        self._phases.finish(ended[0])
        return ended[0]

    def _shown_by(self, error: str, place: PanePlace | None) -> str:
        """The worker among whose lines a failure was shown whole."""
        if place is None or place.run_id != self._panes_of:
            return ""
        pane = self._panes[int(place.worker.rpartition("/")[2])]
        return place.worker if pane.has_shown(len(error.encode()), place.offset) else ""

    # -- what workers print

    def _open_panes(self, run_id: str) -> None:
        """Show what the workers of a run print, behind what those of an outdated one have printed."""
        if run_id == self._panes_of:
            return
        self._show_output(is_last=True)
        self._panes, self._panes_of = [], run_id
        directory = Path(self._cluster.paths.panes)
        for slot in range(self._cluster.config.peers[0].workers):
            show = partial(self._show_lines, f"{PEER}/{slot}")
            self._panes.append(PaneLines(directory, slot, run_id, show))

    def _show_lines(self, worker: str, lines: list[str]) -> None:
        self._observer.on_output(worker, [self._in_own_words(line) for line in lines])

    def _show_output(self, *, is_last: bool = False) -> None:
        for pane in self._panes:
            looks = 0
            while pane.look() and (is_last or looks < _LOOKS_AT_A_PANE_MAX):
                looks += 1
            if is_last:
                pane.end()

    def _wait_for_workers(self, run_id: str) -> None:
        """Until the workers of the run have ended."""
        deadline = time.monotonic() + LAST_OUTPUT_SECONDS_MAX
        while time.monotonic() < deadline:
            if all(row.run_id != run_id for row in self._client.workers()):
                return
            time.sleep(_POLL_FIRST_SECONDS)

    # -- what happens

    def _tell_events(self) -> None:
        while events := self._client.events(self._last_event):
            for event in events:
                if event.kind in _TOLD_EVENTS:
                    self._observer.on_notice(self._in_own_words(event.text))
            self._last_event = events[-1].id

    def _look_for_breakpoints(self) -> None:
        if time.monotonic() < self._next_look_for_breakpoints:
            return
        self._next_look_for_breakpoints = time.monotonic() + _LOOK_FOR_BREAKPOINTS_SECONDS
        for row in self._client.workers():
            if row.state == "breakpoint" and (row.name, row.task) not in self._halted:
                self._halted.add((row.name, row.task))
                self._observer.on_notice(
                    f"{row.name} waits at a breakpoint() in {row.task}: go there from another terminal with\n"
                    f"  pymr attach --config {self._cluster.config_path} {row.name}\n"
                    "(Ctrl-a d leaves it again), or run the job with --inline"
                )

    def _check_waiting(self, view: JobView) -> None:
        """Fail a run that waits for what will not come, such as space on a disk that is full."""
        waiting_for = view.row.waiting_for if view.row is not None else ""
        if not waiting_for:
            self._waiting_since = None
        elif self._waiting_since is None:
            self._waiting_since = time.monotonic()
        elif time.monotonic() - self._waiting_since > WAIT_SECONDS_MAX:
            raise FatalError(self._in_own_words(waiting_for))

    def _pass_over(self, error: ClientError) -> None:
        """How late a busy peer's answer may be."""
        if time.monotonic() - self._answered_at > SILENCE_SECONDS_MAX:
            raise FatalError(f"the peer of this run does not answer: {error}") from error


def _pauses() -> Iterator[float]:
    began = time.monotonic()
    while True:
        yield _POLL_FIRST_SECONDS if time.monotonic() - began < _QUICK_SECONDS else _POLL_SECONDS
