"""A transfer: what has come of one resource, and what of it is still to be asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymr.data.orders import FetchOrder

if TYPE_CHECKING:
    from pymr.data.fetching import OwnerLink


class Fetch:
    """How far an order is. Chunks begin at multiples of the chunk size, and may come in any order.

    size: None until the first answer has told it. durable: all before this offset lies in the file.
    link: where it holds a slot; None while it waits. is_over: complete, failed or cancelled.
    """

    __slots__ = (
        "_again",
        "_ahead",
        "_next",
        "bad_chunks",
        "durable",
        "info",
        "is_over",
        "link",
        "order",
        "size",
    )

    def __init__(self, order: FetchOrder) -> None:
        self.order = order
        self.size: int | None = None
        self.info = b""
        self.durable = 0
        self.bad_chunks = 0
        self.link: OwnerLink | None = None
        self.is_over = False
        self._next = 0
        self._again: list[int] = []
        self._ahead: dict[int, int] = {}  # length by offset, of what has come behind a gap

    def next_range(self, chunk_bytes: int) -> tuple[int, int] | None:
        """(offset, length) to ask for next. None for nothing, or nothing until the size is known."""
        while self._again:
            offset = self._again.pop()
            if not self.has(offset):
                return offset, self._length_at(offset, chunk_bytes)
        while self.size is not None and self._next < self.size and self._next in self._ahead:
            self._next += self._ahead[self._next]
        if self._next and (self.size is None or self._next >= self.size):
            return None
        offset = self._next
        length = self._length_at(offset, chunk_bytes)
        self._next = offset + max(length, 1)  # an empty file is asked for once, too
        return offset, length

    def has(self, offset: int) -> bool:
        """Whether the chunk that begins there has come already."""
        return offset < self.durable or offset in self._ahead

    def add(self, offset: int, length: int) -> None:
        """A chunk lies in the file."""
        if length:
            self._ahead[offset] = length
        while self.durable in self._ahead:
            self.durable += self._ahead.pop(self.durable)

    def ask_again(self, offset: int) -> None:
        self._again.append(offset)

    def rewind(self) -> None:
        """All that was asked for and has not come is to be asked for again."""
        self._again.clear()
        self._next = self.durable

    def _length_at(self, offset: int, chunk_bytes: int) -> int:
        return chunk_bytes if self.size is None else min(chunk_bytes, self.size - offset)
