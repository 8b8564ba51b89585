"""Outputs: items become JSON lines in part files. The last stage of a reduce task."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, time
from itertools import islice, repeat
from typing import IO, Any, cast
from uuid import UUID

import orjson

from pymr.engine.failures import check_pairs
from pymr.engine.keys import show
from pymr.engine.zstd import zstd
from pymr.errors import OutputError, disk_error
from pymr.faults import fault_point

MAX_ITEMS = 500_000

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
GZIP_LEVEL = 6
ZSTD_LEVEL = 3

_BATCH_ITEMS_FIRST = 16
_BATCH_ITEMS_MAX = 4_096
_BATCH_BYTES = 64 << 10
"""Items are encoded and written in batches near this many bytes."""

_JSON_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS

_WRITE_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A finished output file: its name in the output folder, its items (a count) and its size on disk."""

    name: str
    items: int
    length: int


class OutputWriter:
    """Writes items as JSON lines `[key, value]` into `part-PPPPP-NNNN.jsonl[.gz|.zst]`.

    directory: where the files go; whoever made it publishes or drops it as a whole.
    max_items: a new file begins after this many. compression: "none", "gzip" or "zstd".
    Each file is flushed to the disk when it is full. Without items there is no file.
    Raises OutputError for an item that is no pair or has no JSON form, DiskError.
    """

    def __init__(
        self, directory: str, partition: int, *, max_items: int = MAX_ITEMS, compression: str = "none"
    ) -> None:
        self._directory = directory
        self._partition = partition
        self._max_items = max_items
        self._compression = compression
        self._batch_items = _BATCH_ITEMS_FIRST
        self.parts: list[Part] = []
        self.items_written = 0

    def write(self, items: Iterable[tuple[Any, Any]]) -> None:
        """Write all items of an iterable. What the iterable raises passes through."""
        source = iter(items)
        batch = self._next_batch(source, self._max_items)
        while batch:
            name = f"part-{self._partition:05d}-{len(self.parts):04d}.jsonl{SUFFIXES[self._compression]}"
            path = os.path.join(self._directory, name)
            file_items = 0
            with _open_part(path, self._compression) as file:
                while batch:
                    data = encode_lines(batch)
                    self._write(file, data, path)
                    self._adapt(len(batch), len(data))
                    file_items += len(batch)
                    self.items_written += len(batch)
                    batch = self._next_batch(source, self._max_items - file_items)
            self.parts.append(Part(name, file_items, os.path.getsize(path)))
            batch = self._next_batch(source, self._max_items)

    def _next_batch(self, source: Iterator[Any], items_max: int) -> list[Any]:
        return list(islice(source, min(self._batch_items, items_max)))

    def _write(self, file: IO[bytes], data: bytes, path: str) -> None:
        try:
            fault_point("output.write")
            file.write(data)
        except OSError as error:
            raise disk_error("writing", path, error) from error

    def _adapt(self, items: int, written_bytes: int) -> None:
        aimed = items * _BATCH_BYTES // max(written_bytes, 1)
        self._batch_items = max(1, min(aimed, 2 * self._batch_items, _BATCH_ITEMS_MAX))


def encode_lines(items: list[Any]) -> bytes:
    """JSON lines `[key, value]`, UTF-8. Numbers without a JSON form (NaN, Infinity) are written as Python's
    json module writes and reads them. Raises OutputError, showing the item that cannot be written."""
    if not set(map(type, items)) <= {tuple, list} or set(map(len, items)) != {2}:
        try:
            check_pairs(items)  # which a named tuple is
        except TypeError as error:
            raise OutputError(f"it returned something else than pairs: {error}") from error
    try:
        data = orjson.dumps(items, option=orjson.OPT_PASSTHROUGH_DATACLASS)
        if b"null" not in data:
            # As one array, in half the time of one by one, if what parts its items stands nowhere in them.
            if data.count(b"],[") == len(items) - 1:
                return data[1:-1].replace(b"],[", b"]\n[") + b"\n"
            return b"".join(map(orjson.dumps, items, repeat(None), repeat(_JSON_OPTIONS)))
    except TypeError:
        pass
    return b"".join(map(_encode_line, items))


def _encode_line(item: Any) -> bytes:
    """One line, where need be by way of the standard library, which knows big integers, and writes NaN and
    infinities, for which orjson would put null, and so lose them."""
    try:
        line = orjson.dumps(item, option=_JSON_OPTIONS)
        if b"null" not in line:
            return line
    except TypeError:
        pass
    try:
        text = json.dumps(item, ensure_ascii=False, separators=(",", ":"), default=_as_orjson)
        return text.encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputError(
            f"the output item {show(item)} has no JSON form: {error}; make it of None, bool, int, float, "
            "str, lists, tuples and dicts"
        ) from error


def _as_orjson(value: Any) -> Any:
    """What orjson makes of a value that the json module does not know: dates, times and UUIDs."""
    if isinstance(value, date | time | UUID):
        return orjson.loads(orjson.dumps(value))
    raise TypeError(f"a {type(value).__name__} has no JSON form")


class _open_part:  # noqa: N801 - a context manager, used as a function
    """A part file, compressed or not, that is on the disk when the context ends without an error."""

    def __init__(self, path: str, compression: str) -> None:
        self._path = path
        try:
            self._raw = open(path, "wb", buffering=_WRITE_BUFFER_BYTES)  # noqa: SIM115
        except OSError as error:
            raise disk_error("creating", path, error) from error
        self._file: IO[bytes] = self._raw
        if compression == "gzip":
            # No name and no time in the header: the same items give the same bytes.
            self._file = cast("IO[bytes]", gzip.GzipFile("", "wb", GZIP_LEVEL, self._raw, mtime=0))
        elif compression == "zstd":
            self._file = cast("IO[bytes]", zstd.ZstdFile(self._raw, "wb", level=ZSTD_LEVEL))

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                if self._file is not self._raw:
                    self._file.close()
                self._raw.flush()
                fault_point("output.fsync")
                os.fsync(self._raw.fileno())
        except OSError as error:
            raise disk_error("writing", self._path, error) from error
        finally:
            # What is still written of an attempt that failed does not count, but a compressor that is left
            # open complains when it is collected.
            for file in (self._file, self._raw):
                with suppress(OSError, ValueError):
                    file.close()
