"""A storm: faults of all kinds at random moments while a job runs, which has to end right all the same."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from random import Random

import psutil
from cluster.clusters import Cluster, ordered
from cluster.running import wait_until

HOSTS = ("127.0.0.1", "127.0.0.1", "127.0.0.2", "127.0.0.3")
SETTINGS = {"engine": {"split_bytes": 700}}
JOB_S = 240.0
PAUSE_S = (0.1, 1.2)
"""Between two faults."""

AWAY_S = (0.0, 4.0)
"""How long what was killed or stopped is away; more and less than it takes to count as dead is in there."""

_MAP = """
import time

def words(line, auxiliary_data):
    time.sleep(0.004)
    return [(word, 1) for word in line.split()]
"""
_REDUCE = """
import time

def total(group, auxiliary_data):
    time.sleep(0.01)
    return [(group.key, sum(group.values))]
"""


class Storm:
    """faults: how many. told: what has happened, for whoever has to find out why it went wrong."""

    def __init__(self, cluster: Cluster, seed: int, faults: int = 12) -> None:
        self.cluster = cluster
        self.seed = seed
        self.told: list[str] = []
        self._faults = faults
        self._random = Random(seed)
        self._began = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []  # what is to come back, and when
        self._away: set[str] = set()
        cluster.project(_MAP, _REDUCE)
        for number, name in enumerate(cluster.names):
            for file in range(5):
                lines = [f"every word-{line % 97} {name} {number * file}" for line in range(60)]
                cluster.feed(name, f"{file}.txt", *lines)
        cluster.start()

    def rage(self, job_name: str = "job") -> None:
        """Run the job through the storm, and look at what has come of it."""
        self._began = time.monotonic()
        self.cluster.submit(job_name=job_name, max_attempts=100, partitions=5)
        for _ in range(self._faults):
            self._wait(self._random.uniform(*PAUSE_S))
            self._strike()
        while self._due:
            self._wait(0.1)
        self._tell("the storm is over")
        outcome = self.cluster.finish(job_name, JOB_S)
        self._tell(f"{job_name}: {outcome.status} {outcome.exception}")

        assert outcome.is_success, self.report()
        assert ordered(self.cluster.output(job_name)) == ordered(self.cluster.reference(partitions=5)), (
            self.report()
        )
        assert [run.status for run in self.cluster.client.history(job_name)] == ["succeeded"], self.report()

    def report(self) -> str:
        return "\n".join([f"seed {self.seed}", *self.told])

    def _strike(self) -> None:
        name = self._random.choice(["kill_peer"] * 3 + ["stop_peer"] * 2 + list(_FAULTS))
        away_s = self._random.uniform(*AWAY_S)
        victim = self._random.choice(self.cluster.names)
        if self._random.random() < 0.4:
            victim = next((one for one in self.cluster.names if self._leads(one)), victim)
        if victim in self._away:
            return
        getattr(self, f"_{name}")(victim, away_s)

    def _leads(self, name: str) -> bool:
        view = None if name in self._away else self.cluster.view(name, 0.2)
        return view is not None and view.leader == name

    def _kill_peer(self, victim: str, away_s: float) -> None:
        self._tell(f"kill -9 {victim}, back after {away_s:.1f} s")
        self.cluster.kill(victim)
        self._leave(victim, away_s, lambda: self.cluster.launch(victim))

    def _stop_peer(self, victim: str, away_s: float) -> None:
        self._tell(f"SIGSTOP {victim}, SIGCONT after {away_s:.1f} s")
        self.cluster.pause(victim)
        self._leave(victim, away_s, lambda: self.cluster.resume(victim))

    def _kill_redis(self, _: str, away_s: float) -> None:
        if "redis" not in self._away:
            self._tell(f"kill -9 redis, back after {away_s:.1f} s")
            self.cluster.kill_redis()
            self._leave("redis", away_s, self.cluster.restart_redis)

    def _stop_data_service(self, victim: str, away_s: float) -> None:
        with suppress(AssertionError, psutil.Error):
            process = self.cluster.data_service(victim)
            self._tell(f"SIGSTOP data service of {victim}, SIGCONT after {away_s:.1f} s")
            self._stop_for(process, away_s)

    def _kill_data_service(self, victim: str, _: float) -> None:
        with suppress(AssertionError, psutil.Error):
            self._tell(f"kill -9 data service of {victim}")
            self.cluster.data_service(victim).kill()

    def _kill_worker(self, victim: str, _: float) -> None:
        with suppress(psutil.Error, IndexError):
            process = self._random.choice(self._workers_of(victim))
            self._tell(f"kill -9 worker {process.pid} of {victim}")
            process.kill()

    def _stop_worker(self, victim: str, away_s: float) -> None:
        with suppress(psutil.Error, IndexError):
            process = self._random.choice(self._workers_of(victim))
            self._tell(f"SIGSTOP worker {process.pid} of {victim}, SIGCONT after {away_s:.1f} s")
            self._stop_for(process, away_s)

    def _workers_of(self, victim: str) -> list[psutil.Process]:
        return [child for one in self.cluster.descendants(victim) for child in one.children()]

    def _stop_for(self, process: psutil.Process, away_s: float) -> None:
        process.send_signal(signal.SIGSTOP)

        def go_on() -> None:
            with suppress(psutil.Error):
                process.send_signal(signal.SIGCONT)

        self._due.append((time.monotonic() + away_s, go_on))

    def _leave(self, who: str, away_s: float, back: Callable[[], None]) -> None:
        self._away.add(who)

        def come_back() -> None:
            self._tell(f"{who} is back")
            back()
            self._away.discard(who)

        self._due.append((time.monotonic() + away_s, come_back))

    def _wait(self, seconds: float) -> None:
        """Let time pass; what is due meanwhile comes back."""
        until = time.monotonic() + seconds
        while (now := time.monotonic()) < until:
            for due in [due for due in self._due if due[0] <= now]:
                self._due.remove(due)
                due[1]()
            wait_until(lambda: any(due[0] <= time.monotonic() for due in self._due), min(until - now, 0.05))

    def _tell(self, line: str) -> None:
        self.told.append(f"{time.monotonic() - self._began:6.2f} s: {line}")


_FAULTS = ("kill_redis", "stop_data_service", "kill_data_service", "kill_worker", "stop_worker")


def new_seed() -> int:
    return int.from_bytes(os.urandom(4), "big")
