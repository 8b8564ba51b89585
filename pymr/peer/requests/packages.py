"""Packages on their way from a console into Redis: put together from pieces, a bounded number at a time."""

from __future__ import annotations

from pymr.base.errors import PymrError
from pymr.projects.project import PACKAGE_BYTES_MAX
from pymr.wire.requests import PACKAGE_CHUNK_BYTES, PutPackage

_AT_ONCE_MAX = 4
"""Most packages in the making; the one that was begun first gives way to another."""


class PackageParts:
    """Pieces of packages that are not complete yet."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[int, bytes]] = {}

    def add(self, request: PutPackage) -> bytes | None:
        """Keep a piece; gives the whole package with the last one. Raises PymrError for what is no piece."""
        pieces_max = -(-PACKAGE_BYTES_MAX // PACKAGE_CHUNK_BYTES)
        if not 0 <= request.index < request.count <= pieces_max or len(request.data) > PACKAGE_CHUNK_BYTES:
            raise PymrError(
                f"piece {request.index} of {request.count} of a package cannot be: at most {pieces_max} "
                f"pieces of {PACKAGE_CHUNK_BYTES:,} bytes"
            )
        parts = self._parts.setdefault(request.content_hash, {})
        parts[request.index] = request.data
        if len(parts) == request.count:
            del self._parts[request.content_hash]
            return b"".join(parts[index] for index in range(request.count))
        while len(self._parts) > _AT_ONCE_MAX:
            del self._parts[next(iter(self._parts))]
        return None
