"""User functions that raise, hang, crash or do worse cost their attempts and nothing else."""

from __future__ import annotations

import re
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


PICKLING_MAP = """
    import logging, multiprocessing, pickle
    from dataclasses import dataclass

    logging.basicConfig(level=logging.INFO, format="%(levelname)s of mine: %(message)s")

    @dataclass
    class Word:
        text: str

    def words(line, auxiliary_data):
        logging.info("looking at %s", line)
        return [(word, pickle.dumps(Word(word))) for word in line.split()]
"""
PICKLING_REDUCE = """
    import multiprocessing, pickle
    from map_functions import Word

    def length(word):
        return len(word.text)

    def total(group, auxiliary_data):
        words = [pickle.loads(value) for value in group.values]
        assert all(isinstance(word, Word) for word in words)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            return [(group.key, sum(pool.map(length, words)))]
"""


def test_objects_of_the_project_travel_from_map_to_reduce_and_into_spawned_processes(
    lend_cluster: Lend,
) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    cluster.project(PICKLING_MAP, PICKLING_REDUCE)
    for name in cluster.names:
        cluster.feed(name, "a.txt", f"{name} word")
    cluster.submit(partitions=3)
    run_id = cluster.succeed().run_id
    told = "".join(
        cluster.pymr("logs", worker, "--run", run_id).out for worker in cluster.client.panes_of(run_id)
    )

    assert ordered(cluster.output()) == [["alpha", 5], ["beta", 4], ["gamma", 5], ["word", 12]]
    assert all(f"INFO of mine: looking at {name} word\n" in told for name in cluster.names)


def test_what_an_exception_says_controls_no_terminal_of_those_who_wait(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    cluster.project(
        "def words(line, auxiliary_data):\n    raise ValueError('\\x1b[2J\\u202efirst\\nsecond')\n",
        REDUCE_TOTAL,
    )
    cluster.feed("alpha", "a.txt", "a")
    cluster.submit(max_attempts=2)
    waited = cluster.pymr("wait", cluster.job)
    listed = cluster.pymr("history").out
    shown = [waited.err, cluster.pymr("show", cluster.job).out, listed, cluster.pymr("history", "--json").out]

    assert waited.status == 1
    assert "ValueError: \\x1b[2J\\u202efirst\nsecond" in waited.err
    assert "2 attempts, the same each time" in waited.err
    assert re.search(r"failed .*ValueError: \?\[2J\?first$", listed, re.MULTILINE)
    assert not {"\x1b", "\u202e"} & set("".join(shown))
