"""The Python API on a real cluster, silent on the terminal; and a console whose machine has no peer."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from cluster.ports import free_port
from cluster.running import MARKER, processes_of, wait_until

from pymr import ManageCluster, Scheduler
from pymr.cli.transfers import auxiliary, download, upload
from pymr.client import RefusedError
from pymr.ops.init import add_key, init_cluster

TEXT = "a b a\nc\n"
FAIL_ONCE = """
import os, sys

if os.environ["PYMR_JOB"] == "failing" and not os.path.exists("mended"):
    sys.exit("not mended")
print("all is well")
"""


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ManageCluster]:
    """Of a cluster of two with keys, as `pymr init` makes it. At the end no process may be left."""
    marker = uuid.uuid4().hex
    monkeypatch.setenv(MARKER, marker)
    folder = tmp_path / "c"
    init_cluster(folder, peers=2, workers=1)
    path = folder / "cluster.toml"
    path.write_text(re.sub(r"(_port = )\d+", lambda found: f"{found[1]}{free_port()}", path.read_text()))
    monkeypatch.setenv("PYMR_CONFIG", str(path))
    manager = ManageCluster()
    add_key(manager.config, "viewer", "viewer")
    yield manager
    manager.kill_cluster()
    wait_until(lambda: not processes_of(marker), 20.0)
    left = processes_of(marker)
    for process in left:
        process.kill()

    assert left == []


def test_a_cluster_is_used_from_python(manager: ManageCluster, capfd: pytest.CaptureFixture[str]) -> None:
    folder = Path(manager.config.source or "").parent
    (folder / "data" / "alpha" / "input" / "text.txt").write_text(TEXT)
    (folder / "projects" / "wordcount" / "check.py").write_text(FAIL_ONCE)
    started = manager.start_cluster()
    seen: list[str] = []
    with Scheduler() as scheduler:
        counting = scheduler.get_mapreduce_job_template() | {
            "job_name": "count", "job_priority": 1, "project_name": "wordcount", "input_dirs": ["input"],
            "map_function_name": "words", "reduce_function_name": "total",
        }  # fmt: skip
        script = scheduler.get_script_template() | {
            "job_name": "failing", "job_priority": 2, "script_location": "wordcount/check.py",
            "run_on": "beta", "run_once": True,
        }  # fmt: skip
        transfer = scheduler.get_file_transfer_template() | {
            "job_name": "fetch", "job_priority": 1, "run_once": True, "transfer_type": "download",
            "local_peer": "alpha", "input_dir": "jobs/count/reduce", "output_dir": str(folder / "counts"),
        }  # fmt: skip
        scheduler.submit_job(counting)
        scheduler.submit_job(script)
        failed = scheduler.wait("failing", timeout=60)
        counted = scheduler.wait("count", timeout=60)
        output = scheduler.output("count")
        counts = dict(output)
        (folder / "data" / "beta" / "mended").touch()
        scheduler.retry_job("failing")
        mended = scheduler.wait("failing", timeout=60)
        scheduler.submit_job(transfer)
        fetched = scheduler.wait("fetch", timeout=60)
        threading.Thread(target=lambda: seen.append(scheduler.jobs()[0]["job_name"])).start()
        wait_until(lambda: bool(seen), 60.0)
        scheduler.pause()
        scheduler.force_job("count")
        jobs = scheduler.jobs()
        scheduler.delete_job("count")
        scheduler.resume()
        with pytest.raises(RefusedError, match="count"):
            scheduler.delete_job("count")
        history = scheduler.history("failing")
    with Scheduler(name="viewer") as viewer, pytest.raises(RefusedError, match="viewer"):
        viewer.pause()
    stopped = manager.stop_cluster()

    assert (started.is_well, {peer.name for peer in started.peers}) == (True, {"alpha", "beta"})
    assert started.leader in repr(started)
    assert counted.is_success and mended.is_success and fetched.is_success
    assert (counts, len(output)) == ({"a": 2, "b": 1, "c": 1}, 3)
    assert "exit status 1" in failed.exception and "not mended" in failed.exception
    assert (history[0]["status"], history[0]["output"]) == ("succeeded", "all is well")
    assert list((folder / "counts").glob("part-*"))
    assert seen == ["count"]
    assert [(job["job_name"], job["status"]) for job in jobs] == [("count", "queued")]
    assert "paused" in repr(jobs)
    assert not stopped.is_well and "pymr cluster start" in stopped.problem
    assert capfd.readouterr() == ("", "")


def test_files_of_a_machine_without_a_peer_go_through_one(
    manager: ManageCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {f"{number % 3}/{number}.txt": b"text" * number for number in range(1, 30)}
    for path, content in files.items():
        (tmp_path / "texts" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "texts" / path).write_bytes(content)
    (tmp_path / "stop.json").write_text('["the"]')
    monkeypatch.setattr("pymr.client.transfers.peers_here", lambda config: [])
    manager.start_cluster()
    commands = (
        (upload, "texts", "corpus"),
        (upload, "texts", "corpus", "--skip-existing"),
        (download, "corpus", "back"),
        (auxiliary, "stop", "stop.json"),
    )
    monkeypatch.chdir(tmp_path)
    ran = [CliRunner().invoke(command, arguments) for command, *arguments in commands]
    data = Path(manager.config.source or "").parent / "data"

    assert [one.exit_code for one in ran] == [0] * 4, [one.output for one in ran]
    assert "29 files skipped, there already" in ran[1].output
    assert {
        str(path.relative_to(tmp_path / "back")): path.read_bytes()
        for path in (tmp_path / "back").rglob("*.txt")
    } == files
    assert [path.read_text() for path in data.glob("*/auxiliary/stop.data")] == ['["the"]'] * 2
    assert list(data.glob("*/uploads/*")) == []
