"""A word count that is brought into a phase and held there, so that a fault can happen in it."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from cluster.clusters import Cluster
from cluster.gated import Gates
from cluster.running import wait_until

from pymr.client import ClientError

TAKEOVER_S_MAX = 60.0
PHASES = ("plan", "map", "shuffle", "sort", "reduce", "publish")


class HeldRun:
    """The job of a cluster, which this starts where it does not run. Each peer has two files of input;
    those named `held` are mapped only when the run is let go.

    A phase is held by what is really at work in it: planning by a peer that has stopped, the shuffle by
    a data service that has, map, sort and reduce by the user's functions, the publication by a lock.
    """

    HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    SETTINGS: ClassVar = {"engine": {"split_bytes": 2_600}}
    """Of the cluster: with these, each file is a task."""

    def __init__(self, cluster: Cluster, files: int = 2) -> None:
        self.cluster = cluster
        self.gates = Gates(cluster.folder / "gates")
        self._undo: list[Callable[[], None]] = []
        cluster.env |= self.gates.faults
        cluster.project(self.gates.map_source, self.gates.reduce_source)
        for name in cluster.names:
            words = [f"all {name} word-{word % 29}" for word in range(90)]
            for number in range(files):
                cluster.feed(name, f"{number}.txt", *words)
            cluster.feed(name, "held.txt", f"HOLD {name}", *words)
        if not cluster.processes:
            cluster.start()

    def reach(self, phase: str, *, spare: str = "") -> None:
        """Submit the job, and wait until its run is in this phase and stays there.

        spare: a peer that is not the one to be stopped where a peer or a data service has to be.
        """
        getattr(self, f"_reach_{phase}")(spare)
        self.phase = phase

    @property
    def followers(self) -> list[str]:
        """The peers that do not lead."""
        leader = self.cluster.leader()
        return [name for name in self.cluster.names if name != leader]

    def attempts(self, what: str) -> dict[str, list[str]]:
        """The attempts at each task that have done so."""
        return self.gates.attempts(what, self.cluster.job)

    def finished_attempts(self, kind: str = "map") -> int:
        """How many attempts lie finished in the data folders."""
        return len(list(self.cluster.folder.glob(f"data/*/runs/*/{kind}-*")))

    def let_go(self, after_s: float = 0.0) -> None:
        """Let the run go on."""
        time.sleep(after_s)
        while self._undo:
            self._undo.pop()()

    def _submit(self) -> None:
        self.cluster.submit()

    def _close(self, gate: str) -> None:
        self.gates.close(gate)
        self._undo.append(lambda: self.gates.open(gate))

    def _reach_plan(self, spare: str) -> None:
        """On three hosts: one that does not answer keeps the plan from being whole."""
        stopped = self._some_follower(spare)
        self.cluster.pause(stopped)
        self._undo.append(lambda: self.cluster.resume(stopped))
        self._submit()
        self.cluster.wait_for_phase("plan")

    def _reach_map(self, spare: str) -> None:
        """All tasks but those that are held are committed."""
        self._close("map")
        self._submit()
        self.cluster.wait_for(lambda: self.attempts("held-map"), what="a map task to be held")
        self.cluster.wait_for(self._all_others_mapped, what="the other map tasks to be committed")
        self.cluster.wait_for_phase("map")

    def _all_others_mapped(self) -> bool:
        """Every worker is held, or every task that is not has been committed."""
        with suppress(ClientError):
            view = self.cluster.client.job(self.cluster.job)
            rows = [row for row in view.phases if row.name == "map"]
            held = len(self.attempts("held-map"))
            if not rows:
                return False
            busy = rows[0].running == held
            return busy and (rows[0].done + held == rows[0].total or held >= self._workers)
        return False

    @property
    def _workers(self) -> int:
        return sum(peer.workers for peer in self.cluster.config.peers)

    def _reach_shuffle(self, spare: str) -> None:
        stopped = self._some_follower(spare)
        self.cluster.pause_data_service(stopped)
        self._undo.append(lambda: self.cluster.resume_data_service(stopped))
        self._submit()
        self.cluster.wait_for_phase("shuffle")

    def _reach_sort(self, spare: str) -> None:
        self._close("sort")
        self._submit()
        self.cluster.wait_for_phase("sort")

    def _reach_reduce(self, spare: str) -> None:
        self._close("reduce")
        self._submit()
        self.cluster.wait_for(lambda: self.attempts("held-reduce"), what="a reduce task to be held")
        self.cluster.wait_for_phase("reduce")

    def _reach_publish(self, spare: str) -> None:
        """Hold what a peer holds while it publishes."""
        holder = self._some_follower(spare)
        folder = self.cluster.data(holder) / "jobs" / self.cluster.job
        descriptor = _hold_lock(folder)
        self._undo.append(lambda: os.close(descriptor))
        self._submit()
        self.cluster.wait_for_phase("publish")

    def _some_follower(self, spare: str) -> str:
        leader = self.cluster.leader()
        return next(name for name in reversed(self.cluster.names) if name not in (leader, spare))

    def time_of_takeover(self, since: float, killed: str) -> float:
        """Seconds from then until another peer leads and has begun to give orders for the run."""
        other = wait_until(lambda: self._taken_over(killed), TAKEOVER_S_MAX)
        assert other, f"nobody has taken over from {killed} after {TAKEOVER_S_MAX:.0f} s"
        return time.monotonic() - since

    def _taken_over(self, killed: str) -> str:
        """The peer that leads instead, once it tells how the run stands, for which it has to know it."""
        for name in self.cluster.names:
            if name == killed or self.cluster.processes[name].pid in self.cluster.paused:
                continue
            view = self.cluster.view(name, 0.3)
            if view is not None and view.leader == name:
                job = self.cluster.job_view(peer=name)
                if job is not None and job.row is not None and job.row.current_phase:
                    return name
        return ""

    def repeated_tasks(self) -> dict[str, list[str]]:
        """Map tasks that were done more than once although nothing kept their first attempt from its end."""
        held = self.attempts("held-map")
        return {
            task: attempts
            for task, attempts in self.attempts("map").items()
            if len(attempts) > 1 and task not in held
        }


def _hold_lock(folder: Path) -> int:
    """Hold the lock of a job's folder until the descriptor is closed."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
