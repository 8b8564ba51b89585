"""Functions that end, block or foul their process: an error says so, and nothing is left.

What `pymr run` makes of it is in tests/local/test_crashes.
"""

from __future__ import annotations

import pytest
from cluster.misbehaving import CRASHES, FORKS, PRINTS, crashing, forking, last_print
from cluster.running import ENDS_WITHIN_S, wait_until
from cluster.shared import SharedPlace


@pytest.fixture
def place(shared_place: SharedPlace) -> SharedPlace:
    return shared_place


@pytest.mark.parametrize("phase", ["map", "reduce"])
@pytest.mark.parametrize(("statement", "said"), CRASHES.values(), ids=CRASHES)
def test_worker_that_crashes_is_an_error_that_says_how_and_in_which_task(
    place: SharedPlace, statement: str, said: str, phase: str
) -> None:
    crashing(place, statement, phase)
    finished = place.fail(
        "--workers",
        "2",
        attempts=2,
        earlier_output=phase == "reduce",
        says=[said, "2 attempts, the same each time", phase],
    )

    assert finished.out.count("│ about to crash\n") == 2


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_endless_loop_is_a_timeout_that_names_the_task(place: SharedPlace, phase: str) -> None:
    crashing(place, "while True: pass", phase)

    place.fail(
        *("--workers", "2", "--set", "task_timeout_seconds=1"),
        earlier_output=True,
        says=["made no progress on", phase, "1 s", "task_timeout_seconds"],
    )


def test_endless_loop_that_ignores_signals_is_ended_too(place: SharedPlace) -> None:
    crashing(
        place,
        "import signal, time; [signal.signal(n, signal.SIG_IGN) for n in (1, 2, 3, 15)]; time.sleep(1000)",
        "map",
    )

    place.fail("--workers", "2", *("--set", "task_timeout_seconds=0.5"), says=["no progress"])


@pytest.mark.parametrize("statement", FORKS.values(), ids=FORKS)
def test_child_that_a_function_leaves_ends_with_the_run(place: SharedPlace, statement: str) -> None:
    forking(place, statement)
    place.succeed("--workers", "2")

    assert place.counts() == {"a": 1}
    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), place.left_processes()


@pytest.mark.parametrize("statement", FORKS.values(), ids=FORKS)
def test_child_of_a_worker_that_crashes_neither_delays_the_error_nor_stays(
    place: SharedPlace, statement: str
) -> None:
    forking(place, statement, after="os._exit(9)")

    place.fail("--workers", "2", says=["status 9"])


def test_functions_may_use_processes_and_threads_of_their_own(place: SharedPlace) -> None:
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
    finished = place.succeed("--workers", "2")

    assert place.counts() == {"3": 3, "4": 4}
    assert finished.out.count("│ thread") == 4


@pytest.mark.parametrize(
    "after", ["pass", "os._exit(3)", "ctypes.string_at(0)"], ids=["done", "exit", "crash"]
)
@pytest.mark.parametrize("statement", PRINTS.values(), ids=PRINTS)
def test_last_print_of_a_worker_is_kept_however_it_ends(
    place: SharedPlace, statement: str, after: str
) -> None:
    last_print(place, statement, after)
    finished = place.run("--set", "max_attempts=1")

    assert (finished.status == 0) == (after == "pass")
    assert "│ dots...\n" in finished.out
