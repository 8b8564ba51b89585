"""Workers: real processes that crash, flood, hide, hang and wait for a word, and a daemon that copes."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from worker_bench import RUN, Bench, check_end, has_ended
from written_projects import PLAIN, REDUCE, write_project

from pymr.base.errors import StartError
from pymr.config.cluster import ClusterConfig
from pymr.peer.attempts.worker_protocol import MapOrder, PreviewSetup, ReduceOrder
from pymr.peer.panes.panes import read_pane
from pymr.peer.requests.previews import Printed
from pymr.peer.workers.events import (
    ForkServerDied,
    WorkerDied,
    WorkerFinished,
    WorkerLoaded,
    WorkerPaused,
    WorkerProgressed,
    WorkerResumed,
)
from pymr.peer.workers.link import WorkerLink
from pymr.wire.outcomes import AttemptId, Failure
from pymr.wire.protocol import ERROR_CHARACTERS_MAX


@pytest.fixture
def alone() -> str:
    """The state of an interpreter of its own; of one that a shell started in the background, SIGQUIT too."""
    source = f"{STATE}\nprint([*state.items(), ['']], end='')"
    return subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGQUIT, signal.SIG_DFL),
    ).stdout


@pytest.fixture
def dirty_process(alone: str) -> Iterator[None]:
    """A program that has set up much for itself, and whose workers are forks of it."""
    root, handler = logging.getLogger(), logging.StreamHandler(sys.stdout)
    before = root.level, sys.excepthook, signal.getsignal(signal.SIGQUIT), signal.getsignal(signal.SIGUSR1)
    sys.excepthook = lambda *_: None
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.disable(logging.DEBUG)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
    logging.disable(logging.NOTSET)
    root.removeHandler(handler)
    level, sys.excepthook, quit_handler, user_handler = before
    root.setLevel(level)
    signal.signal(signal.SIGQUIT, quit_handler)
    signal.signal(signal.SIGUSR1, user_handler)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    files = len(os.listdir("/proc/self/fd"))
    bench = Bench(tmp_path)
    yield bench
    check_end(bench, files)


def test_worker_does_map_and_reduce_tasks_and_tells_what_it_does(bench: Bench) -> None:
    begun = time.monotonic()
    bench.workers.start(0, bench.setup())
    assert bench.workers.view(0).state == "starting"  # type: ignore[union-attr]
    bench.event(WorkerLoaded)
    print(f"first worker ready after {1_000 * (time.monotonic() - begun):.1f} ms")
    mapped = bench.do("print('in map')", task=5)
    assert bench.workers.view(0).state == "map"  # type: ignore[union-attr]
    assert not bench.workers.assign(0, MapOrder(mapped, "", 0))
    first = bench.event(WorkerFinished)
    reduced = AttemptId(RUN, "reduce-00003", "1.2")
    bench.workers.assign(0, ReduceOrder(reduced, 3, "sources"))
    assert bench.workers.view(0).state == "sort"  # type: ignore[union-attr]
    second = bench.event(WorkerFinished)

    assert first.id == mapped
    assert first.outcome.records == 5
    assert first.outcome.digest == str(bench.folder / "runs" / RUN)
    assert second.id == reduced
    assert (second.outcome.groups, second.outcome.parts) == (3, 7)
    assert bench.workers.view(0).state == "idle"  # type: ignore[union-attr]
    assert bench.pane() == "in map\r\n"


def test_a_worker_imports_nothing_that_whoever_forks_it_has_not(bench: Bench) -> None:
    """Why a worker is ready some 8 ms after it is asked for."""
    known = bench.folder / "known"
    source = f"import sys; open({str(known)!r}, 'w').write(' '.join(sys.modules))"
    write_project(bench.folder / "projects", map_functions=f"{source}\n{PLAIN}", reduce_functions=REDUCE)
    bench.workers.start(0, bench.setup())
    bench.event(WorkerLoaded)
    before = known.read_text().split()
    bench.do(source)
    bench.event(WorkerFinished)

    missing = {"pymr.peer.attempts.attempts", "pymr.engine.tasks", "pymr.projects.project", "pdb"} - set(
        before
    )
    assert missing == set()
    assert [name for name in set(known.read_text().split()) - set(before) if name.startswith("pymr.")] == []


STATE = """
import asyncio, decimal, locale, logging, multiprocessing.spawn, signal, sys, threading, warnings
root = logging.getLogger()
main = sys.modules["__main__"]
state = {
    "log": (root.level, root.handlers, root.filters, root.manager.disable, logging.getLogger("pymr").level),
    "warnings": [(one[0], one[2].__name__) for one in warnings.filters],
    "hooks": (sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__,
              sys.unraisablehook is sys.__unraisablehook__, threading.excepthook is threading.__excepthook__,
              sys.gettrace(), sys.getprofile()),
    "signals": {number: str(signal.getsignal(number)) for number in signal.valid_signals()
                if number != signal.SIGINT},
    "locale": [locale.setlocale(number) for number in range(6)],
    "mask": [*signal.pthread_sigmask(signal.SIG_BLOCK, ())],
    "main": (getattr(main, "__file__", None), "init_main_from_path" in multiprocessing.spawn
             .get_preparation_data("x")),
    "loop": asyncio._get_running_loop(),
    "decimal": repr(decimal.getcontext()),
}
"""


def test_functions_find_what_they_would_find_in_an_interpreter_of_their_own(
    alone: str, dirty_process: None, bench: Bench
) -> None:
    there = bench.folder / "there"
    bench.do(f"{STATE}\nopen({str(there)!r}, 'w').write(repr([*state.items(), sys.argv]))")
    bench.event(WorkerFinished)

    assert there.read_text() == alone


def test_the_log_that_a_function_sets_up_is_the_one_it_gets(dirty_process: None, bench: Bench) -> None:
    bench.do("""
        import logging
        logging.getLogger().info("before")
        logging.basicConfig(level=logging.DEBUG, format="mine: %(message)s")
        logging.getLogger("my.module").debug("after")
        logging.getLogger("pymr").info("of pymr")
    """)
    bench.event(WorkerFinished)
    bench.prints("of pymr")

    assert bench.pane() == "mine: after\r\nmine: of pymr\r\n"


def test_two_workers_draw_different_random_numbers(bench: Bench) -> None:
    numbers = []
    for slot in range(2):
        file = bench.folder / str(slot)
        bench.do(f"import random; open({str(file)!r}, 'w').write(str(random.random()))", slot)
        bench.event(WorkerFinished)
        numbers.append(file.read_text())

    assert len(set(numbers)) == 2


def test_environment_names_run_and_attempt(bench: Bench) -> None:
    bench.do("import os; print(os.environ['PYMR_RUN'], os.environ['PYMR_ATTEMPT'], os.get_terminal_size())")
    bench.event(WorkerFinished)

    bench.prints(f"{RUN} map-00000-1.1 os.terminal_size(columns=120, lines=40)")


def test_progress_is_told_while_it_moves(bench: Bench) -> None:
    bench.do("import time\nfor _ in range(5):\n    watch.tick(); time.sleep(0.15)")
    bench.event(WorkerFinished)

    assert len([event for event in bench.events if isinstance(event, WorkerProgressed)]) >= 3


SPAWNING = """
import multiprocessing
from dataclasses import dataclass

@dataclass
class Point:
    x: int

def square(x):
    return Point(x * x)

def spread(method):
    with multiprocessing.get_context(method).Pool(2) as pool:
        return pool.map(square, range(5))

def words(line, auxiliary_data): ...
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_function_spreads_its_work_over_processes(bench: Bench, method: str) -> None:
    write_project(bench.folder / "projects", map_functions=SPAWNING, reduce_functions=REDUCE)
    bench.do(f"import map_functions; print(map_functions.spread({method!r}))")
    finished = bench.event(WorkerFinished)
    pids = psutil.Process(bench.fork_server.pid).children(recursive=True)
    bench.workers.end(0)

    assert getattr(finished.outcome, "error", "") == ""
    assert f"[{', '.join(f'Point(x={x * x})' for x in range(5))}]" in bench.pane()
    bench.is_gone(*(one.pid for one in pids))


def test_functions_that_cannot_be_loaded_are_a_final_failure(bench: Bench) -> None:
    bench.workers.start(0, bench.setup(map_function_name="wordz"))
    died = bench.event(WorkerDied)

    assert (died.id, died.failure.kind, died.failure.is_final) == (None, "ProjectError", True)
    assert "wordz" in died.failure.error
    assert "cannot load the job's functions:\r\n" in bench.pane()
    assert "wordz" in bench.pane() and "Traceback" not in bench.pane()
    assert bench.workers.view(0) is None


ERRORS = {
    "an exception": ("1 / 0", "RetryableError", False, "ZeroDivisionError: division by zero"),
    "one of pymr, final": (
        "from pymr.base.errors import RecordError; raise RecordError('a NaN')",
        "RecordError",
        True,
        "a NaN",
    ),
    "one of pymr, not final": (
        "from pymr.base.errors import DiskError\nclass Mine(DiskError): pass\nraise Mine('full')",
        "DiskError",
        False,
        "full",
    ),
    "SystemExit": ("raise SystemExit(0)", "RetryableError", False, "SystemExit"),
    "KeyboardInterrupt": ("raise KeyboardInterrupt", "RetryableError", False, "KeyboardInterrupt"),
    "a huge one": ("raise ValueError('x' * 50_000_000)", "RetryableError", False, "left out"),
    "one that has no text": (
        "class Odd(Exception):\n    def __str__(self): raise ValueError\nraise Odd",
        "RetryableError",
        False,
        "Odd",
    ),
    "half a character": ("raise ValueError('\\ud800')", "RetryableError", False, "ud800"),
    "too much for a message": (
        "for n in range(100_000): count(f'counter number {n}')",
        "UserFunctionError",
        True,
        "too long",
    ),
}


@pytest.mark.parametrize(("source", "kind", "is_final", "said"), ERRORS.values(), ids=ERRORS)
def test_error_is_a_failure_and_the_worker_goes_on(
    bench: Bench, source: str, kind: str, is_final: bool, said: str
) -> None:
    id = bench.do(source)
    finished = bench.event(WorkerFinished)
    bench.do("print('goes on')")
    bench.event(WorkerFinished)

    assert finished.id == id
    assert (finished.outcome.kind, finished.outcome.is_final) == (kind, is_final)
    assert said in finished.outcome.error
    assert len(finished.outcome.error) < ERROR_CHARACTERS_MAX + 100
    bench.prints("goes on")
    if kind != "UserFunctionError":
        before = read_pane(bench.panes, 0, RUN, 0, finished.pane_offset).data.decode()
        assert before.endswith("\r\n") and "goes on" not in before
        assert said in before.partition("has failed:\r\n")[2]
        shown = bench.pane().partition("map-00000, attempt 1.1, has failed:\r\n")[2]
        assert said in shown
        assert ("Traceback (most recent call last):" in shown) == (kind == "RetryableError")


def test_an_error_that_comes_again_is_told_in_a_line_whichever_worker_it_comes_in(bench: Bench) -> None:
    same, other = "raise ValueError(object())", "raise ValueError('two')"
    first = None
    for attempt, (slot, source) in enumerate([(0, same), (0, same), (1, same), (1, other)], start=1):
        bench.do(source, slot, attempt=attempt, earlier=first)
        finished = bench.event(WorkerFinished)
        first = first or finished
        assert finished.pane_offset == len(bench.pane(slot=slot))
    shown = [bench.pane(slot=slot) for slot in (0, 1)]

    line = (
        "map-00000, attempt 1.{}, has failed as attempt 1.1 did on alpha/0: unexpected: ValueError: <object"
    )
    assert [text.count("Traceback") for text in shown] == [1, 1]
    assert [line.format(2) in shown[0], line.format(3) in shown[1]] == [True, True]
    assert shown[1].endswith("ValueError: two\r\n\r\n")


def test_counters_of_any_size_travel(bench: Bench) -> None:
    bench.do("""
        count("small", 3); count("big", 1 << 64); count("huge", 10 ** 400); count("nan", float("nan"))
        count("infinite", float("-inf")); count("yes", True); count("\\ud800", 2)
    """)
    counters = bench.event(WorkerFinished).outcome.counters

    most = sys.float_info.max
    assert counters == {
        "small": 3, "big": 2.0**64, "huge": most, "nan": 0, "infinite": -most, "yes": 1, "\\ud800": 2,
    }  # fmt: skip


CRASHES = {
    "a segmentation fault": ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV: a crash in C code"),
    "an abort": ("import os; os.abort()", "was ended by SIGABRT"),
    "a kill from outside": (
        "import os; os.kill(os.getpid(), 9)",
        "was ended by SIGKILL: killed from outside",
    ),
    "the end of its group": ("import os; os.killpg(0, 15)", "was ended by SIGTERM"),
    "a real-time signal": ("import os; os.kill(os.getpid(), 40)", "was ended by signal 40"),
    "an exit": ("import os; os._exit(3)", "exited with status 3 in the middle of its work"),
    "an exit with status 0": ("import os; os._exit(0)", "exited with status 0"),
    "all files closed": ("import os; os.closerange(0, 4096)", "closed its pipe to pymr"),
    "all files closed for long": (
        "import os, time; os.closerange(0, 4096); time.sleep(1_000)",
        "closed its pipe to pymr",
    ),
    "text into any file": (
        "import os\nfor n in range(3, 50):\n    try: os.write(n, b'my own text')\n    except OSError: pass",
        "wrote into its pipe to pymr what is no message",
    ),
    "zeros into any file": (
        "import os\nfor n in range(3, 50):\n    try: os.write(n, bytes(1_000))\n    except OSError: pass",
        "wrote into its pipe to pymr what is no message",
    ),
}


@pytest.mark.parametrize(("source", "said"), CRASHES.values(), ids=CRASHES)
def test_crash_costs_an_attempt_and_says_how(bench: Bench, source: str, said: str) -> None:
    id = bench.do(f"print('about to crash', end='', flush=True)\n{source}")
    died = bench.event(WorkerDied)
    pid = bench.workers.view(0)
    bench.do("pass")
    again = bench.event(WorkerFinished)

    assert (died.slot, died.id, pid) == (0, id, None)
    assert died.failure.kind == "WorkerDiedError"
    assert not died.failure.is_final
    assert f"alpha/0 {said}" in died.failure.error
    assert bench.pane().startswith("about to crash")
    last_words = f"[pymr: {died.failure.error}]\r\n"
    assert last_words in bench.pane()
    assert read_pane(bench.panes, 0, RUN, 0, died.pane_offset).data.decode().endswith(last_words)
    assert again.outcome.digest


def test_a_worker_that_hangs_is_ended_and_its_output_says_why(bench: Bench) -> None:
    id = bench.do("import time\nprint('here it hangs')\ntime.sleep(1_000)")
    bench.prints("here it hangs")
    failure = Failure("TaskTimeoutError", "alpha/0 made no progress")
    has_ended = bench.workers.fail(0, failure)
    died = bench.event(WorkerDied)

    assert has_ended and not bench.workers.fail(0, failure)
    assert (died.id, died.failure) == (id, failure)
    assert bench.pane() == "here it hangs\r\n\r\n[pymr: alpha/0 made no progress]\r\n"
    assert died.pane_offset == len(bench.pane())


def test_what_a_failure_prints_without_a_line_end_lies_before_its_place(bench: Bench) -> None:
    bench.do("import sys\nfor _ in range(3_000): print('x' * 99)\nsys.stdout.write('no line end'); 1 / 0")
    finished = bench.event(WorkerFinished)
    whole = read_pane(bench.panes, 0, RUN, 0, finished.pane_offset).data

    assert b"x\r\nno line endmap-00000, attempt 1.1, has failed:\r\n" in whole
    assert whole.endswith(b"ZeroDivisionError: division by zero\r\n\r\n")


def test_crash_in_c_code_shows_the_python_line(bench: Bench) -> None:
    bench.do("import ctypes\nctypes.string_at(0)")
    bench.event(WorkerDied)

    assert "Fatal Python error: Segmentation fault" in bench.pane()
    assert 'File "<task>", line 2' in bench.pane()


def test_of_much_output_beginning_and_end_are_kept_and_others_are_not_held_up(bench: Bench) -> None:
    bench.workers.start(1, bench.setup())
    bench.event(WorkerLoaded, 1)
    bench.do("""
        line = "x" * 1_000
        print("the first line")
        for _ in range(64_000): print(line)
        print("the last line")
    """)
    begun = time.monotonic()
    slowest = 0.0
    rounds = 0
    while not any(isinstance(event, WorkerFinished) and event.slot == 0 for event in bench.events):
        assert time.monotonic() - begun < 120
        asked = time.monotonic()
        bench.do("pass", slot=1, task=1)
        bench.event(WorkerFinished, 1)
        slowest = max(slowest, time.monotonic() - asked)
        rounds += 1
    print(f"64 MB in {time.monotonic() - begun:.1f} s; another's {rounds} tasks took {slowest:.3f} s at most")
    bench.until(lambda: b"the last line" in read_pane(bench.panes, 0, RUN, -50, 50).data)
    head = read_pane(bench.panes, 0, RUN, 0, 20)

    assert head.data.startswith(b"the first line\r\n")
    assert head.end > 64_000_000
    assert sum(path.stat().st_size for path in bench.panes.rglob("*.out")) < 12 << 20


CHILDREN = {
    "a fork": "pid = os.fork()\nif pid == 0: note(); time.sleep(1_000)",
    "a program": "subprocess.Popen(['sh', '-c', 'echo $$ > child; exec sleep 1000'])",
    "an orphan of its session": "subprocess.run('(echo $BASHPID > child; exec sleep 1000) &', shell=True, "
    "executable='/bin/bash')",
    "a daemon by exec": "subprocess.run(['setsid', 'bash', '-c', "
    "'(echo $BASHPID > child; exec sleep 1000) &'])",
    "a daemon by fork": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0: note(); time.sleep(1_000)
    os._exit(0)
os.wait()
""",
    "a daemon that hides": """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.closerange(0, 1_000)
        note()
        os.execve('/bin/sleep', ['sleep', '1000'], {})
    os._exit(0)
os.wait()
""",
    "a stopped one": "pid = os.fork()\nif pid == 0: note(); os.kill(os.getpid(), 19)",
}


def start_child(bench: Bench, source: str, slot: int = 0, then: str = "time.sleep(1_000)") -> int:
    """The process id of what the source leaves behind in a worker."""
    for file in bench.folder.glob("child"):
        file.unlink()
    bench.do(
        f"import os, subprocess, time\nos.chdir({str(bench.folder)!r})\n"
        "def note():\n    open('new', 'w').write(str(os.getpid())); os.rename('new', 'child')\n"
        f"{source}\nwhile not os.path.exists('child') or not open('child').read().strip():\n"
        f"    time.sleep(0.01)\n{then}",
        slot,
    )
    return bench.number_in("child")


@pytest.mark.parametrize("source", CHILDREN.values(), ids=CHILDREN)
def test_what_a_worker_has_started_ends_with_it(bench: Bench, source: str) -> None:
    child = start_child(bench, source)
    pid = bench.pid()
    assert not has_ended(child)
    bench.workers.end(0)

    bench.is_gone(pid, child)
    assert [event for event in bench.events if isinstance(event, WorkerDied)] == []


@pytest.mark.parametrize("source", [CHILDREN["a daemon by exec"], CHILDREN["a daemon by fork"]])
def test_what_a_worker_has_started_ends_with_its_crash_though_others_live(bench: Bench, source: str) -> None:
    bench.do("import time; time.sleep(1_000)", slot=1)
    child = start_child(bench, source, then="os._exit(1)")
    bench.event(WorkerDied, 0)

    bench.is_gone(child)
    assert not has_ended(bench.pid(1))


def test_an_orphan_lives_as_long_as_its_worker(bench: Bench) -> None:
    child = start_child(bench, CHILDREN["a daemon by exec"], then="pass")
    bench.event(WorkerFinished)
    bench.do("pass", slot=1)
    bench.event(WorkerFinished)
    bench.workers.end(1)
    bench.do("pass", slot=2)
    bench.event(WorkerFinished)

    assert not has_ended(child)
    bench.workers.end(0)
    bench.is_gone(child)


def test_an_orphan_that_cannot_be_told_apart_ends_with_the_last_that_may_own_it(bench: Bench) -> None:
    bench.do("pass", slot=1)
    bench.event(WorkerFinished)
    child = start_child(bench, CHILDREN["a daemon that hides"], then="os._exit(1)")
    bench.event(WorkerDied, 0)
    bench.workers.end(1)

    bench.is_gone(child)


def test_processes_that_fork_without_end_are_ended(bench: Bench) -> None:
    bench.do("""
        import os, time
        def spread():
            os.setsid()
            while True:
                if os.fork() != 0: time.sleep(0.05); os._exit(0)
                os.setsid()
        if os.fork() == 0: spread()
        print("begun", flush=True)
        time.sleep(1_000)
    """)
    bench.prints("begun")
    bench.workers.end(0)
    fork_server = psutil.Process(bench.fork_server.pid)

    bench.until(lambda: not fork_server.children(recursive=True), "the end of all", 3.0)


def test_stopped_worker_can_be_ended(bench: Bench) -> None:
    bench.do("import os; os.kill(os.getpid(), 19)")
    pid = bench.pid()
    bench.until(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED)
    bench.workers.end(0)
    bench.workers.end(0)

    bench.is_gone(pid)


def test_another_worker_takes_the_slot_at_once(bench: Bench) -> None:
    bench.do("import time; print('one'); time.sleep(1_000)")
    bench.prints("one")
    first = bench.pid()
    bench.workers.end(0)
    bench.do("print('two')")
    bench.event(WorkerFinished)
    bench.prints("two")

    bench.is_gone(first)
    assert bench.pane() == "one\r\ntwo\r\n"


def test_worker_ended_before_it_has_begun_leaves_nothing(bench: Bench) -> None:
    for _ in range(20):
        bench.workers.start(0, bench.setup())
        bench.workers.end(0)
    bench.do("pass")
    bench.event(WorkerFinished)
    fork_server = psutil.Process(bench.fork_server.pid)

    bench.until(lambda: len(fork_server.children()) == 1)


def test_breakpoint_is_answered_by_typing(bench: Bench) -> None:
    bench.do("number = 41\nbreakpoint()\nnumber += 1\nprint('then', number)")
    paused = bench.event(WorkerPaused)
    assert "<task>:3" in paused.where
    assert bench.workers.view(0).state == "breakpoint"  # type: ignore[union-attr]
    bench.prints("(Pdb) ")
    bench.workers.type_into(0, b"p number * 1000\n")
    bench.prints("\r\n41000\r\n")
    bench.workers.type_into(0, b"n\n")
    bench.event(WorkerResumed)
    assert "<task>:4" in bench.event(WorkerPaused).where
    bench.workers.type_into(0, b"number = 6\nc\n")
    bench.event(WorkerResumed)
    bench.event(WorkerFinished)

    bench.prints("then 6")
    assert "(Pdb) p number * 1000\r\n" in bench.pane()
    assert "\x1b" not in bench.pane()


def test_lines_at_a_breakpoint_are_completed_remembered_and_edited(bench: Bench) -> None:
    bench.do("""
        import os, subprocess
        number_of_words = 41
        breakpoint()
        told = subprocess.getoutput("env | grep -c -e ^COLUMNS= -e ^LINES=")
        print(number_of_words, int(told) - len({"COLUMNS", "LINES"} & set(os.environ)))
    """)
    bench.prints("(Pdb) ")
    for typed, shown in [
        (b"p number_o\t + 2\r", "p number_of_words + 2\r\n43\r\n"),  # Tab after a command
        (b"\x1b[A\x7f9\r", "\r\n50\r\n"),  # up: the line before, less its last character
        (b"p 'ac'\x1b[D\x1b[Db\r", "'abc'\r\n"),  # left, twice
        (b"x\x01p 1\x1b[C\x1b[3~\x08\x1b[F2\r", "\r\n12\r\n"),  # home, right, delete, end
        (b"number_o\t = 6\r", "(Pdb) number_of_words = 6\r\n"),  # Tab in a statement
    ]:
        bench.workers.type_into(0, typed)
        bench.prints(f"{shown}(Pdb) ")  # before it prompts, what is typed is the terminal's, which edits, too
    bench.workers.type_into(0, b"c\r")
    bench.event(WorkerFinished)

    bench.prints("6 0\r\n")
    assert "\x1b" not in bench.pane()


def test_a_python_without_readline_has_a_debugger_all_the_same(bench: Bench) -> None:
    bench.do("""
        import sys
        sys.modules["readline"] = None
        number = 41
        breakpoint()
        print("then", number)
    """)
    bench.prints("(Pdb) ")
    bench.workers.type_into(0, b"number = 6\nc\n")
    bench.event(WorkerFinished)

    bench.prints("then 6")


def test_input_of_a_function_is_not_edited_after_a_breakpoint_either(bench: Bench) -> None:
    bench.do("breakpoint()\nprint(ascii(input('name? ')))")
    bench.event(WorkerPaused)
    bench.workers.type_into(0, b"c\r")
    bench.prints("name? ")
    bench.workers.type_into(0, b"ac\x1b[Db\n")

    bench.prints(r"'ac\x1b[Db'")


@pytest.mark.parametrize("typed", [b"q\n", b"\x04"], ids=["q", "the end of the input"])
def test_whoever_quits_the_debugger_stops_the_run(bench: Bench, typed: bytes) -> None:
    bench.do("breakpoint()\npass")
    bench.prints("(Pdb) ")
    bench.workers.type_into(0, typed)
    finished = bench.event(WorkerFinished)
    bench.do("breakpoint()\npass")
    bench.event(WorkerPaused)
    bench.workers.type_into(0, b"c\n")

    assert (finished.outcome.kind, finished.outcome.is_final) == ("StoppedByOperatorError", True)
    assert finished.outcome.error == "stopped by the operator, who quit the debugger, at <task>:2 in <module>"
    assert "BdbQuit" not in bench.pane()
    assert bench.event(WorkerFinished).outcome.digest


def test_quitting_the_debugger_while_the_functions_are_loaded_stops_the_run(bench: Bench) -> None:
    write_project(bench.folder / "projects", map_functions=f"breakpoint()\n{PLAIN}", reduce_functions=REDUCE)
    bench.workers.start(0, bench.setup())
    bench.event(WorkerPaused)
    bench.workers.type_into(0, b"q\n")
    died = bench.event(WorkerDied)

    assert (died.failure.kind, died.failure.is_final) == ("StoppedByOperatorError", True)
    assert "at demo/map_functions.py:" in died.failure.error


def test_breakpoint_while_the_functions_are_loaded(bench: Bench) -> None:
    write_project(bench.folder / "projects", map_functions=f"breakpoint()\n{PLAIN}", reduce_functions=REDUCE)
    bench.workers.start(0, bench.setup())
    bench.event(WorkerPaused)
    bench.workers.type_into(0, b"c\n")

    bench.event(WorkerLoaded)


def test_input_reads_what_is_typed_and_the_terminal_has_the_size_given(bench: Bench) -> None:
    bench.do("""
        import os
        name = input("name? ")
        print("hello", name, os.get_terminal_size().columns)
    """)
    bench.prints("name? ")
    bench.workers.resize(0, 99, 20)
    bench.workers.type_into(0, "Zoë\n".encode())
    bench.event(WorkerFinished)

    bench.prints("hello Zoë 99")


def test_control_c_interrupts_a_function_and_nothing_else(bench: Bench) -> None:
    bench.do("print('sleeping')\nimport time; time.sleep(1_000)")
    bench.prints("sleeping")
    bench.workers.type_into(0, b"\x03")
    finished = bench.event(WorkerFinished)
    for _ in range(5):
        bench.workers.type_into(0, b"\x03")
        bench.turn()
    bench.do("print('alive')")
    again = bench.event(WorkerFinished)

    assert "KeyboardInterrupt" in finished.outcome.error
    assert again.outcome.digest
    bench.prints("alive")


def test_typing_that_nobody_reads_is_bounded(bench: Bench) -> None:
    bench.do("import time; time.sleep(1_000)")
    bench.pid()
    taken = 0
    while bench.workers.type_into(0, b"x" * 1_000 + b"\n"):
        taken += 1
        assert taken < 10_000

    assert not bench.workers.type_into(2, b"x")


def test_typing_control_s_does_not_stop_the_output(bench: Bench) -> None:
    bench.do("print(input()); print('goes on')")
    bench.pid()
    bench.workers.type_into(0, b"\x13\x13word\n")
    bench.event(WorkerFinished)

    bench.prints("goes on")


def test_worker_that_a_function_forks_is_not_mistaken_for_it(bench: Bench) -> None:
    bench.do("import os; os.fork()")
    bench.event(WorkerFinished)
    bench.do("print('once')")
    bench.event(WorkerFinished)

    bench.prints("once")
    assert [event for event in bench.events if isinstance(event, WorkerFinished | WorkerDied)] == []


def test_death_of_the_nursery_is_the_death_of_its_workers(bench: Bench) -> None:
    bench.do("import time; time.sleep(1_000)")
    pid = bench.pid()
    os.kill(bench.fork_server.pid, signal.SIGKILL)
    bench.event(WorkerDied)
    bench.event(ForkServerDied)
    bench.is_gone(pid)
    bench.workers.start(0, bench.setup())
    died = bench.event(WorkerDied)

    assert (died.failure.kind, died.failure.is_counted) == ("StartError", False)


def test_a_preview_is_told_that_whoever_forks_workers_has_ended(bench: Bench) -> None:
    said: list[str] = []

    def start() -> WorkerLink:
        setup = PreviewSetup(
            cluster=ClusterConfig(),
            peer="alpha",
            fields={},
            projects_dir="",
            scratch="",
            memory_bytes=1,
            lines=1,
        )
        return bench.workers.start_guest(setup, Printed(), lambda _: None, said.append)

    links = [start(), start()]
    os.kill(bench.fork_server.pid, signal.SIGKILL)
    bench.event(ForkServerDied)
    with pytest.raises(StartError, match="start the peer again"):
        start()
    for link in links:
        link.close()

    assert said == ["was ended with the process that starts the workers of this peer"] * 2


DAEMON = """
import os, sys, time
from pathlib import Path
sys.path[:0] = [{tests!r}, {here!r}]
from test_pool import Bench, CHILDREN, start_child
bench = Bench(Path({folder!r}))
pids = [bench.fork_server.pid]
for slot, name in enumerate(["a fork", "a daemon by fork", "a daemon that hides"]):
    pids += [start_child(bench, CHILDREN[name], slot), bench.pid(slot)]
if os.fork() == 0:  # holds the daemon's end of all sockets open
    print(os.getpid(), *pids, flush=True)
    time.sleep(20)
    os._exit(0)
while True:
    bench.turn()
"""


def test_killed_daemon_takes_everything_along(tmp_path: Path) -> None:
    here = Path(__file__).parent
    source = DAEMON.format(tests=str(here.parents[1]), here=str(here), folder=str(tmp_path))
    daemon = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)
    assert daemon.stdout is not None
    try:
        holder, *pids = map(int, daemon.stdout.readline().split())
        assert len(pids) == 7
        assert not any(map(has_ended, pids))
    finally:
        daemon.kill()
    killed_at = time.monotonic()
    while not all(map(has_ended, pids)):
        assert time.monotonic() - killed_at < 20.0, [pid for pid in pids if not has_ended(pid)]
        time.sleep(0.005)
    print(f"all gone {1_000 * (time.monotonic() - killed_at):.0f} ms after the daemon")
    os.kill(holder, signal.SIGKILL)
    daemon.stdout.close()
    daemon.wait()
