"""The merge: sorted runs become one sorted stream of blocks. Used by DiskSort, between shuffle and reduce."""

from __future__ import annotations

import os
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pymr.engine.disk.blocks import (
    BLOCK_BYTES,
    OVERSIZE,
    Block,
    BlockWriter,
    Singles,
    SortedRun,
    count_values,
    largest_block,
    read_blocks,
)
from pymr.engine.disk.columns import group_columns, sort_columns, sort_items
from pymr.engine.disk.keys import Key, KeyOrder

_SINGLES_MAX = 1.25
"""Where keys have fewer values than this on average, a round sorts items instead of lists of values."""

_RECURRENCE_MIN = 1.5
"""Where a round brings together this many entries per key, the next one groups before it sorts."""

FAN_IN_MAX = 128
"""Default for the most runs merged at once; more of them add a pass over the disk."""


_LARGE_BLOCKS_PART = 4


def fan_in_within(memory_bytes: int, block_bytes: int, fan_in_max: int = FAN_IN_MAX) -> int:
    """How many runs one merge may hold a block of each in memory: an eighth of the bound is for them.

    A decoded block takes about eight times its encoded size (short strings, measured).
    """
    return min(fan_in_max, max(4, memory_bytes // 8 // (8 * block_bytes)))


def merge_runs(
    runs: Sequence[SortedRun],
    scratch_path: str,
    *,
    fan_in_max: int = FAN_IN_MAX,
    block_codec: str = "none",
    block_bytes: int = BLOCK_BYTES,
    memory_bytes: int | None = None,
    on_block: Callable[[], None] = lambda: None,
) -> Iterator[Block]:
    """One ascending stream of blocks out of sorted runs; equal keys brought together.

    runs: in the order that the values of equal keys shall have.
    scratch_path: beginning of the names of files for the passes that more than `fan_in_max` (>= 2) runs need.
    memory_bytes: the bound of the process; of runs with larger blocks than `block_bytes`, because of a single
        large value, so few are merged at once that their blocks take a quarter of it. None: no such bound.
    on_block: called for every block read, in all passes; tells who waits that the merge moves.
    Yields blocks whose keys ascend over all of the stream; `continues` marks a key whose values go on in the
    next block, so that a key with more values than fit into memory passes through in pieces.
    Memory: one block of each of fan_in_max runs. Cost: O(N log R) comparisons, in C.
    Raises CorruptBlockError, DiskError. Source: Knuth, TAOCP 3, 5.4.1.
    """
    if fan_in_max < 2:
        raise ValueError(f"fan_in_max is {fan_in_max}; a merge takes at least 2 runs at once")
    order = KeyOrder()
    passes = 0
    while True:
        excess = [_excess_bytes(run, block_bytes) if memory_bytes else 0 for run in runs]
        allowed_bytes = (memory_bytes or 0) // _LARGE_BLOCKS_PART
        if len(runs) <= fan_in_max and (sum(excess) <= allowed_bytes or len(runs) <= 2):
            break
        passes += 1
        writer = BlockWriter(f"{scratch_path}-{passes}", codec=block_codec, block_bytes=block_bytes)
        writer.weighs_values = any(excess)
        runs = [
            _merge_into(writer, _open(neighbours, on_block), neighbours[0].partition, order)
            for part in _neighbours(range(len(runs)), fan_in_max)
            for neighbours in _light_neighbours([(runs[at], excess[at]) for at in part], allowed_bytes)
        ]
        writer.close()
        if passes > 1:
            os.unlink(f"{scratch_path}-{passes - 1}")
    yield from merge_blocks(_open(runs, on_block), order)


def _excess_bytes(run: SortedRun, block_bytes: int) -> int:
    """By how much the largest block of a run passes what is usual."""
    usual_bytes = OVERSIZE * block_bytes
    return max(largest_block(run) - usual_bytes, 0) if run.length > usual_bytes else 0


def _light_neighbours(runs: Sequence[tuple[SortedRun, int]], allowed_bytes: int) -> Iterator[list[SortedRun]]:
    """Neighbours, at least two where there are, whose excess bytes are together what is allowed."""
    group: list[SortedRun] = []
    held_bytes = 0
    for run, excess_bytes in runs:
        if len(group) >= 2 and held_bytes + excess_bytes > allowed_bytes:
            yield group
            group, held_bytes = [], 0
        group.append(run)
        held_bytes += excess_bytes
    yield group


def merge_blocks(sources: Sequence[Iterator[Block]], order: KeyOrder | None = None) -> Iterator[Block]:
    """As `merge_runs`, for at most as many streams of blocks as may be open at once."""
    order = order or KeyOrder()
    cursors = [cursor for cursor in map(_Cursor, sources) if cursor.advance()]
    while len(cursors) > 1:
        try:
            bound = min((cursor.keys[-1] for cursor in cursors), key=order.function)
            is_open = any(cursor.continues and cursor.keys[-1] == bound for cursor in cursors)
            blocks = _take_round(cursors, bound, is_open, order)
        except TypeError:  # keys of mixed kinds
            if order.function is not None:
                raise
            order.generalise()
            continue
        yield from filter(_has_keys, _passed_on(blocks))
        if is_open:
            yield from _stream_key(cursors, bound)
        cursors = [cursor for cursor in cursors if cursor.position < len(cursor.keys) or cursor.advance()]
    for cursor in cursors:
        yield from cursor.rest()


class _Cursor:
    """A run's place in a merge: its head block, and how far that has been taken."""

    __slots__ = ("_blocks", "continues", "keys", "lists", "position")

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self.position = 0
        self.keys: Sequence[Key] = ()
        self.lists: Sequence[Sequence[Any]] = ()
        self.continues = False

    def advance(self) -> bool:
        """Make the next block the head; False where the run has ended."""
        self.keys, self.lists, self.continues = (), (), False  # let go of before the next is read
        block = next(self._blocks, None)
        if block is not None:
            self.keys, self.lists, self.continues = block
        self.position = 0
        return block is not None

    def rest(self) -> Iterator[Block]:
        """What is left, when no other run is."""
        rest = [Block(self.keys[self.position :], self.lists[self.position :], self.continues)]
        self.keys = self.lists = ()
        yield rest.pop()
        yield from self._blocks


def _take_round(cursors: list[_Cursor], bound: Key, is_open: bool, order: KeyOrder) -> list[Block]:
    """All keys of the head blocks up to `bound`, the smallest of their maxima, sorted and grouped.

    is_open: the bound itself is left out, as its values go on beyond the head blocks.
    """
    bisect = bisect_left if is_open else bisect_right
    rank = order.function
    target = bound if rank is None else rank(bound)
    ends = [bisect(cursor.keys, target, cursor.position, key=rank) for cursor in cursors]
    heads = [
        (cursor.keys[cursor.position : end], cursor.lists[cursor.position : end])
        for cursor, end in zip(cursors, ends, strict=True)
    ]
    blocks = _put_together(heads, order)
    for cursor, end in zip(cursors, ends, strict=True):
        cursor.position = end
    entries = sum(len(keys) for keys, _ in heads)
    order.keys_recur = entries > _RECURRENCE_MIN * sum(len(block.keys) for block in blocks)
    return blocks


def _put_together(heads: list[tuple[Sequence[Key], Sequence[Sequence[Any]]]], order: KeyOrder) -> list[Block]:
    keys_count = sum(len(keys) for keys, _ in heads)
    if not order.keys_recur and sum(count_values(lists) for _, lists in heads) < _SINGLES_MAX * keys_count:
        items: list[tuple[Key, Any]] = []
        for keys, lists in heads:
            if isinstance(lists, Singles):
                items += zip(keys, lists.values, strict=True)
            else:
                items += [(key, value) for key, values in zip(keys, lists, strict=True) for value in values]
        return sort_items(items, order)
    all_keys: list[Key] = []
    all_lists: list[Sequence[Any]] = []
    for keys, lists in heads:
        all_keys += keys
        all_lists += lists
    return (group_columns if order.keys_recur else sort_columns)(all_keys, all_lists, order)


def _passed_on(blocks: list[Block]) -> Iterator[Block]:
    """The blocks, which are let go of one by one."""
    blocks.reverse()
    while blocks:
        yield blocks.pop()


def _has_keys(block: Block) -> bool:
    return bool(block.keys)


def _stream_key(cursors: list[_Cursor], key: Key) -> Iterator[Block]:
    """All values of one key, run by run, in pieces; an empty piece ends them. Of equal keys, such as 1 and
    True, that of the first run represents all."""
    heads = (cursor.keys[cursor.position] for cursor in cursors)
    shown = next(head for head in heads if head == key)
    for cursor in cursors:
        while cursor.position < len(cursor.keys) and cursor.keys[cursor.position] == key:
            yield Block((shown,), (cursor.lists[cursor.position],), True)
            cursor.position += 1
            if cursor.position == len(cursor.keys) and not (cursor.continues and cursor.advance()):
                break
    yield Block((shown,), ((),))


def _open(runs: Sequence[SortedRun], on_block: Callable[[], None]) -> list[Iterator[Block]]:
    def counted(block: Block) -> Block:
        on_block()
        return block

    return [map(counted, read_blocks(run)) for run in runs]  # a map holds none of them


def _merge_into(
    writer: BlockWriter, sources: Sequence[Iterator[Block]], partition: int, order: KeyOrder
) -> SortedRun:
    writer.begin_run(partition)
    for block in merge_blocks(sources, order):
        writer.write(block)
    return writer.end_run()


def _neighbours(runs: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    """Runs in groups of at most `size` neighbours, as evenly as can be: values keep their order."""
    groups = -(-len(runs) // size)
    return [runs[len(runs) * i // groups : len(runs) * (i + 1) // groups] for i in range(groups)]
