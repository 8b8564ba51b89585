"""`python -m tests.simulation SEED` replays a seed and prints its trace; `--seeds N` tries many."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from simulation.simulator import Simulation  # found by the line above


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seed", nargs="?", type=int, help="replay this one")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to try")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--all", action="store_true", help="go on after a failure")
    parser.add_argument("--world", type=int, default=0, metavar="K", dest="variant", help="another of a seed")
    parser.add_argument("--engines", action="store_true", help="mapreduce jobs are on an external engine")
    options = parser.parse_args()
    if options.seed is not None:
        return replay(Simulation(options.seed, options.variant, has_engines=options.engines))
    seeds = range(options.first, options.first + options.seeds)
    return search(seeds, options.variant, has_engines=options.engines, goes_on=options.all)


def replay(simulation: Simulation) -> int:
    try:
        simulation.run()
    except Exception:
        print("\n".join(simulation.world.trace()))
        traceback.print_exc()
        return 1
    print("\n".join(simulation.world.trace()))
    return 0


def search(seeds: range, variant: int, *, has_engines: bool, goes_on: bool) -> int:
    began, failed = time.monotonic(), 0
    simulated = 0.0
    for seed in seeds:
        simulation = Simulation(seed, variant, has_engines=has_engines)
        try:
            simulation.run()
        except Exception as error:
            failed += 1
            print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
            if not goes_on:
                print(f"replay it: {simulation.command}")
                return 1
        simulated += simulation.world.now
    seconds = time.monotonic() - began
    print(f"{len(seeds)} seeds, {simulated:,.0f} simulated seconds in {seconds:.1f} s: {failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
