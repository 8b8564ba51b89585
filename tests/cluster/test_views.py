"""What consoles see of a run at work in a real cluster: its tasks, sizes of partitions, held keyboards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from cluster.clusters import Cluster
from cluster.held_runs import HeldRun
from cluster.standing import ONE_HOST, Lend

from pymr.engine.segments import read_index
from pymr.wire.requests import JobView


def bytes_on_disk(cluster: Cluster, run_id: str, partitions: int) -> list[int]:
    """How much of each partition is in the map outputs of a run, as they lie in the data folders."""
    folders: list[Path] = sorted(cluster.folder.glob(f"data/*/runs/{run_id}/map-*"))
    indexes = [read_index(str(folder)) for folder in folders]
    return [sum(run.length for one in indexes for run in one.runs(number)) for number in range(partitions)]


def seen(cluster: Cluster, peer: str = "") -> JobView:
    view = cluster.job_view(peer=peer)
    assert view is not None
    return view


@pytest.mark.parametrize("hosts", [ONE_HOST, HeldRun.HOSTS], ids=["one-host", "three-hosts"])
def test_a_run_shows_its_tasks_and_how_much_each_partition_has(
    lend_cluster: Lend, hosts: Sequence[str]
) -> None:
    """Also to a peer that does not lead, and after another has taken the lead."""
    cluster: Cluster = lend_cluster(hosts)
    run = HeldRun(cluster)
    run.reach("reduce")
    run_id = seen(cluster).row.run_id or ""  # type: ignore[union-attr]
    sizes = bytes_on_disk(cluster, run_id, 3)

    def is_known() -> bool:
        view = seen(cluster, run.followers[0])
        return view.partition_bytes == tuple(sizes) and any(row.state == "reduce" for row in view.tasks)

    cluster.wait_for(is_known, what=f"the sizes {sizes}")
    tasks = seen(cluster).tasks
    held = set(run.attempts("held-reduce"))
    listed = json.loads(cluster.pymr("show", cluster.job, "--json").out)
    told = cluster.pymr("show", cluster.job).out
    workers = {row.name: row.task for row in cluster.client.workers() if row.task}

    assert min(sizes) > 0
    assert held <= {row.task for row in tasks}
    assert {row.worker: row.task for row in tasks} == workers
    assert all(0 < row.seconds < 60 and row.usual_seconds is None for row in tasks)
    assert listed["partition_bytes"] == sizes and len(listed["tasks"]) == len(tasks)
    assert f"partitions: largest {max(sizes) / 1_000:.1f} kB" in told or max(sizes) < 1_000

    leader = cluster.leader()
    cluster.kill(leader)
    cluster.wait_for_other_leader(leader)
    cluster.start(leader)
    cluster.wait_for(is_known, what=f"the sizes {sizes} under another leader")
    run.let_go()
    cluster.succeed()

    assert seen(cluster).tasks == ()
    assert seen(cluster).partition_bytes == ()


def test_whoever_has_a_keyboard_is_shown_until_it_is_let_go_of(lend_cluster: Lend) -> None:
    cluster: Cluster = lend_cluster()
    worker, holder = f"{cluster.followers()[0]}/0", "me@here:17"

    def holders() -> dict[str, str]:
        return {row.name: row.holder for row in cluster.client.workers() if row.holder}

    cluster.client.attach(worker, holder)
    cluster.wait_for(lambda: holders() == {worker: holder}, what="the holder to be shown")
    told = cluster.pymr("workers").out
    cluster.client.detach(worker, holder)
    cluster.wait_for(lambda: not holders(), what="nobody to have it")

    assert holder in told and "HOLDER" in told
    assert "HOLDER" not in cluster.pymr("workers").out
