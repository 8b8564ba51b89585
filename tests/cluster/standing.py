"""Clusters that stay: lent to one test after the other, as starting three daemons costs more than most tests.

A test that is lent one may kill, stop and restart what it likes, and has to leave all peers running. One that
nobody wants for a while is ended: three idle peers cost a twentieth of a core, for as long as the tests run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from cluster.clusters import Cluster
from cluster.daemons import CLEAN_S, START_S
from cluster.gated import Gates
from cluster.held_runs import HeldRun
from cluster.running import processes_of, wait_until

from pymr.client import ClientError

ONE_HOST = ("127.0.0.1",) * 3
PROCESSES_OF_A_PEER = 3
"""The daemon, its fork server and its data service."""

IDLE_S = 15.0
"""After as long without a test, a cluster has cost about what starting another one does."""

Lend = Callable[..., Cluster]


class StandingClusters:
    """Clusters of three peers with one worker each and the settings of a HeldRun, by the hosts of the peers.

    One that is not as it was when a test gives it back is ended; the next test gets another.
    """

    def __init__(self, new_folder: Callable[[], Path]) -> None:
        self._new_folder = new_folder
        self._clusters: dict[tuple[str, ...], Cluster] = {}
        self._idle_since: dict[Cluster, float] = {}
        self._numbers = count(1)

    def lend(self, hosts: Sequence[str] | None = None) -> Cluster:
        """A cluster without jobs and input, whose `job` has a name of its own. hosts: default one for all."""
        key = tuple(hosts or ONE_HOST)
        cluster = self._clusters.get(key)
        if cluster is None:
            cluster = Cluster(self._new_folder(), hosts=key, settings=HeldRun.SETTINGS)
            cluster.env |= Gates(cluster.folder / "gates").faults
            cluster.start()
            self._clusters[key] = cluster
        self._idle_since.pop(cluster, None)
        cluster.job = f"job{next(self._numbers)}"
        for name in cluster.names:
            shutil.rmtree(cluster.input_of(name), ignore_errors=True)
            cluster.input_of(name).mkdir()
        cluster.wait_for(
            lambda: cluster.is_up(cluster.names), START_S, "the standing cluster to be as it was"
        )
        return cluster

    def take_back(self, cluster: Cluster) -> list[str]:
        """Clear the cluster up for the next test; what is left that should not be."""
        problems: list[str] = []
        try:
            problems += self._clear(cluster)
        except (AssertionError, ClientError, OSError) as error:
            problems.append(f"the cluster is not as it was: {error}")
        self._idle_since[cluster] = time.monotonic()
        return problems + self._end([cluster]) if problems else []

    def end_idle(self) -> list[str]:
        """End those that no test was lent for IDLE_S; what is left of them that should not be."""
        now = time.monotonic()
        return self._end([cluster for cluster, since in self._idle_since.items() if now - since > IDLE_S])

    def end(self) -> list[str]:
        return self._end(list(self._clusters.values()))

    def _end(self, clusters: Sequence[Cluster]) -> list[str]:
        self._clusters = {key: one for key, one in self._clusters.items() if one not in clusters}
        for cluster in clusters:
            self._idle_since.pop(cluster, None)
        return [problem for cluster in clusters for problem in cluster.end()]

    def _clear(self, cluster: Cluster) -> list[str]:
        ended = [name for name, process in cluster.processes.items() if process.poll() is not None]
        if ended:
            return [f"{ended} do not run"]
        cluster.resume_all()
        Gates(cluster.folder / "gates").open_all()
        for row in cluster.client.jobs().rows:
            with suppress(ClientError):
                cluster.client.delete(str(row.fields["job_name"]))
        cluster.client.resume()
        problems = []
        if not wait_until(lambda: not cluster.left_runs(), CLEAN_S):
            problems.append(f"left of runs that have ended: {cluster.left_runs()}")
        wanted = PROCESSES_OF_A_PEER * len(cluster.names)
        if not wait_until(lambda: len(processes_of(cluster.marker)) == wanted, CLEAN_S):
            problems.append(f"not {wanted} processes: {processes_of(cluster.marker)}")
        return problems
