"""The queue: submit, replace, delete, undelete, priorities, pause, and what a wait ends with."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable

import pytest
from cluster.clusters import Cluster, ordered
from cluster.held_runs import HeldRun

from pymr.client import ClientError, RefusedError
from pymr.client.submit import packed_project
from pymr.jobs.job import parse_job
from pymr.wire.requests import SubmitJob, Submitted

Lend = Callable[..., Cluster]
STOP_S = 2.0
LOADED = 5.0
"""How much longer than the bar it may take on a machine that runs other tests beside this one."""


@pytest.fixture
def held(lend_cluster: Lend) -> HeldRun:
    return HeldRun(lend_cluster(HeldRun.HOSTS))


@pytest.mark.parametrize("phase", ["plan", "map", "shuffle", "reduce", "publish"])
def test_deleting_a_running_job_stops_it_and_cleans_up(held: HeldRun, phase: str) -> None:
    cluster = held.cluster
    held.reach(phase)
    deleted_at = time.monotonic()
    cluster.client.delete(cluster.job)
    if phase not in ("plan", "shuffle", "publish"):  # in those it is what holds them that cannot stop
        idle = cluster.wait_for(lambda: cluster.busy_workers() == [], what="the workers to stop")
        took = time.monotonic() - deleted_at
        assert idle and took < STOP_S * LOADED
        cluster.wait_for(lambda: cluster.left_runs() == [], what="the run's files to go")
    held.let_go()
    cluster.wait_for(lambda: cluster.left_runs() == [], what="the run's files to go")
    rows = cluster.client.jobs().rows
    runs = cluster.client.history(cluster.job)

    assert rows == ()
    assert [run.status for run in runs] == ["deleted" if phase != "publish" else runs[0].status]
    if phase != "publish":
        with pytest.raises(ClientError, match="has no output"):
            cluster.output()


def test_a_deleted_job_can_be_submitted_again_at_once(held: HeldRun) -> None:
    cluster = held.cluster
    held.reach("map")
    cluster.client.delete(cluster.job)
    cluster.submit()
    held.let_go()
    cluster.succeed()

    first, *others = [run.status for run in cluster.client.history(cluster.job)]
    assert first == "succeeded"
    assert others in (["deleted"], ["replaced"])  # the leader may see both changes at once
    assert ordered(cluster.output()) == ordered(cluster.reference())


def test_a_job_that_is_deleted_while_it_runs_comes_back_and_runs_again(held: HeldRun) -> None:
    cluster = held.cluster
    held.reach("map")
    (row,) = cluster.client.jobs().rows
    deleted = cluster.pymr("delete", cluster.job)
    cluster.wait_for(
        lambda: [run.status for run in cluster.client.history(cluster.job)] == ["deleted"],
        what="its end",
    )
    for name in cluster.names:  # so that each of them has to have it from Redis once more
        shutil.rmtree(cluster.data(name) / "projects" / row.project_hash)
    back = cluster.pymr("undelete", cluster.job)
    again = cluster.pymr("undelete", cluster.job)
    (queued,) = cluster.client.jobs().rows
    held.let_go()
    cluster.succeed()

    assert (deleted.status, f"`pymr undelete {cluster.job}`" in deleted.out) == (0, True)
    assert back.status == 0, back.err
    assert again.status == 1 and "is in the queue again" in again.err
    assert (queued.fields, queued.project_hash) == (row.fields, row.project_hash)
    assert queued.version > row.version and row.project_hash
    assert [run.status for run in cluster.client.history(cluster.job)] == ["succeeded", "deleted"]
    assert ordered(cluster.output()) == ordered(cluster.reference())
    with pytest.raises(RefusedError, match="no job 'nothing' was deleted") as refused:
        cluster.client.undelete("nothing")
    assert refused.value.code == "unknown"


def test_a_job_that_comes_back_knows_what_it_has_consumed(held: HeldRun) -> None:
    cluster = held.cluster
    cluster.submit(run_once=False, hold_state=True, delete_job_data=False)
    first = cluster.succeed()
    consumed, output = cluster.client.state(cluster.job), cluster.output()
    cluster.client.delete(cluster.job)
    cluster.client.undelete(cluster.job)
    second = cluster.succeed()

    assert (first.status, second.status) == ("succeeded", "skipped"), "there is nothing new"
    assert cluster.client.state(cluster.job).files == consumed.files != ()
    assert cluster.output() == output


def test_a_submission_over_a_version_that_is_gone_is_refused(held: HeldRun) -> None:
    cluster = held.cluster
    cluster.client.pause()
    job, projects = cluster.job_fields(job_submitter="ada@engine"), cluster.folder / "projects"
    seen = cluster.client.submit(job, projects, 0).version
    newer = cluster.client.submit(job, projects, seen).version
    with pytest.raises(RefusedError, match=f"version {newer}, submitted by ada@engine") as refused:
        cluster.client.submit(job | {"partitions": 2}, projects, seen)
    path = cluster.folder / "job.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in job.items()))
    stale = cluster.pymr("submit", path, "--over-version", seen)
    fresh = cluster.pymr("submit", path, "--over-version", newer)
    (row,) = cluster.client.jobs().rows
    cluster.client.resume()

    assert refused.value.code == "conflict"
    assert stale.status == 1 and f"that was version {seen}, this is version {newer}" in stale.err
    assert fresh.status == 0, fresh.err
    assert row.version > newer and row.fields["partitions"] == job["partitions"]


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_replacing_a_running_job_ends_its_run_and_begins_another(held: HeldRun, phase: str) -> None:
    cluster = held.cluster
    held.reach(phase)
    answer = cluster.client.submit(
        cluster.job_fields(partitions=2, combine_function_name="total"), cluster.folder / "projects"
    )
    held.let_go()
    cluster.succeed()

    assert answer.replaced
    assert [run.status for run in cluster.client.history(cluster.job)] == ["succeeded", "replaced"]
    assert ordered(cluster.output()) == ordered(cluster.reference())


def test_jobs_run_by_priority_then_by_age(held: HeldRun) -> None:
    cluster = held.cluster
    cluster.client.pause()
    for name, priority in (("low", -1), ("first", 1), ("second", 1), ("high", 7)):
        cluster.submit(job_name=name, job_priority=priority)
    listed = [row.fields["job_name"] for row in cluster.client.jobs().rows]
    cluster.client.resume()
    for name in ("low", "first", "second", "high"):
        cluster.succeed(name)
    runs = sorted(cluster.client.history(limit=4), key=lambda run: run.start_time)

    assert listed == ["high", "first", "second", "low"]
    assert [run.job_name for run in runs] == listed


def test_a_paused_queue_starts_nothing_and_lets_runs_go_on(held: HeldRun) -> None:
    cluster = held.cluster
    held.reach("map")
    cluster.client.pause()
    cluster.submit(job_name="later")
    held.let_go()
    cluster.succeed()
    waited = cluster.pymr("wait", "later", "--timeout", "0.7")
    view = cluster.client.jobs()
    cluster.client.resume()
    cluster.succeed("later")

    assert waited.status == 2
    assert view.paused
    assert [(row.fields["job_name"], row.status) for row in view.rows] == [("later", "queued")]


def test_a_submission_that_comes_twice_is_one(held: HeldRun) -> None:
    cluster = held.cluster
    fields = cluster.job_fields()
    package = packed_project(parse_job(fields), cluster.folder / "projects")
    assert package is not None
    cluster.client._put_package(package.content_hash, package.data)
    request = SubmitJob(id=uuid.uuid4().hex, fields=fields, project_hash=package.content_hash)
    answers = [cluster.client._ask(request, Submitted, peer=name) for name in [*cluster.names, "alpha"]]
    cluster.succeed()
    again = cluster.client._ask(request, Submitted)

    assert [answer.version for answer in [*answers, again]] == [answers[0].version] * 5
    assert len(cluster.client.history(cluster.job)) == 1


def test_wait_tells_how_the_first_run_of_the_last_submission_ended(held: HeldRun) -> None:
    cluster = held.cluster
    cluster.project(held.gates.map_source, "def total(group, auxiliary_data):\n    raise ValueError('no')")
    cluster.submit(max_attempts=1)
    failed = cluster.pymr("wait", cluster.job)
    cluster.project(held.gates.map_source, held.gates.reduce_source)
    cluster.submit()
    good = cluster.pymr("wait", cluster.job)
    unknown = cluster.pymr("wait", "nothing")
    held.reach("map")
    late = cluster.pymr("wait", cluster.job, "--timeout", "0.5")
    waiting = cluster.start_pymr("wait", cluster.job)
    held.let_go()
    waiting.communicate(timeout=60)

    assert failed.status == 1 and "ValueError" in failed.err
    assert good.status == 0
    assert unknown.status == 1 and "there is no job nothing" in unknown.err
    assert late.status == 2
    assert waiting.returncode == 0


def test_a_failed_job_can_be_tried_again(held: HeldRun) -> None:
    cluster = held.cluster
    for peer in cluster.names:
        cluster.input_of(peer).rename(cluster.data(peer) / "elsewhere")
    cluster.submit()
    failed = cluster.finish()
    for peer in cluster.names:
        (cluster.data(peer) / "elsewhere").rename(cluster.input_of(peer))
    retried = cluster.pymr("retry", cluster.job)
    cluster.wait_for(lambda: len(cluster.client.history(cluster.job)) == 2, what="a second run")
    cluster.wait_for(
        lambda: cluster.client.history(cluster.job)[0].status == "succeeded", what="it to succeed"
    )

    assert failed.status == "failed" and "beta" in failed.exception
    assert retried.status == 0
    assert ordered(cluster.output()) == ordered(cluster.reference())


def test_a_job_too_long_for_the_orders_of_peers_is_refused(held: HeldRun) -> None:
    cluster = held.cluster
    with pytest.raises(RefusedError) as refused:
        cluster.submit(input_dirs=[f"input-{number:0100d}" for number in range(4_000)])

    assert refused.value.code == "invalid" and "262,144" in str(refused.value)
