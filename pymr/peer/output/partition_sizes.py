"""Measuring: how much of each partition lies in map outputs on this host, for operators to see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TypeVar

from pymr.base.errors import DamagedFileError
from pymr.engine.segments import read_index

Sizes = tuple[tuple[int, int], ...]
"""(partition, bytes)."""

_K = TypeVar("_K")


def measure_segments(folders: Mapping[_K, str], partitions: Sequence[int]) -> dict[_K, Sizes]:
    """How many bytes of these partitions there are in the folders of finished map attempts.

    Those that cannot be read are left out: whoever reduces them finds that out. Cost: one small file each.
    """
    measured = {}
    for key, folder in folders.items():
        with suppress(OSError, DamagedFileError):
            index = read_index(folder)
            measured[key] = tuple(
                (partition, sum(run.length for run in index.runs(partition))) for partition in partitions
            )
    return measured
