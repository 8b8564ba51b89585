"""Keys: which are allowed, in which order they sort, to which partition they go. Used by every stage.

A key is None, a bool, int, float (not NaN), str, bytes, or a tuple of keys. The total order is
None < numbers < str < bytes < tuples; numbers by value (True is 1, 1 is 1.0), str by code point, bytes
by byte, tuples element by element. Keys are equal when Python calls them equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from operator import mod
from struct import Struct
from typing import Any

from xxhash import xxh3_64_digest, xxh3_64_intdigest

from pymr.base.errors import RecordError

Key = Any
OrderKey = tuple[Any, ...]

_NUMBER = Struct("<Bq").pack
_NUMBER_TAG, _BYTES_TAG, _TUPLE_TAG, _NONE_TAG = 1, b"\x02", b"\x03", b"\x04"
_SHOWN_CHARACTERS_MAX = 120


def order_key(key: Key) -> OrderKey:
    """A tuple that Python can compare with that of any other key; gives the documented total order."""
    if key is None:
        return (0,)
    if isinstance(key, int | float):
        return (1, key)
    if isinstance(key, str):
        return (2, key)
    if isinstance(key, bytes):
        return (3, key)
    return (4, tuple(map(order_key, key)))


def sort_keys(keys: Iterable[Key]) -> list[Key]:
    """Keys in the total order; stable.

    The plain comparison of Python agrees with the total order wherever it answers at all, so a sort that
    did not raise is right; only keys of mixed kinds pay for `order_key`.
    """
    keys = list(keys)
    try:
        return sorted(keys)
    except TypeError:
        return sorted(keys, key=order_key)


def partitions_of(keys: Sequence[Key], partitions: int, kinds: set[type] | None = None) -> Iterable[int]:
    """The partition in [0, partitions) of each key, in the order of `keys`. kinds: their types, if known.

    The digest is xxh3-64 of a canonical form: equal keys get the same number on every machine, in every
    process and Python. Cost: some 150 ns per str or int key, in C.
    """
    return map(mod, key_digests(keys, kinds), repeat(partitions))


def key_digests(keys: Sequence[Key], kinds: set[type] | None = None) -> Iterable[int]:
    """The 64-bit digest of each key (see `partitions_of`)."""
    kinds = set(map(type, keys)) if kinds is None else kinds
    if kinds <= {str}:
        return map(xxh3_64_intdigest, map(str.encode, keys))
    if kinds <= {int, float, bool}:
        return map(xxh3_64_intdigest, map(_NUMBER, repeat(_NUMBER_TAG), map(hash, keys)))
    return map(xxh3_64_intdigest, map(_canonical_bytes, keys))


def _canonical_bytes(key: Key) -> bytes:
    if isinstance(key, str):
        return key.encode()
    if key is None:
        return _NONE_TAG
    if isinstance(key, int | float):
        # hash() of numbers is the same for equal numbers of any type and is not randomised.
        return _NUMBER(_NUMBER_TAG, hash(key))
    if isinstance(key, bytes):
        return _BYTES_TAG + key
    return _TUPLE_TAG + b"".join(map(xxh3_64_digest, map(_canonical_bytes, key)))


def check_keys(keys: Iterable[Key]) -> set[type]:
    """The types of the keys. Raises RecordError, naming the key, where one cannot be used. Cost: 50 ns each.

    A str that has no UTF-8 form is found only when it is encoded.
    """
    kinds = set(map(type, keys))
    if not kinds <= {str, int, bool, bytes}:
        for key in keys:
            check_key(key)
    return kinds


def check_key(key: Key) -> None:
    """Raise RecordError, naming the key, where it cannot be used."""
    try:
        hash(key)
        reason = _objection(key)
        if reason is None:
            _canonical_bytes(key)
    except TypeError as error:
        reason = f"{error} (use a tuple instead of a list)"
    except UnicodeEncodeError as error:
        reason = f"it has no UTF-8 form ({error.reason})"
    except RecursionError:
        reason = "it is nested too deeply"
    if reason is not None:
        raise RecordError(f"the key {show(key)} cannot be used: {reason}")


def _objection(key: Key) -> str | None:
    if key is None or isinstance(key, int | str | bytes):
        return None
    if isinstance(key, float):
        return "NaN equals nothing, not even itself, so its items can form no group" if key != key else None
    if isinstance(key, tuple):
        return next(filter(None, map(_objection, key)), None)
    return (
        f"it is of type {type(key).__name__}; a key is None, a bool, int, float, str, bytes, "
        "or a tuple of these"
    )


def show(value: object, characters_max: int = _SHOWN_CHARACTERS_MAX) -> str:
    """`repr(value)` for a message: cut to `characters_max`, and never raising."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"<a {type(value).__name__} whose repr() raises {type(error).__name__}>"
    return text if len(text) <= characters_max else text[: characters_max - 3] + "..."


class KeyOrder:
    """What a merge has learnt of its keys.

    function: None (compare them as they are, as long as Python can) or `order_key`; it suits `sorted`, `min`
        and `bisect`. keys_recur: whether the last round met most keys in several runs.
    """

    __slots__ = ("function", "keys_recur")

    def __init__(self) -> None:
        self.function: Callable[[Key], OrderKey] | None = None
        self.keys_recur = False

    def generalise(self) -> None:
        """Switch to `order_key`, after a TypeError of a native comparison."""
        self.function = order_key
