"""`pymr run` on input that cannot be read: an error that names the place, and nothing left behind.

One error of each kind; all others, which only the engine decides on, stand in test_input_errors.
"""

from __future__ import annotations

import ctypes
import gzip
import os
from pathlib import Path

import pytest
from cluster.running import Place, parts_of

from pymr.base.zstd import zstd

_CAPABILITY_DAC_OVERRIDE, _CAPABILITY_DAC_READ_SEARCH = 1, 2
_PR_CAPBSET_DROP = 24


def drop_rights_over_files() -> None:
    """In the child before it becomes pymr: root loses what makes modes of files void for it."""
    for capability in (_CAPABILITY_DAC_OVERRIDE, _CAPABILITY_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


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
    place.feed_bytes(b"", "nothing.gz")
    (place.input / "broken").symlink_to("absent")
    for how in (["--workers", "2"], ["--inline"]):
        finished = place.succeed(*how)

        assert "records in      0" in finished.out
        assert f"{place.input}/broken is a link that leads nowhere, and was left out" in finished.out
        assert "warning         the input has no records: the output is empty" in finished.out
        assert parts_of(place.output) == {}


def test_file_without_permission_to_read_is_named(place: Place) -> None:
    place.feed("a", name="readable.txt")
    place.feed("b", name="secret.txt").chmod(0)

    place.fail_everywhere(says=["secret.txt", "ermission denied"], preexec_fn=drop_rights_over_files)


def test_folder_without_permission_to_read_is_named(place: Place) -> None:
    place.feed("b", name="closed/text.txt")
    (place.input / "closed").chmod(0)

    place.fail_everywhere(says=["closed", "ermission denied"], preexec_fn=drop_rights_over_files)


def test_truncated_compressed_file_is_named(place: Place) -> None:
    content = gzip.compress(b"a line of text\n" * 1_000)
    place.feed_bytes(content[: len(content) // 2], "cut.gz")

    place.fail_everywhere(says=["cut.gz", "truncated or corrupt"])


def test_bytes_that_are_no_utf8_are_named_at_the_same_place_for_any_split(place: Place) -> None:
    place.feed_bytes(b"good words\n" * 30 + b"bad \xe9\n", "latin.txt")

    place.fail("--set", "engine.split_bytes=7", "--workers", "2", says=["latin.txt", "byte 334"])


def test_line_above_the_bound_is_named(place: Place) -> None:
    place.feed("short", "x" * 200, "short")

    place.fail_everywhere(
        *("--set", "engine.line_bytes_max=100", "--set", "engine.split_bytes=50"),
        says=["text.txt", "byte ", "engine.line_bytes_max"],
    )


def test_line_of_exactly_the_bound_is_read(place: Place) -> None:
    place.feed("short", "x" * 100, "y" * 100)
    place.succeed("--set", "engine.line_bytes_max=100", "--set", "engine.split_bytes=30")

    assert place.counts() == {"short": 1, "x" * 100: 1, "y" * 100: 1}


@pytest.mark.parametrize("split_bytes", [1, 7])
def test_neither_line_endings_nor_a_byte_order_mark_are_part_of_a_line(
    place: Place, split_bytes: int
) -> None:
    line = "a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h\x00i"
    place.functions("""
        def words(line, auxiliary_data):
            return [(line, 1)]
    """)
    for name, ending in (("unix.txt", b"\n"), ("windows.txt", b"\r\n")):
        place.feed_bytes(ending.join([b"one", b"two", b"", b"one", b""]), name)
        place.feed_bytes(ending.join([b"one", b"three"]), f"not_ended_{name}")
    place.feed_bytes(f"{line}\n{line}\r\n{line}".encode(), "odd.txt")
    place.feed_bytes("\ufeffone\n\ufefffour\n".encode(), "marked.txt")
    place.succeed("--set", f"engine.split_bytes={split_bytes}", "--workers", "2")

    counts = {"one": 7, "two": 2, "": 2, "three": 2, line: 3, "\ufefffour": 1}
    assert place.counts() == counts


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
