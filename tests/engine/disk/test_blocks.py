"""Blocks: what is refused, and with which words; how large they become."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import msgpack
import pytest
from strategies import write_run

from pymr.base import faults
from pymr.base.errors import CorruptBlockError, DiskError, RecordError
from pymr.engine.disk import blocks
from pymr.engine.disk.blocks import (
    BLOCK_VALUES_MAX,
    CODECS,
    Block,
    BlockWriter,
    Singles,
    check_item,
    count_values,
    decode_block,
    encode_block,
    frame_payload,
    largest_block,
    new_packer,
    read_blocks,
    weight_of,
)


def encoded(*pairs: tuple[Any, list[Any]], codec: str = "none") -> bytes:
    block = Block([key for key, _ in pairs], [values for _, values in pairs])
    return b"".join(encode_block(block, codec, new_packer()))


def nested(depth: int) -> Any:
    value: Any = ()
    for _ in range(depth - 1):
        value = (value,)
    return value


def depth_of(value: Any) -> int:
    """By hand, as comparing values so deep would overflow the stack of Python."""
    depth = 1
    while value:
        (value,) = value
        depth += 1
    return depth


@pytest.mark.parametrize(
    "value", [{1, 2}, object(), 1 << 64, -(1 << 63) - 1, 1j, "\ud800", [1, {2: {3}}], range(3)]
)
def test_a_value_that_cannot_be_carried_is_shown_with_its_key(value: object) -> None:
    with pytest.raises(RecordError) as caught:
        encoded(("fine", [1]), ("bad", [1, value]))

    assert repr(value) in str(caught.value)
    assert "'bad'" in str(caught.value)


@pytest.mark.parametrize("key", [1 << 64, "\ud800", ("a", 1 << 70)])
def test_a_key_that_cannot_be_carried_is_shown(key: object) -> None:
    with pytest.raises(RecordError) as caught:
        encoded(("fine", [1]), (key, [1]))

    assert repr(key) in str(caught.value)


@pytest.mark.parametrize("depth", [100, 509, 512, *range(1018, 1030)])
def test_a_deep_value_is_refused_with_its_key_or_comes_back(depth: int) -> None:
    value = nested(depth)
    try:
        data = encoded(("deep", [value]))
    except RecordError as error:
        refusal = str(error)
    else:
        refusal = ""
        assert depth_of(decode_block(data, "run", 0).lists[0][0]) == depth

    assert not refusal or "'deep'" in refusal


@pytest.mark.parametrize(
    "value", [[1], (1, [2, ()]), {"a": [1]}, b"\xff", None, float("inf"), -(1 << 63), {}]
)
def test_an_item_that_can_be_carried_passes(value: object) -> None:
    refused = check_item("key", value)

    assert refused is None


@pytest.mark.parametrize("key", [[1], {}, ([1],), float("nan"), (1, (float("nan"),)), 1j, frozenset()])
def test_a_key_that_can_form_no_group_is_refused(key: object) -> None:
    with pytest.raises(RecordError) as caught:
        check_item(key, 1)

    assert repr(key) in str(caught.value)


@pytest.mark.parametrize("codec", CODECS)
def test_a_block_of_another_version_says_which(tmp_path: Path, codec: str) -> None:
    writer = BlockWriter(str(tmp_path / "run"), codec=codec)
    run = write_run(writer, [("a", 1)])
    writer.close()
    with open(run.path, "r+b") as file:
        file.seek(4)
        file.write(b"\x63")

    with pytest.raises(CorruptBlockError, match="version 99"):
        list(read_blocks(run))


def test_a_payload_that_is_no_msgpack_is_a_corrupt_block() -> None:
    data = b"".join(frame_payload(b"\xc1", 1, 1, "none", False))

    with pytest.raises(CorruptBlockError, match="byte 7 of run"):
        decode_block(data, "run", 7)


def test_a_payload_that_is_no_pair_of_columns_is_a_corrupt_block() -> None:
    data = b"".join(frame_payload(msgpack.packb(1), 1, 1, "none", False))

    with pytest.raises(CorruptBlockError, match="byte 7 of run"):
        decode_block(data, "run", 7)


def test_a_missing_file_is_an_error_of_the_disk(tmp_path: Path) -> None:
    writer = BlockWriter(str(tmp_path / "run"))
    run = write_run(writer, [("a", 1)])
    writer.close()
    os.remove(run.path)

    with pytest.raises(DiskError, match=run.path):
        list(read_blocks(run))


def test_several_runs_in_one_file_are_read_apart(tmp_path: Path) -> None:
    writer = BlockWriter(str(tmp_path / "runs"))
    runs = [write_run(writer, [(number, "value")], partition=number) for number in range(3)]
    writer.close()

    assert [run.partition for run in runs] == [0, 1, 2]
    assert [list(read_blocks(run)) for run in runs] == [[((n,), (("value",),), False)] for n in range(3)]


def test_no_block_holds_more_values_than_its_bound(tmp_path: Path) -> None:
    writer = BlockWriter(str(tmp_path / "run"))
    run = write_run(writer, [(0, 0), *((1, at) for at in range(3 * BLOCK_VALUES_MAX)), (2, 0)])
    writer.close()

    sizes = [sum(map(len, block.lists)) for block in read_blocks(run)]
    assert max(sizes) <= BLOCK_VALUES_MAX
    assert sum(sizes) == run.values == 3 * BLOCK_VALUES_MAX + 2


def test_writing_a_key_of_large_values_takes_the_memory_of_a_few_blocks(tmp_path: Path) -> None:
    value = bytes(50_000)
    writer = BlockWriter(str(tmp_path / "run"), block_bytes=100_000)
    writer.begin_run(0)
    tracemalloc.start()
    writer.write(Block(["key"], [[value] * 400]))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    writer.close()

    assert peak_bytes < 5_000_000


def test_a_full_disk_is_an_error_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "run"
    path.symlink_to("/dev/full")
    writer = BlockWriter(str(path))

    with pytest.raises(DiskError, match="free some space"):
        write_run(writer, [("a", 1)])
    writer.close()


def test_a_fault_point_stands_at_each_write_of_a_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "_faults", {"block.write": [("enospc", 2)]})
    monkeypatch.setattr(faults, "_passes", {})
    writer = BlockWriter(str(tmp_path / "run"))
    write_run(writer, [("a", 1)])

    with pytest.raises(DiskError, match="No space left"):
        write_run(writer, [("b", 1)])
    writer.close()


def test_large_values_are_weighed_before_they_are_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded_values = []

    def watched(block: Block, codec: str, packer: msgpack.Packer) -> Any:
        encoded_values.append(count_values(block.lists))
        return encode_block(block, codec, packer)

    monkeypatch.setattr(blocks, "encode_block", watched)
    writer = BlockWriter(str(tmp_path / "run"), block_bytes=1_000)
    writer.weighs_values = True
    writer.begin_run(0)
    large = [{"text": ["x" * 10_000]}, ("y" * 10_000, 1), "z" * 10_000]
    writer.write(Block(["a", "b", "c"], [large, [1, 2], large]))
    run = writer.end_run()
    writer.close()

    assert max(encoded_values[:3] + encoded_values[-3:]) == 1
    assert largest_block(run) > 10_000
    back = [value for block in read_blocks(run) for values in block.lists for value in values]
    assert len(back) == 8
    assert back[0] == {"text": ("x" * 10_000,)}


def test_weight_counts_what_is_nested() -> None:
    nested_value = {"a": [("x" * 1_000, {"b": "y" * 1_000})]}

    assert weight_of(Block(["key"], [[nested_value]])) > 2_000
    assert weight_of(Block(["key"], Singles(["x" * 1_000]))) > 1_000
    assert weight_of(Block(list(range(100)), Singles([1] * 100))) < 10_000
