"""Functions that misbehave cost their attempts and nothing else: neither the daemon nor the next job."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import MAP_WORDS, REDUCE_TOTAL, processes_of

SPLIT_BYTES = 1_000
MAP_TROUBLE = """
    import ctypes, os, resource, signal, subprocess, sys, time

    FOLDER = {folder!r}

    def is_first(name):
        try:
            os.close(os.open(FOLDER + "/" + name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def segfault(): ctypes.string_at(0)
    def leave(): os._exit(3)
    def killed(): os.kill(os.getpid(), signal.SIGKILL)
    def endless():
        while True: pass
    def stopped(): os.kill(os.getpid(), signal.SIGSTOP)
    def closes_files(): os.closerange(0, 4096)
    def exits(): sys.exit("I have had enough")
    def interrupted(): raise KeyboardInterrupt
    def greedy():
        used = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), resource.RLIM_INFINITY))
        try:
            grown = []
            while True: grown.append(bytearray(1 << 20))
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    def loud():
        print("the first line")
        for _ in range(64_000): print("x" * 999)
        print("the last line", flush=True)
    def forks():
        if os.fork() == 0:
            time.sleep(1_000)
    def detaches():
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                os.closerange(0, 4096)
                os.execve("/bin/sleep", ["sleep", "1000"], dict(os.environ))
            os._exit(0)
        os.wait()
    def wanders():
        os.chdir("/")
        os.umask(0)
        os.environ.clear()
    def deaf():
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
    def raising_handlers():
        def handler(*_): raise RuntimeError("out of the blue")
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        time.sleep(0.1)

    def words(line, auxiliary_data):
        name, *others = line.split()
        if name.startswith("always-"):
            globals()[name.removeprefix("always-")]()
        elif name.startswith("once-") and is_first(name):
            globals()[name.removeprefix("once-")]()
        return [(word, 1) for word in line.split()]
"""
COSTLY = {
    "segfault": r"alpha/\d was ended by SIGSEGV",
    "leave": r"alpha/\d exited with status 3",
    "killed": r"alpha/\d was ended by SIGKILL: killed from outside, or the machine is out of memory",
    "endless": r"alpha/\d made no progress on map-00000 for 1 s \(task_timeout_seconds\)",
    "stopped": r"alpha/\d made no progress on map-00000 for 1 s \(task_timeout_seconds\)",
    "closes_files": r"alpha/\d closed its pipe to pymr",
    "exits": "map function 'words' raised SystemExit: it called sys.exit",
    "interrupted": "map function 'words' raised KeyboardInterrupt",
    "greedy": "MemoryError",
    "raising_handlers": "RuntimeError: out of the blue",
}
"""What costs an attempt, and what is said of it."""

HARMLESS = ("forks", "detaches", "wanders", "deaf")
"""What costs nothing but what it takes."""


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = {"engine": {"split_bytes": SPLIT_BYTES}}
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), peers=1, workers=2, settings=settings)
    cluster.start()
    yield cluster
    problems = cluster.end()

    assert problems == []


@pytest.fixture
def cluster(standing: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """A cluster of one peer. After the test it has the same daemon, nothing else, and does the next job."""
    request.node.clusters = [standing]
    daemons = {process.pid for process in processes_of(standing.marker)}
    for path in standing.input_of("alpha").iterdir():
        path.unlink()
    standing.project(MAP_TROUBLE.format(folder=str(tmp_path)), REDUCE_TOTAL)
    yield standing
    assert standing.processes["alpha"].poll() is None, "the daemon has ended"
    _run_next_job(standing)
    standing.wait_for(lambda: _pids(standing) <= daemons, what=f"the end of {_shown(standing, daemons)}")

    assert _pids(standing) == daemons


def _run_next_job(cluster: Cluster) -> None:
    folder = cluster.data("alpha") / "next"
    folder.mkdir(exist_ok=True)
    (folder / "text.txt").write_text("one two two\n")
    cluster.project(MAP_WORDS, REDUCE_TOTAL, "next")
    cluster.submit(job_name="next", project_name="next", input_dirs=["next"])
    cluster.succeed("next", 20.0)
    assert ordered(cluster.output("next")) == [["one", 1], ["two", 2]]


def _pids(cluster: Cluster) -> set[int]:
    return {process.pid for process in processes_of(cluster.marker)}


def _shown(cluster: Cluster, daemons: set[int]) -> list[str]:
    found = []
    for process in processes_of(cluster.marker):
        with suppress(psutil.Error):
            if process.pid not in daemons:
                found.append(f"{process.pid} {process.name()} {process.cmdline()}")
    return found


def fail(cluster: Cluster, **fields: Any) -> str:
    """Run a job to its failure; what is said of it."""
    cluster.submit(**fields)
    outcome = cluster.finish()
    assert not outcome.is_success
    assert outcome.exception
    assert "unexpected: " not in outcome.exception
    return outcome.exception


@pytest.mark.parametrize("name", COSTLY)
def test_what_misbehaves_always_fails_the_job_with_what_it_did(cluster: Cluster, name: str) -> None:
    cluster.feed("alpha", "text.txt", "a good line", f"always-{name}")
    exception = fail(cluster, max_attempts=2, task_timeout_seconds=1)

    assert re.search(COSTLY[name], exception), exception
    assert "task map-00000: 2 attempts, the same each time" in exception


@pytest.mark.parametrize("name", ["segfault", "endless", "closes_files", "exits"])
def test_a_reduce_function_that_misbehaves_fails_the_job_likewise(
    cluster: Cluster, tmp_path: Path, name: str
) -> None:
    trouble = MAP_TROUBLE.format(folder=str(tmp_path))
    reduce = f"""
    def total(group, auxiliary_data):
        if group.key == "bad":
            {name}()
        return [(group.key, sum(group.values))]
"""
    cluster.project(MAP_WORDS, trouble + reduce)
    cluster.feed("alpha", "text.txt", "good words and bad words")
    exception = fail(cluster, max_attempts=2, task_timeout_seconds=1, partitions=1)
    said = COSTLY[name].replace("map function 'words'", "reduce function 'total'").replace("map-", "reduce-")

    assert re.search(said, exception), exception
    assert "task reduce-00000: 2 attempts, the same each time" in exception


def test_what_misbehaves_once_is_done_again(cluster: Cluster) -> None:
    for name in (*COSTLY, *HARMLESS):
        cluster.feed("alpha", f"{name}.txt", f"once-{name} some words", "x" * SPLIT_BYTES)
    cluster.submit(max_attempts=2, task_timeout_seconds=1)
    cluster.succeed()
    [run, *_] = cluster.client.history("job")

    assert run.attempts_failed == len(COSTLY)
    assert dict(cluster.output()) == {
        "some": len(COSTLY) + len(HARMLESS),
        "words": len(COSTLY) + len(HARMLESS),
        "x" * SPLIT_BYTES: len(COSTLY) + len(HARMLESS),
        **{f"once-{name}": 1 for name in (*COSTLY, *HARMLESS)},
    }


@pytest.mark.parametrize("name", HARMLESS)
def test_what_harms_nobody_costs_nothing(cluster: Cluster, name: str) -> None:
    cluster.feed("alpha", "text.txt", f"always-{name} some words")
    cluster.submit(max_attempts=1)
    cluster.succeed()

    assert dict(cluster.output()) == {f"always-{name}": 1, "some": 1, "words": 1}


def test_of_64_mb_of_output_beginning_and_end_are_kept(cluster: Cluster) -> None:
    cluster.feed("alpha", "text.txt", "always-loud")
    cluster.submit(max_attempts=1, task_timeout_seconds=5)
    run_id = cluster.succeed().run_id
    panes = list((cluster.data("alpha") / "panes").glob(f"*/{run_id}/*.out"))
    [slot] = {path.parts[-3] for path in panes if b"the first line" in path.read_bytes()}
    end = cluster.client.read_pane(f"alpha/{slot}", run_id, -50)

    assert sum(path.stat().st_size for path in panes) < 12 << 20
    assert cluster.client.read_pane(f"alpha/{slot}", run_id, 0).data.startswith(b"the first line\r\n")
    assert end.end > 64_000_000
    assert b"the last line\r\n" in end.data


BROKEN_PROJECTS = {
    "an import that fails": ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    "an exit at import": ("import sys; sys.exit('not today')", "not today"),
    "no such function": (
        "class MapFunctions:\n    def __init__(self, name): raise KeyError(name)\ndel words",
        "words",
    ),
    "the end of the process at import": ("import os; os._exit(4)", "exited with status 4"),
    "an endless import": ("while True: pass", "did not get ready for 1 s (task_timeout_seconds)"),
}


@pytest.mark.parametrize(("source", "said"), BROKEN_PROJECTS.values(), ids=BROKEN_PROJECTS)
def test_a_project_that_cannot_be_loaded_fails_the_job(cluster: Cluster, source: str, said: str) -> None:
    cluster.feed("alpha", "text.txt", "a line")
    cluster.project(f"def words(line, auxiliary_data): ...\n{source}", REDUCE_TOTAL)
    exception = fail(cluster, max_attempts=2, task_timeout_seconds=1)

    assert said in exception


BAD_RESULTS = {
    "a value that cannot be carried": ("[(line, object())]", "text.txt, byte 12: 'second line'"),
    "a key that cannot be carried": ("[([], 1)]", "text.txt, byte 12: 'second line'"),
    "no key at all": ("[(float('nan'), 1)]", "text.txt, byte 12: 'second line'"),
    "no pairs": ("5", "text.txt, byte 12: 'second line'"),
    "an error": ("[1 // 0]", "text.txt, byte 12: 'second line'"),
}


@pytest.mark.parametrize(("result", "said"), BAD_RESULTS.values(), ids=BAD_RESULTS)
def test_a_bad_result_is_named_with_file_and_byte(cluster: Cluster, result: str, said: str) -> None:
    cluster.feed("alpha", "text.txt", "a good line", "second line")
    source = f"def words(line, auxiliary_data): return {result} if line.startswith('second') else [(line, 1)]"
    cluster.project(source, REDUCE_TOTAL)

    assert said in fail(cluster, max_attempts=2)


def test_input_that_is_not_utf_8_is_named_with_file_and_byte(cluster: Cluster) -> None:
    (cluster.input_of("alpha") / "text.txt").write_bytes(b"a good line\nsecond \xff line\n")
    exception = fail(cluster, max_attempts=2)

    assert "text.txt" in exception
    assert "byte 12" in exception or "byte 19" in exception
