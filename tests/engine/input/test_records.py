"""Records: what a reader refuses, and that it names the file and the byte."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymr.base.errors import InputError, InputGrownError, InputOutdatedError, RetryableError
from pymr.base.zstd import zstd
from pymr.engine.input.files import InputFile, list_input_files, plan_splits
from pymr.engine.input.fingerprints import Fingerprint, fingerprint_of
from pymr.engine.input.records import CHUNK_BYTES, RecordReader
from pymr.engine.input.signatures import CODEC_NAMES

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1}),
}
every_codec = pytest.mark.parametrize("codec", sorted(COMPRESS))


def listed(folder: Path, content: bytes, name: str = "input.txt") -> InputFile:
    (folder / name).write_bytes(content)
    (file,) = list_input_files([str(folder / name)])
    return file


def read(file: InputFile, split_bytes: int = 1 << 20, **options: Any) -> list[str]:
    return list(RecordReader(plan_splits([file], split_bytes), **options).lines())


def test_a_line_ends_with_newline_or_both_characters_and_nothing_else(tmp_path: Path) -> None:
    content = "a\r\nb\rc\nd\u2028e\x85f\vg\fh\x1ci\n\nlast\r".encode()

    assert read(listed(tmp_path, content)) == ["a", "b\rc", "d\u2028e\x85f\vg\fh\x1ci", "", "last\r"]


@pytest.mark.parametrize("lines_count", [1, 2, 3, 50_000])
def test_no_line_of_a_file_with_crlf_keeps_its_carriage_return(tmp_path: Path, lines_count: int) -> None:
    file = listed(tmp_path, b"line\r\n" * lines_count)

    assert read(file) == ["line"] * lines_count
    assert read(file, 7001) == ["line"] * lines_count


def test_a_line_end_cut_in_two_by_a_read_is_one_line_end(tmp_path: Path) -> None:
    file = listed(tmp_path, b"a" * (CHUNK_BYTES - 1) + b"\r\nb\r\n")

    assert read(file) == ["a" * (CHUNK_BYTES - 1), "b"]


def test_a_byte_order_mark_is_dropped_at_the_start_of_a_file_only(tmp_path: Path) -> None:
    mark = "\ufeff".encode()
    file = listed(tmp_path, mark + mark + b"a\n" + mark + b"b\n")

    assert read(file) == ["\ufeffa", "\ufeffb"]
    assert read(file, 1) == ["\ufeffa", "\ufeffb"]


@pytest.mark.parametrize("split_bytes", [1, 4, 7, 100])
def test_bytes_that_are_no_utf_8_are_named_with_file_and_byte(tmp_path: Path, split_bytes: int) -> None:
    file = listed(tmp_path, "é1\né2\na\xff\n".encode().replace("\xff".encode(), b"\xff"))

    with pytest.raises(InputError) as caught:
        read(file, split_bytes)
    assert f"{file.path}, byte 9: b'\\xff'" in str(caught.value)


def test_the_byte_named_is_right_behind_a_byte_order_mark_and_many_chunks(tmp_path: Path) -> None:
    before = "\ufeff".encode() + b"0123456789\r\n" * 100_000
    file = listed(tmp_path, before + b"abc\xe9d\n")

    with pytest.raises(InputError, match=f"byte {len(before) + 3:,}: "):
        read(file)


@pytest.mark.parametrize("lines_max", [1, 3, 4, 5, 9_999])
@pytest.mark.parametrize("name", ["input.txt", "input.gz"])
def test_a_reader_ends_after_the_lines_it_may_read(tmp_path: Path, lines_max: int, name: str) -> None:
    content = b"1\n2\n3\n4"
    first = listed(tmp_path, COMPRESS["gz"](content) if name.endswith("gz") else content, name)
    second = listed(tmp_path, b"5\n6\n", "second.txt")
    reader = RecordReader(plan_splits([first, second]), lines_max=lines_max)

    assert list(reader.lines()) == list("123456")[:lines_max]
    assert reader.is_finished
    assert list(reader.from_start().lines()) == list("123456")[:lines_max]


@every_codec
def test_the_byte_named_in_a_compressed_file_is_that_of_its_content(tmp_path: Path, codec: str) -> None:
    file = listed(tmp_path, COMPRESS[codec](b"line\n" * 100_000 + b"\xff\n"), f"a.{codec}")

    with pytest.raises(InputError, match=r"byte 500,000 of its content: b'\\xff'"):
        read(file)


@pytest.mark.parametrize("split_bytes", [1, 10, 99, 100, 101, 1000])
def test_a_line_is_refused_by_its_length_whatever_the_splits(tmp_path: Path, split_bytes: int) -> None:
    longest = listed(tmp_path, b"a\n" + b"b" * 100 + b"\nc\n")

    assert read(longest, split_bytes, line_bytes_max=100) == ["a", "b" * 100, "c"]
    with pytest.raises(
        InputError, match=r"input\.txt, byte 2: the line that begins there is longer.*line_bytes_max"
    ):
        read(longest, split_bytes, line_bytes_max=99)


def test_a_long_line_is_refused_without_reading_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    (zeros,) = list_input_files([str(path)])

    with pytest.raises(InputError, match="byte 0: the line that begins there is longer"):
        read(zeros, 1 << 41, line_bytes_max=1 << 20)


def test_a_line_too_long_in_a_compressed_file_is_refused(tmp_path: Path) -> None:
    file = listed(tmp_path, gzip.compress(b"a\n" + b"b" * 3_000_000), "a.gz")

    with pytest.raises(InputError, match=r"a\.gz, byte 2 of its content: the line that begins there"):
        read(file, line_bytes_max=1_000_000)


@every_codec
@pytest.mark.parametrize("cut_bytes", [1, 5, 12])
def test_a_truncated_compressed_file_is_named(tmp_path: Path, codec: str, cut_bytes: int) -> None:
    file = listed(tmp_path, COMPRESS[codec](os.urandom(1000).hex().encode())[:-cut_bytes], f"a.{codec}")

    with pytest.raises(InputError, match=rf"a\.{codec} is truncated or corrupt"):
        read(file)


@every_codec
def test_a_file_whose_second_member_is_damaged_is_named(tmp_path: Path, codec: str) -> None:
    second = bytearray(COMPRESS[codec](b"second\n" * 100))
    second[1] ^= 0xFF
    file = listed(tmp_path, COMPRESS[codec](b"first\n" * 100) + second, f"a.{codec}")

    with pytest.raises(InputError, match=rf"a\.{codec} is truncated or corrupt"):
        read(file)


@every_codec
def test_text_with_a_name_of_a_compressed_file_is_read_as_text(tmp_path: Path, codec: str) -> None:
    file = listed(tmp_path, b"plain text\n" * 10, f"a.{codec}")

    assert read(file, 7) == ["plain text"] * 10


@pytest.mark.parametrize("name", ["access.log.gz-20240101", "a.txt", "a"])
@every_codec
def test_compressed_content_is_read_whatever_the_name(tmp_path: Path, codec: str, name: str) -> None:
    file = listed(tmp_path, COMPRESS[codec](b"line\n" * 10) + COMPRESS[codec](b"more"), name)

    assert read(file, 7) == ["line"] * 10 + ["more"]


def tar_of(content: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("a.log")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (tar_of(b"line\n" * 1000), "a tar archive inside its NAME compression: unpack it"),
        ("line\n".encode("utf-16") * 9, "text in UTF-16LE inside its NAME compression: convert it to UTF-8"),
        (gzip.compress(b"line\n"), "compressed by gzip inside its NAME compression: decompress it once"),
        (os.urandom(9_000), "binary data inside its NAME compression: convert it to text"),
    ],
    ids=["tar", "UTF-16", "gzip", "binary"],
)
@pytest.mark.parametrize("errors", ["strict", "replace"])
@every_codec
def test_what_is_no_text_inside_a_compression_is_refused(
    tmp_path: Path, codec: str, content: bytes, what: str, errors: str
) -> None:
    file = listed(tmp_path, COMPRESS[codec](content), "a.tgz")

    with pytest.raises(InputError, match="a.tgz seems to be " + what.replace("NAME", CODEC_NAMES[codec])):
        read(file, encoding_errors=errors)


def test_binary_bytes_behind_text_are_not_to_be_replaced(tmp_path: Path) -> None:
    file = listed(tmp_path, b"line\n" * 2_000 + os.urandom(5_000))

    with pytest.raises(InputError, match="binary data") as caught:
        read(file)
    assert "encoding_errors" not in str(caught.value)


@every_codec
def test_a_truncated_file_says_how_much_of_its_content_could_be_read(tmp_path: Path, codec: str) -> None:
    numbers = random.Random(1)
    lines = 200_000 if codec == "bz2" else 20_000  # which has blocks of 900 kB
    content = b"".join(b"%d\n" % numbers.randrange(10**9) for _ in range(lines))
    whole = COMPRESS[codec](content)
    file = listed(tmp_path, whole[:-100], f"a.{codec}")

    with pytest.raises(InputError) as caught:
        read(file)
    found = re.search(r"reading stopped after ([\d,]+) bytes of content", str(caught.value))
    assert found is not None
    share = int(found[1].replace(",", "")) / len(content)
    assert share > (0.3 if codec in ("bz2", "zst") else 0.99)  # these give nothing of a block that is cut


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.write_bytes(b"other\n"),
        lambda path: path.write_bytes(b""),
        lambda path: os.utime(path, ns=(1, 1)),
    ],
    ids=["rewritten", "emptied", "touched"],
)
def test_a_file_changed_before_it_is_read_is_noticed(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    file = listed(tmp_path, b"line 1\nline 2\n")
    change(Path(file.path))

    with pytest.raises(InputOutdatedError, match=r"input\.txt changed"):
        read(file, 8)


def append(file: InputFile, content: bytes) -> None:
    with open(file.path, "ab") as other:
        other.write(content)


@pytest.mark.parametrize("split_bytes", [1, 4, 7, 9, 100])
@pytest.mark.parametrize("content", [b"line 1\nline 2\n", b"line 1\nline 2\nbegun", b"begun", b"line 1\n\n"])
def test_a_file_that_grew_is_read_up_to_its_last_complete_line(
    tmp_path: Path, content: bytes, split_bytes: int
) -> None:
    file = listed(tmp_path, content)
    complete = content[: content.rfind(b"\n") + 1].decode().splitlines()
    assert read(file, split_bytes) == content.decode().splitlines()
    append(file, b" and ended\nmore\n")

    assert read(file, split_bytes) == complete


def test_a_file_that_grows_while_it_is_read_is_read_to_its_listed_length(tmp_path: Path) -> None:
    file = listed(tmp_path, b"line\n" * 200_000 + b"begun")
    lines = RecordReader(plan_splits([file])).lines()
    first = next(lines)
    append(file, b" and ended\nmore\n")

    assert [first, *lines] == ["line"] * 200_000


@every_codec
def test_a_compressed_file_that_grew_is_read_up_to_its_last_complete_line(tmp_path: Path, codec: str) -> None:
    numbers = random.Random(2)
    content = b"".join(b"%d\n" % numbers.randrange(10**9) for _ in range(200_000))
    whole = COMPRESS[codec](content)
    file = listed(tmp_path, whole[: len(whole) * 2 // 3], f"a.{codec}")
    append(file, whole[len(whole) * 2 // 3 :])
    found = read(file)

    assert found == content.decode().splitlines()[: len(found)]
    assert 0 < len(found) < 200_000
    file = listed(tmp_path, COMPRESS[codec](b"line\nbegun"), f"b.{codec}")
    append(file, COMPRESS[codec](b" and ended\n"))
    assert read(file) == ["line"]


@every_codec
def test_a_compressed_file_that_is_damaged_is_so_also_when_it_has_grown(tmp_path: Path, codec: str) -> None:
    numbers = random.Random(4)
    content = b"".join(b"%d\n" % numbers.randrange(10**9) for _ in range(100_000))
    whole = bytearray(COMPRESS[codec](content))
    middle = len(whole) // 2
    whole[middle : middle + 100] = numbers.randbytes(100)
    file = listed(tmp_path, bytes(whole), f"a.{codec}")
    append(file, COMPRESS[codec](b"more\n"))

    with pytest.raises(InputError, match="is truncated or corrupt"):
        read(file)


def test_a_file_that_grew_is_an_error_where_only_whole_ones_may_be_read(tmp_path: Path) -> None:
    file = listed(tmp_path, b"line\n" * 200_000)
    lines = RecordReader(plan_splits([file]), whole_files=True).lines()
    next(lines)
    append(file, b"more\n")

    with pytest.raises(InputGrownError, match=r"1,000,000 bytes when listed, 1,000,005 now") as caught:
        list(lines)
    assert caught.value.path == file.path
    with pytest.raises(InputGrownError):
        next(RecordReader(plan_splits([file]), whole_files=True).lines())


def test_a_file_that_went_is_outdated(tmp_path: Path) -> None:
    file = listed(tmp_path, b"line\n")
    splits = plan_splits([file])
    os.unlink(file.path)

    with pytest.raises(InputOutdatedError, match="not there any more"):
        list(RecordReader(splits).lines())


@every_codec
def test_the_fingerprint_of_compressed_content_is_that_of_the_plain_file(tmp_path: Path, codec: str) -> None:
    content = b"line\n" * 100_000
    plain = listed(tmp_path, content, "plain")
    file = listed(tmp_path, COMPRESS[codec](content), f"a.{codec}")
    found: list[Fingerprint] = []
    reader = RecordReader(plan_splits([file]), on_content=lambda _, fingerprint: found.append(fingerprint))
    list(reader.lines())

    assert found == [fingerprint_of(plain.path, plain.size)]


def test_a_file_replaced_by_another_of_its_size_is_noticed(tmp_path: Path) -> None:
    file = listed(tmp_path, b"line 1\n")
    (tmp_path / "new").write_bytes(b"line 2\n")
    os.utime(tmp_path / "new", ns=(file.mtime_ns, file.mtime_ns))
    os.replace(tmp_path / "new", file.path)

    with pytest.raises(InputOutdatedError, match=r"input\.txt changed"):
        read(file)


def test_a_file_listed_in_the_middle_of_a_character_has_grown_and_is_not_wrong(tmp_path: Path) -> None:
    file = listed(tmp_path, "é".encode()[:1])
    (tmp_path / "input.txt").write_bytes("é\n".encode())

    assert read(file) == []


@every_codec
def test_a_compressed_file_that_changed_is_changed_and_not_corrupt(tmp_path: Path, codec: str) -> None:
    whole = COMPRESS[codec](b"line\n" * 1000)
    file = listed(tmp_path, whole, f"a.{codec}")
    (tmp_path / f"a.{codec}").write_bytes(whole[:-10])

    with pytest.raises(InputOutdatedError, match=rf"a\.{codec} changed"):
        read(file)


def test_a_file_removed_before_it_is_read_is_named(tmp_path: Path) -> None:
    file = listed(tmp_path, b"line\n")
    os.remove(file.path)

    with pytest.raises(RetryableError, match=r"input\.txt"):
        read(file)


def test_the_sample_hangs_on_the_name_below_the_input_folder_only(tmp_path: Path) -> None:
    content = b"line\n" * 1000
    kept = []
    for folder, name in (("here", "a"), ("there", "a"), ("there", "b")):
        (tmp_path / folder).mkdir(exist_ok=True)
        reader = RecordReader(plan_splits([listed(tmp_path / folder, content, name)]), downsample=0.5)
        kept.append([reader.location().offset for _ in reader.lines()])

    assert kept[0] == kept[1] != kept[2]
    assert 400 < len(kept[0]) < 600


def test_a_reader_that_kept_nothing_still_knows_where_it_is(tmp_path: Path) -> None:
    reader = RecordReader(plan_splits([listed(tmp_path, b"line\n" * 10)]), downsample=1e-9)
    lines = list(reader.lines())

    assert lines == []
    assert reader.records_read == 0
    assert reader.location().path.endswith("input.txt")


def test_the_same_lines_can_be_read_from_the_start(tmp_path: Path) -> None:
    reader = RecordReader(plan_splits([listed(tmp_path, b"1\n2\n3\n4\n5\n" * 20)]), downsample=0.7, seed=3)
    lines = reader.lines()
    first = next(lines)
    again = list(reader.from_start().lines())

    assert again == [first, *lines]


def test_progress_counts_lines_handed_out_and_bytes_read(tmp_path: Path) -> None:
    first, second = listed(tmp_path, b"1\n2\n", "a"), listed(tmp_path, b"3\n", "b")
    reader = RecordReader(plan_splits([first, second]))
    lines = reader.lines()
    seen = [(reader.records_read, next(lines)) for _ in range(3)]
    ended = next(lines, None)

    assert seen == [(0, "1"), (1, "2"), (2, "3")]
    assert ended is None
    assert (reader.records_read, reader.bytes_read) == (3, 6)


def test_bytes_are_read_when_their_lines_are_done_with(tmp_path: Path) -> None:
    files = [listed(tmp_path, b"123456789\n" * 5, name) for name in ("a", "b")]
    reader = RecordReader(plan_splits(files, 20))
    lines = reader.lines()
    seen = [(next(lines), reader.bytes_read)[1] for _ in range(10)]

    assert seen == [0, 10, 20, 30, 40, 50, 60, 70, 80, 90]
    assert next(lines, None) is None
    assert reader.bytes_read == 100


@every_codec
def test_bytes_of_a_compressed_file_are_read_in_proportion_to_its_lines(tmp_path: Path, codec: str) -> None:
    numbers = random.Random(1)
    content = b"".join(b"%d\n" % numbers.randrange(10**9) for _ in range(200_000))
    file = listed(tmp_path, COMPRESS[codec](content), "a")
    reader = RecordReader(plan_splits([file]))
    shares = [
        reader.bytes_read / file.size for number, _ in enumerate(reader.lines()) if number % 50_000 == 0
    ]

    margin = 0.3 if codec == "bz2" else 0.1  # which has blocks of 900 kB
    assert all(at / 4 - 0.1 < share < at / 4 + margin for at, share in enumerate(shares)), shares
    assert reader.bytes_read == file.size


def test_lines_that_are_passed_over_count_as_read(tmp_path: Path) -> None:
    file = listed(tmp_path, b"line\n" * 1_000_000)
    reader = RecordReader(plan_splits([file]), downsample=1e-5, seed=1)
    read_bytes = [reader.bytes_read for _ in reader.lines()]

    assert len(read_bytes) > 3
    assert read_bytes == sorted(read_bytes)
    assert reader.bytes_read == file.size


def test_portions_are_of_the_size_asked_for_and_end_within_long_lines(tmp_path: Path) -> None:
    long_line = b"x" * (9 * CHUNK_BYTES // 2)
    content = b"line\n" * 200_000 + b"\n".join([b"short", long_line, long_line + b"\r", b"after", b""])
    reader = RecordReader(plan_splits([listed(tmp_path, content)]))
    portions = []
    for portion in reader.portions(CHUNK_BYTES):
        portions.append((sum(len(line) + 1 for line in portion), reader.line_bytes))
    again = RecordReader(plan_splits([listed(tmp_path, content)]))

    within = [line_bytes for _, line_bytes in portions if line_bytes]
    assert max(size for size, line_bytes in portions if size < len(long_line)) <= 2 * CHUNK_BYTES
    first, second, *others = zip(within[::2], within[1::2], strict=True)  # of each long line
    assert all(CHUNK_BYTES <= begun <= doubled / 2 for begun, doubled in (first, second))
    assert not others
    assert sum(size for size, _ in portions) == len(content) - 1
    assert reader.is_finished
    assert [line for portion in again.portions(1) for line in portion] == content.decode().replace(
        "\r", ""
    ).splitlines()


def test_whoever_stops_within_a_portion_gets_no_other(tmp_path: Path) -> None:
    reader = RecordReader(plan_splits([listed(tmp_path, b"line\n" * 400_000)]))
    taken = [next(portion) for portion in reader.portions(1)]

    assert taken == ["line"]
    assert not reader.is_finished


def test_a_long_line_that_is_no_utf_8_is_named_by_its_byte(tmp_path: Path) -> None:
    file = listed(tmp_path, b"a\n" + b"x" * (3 * CHUNK_BYTES) + b"\xff\n")

    with pytest.raises(InputError, match=rf"byte {3 * CHUNK_BYTES + 2:,}: b'\\xff' is no UTF-8"):
        read(file)
    assert read(file, encoding_errors="replace")[1] == "x" * (3 * CHUNK_BYTES) + "\ufffd"
