"""Storms, one after the other. PYMR_CHAOS_STORMS: how many (20); PYMR_CHAOS_SEED: that of the first one."""

from __future__ import annotations

import os
from collections.abc import Callable
from random import Random

import pytest
from cluster.clusters import Cluster
from cluster.storms import HOSTS, SETTINGS, Storm, new_seed

STORMS = int(os.environ.get("PYMR_CHAOS_STORMS", "20"))
SEED = int(os.environ.get("PYMR_CHAOS_SEED", new_seed()))


@pytest.mark.parametrize("number", range(STORMS))
def test_a_job_goes_through_a_storm(make_cluster: Callable[..., Cluster], number: int) -> None:
    seed = SEED if number == 0 else Random(f"{SEED} {number}").getrandbits(32)
    print(f"\nseed {seed}")
    cluster = make_cluster(hosts=HOSTS, settings=SETTINGS, keys=bool(number % 2))
    Storm(cluster, seed, faults=15).rage()
