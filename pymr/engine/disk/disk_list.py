"""DiskList: a list that lives on disk, for groups and results larger than memory."""

from __future__ import annotations

import os
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, repeat
from typing import Any, BinaryIO, overload

import msgpack

from pymr.base.errors import DiskError, disk_error
from pymr.engine.disk.blocks import (
    check_carried,
    decode_block,
    encode_value,
    frame_payload,
    write_framed,
)
from pymr.engine.disk.keys import Key

_BLOCK_BYTES = 256 << 10
_BLOCK_ITEMS_MAX = 8_192  # small ints are one byte each in a block, and forty before they are in one
_COLUMN_OF_NONE = b"\x92\x91\xc0\x91"
"""msgpack for the beginning of the columns ([None], [items]): an array of two, [None], an array of one."""


class DiskList(Sequence[Any]):
    """A list to append to, read by index, slice or iteration; all but its last items are on disk.

    items: what to begin with. directory: where its file lies (default: the system's temporary folder).
    Items are whatever msgpack carries; sequences in them come back as tuples.
    The file has no name, so that it is gone with the process, however that ends; `close` frees it sooner.
    Memory: two blocks of about 256 KiB. Cost of an index: one block decoded, unless it is that of the last.
    Raises RecordError (an item that cannot be carried), DiskError, CorruptBlockError.
    """

    def __init__(self, items: Iterable[Any] = (), *, directory: str | None = None) -> None:
        if directory is not None and not os.path.isdir(directory):
            raise DiskError(f"there is no folder {directory} for a DiskList")
        self._directory = directory
        self._file: BinaryIO | None = None
        self._packer = msgpack.Packer(autoreset=True)
        self._starts: list[int] = []  # index of the first item of each block
        self._offsets = [0]  # where each block begins in the file, and where the last one ends
        self._stored_items = 0
        self._pending: list[bytes | memoryview] = []  # the last items, encoded, not yet in a block
        self._pending_bytes = 0
        self._decoded: list[Any] = []  # the first of the pending items, as far as they were asked for
        self._cached: tuple[int, Sequence[Any]] = (-1, ())
        self.extend(items)

    def append(self, item: Any) -> None:
        """Add an item at the end."""
        try:
            data = encode_value(item, self._packer)
        except (TypeError, ValueError, OverflowError):
            check_carried(item, "item")
            raise
        self._pending.append(data)
        self._pending_bytes += len(data)
        if self._pending_bytes >= _BLOCK_BYTES or len(self._pending) >= _BLOCK_ITEMS_MAX:
            self._flush()

    def extend(self, items: Iterable[Any]) -> None:
        """Add all items of an iterable at the end. If it raises, those before remain."""
        for item in islice(items, len(self)) if items is self else items:
            DiskList.append(self, item)

    def close(self) -> None:
        """Drop the items and the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._starts, self._offsets, self._stored_items = [], [0], 0
        self._pending, self._pending_bytes, self._decoded = [], 0, []
        self._cached = (-1, ())

    def __len__(self) -> int:
        return self._stored_items + len(self._pending)

    def __iter__(self) -> Iterator[Any]:
        return self._iterate()

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self._item(at) for at in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"index {index} is out of range of a DiskList of {len(self)} items")
        return self._item(at)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __enter__(self) -> DiskList:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self):,} items>"

    def _iterate(self) -> Iterator[Any]:
        """All items, those included that are appended meanwhile, as with a list."""
        at = 0
        while at < len(self):
            if at < self._stored_items:
                number = bisect_right(self._starts, at) - 1
                items = self._block(number)[at - self._starts[number] :]
                at += len(items)
                yield from items
            else:
                yield self._last_item(at)
                at += 1

    def _item(self, at: int) -> Any:
        if at >= self._stored_items:
            return self._last_item(at)
        number = bisect_right(self._starts, at) - 1
        return self._block(number)[at - self._starts[number]]

    def _last_item(self, at: int) -> Any:
        """An item that is in no block yet."""
        fresh = self._pending[len(self._decoded) :]
        self._decoded += [msgpack.unpackb(data, use_list=False, strict_map_key=False) for data in fresh]
        return self._decoded[at - self._stored_items]

    def _block(self, number: int) -> Sequence[Any]:
        if self._cached[0] != number:
            self._cached = (-1, ())
            offset, end = self._offsets[number], self._offsets[number + 1]
            assert self._file is not None
            try:
                data = os.pread(self._file.fileno(), end - offset, offset)
            except OSError as error:
                raise disk_error("reading", self._place(), error) from error
            self._cached = (number, decode_block(data, self._place(), offset).lists[0])
        return self._cached[1]

    def _flush(self) -> None:
        """Write the pending items as a block of one column, under the key None."""
        count = len(self._pending)
        raw = b"".join((_COLUMN_OF_NONE, msgpack.Packer().pack_array_header(count), *self._pending))
        framed = frame_payload(raw, 1, count, "none")
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115
            self._file.seek(self._offsets[-1])
            size = write_framed(self._file, framed)
        except OSError as error:
            raise disk_error("writing", self._place(), error) from error
        self._starts.append(self._stored_items)
        self._offsets.append(self._offsets[-1] + size)
        self._stored_items += count
        self._pending, self._pending_bytes, self._decoded = [], 0, []

    def _place(self) -> str:
        return f"a DiskList in {self._directory or tempfile.gettempdir()}"


class DiskGroup(DiskList):
    """A group on disk, for reduce functions with `disk_based_input`: a DiskList of (key, value) items."""

    def __init__(self, key: Key, values: Iterable[Any] = (), directory: str | None = None) -> None:
        super().__init__(directory=directory)
        self.key = key
        DiskList.extend(self, values)

    @property
    def values(self) -> Sequence[Any]:
        """The values alone, as a sequence on the same file."""
        return _Values(self)

    def append(self, item: Any) -> None:
        """Add an item (key, value). The key has to be that of the group."""
        key, value = item
        if key != self.key:
            raise ValueError(f"an item of the key {key!r} does not belong to the group of {self.key!r}")
        super().append(value)

    def extend(self, items: Iterable[Any]) -> None:
        """Add items (key, value)."""
        for item in islice(items, len(self)) if items is self else items:
            self.append(item)

    def __iter__(self) -> Iterator[tuple[Key, Any]]:
        return zip(repeat(self.key), self._iterate())

    def _item(self, at: int) -> tuple[Key, Any]:
        return self.key, super()._item(at)


class _Values(Sequence[Any]):
    """The second column of a DiskGroup."""

    def __init__(self, group: DiskGroup) -> None:
        self._group = group

    def __len__(self) -> int:
        return len(self._group)

    def __iter__(self) -> Iterator[Any]:
        return self._group._iterate()

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        found = self._group[index]
        return [value for _, value in found] if isinstance(index, slice) else found[1]
