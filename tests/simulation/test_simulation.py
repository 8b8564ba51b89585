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

from pymr.wire.protocol import DRIVER_TASK

SEEDS = 120
SEEDS_PER_TEST = 20
ENGINE_SEEDS = 30
ROOT = Path(__file__).parents[2]

ONCE_WRONG = (
    (537, 1),  # a run that adds fails while it is shown, and nothing runs after it
    (981, 0),  # one that replaces fails so, and the next one was to add to what it had left
    (2050, 1),  # a peer has a new disk twice, and counted its starts from 1 each time
    (2232, 1),  # a run that replaces fails while it is shown, and what shows it is lost
    (4120, 5),  # a list of a transfer was lost while another peer was about to make its own
    (2445, 3),  # a reduce task was in the queue of its former home twice
    (102016, 9),  # the copy of a write overtook the writes before it, which one connection does not do
    (249, 606),  # a result was refused that had come before its run was known, and committed once it was gone
)
"""(seed, variant) of simulations that have found something that was wrong, in the product or here."""


def run(seed: int, variant: int = 0, *, has_engines: bool = False) -> Simulation:
    simulation = Simulation(seed, variant, has_engines=has_engines)
    try:
        simulation.run()
    except Exception as error:
        raise AssertionError(f"seed {seed} (replay: {simulation.command}): {error}") from error
    return simulation


@pytest.mark.skipif("PYMR_SEED" in os.environ, reason="PYMR_SEED asks for one")
@pytest.mark.parametrize("first", range(0, SEEDS, SEEDS_PER_TEST))
def test_whatever_goes_wrong_every_run_ends_rightly(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        run(seed)


@pytest.mark.skipif("PYMR_SEED" in os.environ, reason="PYMR_SEED asks for one")
def test_runs_on_external_engines_end_rightly_too() -> None:
    simulations = [run(seed, has_engines=True) for seed in range(ENGINE_SEEDS)]
    driven = [one for one in simulations if DRIVER_TASK in " ".join(one.world.trace())]

    assert len(driven) > ENGINE_SEEDS / 2


@pytest.mark.parametrize(("seed", "variant"), ONCE_WRONG)
def test_what_once_went_wrong_goes_well(seed: int, variant: int) -> None:
    run(seed, variant)


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


FAULT_SEEDS_MAX = 200


def test_the_faults_do_happen() -> None:
    missing = {
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
    }
    for seed in range(FAULT_SEEDS_MAX):
        trace = " ".join(run(seed).world.trace())
        missing = {event for event in missing if event not in trace}
        if not missing:
            break

    assert missing == set()
