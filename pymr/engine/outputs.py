"""Outputs: items become JSON lines in part files. The last stage of a reduce task."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, time
from enum import Enum
from itertools import islice, repeat
from math import isfinite
from typing import IO, Any, Literal, cast
from uuid import UUID

import msgpack
import orjson

from pymr.base.errors import OutputError, disk_error
from pymr.base.faults import fault_point
from pymr.base.forks import end_fork
from pymr.base.zstd import zstd
from pymr.engine.disk.keys import show
from pymr.engine.failures import check_pairs

MAX_ITEMS = 500_000

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
GZIP_LEVEL = 6
ZSTD_LEVEL = 3

_BATCH_ITEMS_FIRST = 16
_BATCH_ITEMS_MAX = 4_096
_BATCH_BYTES = 64 << 10
"""Items are encoded and written in batches near this many bytes."""

_PIECE_BYTES_MAX = 1 << 20

_JSON_OPTIONS = orjson.OPT_APPEND_NEWLINE | orjson.OPT_PASSTHROUGH_DATACLASS

_WRITE_BUFFER_BYTES = 1 << 20

NanForm = Literal["error", "null"]
"""What becomes of a NaN or an infinity: an error, or null."""

_NAN_BYTES = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")  # of msgpack: a float whose exponent is all ones


@dataclass(frozen=True, slots=True)
class Part:
    """A finished output file: its name in the output folder, its items (a count) and its size on disk."""

    name: str
    items: int
    length: int


class OutputWriter:
    """Writes items as JSON lines `[key, value]` into `part-PPPPP-NNNN.jsonl[.gz|.zst]`.

    directory: where the files go; the caller publishes or drops it as a whole.
    max_items: a new file begins after this many. compression: "none", "gzip" or "zstd".
    nan: see `encode_lines`.
    Each file is flushed to the disk when it is full. Without items no file is written.
    Raises OutputError for an item that is not a pair or has no JSON form, DiskError.
    """

    def __init__(
        self,
        directory: str,
        partition: int,
        *,
        max_items: int = MAX_ITEMS,
        compression: str = "none",
        nan: NanForm = "error",
    ) -> None:
        self._directory = directory
        self._partition = partition
        self._max_items = max_items
        self._compression = compression
        self._nan = nan
        self._batch_items = _BATCH_ITEMS_FIRST
        self._file_items = 0  # in the present file
        self._pid = os.getpid()
        self.parts: list[Part] = []
        self.items_written = 0

    def write(self, items: Iterable[tuple[Any, Any]]) -> None:
        """Write all items of an iterable. What the iterable raises passes through."""
        self.write_portions((items,))

    def write_portions(self, portions: Iterable[Iterable[tuple[Any, Any]]]) -> None:
        """Write all items of several iterables, each of which is written before another is asked for."""
        batches = self._batches(portions)
        batch = next(batches, None)
        while batch is not None:
            name = f"part-{self._partition:05d}-{len(self.parts):04d}.jsonl{SUFFIXES[self._compression]}"
            path = os.path.join(self._directory, name)
            self._file_items = 0
            with _open_part(path, self._compression) as file:
                while batch is not None:
                    written_bytes = 0
                    for lines in encode_pieces(batch, self._nan):
                        self._write(file, lines, path)
                        written_bytes += len(lines)
                    self._file_items += len(batch)
                    self._adapt(len(batch), written_bytes)
                    batch, lines = None, b""  # let go of before the next is made
                    if self._file_items < self._max_items:
                        batch = next(batches, None)
            self.items_written += self._file_items
            self.parts.append(Part(name, self._file_items, os.path.getsize(path)))
            is_full = self._file_items == self._max_items
            self._file_items = 0
            batch = next(batches, None) if is_full else None

    def _batches(self, portions: Iterable[Iterable[Any]]) -> Iterator[list[Any]]:
        """Items to be encoded at once, all of which go into one file."""
        for portion in portions:
            source = iter(portion)
            while batch := list(islice(source, min(self._batch_items, self._max_items - self._file_items))):
                end_fork(self._pid)
                held = [batch]
                del batch
                yield held.pop()

    def _write(self, file: IO[bytes], data: bytes, path: str) -> None:
        try:
            fault_point("output.write")
            file.write(data)
        except OSError as error:
            raise disk_error("writing", path, error) from error

    def _adapt(self, items: int, written_bytes: int) -> None:
        aimed = items * _BATCH_BYTES // max(written_bytes, 1)
        self._batch_items = max(1, min(aimed, 2 * self._batch_items, _BATCH_ITEMS_MAX))


def encode_lines(items: list[Any], nan: NanForm = "error") -> bytes:
    """JSON lines `[key, value]`, UTF-8. nan: what NaN and infinities become, for which JSON has no number.

    Raises OutputError, showing the item that cannot be written.
    """
    return b"".join(encode_pieces(items, nan))


def encode_pieces(items: list[Any], nan: NanForm = "error") -> Iterator[bytes]:
    """As `encode_lines`, in pieces of at most _PIECE_BYTES_MAX or of one item; one is held at a time."""
    lines = _encode(items, nan)
    if lines is not None:
        yield lines
    else:
        half = len(items) // 2
        yield from encode_pieces(items[:half], nan)
        yield from encode_pieces(items[half:], nan)


def _encode(items: list[Any], nan: NanForm) -> bytes | None:
    """The lines, or None where they are too many bytes for one piece."""
    if not set(map(type, items)) <= {tuple, list} or set(map(len, items)) != {2}:
        try:
            check_pairs(items)  # which a named tuple is
        except TypeError as error:
            raise OutputError(f"it returned something other than pairs: {error}") from error
    try:
        if len(items) == 1:  # perhaps for its size, so that there is but one copy
            data = orjson.dumps(items[0], option=_JSON_OPTIONS)
        else:
            data = orjson.dumps(items, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError:
        return b"".join(map(_encode_line, items, repeat(nan)))
    if nan == "error" and b"null" in data and _may_hold_nan(items):
        for item in items:
            _refuse_nan(item)
    if len(items) == 1:
        return data
    if len(data) > _PIECE_BYTES_MAX:
        return None
    # As one array, in half the time of one by one, if no item contains the separator.
    if data.count(b"],[") == len(items) - 1:
        return data[1:-1].replace(b"],[", b"]\n[") + b"\n"
    return b"".join(map(orjson.dumps, items, repeat(None), repeat(_JSON_OPTIONS)))


def _encode_line(item: Any, nan: NanForm) -> bytes:
    """One line, where need be by way of the standard library, which knows big integers and more keys."""
    try:
        if nan == "error":
            _refuse_nan(item)
        with suppress(TypeError):
            return orjson.dumps(item, option=_JSON_OPTIONS)
        text = json.dumps(
            item if nan == "error" else _without_nan(item),
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
            default=_as_orjson,
        )
        return text.encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise OutputError(
            f"the output item {show(item)} cannot be written as JSON: {error}; make it of None, bool, int, "
            "float, str, lists, tuples and dicts"
        ) from error


def _may_hold_nan(items: list[Any]) -> bool:
    """Whether there may be a NaN or an infinity in items whose JSON has a null: orjson writes one for these
    as for None. msgpack has distinct forms for them, whose bytes occur in no text.

    Cost: about what orjson takes for the same items, and that only where there are nulls.
    """
    try:
        return _NAN_BYTES.search(msgpack.packb(items)) is not None
    except (TypeError, ValueError, OverflowError, RecursionError):
        return True  # of values that only JSON has a form for, such as dates


def _refuse_nan(item: Any) -> None:
    found = next(_not_finite(item), None)
    if found is not None:
        raise OutputError(
            f"the output item {show(item)} holds {found!r}, for which JSON has no number; return None in its "
            'place, or set nan = "null" in the job to have null written for it'
        )


def _not_finite(value: Any) -> Iterator[float]:
    """The NaNs and infinities in a value, however deep they lie."""
    if isinstance(value, float):
        if not isfinite(value):
            yield value
    elif isinstance(value, list | tuple):
        for element in value:
            yield from _not_finite(element)
    elif isinstance(value, dict):
        for pair in value.items():
            yield from _not_finite(pair)
    elif isinstance(value, Enum):
        yield from _not_finite(value.value)


def _without_nan(value: Any) -> Any:
    """The value with None for each NaN or infinity in it."""
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, list | tuple):
        return list(map(_without_nan, value))
    if isinstance(value, dict):
        return {_without_nan(key): _without_nan(held) for key, held in value.items()}
    return value


def _as_orjson(value: Any) -> Any:
    """What orjson makes of a value that the json module does not know: dates, times and UUIDs."""
    if isinstance(value, date | time | UUID):
        return orjson.loads(orjson.dumps(value))
    raise TypeError(f"{type(value).__name__} has no JSON form")


class _open_part:  # noqa: N801 - a context manager, used as a function
    """A part file, compressed or not, that is on the disk when the context ends without an error."""

    def __init__(self, path: str, compression: str) -> None:
        self._path = path
        self._pid = os.getpid()
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
        end_fork(self._pid)  # before what is buffered is written a second time
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
