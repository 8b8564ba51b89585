"""Records: the lines of a task's splits as str, and where each of them lies. Feeds the mapper."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import accumulate, chain, compress, islice, repeat
from operator import lt
from typing import Any, BinaryIO, NamedTuple

from xxhash import xxh3_64_intdigest

from pymr.base.errors import InputError, disk_error
from pymr.base.forks import end_fork
from pymr.engine.input.changes import has_grown, refuse_changed, refuse_gone
from pymr.engine.input.decompress import DECOMPRESSION_ERRORS, FirstBytes, Readable, open_compressed
from pymr.engine.input.files import InputFile, Split, recognise, refuse_other_than_text
from pymr.engine.input.fingerprints import ContentEdges, Fingerprint
from pymr.engine.input.signatures import HEAD_BYTES, NOT_COMPRESSED, what_is_no_text

LINE_BYTES_MAX = 16 << 20
CHUNK_BYTES = 256 << 10
"""Bytes read, decoded and cut into lines at once: small enough for a core's cache, so lines stay hot."""

OnContent = Callable[[InputFile, Fingerprint], object]
"""Takes the fingerprint of the content of a compressed file."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_SHOWN_CHARACTERS = 160
_LOOKED_BACK_BYTES_MAX = 1 << 30
"""How far back to look for the beginning of a line that is too long, in order to report it."""


@dataclass(frozen=True, slots=True)
class Location:
    """A record: its file, the byte its line begins at (in a compressed file: of what is inside), its text."""

    path: str
    offset: int
    line: str

    def __str__(self) -> str:
        shown = self.line if len(self.line) <= _LINE_SHOWN_CHARACTERS else self.line[:157] + "..."
        return f"{self.path}, byte {self.offset:,}: {shown!r}"


class _Progress(NamedTuple):
    """How far a reader is: one thing, so that another thread never sees half of a step.

    records_before, bytes_before: of all chunks before the present one. chunk_bytes: of it, on disk. records:
    its lines. batch: their iterator.
    """

    records_before: int
    bytes_before: int
    chunk_bytes: int
    records_in_chunk: int
    batch: Any

    def records(self) -> int:
        left: int = self.batch.__length_hint__()
        return self.records_before + self.records_in_chunk - left

    def bytes(self) -> int:
        done: int = max(
            self.records_in_chunk - self.batch.__length_hint__() - 1, 0
        )  # not the last one handed out
        return self.bytes_before + self.chunk_bytes * done // max(self.records_in_chunk, 1)

    def all_before(self, more_bytes: int | None = None) -> _Progress:
        """When the chunk is done with, and so many bytes instead of its own."""
        passed_bytes = self.chunk_bytes if more_bytes is None else more_bytes
        records = self.records_before + self.records_in_chunk
        return _Progress(records, self.bytes_before + passed_bytes, 0, 0, iter(()))


class RecordReader:
    """The lines of `splits`, one after another.

    A line is what comes before a `\\n` or `\\r\\n`, or at the end of a file; it comes without that ending.
    Nothing else ends a line. A byte order mark at the start of a file is not part of its first line.
    encoding_errors: "strict" (InputError naming the byte) or "replace".
    downsample: keep a line with this probability; the choice depends on `seed`, the file's name below its
    input folder and the byte the line begins at, but not on splits or workers.
    lines_max: end after so many lines; None for all.
    whole_files: raise InputGrownError for a file that is longer than it was listed, before or after its lines
    were handed out. Else such a file is read up to the last complete line within its listed length.
    on_content: called with the fingerprint of each compressed file read. on_chunk: called before each
    chunk is handed out; what it raises ends the reading.
    Raises InputError, of it InputOutdatedError for a file that was replaced, rewritten or removed since.
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
        whole_files: bool = False,
        on_content: OnContent | None = None,
        on_chunk: Callable[[], object] = lambda: None,
    ) -> None:
        self._pid = os.getpid()
        self._splits = splits
        self._encoding_errors = encoding_errors
        self._line_bytes_max = line_bytes_max
        self._downsample = downsample
        self._seed = seed
        self._lines_max = lines_max
        self._whole_files = whole_files
        self._on_content = on_content
        self._on_chunk = on_chunk
        self._batch: Any = iter(())  # a list's iterator: it knows how many of its lines are still to come
        self._lines: list[str] = []
        self._offsets: list[int] | None = None
        self._chunk: bytes | bytearray = b""
        self._chunk_offset = 0
        self._raw: BinaryIO | None = None  # the present file
        self._content_bytes = 0  # how much of the content of the present file was read
        self._path = ""
        self._progress = _Progress(0, 0, 0, 0, self._batch)
        self._is_portion_over = False
        self.is_finished = False  # whether all lines were handed out
        self.line_bytes = 0  # of the line that is being read and is long, so far

    def lines(self) -> Iterator[str]:
        """Every line, in order; driven in C but for one step of ours per chunk."""
        return chain.from_iterable(filter(None, self._batches(None)))

    def portions(self, portion_bytes: int) -> Iterator[Iterator[str]]:
        """The same lines in portions, between which the caller may free memory.

        A portion ends when `portion_bytes` of content were read for it; and within a line that is longer than
        CHUNK_BYTES, before more of it is read than twice `line_bytes`. It may have no line at all.
        Whoever stops within a portion gets no other.
        """
        batches = self._batches(portion_bytes)
        self._is_portion_over = True
        while self._is_portion_over and not self.is_finished:
            self._is_portion_over = False
            yield chain.from_iterable(self._until_pause(batches))

    def from_start(self) -> RecordReader:
        """Another reader of the same lines."""
        return RecordReader(
            self._splits,
            encoding_errors=self._encoding_errors,
            line_bytes_max=self._line_bytes_max,
            downsample=self._downsample,
            seed=self._seed,
            lines_max=self._lines_max,
            whole_files=self._whole_files,
        )

    @property
    def records_read(self) -> int:
        """Lines handed out so far. May be asked from another thread."""
        return self._progress.records()

    @property
    def bytes_read(self) -> int:
        """Bytes on disk of the lines that were handed out and are done with, as another was asked for since,
        and of what was passed over; of a compressed file in proportion. May be asked from another thread."""
        return self._progress.bytes()

    def location(self) -> Location:
        """The line handed out last."""
        index = max(len(self._lines) - self._batch.__length_hint__() - 1, 0)
        if self._offsets:
            offset = self._offsets[index]
        else:
            offset = self._chunk_offset + sum(len(line) + 1 for line in self._chunk.split(b"\n")[:index])
        return Location(self._path, offset, self._lines[index] if self._lines else "")

    def _until_pause(self, batches: Iterator[Iterator[str] | None]) -> Iterator[Iterator[str]]:
        for batch in batches:
            if batch is None:
                break
            yield batch
        self._is_portion_over = True

    def _batches(self, portion_bytes: int | None) -> Iterator[Iterator[str] | None]:
        """The lines of each chunk; None where a portion ends."""
        portion_content_bytes = 0
        for split in self._splits:
            self._path = split.file.path
            split = replace(split, file=recognise(split.file))
            before = self._progress.all_before(0)
            try:
                for is_chunk in self._chunks(split):
                    self._on_chunk()
                    if not is_chunk:
                        portion_content_bytes = 0
                        yield None
                        continue
                    portion_content_bytes += len(self._chunk)
                    self._take(split.file, before.bytes_before + self._done_bytes(split))
                    yield self._batch
                    self._lines, self._batch, self._chunk = [], iter(()), b""
                    self._progress = self._progress.all_before()
                    if self._progress.records_before == self._lines_max:
                        self.is_finished = True
                        return
                    if portion_bytes is not None and portion_content_bytes >= portion_bytes:
                        portion_content_bytes = 0
                        yield None
            except InputError:
                with suppress(OSError):
                    self._refuse_changed(os.stat(split.file.path), split.file)  # if that is why, say so
                raise
            end_bytes = before.bytes_before + split.length
            self._progress = self._progress.all_before(end_bytes - self._progress.bytes_before)
        self.is_finished = True

    def _take(self, file: InputFile, end_bytes: int) -> None:
        """Make the lines of the present chunk, which holds whole ones, the current ones.

        end_bytes: the value of `bytes_read` once all of them are processed.
        """
        lines = self._long_line(file) if isinstance(self._chunk, bytearray) else self._lines_of_chunk(file)
        if self._downsample < 1.0:
            lengths = (len(line) + 1 for line in islice(self._chunk.split(b"\n"), len(lines) - 1))
            starts = list(accumulate(lengths, initial=self._chunk_offset))
            kept = list(self._sample(file, starts))
            lines, self._offsets = list(compress(lines, kept)), list(compress(starts, kept))
        before = self._progress
        if self._lines_max is not None:
            del lines[self._lines_max - before.records_before :]
        self._lines = lines
        self._batch = iter(lines)
        chunk_bytes = end_bytes - before.bytes_before
        self._progress = _Progress(
            before.records_before, before.bytes_before, chunk_bytes, len(lines), self._batch
        )

    def _lines_of_chunk(self, file: InputFile) -> list[str]:
        chunk = self._chunk
        text = self._decode(chunk, self._chunk_offset, file)
        lines = (text.replace("\r\n", "\n") if b"\r\n" in chunk else text).split("\n")
        if chunk.endswith(b"\n"):
            lines.pop()  # what follows the last line ending is not a line
        return lines

    def _long_line(self, file: InputFile) -> list[str]:
        """The one line of the chunk, which is let go of: of both there is never more than one copy."""
        chunk, self._chunk = self._chunk, b""
        assert isinstance(chunk, bytearray)
        for ending in (b"\r\n", b"\n"):
            if chunk.endswith(ending):
                del chunk[-len(ending) :]
                break
        return [self._decode(chunk, self._chunk_offset, file)]

    def _sample(self, file: InputFile, offsets: Sequence[int]) -> Iterator[bool]:
        seed = xxh3_64_intdigest(os.fsencode(file.name), self._seed)
        digests = (xxh3_64_intdigest(offset.to_bytes(8, "little"), seed) for offset in offsets)
        return map(lt, digests, repeat(int(self._downsample * (1 << 64))))

    def _decode(self, chunk: bytes | bytearray, offset: int, file: InputFile) -> str:
        try:
            return chunk.decode("utf-8", self._encoding_errors)
        except UnicodeDecodeError as error:
            around = bytes(chunk[max(error.start - HEAD_BYTES // 2, 0) : error.start + HEAD_BYTES // 2])
            if what_is_no_text(around) is None:
                advice = 'set encoding_errors = "replace" to read it as U+FFFD'
            else:
                advice = "this is binary data, not text: repair the file, or move it away"
            raise InputError(
                f"{_place(file, offset + error.start)}: {bytes(chunk[error.start : error.end])!r} "
                f"is no UTF-8 ({error.reason}); {advice}"
            ) from error

    def _chunks(self, split: Split) -> Iterator[bool]:
        """Chunks of whole lines, for all lines that begin in `split`, see `_whole_lines`."""
        file = split.file
        edges: ContentEdges | None = None
        try:
            with open(file.path, "rb", buffering=0) as raw:
                self._raw = raw
                self._refuse_changed(os.fstat(raw.fileno()), file)
                if file.codec == NOT_COMPRESSED:
                    begin = self._line_start(raw, split.start, file)
                    end = self._line_start(raw, split.end, file)
                    raw.seek(begin)
                    chunks = self._whole_lines(raw, begin, end - begin, file)
                else:
                    edges = ContentEdges(open_compressed(FirstBytes(raw, file.size), file.codec))
                    chunks = self._whole_lines(edges, 0, None, file)
                for is_chunk in chunks:
                    is_begun = is_chunk and not self._chunk.endswith(b"\n")
                    if is_begun and has_grown(os.fstat(raw.fileno()), file):
                        self._chunk = b""  # a line that somebody has only begun to write
                        break
                    yield is_chunk
                self._refuse_changed(os.fstat(raw.fileno()), file)
                if edges is not None and self._on_content is not None:
                    self._on_content(file, edges.fingerprint())
        except FileNotFoundError as error:
            refuse_gone(file, error)
        except (OSError, *DECOMPRESSION_ERRORS) as error:
            self._on_bad_content(file, error)

    def _on_bad_content(self, file: InputFile, error: Exception) -> None:
        """Raise what an error in reading means; return where a file that grew is cut at its listed length."""
        if isinstance(error, OSError) and error.errno is not None:  # bad content is a bare OSError of bz2
            raise disk_error("reading", file.path, error) from error
        if isinstance(error, EOFError):  # and not in the middle of the file, where it is damaged
            with suppress(OSError):
                status = os.stat(file.path)
                if has_grown(status, file):
                    self._refuse_changed(status, file)
                    return
        raise self._corrupt(file, error) from error

    def _refuse_changed(self, status: os.stat_result, file: InputFile) -> None:
        refuse_changed(status, file, whole_files=self._whole_files)

    def _done_bytes(self, split: Split) -> int:
        """How much of a split, on disk, is done with when the lines of the present chunk are."""
        if split.file.codec == NOT_COMPRESSED:
            at = self._chunk_offset + len(self._chunk)
        else:
            at = self._raw.tell() if self._raw is not None else split.end
        return min(max(at - split.start, 0), split.length)

    def _whole_lines(
        self, content: Readable, offset: int, remaining_bytes: int | None, file: InputFile
    ) -> Iterator[bool]:
        """Cut `content`, from here on, at most `remaining_bytes` of it, after the last line of each read.

        Yields True when `_chunk` holds whole lines; nobody else has it then, so that it can be let go of.
        A bytearray is a single line of more than CHUNK_BYTES; within that False is yielded, whenever it has
        doubled: a place to look at the memory.
        """
        pending = bytearray()  # the beginning of a line whose end was not read yet
        head = b""
        size = min(CHUNK_BYTES, self._line_bytes_max)
        self._content_bytes = offset
        end_fork(self._pid)
        while data := content.read(size if remaining_bytes is None else min(size, remaining_bytes)):
            self._content_bytes += len(data)
            if remaining_bytes is not None:
                remaining_bytes -= len(data)
            if file.codec != NOT_COMPRESSED and len(head) < HEAD_BYTES:  # of others planning has looked at it
                head += data[: HEAD_BYTES - len(head)]
                refuse_other_than_text(file.path, head, file.codec)
            if offset == 0 and not pending and data.startswith(_BYTE_ORDER_MARK):
                offset, data = len(_BYTE_ORDER_MARK), data[len(_BYTE_ORDER_MARK) :]
            first_cut = data.find(b"\n") + 1
            if len(pending) + (first_cut - 1 if first_cut else len(data)) > self._line_bytes_max:
                raise self._line_too_long(offset, file)
            if not first_cut:
                pending += data
                if len(pending) >= max(2 * self.line_bytes, CHUNK_BYTES):
                    self.line_bytes = len(pending)
                    yield False
                continue
            if len(pending) >= CHUNK_BYTES:  # a long line alone
                pending += data[:first_cut]
                data = data[first_cut:]
                self._chunk, self._chunk_offset = pending, offset
                offset += len(pending)
                pending, self.line_bytes = bytearray(), 0
                yield True
            cut = data.rfind(b"\n") + 1
            if cut:
                chunk = bytes(pending) + data[:cut] if pending else data[:cut]
                self._chunk, self._chunk_offset = chunk, offset
                offset += len(chunk)
                pending.clear()
                del chunk
                yield True
            pending += data[cut:]
            end_fork(self._pid)  # it would read on where this one is to, of the same open file
        if pending:
            self._chunk = pending if len(pending) >= CHUNK_BYTES else bytes(pending)
            self._chunk_offset = offset
            pending, self.line_bytes = bytearray(), 0
            yield True

    def _line_start(self, raw: BinaryIO, position: int, file: InputFile) -> int:
        """Where the first line at or after `position` begins; the file's size where none does.

        Both splits that meet at a position ask here, so they agree on which of them has the line across it.
        """
        if position == 0 or position >= file.size:
            return position
        raw.seek(position - 1)
        at = position - 1
        while data := raw.read(min(CHUNK_BYTES, file.size - at)):  # what came behind that is of no account
            found = data.find(b"\n")
            if found >= 0:
                return at + found + 1
            at += len(data)
            if at - position > self._line_bytes_max:
                raise self._line_too_long(self._line_before(raw, position), file)
        return at

    def _line_before(self, raw: BinaryIO, position: int) -> int:
        """The offset at which the line that contains `position` begins, or of the farthest byte searched."""
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
