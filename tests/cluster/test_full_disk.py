"""What commands print onto a full disk, or copy there: each fails and says so, and how much is there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.clusters import Cluster
from cluster.running import PYMR

JOB = "fulldisk"
DISK_BYTES = 16 << 10
MAP = """
def words(line, auxiliary_data):
    print(line)
    return [(f"{line} {number}", 1) for number in range(1_000)]
"""
REDUCE = """
def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]
"""


@pytest.fixture(scope="module")
def cluster(lasting_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with a job whose output is larger than the small disk."""
    lasting_cluster.project(MAP, REDUCE, JOB)
    folder = lasting_cluster.input_of(lasting_cluster.names[0]).parent / JOB
    folder.mkdir()
    (folder / "text.txt").write_text("a\nb\n")
    fields = {"job_name": JOB, "project_name": JOB, "input_dirs": [JOB], "hold_state": True}
    lasting_cluster.submit(**fields)
    lasting_cluster.succeed(JOB)
    yield lasting_cluster


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid():
        pytest.skip("mounting a file system needs root")
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    subprocess.run(["mount", "-t", "tmpfs", *options], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def begin(cluster: Cluster, command: str, target: Path) -> subprocess.Popen[str]:
    with open(target, "w") as stdout:
        return subprocess.Popen(
            [str(PYMR), *command.split()],
            env=cluster.environment() | {"PYMR_CONFIG": str(cluster.path)},
            cwd=cluster.folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )


def test_no_command_takes_a_full_disk_for_a_reader_that_went(cluster: Cluster) -> None:
    worker = cluster.client.workers()[0].name
    commands = [
        f"output {JOB}", f"logs {worker}", f"logs {worker} -f", "history --json", "jobs",
        f"show {JOB} --json", "peers", "workers", f"state {JOB}", "cluster status",
    ]  # fmt: skip
    begun = [begin(cluster, command, Path("/dev/full")) for command in commands]
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in begun]

    for command, (told, status) in zip(commands, ended, strict=True):
        assert (command, status) == (command, 1)
        assert "/dev/full could not be written to: No space left on device" in told, command


def test_an_output_that_does_not_fit_says_how_much_of_it_is_there(cluster: Cluster, small_disk: Path) -> None:
    path = small_disk / "output.jsonl"
    process = begin(cluster, f"output {JOB}", path)
    told = process.communicate(timeout=120)[1]

    assert (process.returncode, path.stat().st_size) == (1, DISK_BYTES)
    assert told == (
        f"pymr: {path} could not be written to: No space left on device; only the first {DISK_BYTES:,} bytes "
        "of the output are there\n"
    )


def test_a_folder_without_room_for_an_output_is_named(cluster: Cluster, small_disk: Path) -> None:
    folder = small_disk / "output"
    process = begin(cluster, f"output {JOB} --to {folder}", Path(os.devnull))
    told = process.communicate(timeout=120)[1]

    assert process.returncode == 1
    assert "No space left on device" in told and str(folder) in told
    assert list(small_disk.iterdir()) == []
