"""The feed over a real cluster: what it reads, what it keeps when nobody answers, and how it comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, cast

import msgspec
import pytest
from cluster.clusters import Cluster
from cluster.gated import Gates

from pymr.base.errors import ConfigError, Problem
from pymr.client import Client
from pymr.wire.requests import ClusterView, JobsView
from pymr.wire.rows import WorkerRow
from tui.model.feed import REST_SECONDS_MAX, RETRY_FIRST_SECONDS, SHARE_OF_TIME_MAX, Feed, Wants
from tui.model.state import ClusterState

Lend = Callable[..., Cluster]
LIMIT_S = 20.0


class Watched:
    """A feed of a cluster, and what it has told."""

    def __init__(self, make_client: Callable[[float], Client]) -> None:
        self.told = 0
        self._changed = threading.Condition()
        self.feed = Feed(make_client, self._notify, ClusterState())

    def _notify(self) -> None:
        with self._changed:
            self.told += 1
            self._changed.notify_all()

    def until(self, condition: Callable[[ClusterState], object], what: str) -> ClusterState:
        deadline = time.monotonic() + LIMIT_S
        with self._changed:
            while not condition(self.feed.state):
                assert self._changed.wait(deadline - time.monotonic()), f"{what}: {self.feed.state}"
        return self.feed.state


@contextmanager
def watched(cluster: Cluster) -> Iterator[Watched]:
    one = Watched(lambda timeout_s: Client(cluster.config, timeout_s=timeout_s))
    one.feed.start()
    try:
        yield one
    finally:
        one.feed.close()


def gated_project(cluster: Cluster) -> None:
    gates = Gates(cluster.folder / "gates")
    cluster.project(gates.map_source, gates.reduce_source)


def test_it_reads_the_cluster_its_peers_and_its_events_and_of_the_rest_what_is_wanted(
    lend_cluster: Lend,
) -> None:
    cluster = lend_cluster()
    gated_project(cluster)
    cluster.feed("alpha", "a.txt", "one two")
    cluster.submit(run_once=False)
    with watched(cluster) as console:
        first = console.until(lambda state: state.cluster and state.peers and state.events, "a first state")
        console.feed.want(Wants(jobs=True, workers=True, job_name=cluster.job))
        second = console.until(
            lambda state: state.jobs and state.workers and cluster.job in state.job_views, "what is wanted"
        )

    assert first.cluster is not None
    assert (first.cluster.peers_alive, first.problem) == (3, "")
    assert (first.jobs, first.workers) == (None, ())
    assert {row.name for row in first.peers} == set(cluster.names)
    assert second.jobs is not None
    assert [row.fields["job_name"] for row in second.jobs.rows] == [cluster.job]
    assert {row.peer for row in second.workers} == set(cluster.names)
    assert second.job_views[cluster.job].row is not None


def test_events_are_read_once_each_and_the_newest_stands_last(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    gated_project(cluster)
    cluster.feed("alpha", "a.txt", "one two")
    with watched(cluster) as console:
        console.until(lambda state: state.events, "the events so far")
        cluster.submit()
        cluster.succeed()
        state = console.until(
            lambda state: any(
                event.kind == "run.succeeded" and event.job_name == cluster.job for event in state.events
            ),
            "the end of the run",
        )

    # In the order of Redis: the clocks of two peers that tell of something may differ.
    ids = [tuple(map(int, event.id.split("-"))) for event in state.events]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)


def test_the_last_state_stays_while_no_peer_answers_and_is_fresh_again_afterwards(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(peers=2)
    cluster.start()
    with watched(cluster) as console:
        console.feed.want(Wants(workers=True))
        before = console.until(lambda state: state.workers and state.peers, "a first state")
        for name in cluster.names:
            cluster.kill(name)
        lost = console.until(lambda state: state.problem, "the loss")
        for name in cluster.names:
            cluster.restart(name)
        again = console.until(
            lambda state: (
                not state.problem
                and state.peers
                and {row.pid for row in state.peers} == {cluster.pid(name) for name in cluster.names}
            ),
            "the peers to be back",
        )

    assert "no peer has answered" in lost.problem
    assert lost.workers == before.workers
    assert lost.answered_at is not None
    assert again.answered_at is not None
    assert again.answered_at > lost.answered_at


def test_a_console_that_cannot_be_made_is_told_of_and_tried_again(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    calls = []

    def make_client(timeout_s: float) -> Client:
        calls.append(timeout_s)
        if len(calls) < 3:
            raise ConfigError("cluster.toml", (Problem("keys_dir", "keys", "has no key operator"),))
        return Client(cluster.config, timeout_s=timeout_s)

    console = Watched(make_client)
    console.feed.start()
    try:
        told = console.until(lambda state: state.problem, "the problem")
        console.until(lambda state: state.cluster, "the cluster")
    finally:
        console.feed.close()

    assert "has no key operator" in told.problem


def test_tries_are_apart_although_something_was_wanted_meanwhile() -> None:
    tries: list[float] = []
    enough = threading.Event()

    def make_client(timeout_s: float) -> Client:
        tries.append(time.monotonic())
        if len(tries) == 4:
            enough.set()
        raise ConfigError("keys", (Problem("operator", "", "there is no such key"),))

    feed = Feed(make_client, lambda: None, ClusterState())
    feed.want(Wants(jobs=True))
    feed.start()
    was_enough = enough.wait(LIMIT_S)
    feed.close()

    assert was_enough
    assert min(later - earlier for earlier, later in pairwise(tries[1:4])) >= RETRY_FIRST_SECONDS * 0.9


def test_a_question_that_takes_long_is_asked_seldom(
    monkeypatch: pytest.MonkeyPatch, lend_cluster: Lend
) -> None:
    cluster = lend_cluster()
    took, asked = 0.1, []
    read = Client.jobs_page

    def slow_jobs(client: Client, start: int) -> object:
        asked.append(time.monotonic())
        threading.Event().wait(took)
        return read(client, start)

    monkeypatch.setattr(Client, "jobs_page", slow_jobs)
    with watched(cluster) as console:
        console.feed.want(Wants(jobs=True))
        console.until(lambda _: len(asked) >= 2, "a second question")

    assert asked[1] - asked[0] >= took / SHARE_OF_TIME_MAX


def test_it_ends_at_once_also_while_nobody_answers(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(peers=1)  # which was never started
    with watched(cluster) as console:
        console.until(lambda state: state.problem, "the loss")
        began = time.monotonic()
        console.feed.close()

    assert time.monotonic() - began < 1.0


CLUSTER = ClusterView(
    id="c", name="here", peer="alpha", incarnation="i", leader="alpha", epoch=1, paused=False, peers_alive=1,
    peers=1, workers=1, workers_busy=0, jobs=0, version="1", role="operator",
)  # fmt: skip


class ToldClient:
    """Answers at once what a test has it say; or later, or not at all."""

    def __init__(self) -> None:
        self.view = CLUSTER
        self.asked: list[str] = []
        self.before_workers: Callable[[], object] = lambda: None
        self.before_cluster: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def cluster(self) -> ClusterView:
        view = self.view
        self.asked.append("cluster")
        self.before_cluster()
        return view

    def workers(self) -> tuple[WorkerRow, ...]:
        self.asked.append("workers")
        self.before_workers()
        return (WorkerRow(name="alpha/0", peer="alpha", pid=self.asked.count("workers"), state="idle"),)

    def events(self, after: str, limit: int) -> tuple[Any, ...]:
        return ()

    def peers(self) -> tuple[Any, ...]:
        return ()

    def jobs_page(self, start: int) -> JobsView:
        return JobsView(id="j", rows=(), total=0)


@contextmanager
def told(client: ToldClient) -> Iterator[Watched]:
    console = Watched(lambda _: cast(Client, client))
    console.feed.start()
    try:
        yield console
    finally:
        console.feed.close()


def test_an_answer_that_is_not_understood_is_told_of_and_the_others_still_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    client = ToldClient()
    is_odd = threading.Event()
    is_odd.set()

    def be_odd() -> None:
        if is_odd.is_set():
            raise ValueError("an answer of a newer release")

    client.before_workers = be_odd
    with told(client) as console:
        console.feed.want(Wants(workers=True))
        odd = console.until(lambda state: state.fault and state.cluster, "the fault")
        console.until(lambda _: client.asked.count("workers") >= 3, "other tries")
        is_odd.clear()
        well = console.until(lambda state: state.workers, "the workers")
    log = (tmp_path / "pymr" / "console.log").read_text()

    assert "cannot read the workers" in odd.fault
    assert "an answer of a newer release" in odd.fault
    assert (well.fault, well.problem) == ("", "")
    assert log.count("Traceback") == 1


def test_a_console_that_cannot_be_made_by_a_fault_is_made_at_the_next_try(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr("tui.model.feed.RETRY_LAST_SECONDS", 0.05)
    calls = []

    def make_client(timeout_s: float) -> Client:
        calls.append(timeout_s)
        if len(calls) < 3:
            raise OSError("the key cannot be read")
        return cast(Client, ToldClient())

    console = Watched(make_client)
    console.feed.start()
    try:
        odd = console.until(lambda state: state.problem, "the problem")
        console.until(lambda state: state.cluster and not state.problem, "the cluster")
    finally:
        console.feed.close()

    assert "the key cannot be read" in odd.problem


def test_a_question_that_waited_long_for_a_dead_peer_is_asked_again_soon() -> None:
    client = ToldClient()
    at: list[float] = []
    took = REST_SECONDS_MAX * SHARE_OF_TIME_MAX * 3  # by its share, it would rest three times as long

    def wait_once() -> None:
        at.append(time.monotonic())
        if len(at) == 1:
            threading.Event().wait(took)

    client.before_cluster = wait_once
    with told(client) as console:
        console.until(lambda _: len(at) >= 2, "the second question")

    assert at[1] - at[0] - took < REST_SECONDS_MAX * 2


def test_an_answer_from_before_a_change_does_not_undo_it() -> None:
    client = ToldClient()
    is_asked, is_changed = threading.Event(), threading.Event()
    with told(client) as console:
        console.until(lambda state: state.cluster, "the cluster")

        def wait_for_change() -> None:
            is_asked.set()
            assert is_changed.wait(10.0)

        client.before_cluster = wait_for_change
        assert is_asked.wait(10.0)
        client.view = msgspec.structs.replace(CLUSTER, paused=True)
        seen: list[bool] = []
        console.feed.change(lambda state: replace(state, cluster=client.view))
        asked = client.asked.count("cluster")
        is_changed.set()
        console.until(
            lambda state: (
                seen.append(state.cluster is not None and state.cluster.paused)
                or client.asked.count("cluster") > asked + 1
            ),
            "further answers",
        )

    assert all(seen)


def test_after_a_change_everything_is_asked_anew_without_waiting_for_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("CLUSTER_SECONDS", "EVENTS_SECONDS", "PEERS_SECONDS"):
        monkeypatch.setattr(f"tui.model.feed.{name}", 600.0)
    client = ToldClient()
    with told(client) as console:
        console.until(lambda _: console.told >= 3, "the answers to all three questions")
        console.feed.change(lambda state: state)
        console.until(lambda _: client.asked.count("cluster") > 1, "the next question")


def test_a_refresh_is_not_lost_while_a_question_is_under_way() -> None:
    client = ToldClient()
    is_asked, is_refreshed = threading.Event(), threading.Event()

    def wait_for_refresh() -> None:
        is_asked.set()
        assert is_refreshed.wait(10.0)

    client.before_workers = wait_for_refresh
    with told(client) as console:
        console.feed.want(Wants(workers=True))
        assert is_asked.wait(10.0)
        console.feed.refresh()
        client.before_workers = lambda: None
        is_refreshed.set()
        state = console.until(lambda state: state.workers, "the workers")

    assert [row.pid for row in state.workers] == [2]  # the answer to the second question
