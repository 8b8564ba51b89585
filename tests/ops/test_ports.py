"""Ports of tests: whoever asks for one has it alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cluster.ports import BLOCK, PortBlock, free_port

TAKE = f"from cluster.ports import free_port; print(*(free_port() for _ in range({BLOCK + 5})))"


def test_no_port_is_given_twice_in_this_process_or_in_another() -> None:
    mine = [free_port() for _ in range(BLOCK + 5)]
    block = PortBlock()
    taken = [block.take() for _ in range(5)]
    tests = Path(__file__).parents[1]
    printed = subprocess.run(
        [sys.executable, "-c", TAKE], cwd=tests, capture_output=True, check=True, text=True
    ).stdout
    block.close()
    every = [*mine, *taken, *map(int, printed.split())]

    assert len(set(every)) == len(every) == 2 * (BLOCK + 5) + 5
