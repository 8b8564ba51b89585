"""Fingerprints: by which a file's content is known again under another name, also compressed meanwhile."""

from __future__ import annotations

import os
from typing import NamedTuple

from xxhash import xxh3_64_intdigest

from pymr.engine.input.decompress import DECOMPRESSION_ERRORS, Readable, open_compressed
from pymr.engine.input.files import codec_by_head
from pymr.engine.input.signatures import HEAD_BYTES, NOT_COMPRESSED

EDGE_BYTES = 64 << 10
"""The digest is of so many bytes at the beginning of the content, and as many at its end. More would tell
apart more files that differ in their middle only, and cost more reading for each."""

_READ_BYTES = 256 << 10


class Fingerprint(NamedTuple):
    """length: of the content in bytes. digest: of its edges; 0 for none, as where nobody has looked."""

    length: int
    digest: int


UNKNOWN = Fingerprint(0, 0)


class ContentEdges:
    """Passes on what is read of some content, and remembers its fingerprint. Memory: both edges."""

    def __init__(self, content: Readable) -> None:
        self._content = content
        self._first = b""
        self._last = b""
        self._length = 0

    def read(self, size: int, /) -> bytes:
        """As of the content."""
        data = self._content.read(size)
        self._length += len(data)
        if len(self._first) < EDGE_BYTES:
            self._first += data[: EDGE_BYTES - len(self._first)]
        self._last = (self._last + data)[-EDGE_BYTES:] if len(data) < EDGE_BYTES else data[-EDGE_BYTES:]
        return data

    def fingerprint(self) -> Fingerprint:
        """Of what was read, which has to be all."""
        return _fingerprint(self._first, self._last, self._length)


def fingerprint_of(path: str, size: int, *, lengths: frozenset[int] | None = None) -> Fingerprint:
    """The fingerprint of the first `size` bytes of a file; of one that is compressed, of its content.

    lengths: of the content, which alone are of interest; None: only that of a plain file is, since the other
    costs reading it whole. UNKNOWN for what is of no interest, is damaged, or cannot be read.
    """
    try:
        with open(path, "rb", buffering=0) as raw:
            first = raw.read(min(EDGE_BYTES, size))
            codec = codec_by_head(path, first[:HEAD_BYTES])
            if codec == NOT_COMPRESSED:
                if lengths is not None and size not in lengths:
                    return UNKNOWN
                last = os.pread(raw.fileno(), EDGE_BYTES, max(size - EDGE_BYTES, 0))
                return _fingerprint(first, last[: min(EDGE_BYTES, size)], size)
            if lengths is None:
                return UNKNOWN
            raw.seek(0)
            edges = ContentEdges(open_compressed(raw, codec))
            length, longest = 0, max(lengths, default=0)
            while length <= longest and (data := edges.read(_READ_BYTES)):
                length += len(data)
            return edges.fingerprint() if length in lengths else UNKNOWN
    except (OSError, *DECOMPRESSION_ERRORS):
        return UNKNOWN


def _fingerprint(first: bytes, last: bytes, length: int) -> Fingerprint:
    return Fingerprint(length, xxh3_64_intdigest(first + last, length % (1 << 64)) or 1)
