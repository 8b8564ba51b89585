"""What a command prints is all there, or it fails and says how much is; a reader may go at any time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TIMEOUT_S = 120.0
DISK_BYTES = 64 << 10

PRINTER = """
import sys
from pymr.base import standard_streams
standard_streams.check_streams()
{body}
sys.exit(standard_streams.finish_streams("pymr", 0))
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for DISK_BYTES."""
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


@contextmanager
def gone_reader() -> Iterator[int]:
    """The writing end of a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def run(arguments: list[str], stdout: Any = None, stderr: Any = subprocess.PIPE) -> tuple[int, str]:
    """The exit status of a Python program, and its stderr."""
    command = [sys.executable, *arguments]
    finished = subprocess.run(
        command, stdout=stdout, stderr=stderr, text=True, timeout=TIMEOUT_S, check=False
    )
    return finished.returncode, finished.stderr or ""


def printing(body: str, stdout: Any = None, stderr: Any = subprocess.PIPE) -> tuple[int, str]:
    return run(["-c", PRINTER.format(body=body)], stdout, stderr)


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "from pymr.cli.main import main; main()", "--help"],
        ["-c", "from pymr.cli.main import main; main()", "--version"],
        ["-c", "from pymr.cli.main import main; main()", "submit", "--help"],
        ["-c", "from pymr.cli.main import main; main()", "template", "mapreduce"],
        ["-m", "tui", "--keys"],
    ],
    ids=lambda arguments: " ".join(arguments[-2:]),
)
def test_a_full_disk_fails_a_command_and_a_reader_that_goes_does_not(arguments: list[str]) -> None:
    with open("/dev/full", "w") as full:
        status, told = run(arguments, stdout=full)
    with gone_reader() as writing:
        piped = run(arguments, stdout=writing)

    assert status == 1
    assert "/dev/full could not be written to: No space left on device; only the first 0 bytes" in told
    assert len(told.splitlines()) == 1
    assert piped == (0, "")


def test_how_much_is_there_is_told_to_the_byte(small_disk: Path) -> None:
    path = small_disk / "lines.txt"
    body = 'for number in range(20_000): standard_streams.put(f"line {number}\\n", flush=False)'
    with open(path, "w") as target:
        status, told = printing(body, stdout=target)

    kept = path.read_bytes()
    whole = "".join(f"line {number}\n" for number in range(20_000)).encode()
    assert (status, len(kept)) == (1, DISK_BYTES)
    assert whole.startswith(kept)
    assert f"{path} could not be written to: No space left on device" in told
    assert f"only the first {DISK_BYTES:,} bytes" in told


def test_nothing_comes_behind_a_gap(small_disk: Path) -> None:
    path, filler = small_disk / "lines.txt", small_disk / "filler"
    filler.write_bytes(bytes(DISK_BYTES))
    body = (
        "import os\n"
        'print(standard_streams.put("first"))\n'
        f"os.unlink({str(filler)!r})\n"
        'print(standard_streams.put("second"))'
    )
    with open(path, "w") as target:
        status, told = printing(body, stdout=target)

    assert (status, path.read_bytes()) == (1, b"")
    assert "only the first 0 bytes" in told


@pytest.mark.parametrize("flush", [True, False])
def test_whoever_writes_much_learns_that_it_is_of_no_use(flush: bool) -> None:
    body = (
        "count = 0\n"
        f'while standard_streams.put(b"x" * 1000, flush={flush}): count += 1\n'
        "sys.stderr.write(str(count < 100))"
    )
    with open("/dev/full", "w") as full:
        status, told = printing(body, stdout=full)
    with gone_reader() as writing:
        piped = printing(body, stdout=writing)

    assert (status, told[:4]) == (1, "True")
    assert piped == (0, "True")


def test_what_only_stderr_loses_fails_the_command_too() -> None:
    with open("/dev/full", "w") as full:
        status, _ = printing('standard_streams.put("told", sys.stderr)', stderr=full, stdout=full)

    assert status == 1


def test_a_descriptor_that_does_not_block_is_waited_for() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    body = 'standard_streams.put("x" * 1_000_000)'
    with subprocess.Popen(
        [sys.executable, "-c", PRINTER.format(body=body)], stdout=writing, stderr=subprocess.PIPE
    ) as process:
        os.close(writing)
        with os.fdopen(reading, "rb") as source:
            count = len(source.read())
        _, told = process.communicate(timeout=TIMEOUT_S)

    assert (count, process.returncode, told) == (1_000_000, 0, b"")


def test_a_rich_table_and_a_print_are_written_through_it_as_well() -> None:
    body = (
        "from rich.console import Console\n"
        "Console(file=sys.stdout).print('a table')\n"
        "print('printed')\n"
        "sys.stdout.buffer.write(b'bytes')"
    )
    with open("/dev/full", "w") as full:
        status, told = printing(body, stdout=full)

    assert status == 1
    assert told.count("\n") == 1 and "No space left on device" in told


def test_a_status_other_than_0_stays() -> None:
    with open("/dev/full", "w") as full:
        status, told = printing(
            'standard_streams.put("x")\nsys.exit(standard_streams.finish_streams("p", 130))', stdout=full
        )

    assert status == 130
    assert told.startswith("p: /dev/full could not")
