"""Sizes in bytes as people write them: "64 MiB", "1GB", "1.5 GiB"."""

from __future__ import annotations

import re
from fractions import Fraction

from pymr.config.kinds import INTEGER_MAX, Kind, type_in_words

KIB = 2**10
MIB = 2**20
GIB = 2**30
TIB = 2**40

_UNITS = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": KIB,
    "mib": MIB,
    "gib": GIB,
    "tib": TIB,
}
_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?) *([A-Za-z]*)")
_HOW_TO_WRITE = 'must be a whole number of bytes, or a text such as "64 MiB", "1GB" or "1.5 GiB"'


def parse_bytes(size: int | str) -> int:
    """The number of bytes that `size` says; a fraction of a byte is cut off.

    Units, in any case: B, kB, MB, GB, TB (powers of 1000) and KiB, MiB, GiB, TiB (powers of 1024).
    Raises ValueError for what is not a size, is negative, or is larger than kinds.INTEGER_MAX.
    """
    if isinstance(size, str):
        found = _SIZE.fullmatch(size.strip())
        unit = _UNITS.get(found[2].lower() or "b") if found else None
        if not found or unit is None:
            raise ValueError(_HOW_TO_WRITE)
        size_bytes = int(Fraction(found[1]) * unit)
    elif isinstance(size, bool) or not isinstance(size, int):
        raise ValueError(f"{_HOW_TO_WRITE}, not {type_in_words(size)}")
    else:
        size_bytes = size
    if not 0 <= size_bytes <= INTEGER_MAX:
        raise ValueError("must not be negative" if size_bytes < 0 else f"must be at most {INTEGER_MAX} bytes")
    return size_bytes


def format_bytes(size_bytes: int) -> str:
    """A size for people, in the largest unit of 1024 that it fills, with one decimal unless it is whole."""
    for unit, name in ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if size_bytes >= unit:
            whole, rest = divmod(size_bytes, unit)
            return f"{size_bytes / unit:.1f} {name}" if rest else f"{whole} {name}"
    return f"{size_bytes} B"


def byte_size(*, minimum: int = 0) -> Kind:
    """Sizes of at least `minimum` bytes, kept as numbers of bytes."""

    def check(value: object) -> int:
        size_bytes = parse_bytes(value)  # type: ignore[arg-type]  # it refuses all but int and str itself
        if size_bytes < minimum:
            raise ValueError(f"must be at least {format_bytes(minimum)}")
        return size_bytes

    def write(value: object) -> object:
        if not isinstance(value, int):
            return value
        shown = format_bytes(value)
        return shown if parse_bytes(shown) == value else value

    return Kind(f"size in bytes, at least {format_bytes(minimum)}", check, write)
