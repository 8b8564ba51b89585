"""The example projects/pipeline on a cluster of three machines: five jobs as one group."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import PROJECTS

from pymr.client import ClientError
from pymr.jobs.job import job_to_dict, load_job

MakeCluster = Callable[..., Cluster]
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
NAMES = [f"pipeline-{name}" for name in ("count", "fetch", "filter", "load", "index")]
EXPECTED = [
    ["a", {"and": 6}],
    ["c", {"corn": 3}],
    ["h", {"heron": 4}],
    ["i", {"in": 4, "is": 3}],
    ["m", {"mill": 4}],
    ["r", {"river": 5}],
    ["s", {"stands": 4}],
    ["t", {"the": 18}],
]


def fed(make_cluster: MakeCluster, **arguments: Any) -> Cluster:
    """A cluster with the project, and its input on two of its peers."""
    cluster = make_cluster(hosts=HOSTS, **arguments)
    shutil.copytree(PROJECTS / "pipeline", cluster.folder / "projects" / "pipeline")
    for peer, name in (("alpha", "spring.txt"), ("gamma", "autumn.txt")):
        shutil.copy(PROJECTS / "pipeline" / "input" / name, cluster.input_of(peer))
    return cluster.start()


def submit(cluster: Cluster, **fields: Any) -> None:
    """Submit all five before the first begins."""
    cluster.client.pause()
    for path in sorted((PROJECTS / "pipeline").glob("*.toml")):
        cluster.client.submit(job_to_dict(load_job(str(path))) | fields, cluster.folder / "projects")
    cluster.client.resume()


def runs_in_order(cluster: Cluster) -> list[tuple[str, str]]:
    runs = sorted(cluster.client.history(), key=lambda run: run.start_time)
    return [(run.job_name, run.status) for run in runs]


def test_a_pipeline_fails_as_a_whole_and_is_brought_back_as_a_whole(make_cluster: MakeCluster) -> None:
    cluster = fed(make_cluster)
    script = cluster.folder / "projects" / "pipeline" / "frequent.py"
    mended = cluster.folder / "mended"
    script.write_text(
        f"import os, sys\nif not os.path.exists({str(mended)!r}):\n    sys.exit('not mended')\n"
        + script.read_text()
    )
    submit(cluster)
    failed = cluster.finish("pipeline-filter")
    last = cluster.finish("pipeline-index")
    waited = cluster.pymr("wait", "pipeline-load")
    rows = {row.fields["job_name"]: row for row in cluster.client.jobs().rows}
    first_runs = runs_in_order(cluster)
    mended.touch()
    retried = cluster.pymr("retry", "pipeline")
    cluster.succeed("pipeline-index")
    cluster.wait_for(lambda: cluster.client.jobs().rows == (), what="the group to leave the queue")
    shown = cluster.pymr("show", "pipeline-filter")

    assert "exit status 1" in failed.exception and "not mended" in failed.exception
    assert last.status == "failed" and last.run_id == ""
    assert "pipeline-filter of its group pipeline failed" in last.exception
    assert "pymr retry pipeline" in last.exception
    assert (waited.status, "pipeline-filter" in waited.err) == (1, True)
    assert {name: rows[name].status for name in NAMES} == dict.fromkeys(NAMES, "failed")
    assert first_runs == [(NAMES[0], "succeeded"), (NAMES[1], "succeeded"), (NAMES[2], "failed")]
    assert (retried.status, "queued 5 jobs of group pipeline" in retried.out) == (0, True), retried.err
    assert runs_in_order(cluster)[3:] == [(name, "succeeded") for name in NAMES]
    assert ordered(cluster.output("pipeline-index")) == EXPECTED
    assert "9 of 24 words occur at least 3 times" in shown.out
    assert "pymr logs alpha/0" in shown.out


def test_a_pipeline_that_recurs_runs_once_in_each_cycle(make_cluster: MakeCluster) -> None:
    cluster = fed(make_cluster, settings={"scheduler": {"cycle_seconds": 1.0}})
    submit(cluster, run_once=False)
    cluster.wait_for(
        lambda: len(cluster.client.history("pipeline-index")) >= 2, what="two cycles of the pipeline"
    )
    forecast = cluster.wait_for(lambda: forecast_of(cluster), what="a forecast of a cycle under way")
    cluster.client.pause()
    runs = runs_in_order(cluster)

    assert runs[:10] == [(name, "succeeded") for name in NAMES * 2]
    assert forecast == sorted(forecast)
    assert ordered(cluster.output("pipeline-index")) == EXPECTED
    view = json.loads(cluster.pymr("jobs", "--json").out)
    assert {row["last_seconds"] > 0 for row in view} == {True}
    assert "paused" in cluster.pymr("jobs").out


def forecast_of(cluster: Cluster) -> list[float]:
    """When the jobs that still run in this cycle are expected to begin; [] unless there are three or more."""
    rows = cluster.client.jobs().rows
    starts = [row.expected_start for row in rows if row.status == "queued"]
    return [start for start in starts if start is not None] if len(starts) >= 3 and None not in starts else []


SCRIPTS = ("first", "second", "third")


@pytest.mark.parametrize("point", ["leader.before_end", "leader.after_end"])
def test_a_group_goes_on_after_kills_between_its_jobs(make_cluster: MakeCluster, point: str) -> None:
    """Every peer is killed once, as the leader that ends a run; those that come back have no such fault."""
    cluster = make_cluster(env={"PYMR_FAULTS": f"{point}:kill@1"})
    notes = cluster.folder / "notes"
    script = cluster.folder / "projects" / "p" / "note.sh"
    script.parent.mkdir(parents=True)
    script.write_text(f'#!/bin/sh\necho "$PYMR_JOB $PYMR_ATTEMPT" >> {notes}\n')
    script.chmod(0o755)
    cluster.start()
    cluster.env.clear()
    cluster.client.pause()
    for number, name in enumerate(SCRIPTS):
        cluster.client.submit(
            {
                "job_type": "script",
                "job_name": name,
                "group_name": "pipeline",
                "job_priority": -number,
                "run_once": True,
                "script_location": str(script),
            },
            cluster.folder / "projects",
        )
    cluster.client.resume()
    killed = set()

    def is_over() -> bool:
        killed.update(name for name, process in cluster.processes.items() if process.poll() is not None)
        cluster.restart_dead()
        with suppress(ClientError):
            return len(cluster.client.history()) == len(SCRIPTS)
        return False

    cluster.wait_for(is_over, what="the end of the group")
    cluster.restart_dead()
    runs = sorted(cluster.client.history(), key=lambda run: run.start_time)

    assert killed
    assert [(run.job_name, run.status) for run in runs] == [(name, "succeeded") for name in SCRIPTS]
    assert notes.read_text().split("\n")[:-1] == [f"{name} 1" for name in SCRIPTS]
    assert all(one.end_time <= next.start_time for one, next in itertools.pairwise(runs))
    assert cluster.client.jobs().rows == ()
