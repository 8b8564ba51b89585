"""Fields of jobs that no other test shows on a cluster."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import MAP_WORDS, REDUCE_TOTAL

from pymr.base.errors import JobError

MakeCluster = Callable[..., Cluster]


def test_fields_of_all_jobs(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(settings={"scheduler": {"cycle_seconds": 600}})
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    cluster.feed("alpha", "a.txt", "a b a")
    cluster.start()
    cluster.submit(job_name="once")
    cluster.submit(job_name="recurring", run_once=False, job_submitter="somebody@somewhere")
    cluster.submit(job_name="forced", run_once=False, force_run=True, job_priority=-1)
    cluster.submit(job_name="wrong", auxiliary_data_name_mapper="absent")
    for name in ("once", "recurring", "wrong"):
        cluster.finish(name)
    cluster.wait_for(lambda: len(cluster.client.history("forced")) >= 3, what="the third run of a forced job")
    view = cluster.client.jobs()
    rows = {row.fields["job_name"]: row for row in view.rows}
    runs = cluster.client.history()

    assert set(rows) == {"recurring", "forced", "wrong"}
    assert {row.fields["job_type"] for row in view.rows} == {"mapreduce"}
    assert [run.job_name for run in runs if run.job_name != "forced"].count("recurring") == 1
    assert (view.cycle, rows["recurring"].status) == (1, "succeeded")
    starts = sorted(run.start_time for run in runs if run.job_name == "forced")
    assert all(later - earlier >= 0.95 for earlier, later in pairwise(starts))
    listed = {row["job_name"]: row for row in json.loads(cluster.pymr("jobs", "--json").out)}
    assert listed["recurring"]["job_submitter"] == "somebody@somewhere"
    assert "@" in listed["forced"]["job_submitter"]
    assert listed["recurring"]["start_time"] < listed["recurring"]["end_time"] < time.time() + 1
    assert "absent" in listed["wrong"]["exception"]
    with pytest.raises(JobError, match="current_phase"):
        cluster.submit(current_phase="map")


def test_fields_that_bound_the_memory_of_a_shuffle(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(peers=2)
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    for peer in cluster.names:
        for number in range(4):
            cluster.feed(peer, f"{number}.txt", *(f"word-{which // 2 % 10}" for which in range(40)))
    cluster.start()
    values = []
    for bound in (2, None):
        cluster.submit(
            combine_function_name="total",
            max_number_dumped_items_shuffler=bound,
            simultaneous_files_in_redis=1,
        )
        cluster.succeed()
        values.append(cluster.client.history("job")[0].values)

        assert ordered(cluster.output()) == [[f"word-{which}", 32] for which in range(10)]
    assert values[0] > 2 * values[1]  # what is not held together cannot be combined
