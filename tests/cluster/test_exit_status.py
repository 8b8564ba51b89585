"""The exit status of every command, as docs/cluster.md has it in a table: in this process, with a cluster."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.clusters import Cluster
from cluster.ports import free_port
from cluster.running import MAP_WORDS, REDUCE_TOTAL

from pymr.cli import main
from pymr.ops.init import init_cluster

DOCS = Path(__file__).parents[2] / "docs" / "cluster.md"
PROJECT = "statuses"
HUGE = "9" * 30
JOB = f"""
job_type = "mapreduce"
job_name = "status"
job_priority = 1
run_once = true
project_name = "{PROJECT}"
input_dirs = ["status-input"]
map_function_name = "words"
reduce_function_name = "total"
"""
BAD_FUNCTION = ("--set", "map_function_name=nosuch")
BAD_PROJECT = ("--set", "project_name=nosuch")

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, lasting_cluster: Cluster) -> Path:
    """A folder with jobs and files, and a cluster that does not run. The other one has run `status`."""
    folder = tmp_path_factory.mktemp("statuses")
    lasting_cluster.project(MAP_WORDS, REDUCE_TOTAL, name=PROJECT)
    data = lasting_cluster.data("alpha")
    for name, text in {"job.toml": JOB, "function.toml": JOB.replace('"words"', '"nosuch"')}.items():
        (folder / name).write_text(text)
    (folder / "bad.toml").write_text("a = \n")
    (folder / "wrong.json").write_text("{")
    for input_dir in (folder / "status-input", data / "status-input"):
        input_dir.mkdir(exist_ok=True)  # of a fixture that was made before
        (input_dir / "text.txt").write_text("a b a\n")
    stopped = init_cluster(folder / "stopped", peers=1, workers=1).config.source or ""
    text = Path(stopped).read_text()
    Path(stopped).write_text(re.sub(r"(_port = )\d+", lambda found: f"{found[1]}{free_port()}", text))
    lasting_cluster.submit(job_name="status", project_name=PROJECT, input_dirs=["status-input"], partitions=1)
    lasting_cluster.succeed("status")
    return folder


@pytest.fixture
def run(
    place: Path,
    lasting_cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Run:
    """Runs a command in the folder; its exit status and what it said."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYMR_CONFIG", str(lasting_cluster.path))
    monkeypatch.setattr("pymr.client.wait.OUT_OF_REACH_SECONDS", 0.1)
    # At its end a command ignores signals. In this process, all that later tests start would ignore them too.
    monkeypatch.setattr("pymr.cli.main.signal.signal", lambda *_: None)

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["pymr", *words])
        try:
            status = main._status()
        except SystemExit as ended:
            status = int(ended.code or 0)
        out, error = capfd.readouterr()
        return status, out + error

    return run


SUCCESS = (
    ("jobs",), ("peers",), ("workers",), ("history",), ("history", "--job", "status"), ("show", "status"),
    ("wait", "status"), ("output", "status"), ("state", "status"), ("template", "script"), ("pause",),
    ("resume",), ("cluster", "status"), ("preview", "job.toml"), ("logs", "alpha/0"),
    ("run", "job.toml", "--inline"), ("keys", "somebody", "--config", "stopped/cluster.toml"),
    ("cluster", "stop", "--config", "stopped/cluster.toml"),
    ("cluster", "kill", "--config", "stopped/cluster.toml"),
)  # fmt: skip

NOT_THERE = (
    *((command, "nosuch") for command in (
        "show", "wait", "output", "state", "delete", "undelete", "retry", "force", "bad-records")),
    *((command, "a b") for command in (
        "show", "wait", "output", "state", "delete", "undelete", "retry", "force", "bad-records")),
    *((command, "\udcff") for command in (
        "show", "wait", "output", "state", "delete", "undelete", "retry", "force", "bad-records")),
    ("history", "--job", "nosuch"), ("state", "nosuch", "--forget", "*"),
    ("state", "status", "--forget", "*", "--peer", "nosuch"), ("preview", "job.toml", "--peer", "nosuch"),
    ("logs", "alpha/9"), ("logs", "alpha/9", "-f"), ("logs", f"alpha/{HUGE}"), ("logs", "nosuch/0"),
    ("logs", "nonsense"), ("logs", "alpha/0", "--run", "nosuch"), ("logs", "alpha/0", "--run", "status-99"),
    ("logs", "alpha/0", "--run", "\udcff"), ("attach", "alpha/9"), ("upload", "nosuch", "in"),
    ("download", "status-input", "job.toml"), ("auxiliary", "name", "nosuch"),
    ("auxiliary", "name", "wrong.json"), ("upload", "status-input", "in", "--local-peer", "nosuch"),
)  # fmt: skip
"""And what else fails: 1."""

FAILED = (
    ("cluster", "status", "--config", "stopped/cluster.toml"),
    ("jobs", "--config", "stopped/cluster.toml"),
    ("cluster", "recover", "--yes"),
    ("run", "job.toml", "--input", "nosuch"),
)

USAGE = (
    ("nosuch",), ("jobs", "--nosuch"), ("cluster", "nosuch"), ("show",), ("template", "nosuch"),
    ("jobs", "--config", "nosuch.toml"), ("jobs", "--config", "bad.toml"), ("jobs", "--config", "/"),
    ("cluster", "start", "--config", "bad.toml"),
    ("cluster", "stop", "--timeout", "nan", "--config", "stopped/cluster.toml"),
    ("wait", "status", "--timeout", "nan"), ("wait", "status", "--timeout", "-1"),
    ("keys", "a b", "--config", "stopped/cluster.toml"), ("keys", "../x", "--config", "stopped/cluster.toml"),
    ("keys", "\udcff", "--config", "stopped/cluster.toml"),
    ("keys", "alpha", "--config", "stopped/cluster.toml"), ("keys", "guest"), ("init", "stopped"),
    ("init", "x", "--peers", "0"), ("init", "\udcff"), ("logs", "alpha/0", "--from", HUGE),
    ("submit", "nosuch.toml"), ("submit", "bad.toml"), ("submit", "job.toml", "--projects", "nosuch"),
    ("submit", "job.toml", "--set", "nosuch=1"), ("submit", "job.toml", "--set", "partitions"),
    ("submit", "job.toml", "--over-version", HUGE), ("submit", "job.toml", *BAD_FUNCTION),
    ("submit", "job.toml", *BAD_PROJECT), ("run", "job.toml", "--inline", *BAD_FUNCTION),
    ("run", "job.toml", "--inline", *BAD_PROJECT), ("run", "job.toml", *BAD_FUNCTION),
    ("run", "job.toml", *BAD_PROJECT), ("run", "nosuch.toml"), ("run", "job.toml", "--set", "a.b=1"),
    ("preview", "nosuch.toml"), ("preview", "function.toml"), ("preview", "job.toml", "--lines", HUGE),
    ("preview", "job.toml", "--lines", "0"), ("upload", "status-input", "../x"), ("upload", "status-input"),
    ("upload", "status-input", "in", "--priority", HUGE), ("download", "../x", "here"),
    ("history", "--limit", "0"), ("state", "status", "--peer", "alpha"), ("auxiliary", "name"),
    ("output", "status", "--to", "job.toml"), ("bad-records",), ("attach",), ("delete",), ("undelete",),
    ("retry",), ("force",), ("pause", "x"), ("resume", "x"), ("peers", "x"), ("workers", "x"),
)  # fmt: skip

TABLE = (
    *((words, 0) for words in SUCCESS),
    *((words, 1) for words in (*NOT_THERE, *FAILED)),
    *((words, 2) for words in (*USAGE, ("wait", "waits", "--timeout", "0"))),
    (("wait", "status", "--config", "stopped/cluster.toml"), 3),
)


@pytest.mark.parametrize(
    ("words", "status"), TABLE, ids=lambda value: " ".join(value) if isinstance(value, tuple) else None
)
def test_each_command_ends_with_the_status_that_the_docs_promise(
    run: Run, words: tuple[str, ...], status: int, lasting_cluster: Cluster
) -> None:
    if words[:2] == ("wait", "waits"):
        lasting_cluster.client.pause()
        lasting_cluster.submit(job_name="waits", project_name=PROJECT, input_dirs=["status-input"])
    found, said = run(*words)
    lasting_cluster.client.resume()

    assert found == status, said
    assert "error of pymr itself" not in said
    assert "Traceback" not in said
    assert status == 0 or said.strip()


def test_the_table_has_every_command() -> None:
    named = {words[0] for words, _ in TABLE}

    assert set(main.commands.list_commands(None)) <= named  # type: ignore[arg-type]


def test_the_docs_tell_every_status() -> None:
    rows = re.findall(r"^\| (\d+) \|", DOCS.read_text(), re.MULTILINE)

    assert rows == ["0", "1", "2", "3", "130"]
