"""`pymr run` with functions that end, block or foul their process: an error says so, and nothing is left."""

from __future__ import annotations

import resource
import signal
import subprocess

import pytest
from cluster.running import Place, finish, interrupt, wait_for_file, wait_until

CRASHES = {
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "an abort": ("import os; os.abort()", "SIGABRT"),
    "a kill from outside": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
    "a termination from outside": ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", "SIGTERM"),
    "an exit with status 3": ("import os; os._exit(3)", "status 3"),
    "an exit with status 0": ("import os; os._exit(0)", "status 0"),
    "all descriptors closed": ("import os; os.closerange(0, 4096)", "clos"),
    "the end of its process group": ("import os; os.killpg(0, 9)", "SIGKILL"),
    "a recursion without end in C": (
        "import sys; sys.setrecursionlimit(10 ** 9); nest = []; [nest := [nest] for _ in range(10 ** 5)]; "
        "repr(nest)",
        "SIGSEGV",
    ),
}


def crashing(place: Place, statement: str, phase: str) -> None:
    """A project whose map or reduce function runs the statement at the second of three lines or keys."""
    place.feed("a", "b", "c")
    source = f"""
        def crash():
            {statement}

        def NAME(FIRST, auxiliary_data):
            key = getattr(FIRST, "key", FIRST)
            if key == "b":
                print("about to crash")
                crash()
            return [(key, 1)]
    """
    if phase == "map":
        place.functions(source.replace("NAME", "words").replace("FIRST", "line"))
    else:
        place.functions(reduce_source=source.replace("NAME", "total").replace("FIRST", "group"))


@pytest.mark.parametrize("phase", ["map", "reduce"])
@pytest.mark.parametrize(("statement", "said"), CRASHES.values(), ids=CRASHES)
def test_worker_that_crashes_is_an_error_that_says_how_and_in_which_task(
    place: Place, statement: str, said: str, phase: str
) -> None:
    crashing(place, statement, phase)
    finished = place.fail(
        "--workers", "2", attempts=2, earlier_output=phase == "reduce", says=[said, "failed 2 times", phase]
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


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_endless_loop_is_a_timeout_that_names_the_task(place: Place, phase: str) -> None:
    crashing(place, "while True: pass", phase)

    place.fail(
        *("--workers", "2", "--set", "task_timeout_seconds=1"),
        timeout_s=20.0,
        earlier_output=True,
        says=["made no progress on", phase, "1 s", "task_timeout_seconds"],
    )


def test_endless_loop_that_ignores_signals_is_ended_too(place: Place) -> None:
    crashing(
        place,
        "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]; time.sleep(1000)",
        "map",
    )

    place.fail("--workers", "2", *("--set", "task_timeout_seconds=0.5"), timeout_s=20.0, says=["no progress"])


def test_slow_records_that_move_on_are_no_timeout(place: Place) -> None:
    place.feed(*"abcdef")
    place.functions("""
        import time

        def words(line, auxiliary_data):
            time.sleep(0.4)
            return [(line, 1)]
    """)
    place.succeed("--workers", "1", "--set", "task_timeout_seconds=1")

    assert len(place.counts()) == 6


FORKS = {
    "of its process group": "subprocess.Popen(['sleep', '1000'])",
    "of a session of its own": "subprocess.Popen(['sleep', '1000'], start_new_session=True)",
    "that Python forked": "os.fork() or time.sleep(1000)",
    "that multiprocessing started": "multiprocessing.Process(target=time.sleep, args=(1000,)).start()",
    "whose parent has gone": "subprocess.run('setsid sleep 1000 >/dev/null 2>&1 &', shell=True)",
}


def forking(place: Place, statement: str, after: str = "pass") -> None:
    place.feed("a")
    place.functions(f"""
        import multiprocessing
        import os
        import subprocess
        import time

        def words(line, auxiliary_data):
            {statement}
            {after}
            return [(line, 1)]
    """)


@pytest.mark.parametrize("statement", FORKS.values(), ids=FORKS)
def test_child_that_a_function_leaves_ends_with_the_run(place: Place, statement: str) -> None:
    forking(place, statement)
    place.succeed("--workers", "2", timeout_s=20.0)

    assert place.counts() == {"a": 1}
    assert wait_until(lambda: not place.left_processes(), 2.0), place.left_processes()


@pytest.mark.parametrize("statement", FORKS.values(), ids=FORKS)
def test_child_of_a_worker_that_crashes_neither_delays_the_error_nor_stays(
    place: Place, statement: str
) -> None:
    forking(place, statement, after="os._exit(9)")

    place.fail("--workers", "2", timeout_s=10.0, says=["status 9"])


@pytest.mark.parametrize("statement", FORKS.values(), ids=FORKS)
def test_child_that_a_function_leaves_ends_when_the_run_is_killed(place: Place, statement: str) -> None:
    mark = place.folder / "mark"
    forking(place, statement, after=f"open({str(mark)!r}, 'w').close(); time.sleep(1000)")
    process = place.start("--workers", "2")
    wait_for_file(mark)
    process.kill()
    finish(process)

    assert wait_until(lambda: not place.left_processes(), 2.0), place.left_processes()

    place.functions("def words(line, auxiliary_data):\n    return [(line, 1)]\n")
    place.succeed()

    assert place.left_files() == []


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_workers_end_within_two_seconds_of_a_killed_run_and_the_next_run_clears_up(
    place: Place, phase: str
) -> None:
    mark = place.folder / "mark"
    crashing(place, f"import time; open({str(mark)!r}, 'w').close(); time.sleep(1000)", phase)
    place.earlier_output()
    process = place.start("--workers", "2")
    wait_for_file(mark)
    process.kill()
    finish(process)

    assert wait_until(lambda: not place.left_processes(), 2.0), place.left_processes()
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
    outputs = [place.output.with_name(f"output-{number}") for number in range(12)]
    processes = [place.start("--workers", "1", "--output", output) for output in outputs]
    finished = [finish(process) for process in processes]

    assert [one.err for one in finished if one.status != 0] == []
    assert [dict(place.items(output)) for output in outputs] == [{"a": 2, "b": 1}] * 12


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


def test_functions_may_use_processes_and_threads_of_their_own(place: Place) -> None:
    place.feed("3", "4")
    place.functions("""
        import multiprocessing
        import subprocess
        import threading

        def words(line, auxiliary_data):
            with multiprocessing.Pool(2) as pool:
                squares = pool.map(abs, [-int(line)])
            threads = [threading.Thread(target=print, args=("thread",)) for _ in range(2)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
            said = subprocess.run(["echo", line], capture_output=True, text=True).stdout
            return [(said.strip(), squares[0])]
    """)
    finished = place.succeed("--workers", "2", timeout_s=20.0)

    assert place.counts() == {"3": 3, "4": 4}
    assert finished.out.count("│ thread") == 4


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
    for number in range(8):
        log = place.folder / f"log-{number}"
        with log.open("w") as stream:
            process = place.start(
                "--workers", "2", "--set", "max_attempts=1000000", stdout=stream, stderr=subprocess.PIPE
            )
            wanted = 3 + 5 * number
            wait_until(lambda log=log, wanted=wanted: log.read_text().count("trying again") >= wanted, 20.0)
            interrupt(process)
            finished = finish(process, 10.0)

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
