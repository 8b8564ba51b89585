"""Signatures: what the first bytes of a file make of it, and that text of any kind stays text."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile

import pytest

from pymr.base.zstd import zstd
from pymr.engine.input.signatures import HEAD_BYTES, codec_of, what_is_no_text

TEXT = "".join(f"{number} line of text, é\n" for number in range(400))
COMPRESSED = {
    "gz": gzip.compress(TEXT.encode()),
    "bz2": bz2.compress(TEXT.encode()),
    "xz": lzma.compress(TEXT.encode()),
    "zst": zstd.compress(TEXT.encode()),
}


def tar_of(content: bytes, form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        member = tarfile.TarInfo("a.log")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def old_tar_of(content: bytes) -> bytes:
    """As tar wrote it before 1988: nothing in it but the sum of its header says what it is."""
    archive = bytearray(tar_of(content, tarfile.USTAR_FORMAT))
    archive[257:265] = bytes(8)
    archive[148:156] = b" " * 8
    archive[148:156] = b"%06o\0 " % sum(archive[:512])
    return bytes(archive)


def zip_of(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.log", content)
    return file.getvalue()


REFUSED: dict[str, tuple[bytes, str, str]] = {
    "tar": (tar_of(TEXT.encode()), "a tar archive", "unpack"),
    "GNU tar": (tar_of(TEXT.encode(), tarfile.GNU_FORMAT), "a tar archive", "unpack"),
    "old tar": (old_tar_of(TEXT.encode()), "a tar archive", "unpack"),
    "ZIP": (zip_of(TEXT.encode()), "a ZIP archive", "unpack"),
    "empty ZIP": (b"PK\x05\x06" + bytes(18), "a ZIP archive", "unpack"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04" + random.Random(1).randbytes(100), "a 7z archive", "unpack"),
    "RAR": (b"Rar!\x1a\x07\x01\x00" + random.Random(2).randbytes(100), "a RAR archive", "unpack"),
    "lz4": (b"\x04\x22\x4d\x18\x64\x40\xa7" + TEXT.encode(), "lz4", "decompress"),
    "Snappy": (b"\xff\x06\x00\x00sNaPpY" + TEXT.encode(), "Snappy", "decompress"),
    "lzma": (lzma.compress(TEXT.encode(), lzma.FORMAT_ALONE), "lzma", "decompress"),
    "Parquet": (b"PAR1\x15\x04\x15\x10\x15\x14\x4c\x15\x02\x15\x00\x12\x00\x00", "Parquet", "convert"),
    "ORC": (b"ORC\x0a\x0b\x0a\x03\x00\x00\x00\x12\x04\x08", "ORC", "convert"),
    "Avro": (b"Obj\x01\x04\x16avro.schema", "Avro", "convert"),
    "SQLite": (b"SQLite format 3\x00\x10\x00\x01\x01", "SQLite", "convert"),
    "PDF": (b"%PDF-1.4\n1 0 obj\n", "PDF", "convert"),
    "random bytes": (random.Random(3).randbytes(HEAD_BYTES), "binary data", "convert"),
    "numbers of eight bytes": (
        b"".join(n.to_bytes(8, "little") for n in range(900, 1400)),
        "binary",
        "convert",
    ),
    "UTF-16 with a mark": (TEXT.encode("utf-16"), "UTF-16LE", "iconv -f UTF-16LE"),
    "UTF-16, big-endian, with a mark": (b"\xfe\xff" + TEXT.encode("utf-16-be"), "UTF-16BE", "iconv"),
    "UTF-32 with a mark": (TEXT.encode("utf-32"), "UTF-32LE", "iconv"),
    "UTF-16LE": (TEXT.encode("utf-16-le"), "UTF-16LE", "iconv"),
    "UTF-16BE": (TEXT.encode("utf-16-be"), "UTF-16BE", "iconv"),
    "UTF-32LE": (TEXT.encode("utf-32-le"), "UTF-32LE", "iconv"),
    "UTF-32BE": (TEXT.encode("utf-32-be"), "UTF-32BE", "iconv"),
    "Russian in UTF-16": (("Привет, мир\n" * 20).encode("utf-16-le"), "UTF-16LE", "iconv"),
    "gzip in gzip": (COMPRESSED["gz"], "compressed by gzip", "decompress it once"),
}

READ: dict[str, bytes] = {
    "nothing": b"",
    "a line": b"a\n",
    "UTF-8": TEXT.encode(),
    "UTF-8 with a mark": TEXT.encode("utf-8-sig"),
    "a character cut at the end of the head": b"a" * (HEAD_BYTES - 1) + "é".encode(),
    "Latin-1": TEXT.encode("latin-1"),
    "a few NULs": b"a\0b\0\n" + TEXT.encode() + b"\0",
    "a hole before a log": bytes(2_000) + TEXT.encode(),
    "nothing but NULs": bytes(HEAD_BYTES),
    "columns parted by a control byte": b"1\x012\x013\n4\x015\x016\n" * 100,
    "such columns in Latin-1": "é\x012\x01\x02a\x03b\n".encode("latin-1") * 100,
    "columns parted by NULs": b"alpha\0beta\0gamma\n" * 100,
    "colours of a terminal": b"\x1b[31mred\x1b[0m\a\b\n" * 100,
    "a word that is a signature": b"ORC is a format, PAR1 as well\n",
    "such a word before a control byte": b"ORC\x01a\nPAR1\x01b\n",
    "JSON": b'{"a": "\\u0000"}\n' * 10,
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_no_text_is_told_with_what_to_do(kind: str) -> None:
    content, what, advice = REFUSED[kind]
    told = what_is_no_text(content[:HEAD_BYTES])

    assert told is not None
    assert what in told[0]
    assert advice in told[1]
    assert "encoding_errors" not in told[1]


@pytest.mark.parametrize("kind", READ)
def test_text_of_every_kind_stays_text(kind: str) -> None:
    assert what_is_no_text(READ[kind][:HEAD_BYTES]) is None


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("by_name", ["none", "gz", "bz2", "xz", "zst"])
def test_text_is_not_compressed_unless_it_has_control_bytes_and_such_a_name(kind: str, by_name: str) -> None:
    has_controls = any(byte < 7 for byte in READ[kind])
    expected = by_name if has_controls or not READ[kind] else "none"

    assert codec_of(READ[kind][:HEAD_BYTES], by_name) == expected


@pytest.mark.parametrize("codec", COMPRESSED)
@pytest.mark.parametrize("by_name", ["none", "gz", "bz2", "xz", "zst"])
def test_the_first_bytes_tell_the_codec_whatever_the_name(codec: str, by_name: str) -> None:
    assert codec_of(COMPRESSED[codec][:HEAD_BYTES], by_name) == codec


def test_a_zstd_file_that_begins_with_a_frame_to_be_skipped_is_one() -> None:
    assert codec_of(b"\x50\x2a\x4d\x18\x04\x00\x00\x00\xff\xff\x00\x00" + COMPRESSED["zst"]) == "zst"


@pytest.mark.parametrize("codec", COMPRESSED)
def test_the_name_counts_for_a_file_that_is_cut_or_damaged_in_its_signature(codec: str) -> None:
    content = COMPRESSED[codec]
    damaged = bytes([content[0] ^ 1]) + content[1:]

    assert [codec_of(content[:length], codec) for length in (1, 2, 3)] == [codec] * 3
    assert codec_of(damaged[:HEAD_BYTES], codec) == codec
    assert codec_of(content[:2]) == "none"


@pytest.mark.parametrize("kind", ["tar", "ZIP", "7z", "lz4", "Parquet", "UTF-16LE"])
def test_what_is_something_else_is_not_compressed_by_its_name(kind: str) -> None:
    assert codec_of(REFUSED[kind][0][:HEAD_BYTES], "gz") == "none"
