"""User functions that raise, hang, crash or do worse cost their attempts and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.clusters import Cluster, ordered
from cluster.held_runs import HeldRun
from cluster.running import MAP_WORDS, REDUCE_TOTAL

Lend = Callable[..., Cluster]

COUNTED = '''
import os

def calls():
    """How many attempts at this task there have been, this one included."""
    path = {folder!r} + "/" + os.environ["PYMR_ATTEMPT"].rpartition("-")[0]
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b".")
    os.close(descriptor)
    return os.path.getsize(path)
'''
WORDS_ONCE_BAD = """
{counted}

def words(line, auxiliary_data):
    if "BAD" in line and calls() <= {times}:
        {fault}
    return [(word, 1) for word in line.split()]
"""


def fed(lend_cluster: Lend, tmp_path: Path, fault: str, times: int = 1) -> Cluster:
    """A cluster of three hosts that counts words; the line BAD of alpha does something bad so many times."""
    cluster = lend_cluster(HeldRun.HOSTS)
    folder = tmp_path / "calls"
    folder.mkdir()
    counted = COUNTED.format(folder=str(folder))
    cluster.project(WORDS_ONCE_BAD.format(counted=counted, fault=fault, times=times), REDUCE_TOTAL)
    for name in cluster.names:
        cluster.feed(name, "a.txt", *(f"{name} {number % 7}" for number in range(100)))
    cluster.feed("alpha", "b.txt", "some BAD line")
    return cluster


def plain_reference(cluster: Cluster) -> list[object]:
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    return ordered(cluster.reference())


@pytest.mark.parametrize(
    "fault",
    [
        "raise ValueError('a bad line')",
        "os._exit(3)",
        "os.kill(os.getpid(), 9)",
        "os.kill(os.getpid(), 11)",
        "os.closerange(0, 1000)",
        "import sys; sys.exit(4)",
    ],
)
def test_a_function_that_fails_once_is_tried_again(lend_cluster: Lend, tmp_path: Path, fault: str) -> None:
    cluster = fed(lend_cluster, tmp_path, fault)
    cluster.submit()
    cluster.succeed()
    run = cluster.client.history(cluster.job)[0]
    items = ordered(cluster.output())

    assert run.attempts_failed == 1
    assert items == plain_reference(cluster)


def test_a_function_that_always_raises_fails_the_job_after_max_attempts(
    lend_cluster: Lend, tmp_path: Path
) -> None:
    cluster = fed(lend_cluster, tmp_path, "raise ValueError('never right')", times=99)
    cluster.submit(max_attempts=3)
    outcome = cluster.finish()
    run = cluster.client.history(cluster.job)[0]

    assert outcome.status == "failed"
    assert "never right" in outcome.exception and "b.txt" in outcome.exception
    assert "3 attempts, the same each time" in outcome.exception
    assert run.attempts_failed == 3


def test_a_reduce_function_that_raises_fails_the_job(lend_cluster: Lend, tmp_path: Path) -> None:
    cluster = fed(lend_cluster, tmp_path, "pass")
    cluster.project(MAP_WORDS, "def total(group, auxiliary_data):\n    raise ZeroDivisionError(group.key)")
    cluster.submit(max_attempts=2)
    outcome = cluster.finish()

    assert outcome.status == "failed"
    assert "ZeroDivisionError" in outcome.exception


def test_bad_records_are_passed_over_and_listed(lend_cluster: Lend, tmp_path: Path) -> None:
    cluster = fed(lend_cluster, tmp_path, "pass")
    cluster.project(
        """
        def words(line, auxiliary_data):
            if "BAD" in line:
                raise ValueError("a bad one")
            return [(word, 1) for word in line.split()]
        """,
        REDUCE_TOTAL,
    )
    cluster.submit(max_bad_records=1)
    cluster.succeed()
    collected = cluster.pymr("output", cluster.job, "--to", tmp_path / "collected")
    items = ordered(cluster.output())

    assert collected.status == 0, collected.err
    assert "a bad one" in (tmp_path / "collected" / "_bad_records.jsonl").read_text()
    assert cluster.client.history(cluster.job)[0].bad_records == 1
    assert items == ordered(cluster.reference(max_bad_records=1))


def test_a_task_without_progress_is_ended_and_tried_again(lend_cluster: Lend, tmp_path: Path) -> None:
    cluster = fed(lend_cluster, tmp_path, "import time; time.sleep(600)")
    cluster.submit(task_timeout_seconds=1.0)
    cluster.succeed()
    items = ordered(cluster.output())

    assert cluster.client.history(cluster.job)[0].attempts_failed == 1
    assert items == plain_reference(cluster)


def test_a_child_that_outlives_its_task_ends_with_the_run(lend_cluster: Lend, tmp_path: Path) -> None:
    fault = "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    cluster = fed(lend_cluster, tmp_path, fault)
    cluster.submit()
    cluster.succeed()

    cluster.wait_for(lambda: not cluster.processes_named("sleep"), what="the child to end")


def test_a_counter_of_another_machine_is_added_up(lend_cluster: Lend, tmp_path: Path) -> None:
    cluster = fed(lend_cluster, tmp_path, "pass")
    cluster.project(
        """
        import pymr

        def words(line, auxiliary_data):
            pymr.count("lines")
            return [(word, 1) for word in line.split()]
        """,
        REDUCE_TOTAL,
    )
    cluster.submit()
    cluster.succeed()

    assert cluster.client.history(cluster.job)[0].counters["lines"] == 301
