"""The feed: one thread that asks the cluster for what the shown screen needs, and keeps the state."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from pymr.base.errors import PymrError
from pymr.client import Client, ClientError, UnreachableError
from pymr.wire.rows import EventRow
from tui.model.fault_log import log_fault
from tui.model.job_pages import JobPages
from tui.model.state import EVENTS_MAX, MACHINE_SAMPLES_MAX, RUNS_MAX, ClusterState

CLUSTER_SECONDS = 1.0
JOBS_SECONDS = 1.0
WORKERS_SECONDS = 0.5
EVENTS_SECONDS = 1.0
RUNS_SECONDS = 2.0
PEERS_SECONDS = 2.0
"""How often each is asked for, at most. Lower: fresher figures, and more work for the peer that answers."""

SHARE_OF_TIME_MAX = 0.1
"""A question whose answer takes long, as that of 10,000 jobs, is asked so seldom that it takes no more than
this share of the time: the thread competes with the one that draws."""

REST_SECONDS_MAX = 2.0
"""But a question rests no longer than this: one that took long may have waited for a peer that died."""

ANSWER_SECONDS = 3.0
RETRY_FIRST_SECONDS, RETRY_LAST_SECONDS = 0.25, 2.0
CLOSE_SECONDS = 0.3
JOB_VIEWS_MAX = 20
EVENTS_PER_QUESTION = 500

Question = Callable[[Client], dict[str, object]]
"""Queries the cluster; returns the changes of the state."""


@dataclass(frozen=True, slots=True)
class Wants:
    """What has to be read besides the cluster, its peers and events. job_name: whose view; "" for none."""

    jobs: bool = False
    workers: bool = False
    job_name: str = ""


class Feed:
    """Keeps a ClusterState fresh, for as long as it runs. Never raises: what goes wrong is in the state.

    make_client: called in the thread, at first and whenever the client must be made again; may raise
    PymrError. notify: called in the thread whenever `state` is another one; has to be quick.
    """

    def __init__(
        self, make_client: Callable[[float], Client], notify: Callable[[], object], state: ClusterState
    ) -> None:
        self.state = state
        self._make_client = make_client
        self._notify = notify
        self._wants = Wants()
        self._changing = threading.Lock()  # of `state`, which two threads replace
        self._refreshes = self._refreshes_seen = 0
        self._faults: dict[str, str] = {}  # by question
        self._wake = threading.Event()
        self._closed = threading.Event()
        self._pages = JobPages()
        self._due: dict[str, float] = {}
        self._retry_s = RETRY_FIRST_SECONDS
        self._thread = threading.Thread(target=self._run, name="pymr-tui feed", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; a question that is under way is not waited for."""
        self._closed.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(CLOSE_SECONDS)

    def want(self, wants: Wants) -> None:
        """Read this from now on; what was not wanted before is asked for at once."""
        before, self._wants = self._wants, wants
        if wants != before:
            self._wake.set()  # whatever is new has no time at which it is due

    def refresh(self) -> None:
        """Query everything now, including the whole queue, as something was changed."""
        self._refreshes += 1
        self._wake.set()

    def change(self, change: Callable[[ClusterState], ClusterState]) -> ClusterState:
        """Make the state another one, as something was changed; an answer from before does not undo that."""
        with self._changing:
            self.refresh()
            self.state = change(self.state)
            return self.state

    # ---- in the thread

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                with self._make_client(ANSWER_SECONDS) as client:
                    self._read_on(client)
            except PymrError as error:  # no such key, or a client that cannot be made
                self._show_problem(str(error))
            except Exception as error:  # the top of a thread: whatever it is, the feed continues
                self._show_problem(self._fault_of("cluster", error))
                self._retry_s = RETRY_LAST_SECONDS
            self._pause(self._retry_s)

    def _read_on(self, client: Client) -> None:
        """Ask, one question after the other, until the feed is closed or no peer answers."""
        while not self._closed.is_set():
            self._wake.clear()
            if self._is_to_refresh:
                self._refreshes_seen = self._refreshes
                self._pages, self._due = JobPages(), {}
            questions = self._questions()
            wanted = {name for name, _, _ in questions}
            self._due = {name: due for name, due in self._due.items() if name in wanted}
            self._faults = {name: fault for name, fault in self._faults.items() if name in wanted}
            for name, ask, period_s in questions:
                if self._closed.is_set() or self._is_to_refresh:
                    break
                if self._due.get(name, 0.0) > time.monotonic():
                    continue
                if not self._read(client, name, ask, period_s):
                    return
            self._pause(max(0.02, min(self._due.values(), default=0.0) - time.monotonic()))

    def _read(self, client: Client, name: str, ask: Question, period_s: float) -> bool:
        """Ask one question, and show what came of it. Returns whether a peer has answered."""
        began = time.monotonic()
        fault, changes = "", {}
        try:
            changes = ask(client)
        except UnreachableError as error:
            self._show_problem(str(error))
            self._retry_s = min(self._retry_s * 2, RETRY_LAST_SECONDS)
            return False
        except ClientError as error:
            fault = str(error) if name == "cluster" else ""
        except Exception as error:  # an answer that is not understood: the others still are
            fault = self._fault_of(name, error)
        self._retry_s = RETRY_FIRST_SECONDS
        now = time.monotonic()
        self._due[name] = now + max(period_s, min((now - began) / SHARE_OF_TIME_MAX, REST_SECONDS_MAX))
        self._faults.pop(name, None)
        if fault:
            self._faults[name] = fault
        told = next(iter(self._faults.values()), "")
        with self._changing:
            if self._is_to_refresh:  # it may tell of how things were before they were changed
                return True
            self.state = replace(self.state, answered_at=now, problem="", fault=told, **changes)  # type: ignore[arg-type]
        self._tell()
        return True

    @property
    def _is_to_refresh(self) -> bool:
        return self._refreshes != self._refreshes_seen

    def _fault_of(self, name: str, error: Exception) -> str:
        """What to say of a fault of the console's own; its log tells of it once, not at every try."""
        fault = f"The console has a fault and cannot read the {name}: {error!r}. Its log tells more."
        if self._faults.get(name) != fault:
            log_fault(f"the feed failed at the {name}", error)
            self._faults[name] = fault
        return fault

    def _questions(self) -> list[tuple[str, Question, float]]:
        """(name, question, seconds between two), the most wanted first."""
        wants = self._wants
        questions: list[tuple[str, Question, float]] = [
            ("cluster", lambda client: {"cluster": client.cluster()}, CLUSTER_SECONDS)
        ]
        if wants.workers:
            questions.append(("workers", lambda client: {"workers": client.workers()}, WORKERS_SECONDS))
        if wants.job_name:
            questions.append((f"job {wants.job_name}", self._ask_job, JOBS_SECONDS))
        if wants.jobs:
            questions.append(("jobs", self._ask_jobs, JOBS_SECONDS))
            questions.append(("runs", lambda client: {"runs": client.history("", RUNS_MAX)}, RUNS_SECONDS))
        return [
            *questions,
            ("events", self._ask_events, EVENTS_SECONDS),
            ("peers", self._ask_peers, PEERS_SECONDS),
        ]

    def _ask_job(self, client: Client) -> dict[str, object]:
        name = self._wants.job_name
        if not name:
            return {}
        views = {one: view for one, view in self.state.job_views.items() if one != name}
        for one in list(views)[: len(views) - JOB_VIEWS_MAX + 1]:
            del views[one]
        return {"job_views": {**views, name: client.job(name)}}

    def _ask_jobs(self, client: Client) -> dict[str, object]:
        return {"jobs": self._pages.read(client.jobs_page)}

    def _ask_events(self, client: Client) -> dict[str, object]:
        known = self.state.events
        new = client.events(known[-1].id if known else "", EVENTS_PER_QUESTION)
        if not new:
            return {}
        return {"events": _joined(known, new)}

    def _ask_peers(self, client: Client) -> dict[str, object]:
        peers = client.peers()
        machines = dict(self.state.machines)
        for row in peers:
            if row.alive:
                machines[row.name] = (*machines.get(row.name, ()), row.machine)[-MACHINE_SAMPLES_MAX:]
        return {"peers": peers, "machines": machines, "peers_at": time.monotonic()}

    def _show_problem(self, problem: str) -> None:
        with self._changing:
            self.state = replace(self.state, problem=problem)
        self._tell()

    def _tell(self) -> None:
        if not self._closed.is_set():
            self._notify()

    def _pause(self, seconds: float) -> None:
        if not self._closed.is_set() and self._wake.wait(seconds):
            self._wake.clear()  # one that stays set would make the tries that follow come without a pause


def _joined(known: tuple[EventRow, ...], new: tuple[EventRow, ...]) -> tuple[EventRow, ...]:
    """Old and new events; those of another incarnation, whose ids restart, follow as well."""
    ids = {event.id for event in known[-EVENTS_PER_QUESTION:]}
    return (*known, *(event for event in new if event.id not in ids))[-EVENTS_MAX:]
