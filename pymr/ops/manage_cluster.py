"""Starting and ending the daemons of a cluster, and telling how they are; for the CLI and `pymr run`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import ClassVar

from pymr.base.errors import FatalError
from pymr.client import Client, ClientError
from pymr.config.choice import choose_config
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.ops.peers import ANSWER_SECONDS, ClusterPeers, Report
from pymr.ops.private_redis import PrivateRedis, running_pid
from pymr.ops.start import Start
from pymr.ops.status import ClusterStatus, PeerStatus
from pymr.ops.stop import Stop, kill_peers
from pymr.wire.requests import ClusterView
from pymr.wire.wording import version_warning

START_SECONDS = 30.0
DRAIN_SECONDS = 60.0
"""How long a stopping peer may continue the work it has begun; the rest is done again later."""


class ClusterManager:
    """The daemons of a cluster. It prints nothing.

    config: a configuration read from a file, or the path of one; None for $PYMR_CONFIG, then ./cluster.toml.
    report: is given a line on each step.
    """

    status_type: ClassVar[type[ClusterStatus]] = ClusterStatus

    def __init__(
        self, config: ClusterConfig | str | os.PathLike[str] | None = None, report: Report | None = None
    ) -> None:
        self.config = choose_config(config)
        self._report: Report = report or _say_nothing
        self._peers = ClusterPeers(self.config, self._report)

    @property
    def is_all_here(self) -> bool:
        """Whether all peers are of this machine, so that it can be started from here without ssh."""
        return not self._peers.elsewhere

    def is_all_running(self) -> bool:
        """Whether all peers of this machine run, be it that they answer or not. Looks at all processes."""
        return len(self._peers.daemons()) == len(self._peers.here)

    def start_cluster(self, timeout_s: float = START_SECONDS) -> ClusterStatus:
        """Start what is not running: a managed Redis, then the peers; return when all answer and one leads.
        A peer that is about to end is waited for, ops.start.ENDING_SECONDS at most, and started again.

        Raises FatalError when a peer does not start, with the end of its log, also of one on another machine;
        what did start keeps running.
        """
        if pid := self._redis_pid():
            self._report(f"redis: is running already (pid {pid})")
        self._start_redis()
        leader = Start(self._peers, self._start_redis, timeout_s).run()
        self._report(f"{leader} leads")
        return self.status()

    def stop_cluster(self, timeout_s: float = DRAIN_SECONDS) -> ClusterStatus:
        """End all peers, each when what it is doing has ended, then a managed Redis.

        timeout_s: after this a peer is ended at once; what it did is done again after the next start.
        Raises RefusedError where the peers do not let this key stop them, FatalError naming what runs on.
        """
        Stop(self._peers).run(timeout_s)
        if self._peers.daemons():
            self._report("redis: kept running, as a peer was started meanwhile")
        elif self._redis_pid():
            PrivateRedis(self.config.redis.directory, daemonised=True).stop()
            self._report("redis: stopped")
        return self._status_after_end()

    def kill_cluster(self) -> ClusterStatus:
        """End all peers and a managed Redis at once, as a power failure would. Nothing is lost by it.

        Raises RefusedError for a key that may only look, FatalError where another machine is out of reach.
        """
        failures = kill_peers(self._peers)
        if self._redis_pid():
            PrivateRedis(self.config.redis.directory, daemonised=True).kill()
            self._report("redis: killed")
        if failures:
            raise FatalError("\n".join(failures))
        return self._status_after_end()

    def status(self) -> ClusterStatus:
        """How each peer answers, all asked at the same time. Never raises for one that does not."""
        return self._status(self.config.peers)

    def _status_after_end(self) -> ClusterStatus:
        listening = self._peers.listening(self._peers.elsewhere)
        return self._status([peer for peer in self._peers.elsewhere if listening[peer.name]])

    def _status(self, asked: Sequence[PeerConfig]) -> ClusterStatus:
        """asked: the peers that may be running; of the others it is known that they are not."""
        views = self._peers.ask_all(asked)
        stopped = ClientError("it has been ended")
        daemons = self._peers.daemons()
        pids = self._pids() if any(isinstance(view, ClusterView) for view in views.values()) else {}
        peers = []
        for peer in self.config.peers:
            view = views.get(peer.name, stopped)
            process = daemons.get(peer.name)
            answered = view if isinstance(view, ClusterView) else None
            peers.append(
                PeerStatus(
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

    def _state_of(self, peers: Sequence[PeerStatus]) -> ClusterStatus:
        alive = [peer.view for peer in peers if peer.view is not None]
        latest = max(alive, key=lambda view: view.epoch, default=None)
        leader, epoch = (latest.leader, latest.epoch) if latest else ("", 0)
        problem = next((view.problem for view in alive if view.problem), "")
        if not alive:
            problem = "no peer answers: start the cluster with `pymr cluster start`"
        elif not leader and not problem:
            problem = "no peer leads at the moment: one is elected within seconds"
        warning = version_warning({view.peer: view.version for view in alive})
        return self.status_type(self.config.name, tuple(peers), leader, epoch, problem, warning)

    def _redis_pid(self) -> int:
        """The process of a managed Redis; 0 where none runs, or it is not managed."""
        return (running_pid(self.config.redis.directory) or 0) if self.config.redis.managed else 0

    def _start_redis(self) -> None:
        if self.config.redis.managed and not self._redis_pid():
            directory = self.config.redis.directory
            PrivateRedis(directory, daemonised=True).start()
            self._report(f"redis: started in {directory}")

    def _pids(self) -> dict[str, int]:
        """The processes of the peers by name, as any peer knows it."""
        try:
            with Client(self.config, timeout_s=ANSWER_SECONDS) as client:
                return {row.name: row.pid for row in client.peers()}
        except ClientError:
            return {}


def _say_nothing(_line: str) -> None:
    pass
