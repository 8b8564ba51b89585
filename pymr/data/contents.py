"""What a data server reads from and writes to. Whoever runs it knows which files that are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from pymr.data.protocol import Discard, Resource, Write

Mark = tuple[int, int]
"""When bytes of a pane came: (offset, Unix milliseconds)."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a resource. offset: of `data`. size: of the whole resource. facts: see `protocol`."""

    data: bytes
    offset: int
    size: int
    info: bytes = b""


class ReadableResources(Protocol):
    """Resources that can be read at an offset."""

    def read(self, resource: Resource, offset: int, length: int) -> Piece:
        """`length` bytes at `offset`, or up to the end; none beyond it. Raises DataRefused."""
        ...


class WritableUploads(Protocol):
    """Uploads that are written from front to back."""

    def write(self, write: Write, payload: bytes) -> int:
        """The size of the file afterwards. What is there already stays as it is. Raises DataRefused."""
        ...

    def discard(self, discard: Discard) -> None:
        """Remove an upload, if there is one. Raises DataRefused."""
        ...
