"""File transfers between the data folders of two hosts: `python -m tests.bench.transfers`.

Data services run as processes, and each step of each peer is done by a process, as in a cluster; loopback is
the network, so that disk and processors set the pace. Beside each, `cp -r` of the same files just before.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from pymr.wire.protocol import StepInput
from tests.transfer_runs import TransferRun, data_of, serving

SMALL_FILES = 100_000
SMALL_BYTES = 1_000
FILES_PER_FOLDER = 1_000
LARGE_FILES = 4
LARGE_BYTES = 256 << 20
PEERS = ("alpha", "beta")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=SMALL_FILES, help="how many small files")
    parser.add_argument("--curve", action="store_true", help="with keys, so that everything is encrypted")
    parser.add_argument("--folder", help="where to work: a folder on the disk to be measured")
    parser.add_argument("--only", choices=("small", "large"), help="not both kinds of files")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        if arguments.only != "large":
            small = write_small(Path(folder, "small"), arguments.files)
            measure(Path(folder), small, "upload_bulk", arguments.files, SMALL_BYTES, curve=arguments.curve)
        if arguments.only != "small":
            large = write_large(Path(folder, "large"))
            measure(Path(folder), large, "upload", LARGE_FILES, LARGE_BYTES, curve=arguments.curve)


def measure(folder: Path, source: Path, transfer_type: str, files: int, size: int, *, curve: bool) -> None:
    """Upload, download again, and copy with `cp -r`; print how each went."""
    print(f"{files:,} files of {size:,} bytes, {'with CURVE' if curve else 'plain'}")
    copied_s = plain_copy(source, folder / "plain", files, size)
    with serving(folder / "cluster", curve=curve, names=PEERS) as config:
        upload = TransferRun(config, transfer_type=transfer_type, input_dir=str(source), output_dir="corpus")
        report(transfer_type, files, size, *run_steps(upload), copied_s)
        copied_s = plain_copy(source, folder / "plain-again", files, size)
        down = transfer_type.replace("upload", "download")
        download = TransferRun(
            config,
            transfer_type=down,
            input_dir="corpus",
            output_dir=str(folder / "back"),
            delete_files=False,
        )
        report(down, files, size, *run_steps(download), copied_s)
        on_beta = sum(1 for path in (data_of(config, "beta") / "corpus").rglob("*") if path.is_file())
        print(f"  ({on_beta:,} of the files lie on the other host)")
    subprocess.run(["diff", "-r", str(source), str(folder / "back")], check=True)
    for name in ("plain", "plain-again", "cluster", "back"):
        shutil.rmtree(folder / name)


def report(
    what: str, files: int, size: int, seconds: dict[str, float], cpu_s: float, copied_s: float
) -> None:
    total_s = sum(seconds.values())
    steps = ", ".join(f"{kind} {step_s:.1f} s" for kind, step_s in seconds.items())
    steps += f", CPU {cpu_s:.1f} s"
    print(f"  {what:24}{rate(files, size, total_s)}  {copied_s / total_s:.2f} of cp -r  ({steps})")


def rate(files: int, size: int, seconds: float) -> str:
    return f"{files / seconds:10,.0f} files/s {files * size / seconds / 1e6:8.1f} MB/s {seconds:6.1f} s"


def run_steps(run: TransferRun) -> tuple[dict[str, float], float]:
    """Do the steps of a run, the peers of each side by side; how long each took, and the CPU s of all."""
    seconds = {}
    before_s = cpu_seconds()
    for kind, peers in run.plan():
        start = time.perf_counter()
        run.inputs += do_side_by_side(run, kind, peers)
        seconds[kind] = time.perf_counter() - start
    return seconds, cpu_seconds() - before_s


def cpu_seconds() -> float:
    """Of the processes that were started here: those that have ended, and the data services."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [process.cpu_times() for process in psutil.Process().children()]
    return used.ru_utime + used.ru_stime + sum(times.user + times.system for times in running)


def do_side_by_side(run: TransferRun, kind: str, peers: Sequence[str]) -> list[StepInput]:
    done: dict[int, StepInput] = {}

    def do(number: int, peer: str) -> None:
        order = run.order(kind, number)
        if run.do_apart(order, peer) == 0:
            done[number] = StepInput(order.id.task, order.id.attempt, peer)

    threads = [threading.Thread(target=do, args=pair) for pair in enumerate(peers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(done) < len(peers):
        sys.exit(f"the step {kind} failed")
    return [done[number] for number in range(len(peers))]


def plain_copy(source: Path, target: Path, files: int, size: int) -> float:
    """What `cp -r` takes, which pace the disk has just now."""
    os.sync()
    start, before_s = time.perf_counter(), cpu_seconds()
    subprocess.run(["cp", "-r", str(source), str(target)], check=True)
    os.sync()
    seconds, cpu_s = time.perf_counter() - start, cpu_seconds() - before_s
    print(f"  {'cp -r and sync':24}{rate(files, size, seconds)}  (CPU {cpu_s:.1f} s)")
    return seconds


def write_small(folder: Path, count: int) -> Path:
    for first in range(0, count, FILES_PER_FOLDER):
        below = folder / f"{first // FILES_PER_FOLDER:04d}"
        below.mkdir(parents=True)
        for number in range(first, min(first + FILES_PER_FOLDER, count)):
            (below / f"{number:07d}.txt").write_bytes(os.urandom(SMALL_BYTES))
    return folder


def write_large(folder: Path) -> Path:
    folder.mkdir()
    for number in range(LARGE_FILES):
        with open(folder / f"{number}.bin", "wb") as file:
            for _ in range(LARGE_BYTES >> 20):
                file.write(os.urandom(1 << 20))
    return folder


if __name__ == "__main__":
    main()
