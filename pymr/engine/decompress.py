"""Decompression of input files: like the openers of the standard library, but nothing is passed over."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol

from pymr.engine.zstd import zstd

DECOMPRESSION_ERRORS = (EOFError, zlib.error, lzma.LZMAError, zstd.ZstdError, gzip.BadGzipFile)
"""What reading a truncated or damaged file raises, besides an OSError without a number (bz2, gzip)."""

_READ_BYTES = 128 << 10


class Readable(Protocol):
    """What `open_compressed` returns."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes of content; none at the end."""


def open_compressed(raw: BinaryIO, codec: str) -> Readable:
    """The content of a compressed file. codec: "gz", "bz2", "xz" or "zst"; of any number of streams."""
    if codec == "gz":
        return gzip.open(raw)
    return _Streams(raw, _DECOMPRESSORS[codec])


class _Streams:
    """Compressed streams one after another. The standard library's own readers take a damaged second stream
    for harmless bytes behind the first and end there; here it is an error."""

    def __init__(self, raw: BinaryIO, new_decompressor: Callable[[], Any]) -> None:
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
        while data and not data.strip(b"\0"):  # padding, which xz allows between streams
            data = self._raw.read(_READ_BYTES)
        if data:
            self._stream = self._new()
        return data.lstrip(b"\0")


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "bz2": bz2.BZ2Decompressor,
    "xz": lzma.LZMADecompressor,
    "zst": zstd.ZstdDecompressor,
}
