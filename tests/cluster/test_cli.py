"""The commands against a real cluster of two peers: daemons, keys, Redis and all."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import textwrap
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster.ports import free_port
from cluster.running import MARKER, PYMR, Finished, processes_of, wait_until
from cluster.terminal import Terminal

from pymr.api.manage_cluster import ManageCluster
from pymr.client import RefusedError
from pymr.ops.private_redis import running_pid

REDUCE = """
def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]
"""
JOB = {
    "job_type": "mapreduce",
    "job_name": "j",
    "job_priority": 1,
    "run_once": True,
    "input_dirs": ["input"],
    "map_function_name": "words",
    "reduce_function_name": "total",
}


class Cluster:
    """A cluster made by `pymr init`, on free ports, and the commands in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = uuid.uuid4().hex
        self.made = self.pymr("init", str(folder), "--peers", "2", "--workers", "1", cwd=folder.parent)
        path = folder / "cluster.toml"
        text = re.sub(r"(_port = )\d+", lambda found: f"{found[1]}{free_port()}", path.read_text())
        # Another host, so that each peer does what lies in its own folder.
        path.write_text(re.sub(r'(name = "beta"\nhost = )"127.0.0.1"', r'\1"127.0.0.2"', text))

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYMR_")}
        return kept | {MARKER: self.marker} | dict(extra or {})

    def start_pymr(
        self, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(PYMR), *arguments],
            cwd=cwd or self.folder,
            env=env or self.environment(),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def pymr(
        self,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 60,
    ) -> Finished:
        with self.start_pymr(*arguments, cwd=cwd, env=env) as process:
            out, err = process.communicate(timeout=timeout_s)
        return Finished(process.returncode, out, err)

    def succeed(self, *arguments: str) -> str:
        finished = self.pymr(*arguments)
        assert finished.status == 0, finished.err + finished.out
        return finished.out

    def feed(self, peer: str, text: str, name: str = "text.txt") -> None:
        (self.folder / "data" / peer / "input" / name).write_text(text)

    def submit(self, name: str, map_source: str, **fields: Any) -> None:
        """Submit a job with a project of its own."""
        project = self.folder / "projects" / name
        project.mkdir(parents=True)
        (project / "map_functions.py").write_text(textwrap.dedent(map_source))
        (project / "reduce_functions.py").write_text(REDUCE)
        values = JOB | {"job_name": name, "project_name": name} | fields
        job = self.folder / f"{name}.toml"
        job.write_text("".join(f"{field} = {json.dumps(value)}\n" for field, value in values.items()))
        self.succeed("submit", str(job))

    def listed(self, command: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.succeed(command, "--json"))
        return rows

    def end(self) -> list[psutil.Process]:
        """Kill it; what is left then."""
        self.pymr("cluster", "kill")
        wait_until(lambda: not processes_of(self.marker), 20.0)
        left = processes_of(self.marker)
        if redis := running_pid(self.folder / "redis"):  # which has no environment that could be looked at
            left.append(psutil.Process(redis))
        for process in left:
            process.kill()
        return left


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster that is running, for tests that leave it so."""
    cluster = Cluster(tmp_path_factory.mktemp("cluster") / "c")
    try:
        cluster.succeed("cluster", "start")
        cluster.feed("alpha", "a b\n")
        cluster.feed("beta", "b c\nb\n")
        yield cluster
    finally:
        left = cluster.end()

    assert left == []


WORDS = """
def words(line, auxiliary_data):
    return [(word, 1) for word in line.split()]
"""
EXPECTED = {"a": 1, "b": 3, "c": 1}


def test_what_init_says_to_type_works_as_typed(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "my cluster")
    steps = [line.strip() for line in cluster.made.out.splitlines() if line.startswith("    ")]
    script = "\n".join(["set -e", f'PATH="{PYMR.parent}:$PATH"', *steps])
    try:
        ran = subprocess.run(
            ["sh", "-c", script],
            cwd=tmp_path,
            env=cluster.environment(),
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        running = processes_of(cluster.marker)
    finally:
        left = cluster.end()

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert '["to",2]' in ran.stdout.splitlines()
    assert [running, left] == [[], []]


def test_a_job_is_submitted_waited_for_and_its_output_collected(cluster: Cluster, tmp_path: Path) -> None:
    cluster.submit("plain", WORDS)
    waited = cluster.pymr("wait", "plain", "--timeout", "60")
    lines = cluster.succeed("output", "plain").splitlines()
    cluster.succeed("output", "plain", "--to", str(tmp_path / "out"))
    collected = [
        json.loads(line)
        for path in sorted((tmp_path / "out").glob("part-*"))
        for line in path.read_text().splitlines()
    ]
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    run = cluster.listed("history")[0]

    assert (waited.status, "plain: succeeded" in waited.out) == (0, True)
    assert dict(map(json.loads, lines)) == dict(collected) == EXPECTED
    assert manifest["run_id"] == run["run_id"]
    assert (run["job_name"], run["status"], run["items"]) == ("plain", "succeeded", 3)
    assert not any(path.name.startswith(".pymr") for path in tmp_path.iterdir())


def test_a_compressed_output_is_printed_as_lines(cluster: Cluster) -> None:
    for codec in (True, "zstd"):
        name = f"packed-{codec}".lower()
        cluster.submit(name, WORDS, compress=codec)
        cluster.succeed("wait", name)

        assert dict(map(json.loads, cluster.succeed("output", name).splitlines())) == EXPECTED


def test_a_wait_for_a_job_that_fails_says_why(cluster: Cluster) -> None:
    cluster.submit(
        "broken", "def words(line, auxiliary_data):\n    raise KeyError('no such word')\n", max_attempts=1
    )
    waited = cluster.pymr("wait", "broken")
    row = next(row for row in cluster.listed("jobs") if row["job_name"] == "broken")
    cluster.succeed("delete", "broken")

    assert (waited.status, "no such word" in waited.err) == (1, True)
    assert row["status"] == "failed"


def test_what_a_worker_prints_can_be_read(cluster: Cluster) -> None:
    cluster.submit("talking", "def words(line, auxiliary_data):\n    print('seen', line)\n    return []\n")
    cluster.succeed("wait", "talking")
    run_id = cluster.listed("history")[0]["run_id"]
    told = cluster.succeed("logs", "beta/0", "--run", run_id)

    assert told == "seen b c\nseen b\n"
    assert cluster.succeed("logs", "beta/0") == told
    assert cluster.succeed("logs", "beta/0", "--from", "-8") == "seen b\n"
    assert cluster.succeed("logs", "beta/0", "--from", "5").startswith("b c")
    assert cluster.pymr("logs", "beta/9").status == 1
    assert cluster.pymr("logs", "nonsense").err == (
        "pymr: 'nonsense' is not a worker: a worker is named PEER/SLOT, such as alpha/0\n"
    )


def test_following_ends_quietly(cluster: Cluster) -> None:
    following = cluster.start_pymr("logs", "alpha/0", "-f")
    cluster.submit("followed", "def words(line, auxiliary_data):\n    print('look', line)\n    return []\n")
    cluster.succeed("wait", "followed")
    assert following.stdout is not None
    seen = ""
    deadline = time.monotonic() + 60
    while "look a b" not in seen and time.monotonic() < deadline:
        seen += following.stdout.readline()
    following.send_signal(signal.SIGINT)
    _, err = following.communicate(timeout=60)

    assert "look a b" in seen
    assert following.returncode == 130
    assert all(line.startswith("==> alpha/0") for line in err.splitlines())


def test_a_breakpoint_is_answered_from_an_attached_terminal(cluster: Cluster) -> None:
    source = """
        def words(line, auxiliary_data):
            if line == "a b":
                breakpoint()
            return [(word, 1) for word in line.split()]
    """
    cluster.submit("halted", source)
    assert wait_until(lambda: "breakpoint" in {row["state"] for row in cluster.listed("workers")}, 20)
    with Terminal(cluster, [str(PYMR), "attach", "alpha/0"]) as terminal:  # type: ignore[arg-type]
        terminal.wait_for(r"\(Pdb\)", 20)
        terminal.press("p line * 2\r")
        terminal.wait_for("'a ba b'", 20)
        with Terminal(cluster, [str(PYMR), "attach", "alpha/0"]) as other:  # type: ignore[arg-type]
            other_status = other.finish(20)
        terminal.press("\x01d")
        status = terminal.finish(20)
    with Terminal(cluster, [str(PYMR), "attach", "alpha/0"]) as terminal:  # type: ignore[arg-type]
        terminal.wait_for(r"\(Pdb\)", 20)
        terminal.press("c\r")
        waited = cluster.pymr("wait", "halted", timeout_s=90)

    assert status == 0
    assert (other_status, "is typing into alpha/0" in other.shown) == (1, True)
    assert waited.status == 0, waited.err


def test_attach_needs_a_terminal(cluster: Cluster) -> None:
    finished = cluster.pymr("attach", "alpha/0")

    assert (finished.status, "needs a terminal" in finished.err) == (1, True)


def test_a_key_of_a_viewer_looks_and_changes_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.succeed("keys", "guest", "--role", "viewer")
    key = {"PYMR_KEY": str(cluster.folder / "keys" / "guest.secret")}
    looked = cluster.pymr("peers", "--json", env=cluster.environment(key))
    refused = [
        cluster.pymr(*words, env=cluster.environment(key))
        for words in (("pause",), ("cluster", "stop"), ("cluster", "kill"), ("cluster", "recover", "--yes"))
    ]
    monkeypatch.setenv("PYMR_KEY", key["PYMR_KEY"])
    manager = ManageCluster(str(cluster.folder / "cluster.toml"))
    for end in (manager.stop_cluster, manager.kill_cluster):
        with pytest.raises(RefusedError, match="guest may look"):
            end()
    after = cluster.listed("peers")

    peers = json.loads(looked.out)
    assert [row["name"] for row in peers] == ["alpha", "beta"]
    assert [(one.status, "guest may look" in one.err) for one in refused] == [(1, True)] * 4
    assert [(row["pid"], row["state"]) for row in after] == [(row["pid"], "alive") for row in peers]


def test_a_key_that_is_not_listed_ends_nothing(cluster: Cluster) -> None:
    cluster.succeed("keys", "former")
    authorized = cluster.folder / "keys" / "authorized.toml"
    before = authorized.read_text()
    authorized.write_text(before[: before.index("[former]")])
    key = cluster.environment({"PYMR_KEY": str(cluster.folder / "keys" / "former.secret")})
    refused = [cluster.pymr("cluster", word, env=key) for word in ("stop", "kill")]

    assert [(one.status, "does not list" in one.err) for one in refused] == [(1, True)] * 2
    assert all(row["alive"] for row in cluster.listed("peers"))


def test_a_pause_holds_new_runs_back(cluster: Cluster) -> None:
    cluster.succeed("pause")
    cluster.submit("held", WORDS)
    waited = cluster.pymr("wait", "held", "--timeout", "1")
    cluster.succeed("resume")

    assert waited.status == 2
    assert cluster.pymr("wait", "held").status == 0


def test_a_peer_that_died_is_told_of_and_started_again(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "c")
    try:
        cluster.succeed("cluster", "start")
        well = cluster.pymr("cluster", "status", "--json")
        victim = json.loads(well.out)["peers"][1]
        os.kill(victim["pid"], signal.SIGKILL)
        ill = cluster.pymr("cluster", "status", "--json")
        cluster.succeed("cluster", "start")
        again = cluster.pymr("cluster", "status", "--json")
        stopped = cluster.pymr("cluster", "stop")
        after = cluster.pymr("jobs")
    finally:
        left = cluster.end()

    assert (well.status, ill.status, again.status, stopped.status) == (0, 1, 0, 0)
    assert [peer["alive"] for peer in json.loads(ill.out)["peers"]] == [True, False]
    assert json.loads(again.out)["peers"][1]["pid"] not in (0, victim["pid"])
    assert (after.status, "cannot be reached" in after.err) == (1, True)
    assert left == []


def test_a_console_loads_little() -> None:
    code = (
        "import sys; import pymr.cli.main, pymr.client, pymr.cli.queue, pymr.cli.rows; "
        "print(*(name for name in ('rich', 'redis', 'psutil', 'orjson', 'msgpack', 'asyncio', 'structlog', "
        "'pymr.engine', 'pymr.control', 'pymr.jobs.job') if name in sys.modules))"
    )
    told = subprocess.run(
        [str(PYMR.with_name("python")), "-c", code], capture_output=True, text=True, check=True
    )

    assert told.stdout.split() == []
