"""What pymr is compared with: the floor, and the programs a good engineer writes by hand for one machine.

Run as a process of its own: `python -m tests.bench.baselines floor|group|sort JOB.toml --projects DIR ...`.
The map and reduce functions are those of the job's project, the very same that pymr calls.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import marshal
import multiprocessing
import tempfile
import tomllib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice, repeat
from operator import itemgetter
from pathlib import Path
from typing import Any

import orjson

READ_BYTES = 4 << 20
# Output lines handed to one write call.
WRITE_LINES = 50_000
# Between 100,000 and 4,000,000 the difference is below the noise (3 million records); this keeps memory low.
RUN_RECORDS = 250_000

MapFunction = Callable[[str, Any], Iterable[tuple[Any, Any]]]
ReduceFunction = Callable[[Any, Any], Iterable[tuple[Any, Any]]]
ByteRange = tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Source:
    """Where the functions come from. It goes to the processes instead of them: they cannot be pickled."""

    job: Path
    projects: Path


@dataclass(frozen=True, slots=True)
class Functions:
    map: MapFunction
    reduce: ReduceFunction
    combine: ReduceFunction | None


class Group:
    """The smallest thing that serves as a reduce function's group."""

    __slots__ = ("key", "values")

    def __init__(self, key: Any, values: list[Any]) -> None:
        self.key = key
        self.values = values

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return zip(repeat(self.key), self.values)

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.key, self.values[index]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.baselines")
    parser.add_argument("program", choices=PROGRAMS)
    parser.add_argument("job", type=Path, help="job TOML; its project and function names are used")
    parser.add_argument("--projects", type=Path, required=True, metavar="DIR")
    parser.add_argument("--input", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()

    # Nothing here makes cycles; the collector would only walk millions of live items again and again.
    gc.disable()
    # Forked processes start at once and share one hash seed.
    multiprocessing.set_start_method("fork")
    arguments.output.mkdir(parents=True, exist_ok=True)
    source = Source(arguments.job, arguments.projects)
    PROGRAMS[arguments.program](source, arguments.input, arguments.output, arguments.workers)


# ---- the floor


def floor(source: Source, input_dir: Path, output_dir: Path, workers: int) -> None:
    """Only the map calls: no program that uses these functions can be faster."""
    with multiprocessing.Pool(workers) as pool:
        pool.map(partial(_drain_share, source), cut(input_dir, workers), chunksize=1)


def _drain_share(source: Source, ranges: list[ByteRange]) -> None:
    deque(_items(load_functions(source), ranges), maxlen=0)


# ---- group per key in a dict, merge in the parent


def group(source: Source, input_dir: Path, output_dir: Path, workers: int) -> None:
    """Each process groups its share; the parent merges, reduces in key order and writes one file."""
    functions = load_functions(source)
    with multiprocessing.Pool(workers) as pool:
        shares = pool.map(partial(_group_share, source), cut(input_dir, workers), chunksize=1)
        merged = shares[0]
        for share in shares[1:]:
            for key, values in share.items():
                if key in merged:
                    merged[key] += values
                else:
                    merged[key] = values
        reduced = (functions.reduce(Group(key, merged[key]), None) for key in sorted(merged))
        _write_lines(output_dir / "part-00000-0000.jsonl", chain.from_iterable(reduced))


def _group_share(source: Source, ranges: list[ByteRange]) -> dict[Any, list[Any]]:
    functions = load_functions(source)
    groups: defaultdict[Any, list[Any]] = defaultdict(list)
    for key, value in _items(functions, ranges):
        groups[key].append(value)
    if functions.combine is None:
        return dict(groups)
    combined: defaultdict[Any, list[Any]] = defaultdict(list)
    for key, values in groups.items():
        for new_key, value in functions.combine(Group(key, values), None):
            combined[new_key].append(value)
    return dict(combined)


# ---- partition, sort, spill; then merge per partition


def sort(source: Source, input_dir: Path, output_dir: Path, workers: int) -> None:
    """Two passes with as many partitions as processes; runs go through temporary files."""
    with (
        tempfile.TemporaryDirectory(dir=output_dir.parent) as spill_dir,
        multiprocessing.Pool(workers) as pool,
    ):
        shares = [
            (source, number, ranges, workers, spill_dir)
            for number, ranges in enumerate(cut(input_dir, workers))
        ]
        pool.starmap(_spill_sorted_runs, shares, chunksize=1)
        merges = [(source, partition, spill_dir, str(output_dir)) for partition in range(workers)]
        pool.starmap(_merge_partition, merges, chunksize=1)


def _spill_sorted_runs(
    source: Source, share: int, ranges: list[ByteRange], partitions: int, spill_dir: str
) -> None:
    """One file per run and partition: a marshalled list of (key, value), ascending by key."""
    map_function = load_functions(source).map
    runs: list[list[tuple[Any, Any]]] = [[] for _ in range(partitions)]
    spilled = 0
    for lines in _line_batches(ranges):
        for item in chain.from_iterable(map(map_function, lines, repeat(None))):
            runs[hash(item[0]) % partitions].append(item)
        if sum(map(len, runs)) >= RUN_RECORDS:
            _spill(runs, f"{spill_dir}/{share:03d}-{spilled:05d}")
            spilled += 1
    _spill(runs, f"{spill_dir}/{share:03d}-{spilled:05d}")


def _spill(runs: list[list[tuple[Any, Any]]], path: str) -> None:
    for partition, run in enumerate(runs):
        run.sort(key=itemgetter(0))
        # Measured: marshal takes half the time of pickle, and its newest format is the quickest.
        with open(f"{path}.{partition}", "wb") as file:
            file.write(marshal.dumps(run))
        run.clear()


def _merge_partition(source: Source, partition: int, spill_dir: str, output_dir: str) -> None:
    items: list[tuple[Any, Any]] = []
    for path in sorted(Path(spill_dir).glob(f"*.{partition}")):
        items += marshal.loads(path.read_bytes())
        path.unlink()
    # The runs are ascending: the built-in sort finds them and merges them.
    items.sort(key=itemgetter(0))
    reduced = map(load_functions(source).reduce, _groups_of_sorted(items), repeat(None))
    _write_lines(Path(output_dir) / f"part-{partition:05d}-0000.jsonl", chain.from_iterable(reduced))


def _groups_of_sorted(items: list[tuple[Any, Any]]) -> Iterator[Group]:
    if not items:
        return
    group_key, first_value = items[0]
    values = [first_value]
    for key, value in islice(items, 1, None):
        if key == group_key:
            values.append(value)
        else:
            yield Group(group_key, values)
            group_key, values = key, [value]
    yield Group(group_key, values)


PROGRAMS: dict[str, Callable[[Source, Path, Path, int], None]] = {
    "floor": floor,
    "group": group,
    "sort": sort,
}

# ---- what they share


def load_functions(source: Source) -> Functions:
    """The plain functions of a job's project, imported straight from their files."""
    job = tomllib.loads(source.job.read_text())
    project_dir = source.projects / job["project_name"]
    map_module = _load_module(project_dir / "map_functions.py")
    reduce_module = _load_module(project_dir / "reduce_functions.py")
    combine_name = job.get("combine_function_name")
    return Functions(
        map=getattr(map_module, job["map_function_name"]),
        reduce=getattr(reduce_module, job["reduce_function_name"]),
        combine=getattr(reduce_module, combine_name) if combine_name else None,
    )


def _load_module(path: Path) -> Any:
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} cannot be loaded")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def cut(input_dir: Path, workers: int) -> list[list[ByteRange]]:
    """`workers` shares of about equal size, each a list of (path, start, end) cut at line ends."""
    paths = sorted(path for path in input_dir.rglob("*") if path.is_file())
    share_bytes = sum(path.stat().st_size for path in paths) / workers
    shares: list[list[ByteRange]] = [[] for _ in range(workers)]
    share, filled = 0, 0
    for path in paths:
        start, size = 0, path.stat().st_size
        with path.open("rb") as file:
            while start < size:
                end = size
                if share < workers - 1 and filled + size - start > share_bytes:
                    file.seek(max(start, start + int(share_bytes - filled) - 1))
                    file.readline()
                    end = file.tell()
                shares[share].append((str(path), start, end))
                filled += end - start
                start = end
                if share < workers - 1 and filled >= share_bytes:
                    share, filled = share + 1, 0
    return shares


def _items(functions: Functions, ranges: list[ByteRange]) -> Iterator[tuple[Any, Any]]:
    lines = chain.from_iterable(_line_batches(ranges))
    return chain.from_iterable(map(functions.map, lines, repeat(None)))


def _line_batches(ranges: list[ByteRange]) -> Iterator[list[str]]:
    """The lines of the ranges without their ends, some megabytes at a time: one decode and one split each."""
    for path, start, end in ranges:
        with open(path, "rb", buffering=0) as file:
            file.seek(start)
            rest = b""
            while start < end:
                read = file.read(min(READ_BYTES, end - start))
                start += len(read)
                whole_lines, newline, tail = read.rpartition(b"\n")
                if newline:
                    yield _split(rest + whole_lines + newline)
                    rest = tail
                else:
                    rest += tail
            if rest:
                yield _split(rest)


def _split(content: bytes) -> list[str]:
    text = content.decode()
    lines = (text.replace("\r\n", "\n") if "\r" in text else text).split("\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _write_lines(path: Path, items: Iterable[tuple[Any, Any]]) -> None:
    iterator = iter(items)
    with path.open("wb") as file:
        while lines := b"\n".join(map(orjson.dumps, islice(iterator, WRITE_LINES))):
            file.write(lines + b"\n")


if __name__ == "__main__":
    main()
