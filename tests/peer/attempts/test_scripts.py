"""Scripts: in real workers, on a terminal, with what they leave behind, and what their end means."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from valid_jobs import SCRIPT
from worker_bench import RUN, Bench, check_end, has_ended

from pymr.base.errors import ScriptError
from pymr.config.cluster import ClusterConfig, PeerConfig, SecurityConfig
from pymr.config.sections import EngineConfig
from pymr.jobs.job import parse_job
from pymr.jobs.job_types import ScriptJob
from pymr.peer.attempts.scripts import OUTPUT_BYTES_MAX, last_lines, script_command
from pymr.peer.attempts.steps import StepContext, step_outcome
from pymr.peer.attempts.worker_protocol import StepOrder, WorkerSetup
from pymr.peer.workers.events import WorkerFinished
from pymr.wire.outcomes import AttemptId, Failure, StepOutcome


def config(*roots: str) -> ClusterConfig:
    peer = PeerConfig(name="alpha", workers=1, data_dir="/data")
    return ClusterConfig(peers=(peer,), security=SecurityConfig(local_roots=roots))


class ScriptBench(Bench):
    """A bench whose workers run scripts."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, tasks=None)

    def write(self, text: str, name: str = "script.sh", mode: int = 0o755) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def begin(self, text: str, *arguments: str, attempt: str = "7.1", **fields: Any) -> AttemptId:
        """Run a shell script as a job, in slot 0."""
        path = self.write("#!/bin/sh\n" + text)
        return self.begin_job(
            script_location=str(path), script_arguments=arguments, attempt=attempt, **fields
        )

    def begin_job(self, attempt: str = "7.1", **fields: Any) -> AttemptId:
        setup = WorkerSetup(
            run_id=RUN,
            worker="alpha/0",
            fields={**SCRIPT, **fields},
            projects_dir=str(self.folder / "projects"),
            data_dir=str(self.folder),
            engine={},
            memory_bytes=256 << 20,
            partitions=0,
            runs_dir=str(self.folder / "runs"),
            cluster=config(),
        )
        self.workers.start(0, setup)
        id = AttemptId(RUN, "script-00000", attempt)
        assert self.workers.assign(0, StepOrder(id))
        return id

    def outcome(self) -> Any:
        return self.event(WorkerFinished).outcome

    def failure(self) -> Failure:
        outcome = self.outcome()
        assert isinstance(outcome, Failure), outcome
        return outcome


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[ScriptBench]:
    files = len(os.listdir("/proc/self/fd"))
    bench = ScriptBench(tmp_path)
    yield bench
    check_end(bench, files)


# -- what is run


def context(tmp_path: Path, *roots: str) -> StepContext:
    job = parse_job(SCRIPT)
    assert isinstance(job, ScriptJob)
    projects = str(tmp_path / "projects")
    return StepContext(job, config(*roots), "alpha", str(tmp_path), projects, RUN, "alpha/0", EngineConfig())


def command(context: StepContext, location: str) -> list[str]:
    job = parse_job({**SCRIPT, "script_location": location})
    assert isinstance(job, ScriptJob)
    return script_command(job, context)


def test_a_file_is_run_by_itself_or_by_python(tmp_path: Path) -> None:
    here = context(tmp_path)
    files = {
        "tool": (b"\x7fELF", 0o755, False),
        "run.sh": (b"#!/bin/sh\n", 0o755, False),
        "own.py": (b"#!/usr/bin/python3\n", 0o755, False),
        "plain.py": (b"print()\n", 0o644, True),
        "no_first_line.py": (b"print()\n", 0o755, True),
        "not_executable.py": (b"#!/usr/bin/python3\n", 0o644, True),
    }
    for name, (content, mode, is_python) in files.items():
        for path, location in (
            (tmp_path / name, str(tmp_path / name)),
            (tmp_path / "projects" / "demo" / "sub" / name, f"demo/sub/{name}"),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
            assert command(here, location) == [*([sys.executable] if is_python else []), str(path)]


def test_what_is_no_script_is_refused_with_what_to_do(tmp_path: Path) -> None:
    outside, project = tmp_path / "outside", tmp_path / "projects" / "demo"
    outside.mkdir()
    project.mkdir(parents=True)
    (outside / "evil.py").write_text("")
    (outside / "plain").write_text("echo")
    (project / "link.py").symlink_to(outside / "evil.py")
    (project / "folder").symlink_to(outside)
    (outside / "away").symlink_to("/bin/sh")
    os.mkfifo(outside / "pipe.py")
    here = context(tmp_path)
    refusals = {
        str(outside): "is a folder and not a file",
        str(outside / "plain"): "is not executable: chmod +x it",
        str(outside / "none"): "No such file",
        str(outside / "pipe.py"): "is a pipe and not a file",
        "/dev/null": "is a device and not a file",
        "demo/link.py": "leads out of the project demo",
        "demo/folder/evil.py": "leads out of the project demo",
        "demo/none.py": "No such file",
        "demo": "neither an absolute path nor PROJECT/file.py",
    }
    for location, reason in refusals.items():
        with pytest.raises(ScriptError) as raised:
            command(here, location)
        assert reason in str(raised.value)
        assert f"script_location = {location!r} cannot be run on alpha: " in str(raised.value)
    with pytest.raises(ScriptError, match=r"local_roots"):
        command(context(tmp_path, str(outside)), "/bin/sh")
    with pytest.raises(ScriptError, match=r"local_roots"):
        command(context(tmp_path, str(outside)), str(outside / "away"))
    with pytest.raises(ScriptError, match=r"local_roots"):
        command(context(tmp_path, str(outside)), f"{outside}/../outside2/x")
    assert command(context(tmp_path, str(outside)), str(outside / "evil.py"))


def test_last_lines_are_plain_text_within_their_bounds() -> None:
    many = b"".join(b"line %d\r\n" % number for number in range(100))
    shown = last_lines(many).split("\n")
    wide = last_lines("ä".encode() * 100_000)

    assert (len(shown), shown[0], shown[-1]) == (50, "line 50", "line 99")
    assert last_lines(b" 10 %\r 50 %\r100 %\r\ndone\r\r\n\r\n") == "100 %\ndone"
    assert last_lines(b"\x1b[1;31mred\x1b[0m\x1b]0;title\x07\x1b(B bell\x07 tab\there\x00\xff") == (
        "red bell tab\there�"
    )
    assert len(wide.encode()) <= OUTPUT_BYTES_MAX and set(wide) == {"ä"}
    assert last_lines(b"") == ""


# -- how it is run


def test_script_has_its_arguments_its_environment_and_a_terminal(bench: ScriptBench) -> None:
    arguments = ["a b", "$HOME `id` *", "", "ä'\"", "--x"]
    id = bench.begin(
        'for word in "$@"; do echo "[$word]"; done\n'
        'echo "$PYMR_RUN $PYMR_ATTEMPT $PYMR_JOB $PYMR_PEER $PYMR_DATA_DIR"; pwd\n'
        "test -t 0 && test -t 1 && test -t 2 && echo terminal; stty size\n"
        "printf '\\033[31mred\\033[0m'; exit 0",
        *arguments,
        attempt="7.12",
    )
    outcome = bench.outcome()
    shown = [f"[{word}]" for word in arguments]
    shown += [f"{RUN} 12 clean alpha {bench.folder}", str(bench.folder), "terminal", "40 120"]

    assert outcome == StepOutcome(output="\n".join([*shown, "red"]))
    bench.until(lambda: bench.pane() == "\r\n".join([*shown, "\x1b[31mred\x1b[0m"]), "the whole pane")
    assert step_outcome(str(bench.folder / "runs" / RUN / id.folder)) == outcome


def test_script_of_a_project_is_run_by_python_in_its_folder(bench: ScriptBench) -> None:
    bench.write("WORD = 'beside it'", "projects/wordcount/other.py", 0o644)
    bench.write("import sys, other\nprint(other.WORD, sys.argv)", "projects/wordcount/clean.py", 0o644)
    bench.begin_job(script_arguments=["x"])

    assert bench.outcome().output == f"beside it ['{bench.folder}/projects/wordcount/clean.py', 'x']"


def test_finished_script_is_not_run_again(bench: ScriptBench) -> None:
    for _ in range(2):
        bench.begin("echo x >> ran; echo done")
        assert bench.outcome().output == "done"

    assert (bench.folder / "ran").read_text() == "x\n"


def test_exit_status_fails_for_good_with_the_last_lines(bench: ScriptBench) -> None:
    id = bench.begin("for i in $(seq 99); do echo line $i; done; echo 'what went wrong' >&2; exit 3")
    failure = bench.failure()
    lines = failure.error.splitlines()

    assert (failure.kind, failure.is_final, failure.exit_status) == ("ScriptError", True, 3)
    assert failure.output.splitlines() == lines[2:]
    assert f"{bench.folder}/script.sh on alpha ended with exit status 3" in lines[0]
    assert lines[1] == "Its last lines:"
    assert lines[2:] == [f"line {number}" for number in range(51, 100)] + ["what went wrong"]
    bench.prints("ended with exit status 3\r\n")
    assert bench.pane().count("what went wrong") == 1  # and not once more with the failure
    assert not list((bench.folder / "runs" / RUN).glob(f"*{id.folder}"))


def test_signal_is_told_by_its_name(bench: ScriptBench) -> None:
    bench.begin("kill -SEGV $$")

    failure = bench.failure()

    assert failure.error.endswith("was ended by SIGSEGV")
    assert failure.exit_status == -signal.SIGSEGV


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("#!/no/such/interpreter\n", "its first line names an interpreter that is not on this machine"),
        ("\x00\x01\x02 no program", "neither a program of this machine nor has a first line"),
    ],
)
def test_script_that_cannot_be_started_says_why(bench: ScriptBench, text: str, reason: str) -> None:
    path = bench.write(text, "odd")
    bench.begin_job(script_location=str(path))
    failure = bench.failure()

    assert (failure.is_final, failure.exit_status) == (True, None)
    assert str(path) in failure.error and reason in failure.error


def test_what_is_typed_reaches_the_script_and_so_does_control_c(bench: ScriptBench) -> None:
    bench.begin("trap 'echo interrupted; exit 4' INT; read word; echo \"got $word\"; cat")
    bench.prints("")
    bench.workers.type_into(0, b"wo\x7for\x7f\x7ford\n")
    bench.prints("got word")
    bench.workers.resize(0, 99, 20)
    bench.workers.type_into(0, b"echoed\n")
    bench.until(lambda: bench.pane().count("echoed") == 2)
    bench.workers.type_into(0, b"\x13\x03")

    assert "ended with exit status 4" in bench.failure().error
    bench.prints("interrupted")


def test_much_output_passes_and_only_its_end_is_kept(bench: ScriptBench) -> None:
    begun = time.monotonic()
    bench.begin("yes 'a line of the usual length of a line of output' | head -c 20000000; echo; echo the end")
    output = bench.outcome().output
    print(f"20 MB in {time.monotonic() - begun:.1f} s")

    assert output.endswith("\nthe end")
    assert len(output.split("\n")) == 50


# -- its end

LEAVE = {
    "a child": "sleep 1000 & echo $! > pid\n",
    "a session of its own": (
        "setsid sh -c 'echo $$ > pid; exec sleep 1000' &\nwhile ! test -s pid; do sleep 0.01; done\n"
    ),
    "a daemon": (
        f'{sys.executable} -c "\n'
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if os.fork() == 0:\n"
        "        os.environ.clear()\n"
        "        open('pid.new', 'w').write(str(os.getpid()))\n"
        "        os.rename('pid.new', 'pid')\n"
        "        os.execve('/bin/sleep', ['sleep', '1000'], {})\n"
        '"\nwhile ! test -e pid; do sleep 0.01; done\n'
    ),
}


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_nothing_of_a_script_outlives_it_nor_its_worker(bench: ScriptBench, leave: str) -> None:
    bench.begin(leave + "echo $$ > script; trap '' TERM HUP; while true; do sleep 1; done")
    script, left = bench.number_in("script"), bench.number_in("pid")
    bench.workers.end(0)
    bench.is_gone(script, left)
    for name in ("script", "pid"):
        (bench.folder / name).unlink()

    bench.begin(leave + "echo finished")
    left = bench.number_in("pid")
    assert bench.outcome().output == "finished"
    assert has_ended(left)
    bench.prints("[pymr: ended what the script had left running]")


@pytest.mark.parametrize("leave", LEAVE.values(), ids=LEAVE)
def test_timeout_ends_the_script_with_all_it_started(bench: ScriptBench, leave: str) -> None:
    bench.begin(leave + "echo still here; sleep 1000", timeout_seconds=0.7)
    left = bench.number_in("pid")
    begun = time.monotonic()
    failure = bench.failure()

    assert (failure.kind, failure.is_final) == ("ScriptError", True)
    assert "took longer than timeout_seconds = 0.7" in failure.error
    assert failure.error.endswith("Its last lines:\nstill here")
    assert has_ended(left)
    assert time.monotonic() - begun < 60  # of the 1,000 that it would sleep


def test_script_may_clean_up_at_its_timeout_but_not_stay(bench: ScriptBench) -> None:
    bench.begin("trap 'echo cleaned > mark; exit 0' TERM; sleep 1000 & wait", timeout_seconds=0.3)
    assert "took longer" in bench.failure().error
    assert (bench.folder / "mark").read_text() == "cleaned\n"
    begun = time.monotonic()
    bench.begin("trap '' TERM HUP; while true; do sleep 1; done", timeout_seconds=0.3, attempt="7.2")
    assert "took longer" in bench.failure().error

    assert time.monotonic() - begun < 60


def test_what_a_script_writes_through_may_end_by_itself(bench: ScriptBench) -> None:
    bench.begin("(sleep 0.3; echo late) & echo early; exit 0")

    assert bench.outcome().output == "early\nlate"


def test_script_ends_when_its_worker_is_killed(bench: ScriptBench) -> None:
    bench.begin(LEAVE["a child"] + "echo $$ > script; trap '' TERM HUP; while true; do sleep 1; done")
    script, left = bench.number_in("script"), bench.number_in("pid")
    os.kill(bench.pid(), signal.SIGKILL)

    bench.is_gone(script, left)


def test_package_keeps_what_is_executable(tmp_path: Path) -> None:
    from pymr.projects.packages import pack_project, unpack_project

    path = tmp_path / "projects" / "demo" / "bin" / "tool.sh"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    package = pack_project(tmp_path / "projects", "demo")
    unpack_project(package.data, tmp_path / "peer" / "projects" / "demo", package.content_hash)
    there = context(tmp_path / "peer")

    assert command(there, "demo/bin/tool.sh") == [str(tmp_path / "peer/projects/demo/bin/tool.sh")]
    assert stat.S_IMODE(os.stat(command(there, "demo/bin/tool.sh")[0]).st_mode) & 0o111
