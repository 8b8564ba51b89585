"""`pymr run` on input that cannot be read: an error that names the place, and nothing left behind."""

from __future__ import annotations

import bz2
import ctypes
import gzip
import lzma
import os
import random
import socket
from pathlib import Path

import pytest
from cluster.running import Place, parts_of

from pymr.engine.zstd import zstd

COMPRESSORS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd.compress}

_CAPABILITY_DAC_OVERRIDE, _CAPABILITY_DAC_READ_SEARCH = 1, 2
_PR_CAPBSET_DROP = 24


def drop_rights_over_files() -> None:
    """In the child before it becomes pymr: root loses what makes modes of files void for it."""
    for capability in (_CAPABILITY_DAC_OVERRIDE, _CAPABILITY_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def random_text(seed: int, size: int = 20_000) -> bytes:
    source = random.Random(seed)
    return b"".join(
        b"%d %d\n" % (source.randrange(10**9), source.randrange(10**9)) for _ in range(size // 20)
    )


def test_missing_input_folder_is_named_with_what_to_do(place: Place) -> None:
    place.job(input_dirs=["nowhere"])

    place.fail_everywhere(says=["nowhere", "No such file or directory", "--input"])


def test_missing_folder_given_by_option_is_named(place: Place) -> None:
    place.fail_everywhere("--input", place.folder / "absent", says=["absent"])


def test_empty_input_folder_gives_an_output_without_parts(place: Place) -> None:
    place.succeed("--workers", "2")

    assert parts_of(place.output) == {}
    assert (place.output / "_manifest.json").exists()


def test_empty_files_of_every_kind_give_no_records(place: Place) -> None:
    place.feed_bytes(b"", "empty.txt")
    place.feed_bytes(gzip.compress(b""), "empty.gz")
    place.feed_bytes(zstd.compress(b""), "empty.zst")
    place.feed_bytes(b"\xef\xbb\xbf", "mark.txt")
    finished = place.succeed("--workers", "2")

    assert "records in      0" in finished.out
    assert parts_of(place.output) == {}


def test_compressed_file_without_a_byte_is_a_truncated_one(place: Place) -> None:
    place.feed_bytes(b"", "nothing.gz")

    place.fail_everywhere(says=["nothing.gz", "truncated"])


def test_file_without_permission_to_read_is_named(place: Place) -> None:
    place.feed("a", name="readable.txt")
    place.feed("b", name="secret.txt").chmod(0)

    place.fail_everywhere(says=["secret.txt", "ermission denied"], preexec_fn=drop_rights_over_files)


def test_folder_without_permission_to_read_is_named(place: Place) -> None:
    place.feed("b", name="closed/text.txt")
    (place.input / "closed").chmod(0)

    place.fail_everywhere(says=["closed", "ermission denied"], preexec_fn=drop_rights_over_files)


def test_fifo_in_the_input_is_refused_without_opening_it(place: Place) -> None:
    os.mkfifo(place.input / "pipe")

    place.fail_everywhere(says=["pipe", "FIFO"])


def test_socket_in_the_input_is_refused(place: Place) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(place.input / "socket"))

        place.fail_everywhere(says=["input/socket", "a socket"])


def test_device_as_input_is_refused(place: Place) -> None:
    place.fail_everywhere("--input", "/dev/zero", says=["/dev/zero", "character device"])


def test_link_to_a_device_is_refused(place: Place) -> None:
    (place.input / "zeros").symlink_to("/dev/zero")

    place.fail_everywhere(says=["zeros", "character device"])


def test_link_that_leads_nowhere_is_named(place: Place) -> None:
    (place.input / "gone.txt").symlink_to("absent.txt")

    place.fail_everywhere(says=["gone.txt"])


def test_folder_that_contains_itself_through_a_link_is_named(place: Place) -> None:
    (place.input / "again").symlink_to(place.input)

    place.fail_everywhere(says=["again", "contains it"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_truncated_compressed_file_is_named(place: Place, suffix: str) -> None:
    content = COMPRESSORS[suffix](random_text(1))
    place.feed_bytes(content[: len(content) // 2], f"cut.{suffix}")

    place.fail_everywhere(says=[f"cut.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_file_cut_in_its_header_is_named(place: Place, suffix: str) -> None:
    place.feed_bytes(COMPRESSORS[suffix](random_text(1))[:3], f"cut.{suffix}")

    place.fail_everywhere(says=[f"cut.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_file_without_its_last_byte_is_named(place: Place, suffix: str) -> None:
    place.feed_bytes(COMPRESSORS[suffix](random_text(1))[:-1], f"cut.{suffix}")

    place.fail("--workers", "2", says=[f"cut.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz"])
def test_flipped_byte_in_a_compressed_file_is_named(place: Place, suffix: str) -> None:
    content = bytearray(COMPRESSORS[suffix](random_text(2)))
    content[len(content) // 2] ^= 0x10
    place.feed_bytes(bytes(content), f"flipped.{suffix}")

    place.fail_everywhere(says=[f"flipped.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_plain_text_under_a_compressed_name_is_named(place: Place, suffix: str) -> None:
    place.feed("this is plain text", name=f"plain.{suffix}")

    place.fail_everywhere(says=[f"plain.{suffix}", "truncated or corrupt"])


@pytest.mark.parametrize("suffix", COMPRESSORS)
def test_compressed_members_one_behind_another_are_all_read(place: Place, suffix: str) -> None:
    compressed = COMPRESSORS[suffix]
    place.feed_bytes(compressed(b"a b") + compressed(b" b\nc") + compressed(b""), f"members.{suffix}")
    place.succeed("--workers", "2")

    assert place.counts() == {"a": 1, "b": 2, "c": 1}


def test_bytes_that_are_no_utf8_are_named_under_strict(place: Place) -> None:
    place.feed("first line", name="a.txt")
    place.feed_bytes(b"good\nbad \xe9\xff\n", "latin.txt")

    place.fail_everywhere(says=["latin.txt", "byte 9", "encoding_errors"])


def test_bytes_that_are_no_utf8_are_named_at_the_same_place_for_any_split(place: Place) -> None:
    place.feed_bytes(b"good words\n" * 30 + b"bad \xe9\n", "latin.txt")

    place.fail("--set", "engine.split_bytes=7", "--workers", "2", says=["latin.txt", "byte 334"])


@pytest.mark.parametrize("split_bytes", [1, 50, 1_000_000])
def test_line_above_the_bound_is_named(place: Place, split_bytes: int) -> None:
    place.feed("short", "x" * 200, "short")

    place.fail_everywhere(
        *("--set", "engine.line_bytes_max=100", "--set", f"engine.split_bytes={split_bytes}"),
        says=["text.txt", "byte ", "engine.line_bytes_max"],
    )


def test_line_of_exactly_the_bound_is_read(place: Place) -> None:
    place.feed("short", "x" * 100, "y" * 100)
    place.succeed("--set", "engine.line_bytes_max=100", "--set", "engine.split_bytes=30")

    assert place.counts() == {"short": 1, "x" * 100: 1, "y" * 100: 1}


def test_file_that_grows_while_it_is_read_is_named(place: Place) -> None:
    grown = place.feed("a", "b")
    place.functions(f"""
        def words(line, auxiliary_data):
            with open({str(grown)!r}, "a") as file:
                file.write("more\\n")
            return [(line, 1)]
    """)

    place.fail("--workers", "1", says=["text.txt", "changed while it was being read"])


def test_file_that_vanishes_before_it_is_read_is_named(place: Place) -> None:
    place.feed("a", name="a.txt")
    gone = place.feed("b", name="b.txt")
    place.functions(f"""
        import os

        def words(line, auxiliary_data):
            os.unlink({str(gone)!r})
            return [(line, 1)]
    """)

    place.fail("--workers", "1", says=["b.txt", "No such file"])


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("split_bytes", [1, 7, 1_000])
def test_line_endings_are_no_part_of_a_line(place: Place, ending: bytes, split_bytes: int) -> None:
    place.functions("""
        def words(line, auxiliary_data):
            return [(line, 1)]
    """)
    place.feed_bytes(ending.join([b"one", b"two", b"", b"one", b""]), "ended.txt")
    place.feed_bytes(ending.join([b"one", b"three"]), "not_ended.txt")
    place.succeed("--set", f"engine.split_bytes={split_bytes}", "--workers", "2")

    assert place.counts() == {"one": 3, "two": 1, "": 1, "three": 1}


@pytest.mark.parametrize("split_bytes", [1, 1_000])
def test_nothing_but_line_feeds_ends_a_line(place: Place, split_bytes: int) -> None:
    line = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h\x00i"
    place.functions("""
        def words(line, auxiliary_data):
            return [(line, 1)]
    """)
    place.feed_bytes(f"{line}\n{line}\r\n{line}".encode(), "odd.txt")
    place.succeed("--set", f"engine.split_bytes={split_bytes}", "--workers", "2")

    assert place.counts() == {line: 3}


@pytest.mark.parametrize("split_bytes", [1, 2, 1_000])
def test_byte_order_mark_is_no_part_of_the_first_line(place: Place, split_bytes: int) -> None:
    place.feed_bytes("\ufeffa b\n\ufeffc\n".encode(), "marked.txt")
    place.succeed("--set", f"engine.split_bytes={split_bytes}", "--workers", "2")

    assert place.counts() == {"a": 1, "b": 1, "\ufeffc": 1}


def test_hidden_files_and_side_files_of_outputs_are_no_input(place: Place) -> None:
    place.feed("a")
    for name in (".hidden", "_manifest.json", "_bad_records.jsonl", ".folder/text.txt"):
        place.feed("b", name=name)
    place.succeed()

    assert place.counts() == {"a": 1}


def test_file_names_that_are_no_utf8_are_read_and_named(place: Place) -> None:
    path = Path(os.fsdecode(os.fsencode(place.input) + b"/caf\xe9.txt"))
    path.write_text("a\n")
    place.succeed()

    assert place.counts() == {"a": 1}

    place.functions("""
        def words(line, auxiliary_data):
            raise ValueError("no " + line)
    """)
    finished = place.run("--set", "max_attempts=1")

    assert finished.status == 1
    finished.says("caf", "byte 0", "no a")
