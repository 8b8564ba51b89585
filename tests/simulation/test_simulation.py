"""Leaders and followers in a cluster in which much goes wrong: nothing is lost or doubled, all runs end.

A failure names its seed: `PYMR_SEED=… pytest tests/simulation` replays it, as `python -m tests.simulation
SEED` does.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from simulation.simulator import Simulation

SEEDS = 120
SEEDS_PER_TEST = 20
ROOT = Path(__file__).parents[2]


def run(seed: int) -> Simulation:
    simulation = Simulation(seed)
    try:
        simulation.run()
    except Exception as error:
        raise AssertionError(f"seed {seed} (replay: python -m tests.simulation {seed}): {error}") from error
    return simulation


@pytest.mark.skipif("PYMR_SEED" in os.environ, reason="PYMR_SEED asks for one")
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_whatever_goes_wrong_every_run_ends_rightly(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        run(seed)


@pytest.mark.skipif("PYMR_SEED" not in os.environ, reason="asked for by PYMR_SEED")
def test_the_seed_that_was_asked_for() -> None:
    print("\n".join(run(int(os.environ["PYMR_SEED"])).world.trace()))


def test_a_seed_replays_exactly() -> None:
    traces = [run(17).world.trace() for _ in range(2)]

    assert traces[0] == traces[1]


def test_a_seed_replays_exactly_whatever_the_hashes_are() -> None:
    command = [sys.executable, "-m", "tests.simulation", "23"]
    traces = [
        subprocess.run(
            command, cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    ]

    assert traces[0] == traces[1]


def test_the_faults_do_happen() -> None:
    words = " ".join(line for seed in range(40) for line in run(seed).world.trace())

    for event in (
        "crashes",
        "is stopped",
        "cut:",
        "Redis is down",
        "releases",
        "deleted",
        "put back:",
        "begins cycle 2",
        "skipped",
        "forced:",
        "the queue is paused",
        "jobs of group",
        "copy-00000",
        "replaced",
        "queued again",
        "succeeded",
        "failed",
        "drains",
        "stops leading",
    ):
        assert event in words, event
