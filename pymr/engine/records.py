"""Records: the lines of a task's splits as str, and where each of them lies. Feeds the mapper."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import accumulate, chain, compress, islice, repeat
from operator import lt
from typing import Any, BinaryIO

from xxhash import xxh3_64_intdigest

from pymr.engine.decompress import DECOMPRESSION_ERRORS, Readable, open_compressed
from pymr.engine.inputs import InputFile, Split, refuse_other_than_text
from pymr.engine.signatures import HEAD_BYTES, NOT_COMPRESSED, what_is_no_text
from pymr.errors import InputError, InputOutdatedError, disk_error

LINE_BYTES_MAX = 16 << 20
CHUNK_BYTES = 256 << 10
"""Bytes read, decoded and cut into lines at once: small enough for a core's cache, so lines stay hot."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_SHOWN_CHARACTERS = 160
_LOOKED_BACK_BYTES_MAX = 1 << 30
"""How far back the beginning of a line that is too long is looked for, so as to name it."""


@dataclass(frozen=True, slots=True)
class Location:
    """A record: its file, the byte its line begins at (in a compressed file: of what is inside), its text."""

    path: str
    offset: int
    line: str

    def __str__(self) -> str:
        shown = self.line if len(self.line) <= _LINE_SHOWN_CHARACTERS else self.line[:157] + "..."
        return f"{self.path}, byte {self.offset:,}: {shown!r}"


class RecordReader:
    """The lines of `splits`, one after another.

    A line is what stands before a `\\n` or `\\r\\n`, or at the end of a file; it comes without that ending.
    Nothing else ends a line. A byte order mark at the start of a file is no part of its first line.
    encoding_errors: "strict" (InputError naming the byte) or "replace".
    downsample: keep a line with this probability; the choice hangs on `seed`, the file's name below its
    input folder and the byte the line begins at, hence not on splits or workers.
    lines_max: end after so many lines; None for all.
    Raises InputError, of it InputOutdatedError for a file that no longer is as it was listed.
    Memory: one chunk, or the longest line.
    """

    def __init__(
        self,
        splits: Sequence[Split],
        *,
        encoding_errors: str = "strict",
        line_bytes_max: int = LINE_BYTES_MAX,
        downsample: float = 1.0,
        seed: int = 0,
        lines_max: int | None = None,
    ) -> None:
        self._splits = splits
        self._encoding_errors = encoding_errors
        self._line_bytes_max = line_bytes_max
        self._downsample = downsample
        self._seed = seed
        self._lines_max = lines_max
        self._batch: Any = iter(())  # a list's iterator: it knows how many of its lines are still to come
        self._lines: list[str] = []
        self._offsets: list[int] | None = None
        self._chunk = b""
        self._chunk_offset = 0
        self._content_bytes = 0  # how much of the content of the present file was read
        self._path = ""
        self._records_before = 0
        self.is_finished = False  # whether all lines were handed out
        self.bytes_read = 0

    def lines(self) -> Iterator[str]:
        """Every line, in order; driven in C but for one step of ours per chunk."""
        return chain.from_iterable(self._batches())

    def from_start(self) -> RecordReader:
        """Another reader of the same lines."""
        return RecordReader(
            self._splits,
            encoding_errors=self._encoding_errors,
            line_bytes_max=self._line_bytes_max,
            downsample=self._downsample,
            seed=self._seed,
            lines_max=self._lines_max,
        )

    @property
    def records_read(self) -> int:
        """Lines handed out so far. May be asked from another thread."""
        left: int = self._batch.__length_hint__()
        return self._records_before + len(self._lines) - left

    def location(self) -> Location:
        """The line handed out last."""
        index = max(len(self._lines) - self._batch.__length_hint__() - 1, 0)
        if self._offsets:
            offset = self._offsets[index]
        else:
            offset = self._chunk_offset + sum(len(line) + 1 for line in self._chunk.split(b"\n")[:index])
        return Location(self._path, offset, self._lines[index] if self._lines else "")

    def _batches(self) -> Iterator[Iterator[str]]:
        for split in self._splits:
            self._path = split.file.path
            try:
                for offset, chunk in self._chunks(split):
                    self._take(split.file, offset, chunk)
                    yield self._batch
                    self._records_before += len(self._lines)
                    self._lines = []
                    self._batch = iter(())
                    if self._records_before == self._lines_max:
                        self.is_finished = True
                        return
            except InputError:
                with suppress(OSError):
                    _check_unchanged(os.stat(split.file.path), split.file)  # if that is why, say so
                raise
        self.is_finished = True

    def _take(self, file: InputFile, offset: int, chunk: bytes) -> None:
        """Make the lines of a chunk of whole lines the current ones."""
        text = self._decode(chunk, offset, file)
        self._chunk, self._chunk_offset = chunk, offset
        lines = (text.replace("\r\n", "\n") if b"\r\n" in chunk else text).split("\n")
        if chunk.endswith(b"\n"):
            lines.pop()  # what follows the last line ending is no line
        if self._downsample < 1.0:
            lengths = (len(line) + 1 for line in islice(chunk.split(b"\n"), len(lines) - 1))
            starts = list(accumulate(lengths, initial=offset))
            kept = list(self._sample(file, starts))
            lines, self._offsets = list(compress(lines, kept)), list(compress(starts, kept))
        if self._lines_max is not None:
            del lines[self._lines_max - self._records_before :]
        self._lines = lines
        self._batch = iter(lines)

    def _sample(self, file: InputFile, offsets: Sequence[int]) -> Iterator[bool]:
        seed = xxh3_64_intdigest(os.fsencode(file.name), self._seed)
        digests = (xxh3_64_intdigest(offset.to_bytes(8, "little"), seed) for offset in offsets)
        return map(lt, digests, repeat(int(self._downsample * (1 << 64))))

    def _decode(self, chunk: bytes, offset: int, file: InputFile) -> str:
        try:
            return chunk.decode("utf-8", self._encoding_errors)
        except UnicodeDecodeError as error:
            around = chunk[max(error.start - HEAD_BYTES // 2, 0) : error.start + HEAD_BYTES // 2]
            if what_is_no_text(around) is None:
                advice = 'set encoding_errors = "replace" to read it as U+FFFD'
            else:
                advice = "what stands there is binary data and no text: repair the file, or move it away"
            raise InputError(
                f"{_place(file, offset + error.start)}: {chunk[error.start : error.end]!r} "
                f"is no UTF-8 ({error.reason}); {advice}"
            ) from error

    def _chunks(self, split: Split) -> Iterator[tuple[int, bytes]]:
        """(offset, bytes) of whole lines, for all lines that begin in `split`."""
        file = split.file
        done_bytes = self.bytes_read
        try:
            with open(file.path, "rb", buffering=0) as raw:
                if file.codec == NOT_COMPRESSED:
                    begin = self._line_start(raw, split.start, file)
                    end = self._line_start(raw, split.end, file)
                    raw.seek(begin)
                    chunks = self._whole_lines(raw, begin, end - begin, file)
                else:
                    chunks = self._whole_lines(open_compressed(raw, file.codec), 0, None, file)
                for offset, chunk in chunks:
                    self.bytes_read = done_bytes + min(max(raw.tell() - split.start, 0), split.length)
                    yield offset, chunk
                _check_unchanged(os.fstat(raw.fileno()), file)
        except OSError as error:
            if error.errno is not None:
                raise disk_error("reading", file.path, error) from error
            raise self._corrupt(file, error) from error  # bz2 and gzip report bad content as a bare OSError
        except DECOMPRESSION_ERRORS as error:
            raise self._corrupt(file, error) from error
        self.bytes_read = done_bytes + split.length

    def _whole_lines(
        self, content: Readable, offset: int, remaining_bytes: int | None, file: InputFile
    ) -> Iterator[tuple[int, bytes]]:
        """Cut `content`, from here on, at most `remaining_bytes` of it, after the last line of each read."""
        pending: list[bytes] = []  # the beginning of a line whose end was not read yet
        head = b""
        size = min(CHUNK_BYTES, self._line_bytes_max)
        self._content_bytes = offset
        while data := content.read(size if remaining_bytes is None else min(size, remaining_bytes)):
            self._content_bytes += len(data)
            if remaining_bytes is not None:
                remaining_bytes -= len(data)
            if file.codec != NOT_COMPRESSED and len(head) < HEAD_BYTES:  # of others planning has looked at it
                head += data[: HEAD_BYTES - len(head)]
                refuse_other_than_text(file.path, head, file.codec)
            if offset == 0 and not pending and data.startswith(_BYTE_ORDER_MARK):
                offset, data = len(_BYTE_ORDER_MARK), data[len(_BYTE_ORDER_MARK) :]
            first_line_bytes = sum(map(len, pending)) + (data.find(b"\n") if b"\n" in data else len(data))
            if first_line_bytes > self._line_bytes_max:
                raise self._line_too_long(offset, file)
            cut = data.rfind(b"\n") + 1
            if not cut:
                pending.append(data)
                continue
            chunk = b"".join((*pending, data[:cut]))
            yield offset, chunk
            offset += len(chunk)
            pending = [data[cut:]] if cut < len(data) else []
        if rest := b"".join(pending):
            yield offset, rest

    def _line_start(self, raw: BinaryIO, position: int, file: InputFile) -> int:
        """Where the first line at or after `position` begins; the file's size where none does.

        Both splits that meet at a position ask here, so they agree on which of them has the line across it.
        """
        if position == 0 or position >= file.size:
            return position
        raw.seek(position - 1)
        at = position - 1
        while data := raw.read(CHUNK_BYTES):
            found = data.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(data)
            if at - position > self._line_bytes_max:
                raise self._line_too_long(self._line_before(raw, position), file)
        return at

    def _line_before(self, raw: BinaryIO, position: int) -> int:
        """Where the line begins that goes on at `position`; as far back as is looked, if it is longer."""
        at = position
        while at > max(position - _LOOKED_BACK_BYTES_MAX, 0):
            size = min(CHUNK_BYTES, at)
            at -= size
            raw.seek(at)
            found = raw.read(size).rfind(b"\n")
            if found >= 0:
                return at + found + 1
        return at

    def _line_too_long(self, offset: int, file: InputFile) -> InputError:
        return InputError(
            f"{_place(file, offset)}: the line that begins there is longer than engine.line_bytes_max "
            f"({self._line_bytes_max:,} bytes); raise that setting if such lines are meant to be read"
        )

    def _corrupt(self, file: InputFile, error: Exception) -> InputError:
        return InputError(
            f"{file.path} is truncated or corrupt: reading stopped after "
            f"{self._content_bytes:,} bytes of content ({error})"
        )


def _place(file: InputFile, offset: int) -> str:
    of_what = "" if file.codec == NOT_COMPRESSED else " of its content"
    return f"{file.path}, byte {offset:,}{of_what}"


def _check_unchanged(status: os.stat_result, file: InputFile) -> None:
    if (status.st_size, status.st_mtime_ns, status.st_ino) != (file.size, file.mtime_ns, file.inode):
        raise InputOutdatedError(
            f"{file.path} changed while it was being read ({file.size:,} bytes when listed, "
            f"{status.st_size:,} now); run the job when nobody writes to its input"
        )
