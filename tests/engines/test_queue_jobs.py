"""Jobs of the queue of a pymr cluster on a Dask cluster that is there already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.clusters import Cluster
from cluster.conftest import make_cluster
from cluster.running import wait_until
from cluster.test_cluster_engines import begin, manifests, open_gate, write_project

__all__ = ["make_cluster"]
MakeCluster = Callable[..., Cluster]


@pytest.fixture(scope="module")
def dask() -> Iterator[Any]:
    """A scheduler with one worker."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as cluster:
        yield cluster


def started(make_cluster: MakeCluster, dask: Any) -> Cluster:
    """A cluster that has its files on the engine in a folder of their own."""
    settings = {"address": dask.scheduler_address}
    cluster = make_cluster(peers=2, settings={"engine_dask": settings})
    folder = cluster.folder / "shared"
    folder.mkdir()
    text = cluster.path.read_text()
    cluster.path.write_text(text.replace("[engine_dask]\n", f'[engine_dask]\nfolder = "{folder}"\n'))
    write_project(cluster)
    return cluster.start()


def test_job_of_the_queue_runs_there_and_leaves_nothing(make_cluster: MakeCluster, dask: Any) -> None:
    cluster = started(make_cluster, dask)
    cluster.submit(engine="dask")
    cluster.succeed()

    assert cluster.output() == cluster.reference()
    assert list((cluster.folder / "shared").iterdir()) == []
    assert wait_until(lambda: not dask.scheduler.tasks, 10.0)


def test_job_that_is_deleted_ends_there_too(make_cluster: MakeCluster, dask: Any) -> None:
    cluster = started(make_cluster, dask)
    begin(cluster)
    before = len(dask.scheduler.tasks)
    cluster.client.delete("job")
    is_forgotten = wait_until(lambda: not dask.scheduler.tasks, 20.0)
    open_gate(cluster)

    assert before > 0 and is_forgotten
    assert manifests(cluster) == []
