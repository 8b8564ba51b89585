"""Input that cannot be read is an error that names the place; what can be read is read whole, however cut.

What `pymr run` makes of one error of each kind is in tests/local/test_input_errors.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import random
import socket
import tarfile

import pytest
from cluster.shared import SharedPlace

from pymr.base.zstd import zstd


@pytest.fixture
def place(shared_place: SharedPlace) -> SharedPlace:
    return shared_place


COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}


def random_text(seed: int, size: int = 20_000) -> bytes:
    source = random.Random(seed)
    return b"".join(
        b"%d %d\n" % (source.randrange(10**9), source.randrange(10**9)) for _ in range(size // 20)
    )


def test_compressed_file_without_a_byte_has_no_records(place: SharedPlace) -> None:
    place.feed_bytes(b"", "nothing.gz")
    place.feed("one", name="a.txt")
    for how in (["--inline"], ["--workers", "2"]):
        place.succeed(*how)
        assert place.items() == [["one", 1]]


def test_empty_input_fails_alike_where_it_is_not_allowed(place: SharedPlace) -> None:
    place.feed_bytes(b"", "nothing.gz")
    place.feed_bytes(b"", "nothing.txt")

    place.fail_everywhere("--set", "allow_empty=false", says=["no records", "allow_empty = false"])


def test_fifo_in_the_input_is_refused_without_opening_it(place: SharedPlace) -> None:
    os.mkfifo(place.input / "pipe")

    place.fail_everywhere(says=["pipe", "FIFO"])


def test_socket_in_the_input_is_refused(place: SharedPlace) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(place.input / "socket"))

        place.fail_everywhere(says=["input/socket", "a socket"])


def test_device_as_input_is_refused(place: SharedPlace) -> None:
    place.fail_everywhere("--input", "/dev/zero", says=["/dev/zero", "character device"])


def test_link_to_a_device_is_refused(place: SharedPlace) -> None:
    (place.input / "zeros").symlink_to("/dev/zero")

    place.fail_everywhere(says=["zeros", "character device"])


def test_link_that_leads_nowhere_is_left_out(place: SharedPlace) -> None:
    (place.input / "gone.txt").symlink_to("absent.txt")
    place.feed("one", name="a.txt")
    for how in (["--inline"], ["--workers", "2"]):
        place.succeed(*how)
        assert place.items() == [["one", 1]]


def test_folder_that_contains_itself_through_a_link_is_named(place: SharedPlace) -> None:
    (place.input / "again").symlink_to(place.input)

    place.fail_everywhere(says=["again", "contains it"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_truncated_compressed_file_is_named(place: SharedPlace, suffix: str) -> None:
    content = COMPRESSORS[suffix](random_text(1))
    place.feed_bytes(content[: len(content) // 2], f"cut.{suffix}")

    place.fail_everywhere(says=[f"cut.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_file_cut_in_its_header_is_named(place: SharedPlace, suffix: str) -> None:
    place.feed_bytes(COMPRESSORS[suffix](random_text(1))[:3], f"cut.{suffix}")

    place.fail_everywhere(says=[f"cut.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_file_without_its_last_byte_is_named(place: SharedPlace, suffix: str) -> None:
    place.feed_bytes(COMPRESSORS[suffix](random_text(1))[:-1], f"cut.{suffix}")

    place.fail("--workers", "2", says=[f"cut.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_flipped_byte_in_a_compressed_file_is_named(place: SharedPlace, suffix: str) -> None:
    content = bytearray(COMPRESSORS[suffix](random_text(2)))
    content[len(content) // 2] ^= 0x10
    place.feed_bytes(bytes(content), f"flipped.{suffix}")

    place.fail_everywhere(says=[f"flipped.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_the_content_tells_whether_a_file_is_compressed(place: SharedPlace, suffix: str) -> None:
    place.feed("plain", name=f"plain.{suffix}")
    place.feed_bytes(COMPRESSORS[suffix](b"compressed\n"), f"log.{suffix}-20240101")
    place.succeed()

    assert place.counts() == {"plain": 1, "compressed": 1}


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_archive_inside_a_compressed_file_is_named_with_what_to_do(place: SharedPlace, suffix: str) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(__file__, "a.txt")
    place.feed_bytes(COMPRESSORS[suffix](file.getvalue()), f"logs.tar.{suffix}")

    place.fail_everywhere(says=[f"logs.tar.{suffix}", "a tar archive inside its", "unpack it"])


def test_text_that_is_no_utf_8_at_all_is_named_with_what_to_do(place: SharedPlace) -> None:
    place.feed_bytes("a line\n".encode("utf-16"), "wide.txt")

    finished = place.fail("--workers", "2", says=["wide.txt", "UTF-16LE", "iconv"])
    assert "encoding_errors" not in finished.err


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_members_one_behind_another_are_all_read(place: SharedPlace, suffix: str) -> None:
    compressed = COMPRESSORS[suffix]
    place.feed_bytes(compressed(b"a b") + compressed(b" b\nc") + compressed(b""), f"members.{suffix}")
    place.succeed("--workers", "2")

    assert place.counts() == {"a": 1, "b": 2, "c": 1}


def test_bytes_that_are_no_utf8_are_named_under_strict(place: SharedPlace) -> None:
    place.feed("first line", name="a.txt")
    place.feed_bytes(b"good\nbad \xe9\xff\n", "latin.txt")

    place.fail_everywhere(says=["latin.txt", "byte 9", "encoding_errors"])


@pytest.mark.parametrize("split_bytes", [1, 50, 1_000_000])
def test_line_above_the_bound_is_named(place: SharedPlace, split_bytes: int) -> None:
    place.feed("short", "x" * 200, "short")

    place.fail(
        "--inline",
        *("--set", "engine.line_bytes_max=100", "--set", f"engine.split_bytes={split_bytes}"),
        says=["text.txt", "byte ", "engine.line_bytes_max"],
    )


@pytest.mark.parametrize("how", [["--workers", "1"], ["--inline"]])
def test_file_that_grows_while_it_is_read_is_read_as_it_was_listed(
    place: SharedPlace, how: list[str]
) -> None:
    grown = place.feed("a", "b")
    place.functions(f"""
        def words(line, auxiliary_data):
            with open({str(grown)!r}, "a") as file:
                file.write("more\\n")
            return [(line, 1)]
    """)
    place.succeed(*how)

    assert place.counts() == {"a": 1, "b": 1}


@pytest.mark.parametrize("how", [["--workers", "1"], ["--inline"]])
def test_file_that_vanishes_before_it_is_read_has_the_run_planned_anew(
    place: SharedPlace, how: list[str]
) -> None:
    place.feed("a", name="a.txt")
    gone = place.feed("b", name="b.txt")
    place.functions(f"""
        import os

        def words(line, auxiliary_data):
            if os.path.exists({str(gone)!r}):
                os.unlink({str(gone)!r})
            return [(line, 1)]
    """)
    place.succeed(*how)

    assert place.counts() == {"a": 1}


def test_file_that_changes_whenever_it_is_read_is_named(place: SharedPlace) -> None:
    changed = place.feed("a", "b")
    place.functions(f"""
        import os

        def words(line, auxiliary_data):
            os.utime({str(changed)!r}, ns=(1, os.stat({str(changed)!r}).st_mtime_ns + 1))
            return [(line, 1)]
    """)

    place.fail_everywhere("--set", "max_attempts=2", says=["text.txt", "changed while it was being read"])


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("split_bytes", [1, 7, 1_000])
def test_line_endings_are_no_part_of_a_line(place: SharedPlace, ending: bytes, split_bytes: int) -> None:
    place.functions("""
        def words(line, auxiliary_data):
            return [(line, 1)]
    """)
    place.feed_bytes(ending.join([b"one", b"two", b"", b"one", b""]), "ended.txt")
    place.feed_bytes(ending.join([b"one", b"three"]), "not_ended.txt")
    place.succeed("--inline", "--set", f"engine.split_bytes={split_bytes}")

    assert place.counts() == {"one": 3, "two": 1, "": 1, "three": 1}


@pytest.mark.parametrize("split_bytes", [1, 1_000])
def test_nothing_but_line_feeds_ends_a_line(place: SharedPlace, split_bytes: int) -> None:
    line = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h\x00i"
    place.functions("""
        def words(line, auxiliary_data):
            return [(line, 1)]
    """)
    place.feed_bytes(f"{line}\n{line}\r\n{line}".encode(), "odd.txt")
    place.succeed("--inline", "--set", f"engine.split_bytes={split_bytes}")

    assert place.counts() == {line: 3}


@pytest.mark.parametrize("split_bytes", [1, 2, 1_000])
def test_byte_order_mark_is_no_part_of_the_first_line(place: SharedPlace, split_bytes: int) -> None:
    place.feed_bytes("\ufeffa b\n\ufeffc\n".encode(), "marked.txt")
    place.succeed("--inline", "--set", f"engine.split_bytes={split_bytes}")

    assert place.counts() == {"a": 1, "b": 1, "\ufeffc": 1}


def test_hidden_files_and_side_files_of_outputs_are_no_input(place: SharedPlace) -> None:
    place.feed("a")
    for name in (".hidden", "_manifest.json", "_bad_records.jsonl", ".folder/text.txt"):
        place.feed("b", name=name)
    place.succeed()

    assert place.counts() == {"a": 1}
