"""A short storm; `make chaos` has the long ones."""

from __future__ import annotations

from collections.abc import Callable

from cluster.clusters import Cluster
from cluster.storms import HOSTS, SETTINGS, Storm, new_seed


def test_a_job_goes_through_a_storm(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(hosts=HOSTS, settings=SETTINGS)
    storm = Storm(cluster, new_seed(), faults=8)
    print(f"seed {storm.seed}")

    storm.rage()
