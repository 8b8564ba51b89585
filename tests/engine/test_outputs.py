"""Outputs: what a line looks like, which files there are, and what is refused."""

from __future__ import annotations

import datetime
import enum
import gc
import gzip
import json
import os
import sys
import uuid
from collections import OrderedDict, namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pymr.base import faults
from pymr.base.errors import DiskError, OutputError
from pymr.base.zstd import zstd
from pymr.engine.disk.keys import show
from pymr.engine.outputs import OutputWriter, Part, encode_lines, encode_pieces

SUFFIXES = {"none": "", "gzip": ".gz", "zstd": ".zst"}
every_compression = pytest.mark.parametrize("compression", sorted(SUFFIXES))
Pair = namedtuple("Pair", "key value")


def write(folder: Path, items: Any, **options: Any) -> list[Part]:
    writer = OutputWriter(str(folder), 3, **options)
    writer.write(items)
    return writer.parts


def content(path: Path) -> bytes:
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    return zstd.decompress(data) if path.suffix == ".zst" else data


@pytest.mark.parametrize("items_count", [0, 1, 9, 10, 11, 20, 95])
@every_compression
def test_a_new_file_begins_after_exactly_the_bound_of_items(
    tmp_path: Path, items_count: int, compression: str
) -> None:
    parts = write(tmp_path, ((n, "é") for n in range(items_count)), max_items=10, compression=compression)

    files = -(-items_count // 10)
    names = [f"part-00003-{number:04d}.jsonl{SUFFIXES[compression]}" for number in range(files)]
    sizes = [10] * (items_count // 10) + [items_count % 10] * (items_count % 10 > 0)
    assert [part.name for part in parts] == sorted(os.listdir(tmp_path)) == names
    assert [part.items for part in parts] == sizes
    assert [part.length for part in parts] == [os.path.getsize(tmp_path / name) for name in names]
    lines = b"".join(content(tmp_path / name) for name in names).decode().splitlines()
    assert lines == [f'[{number},"é"]' for number in range(items_count)]


def test_a_bound_far_from_the_size_of_a_batch_is_kept_exactly(tmp_path: Path) -> None:
    parts = write(tmp_path, ((n, n) for n in range(20_011)), max_items=5_003)

    assert [part.items for part in parts] == [5003, 5003, 5003, 5002]


@every_compression
def test_the_same_items_give_the_same_bytes(tmp_path: Path, compression: str) -> None:
    folders = [tmp_path / "first", tmp_path / "longer name of the second"]
    for folder in folders:
        folder.mkdir()
        write(folder, ((n, "value") for n in range(5000)), compression=compression)

    first, second = ((folder / f"part-00003-0000.jsonl{SUFFIXES[compression]}") for folder in folders)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (("a", None), '["a",null]'),
        ((None, True), "[null,true]"),
        (("a", 1 << 100), f'["a",{1 << 100}]'),
        (("a", -(1 << 64)), f'["a",{-(1 << 64)}]'),
        (("a", {7: 2, None: 3, True: 4}), '["a",{"7":2,"null":3,"true":4}]'),
        ((("a", (1, "b")), [1, (2,)]), '[["a",[1,"b"]],[1,[2]]]'),
        (["a", 1], '["a",1]'),
        (Pair("a", Pair(1, None)), '["a",[1,null]]'),
        (("a", Pair(1, 2)), '["a",[1,2]]'),
        (("a", OrderedDict(b=1)), '["a",{"b":1}]'),
        (("null", "null"), '["null","null"]'),
        (("\u2028\x85\n\r", "é𝄞"), '["\u2028\x85\\n\\r","é𝄞"]'),
        (("a", 0.1 + 0.2), '["a",0.30000000000000004]'),
        (("a", -0.0), '["a",-0.0]'),
        (("a", (1 << 64) - 1), f'["a",{(1 << 64) - 1}]'),
    ],
    ids=repr,
)
def test_an_item_is_one_line_that_loses_nothing(item: Any, line: str) -> None:
    assert encode_lines([item]).decode() == line + "\n"


def test_items_of_all_kinds_stand_in_one_batch_in_their_order() -> None:
    items = [("a", 1), ("b", None), ("c", [0.5, None]), ("d", 1 << 70), ["e", {1: 2}], Pair("f", "null")]

    lines = encode_lines(items).decode().splitlines()

    assert [json.loads(line)[0] for line in lines] == ["a", "b", "c", "d", "e", "f"]


NAN, INFINITY = float("nan"), float("inf")


class Ratio(enum.Enum):
    UNKNOWN = NAN


WITHOUT_A_NUMBER = {
    "a value": (("a", NAN), '["a",null]'),
    "an infinity": (("a", -INFINITY), '["a",null]'),
    "a key": ((INFINITY, 1), "[null,1]"),
    "part of a key": ((("a", NAN), 1), '[["a",null],1]'),
    "nested": (("a", [1.5, {"b": (None, [NAN])}]), '["a",[1.5,{"b":[null,[null]]}]]'),
    "beside a big integer": (("a", [1 << 70, NAN]), f'["a",[{1 << 70},null]]'),
    "in a dict with keys that are no str": (("a", {1: INFINITY}), '["a",{"1":null}]'),
    "a key of a dict": (("a", {NAN: 1}), '["a",{"null":1}]'),
    "in an enumeration": (("a", Ratio.UNKNOWN), '["a",null]'),
    "beside a date": (("a", [datetime.date(2024, 1, 2), NAN]), '["a",["2024-01-02",null]]'),
    "in a named tuple": (("a", Pair(NAN, 1)), '["a",[null,1]]'),
}


@pytest.mark.parametrize("kind", WITHOUT_A_NUMBER)
@pytest.mark.parametrize("others", [0, 5000])
def test_what_json_has_no_number_for_is_an_error_or_null(kind: str, others: int) -> None:
    item, line = WITHOUT_A_NUMBER[kind]
    plain = [("plain", None)] * others
    with pytest.raises(OutputError, match="JSON has no number") as caught:
        encode_lines([*plain, item])
    written = encode_lines([*plain, item], "null").decode().splitlines()

    assert show(item) in str(caught.value)
    assert 'nan = "null"' in str(caught.value)
    assert written == ['["plain",null]'] * others + [line]


@pytest.mark.parametrize(
    "value",
    [
        "NaN",
        "null",
        "\xcb\x7f\xf0",
        0x7FF0000000000000,
        -(2**52),
        1.7976931348623157e308,
        5e-324,
        [None] * 300,
    ],
    ids=repr,
)
def test_what_looks_like_none_or_like_no_number_is_written(value: Any) -> None:
    assert json.loads(encode_lines([("a", None), ("b", value)]).splitlines()[1]) == ["b", value]


@pytest.mark.parametrize(
    "item",
    [(1, 2, 3), (1,), (), "ab", b"ab", 5, None, {"a": 1, "b": 2}, {1, 2}, range(2), [1, 2, 3]],
    ids=repr,
)
def test_what_is_no_pair_is_refused_and_shown(item: Any) -> None:
    with pytest.raises(OutputError) as caught:
        encode_lines([("fine", 1), item])

    assert repr(item) in str(caught.value)


@pytest.mark.parametrize(
    "value", [b"bytes", {1, 2}, object, 1j, "\ud800", {(1, 2): 3}, {b"a": 1}, [b"a", None]], ids=repr
)
def test_what_has_no_json_form_is_refused_and_shown(value: Any) -> None:
    with pytest.raises(OutputError) as caught:
        encode_lines([("fine", 1), ("bad", value)])

    assert "'bad'" in str(caught.value)


@pytest.mark.parametrize("value", [datetime.date(2024, 1, 2), uuid.UUID(int=1)], ids=repr)
@pytest.mark.parametrize("beside", [None, 1 << 70, {1: 2}], ids=repr)
def test_whether_a_value_is_accepted_does_not_hang_on_what_stands_beside_it(value: Any, beside: Any) -> None:
    accepted = []
    for item in (("key", [value]), ("key", [value, beside])):
        try:
            encode_lines([item])
        except OutputError:
            accepted.append(False)
        else:
            accepted.append(True)

    assert accepted[0] == accepted[1]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def test_a_value_nested_deep_is_written_and_one_nested_without_end_refused() -> None:
    itself: list[Any] = []
    itself.append(itself)

    assert json.loads(encode_lines([("key", nested(300))])) == ["key", nested(300)]
    with pytest.raises(OutputError):
        encode_lines([("key", nested(100_000))])
    with pytest.raises(OutputError):
        encode_lines([("key", itself)])


def test_what_the_iterable_raises_passes_through(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, ((n, 1 // (5 - n)) for n in range(10)))


@every_compression
def test_a_writer_that_is_interrupted_leaves_no_failing_finaliser(
    tmp_path: Path, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = []
    monkeypatch.setattr(sys, "unraisablehook", failures.append)
    with pytest.raises(ZeroDivisionError):
        write(tmp_path, ((n, 1 // (500 - n)) for n in range(1000)), compression=compression)
    gc.collect()

    assert failures == []


@pytest.mark.parametrize("items_count", [1, 300_000])
@every_compression
def test_a_disk_that_is_full_is_an_error_of_the_disk(
    tmp_path: Path, compression: str, items_count: int
) -> None:
    name = f"part-00003-0000.jsonl{SUFFIXES[compression]}"
    (tmp_path / name).symlink_to("/dev/full")

    with pytest.raises(DiskError, match=rf"{name} failed: No space left.*free some space"):
        write(tmp_path, ((n, "x" * 20) for n in range(items_count)), compression=compression)


@pytest.mark.parametrize("point", ["output.write", "output.fsync"])
@every_compression
def test_a_fault_while_writing_is_an_error_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, compression: str
) -> None:
    monkeypatch.setattr(faults, "_faults", {point: [("enospc", 2)]})
    monkeypatch.setattr(faults, "_passes", {})

    with pytest.raises(DiskError, match="No space left"):
        write(tmp_path, ((n, n) for n in range(20)), max_items=10, compression=compression)


def test_a_folder_that_does_not_exist_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="absent"):
        write(tmp_path / "absent", [("a", 1)])


def test_many_bytes_are_written_in_pieces_that_say_the_same() -> None:
    items = [(number, "x" * 300_000) for number in range(9)]
    pieces = list(encode_pieces(items))

    assert max(map(len, pieces)) <= 1 << 20
    assert b"".join(pieces) == encode_lines(items)
    assert [tuple(json.loads(line)) for line in b"".join(pieces).splitlines()] == items


def test_a_portion_is_written_before_another_is_asked_for(tmp_path: Path) -> None:
    writer = OutputWriter(str(tmp_path), 3, max_items=4)
    written: list[int] = []

    def portions() -> Iterator[list[tuple[int, None]]]:
        for number in range(5):
            yield [(number * 3 + at, None) for at in range(3)]
            written.append(sum(part.items for part in writer.parts))

    writer.write_portions(portions())

    assert [part.items for part in writer.parts] == [4, 4, 4, 3]
    assert written == [0, 4, 8, 12, 12]
