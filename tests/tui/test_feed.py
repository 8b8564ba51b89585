"""The feed over a real cluster: what it reads, what it keeps when nobody answers, and how it comes back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from cluster.clusters import Cluster
from cluster.gated import Gates

from pymr.client import Client
from pymr.errors import ConfigError, Problem
from tui.model.feed import SHARE_OF_TIME_MAX, Feed, Wants
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

    ids = [event.id for event in state.events]
    assert len(set(ids)) == len(ids)
    assert [event.time for event in state.events] == sorted(event.time for event in state.events)


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


def test_a_question_that_takes_long_is_asked_seldom(
    monkeypatch: pytest.MonkeyPatch, lend_cluster: Lend
) -> None:
    cluster = lend_cluster()
    took, asked = 0.3, []
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
