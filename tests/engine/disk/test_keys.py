"""Keys: which are refused, and the numbers of their partitions, which no release may change."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from pymr.base.errors import RecordError
from pymr.engine.disk.keys import check_keys, partitions_of, show, sort_keys

KEYS: list[Any] = [
    None, False, True, 0, 1, -1, 1 << 63, 0.0, -0.0, 1.0, 0.5, float("inf"), float("-inf"),
    "", "a", "é", "x" * 1000, b"", b"a", (), (1,), (True, None), ("a", (b"b", 1.0)),
]  # fmt: skip

PARTITIONS = [
    9836, 5198, 9264, 5198, 9264, 6907, 9821, 5198, 5198, 9264, 8650, 3522, 7259,
    3866, 7862, 2617, 9184, 3947, 7806, 4679, 2227, 9408, 1412,
]  # fmt: skip
"""Of 10007. Runs written by one release are read by the next, and by machines that have another."""

PRINT_PARTITIONS = (
    f"from pymr.engine.disk.keys import *; inf = 1e999; print(list(partitions_of({KEYS!r}, 10007)))"
)


def test_partitions_are_pinned() -> None:
    assert list(partitions_of(KEYS, 10_007)) == PARTITIONS


@pytest.mark.parametrize("seed", ["0", "1", "4242"])
def test_partitions_are_the_same_in_every_process_whatever_its_hash_seed(seed: str) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", PRINT_PARTITIONS],
        env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout.strip() == str(PARTITIONS)


@pytest.mark.parametrize(
    "equal_keys",
    [[1, 1.0, True], [0, 0.0, -0.0, False], [(1, 0.0), (True, -0.0), (1.0, 0)], [1 << 53, 2.0**53]],
)
def test_equal_keys_share_a_partition(equal_keys: list[Any]) -> None:
    together = set(partitions_of(equal_keys, 1 << 64))
    alone = {next(iter(partitions_of([key], 1 << 64))) for key in equal_keys}

    assert len(together) == 1
    assert alone == together


def test_many_keys_spread_evenly() -> None:
    counts = [0] * 8
    for partition in partitions_of([f"key {number}" for number in range(8000)], 8):
        counts[partition] += 1

    assert 850 < min(counts) <= max(counts) < 1150


def test_kinds_stand_in_the_documented_order() -> None:
    found = sort_keys([(), (1,), b"b", b"", "a", "", 2, 1.5, True, 0, None, (None,), ("a",)])

    assert found == [None, 0, True, 1.5, 2, "", "a", b"", b"b", (), (None,), (1,), ("a",)]


@pytest.mark.parametrize("key", [float("nan"), (float("nan"),), ("a", (1, float("nan"))), [1], 1j, object])
def test_a_key_that_is_not_allowed_is_shown(key: object) -> None:
    with pytest.raises(RecordError) as caught:
        check_keys(["fine", 1, None, key])

    assert show(key) in str(caught.value)


def test_a_key_nested_without_end_is_refused() -> None:
    key: tuple[Any, ...] = ()
    for _ in range(5000):
        key = (key,)

    with pytest.raises(RecordError):
        check_keys([key])


def test_a_key_that_msgpack_can_carry_is_not_refused_for_its_depth() -> None:
    key: tuple[Any, ...] = ()
    for _ in range(100):
        key = (key, 1)

    check_keys([key])

    assert sort_keys([key, 1, (key, 1)]) == [1, key, (key, 1)]


class Unshowable:
    def __repr__(self) -> str:
        raise ValueError("no")


def test_show_never_raises_and_cuts_what_is_long() -> None:
    assert show(Unshowable()) == "<a Unshowable whose repr() raises ValueError>"
    assert len(show("x" * 1_000_000)) == 120
