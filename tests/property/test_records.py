"""The lines of all splits together are the lines of the file, each once and in order."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from strategies import input_file, lines_by_split

from pymr.base.errors import InputError
from pymr.base.zstd import zstd
from pymr.engine.input.files import plan_splits
from pymr.engine.input.records import RecordReader
from pymr.engine.input.signatures import codec_of, what_is_no_text

BOM = b"\xef\xbb\xbf"
CHECKED_ZSTD = {zstd.CompressionParameter.checksum_flag: 1}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstd.compress(data, options=CHECKED_ZSTD),
}

# Whatever might be taken for a line end, or be cut in two by a boundary.
pieces = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"a", b"line", b" ", b"\t", b"\x00", BOM]
    + [text.encode() for text in ("é", "漢字", "𝄞", "\u2028", "\u2029", "\x85", "\v", "\f", "\x1c", "\x1e")]
    + [b"x" * 40]
)
contents = st.lists(pieces, max_size=25).map(b"".join)
split_sizes = st.integers(1, 120) | st.integers(1, 8)


def reference(content: bytes, errors: str = "strict") -> list[str]:
    """What the documentation says a line is, and nothing else."""
    *ended, last = content.removeprefix(BOM).split(b"\n")
    lines = [line.removesuffix(b"\r") for line in ended] + ([last] if last else [])
    return [line.decode("utf-8", errors) for line in lines]


@settings(max_examples=300)
@given(contents, split_sizes)
@example(b"a\r\nb\r\n", 64)
@example(b"a\r", 1)
@example(b"\r\n", 1)
@example(BOM, 1)
@example(BOM + BOM + b"a", 2)
@example(b"x" * 100 + b"\ny", 3)
@example(b"\n\n\n", 1)
def test_all_splits_together_give_each_line_once_and_in_order(content: bytes, split_bytes: int) -> None:
    with input_file(content) as file:
        lines = lines_by_split(file, split_bytes)

    assert lines == reference(content)


@settings(max_examples=60)
@given(contents, split_sizes, st.integers(1, 200))
def test_portions_of_any_size_give_the_same_lines(
    content: bytes, split_bytes: int, portion_bytes: int
) -> None:
    with input_file(content) as file:
        reader = RecordReader(plan_splits([file], split_bytes))
        lines = [line for portion in reader.portions(portion_bytes) for line in portion]

    assert lines == reference(content)
    assert reader.is_finished


@settings(max_examples=60)
@given(contents, split_sizes)
def test_one_reader_over_all_splits_reads_the_same_and_counts_it(content: bytes, split_bytes: int) -> None:
    with input_file(content) as file:
        reader = RecordReader(plan_splits([file], split_bytes))
        lines = list(reader.lines())

    assert lines == reference(content)
    assert reader.records_read == len(lines)
    assert reader.bytes_read == len(content)


@settings(max_examples=60)
@given(contents, split_sizes, st.integers(41, 60))
def test_small_reads_give_the_same_lines(content: bytes, split_bytes: int, line_bytes_max: int) -> None:
    content = b"\n".join(line[:40] for line in content.split(b"\n"))
    with input_file(content) as file:
        lines = lines_by_split(file, split_bytes, line_bytes_max=line_bytes_max, encoding_errors="replace")

    assert lines == reference(content, "replace")


@settings(max_examples=60)
@given(st.lists(pieces | st.binary(max_size=4), max_size=20).map(b"".join), split_sizes)
def test_bytes_that_are_no_utf_8_are_replaced_alike_for_every_split_size(
    content: bytes, split_bytes: int
) -> None:
    assume(what_is_no_text(content) is None and codec_of(content) == "none")
    with input_file(content) as file:
        lines = lines_by_split(file, split_bytes, encoding_errors="replace")

    assert lines == reference(content, "replace")


@settings(max_examples=100)
@given(contents, split_sizes)
def test_each_line_knows_the_byte_it_begins_at(content: bytes, split_bytes: int) -> None:
    with input_file(content) as file:
        found = []
        for split in plan_splits([file], split_bytes):
            reader = RecordReader([split])
            found += [(line, reader.location()) for line in reader.lines()]

    assert all(line == location.line for line, location in found)
    assert [location.offset for _, location in found] == starts(content)


def starts(content: bytes) -> list[int]:
    begin = len(BOM) if content.startswith(BOM) else 0
    offsets = [begin, *(at + 1 for at in range(begin, len(content)) if content[at : at + 1] == b"\n")]
    return [offset for offset in offsets if offset < len(content)]


@settings(max_examples=40)
@given(st.lists(contents, min_size=1, max_size=3), st.sampled_from(sorted(COMPRESS)))
def test_compressed_files_read_as_plain_ones_also_in_several_members(parts: list[bytes], codec: str) -> None:
    stored = b"".join(map(COMPRESS[codec], parts))
    with input_file(stored, f"input.{codec}") as file:
        lines = lines_by_split(file, 64)

    assert lines == reference(b"".join(parts))


@settings(max_examples=60)
@given(st.sampled_from(sorted(COMPRESS)), st.integers(1, 3), st.data())
def test_no_truncated_compressed_file_is_read_as_if_it_were_whole(
    codec: str, members: int, data: st.DataObject
) -> None:
    parts = [b"".join(b"%d of %d\n" % (at, member) for at in range(50)) for member in range(members)]
    stored = b"".join(map(COMPRESS[codec], parts))
    ends = {len(b"".join(map(COMPRESS[codec], parts[: number + 1]))) for number in range(members)}
    length = data.draw(st.integers(1, len(stored) - 1).filter(lambda length: length not in ends))
    with input_file(stored[:length], f"input.{codec}") as file, pytest.raises(InputError) as caught:
        lines_by_split(file, 64)

    assert file.path in str(caught.value)


@settings(max_examples=100)
@given(st.sampled_from(sorted(COMPRESS)), st.data())
def test_no_damaged_compressed_file_gives_other_lines(codec: str, data: st.DataObject) -> None:
    parts = [b"".join(b"%d of %d\n" % (at, member) for at in range(50)) for member in range(2)]
    members = list(map(COMPRESS[codec], parts))
    damaged = bytearray(b"".join(members))
    at = data.draw(st.integers(0, len(damaged) - 1) | st.integers(0, 20).map(lambda n: n + len(members[0])))
    damaged[at] ^= data.draw(st.integers(1, 255))
    error = None
    lines: list[str] = []
    with input_file(bytes(damaged), f"input.{codec}") as file:
        try:
            lines = lines_by_split(file, 64)
        except InputError as caught:
            error = caught

    # Some bytes of a header carry nothing that matters, such as the time in that of gzip.
    assert file.path in str(error) if error else lines == reference(b"".join(parts))


@settings(max_examples=60)
@given(contents, split_sizes, st.floats(0.01, 1.0), st.integers(0, 1 << 40))
def test_a_sample_is_the_same_for_every_split_size(
    content: bytes, split_bytes: int, share: float, seed: int
) -> None:
    with input_file(content) as file:
        whole = lines_by_split(file, 1 << 20, downsample=share, seed=seed)
        in_splits = lines_by_split(file, split_bytes, downsample=share, seed=seed)
        everything = iter(lines_by_split(file, split_bytes))

    assert in_splits == whole
    assert all(line in everything for line in whole)


@settings(max_examples=20)
@given(st.sampled_from([0.05, 0.3, 0.5, 0.9]), st.integers(0, 1 << 60))
def test_a_sample_holds_nearly_its_share_and_differs_with_the_seed(share: float, seed: int) -> None:
    lines_count = 20_000
    with input_file(b"same line\n" * lines_count) as file:
        kept = kept_numbers(file, share, seed)
        others = kept_numbers(file, share, seed + 1)

    deviation = (lines_count * share * (1 - share)) ** 0.5
    assert abs(len(kept) - lines_count * share) < 6 * deviation
    assert kept != others


def kept_numbers(file: Any, share: float, seed: int) -> list[int]:
    reader = RecordReader(plan_splits([file]), downsample=share, seed=seed)
    return [reader.location().offset // 10 for _ in reader.lines()]


@settings(max_examples=5)
@given(st.integers(0, 1 << 30))
def test_lines_longer_than_what_is_read_at_once_come_whole(seed: int) -> None:
    random = Random(seed)
    lengths = [random.choice([0, 1, 1000, 262_143, 262_144, 300_000, 600_000]) for _ in range(6)]
    content = b"\r\n".join(bytes([97 + at]) * length for at, length in enumerate(lengths))
    with input_file(content) as file:
        lines = lines_by_split(file, random.choice([100_000, 262_144, 1 << 20]))

    assert lines == reference(content)
