"""`python -m tests.bench.engines`: jobs by pymr on Spark, Ray and Dask, against programs of these engines.

In turns on this machine, each a whole process that begins the engine and ends it. The outputs are compared.
Needs the extras: `make engine-tests` has them in `.venv-engines`.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import orjson
import xxhash

from tests.bench.compare import BenchmarkError, failure, page_in, pymr_command
from tests.bench.data import Size, default_data_dir, prepare
from tests.bench.measure import Digest, Measurement, run_command
from tests.bench.workloads import EXAMPLES

BARS = {"spark": 0.6, "ray": 0.5, "dask": 0.5}
"""Most that pymr may take of the wall time of the engine's own."""

DATASETS = {
    "wordcount": ("text", "wordcount/wordcount.toml"),
    "sort": ("records", "sort_records/sort_records.toml"),
}
FILES = 8
"""Of input: not every engine reads one file with several processes."""


def main() -> int:
    arguments = _arguments()
    size = Size(arguments.megabytes, arguments.records)
    data_dir = arguments.data or default_data_dir(size)
    data_dir.mkdir(parents=True, exist_ok=True)
    is_wrong = False
    with tempfile.TemporaryDirectory(prefix="runs-", dir=data_dir) as work_dir:
        for job in arguments.job:
            dataset, toml = DATASETS[job]
            input_dir = in_files(prepare(dataset, data_dir, size), data_dir / f"{dataset}-in-{FILES}")
            for engine in arguments.engine:
                common = [f"--input={input_dir}", f"--workers={arguments.workers}"]
                job_path = EXAMPLES / toml
                commands = {
                    "pymr": [
                        *pymr_command(),
                        "run",
                        str(job_path),
                        f"--projects={EXAMPLES}",
                        f"--engine={engine}",
                    ],
                    "own": [sys.executable, "-m", "tests.bench.rivals", engine, job],
                }
                try:
                    same = measure(
                        engine,
                        job,
                        {way: [*words, *common] for way, words in commands.items()},
                        input_dir,
                        Path(work_dir),
                        arguments.pairs,
                    )
                except BenchmarkError as error:
                    print(error, file=sys.stderr)
                    same = False
                is_wrong |= not same
    return int(is_wrong)


def measure(
    engine: str, job: str, commands: dict[str, Sequence[str]], input_dir: Path, work_dir: Path, pairs: int
) -> bool:
    """Run all commands in turns, `pairs` times, and print what came of it; whether the outputs are equal."""
    measured: dict[str, list[Measurement]] = {way: [] for way in commands}
    digests: dict[str, Digest] = {}
    for turn in range(pairs):
        for way, command in commands.items():
            output_dir = work_dir / way
            page_in(input_dir)
            one = run_command([*command, f"--output={output_dir}"], work_dir / "log")
            name = f"{engine} {job}"
            if one.exit_status != 0:
                raise BenchmarkError(failure(name, way, one, work_dir / "log"))
            elsewhere = f"; others used {one.elsewhere_cpu_s:.1f} s" if one.is_disturbed else ""
            print(f"{name}: {way} {one.wall_s:.1f} s, CPU {one.cpu_s:.1f} s{elsewhere}", flush=True)
            measured[way].append(one)
            if turn == 0:
                digests[way] = digest(output_dir, is_ordered=job == "sort")
            shutil.rmtree(output_dir)
    wall, cpu = (
        {
            way: statistics.median(getattr(one, field) for one in all_of_way)
            for way, all_of_way in measured.items()
        }
        for field in ("wall_s", "cpu_s")
    )
    ratio = wall["pymr"] / wall["own"]
    is_same = digests["pymr"] == digests["own"]
    print(
        f"{engine} {job}, medians of {pairs}: wall {wall['pymr']:.1f} / {wall['own']:.1f} s = {ratio:.2f} "
        f"(bar {BARS[engine]}: {'met' if ratio <= BARS[engine] else 'over'}), "
        f"CPU {cpu['pymr']:.1f} / {cpu['own']:.1f} s = {cpu['pymr'] / cpu['own']:.2f}, "
        f"{'same output' if is_same else 'OUTPUTS DIFFER'}",
        flush=True,
    )
    return is_same


def in_files(source: Path, folder: Path) -> Path:
    """The lines of the only file of a folder, in FILES files of about one size."""
    (path,) = source.iterdir()
    if not folder.exists():
        data, at = path.read_bytes(), 0
        unfinished = Path(tempfile.mkdtemp(dir=folder.parent))
        for number in range(1, FILES + 1):
            end = len(data) if number == FILES else data.index(b"\n", len(data) * number // FILES) + 1
            (unfinished / f"{number}.txt").write_bytes(data[at:end])
            at = end
        unfinished.rename(folder)
    return folder


def digest(output_dir: Path, *, is_ordered: bool) -> Digest:
    """Of all items, which some engines write as lists and some as objects.

    is_ordered: the keys of a file have to ascend; raises BenchmarkError where they do not.
    """
    lines, total = 0, 0
    for path in sorted(path for path in output_dir.iterdir() if path.name[0] not in "._"):
        items = [_item(line) for line in path.read_bytes().splitlines()]
        if is_ordered and any(before[0] > after[0] for before, after in pairwise(items)):
            raise BenchmarkError(f"{path} is not in order")
        total += sum(xxhash.xxh3_128_intdigest(orjson.dumps(item)) for item in items)
        lines += len(items)
    return Digest(lines, total)


def _item(line: bytes) -> list[Any]:
    found = orjson.loads(line)
    return list(found.values()) if isinstance(found, dict) else found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engines", description=__doc__)
    for name, choices in (("engine", list(BARS)), ("job", list(DATASETS))):
        parser.add_argument(f"--{name}", nargs="+", choices=choices, default=choices, help="(all)")
    parser.add_argument("--megabytes", type=int, default=128, help="of text to count (%(default)s)")
    parser.add_argument("--records", type=int, default=5_000_000, help="records to sort (%(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="turns of both ways (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of every way (%(default)s)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder for the generated data (kept)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
