"""`pymr run` with functions that end, block or foul their process: an error says so, and nothing is left.

What else can happen to a worker, and hangs on nothing but the worker, stands in test_crashes.
"""

from __future__ import annotations

import resource
import signal
import subprocess

import pytest
from cluster.misbehaving import CRASHES, FORKS, crashing, forking
from cluster.running import ENDS_WITHIN_S, Place, finish, interrupt, wait_for_file, wait_until


@pytest.mark.parametrize(
    ("kind", "phase"), [("a segmentation fault", "map"), ("an exit with status 3", "reduce")]
)
def test_worker_that_crashes_is_an_error_that_says_how_and_in_which_task(
    place: Place, kind: str, phase: str
) -> None:
    statement, said = CRASHES[kind]
    crashing(place, statement, phase)
    finished = place.fail(
        "--workers",
        "2",
        attempts=2,
        earlier_output=phase == "reduce",
        says=[said, "2 attempts, the same each time", phase],
    )

    assert finished.out.count("│ about to crash\n") == 2


def test_worker_that_crashes_at_first_is_replaced_and_the_job_succeeds(place: Place) -> None:
    marks = place.folder / "marks"
    marks.mkdir()
    place.feed("a", "b", "c")
    place.functions(f"""
        import os

        import pymr

        def words(line, auxiliary_data):
            pymr.count("lines")
            if len(os.listdir({str(marks)!r})) < 3:
                open({str(marks)!r} + "/" + str(os.getpid()), "w").close()
                os._exit(7)
            return [(line, 1)]
    """)
    finished = place.succeed("--workers", "1", "--set", "max_attempts=4")

    assert place.counts() == {"a": 1, "b": 1, "c": 1}
    assert "lines = 3" in finished.out
    assert finished.out.count("trying again") == 3
    assert "attempt 3 of 4 of map-00000 failed" in finished.out


def test_slow_records_that_move_on_are_no_timeout(place: Place) -> None:
    place.feed(*"abcdef")
    place.functions("""
        import time

        def words(line, auxiliary_data):
            time.sleep(0.6)
            return [(line, 1)]
    """)
    place.succeed("--workers", "1", "--set", "task_timeout_seconds=3")

    assert len(place.counts()) == 6


def test_children_that_a_function_leaves_end_when_the_run_is_killed(place: Place) -> None:
    mark = place.folder / "mark"
    forking(place, "; ".join(FORKS.values()), after=f"open({str(mark)!r}, 'w').close(); time.sleep(1000)")
    process = place.start("--workers", "2")
    wait_for_file(mark)
    process.kill()
    finish(process)

    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), place.left_processes()

    place.functions("def words(line, auxiliary_data):\n    return [(line, 1)]\n")
    place.succeed()

    assert place.left_files() == []


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_workers_end_with_a_killed_run_and_the_next_run_clears_up(place: Place, phase: str) -> None:
    mark = place.folder / "mark"
    crashing(place, f"import time; open({str(mark)!r}, 'w').close(); time.sleep(1000)", phase)
    place.earlier_output()
    process = place.start("--workers", "2")
    wait_for_file(mark)
    process.kill()
    finish(process)

    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), place.left_processes()
    place.assert_output_untouched(True)
    assert len(place.left_files()) == 1

    crashing(place, "pass", phase)
    place.succeed()

    assert place.left_files() == []


def test_run_beside_a_running_one_leaves_its_scratch_folder_alone(place: Place) -> None:
    mark, gate = place.folder / "mark", place.folder / "gate"
    place.feed("a")
    place.functions(f"""
        import os
        import time

        def words(line, auxiliary_data):
            open({str(mark)!r}, "w").close()
            while not os.path.exists({str(gate)!r}):
                time.sleep(0.01)
            return [(line, 1)]
    """)
    waiting = place.start("--workers", "1")
    wait_for_file(mark)
    (place.input / "other").mkdir()
    beside = place.run("--input", place.input / "other", "--output", place.output.with_name("beside"))
    gate.touch()

    assert beside.status == 0
    assert finish(waiting).status == 0
    assert place.counts() == {"a": 1}


def test_many_runs_beside_one_another_all_succeed(place: Place) -> None:
    place.feed("a b a")
    outputs = [place.output.with_name(f"output-{number}") for number in range(8)]
    processes = [place.start("--workers", "1", "--output", output) for output in outputs]
    finished = [finish(process) for process in processes]

    assert [one.err for one in finished if one.status != 0] == []
    assert [dict(place.items(output)) for output in outputs] == [{"a": 2, "b": 1}] * 8


def test_worker_that_deletes_the_scratch_folder_is_a_clear_error(place: Place) -> None:
    place.feed("a", "b")
    place.functions(f"""
        import glob
        import shutil

        def words(line, auxiliary_data):
            for folder in glob.glob({str(place.output.parent)!r} + "/.pymr-run-*"):
                shutil.rmtree(folder)
            return [(line, 1)]
    """)

    place.fail("--workers", "1", "--set", "engine.split_bytes=1", says=[".pymr-run-"])
    place.fail("--inline", "--set", "engine.split_bytes=1", says=[".pymr-run-"])


def test_function_that_changes_the_working_folder_does_not_move_the_output(place: Place) -> None:
    place.feed("a")
    place.functions("""
        import os

        def words(line, auxiliary_data):
            os.chdir("/")
            return [(line, 1)]
    """)
    place.succeed("--output", "relative/output")
    place.succeed("--inline", "--output", "relative/inline")

    assert dict(place.items(place.folder / "relative" / "output")) == {"a": 1}
    assert dict(place.items(place.folder / "relative" / "inline")) == {"a": 1}


def test_more_workers_than_files_may_be_open_is_a_clear_error_or_works(place: Place) -> None:
    place.feed("a")
    finished = place.run("--workers", "200", preexec_fn=lambda: set_open_files(100))

    if finished.status == 0:
        assert place.counts() == {"a": 1}
    else:
        assert finished.status == 1
        finished.says("pymr: job: failed", "workers")
        assert "Traceback" not in finished.err


def set_open_files(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def test_run_of_workers_that_keep_crashing_is_stopped_cleanly_at_any_moment(place: Place) -> None:
    place.feed("a")
    place.functions("import os\n\ndef words(line, auxiliary_data):\n    os._exit(1)\n")
    for number in range(4):
        log = place.folder / f"log-{number}"
        with log.open("w") as stream:
            process = place.start(
                "--workers", "2", "--set", "max_attempts=1000000", stdout=stream, stderr=subprocess.PIPE
            )
            assert wait_until(lambda log=log, number=number: log.read_text().count("trying again") > number)
            interrupt(process)
            finished = finish(process, ENDS_WITHIN_S)

        assert finished.status == signal.SIGINT + 128, finished.err
        assert finished.err.count("pymr: job: stopped") == 1, finished.err
        assert "Traceback" not in finished.err + log.read_text()


def test_child_that_returns_into_the_function_harms_nobody_but_its_run(place: Place) -> None:
    place.feed("a", "b")
    place.functions("""
        import os

        def words(line, auxiliary_data):
            os.fork()
            return [(line, 1)]
    """)
    process = place.start("--workers", "1")
    finished = finish(process, 20.0)

    assert finished.status in (0, 1)
    assert finished.status == 1 or place.counts() == {"a": 1, "b": 1}
    assert "Traceback" not in finished.err
