"""`make demo`: count the words of Python's own standard library, with the example project `wordcount`.

Real text that every machine has. Nothing of it is copied: the input is a temporary folder of links.
"""

from __future__ import annotations

import heapq
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).parents[1]
JOB = Path("projects", "wordcount", "wordcount.toml")
OUTPUT = Path("output", "wordcount")
TOP_WORDS = 15
NOT_THE_LIBRARY = ("site-packages", "dist-packages", "__pycache__")
# An interrupted run cleans up after itself; it has this long before it is asked, and at last made, to end.
CLEAN_UP_S = 10.0
EXIT_INTERRUPTED = 130


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="pymr-demo-") as folder:
        linked = link_sources(Path(sysconfig.get_paths()["stdlib"]), Path(folder))
        if linked == 0:
            print("this Python has no standard library as source files; the demo has nothing to count")
            return 1
        print(f"Counting the words of Python's standard library: {linked} files.", flush=True)
        exit_status = run([*_pymr(), "run", str(JOB), "--input", folder, "--output", str(OUTPUT)])
    if exit_status == 0:
        show(ROOT / OUTPUT)
    return exit_status


def link_sources(library: Path, folder: Path) -> int:
    """Link every `*.py` of `library` that a job reads under the same relative path in `folder`; returns how
    many. Names that begin with `_` or `.` are left out of the input of jobs, and so here."""
    count = 0
    for directory, subdirectories, names in os.walk(library):
        subdirectories[:] = [name for name in _read(subdirectories) if name not in NOT_THE_LIBRARY]
        sources = [name for name in _read(names) if name.endswith(".py") and Path(directory, name).is_file()]
        if sources:
            place = folder / Path(directory).relative_to(library)
            place.mkdir(parents=True, exist_ok=True)
            for name in sources:
                (place / name).symlink_to(Path(directory, name).resolve())
        count += len(sources)
    return count


def _read(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith(("_", "."))]


def run(command: list[str]) -> int:
    """Run `command` on this terminal from the project's folder; returns its exit status.

    Ctrl-C reaches the command by itself, as it stands on the same terminal; here we only wait for its end.
    """
    # The library tests its own handling of other encodings with files that are not UTF-8.
    process = subprocess.Popen([*command, "--set", "encoding_errors=replace"], cwd=ROOT)
    try:
        return process.wait()
    except KeyboardInterrupt:
        _wait_for_end(process)
        return EXIT_INTERRUPTED


def show(output_dir: Path) -> None:
    """The most frequent words as a table, then what to do next."""
    table = Table()
    table.add_column("word")
    table.add_column("count", justify="right")
    for word, count in heapq.nlargest(TOP_WORDS, read_items(output_dir), key=lambda item: item[1]):
        # As Text: square brackets are frequent in source code, and no markup here.
        table.add_row(Text(word), f"{count:,}")
    console = Console()
    console.print(f"The {TOP_WORDS} most frequent words:", highlight=False)
    console.print(table)
    pymr = shlex.join(_as_typed(_pymr()))
    for line in (
        f"The result is in {OUTPUT}, sorted by word in each part file:",
        f"  head -3 {OUTPUT}/part-*.jsonl",
        f"Put a breakpoint() into {JOB.parent}/map_functions.py and run it in one process:",
        f"  {pymr} run {JOB} --inline",
        "Write a job of your own, every field explained:",
        f"  {pymr} template mapreduce > my_job.toml",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def read_items(output_dir: Path) -> Iterator[tuple[str, int]]:
    for path in sorted(output_dir.glob("part-*.jsonl")):
        with path.open("rb") as file:
            yield from map(orjson.loads, file)


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    for ask in (None, signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            if ask is not None:
                process.send_signal(ask)
            process.wait(CLEAN_UP_S)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:
            # Pressed again: somebody is in a hurry.
            continue
        return


def _as_typed(command: list[str]) -> list[str]:
    """Paths inside the project as they are typed from its folder."""
    return [part.removeprefix(f"{ROOT}{os.sep}") for part in command]


def _pymr() -> list[str]:
    """The installed command; `make` calls us by the environment's interpreter, with nothing on the PATH."""
    script = Path(sys.executable).with_name("pymr")
    return [str(script)] if script.exists() else [sys.executable, "-m", "pymr.cli.main"]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
