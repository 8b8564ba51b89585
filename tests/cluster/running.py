"""Helpers of the tests of `pymr run`: a folder with a project and its input, and real processes run in it."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

import pymr
from pymr.base.zstd import zstd

PYMR = Path(sys.executable).with_name("pymr")
REPOSITORY = Path(__file__).parents[2]
PROJECTS = REPOSITORY / "projects"
PACKAGE = Path(pymr.__file__).parent

DEADLINE_S = 120.0
"""For everything that is waited for, unless a test says how quick it has to be."""

ENDS_WITHIN_S = 20.0

MARKER = "PYMR_TEST_PLACE"
"""In the environment of every process of a test, with a value of its own: finds what a run left behind."""

MAP_WORDS = """
    def words(line, auxiliary_data):
        return [(word, 1) for word in line.split()]
"""
REDUCE_TOTAL = """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
"""
PREVIOUS = {
    "_manifest.json": b'{"parts":[{"name":"part-00000-0000.jsonl","items":1,"length":13}]}\n',
    "part-00000-0000.jsonl": b'["before",1]\n',
}
"""An output of an earlier run."""


@dataclass(frozen=True)
class Finished:
    """What a run that has ended said, and how."""

    status: int
    out: str
    err: str

    def says(self, *texts: str) -> Finished:
        """The same, after a look at whether stderr holds all the texts."""
        missing = [text for text in texts if text not in self.err]
        assert not missing, f"stderr does not say {missing}:\n{self.err}"
        return self


class Place:
    """A folder with a project `p`, a job.toml, `input`; runs started in it are known by their environment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = uuid.uuid4().hex
        self.output = folder / "results" / "output"
        self.input = folder / "input"
        self.input.mkdir()
        self.functions(MAP_WORDS, REDUCE_TOTAL)
        self.job()

    def functions(self, map_source: str | None = None, reduce_source: str | None = None) -> None:
        """Write the project's modules; None leaves one as it is."""
        project = self.folder / "projects" / "p"
        project.mkdir(parents=True, exist_ok=True)
        for name, source in (("map_functions.py", map_source), ("reduce_functions.py", reduce_source)):
            if source is not None:
                (project / name).write_text(textwrap.dedent(source))

    def job(self, **fields: Any) -> None:
        """Write job.toml: word count in 3 partitions, with these fields over it (None leaves one out)."""
        values: dict[str, Any] = {
            "job_type": "mapreduce",
            "job_name": "job",
            "job_priority": 1,
            "project_name": "p",
            "input_dirs": ["input"],
            "map_function_name": "words",
            "reduce_function_name": "total",
            "partitions": 3,
        }
        values |= fields
        lines = [f"{name} = {json.dumps(value)}" for name, value in values.items() if value is not None]
        (self.folder / "job.toml").write_text("\n".join([*lines, ""]))

    def feed(self, *lines: str, name: str = "text.txt") -> Path:
        """Write an input file of these lines."""
        return self.feed_bytes("".join(f"{line}\n" for line in lines).encode(), name)

    def feed_bytes(self, content: bytes, name: str = "text.txt") -> Path:
        path = self.input / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def earlier_output(self) -> None:
        """Put what an earlier run could have left where the output goes."""
        self.output.mkdir(parents=True)
        for name, content in PREVIOUS.items():
            (self.output / name).write_bytes(content)

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYMR_")}
        return kept | {MARKER: self.marker, "COLUMNS": "80", "LINES": "24"} | dict(extra or {})

    def command(self, *arguments: object, job: object = "job.toml", output: object = None) -> list[str]:
        """The command line of a run with the output in `output` (default: that of the place)."""
        where = ["--output", str(output or self.output)] if "--output" not in arguments else []
        return [str(PYMR), "run", str(job), *where, *map(str, arguments)]

    def start(
        self,
        *arguments: object,
        job: object = "job.toml",
        env: Mapping[str, str] | None = None,
        **options: Any,
    ) -> subprocess.Popen[str]:
        """Start a run in a session of its own."""
        return self.start_command(self.command(*arguments, job=job), env, **options)

    def start_command(
        self, command: Sequence[str], env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        defaults = {
            "cwd": self.folder,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return subprocess.Popen(
            command,
            env=self.environment(env),
            text=True,
            errors="replace",
            start_new_session=True,
            **{**defaults, **options},
        )

    def run(
        self,
        *arguments: object,
        env: Mapping[str, str] | None = None,
        timeout_s: float = DEADLINE_S,
        **options: Any,
    ) -> Finished:
        """Run to the end, however that is."""
        return finish(self.start(*arguments, env=env, **options), timeout_s)

    def succeed(self, *arguments: object, **options: Any) -> Finished:
        """Run to a successful end."""
        finished = self.run(*arguments, **options)
        assert finished.status == 0, finished.err + finished.out
        return finished

    def fail(
        self,
        *arguments: object,
        says: Sequence[str] = (),
        status: int = 1,
        attempts: int = 1,
        earlier_output: bool = False,
        **options: Any,
    ) -> Finished:
        """Run to an end that is an error with a clear message and nothing left of the run."""
        if earlier_output:
            self.earlier_output()
        finished = self.run("--set", f"max_attempts={attempts}", *arguments, **options)
        assert finished.status == status, (finished.status, finished.err, finished.out)
        assert finished.err.startswith(("pymr: ", "Usage: ")), finished.err
        assert not frames_of_pymr(finished.err + finished.out), finished.err + finished.out
        assert "unexpected: " not in finished.err, finished.err
        finished.says(*says)
        self.assert_output_untouched(earlier_output)
        assert self.left_files() == []
        assert wait_until(lambda: not self.left_processes(), ENDS_WITHIN_S), self.left_processes()
        return finished

    def fail_everywhere(self, *arguments: object, says: Sequence[str] = (), **options: Any) -> Finished:
        """Fail alike with workers, where no output was, and inline, where one was."""
        finished = self.fail(*arguments, "--workers", "2", says=says, **options)
        self.fail(*arguments, "--inline", says=says, earlier_output=True, **options)
        return finished

    def assert_output_untouched(self, earlier_output: bool) -> None:
        found = files_of(self.output) if self.output.exists() else None
        assert found == (PREVIOUS if earlier_output else None)

    def items(self, output: Path | None = None) -> list[Any]:
        """All items of the output, in the order of its files."""
        folder = output or self.output
        return [json.loads(line) for name in sorted(parts_of(folder)) for line in read_lines(folder / name)]

    def counts(self) -> dict[str, Any]:
        """The output as a dict."""
        return dict(self.items())

    def left_files(self) -> list[str]:
        """Scratch folders below the place."""
        return [str(path) for path in self.folder.rglob(".pymr-run-*")]

    def left_processes(self) -> list[str]:
        """Living processes that runs of this place have started, with all their descendants."""
        return [f"{process.pid} {name}" for process, name in named_processes_of(self.marker)]


def lives(process: psutil.Process) -> bool:
    """One that has ended may stay a zombie for as long as its parent likes."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def processes_of(marker: str) -> list[psutil.Process]:
    """Living processes whose environment has the marker of a place."""
    return [process for process, _ in named_processes_of(marker)]


def named_processes_of(marker: str) -> list[tuple[psutil.Process, str]]:
    """The same, each with its name."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == marker and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process, process.name()))
        except (psutil.Error, OSError):  # ended meanwhile, or a thread of the system
            continue
    return found


def finish(process: subprocess.Popen[str], timeout_s: float = DEADLINE_S) -> Finished:
    """Wait for the end of a run; one that does not end in time is killed, and the test fails."""
    try:
        out, err = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        kill_session(process)
        out, err = process.communicate()
        raise AssertionError(f"the run did not end within {timeout_s} s:\n{out}\n{err}") from None
    return Finished(process.returncode, out or "", err or "")


def kill_session(process: subprocess.Popen[Any]) -> None:
    for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
        try:
            one.kill()
        except psutil.NoSuchProcess:
            continue


def wait_until(condition: Callable[[], Any], timeout_s: float = DEADLINE_S) -> Any:
    """What the condition gives once that is true; what it gives at the deadline else."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found or time.monotonic() > deadline:
            return found
        time.sleep(0.005)


def wait_for_file(path: Path, timeout_s: float = DEADLINE_S) -> None:
    """Until a function of a run has made this file."""
    assert wait_until(path.exists, timeout_s), f"{path} was not made within {timeout_s} s"


def interrupt(process: subprocess.Popen[Any], number: int = signal.SIGINT) -> None:
    """What a terminal does at Ctrl-C: the signal goes to the whole process group."""
    os.killpg(process.pid, number)


def frames_of_pymr(text: str) -> list[str]:
    """Lines of tracebacks in a text that show code of pymr or of what starts it. The stack that Python dumps
    when C code crashes has other ones, without a comma behind the number of the line."""
    own = (f'File "{PACKAGE}', f'File "{PYMR}')
    lines = [line for line in text.splitlines() if any(start in line for start in own)]
    return [line for line in lines if re.search(r", line \d+, in ", line)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def parts_of(folder: Path) -> dict[str, bytes]:
    """The part files of an output, by name."""
    return {name: content for name, content in files_of(folder).items() if name.startswith("part-")}


def read_lines(path: Path) -> list[str]:
    """The lines of a part file, compressed or not."""
    opened = {".gz": gzip.open, ".zst": zstd.open}.get(path.suffix, open)
    with opened(path, "rt", encoding="utf-8", newline="\n") as file:
        return file.read().split("\n")[:-1]


def plain(text: str) -> str:
    """What a terminal was sent, without its control sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "")


def set_options(**values: object) -> list[str]:
    """`--set` options; a name with two underscores is that of a setting in a section."""
    pairs = [f"{name.replace('__', '.')}={value}" for name, value in values.items()]
    return [word for pair in pairs for word in ("--set", pair)]
