"""Jobs of the queue whose tasks an external engine does, here Dask on the leader's machine."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cluster.clusters import Cluster
from cluster.running import lives, wait_until

from pymr.base.errors import JobError
from pymr.client.errors import RefusedError

MakeCluster = Callable[..., Cluster]

MAP = """
    import os
    import time

    def words(line, auxiliary_data):
        while os.path.exists({gate!r}):
            open({mark!r}, "w").close()
            time.sleep(0.02)
        return [(word, 1) for word in line.split()]
"""
REDUCE = """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
"""


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """Two peers of one machine, each with some input. Map functions wait while there is a gate."""
    cluster = make_cluster(peers=2, workers=2)
    write_project(cluster)
    return cluster.start()


def write_project(cluster: Cluster) -> None:
    gate, mark = str(cluster.folder / "gate"), str(cluster.folder / "mark")
    cluster.project(MAP.format(gate=gate, mark=mark), REDUCE)
    for number, name in enumerate(cluster.names):
        lines = (f"{number} {'abcdefghij'[one % 10]} x{one}" for one in range(50))
        cluster.feed(name, f"{number}.txt", *lines)


def begin(cluster: Cluster) -> psutil.Process:
    """Submit a job on Dask; the process that drives it, when a task has come to the gate."""
    (cluster.folder / "gate").touch()
    cluster.submit(engine="dask")
    cluster.wait_for((cluster.folder / "mark").exists, what="a task of the engine")
    row = cluster.wait_for(
        lambda: next((row for row in cluster.client.workers() if row.state == "map"), None), what="a driver"
    )
    return psutil.Process(row.pid)


def open_gate(cluster: Cluster) -> None:
    (cluster.folder / "gate").unlink()


def manifests(cluster: Cluster) -> list[str]:
    """Which peers show an output."""
    outputs = {name: cluster.data(name) / "jobs" / "job" / "reduce" for name in cluster.names}
    return [name for name, path in outputs.items() if (path / "_manifest.json").exists()]


def are_gone(processes: list[psutil.Process]) -> bool:
    return bool(wait_until(lambda: not any(map(lives, processes)), 10.0))


def test_driver_that_is_killed_costs_an_attempt_and_nothing_else(cluster: Cluster) -> None:
    expected = cluster.reference()
    driver = begin(cluster)
    engine = driver.children(recursive=True)
    driver.send_signal(signal.SIGKILL)
    shown_before = manifests(cluster)
    open_gate(cluster)
    cluster.succeed()
    run = cluster.client.history("job")[0]
    pane = b"".join(path.read_bytes() for path in sorted(cluster.folder.glob("data/*/panes/*/*/*.out")))

    assert engine and are_gone(engine)
    assert shown_before == [] and manifests(cluster) == cluster.names
    assert cluster.output() == expected
    assert run.attempts_failed == 1 and (run.records, run.groups) == (100, 62)
    assert b"job: map: 1 of 1 tasks, 100 records" in pane and b"was ended by SIGKILL" in pane


def test_leader_that_is_killed_is_followed_by_one_that_drives(cluster: Cluster) -> None:
    expected = cluster.reference()
    driver = begin(cluster)
    leader = cluster.leader()
    os.kill(cluster.processes[leader].pid, signal.SIGKILL)
    cluster.processes[leader].wait()
    gone = are_gone([driver])
    open_gate(cluster)
    cluster.succeed()

    assert gone
    assert [part.peer for part in cluster.client.output("job").parts] != [leader]
    assert cluster.output() == expected


def test_driver_that_comes_too_late_is_not_published(cluster: Cluster) -> None:
    """Its daemon is stopped for a while, and another leads: both drivers come to their end."""
    expected = cluster.reference()
    begin(cluster)
    leader = cluster.leader()
    cluster.pause(leader)
    follower = cluster.wait_for_other_leader(leader)
    open_gate(cluster)
    late = cluster.data(leader) / "runs" / "job-000001" / "driver-00000-1.1"
    cluster.wait_for(late.exists, what="the late driver to end")
    cluster.wait_for_phase("publish")
    cluster.resume(leader)
    cluster.succeed()

    assert [part.peer for part in cluster.client.output("job").parts] == [follower] * 3
    assert cluster.output() == expected
    assert wait_until(lambda: not late.parent.exists(), 10.0)


def test_job_that_is_deleted_ends_its_engine(cluster: Cluster) -> None:
    driver = begin(cluster)
    processes = [driver, *driver.children(recursive=True)]
    cluster.client.delete("job")

    assert len(processes) > 2 and are_gone(processes)
    assert manifests(cluster) == []


def test_record_on_which_the_function_raises_fails_the_run(cluster: Cluster) -> None:
    cluster.project(
        "def words(line, auxiliary_data):\n    return [(line, 1 // (line[-3:] != 'x42'))]\n", REDUCE
    )
    cluster.submit(engine="dask", max_attempts=2)
    outcome = cluster.finish()

    assert outcome.status == "failed" and outcome.exception is not None
    assert "map function 'words' raised ZeroDivisionError" in outcome.exception
    assert "(task map-0000" in outcome.exception and "2 attempts" in outcome.exception
    assert cluster.client.history("job")[0].failure_kind == "UserFunctionError"


def test_output_feeds_another_job_and_adds_only_what_is_new(cluster: Cluster) -> None:
    """With hold_state and an output that is added to."""
    fields = {"engine": "dask", "hold_state": True, "delete_job_data": False, "run_once": False}
    cluster.submit(**fields)
    cluster.succeed()
    cluster.feed("beta", "new.txt", "x1 x1")
    cluster.client.force("job")
    cluster.succeed()
    cluster.submit(job_name="next", input_dirs=["jobs/job/reduce"], map_function_name="identity")
    cluster.succeed("next")

    assert [row.records for row in cluster.client.history("job")] == [1, 100]
    assert dict(map(tuple, cluster.output("next")))["x1"] == 4


def test_engine_that_is_not_installed_fails_the_run_with_the_way_to_install_it(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    absent = tmp_path / "absent" / "ray" / "__init__.py"
    absent.parent.mkdir(parents=True)
    absent.write_text("raise ModuleNotFoundError(\"No module named 'ray'\", name='ray')\n")
    cluster = make_cluster(peers=1, env={"PYTHONPATH": str(absent.parents[1])})
    write_project(cluster)
    cluster.start()
    cluster.submit(engine="ray")
    outcome = cluster.finish()

    assert outcome.status == "failed" and outcome.exception is not None
    assert "the engine ray needs ray, which is not installed on" in outcome.exception
    assert "pip install 'pymr-cluster[ray]'" in outcome.exception
    assert cluster.client.history("job")[0].attempts_failed == 1

    with pytest.raises(JobError, match=r"engine.*dusk.*did you mean dask"):
        cluster.submit(engine="dusk")


def test_input_of_several_hosts_has_to_be_shared(make_cluster: MakeCluster, tmp_path: Path) -> None:
    """The plan of what they share is made on one host, and may be driven from another."""
    shared = tmp_path / "shared"
    settings = {"storage": {"shared": [str(shared)]}}
    cluster = make_cluster(peers=2, hosts=["127.0.0.1", "127.0.0.2"], settings=settings)
    write_project(cluster)
    shutil.copytree(cluster.input_of("alpha"), shared / "input")
    cluster.start()
    if cluster.leader() == "alpha":  # which is the first that plans
        cluster.kill("alpha")
        cluster.wait_for_other_leader("alpha")
        cluster.restart("alpha")

    with pytest.raises(RefusedError, match=r"input_dirs.*'input'.*each of the 2 hosts.*below /"):
        cluster.submit(engine="dask")

    cluster.submit(engine="dask", input_dirs=[str(shared / "input")])
    cluster.succeed()

    assert cluster.output() == cluster.reference(shared / "input")
    assert {part.peer for part in cluster.client.output("job").parts} == {"beta"}
