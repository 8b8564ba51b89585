"""Jobs of the queue of a pymr cluster: on a Dask cluster that is there already, on Ray and Spark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from cluster.clusters import Cluster
from cluster.conftest import make_cluster
from cluster.ports import PortBlock
from cluster.running import wait_until
from cluster.test_engines import begin, manifests, open_gate, write_project

from pymr.engines.core.backends import LIBRARIES

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


def started(make_cluster: MakeCluster, address: str, **settings: Any) -> Cluster:
    """A cluster that has its files on the engine in a folder of their own. settings: sections of its file."""
    cluster = make_cluster(peers=2, settings={"engine_dask": {"address": address}} | settings)
    folder = cluster.folder / "shared"
    folder.mkdir()
    text = cluster.path.read_text()
    cluster.path.write_text(text.replace("[engine_dask]\n", f'[engine_dask]\nfolder = "{folder}"\n'))
    write_project(cluster)
    return cluster.start()


def test_job_of_the_queue_runs_there_and_leaves_nothing(make_cluster: MakeCluster, dask: Any) -> None:
    cluster = started(make_cluster, dask.scheduler_address)
    cluster.submit(engine="dask")
    cluster.succeed()

    assert cluster.output() == cluster.reference()
    assert list((cluster.folder / "shared").iterdir()) == []
    assert wait_until(lambda: not dask.scheduler.tasks, 10.0)


def test_job_that_is_deleted_ends_there_too(make_cluster: MakeCluster, dask: Any) -> None:
    cluster = started(make_cluster, dask.scheduler_address)
    begin(cluster)
    before = len(dask.scheduler.tasks)
    cluster.client.delete("job")
    is_forgotten = wait_until(lambda: not dask.scheduler.tasks, 20.0)
    open_gate(cluster)

    assert before > 0 and is_forgotten
    assert manifests(cluster) == []


ALONE = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", scheduler_port=int(sys.argv[1]),
        dashboard_address="127.0.0.1:0",
    ):
        print("ready", flush=True)
        sys.stdin.read()
"""


class OwnDask:
    """A Dask cluster in processes of its own, which can be killed all at once."""

    def __init__(self, script: str, port: int) -> None:
        self.address = f"tcp://127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, script, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"ready\n"

    def kill(self) -> None:
        """All of it."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def test_scheduler_that_is_lost_costs_an_attempt(make_cluster: MakeCluster) -> None:
    ports = PortBlock()
    port = ports.take()
    cluster = started(make_cluster, f"tcp://127.0.0.1:{port}")
    script = cluster.folder / "alone.py"
    script.write_text(ALONE)
    first = OwnDask(str(script), port)
    begin(cluster)
    first.kill()
    second = OwnDask(str(script), port)
    try:
        open_gate(cluster)
        cluster.succeed()

        assert cluster.output() == cluster.reference()
        assert cluster.client.history("job")[0].attempts_failed >= 1
    finally:
        second.kill()
        ports.close()


def test_job_whose_workers_are_all_gone_says_so_and_fails_in_the_end(make_cluster: MakeCluster) -> None:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0"
    ) as dask:
        settings = {"scheduler": {"machine_grace_seconds": 4}}
        cluster = started(make_cluster, dask.scheduler_address, **settings)
        begin(cluster)
        dask.scale(0)
        outcome = cluster.finish()
    panes = b"".join(path.read_bytes() for path in cluster.folder.glob("data/*/panes/*/*/*.out"))

    assert outcome.status == "failed" and outcome.exception is not None
    assert f"Dask at {dask.scheduler_address} has had no workers for 4 s" in outcome.exception
    assert cluster.client.history("job")[0].attempts_failed == 1
    assert b"has no workers any more: waiting for some; the run fails in" in panes


KILLED_ONCE = """
    import os
    import signal

    def words(line, auxiliary_data):
        kill_once("map", line.endswith("x42"))
        return [(word, 1) for word in line.split()]

    def total(group, auxiliary_data):
        kill_once("reduce", group.key == "x42")
        return [(group.key, sum(group.values))]

    def kill_once(phase, may_kill):
        mark = MARK + phase
        if may_kill and not os.path.exists(mark):
            open(mark, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("engine", [name for name in ("ray", "spark") if find_spec(LIBRARIES[name])])
def test_workers_killed_in_map_and_in_reduce_cost_nothing(make_cluster: MakeCluster, engine: str) -> None:
    cluster = make_cluster(peers=1, workers=2)
    write_project(cluster)
    expected = cluster.reference()
    mark = str(cluster.folder / "mark-")
    source = KILLED_ONCE.replace("MARK", repr(mark))
    cluster.project(source, source)
    cluster.start()
    cluster.submit(engine=engine)
    cluster.succeed()

    assert os.path.exists(f"{mark}map") and os.path.exists(f"{mark}reduce")
    assert cluster.output() == expected
    assert cluster.client.history("job")[0].attempts_failed == 0
