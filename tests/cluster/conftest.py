"""Fixtures of the tests that run real processes; whatever a test leaves behind makes it fail."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster
from cluster.running import Place, processes_of, wait_until
from cluster.shared import SharedPlace
from cluster.standing import StandingClusters


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A folder to run jobs in. At the end no process and no scratch folder of a run may be left."""
    place = Place(tmp_path)
    yield place
    processes = wait_until(lambda: not place.left_processes(), 2.0) or place.left_processes()
    files = place.left_files()
    for process in processes_of(place.marker):
        process.kill()

    assert processes is True, f"processes are left: {processes}"
    assert files == [], "scratch folders are left"


@pytest.fixture
def make_cluster(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters of this test; see `Cluster`. At the end nothing may be left of them."""
    clusters: list[Cluster] = []

    def make(**arguments: Any) -> Cluster:
        folder = tmp_path / f"c{len(clusters)}"
        folder.mkdir()
        clusters.append(Cluster(folder, **arguments))
        request.node.clusters = clusters
        return clusters[-1]

    yield make
    problems = [problem for cluster in clusters for problem in cluster.end()]

    assert problems == []


@pytest.fixture
def lend_cluster(
    standing_clusters: StandingClusters, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Cluster]]:
    """Lends clusters that stay for other tests; see `StandingClusters`. The test has to leave all peers
    running; its jobs are deleted, and nothing of them may be left."""
    lent: list[Cluster] = []

    def lend(hosts: Sequence[str] | None = None) -> Cluster:
        lent.append(standing_clusters.lend(hosts))
        request.node.clusters = lent
        return lent[-1]

    yield lend
    problems = [problem for cluster in lent for problem in standing_clusters.take_back(cluster)]

    assert problems == []


@pytest.fixture(scope="module")
def lasting_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one peer and two workers, for all tests of a module: they give it jobs
    of names of their own, and do it no harm. At the end nothing may be left of it."""
    cluster = Cluster(tmp_path_factory.mktemp("lasting"), peers=1, workers=2)
    cluster.start()
    yield cluster
    problems = cluster.end()

    assert problems == []


@pytest.fixture
def make_shared_place(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Cluster], SharedPlace]]:
    """Makes a folder to run jobs in, in a cluster of one peer. At the end no process and no file of a run may
    be left, and the daemon has to be the one it was."""
    made: list[tuple[SharedPlace, Cluster]] = []

    def make(cluster: Cluster) -> SharedPlace:
        monkeypatch.delenv("PYMR_CONFIG", raising=False)
        request.node.clusters = [cluster]
        made.append((SharedPlace(tmp_path, cluster), cluster))
        return made[-1][0]

    yield make
    for place, cluster in made:
        wait_until(lambda place=place: not place.left_processes(), 2.0)

        assert place.left_processes() == []
        assert place.left_files() == []
        assert [process.poll() for process in cluster.processes.values()] == [None]


@pytest.fixture
def shared_place(
    lasting_cluster: Cluster, make_shared_place: Callable[[Cluster], SharedPlace]
) -> SharedPlace:
    """A folder to run jobs in that need no cluster of their own."""
    return make_shared_place(lasting_cluster)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure is told with what the daemons have logged."""
    report = yield
    if report.failed:
        for number, cluster in enumerate(getattr(item, "clusters", [])):
            report.sections.append((f"logs of cluster {number}", cluster.logs()))
    return report
