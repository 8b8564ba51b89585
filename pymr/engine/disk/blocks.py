"""Blocks: the unit on disk and wire. The shuffler writes runs of them, the merge reads them back.

A block is a header and a msgpack payload of two columns, `(keys, lists of values)`, keys ascending.
A run is a series of blocks whose keys ascend over all of it. Sequences come back as tuples, whatever they
were: a key has to be hashable, and a tuple is the cheaper one to make.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from struct import Struct
from sys import getsizeof
from typing import Any, BinaryIO, NamedTuple, overload

import msgpack
from xxhash import xxh3_64

from pymr.base.errors import CorruptBlockError, RecordError, disk_error
from pymr.base.faults import fault_point
from pymr.base.zstd import zstd
from pymr.engine.disk.keys import Key, check_key, show

MAGIC = b"pymr"
VERSION = 1
CODECS = ("none", "zstd")

BLOCK_BYTES = 256 << 10
"""Default size a block's payload is aimed at. Larger: fewer reads; smaller: less memory in a merge."""

BLOCK_VALUES_MAX = 16_384
"""Most values in one block: bounds what a block takes once decoded (small ints: 1 byte stored, 8 held)."""

OVERSIZE = 4
"""A block that comes out larger than this many times the size aimed at is written as two."""

_HEADER = Struct("<4sBBBxIIII")  # magic, version, codec, flags, keys, values, raw bytes, stored bytes
_CHECKSUM = Struct("<Q")  # xxh3-64 of the header before it and the stored payload after it
HEADER_BYTES = _HEADER.size + _CHECKSUM.size
_CONTINUES, _SINGLES = 1, 2  # flags
_JOINED_BYTES_MAX = 1 << 20  # up to here a copy is cheaper than a second call
_WITHOUT_PARTS = {str, bytes, int, float, bool, type(None)}
_BYTES_MAX = (1 << 31) - (1 << 16)  # a single read of Linux gives no more


Framed = tuple[bytes, bytes | memoryview]
"""Header with checksum, and payload, of which there is no second copy."""


class Singles(Sequence[Any]):
    """Lists of values of which each has exactly one, held without the lists around them."""

    __slots__ = ("values",)

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[tuple[Any]]:
        return zip(self.values)

    @overload
    def __getitem__(self, index: int) -> tuple[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Singles: ...
    def __getitem__(self, index: int | slice) -> tuple[Any] | Singles:
        if isinstance(index, slice):
            return Singles(self.values[index])
        return (self.values[index],)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]


class Block(NamedTuple):
    """Columns of a block: `lists[i]` holds the values of `keys[i]`; `Singles` where every key has one.

    continues: the last key continues as the first of the next block of the run.
    """

    keys: Sequence[Key]
    lists: Sequence[Sequence[Any]]
    continues: bool = False


@dataclass(frozen=True, slots=True)
class SortedRun:
    """Where a sorted run lies: `length` bytes from `offset` in the file `path`. keys, values: counts."""

    path: str
    partition: int
    offset: int
    length: int
    keys: int
    values: int


def _with_singles(block: Block) -> Block:
    """A block with as many values as keys, which, unless a list is empty, are single ones."""
    if isinstance(block.lists, Singles) or not all(block.lists):
        return block
    return block._replace(lists=Singles(list(chain.from_iterable(block.lists))))


def new_packer() -> msgpack.Packer:
    """One whose buffer `encode_block` gives out as it is."""
    return msgpack.Packer(autoreset=False)


def encode_block(block: Block, codec: str, packer: msgpack.Packer) -> Framed:
    """The header and the payload of a block, which may lie in the packer's buffer until it packs again.

    packer: of `new_packer`. Raises RecordError, naming the key, for a value that msgpack cannot carry.
    """
    packer.reset()
    try:
        # Packed one level deeper than it is stored, as the unpacker goes one level less deep than the packer.
        column = block.lists.values if isinstance(block.lists, Singles) else block.lists
        packer.pack(((block.keys, column),))
        raw = packer.getbuffer()[1:]
    except (TypeError, ValueError, OverflowError) as error:
        raise _unserialisable(block, error) from error
    flags = _CONTINUES * block.continues | _SINGLES * isinstance(block.lists, Singles)
    return frame_payload(raw, len(block.keys), count_values(block.lists), codec, flags)


def count_values(lists: Sequence[Sequence[Any]]) -> int:
    """How many values there are in all of the lists."""
    return len(lists) if isinstance(lists, Singles) else sum(map(len, lists))


def frame_payload(raw: bytes | memoryview, keys: int, values: int, codec: str, flags: int = 0) -> Framed:
    """Header with checksum, and payload as it is stored."""
    if len(raw) > _BYTES_MAX:
        raise RecordError(f"a single item takes {len(raw):,} bytes; the most is {_BYTES_MAX:,}")
    stored = zstd.compress(raw, 1) if codec == "zstd" else raw
    header = _HEADER.pack(MAGIC, VERSION, CODECS.index(codec), flags, keys, values, len(raw), len(stored))
    return header + _CHECKSUM.pack(_checksum(header, stored)), stored


def write_framed(file: BinaryIO, framed: Framed) -> int:
    """Write a block to an unbuffered file; how many bytes it has. Raises OSError."""
    header, stored = framed
    if len(stored) <= _JOINED_BYTES_MAX:
        header, stored = b"".join(framed), b""
    for data in (header, stored):
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
    return len(header) + len(stored)


def _checksum(header: bytes, stored: bytes | memoryview) -> int:
    digest = xxh3_64(header)
    digest.update(stored)
    return digest.intdigest()


def decode_block(data: bytes, path: str, offset: int) -> Block:
    """The block whose bytes are `data`, exactly. Raises CorruptBlockError naming `path` and `offset`."""
    if len(data) < HEADER_BYTES:
        raise _corrupt(path, offset, "its header is cut short")
    header, stored = data[: _HEADER.size], memoryview(data)[HEADER_BYTES:]
    _magic, _version, codec, flags, keys_count, _values, raw_bytes, stored_bytes = _HEADER.unpack(header)
    if len(stored) != stored_bytes:
        raise _corrupt(path, offset, f"it is cut short ({len(stored):,} of {stored_bytes:,} bytes)")
    if _checksum(header, stored) != _CHECKSUM.unpack_from(data, _HEADER.size)[0]:
        raise _corrupt(path, offset, "its checksum does not match its bytes")
    raw = zstd.decompress(stored) if CODECS[codec] == "zstd" else stored
    try:
        keys, lists = msgpack.unpackb(raw, use_list=False, strict_map_key=False)
        if len(raw) != raw_bytes or len(keys) != keys_count or len(lists) != keys_count:
            raise _corrupt(path, offset, "its counts do not match its contents")
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise _corrupt(path, offset, f"its payload is not a pair of columns ({error!r})") from error
    return Block(keys, Singles(lists) if flags & _SINGLES else lists, bool(flags & _CONTINUES))


def read_blocks(run: SortedRun) -> Iterator[Block]:
    """The blocks of a run, in order; one read each for header and payload, nothing read ahead.

    Raises CorruptBlockError naming file and offset, DiskError where the disk refuses.
    """
    try:
        with open(run.path, "rb", buffering=0) as file:
            offset, end = run.offset, run.offset + run.length
            while offset < end:
                data = _read_block_bytes(file.fileno(), run.path, offset, end)
                block, size = decode_block(data, run.path, offset), len(data)
                del data  # while the block is in use, its bytes are not
                held = [block]
                del block
                yield held.pop()
                offset += size
    except OSError as error:
        raise disk_error("reading", run.path, error) from error


def largest_block(run: SortedRun) -> int:
    """The bytes of the largest block of a run, decompressed. Cost: a read of its header for each block.

    Raises as `read_blocks`.
    """
    largest = 0
    try:
        with open(run.path, "rb", buffering=0) as file:
            offset, end = run.offset, run.offset + run.length
            while offset < end:
                raw_bytes, stored_bytes = _read_sizes(file.fileno(), run.path, offset, end)
                largest = max(largest, raw_bytes)
                offset += HEADER_BYTES + stored_bytes
    except OSError as error:
        raise disk_error("reading", run.path, error) from error
    return largest


def _read_block_bytes(descriptor: int, path: str, offset: int, end: int) -> bytes:
    _, stored_bytes = _read_sizes(descriptor, path, offset, end)
    return os.pread(descriptor, HEADER_BYTES + stored_bytes, offset)


def _read_sizes(descriptor: int, path: str, offset: int, end: int) -> tuple[int, int]:
    """The payload bytes of the block at `offset`, before and after compression."""
    head = os.pread(descriptor, HEADER_BYTES, offset)
    if len(head) < HEADER_BYTES or offset + HEADER_BYTES > end:
        raise _corrupt(path, offset, "its header is cut short")
    magic, version, codec, _flags, _keys, _values, raw_bytes, stored_bytes = _HEADER.unpack(
        head[: _HEADER.size]
    )
    if magic != MAGIC or codec >= len(CODECS):
        raise _corrupt(path, offset, "there is no block header")
    if version != VERSION:
        raise _corrupt(path, offset, f"it is of version {version}, this pymr reads version {VERSION}")
    if offset + HEADER_BYTES + stored_bytes > end:
        raise _corrupt(path, offset, "it says it is longer than its run")
    return raw_bytes, stored_bytes


class BlockWriter:
    """Writes runs of blocks one behind another into a file.

    Blocks come out near `block_bytes`, with at most BLOCK_VALUES_MAX values; a key with more values than
    that spans several blocks. `keys_per_block` is how many keys the next one will take at most.
    content: a running hash over the checksums of the blocks, and so over all that they hold.
    weighs_values: whether values are weighed before they are encoded, so that never several large ones are at
        once. Cost: some 50 ns a value; without it, as many as went into the last block are.
    Memory: one block. Raises RecordError, DiskError.
    """

    def __init__(self, path: str, *, codec: str = "none", block_bytes: int = BLOCK_BYTES) -> None:
        self.path = path
        self.content = xxh3_64()
        self._codec = codec
        self._block_bytes = block_bytes
        self.weighs_values = False
        self._packer = new_packer()
        self.keys_per_block = self._values_per_block = 16
        self._offset = self._keys = self._values = 0
        self._run = SortedRun(path, 0, 0, 0, 0, 0)
        try:
            self._file: BinaryIO = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise disk_error("creating", path, error) from error

    def begin_run(self, partition: int) -> None:
        """What is written from here on, up to `end_run`, is one run of `partition`."""
        self._run = SortedRun(self.path, partition, self._offset, 0, 0, 0)

    def write(self, block: Block) -> None:
        """Write columns of any size, their keys above those written to this run before."""
        keys, lists, continues = block
        start = 0
        while start < len(keys):
            end = min(start + self.keys_per_block, len(keys))
            written = self._offset
            self._write_block(Block(keys[start:end], lists[start:end], continues and end == len(keys)))
            self.keys_per_block = self._aim(self.keys_per_block, end - start, self._offset - written)
            start = end
        self._keys += len(keys) - continues

    def end_run(self) -> SortedRun:
        """Close the run; returns where it lies."""
        run = replace(self._run, length=self._offset - self._run.offset, keys=self._keys, values=self._values)
        self._keys = self._values = 0
        return run

    def close(self) -> None:
        self._file.close()

    def _write_block(self, block: Block) -> None:
        """Write one block, or its halves where it holds too much."""
        values = count_values(block.lists)
        is_heavy = self.weighs_values and values > 1 and weight_of(block) > OVERSIZE * self._block_bytes
        if values > self._values_per_block or is_heavy:
            self._write_halves(block)
            return
        if values == len(block.keys) and not block.continues:
            block = _with_singles(block)
        framed = encode_block(block, self._codec, self._packer)
        size = sum(map(len, framed))
        if is_oversize := size > OVERSIZE * self._block_bytes:
            self._packer = new_packer()  # whose buffer is not of that size
        if is_oversize and values > 1:
            del framed
            self._write_halves(block)
            return
        self._write(framed)
        self._values += values
        self._values_per_block = self._aim(self._values_per_block, values, size)

    def _aim(self, now: int, count: int, written_bytes: int) -> int:
        """How many of what there were `count` of to put into the next block, growing at most twofold."""
        return max(1, min(count * self._block_bytes // written_bytes, 2 * now, BLOCK_VALUES_MAX))

    def _write_halves(self, block: Block) -> None:
        keys, lists, continues = block
        if len(keys) > 1:
            half = len(keys) // 2
            self._write_block(Block(keys[:half], lists[:half]))
            self._write_block(Block(keys[half:], lists[half:], continues))
        else:
            half = len(lists[0]) // 2
            self._write_block(Block(keys, [lists[0][:half]], True))
            self._write_block(Block(keys, [lists[0][half:]], continues))

    def _write(self, framed: Framed) -> None:
        try:
            fault_point("block.write")
            self._offset += write_framed(self._file, framed)
        except OSError as error:
            raise disk_error("writing", self.path, error) from error
        self.content.update(framed[0][_HEADER.size :])


def weight_of(block: Block) -> int:
    """About how many bytes a block has, judged before it is encoded."""
    column = block.lists.values if isinstance(block.lists, Singles) else chain.from_iterable(block.lists)
    return _weight(list(block.keys)) + _weight(list(column))


def _weight(things: list[Any]) -> int:
    total = 0
    while things:
        total += sum(map(getsizeof, things))
        if set(map(type, things)) <= _WITHOUT_PARTS:
            break
        things = [part for thing in things for part in _parts_of(thing)]
    return total


def _parts_of(thing: Any) -> Iterable[Any]:
    if isinstance(thing, dict):
        return chain.from_iterable(thing.items())
    return thing if isinstance(thing, list | tuple) else ()


def check_item(key: Key, value: object) -> None:
    """Raise RecordError, naming key or value, where the item cannot be carried."""
    check_key(key)
    check_carried(key, "key")
    check_carried(value, "value", f" of the key {show(key)}")


def encode_value(value: object, packer: msgpack.Packer) -> bytes | memoryview:
    """The bytes of a single value as encoded in a block, nested no deeper than a block allows."""
    data: bytes = packer.pack([[[[value]]]])
    return data[4:] if len(data) <= _JOINED_BYTES_MAX else memoryview(data)[4:]


def check_carried(thing: object, what: str, of_what: str = "") -> None:
    """Raise RecordError, showing the thing, where msgpack has no form for it at its depth in a block."""
    try:
        encode_value(thing, msgpack.Packer())
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise RecordError(
            f"the {what} {show(thing)}{of_what} cannot be carried: {error}. Items hold None, bool, "
            "int (64 bits), float, str, bytes, and lists, tuples and dicts of these"
        ) from error


def _unserialisable(block: Block, error: Exception) -> RecordError:
    """The error that names the first key or value of the block which cannot be packed."""
    try:
        for key, values in zip(block.keys, block.lists, strict=True):
            for value in values:
                check_item(key, value)
    except RecordError as found:
        return found
    return RecordError(f"items cannot be carried: {error}")


def _corrupt(path: str, offset: int, reason: str) -> CorruptBlockError:
    return CorruptBlockError(f"the block at byte {offset:,} of {path} is damaged: {reason}", path)
