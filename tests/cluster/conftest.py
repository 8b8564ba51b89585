"""Fixtures of the tests that run real processes; whatever a test leaves behind makes it fail."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster
from cluster.running import Place, processes_of, wait_until


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
