"""Decompression of input files: like the openers of the standard library, but nothing is passed over, and
the content before the point where a file is truncated or damaged comes out first."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from typing import Any, Protocol

from pymr.base.zstd import zstd

DECOMPRESSION_ERRORS = (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError)
"""What reading a truncated or damaged file raises, besides an OSError without a number (bz2)."""

_READ_BYTES = 64 << 10
"""Small, as progress is measured in bytes read from disk; enough to fill a chunk of lines."""

_GZIP_WINDOW = 31  # the largest window of deflate, with the header and the checksum of gzip


class Readable(Protocol):
    """What `open_compressed` returns."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes of content; none at the end."""


def open_compressed(raw: Readable, codec: str) -> Readable:
    """The content of a compressed file. codec: "gz", "bz2", "xz" or "zst"; of any number of streams."""
    return _Streams(raw, _DECOMPRESSORS[codec])


class FirstBytes:
    """The first bytes of a file, which may have more."""

    def __init__(self, raw: Readable, size: int) -> None:
        self._raw = raw
        self._left_bytes = size

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; none at the end."""
        data = self._raw.read(min(size, self._left_bytes))
        self._left_bytes -= len(data)
        return data


class _Streams:
    """Compressed streams one after another. The standard library's own readers take a damaged second stream
    for harmless bytes behind the first and end there; here it is an error. That of gzip also keeps to itself
    what it has decompressed when it meets the end of a truncated file."""

    def __init__(self, raw: Readable, new_decompressor: Callable[[], Any]) -> None:
        self._raw = raw
        self._new = new_decompressor
        self._stream = new_decompressor()

    def read(self, size: int, /) -> bytes:
        while True:
            data = b""
            if self._stream.eof:
                data = self._next_stream()
                if not data:
                    return b""
            elif self._stream.needs_input and not (data := self._raw.read(_READ_BYTES)):
                raise EOFError("the file ends before its compressed content does")
            if content := self._stream.decompress(data, size):
                return bytes(content)

    def _next_stream(self) -> bytes:
        """Begin the stream behind the one that has ended; its first bytes, none at the end of the file."""
        data: bytes = self._stream.unused_data or self._raw.read(_READ_BYTES)
        while data and not data.strip(b"\0"):  # padding, which xz allows, and tapes need
            data = self._raw.read(_READ_BYTES)
        if data:
            self._stream = self._new()
        return data.lstrip(b"\0")


class _GzipDecompressor:
    """A decompressor of one stream of gzip, with the methods of those of the other codecs."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        rest = self._inflate.unconsumed_tail
        content = self._inflate.decompress(rest + data if rest else data, max_length)
        # What fills the limit may have left something behind, also where no input is left.
        self.needs_input = len(content) < max_length
        return content


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gz": _GzipDecompressor,
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zst": zstd.ZstdDecompressor,
}
