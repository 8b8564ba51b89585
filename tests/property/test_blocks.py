"""Blocks come back as they were written, or not at all."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import carried, exactly, few_keys, grouped, keys, scratch_folder, values, write_run

from pymr.base.errors import CorruptBlockError
from pymr.engine.disk.blocks import (
    CODECS,
    Block,
    BlockWriter,
    SortedRun,
    decode_block,
    encode_block,
    new_packer,
    read_blocks,
)

codecs = st.sampled_from(CODECS)
columns = st.lists(st.tuples(keys, st.lists(values, min_size=1, max_size=3)), min_size=1, max_size=5)


def block_of(pairs: list[tuple[Any, list[Any]]], continues: bool = False) -> Block:
    return Block([key for key, _ in pairs], [held for _, held in pairs], continues)


def encoded(block: Block, codec: str = "none") -> bytes:
    return b"".join(encode_block(block, codec, new_packer()))


def store(folder: str, data: bytes) -> SortedRun:
    path = os.path.join(folder, "run")
    with open(path, "wb") as file:
        file.write(data)
    return SortedRun(path, 0, 0, len(data), 1, 1)


@given(columns, codecs, st.booleans())
def test_a_block_comes_back_with_its_sequences_as_tuples(
    pairs: list[tuple[Any, list[Any]]], codec: str, continues: bool
) -> None:
    block = block_of(pairs, continues)

    back = decode_block(encoded(block, codec), "run", 0)

    assert repr(tuple(back.keys)) == repr(tuple(map(carried, block.keys)))
    assert repr(tuple(back.lists)) == repr(tuple(map(carried, block.lists)))
    assert back.continues is continues


@given(st.lists(st.tuples(few_keys, st.integers(0, 99)), min_size=1, max_size=60), codecs, st.integers(1, 64))
def test_a_run_comes_back_whatever_the_size_of_its_blocks(
    items: list[tuple[Any, int]], codec: str, block_bytes: int
) -> None:
    with scratch_folder() as folder:
        writer = BlockWriter(os.path.join(folder, "run"), codec=codec, block_bytes=block_bytes)
        run = write_run(writer, items)
        writer.close()
        blocks = list(read_blocks(run))

    joined: list[tuple[Any, list[Any]]] = []
    goes_on = False
    for block in blocks:
        for key, held in zip(block.keys, block.lists, strict=True):
            if goes_on:
                assert key == joined[-1][0]
                joined[-1][1].extend(held)
            else:
                joined.append((key, list(held)))
            goes_on = False
        goes_on = block.continues
    assert not goes_on
    assert exactly(joined) == exactly(grouped(items))
    assert (run.keys, run.values) == (len(joined), len(items))


@settings(max_examples=5)
@given(columns, codecs, st.booleans())
def test_every_single_flipped_bit_is_detected(
    pairs: list[tuple[Any, list[Any]]], codec: str, continues: bool
) -> None:
    data = encoded(block_of(pairs[:1], continues), codec)
    with scratch_folder() as folder:
        for bit in range(8 * len(data)):
            damaged = bytearray(data)
            damaged[bit // 8] ^= 1 << bit % 8
            run = store(folder, bytes(damaged))

            with pytest.raises(CorruptBlockError, match=re.escape(f"byte 0 of {run.path} ")):
                list(read_blocks(run))


@settings(max_examples=10)
@given(columns, codecs)
def test_every_truncation_is_detected(pairs: list[tuple[Any, list[Any]]], codec: str) -> None:
    data = encoded(block_of(pairs), codec)
    with scratch_folder() as folder:
        for length in range(len(data)):
            run = store(folder, data)
            os.truncate(run.path, length)

            with pytest.raises(CorruptBlockError, match=re.escape(f"byte 0 of {run.path} ")):
                list(read_blocks(run))


@settings(max_examples=10)
@given(columns, codecs)
def test_every_truncation_of_bytes_in_memory_is_detected(
    pairs: list[tuple[Any, list[Any]]], codec: str
) -> None:
    data = encoded(block_of(pairs), codec)
    for length in range(len(data)):
        with pytest.raises(CorruptBlockError, match="byte 1,234 of somewhere "):
            decode_block(data[:length], "somewhere", 1234)


@settings(max_examples=20)
@given(columns, columns, st.data())
def test_damage_in_a_later_block_names_the_offset_of_that_block(
    first: list[tuple[Any, list[Any]]], second: list[tuple[Any, list[Any]]], data: st.DataObject
) -> None:
    before, after = encoded(block_of(first)), encoded(block_of(second))
    damaged = bytearray(after)
    damaged[data.draw(st.integers(0, len(after) - 1))] ^= data.draw(st.integers(1, 255))
    with scratch_folder() as folder:
        run = store(folder, before + bytes(damaged))

        with pytest.raises(CorruptBlockError, match=f"byte {len(before):,} of "):
            list(read_blocks(run))
