"""Starting and ending the daemons of a cluster, and telling how they are; for the CLI and `pymr run`."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymr.client import Client, ClientError, RefusedError, UnreachableError
from pymr.config import ClusterConfig, PeerConfig
from pymr.config_choice import choose_config
from pymr.errors import FatalError, PymrError
from pymr.peer_processes import (
    find_daemons,
    find_processes,
    is_here,
    log_path,
    log_size,
    log_tail,
    send,
    start_process,
    wait_gone,
)
from pymr.private_redis import PrivateRedis, running_pid
from pymr.remote_peers import signal_remote, start_remote
from pymr.requests import ClusterView

if TYPE_CHECKING:
    from psutil import Process

START_SECONDS = 30.0
DRAIN_SECONDS = 60.0
"""A peer that is told to end may do what it has begun for this long; the rest is done again later."""

END_SECONDS = 10.0
KILL_SECONDS = 5.0

_ANSWER_SECONDS = 2.5
"""More than a peer waits for a leader that has just died, before it answers from what it knows itself."""

_POLL_SECONDS = 0.1
_ASKED_AT_ONCE_MAX = 16

Report = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class PeerState:
    """A peer as it answers for itself. pid: 0 where it is not known. view: None when it does not answer."""

    name: str
    host: str
    address: str
    pid: int
    alive: bool
    leader: bool
    epoch: int
    workers: int
    problem: str
    view: ClusterView | None = None


@dataclass(frozen=True, slots=True, repr=False)
class ClusterState:
    """A cluster as its peers see it; it shows as a table. problem: why nothing is scheduled, and what to do;
    "" if all is well."""

    name: str
    peers: tuple[PeerState, ...]
    leader: str
    epoch: int
    problem: str

    @property
    def is_well(self) -> bool:
        return bool(self.leader) and not self.problem and all(peer.alive for peer in self.peers)

    @property
    def paused(self) -> bool:
        """Whether no more runs are started until `pymr resume`."""
        return any(peer.view.paused for peer in self.peers if peer.view is not None)

    def __repr__(self) -> str:
        from pymr.cli_rows import cluster_lines

        return "\n".join([self.name, *cluster_lines(self, 0)])

    def _repr_html_(self) -> str:
        from html import escape

        from pymr.cli_rows import cluster_table

        problem = f"<p>problem: {escape(self.problem)}</p>" if self.problem else ""
        return f"<p>{escape(self.name)}</p>{cluster_table(self).html()}{problem}"


class ManageCluster:
    """The daemons of a cluster. It prints nothing.

    config: a configuration read from a file, or the path of one; None for $PYMR_CONFIG, then ./cluster.toml.
    report: is given a line on each step.
    """

    def __init__(
        self, config: ClusterConfig | str | os.PathLike[str] | None = None, report: Report | None = None
    ) -> None:
        self.config = choose_config(config)
        if self.config.source is None:
            raise FatalError("a cluster is started from a cluster.toml, which its daemons read themselves")
        self._source = self.config.source
        self._report: Report = report or _say_nothing
        self._here = tuple(peer for peer in self.config.peers if is_here(peer.host))
        self._elsewhere = tuple(peer for peer in self.config.peers if peer not in self._here)

    @property
    def is_all_here(self) -> bool:
        """Whether all peers are of this machine, so that it can be started from here without ssh."""
        return not self._elsewhere

    def is_all_running(self) -> bool:
        """Whether all peers of this machine run, be it that they answer or not. Looks at all processes."""
        names = [peer.name for peer in self._here]
        return len(find_daemons(self._source, names)) == len(names)

    def start_cluster(self, timeout_s: float = START_SECONDS) -> ClusterState:
        """Start what is not running: a managed Redis, then the peers; return when all answer and one leads.

        Raises FatalError when a peer does not start, with the end of its log; what did start goes on running.
        """
        self._start_redis()
        running = find_daemons(self._source, [peer.name for peer in self._here])
        for name, process in running.items():
            self._report(f"{name}: is running already (pid {process.pid})")
        logs = {peer.name: log_size(peer) for peer in self._here}
        started = {
            peer.name: start_process(self._source, peer) for peer in self._here if peer.name not in running
        }
        for peer in self._elsewhere:
            if self._answers(peer):
                self._report(f"{peer.name}: is running already on {peer.host}")
            else:
                start_remote(self.config, peer)
        self._wait_for_answers(started, logs, timeout_s)
        return self.status()

    def stop_cluster(self, timeout_s: float = DRAIN_SECONDS) -> ClusterState:
        """End all peers, each when what it is doing has ended, then a managed Redis.

        timeout_s: after this a peer is ended by a signal; what it did is done again after the next start.
        Raises FatalError naming what could not be ended.
        """
        processes = find_daemons(self._source, [peer.name for peer in self._here])
        remote = self._tell_to_stop(set(processes))
        left = wait_gone(list(processes.values()), timeout_s)
        names = {process.pid: name for name, process in processes.items()}
        for process in left:
            self._report(f"{names[process.pid]}: is still busy after {timeout_s:g} s, ending it now")
        left = self._end_at_once(left, names)
        self._end_remote(remote, timeout_s)
        if left:
            still = ", ".join(f"{names[process.pid]} (pid {process.pid})" for process in left)
            raise FatalError(f"did not end: {still}; `pymr cluster kill` ends them at once")
        for name in processes:
            self._report(f"{name}: stopped")
        self._stop_redis()
        return self._status(self._elsewhere)

    def kill_cluster(self) -> ClusterState:
        """End all peers and a managed Redis at once, as a power failure would. Nothing is lost by it."""
        names = [peer.name for peer in self._here]
        daemons = find_daemons(self._source, names)
        send(daemons.values(), signal.SIGKILL)
        wait_gone(list(daemons.values()), KILL_SECONDS)
        left = wait_gone(find_processes(self._source, names), KILL_SECONDS)
        send(left, signal.SIGKILL)
        for name in daemons:
            self._report(f"{name}: killed")
        for peer in self._elsewhere:
            signal_remote(self.config, peer, signal.SIGKILL)
            self._report(f"{peer.name}: killed, if it was running on {peer.host}")
        if self.config.redis.managed and running_pid(self.config.redis.directory):
            PrivateRedis(self.config.redis.directory, daemonised=True).kill()
            self._report("redis: killed")
        return self._status(self._elsewhere)

    def status(self) -> ClusterState:
        """How each peer answers, all asked at the same time. Never raises for one that does not."""
        return self._status(self.config.peers)

    def _status(self, asked: Sequence[PeerConfig]) -> ClusterState:
        """asked: the peers that may be running; of the others it is known that they are not."""
        with ThreadPoolExecutor(min(len(asked) or 1, _ASKED_AT_ONCE_MAX)) as threads:
            answers = dict(zip(asked, threads.map(self._ask, asked), strict=True))
        stopped = ClientError("it has been ended")
        views = [answers.get(peer, stopped) for peer in self.config.peers]
        daemons = find_daemons(self._source, [peer.name for peer in self._here])
        pids = self._pids() if any(isinstance(view, ClusterView) for view in views) else {}
        peers = []
        for peer, view in zip(self.config.peers, views, strict=True):
            process = daemons.get(peer.name)
            answered = view if isinstance(view, ClusterView) else None
            peers.append(
                PeerState(
                    name=peer.name,
                    host=peer.host,
                    address=f"{peer.host}:{peer.control_port}",
                    pid=process.pid if process else pids.get(peer.name, 0),
                    alive=answered is not None,
                    leader=answered is not None and answered.leader == peer.name,
                    epoch=answered.epoch if answered else 0,
                    workers=peer.workers,
                    problem=answered.problem if answered else str(view),
                    view=answered,
                )
            )
        return self._state_of(peers)

    def _state_of(self, peers: Sequence[PeerState]) -> ClusterState:
        alive = [peer.view for peer in peers if peer.view is not None]
        latest = max(alive, key=lambda view: view.epoch, default=None)
        leader, epoch = (latest.leader, latest.epoch) if latest else ("", 0)
        problem = next((view.problem for view in alive if view.problem), "")
        if not alive:
            problem = "no peer answers: start the cluster with `pymr cluster start`"
        elif not leader and not problem:
            problem = "no peer leads at the moment: one is elected within seconds"
        return ClusterState(self.config.name, tuple(peers), leader, epoch, problem)

    # ---- starting

    def _start_redis(self) -> None:
        if not self.config.redis.managed:
            return
        directory = self.config.redis.directory
        if pid := running_pid(directory):
            self._report(f"redis: is running already (pid {pid})")
            return
        PrivateRedis(directory, daemonised=True).start()
        self._report(f"redis: started in {directory}")

    def _wait_for_answers(
        self, started: dict[str, subprocess.Popen[bytes]], logs: dict[str, int], timeout_s: float
    ) -> None:
        """Until every peer answers and they know a leader."""
        deadline = time.monotonic() + timeout_s
        waiting = {peer.name: peer for peer in self.config.peers}
        leader = ""
        with Client(self.config) as client:
            while waiting or not leader:
                for peer in list(waiting.values()):
                    process = started.get(peer.name)
                    if process is not None and process.poll() is not None:
                        raise FatalError(
                            f"{peer.name} ended with status {process.returncode} as it started; the end of "
                            f"{log_path(peer)}:\n{log_tail(peer, logs[peer.name])}"
                        )
                    with suppress(UnreachableError):
                        view = client.cluster(peer.name, _POLL_SECONDS * 3)
                        del waiting[peer.name]
                        leader = view.leader or leader
                        if peer.name in started or peer in self._elsewhere:
                            self._report(f"{peer.name}: started" + _with_pid(process))
                if not waiting and not leader:
                    with suppress(UnreachableError):
                        leader = client.cluster(timeout_s=_ANSWER_SECONDS).leader
                if time.monotonic() >= deadline and (waiting or not leader):
                    raise FatalError(self._why_not_started(client, waiting, logs, timeout_s))
                time.sleep(_POLL_SECONDS if waiting or not leader else 0)
        self._report(f"{leader} leads")

    def _why_not_started(
        self, client: Client, waiting: dict[str, PeerConfig], logs: dict[str, int], timeout_s: float
    ) -> str:
        problem, silent = "", []
        for peer in waiting.values():  # without a leader, an answer takes longer than has been waited for it
            answer = self._ask(peer)
            if isinstance(answer, ClusterView):
                problem = problem or answer.problem
            else:
                silent.append(peer)
        if not problem and len(silent) < len(self.config.peers):
            with suppress(ClientError):
                problem = client.cluster(timeout_s=_ANSWER_SECONDS).problem
        if not silent:
            return f"all peers run, but none leads after {timeout_s:g} s: {problem or 'no peer says why'}"
        texts = [f"after {timeout_s:g} s there is no answer of {', '.join(peer.name for peer in silent)}"]
        texts += [f"the others say: {problem}"] * bool(problem)
        for peer in silent:
            if peer in self._here:
                texts.append(f"the end of {log_path(peer)}:\n{log_tail(peer, logs[peer.name])}")
        return "\n".join(texts)

    # ---- ending

    def _tell_to_stop(self, running: set[str]) -> list[PeerConfig]:
        """Ask the peers to end; those of other machines that are running, as far as can be told."""
        remote = [peer for peer in self._elsewhere if self._answers(peer)]
        with Client(self.config) as client:
            for peer in [*(peer for peer in self._here if peer.name in running), *remote]:
                try:
                    client.stop_peer(peer.name, drain=True, timeout_s=_ANSWER_SECONDS)
                    self._report(f"{peer.name}: stopping")
                except (UnreachableError, RefusedError):
                    self._report(f"{peer.name}: does not take the request, and is ended by a signal")
                    send(find_daemons(self._source, [peer.name]).values(), signal.SIGTERM)
        return remote

    def _end_at_once(self, left: list[Process], names: dict[int, str]) -> list[Process]:
        """End daemons that would go on for longer; those that do not even so."""
        with Client(self.config) as client:
            for process in left:
                with suppress(ClientError):
                    client.stop_peer(names[process.pid], drain=False, timeout_s=_ANSWER_SECONDS)
        for _ in range(2):  # to a daemon the first signal means to drain, the second to end
            left = wait_gone(left, END_SECONDS / 3)
            send(left, signal.SIGTERM)
        return wait_gone(left, END_SECONDS / 3)

    def _end_remote(self, left: list[PeerConfig], timeout_s: float) -> None:
        """Wait for peers of other machines to go silent; signal those that do not."""
        deadline = time.monotonic() + timeout_s
        while left and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            left = [peer for peer in left if self._answers(peer)]
        for peer in left:
            signal_remote(self.config, peer, signal.SIGTERM)

    def _stop_redis(self) -> None:
        directory = self.config.redis.directory
        if self.config.redis.managed and running_pid(directory):
            PrivateRedis(directory, daemonised=True).stop()
            self._report("redis: stopped")

    # ---- asking

    def _pids(self) -> dict[str, int]:
        """The processes of the peers by name, as any peer knows it."""
        try:
            with Client(self.config, timeout_s=_ANSWER_SECONDS) as client:
                return {row.name: row.pid for row in client.peers()}
        except ClientError:
            return {}

    def _answers(self, peer: PeerConfig) -> bool:
        return isinstance(self._ask(peer), ClusterView)

    def _ask(self, peer: PeerConfig) -> ClusterView | PymrError:
        """A peer's answer, or why there is none. In a thread: with a client of its own."""
        try:
            with Client(self.config, timeout_s=_ANSWER_SECONDS) as client:
                return client.cluster(peer.name)
        except ClientError as error:
            return error


def _with_pid(process: subprocess.Popen[bytes] | None) -> str:
    return f" (pid {process.pid})" if process is not None else ""


def _say_nothing(_line: str) -> None:
    pass
