"""What workers put out, and typing into them: `pymr logs` and `pymr attach` on a running cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import PYMR, REDUCE_TOTAL, wait_until
from cluster.terminal import Terminal

from pymr.client import Client
from pymr.client.errors import RefusedError
from pymr.ops.init import add_key
from pymr.wire.rows import WorkerRow

MAP_TALKING = """
    import os, time

    def words(line, auxiliary_data):
        print("seen:", line)
        while line == "wait" and not os.path.exists({folder!r} + "/go-on"):
            time.sleep(0.01)
        return [(word, 1) for word in line.split()]
"""
MAP_BREAKING = """
    def words(line, auxiliary_data):
        if line.startswith("odd"):
            breakpoint()
        return [(word, 1) for word in line.split()]
"""


@dataclass(frozen=True)
class Seat:
    """A place for a Terminal: a person who sits at a cluster's console."""

    cluster: Cluster
    folder: Path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        return self.cluster.environment() | {"PYMR_CONFIG": str(self.cluster.path)} | dict(extra or {})

    def attach(self, worker: str, **env: str) -> Terminal:
        return Terminal(self, [str(PYMR), "attach", worker], env)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), peers=2, workers=1, keys=True)
    add_key(cluster.config, "watcher", "viewer")
    cluster.start()
    yield cluster
    problems = cluster.end()

    assert problems == []


@pytest.fixture
def cluster(standing: Cluster, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    """Two peers with keys and a worker each; the input of a test is with alpha only."""
    request.node.clusters = [standing]
    standing.project(MAP_TALKING.format(folder=str(tmp_path)), REDUCE_TOTAL)
    yield standing
    standing.client.delete("job") if standing.job_view() and standing.job_view().row else None  # type: ignore[union-attr]


@pytest.fixture
def seat(cluster: Cluster, tmp_path: Path) -> Seat:
    return Seat(cluster, tmp_path)


def put_out(cluster: Cluster, *arguments: object) -> str:
    finished = cluster.pymr("logs", *arguments)
    assert finished.status == 0, finished.err
    return finished.out


def busy_worker(cluster: Cluster, **expected: object) -> WorkerRow:
    """The worker that has a task, in the state that is expected."""

    def look() -> WorkerRow | None:
        rows = [row for row in cluster.client.workers() if row.task is not None]
        is_so = len(rows) == 1 and all(getattr(rows[0], name) == value for name, value in expected.items())
        return rows[0] if is_so else None

    found: WorkerRow = cluster.wait_for(look, what=f"a worker with {expected}")
    return found


def let_go(terminal: Terminal) -> int:
    """Detach, if that has not come about by itself; the exit status."""
    with suppress(OSError):
        terminal.press("\x01d")
    return terminal.finish()


# ---- logs


def test_the_output_of_a_worker_is_read_from_its_first_byte(cluster: Cluster, tmp_path: Path) -> None:
    cluster.feed("alpha", "text.txt", "one", "wait", "two")
    cluster.submit()
    worker = busy_worker(cluster, state="map").name
    first = cluster.wait_for(lambda: "wait" in (out := put_out(cluster, worker)) and out)
    (tmp_path / "go-on").touch()
    run_id = cluster.succeed().run_id
    whole = put_out(cluster, worker)
    cluster.submit()
    later = cluster.succeed().run_id
    put_out(cluster, worker)

    lines = "seen: one\nseen: wait\nseen: two\n"
    assert first == "seen: one\nseen: wait\n"
    assert whole == lines, "it stays when the run has ended"
    assert later != run_id
    assert put_out(cluster, worker, "--run", run_id) == lines, "it stays when another has run"
    assert put_out(cluster, worker, "--run", run_id, "--from", "11") == "seen: wait\nseen: two\n"
    assert put_out(cluster, worker, "--run", run_id, "--from", "-11") == "seen: two\n"
    assert put_out(cluster, worker, "--run", run_id, "--from", "1000") == ""


def test_output_in_a_file_has_plain_line_ends_and_on_a_terminal_those_of_the_terminal(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.feed("alpha", "text.txt", "one", "\x1b[31mtwo\x1b[0m")
    cluster.submit()
    run_id = cluster.succeed().run_id
    command = [str(PYMR), "logs", "alpha/0", "--run", run_id, "--config", str(cluster.path)]
    with (tmp_path / "out").open("wb") as file:
        subprocess.run(command, stdout=file, env=cluster.environment(), check=True, timeout=60)
    piece = cluster.client.read_pane("alpha/0", run_id, 0)

    assert (tmp_path / "out").read_bytes() == b"seen: one\nseen: \x1b[31mtwo\x1b[0m\n"
    assert piece.data == b"seen: one\r\nseen: \x1b[31mtwo\x1b[0m\r\n"


def test_following_shows_what_comes_until_control_c(cluster: Cluster, tmp_path: Path) -> None:
    cluster.feed("alpha", "text.txt", "one", "wait", "two")
    cluster.submit()
    worker = busy_worker(cluster, state="map").name
    following = cluster.start_pymr("logs", "-f", worker)
    assert following.stdout is not None
    try:
        before = [following.stdout.readline(), following.stdout.readline()]
        (tmp_path / "go-on").touch()
        after = following.stdout.readline()
        cluster.succeed()
        following.send_signal(signal.SIGINT)
        _, err = following.communicate(timeout=10)
    finally:
        following.kill()
        following.wait()

    assert before == ["seen: one\n", "seen: wait\n"]
    assert after == "seen: two\n"
    assert following.returncode == 130
    assert "Traceback" not in err


def test_a_worker_that_is_not_there_is_told(cluster: Cluster) -> None:
    assert cluster.pymr("logs", "nobody/0").status == 1
    assert cluster.pymr("logs", "alpha").says("PEER/SLOT").status == 1
    assert cluster.pymr("logs", "alpha/7").status == 1


# ---- attach


@pytest.fixture
def at_breakpoint(cluster: Cluster) -> WorkerRow:
    """A worker that waits at a breakpoint(), in a task that may make no progress for a second only."""
    cluster.project(MAP_BREAKING, REDUCE_TOTAL)
    cluster.feed("alpha", "text.txt", "even line", "odd line", "even line")
    cluster.submit(task_timeout_seconds=1, max_attempts=1)
    return busy_worker(cluster, state="breakpoint")


def test_a_breakpoint_is_answered_from_a_console(
    cluster: Cluster, seat: Seat, at_breakpoint: WorkerRow
) -> None:
    worker = at_breakpoint.name
    row = cluster.client.job(cluster.job).row
    assert row is not None
    assert (row.status, row.breakpoints, row.seconds_left) == ("running", (worker,), None)
    assert worker in cluster.client.cluster().breakpoints
    told = [event for event in cluster.client.events("", 500) if event.kind == "run.breakpoint"]
    assert [(event.job_name, event.worker) for event in told][-1] == (cluster.job, worker)
    begun = time.monotonic()
    with seat.attach(worker) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        while time.monotonic() < begun + 3.0:  # three times what the task may take without progress
            assert busy_worker(cluster, state="breakpoint").pid == at_breakpoint.pid
            assert all(row.alive and (row.heard or 0.0) < 2.0 for row in cluster.client.peers())
            time.sleep(0.1)
        terminal.press("p line\r")
        terminal.wait_for(r"'odd line'")
        terminal.press("c\r")
        cluster.succeed()
        status = let_go(terminal)

    assert status == 0
    assert ordered(cluster.output()) == [["even", 2], ["line", 3], ["odd", 1]]


def test_whoever_quits_the_debugger_stops_the_run(
    cluster: Cluster, seat: Seat, at_breakpoint: WorkerRow
) -> None:
    with seat.attach(at_breakpoint.name) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        terminal.press("q\r")
        outcome = cluster.finish()
        let_go(terminal)
    run = cluster.client.history(cluster.job)[0]

    assert (outcome.status, run.attempts_failed) == ("failed", 1)
    assert outcome.exception == (
        "stopped by the operator, who quit the debugger, at p/map_functions.py:5 in words"
    )
    assert "BdbQuit" not in outcome.exception


def test_detaching_leaves_it_waiting(cluster: Cluster, seat: Seat, at_breakpoint: WorkerRow) -> None:
    worker = at_breakpoint.name
    with seat.attach(worker) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        terminal.press("p 40 +")
        terminal.press("\x01d")
        status = terminal.finish()
    still = busy_worker(cluster, state="breakpoint")
    with seat.attach(worker) as terminal:
        terminal.wait_for(r"\(Pdb\) ")  # what was put out before is shown
        terminal.press(" 2\r")
        terminal.wait_for(r"\n42\n")
        terminal.press("c\r")
        cluster.succeed()
        let_go(terminal)

    assert status == 0
    assert still.pid == at_breakpoint.pid


def test_only_one_console_types_at_a_time(cluster: Cluster, seat: Seat, at_breakpoint: WorkerRow) -> None:
    worker = at_breakpoint.name
    with seat.attach(worker) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        with seat.attach(worker) as second:
            refused = second.finish()
        with pytest.raises(RefusedError) as caught:
            cluster.client.type_into(worker, "somebody else", b"c\n")
        terminal.press("c\r")
        cluster.succeed()
        let_go(terminal)

    assert refused == 1
    holder = f"@{os.uname().nodename}:{terminal.process.pid} is typing into {worker}"
    assert holder in second.shown.replace("\n", " ")
    assert caught.value.code == "held"


def test_a_viewer_watches_and_types_nothing(
    cluster: Cluster, seat: Seat, at_breakpoint: WorkerRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = at_breakpoint.name
    key = str(cluster.folder / "keys" / "watcher.secret")
    with seat.attach(worker, PYMR_KEY=key) as terminal:
        status = terminal.finish()
    with Client(cluster.config, "watcher") as viewer:
        for try_it in (
            lambda: viewer.attach(worker, "watcher"),
            lambda: viewer.type_into(worker, "watcher", b"c\n"),
            lambda: viewer.detach(worker, "watcher"),
        ):
            with pytest.raises(RefusedError) as caught:
                try_it()
            assert caught.value.code == "denied"
        row = viewer.worker(worker)
        seen = viewer.read_pane(worker, "", 0).data
    still = busy_worker(cluster, state="breakpoint")
    cluster.client.attach(worker, "me")
    cluster.client.type_into(worker, "me", b"c\n")
    cluster.client.detach(worker, "me")
    cluster.succeed()

    assert status == 1
    assert "watcher may look" in terminal.shown.replace("\n", " ")
    assert still.pid == row.pid
    assert b"(Pdb) " in seen


def test_a_worker_that_is_deleted_ends_an_attachment(
    cluster: Cluster, seat: Seat, at_breakpoint: WorkerRow
) -> None:
    with seat.attach(at_breakpoint.name) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        cluster.client.delete("job")
        status = terminal.finish(15.0)

    assert status == 0
    assert f"{at_breakpoint.name}: its process has ended" in terminal.shown
    assert wait_until(lambda: all(row.pid != at_breakpoint.pid for row in cluster.client.workers()), 5.0)


# ---- what is kept


def test_output_that_is_no_longer_kept_is_an_error_that_says_so(cluster: Cluster) -> None:
    cluster.project("def words(line, auxiliary_data):\n    raise ValueError(line)\n", REDUCE_TOTAL)
    cluster.feed("alpha", "text.txt", "one")
    cluster.submit(max_attempts=1)
    cluster.finish()
    (run, *_) = cluster.client.history("job")
    assert run.failed_at is not None
    command = ["logs", run.failed_at.worker, "--run", run.run_id]
    shown = cluster.pymr("show", "job").out
    assert f"pymr {' '.join(command)}" in shown
    assert cluster.pymr(*command).status == 0
    peer, slot = run.failed_at.worker.split("/")
    shutil.rmtree(cluster.data(peer) / "panes" / slot / run.run_id)  # as the sweep does
    gone = cluster.pymr(*command)
    shown_later = cluster.pymr("show", "job").out

    assert gone.status == 1
    assert gone.out == ""
    assert "panes.keep_days" in gone.err and run.run_id in gone.err
    assert "pymr logs" not in shown_later
    assert f"that of {run.failed_at.worker} is no longer kept" in shown_later
    assert json.loads(cluster.pymr("show", "job", "--json").out)["failure_output_kept"] is False


def test_a_run_that_a_worker_took_no_part_in_has_no_output_of_it(cluster: Cluster) -> None:
    finished = cluster.pymr("logs", "alpha/0", "--run", "never-000001")

    assert finished.status == 1
    assert "never-000001" in finished.err
