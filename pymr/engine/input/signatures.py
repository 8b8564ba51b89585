"""Signatures: the type of a file by its first bytes. Planning and the reader refuse what is not text.

The name of a file counts only where its bytes say nothing: a compressed file that is cut short or damaged in
its header.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable

HEAD_BYTES = 4_096
"""How many of a file's first bytes are inspected; signatures are at the beginning."""

NOT_COMPRESSED = "none"
CODEC_NAMES = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}
"""What is decompressed while it is read."""

_ZSTD_SKIPPABLE = tuple(bytes((byte,)) + b"\x2a\x4d\x18" for byte in range(0x50, 0x60))  # of pzstd
_CODEC_SIGNATURES: dict[str, tuple[bytes, ...]] = {
    "gz": (b"\x1f\x8b\x08",),
    "bz2": tuple(
        b"BZh%d" % level + block
        for level in range(1, 10)
        for block in (b"1AY&SY", b"\x17\x72\x45\x38\x50\x90")
    ),
    "xz": (b"\xfd7zXZ\x00",),
    "zst": (b"\x28\xb5\x2f\xfd", *_ZSTD_SKIPPABLE),
}

_UNPACK = "unpack it into the input folder, as archives are not read, or move it out of there"
_DECOMPRESS = "decompress it, or compress it by gzip, bzip2, xz or zstd instead"
_CONVERT = "convert it to text, a line for each record, or move it out of the input folder"
_TO_UTF_8 = "convert it to UTF-8, for example by `iconv -f {} -t UTF-8`"

_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"PK\x05\x06", "a ZIP archive", _UNPACK),
    (b"PK\x07\x08", "a ZIP archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (b"MSCF\x00\x00\x00\x00", "a CAB archive", _UNPACK),
    (b"!<arch>\n", "an ar archive", _UNPACK),
    (b"\xed\xab\xee\xdb", "an RPM package", _UNPACK),
    (b"\xc7\x71", "a cpio archive", _UNPACK),
    (b"\x04\x22\x4d\x18", "compressed by lz4", _DECOMPRESS),
    (b"\x02\x21\x4c\x18", "compressed by lz4", _DECOMPRESS),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by Snappy", _DECOMPRESS),
    (b"\x5d\x00\x00", "compressed by lzma", _DECOMPRESS),
    (b"LZIP\x01", "compressed by lzip", _DECOMPRESS),
    (b"\x89LZO\x00\r\n\x1a\n", "compressed by lzop", _DECOMPRESS),
    (b"LRZI\x00", "compressed by lrzip", _DECOMPRESS),
    (b"\x1f\x9d", "compressed by compress (.Z)", _DECOMPRESS),
    (b"\x1f\xa0", "compressed by compress (.Z)", _DECOMPRESS),
    (b"PAR1", "a Parquet file", _CONVERT),
    (b"PARE", "an encrypted Parquet file", _CONVERT),
    (b"ORC", "an ORC file", _CONVERT),
    (b"Obj\x01", "an Avro file", _CONVERT),
    (b"ARROW1\x00\x00", "an Arrow (Feather) file", _CONVERT),
    (b"SEQ\x06", "a Hadoop SequenceFile", _CONVERT),
    (b"RCF\x01", "an RCFile", _CONVERT),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _CONVERT),
    (b"\x93NUMPY", "a NumPy array", _CONVERT),
    (b"SQLite format 3\x00", "an SQLite database", _CONVERT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a document of Microsoft Office", _CONVERT),
    (b"\x89PNG\r\n\x1a\n", "a PNG image", _CONVERT),
    (b"\xff\xd8\xff", "a JPEG image", _CONVERT),
    (b"GIF87a", "a GIF image", _CONVERT),
    (b"GIF89a", "a GIF image", _CONVERT),
    (b"\x7fELF", "a program (ELF)", _CONVERT),
    (b"\xca\xfe\xba\xbe", "a compiled Java class", _CONVERT),
)  # fmt: skip
"""A file counts as one of these only where its head has bytes that no text has: a text may begin with ORC.
Those of letters and digits alone need a NUL, or what is no UTF-8, besides."""

_BINARY = "binary data", _CONVERT

_UNICODE_MARKS = (
    (codecs.BOM_UTF32_LE, "UTF-32LE"),  # before that of UTF-16, which is its beginning
    (codecs.BOM_UTF32_BE, "UTF-32BE"),
    (codecs.BOM_UTF16_LE, "UTF-16LE"),
    (codecs.BOM_UTF16_BE, "UTF-16BE"),
)

_TEXT_BYTES = bytes({*range(0x20, 0x7F), *range(0x80, 0x100), *b"\a\b\t\n\v\f\r\x1b"})
_HIGH_BYTES = bytes(range(7))  # of UTF-16: Latin, Greek, Cyrillic, Hebrew, Arabic
_HIGH_SHARE_MIN, _HIGH_SHARE_ELSEWHERE_MAX = 0.9, 0.1
_UNICODE_BYTES_MIN = 8
_BINARY_BYTES_MIN = 64
"""Of fewer bytes only a signature or a byte order mark is believed."""
_CONTROL_SHARE_MIN = 1 / 64
_CONTROLS_MIN = 4
_NUL_SHARE_MIN = 1 / 4

_TAR_BLOCK_BYTES = 512
_TAR_CHECKSUM, _TAR_MAGIC = slice(148, 156), slice(257, 262)


def codec_of(head: bytes, codec_by_name: str = NOT_COMPRESSED) -> str:
    """How a file is compressed: a key of CODEC_NAMES, or NOT_COMPRESSED.

    head: its first HEAD_BYTES, or all it has. codec_by_name: what its name says, which counts where the file
    is cut short in its signature, or where its head is neither known nor text.
    """
    for codec, signatures in _CODEC_SIGNATURES.items():
        if head.startswith(signatures):
            return codec
    if codec_by_name == NOT_COMPRESSED:
        return NOT_COMPRESSED
    is_cut_short = any(signature.startswith(head) for signature in _CODEC_SIGNATURES[codec_by_name])
    is_damaged = bool(_control_bytes(head)) and what_is_no_text(head) in (None, _BINARY)
    return codec_by_name if is_cut_short or is_damaged else NOT_COMPRESSED


def what_is_no_text(head: bytes) -> tuple[str, str] | None:
    """(what it seems to be, what to do) of content that begins with `head` and is not text; None for text.

    Text may be of an encoding other than UTF-8, and may hold control bytes and NULs. What is no UTF-8 and has
    control bytes of many kinds, or is NULs for a quarter, is taken for binary.
    """
    for mark, encoding in _UNICODE_MARKS:
        if head.startswith(mark):
            return f"text in {encoding}", _TO_UTF_8.format(encoding)
    if head.startswith(b"%PDF-"):
        return "a PDF document", _CONVERT
    for codec, signatures in _CODEC_SIGNATURES.items():
        if head.startswith(signatures):
            return f"compressed by {CODEC_NAMES[codec]}", "decompress it once"
    if not (controls := _control_bytes(head)):
        return None
    is_utf_8 = _is_utf_8(head)
    for beginning, what, advice in _SIGNATURES:
        if head.startswith(beginning) and (not beginning.isalnum() or not is_utf_8 or 0 in controls):
            return what, advice
    if _is_tar(head):
        return "a tar archive", _UNPACK
    if wide_encoding := _wide_encoding(head):
        return f"text in {wide_encoding}", _TO_UTF_8.format(wide_encoding)
    is_varied = len(set(controls)) >= _CONTROLS_MIN and len(controls) >= _CONTROL_SHARE_MIN * len(head)
    is_binary = is_varied or controls.count(0) >= _NUL_SHARE_MIN * len(head)
    return _BINARY if is_binary and not is_utf_8 and len(head) >= _BINARY_BYTES_MIN else None


def _control_bytes(head: bytes) -> bytes:
    """The bytes of `head` that hardly any text has."""
    return head.translate(None, _TEXT_BYTES)


def _is_utf_8(head: bytes) -> bool:
    """Whether it is UTF-8, but for a last character that may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _is_tar(head: bytes) -> bool:
    """Whether a tar archive begins here: by its signature, or, of old ones, by the sum of its header."""
    if len(head) < _TAR_BLOCK_BYTES:
        return False
    if head[_TAR_MAGIC] == b"ustar":
        return True
    try:
        noted = int(head[_TAR_CHECKSUM].strip(b" \0"), 8)
    except ValueError:
        return False
    block = bytearray(head[:_TAR_BLOCK_BYTES])
    block[_TAR_CHECKSUM] = b" " * 8
    return noted == sum(block)


def _wide_encoding(head: bytes) -> str | None:
    """The encoding of text without a byte order mark whose characters have two bytes, or four, each."""
    if len(head) < _UNICODE_BYTES_MIN or 0 not in head:
        return None
    places = [head[place::4] for place in range(4)]
    share: Callable[[bytes], float] = lambda part: 1 - len(part.translate(None, _HIGH_BYTES)) / len(part)  # noqa: E731
    high = [share(place) >= _HIGH_SHARE_MIN for place in places]
    low = [share(place) <= _HIGH_SHARE_ELSEWHERE_MAX for place in places]
    if low[0] and high[1] and high[2] and high[3]:
        return "UTF-32LE"
    if high[0] and high[1] and high[2] and low[3]:
        return "UTF-32BE"
    if low[0] and high[1] and low[2] and high[3]:
        return "UTF-16LE"
    if high[0] and low[1] and high[2] and low[3]:
        return "UTF-16BE"
    return None
