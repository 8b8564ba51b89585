"""A cluster as an operator handles it: from `pymr init` to `pymr cluster stop`, all by commands."""

from __future__ import annotations

import json
import os
import re
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster.ports import PortBlock, is_free
from cluster.running import MARKER, PYMR, processes_of, wait_until

from pymr.config.cluster import load_config

LEFT_S = 30.0


class Operator:
    """Types commands in the folder of a new cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.marker = uuid.uuid4().hex
        self.ports = PortBlock()
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYMR_")}
        self._env = kept | {MARKER: self.marker, "COLUMNS": "80"}

    def start(self, *arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(PYMR), *map(str, arguments)],
            cwd=self.folder if self.folder.exists() else self.folder.parent,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: object, status: int = 0) -> str:
        """What a command says on stdout; it has to end with this status."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, f"{arguments}: status {process.returncode}\n{out}\n{err}"
        return out

    def init(self, peers: int) -> None:
        """Make a cluster. Two made at the same time would take the same ports: these get their own."""
        self.run("init", self.folder, "--peers", peers, "--workers", 1)
        path = self.folder / "cluster.toml"
        path.write_text(
            re.sub(
                r"^(control|data)_port = \d+",
                lambda m: f"{m[1]}_port = {self.ports.take()}",
                path.read_text(),
                flags=re.M,
            )
        )

    def rows(self, *arguments: object) -> Any:
        return json.loads(self.run(*arguments, "--json"))

    def left(self) -> list[str]:
        return [f"{process.pid} {process.name()}" for process in processes_of(self.marker)]


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    operator = Operator(tmp_path / "c")
    yield operator
    gone = wait_until(lambda: not operator.left(), LEFT_S)
    left = operator.left()
    for process in processes_of(operator.marker):
        process.kill()
    config = load_config(str(operator.folder / "cluster.toml"))
    ports = [port for peer in config.peers for port in (peer.control_port, peer.data_port)]
    operator.ports.close()
    taken = [port for port in ports if not wait_until(lambda port=port: is_free(port, "127.0.0.1"), LEFT_S)]
    sockets = [path for path in operator.folder.rglob("*") if path.is_socket()]

    assert gone, f"processes are left: {left}"
    assert (taken, sockets) == ([], [])


def items_of(text: str) -> list[Any]:
    return sorted(json.loads(line) for line in text.splitlines())


def feed(operator: Operator, peers: Sequence[str], lines: int = 600) -> list[Path]:
    folders = []
    for peer in peers:
        folder = operator.folder / "data" / peer / "input"
        for number in range(4):
            text = [f"{peer} says word-{line % 31} of {number}" for line in range(lines)]
            (folder / f"{number}.txt").write_text("\n".join(text))
        folders.append(folder)
    return folders


def test_a_word_count_with_the_leader_killed_on_the_way(operator: Operator) -> None:
    operator.init(3)
    folders = feed(operator, ["alpha", "beta", "gamma"])
    functions = operator.folder / "projects" / "wordcount" / "map_functions.py"
    quick = functions.read_text()
    functions.write_text(
        "import time\n" + quick.replace("    return", "    time.sleep(0.0005)\n    return"),
    )
    operator.run("cluster", "start", "--config", operator.folder / "cluster.toml")
    operator.run("submit", "wordcount.toml")
    waiting = operator.start("wait", "wordcount")
    leader = next(row for row in operator.rows("peers") if row["leader"])
    psutil.Process(leader["pid"]).kill()
    _, err = waiting.communicate(timeout=60)
    peers = operator.rows("peers")
    output = operator.run("output", "wordcount")
    history = operator.rows("history")
    operator.run("cluster", "start")
    status = operator.rows("cluster", "status")
    operator.run("cluster", "stop")
    inputs = [word for folder in folders for word in ("--input", folder)]
    operator.run("run", "wordcount.toml", "--inline", "--output", "inline", *inputs)
    inline = "".join(path.read_text() for path in (operator.folder / "inline").glob("part-*"))

    assert waiting.returncode == 0, err
    assert [row["name"] for row in peers if row["leader"]] != [leader["name"]]
    assert items_of(output) == items_of(inline)
    assert [(row["job_name"], row["status"]) for row in history] == [("wordcount", "succeeded")]
    assert status["ok"] and {peer["alive"] for peer in status["peers"]} == {True}


def test_a_cluster_that_is_killed_goes_on_where_it_was(operator: Operator) -> None:
    operator.init(2)
    feed(operator, ["alpha", "beta"])
    operator.run("cluster", "start")
    operator.run("pause")
    operator.run("submit", "wordcount.toml")
    operator.run("cluster", "kill")
    operator.run("cluster", "status", status=1)
    operator.run("cluster", "start")
    jobs = operator.rows("jobs")
    operator.run("resume")
    operator.run("wait", "wordcount")
    lines = operator.run("output", "wordcount").splitlines()
    shown = operator.rows("show", "wordcount")
    workers = operator.rows("workers")
    operator.run("cluster", "stop")

    assert [(row["job_name"], row["status"]) for row in jobs] == [("wordcount", "queued")]
    assert ["says", 4_800] in [json.loads(line) for line in lines]
    assert shown["runs"][0]["status"] == "succeeded"
    assert {row["name"] for row in workers} == {"alpha/0", "beta/0"}
