"""The daemons of a cluster under test: real processes with a Redis of their own, in a test's folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Self

import psutil
from cluster.ports import PortBlock, is_free
from cluster.running import MARKER, processes_of, wait_until

from pymr.client import Client, ClientError
from pymr.config.cluster import ClusterConfig, PeerConfig, cluster_toml, load_config
from pymr.ops.init import _write_keys
from pymr.ops.private_redis import PrivateRedis
from pymr.wire.requests import ClusterView

PEER = Path(sys.executable).with_name("pymr-peer")
NAMES = ("alpha", "beta", "gamma", "delta", "epsilon", "zeta")
DEADLINE_S = 90.0
"""For everything that is waited for, unless a test says how quick it has to be: the machine may be busy."""

START_S = 60.0
STOP_S = 8.0
CLEAN_S = 30.0
"""Within this time nothing may be left of a cluster that has been stopped."""


class Daemons:
    """Daemons of a folder. peers, hosts: their number, and the host of each ("127.0.0.2" is another machine
    than "127.0.0.1" to pymr); settings: of cluster.toml, by section.

    Every process it starts has the marker in its environment, as has whatever they start.
    """

    def __init__(
        self,
        folder: Path,
        peers: int = 3,
        workers: int = 1,
        hosts: Sequence[str] | None = None,
        keys: bool = False,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.marker = uuid.uuid4().hex
        self.env = dict(env or {})
        self.redis = PrivateRedis(folder / "redis")
        self._block = PortBlock()
        hosts = list(hosts or ["127.0.0.1"] * peers)
        members = [
            PeerConfig(
                name=name,
                host=host,
                control_port=self._block.take(),
                data_port=self._block.take(),
                workers=workers,
                data_dir=f"data/{name}",
            )
            for name, host in zip(NAMES, hosts, strict=False)
        ]
        sections: dict[str, dict[str, Any]] = {"redis": {"url": self.redis.url}}
        if keys:
            sections["security"] = {"keys_dir": "keys"}
            _write_keys(folder / "keys", [peer.name for peer in members])
        for section, values in (settings or {}).items():
            sections.setdefault(section, {}).update(values)
        self.path = folder / "cluster.toml"
        self.path.write_text(cluster_toml("t", members, sections))
        self.config: ClusterConfig = load_config(str(self.path))
        self.names = [peer.name for peer in members]
        for name in self.names:
            self.input_of(name).mkdir(parents=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.paused: set[int] = set()
        self._clients: list[Client] = []
        self._client: Client | None = None

    # -- places

    def data(self, peer: str) -> Path:
        return self.folder / "data" / peer

    def input_of(self, peer: str) -> Path:
        return self.data(peer) / "input"

    def log_of(self, peer: str) -> str:
        path = self.folder / f"{peer}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def logs(self) -> str:
        """What all daemons and the Redis have logged, to be shown with a failure."""
        texts = [f"==== {name}\n{self.log_of(name)}" for name in self.names]
        with suppress(OSError):
            texts.append("==== redis\n" + (self.folder / "redis" / "redis.log").read_text()[-2_000:])
        return "\n".join(texts)

    # -- processes

    def start(self, *names: str, wait: bool = True) -> Self:
        """Start the Redis and these peers (default: all), and wait until they answer and one leads."""
        if self.redis.pid is None:
            self.redis.start()
        for name in names or self.names:
            self.launch(name)
        if wait:
            self.wait_for(lambda: self.is_up(names or self.names), START_S, "the peers to answer")
        return self

    def launch(self, name: str) -> None:
        """Start a peer, and do not wait for it."""
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                self.command_of(name),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                cwd="/",
                start_new_session=True,
            )

    def command_of(self, name: str) -> list[str]:
        return [str(PEER), "--config", str(self.path), "--name", name]

    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYMR_")}
        return kept | {MARKER: self.marker, "COLUMNS": "80"} | self.env

    def is_up(self, names: Sequence[str]) -> bool:
        """Whether these peers answer, agree on a leader, and are alive to it."""
        ended = [name for name in names if self.processes[name].poll() is not None]
        assert not ended, f"{ended} ended as they started"
        views = [self.view(name) for name in names]
        leaders = {view.leader for view in views if view is not None}
        return None not in views and len(leaders) == 1 and "" not in leaders and self._knows(names)

    def _knows(self, names: Sequence[str]) -> bool:
        with suppress(ClientError):
            return {row.name for row in self.client.peers() if row.alive} >= set(names)
        return False

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def kill(self, name: str) -> float:
        """kill -9 of a daemon alone; what it has started has to end by itself. The time when it was done."""
        process = self.processes[name]
        process.kill()
        killed_at = time.monotonic()
        process.wait()
        self.paused.discard(process.pid)
        return killed_at

    def restart(self, name: str) -> None:
        """Start a peer that was killed once more, and wait until it answers."""
        self.launch(name)
        self.wait_for(lambda: self.view(name), START_S, f"{name} to answer again")

    def restart_dead(self) -> None:
        """Start all peers again that are not there, so that they can clean up what they have left."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                self.restart(name)

    def pause(self, name: str) -> float:
        """SIGSTOP to a daemon alone; its data service and its workers go on."""
        return self._stop_process(self.pid(name))

    def resume(self, name: str) -> None:
        self._continue_process(self.pid(name))

    def pause_data_service(self, name: str) -> None:
        """SIGSTOP to the data service of a peer, so that nothing is fetched from it or by it."""
        self._stop_process(self.data_service(name).pid)

    def resume_data_service(self, name: str) -> None:
        with suppress(AssertionError):  # it has died with its daemon
            self._continue_process(self.data_service(name).pid)

    def data_service(self, name: str) -> psutil.Process:
        children = psutil.Process(self.pid(name)).children()
        found = [child for child in children if child.name() == "pymr-data"]
        assert found, f"{name} has no data service among {children}"
        return found[0]

    def descendants(self, name: str) -> list[psutil.Process]:
        """All processes that a peer has started, however far down."""
        return psutil.Process(self.pid(name)).children(recursive=True)

    def resume_all(self) -> None:
        """Let everything go on that was paused."""
        for pid in list(self.paused):
            self._continue_process(pid)

    def _stop_process(self, pid: int) -> float:
        os.kill(pid, signal.SIGSTOP)
        self.paused.add(pid)
        return time.monotonic()

    def _continue_process(self, pid: int) -> None:
        self.paused.discard(pid)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def kill_redis(self) -> None:
        self.redis.kill()

    def restart_redis(self, *, empty: bool = False) -> None:
        """Start it with the data it had; empty: without."""
        if empty:
            for path in sorted(self.redis.directory.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        self.redis.start()

    # -- asking

    @property
    def client(self) -> Client:
        """A console; for this thread alone."""
        if self._client is None:
            self._client = self.new_client()
        return self._client

    def new_client(self, timeout_s: float = 10.0) -> Client:
        client = Client(self.config, timeout_s=timeout_s)
        self._clients.append(client)
        return client

    def view(self, name: str, timeout_s: float = 0.7) -> ClusterView | None:
        """The cluster as this peer sees it; None where it does not answer."""
        with suppress(ClientError):
            return self.client.cluster(name, timeout_s)
        return None

    def wait_for(
        self, condition: Callable[[], Any], timeout_s: float = DEADLINE_S, what: str = "a condition"
    ) -> Any:
        """What the condition gives once that is true. Fails at the deadline."""
        found = wait_until(condition, timeout_s)
        assert found, f"waited {timeout_s:.0f} s for {what} in vain"
        return found

    # -- the end

    def left_runs(self) -> list[str]:
        """What lies of runs that have ended below the data folders of the peers that live, and hidden
        leftovers of publications."""
        active = {row.run_id for row in self.client.jobs().rows if row.status == "running"}
        alive = [name for name, process in self.processes.items() if process.poll() is None]
        found = []
        for name in alive:
            found += [path for path in (self.data(name) / "runs").glob("*") if path.name not in active]
            found += list((self.data(name) / "jobs").glob("*/.*")) if not active else []
        return [str(path.relative_to(self.folder)) for path in found]

    def stop(self) -> list[str]:
        """End all daemons as an operator would. What did not end so, and had to be killed."""
        self.resume_all()
        stubborn = []
        for limit_s in (STOP_S, CLEAN_S):  # the first signal lets tasks end, the second does not
            alive = [process for process in self.processes.values() if process.poll() is None]
            for process in alive:
                process.send_signal(signal.SIGTERM)
            wait_gone(alive, limit_s)
        for name, process in self.processes.items():
            if process.poll() is None:
                stubborn.append(name)
                process.kill()
                process.wait()
        return stubborn

    def end(self) -> list[str]:
        """Stop all, and tell what is left that should not be: processes, ports, sockets, files of runs."""
        problems = list(self._problems_of_files()) if self.processes else []
        stubborn = self.stop()
        problems += [f"{stubborn} did not end after SIGTERM"] if stubborn else []
        for client in self._clients:
            client.close()
        if not wait_until(lambda: not processes_of(self.marker), CLEAN_S):
            problems += [f"a process is left: {_shown(process)}" for process in processes_of(self.marker)]
        for process in processes_of(self.marker):
            with suppress(psutil.Error):
                process.kill()
        self.redis.stop()
        if self.redis.socket_path.exists():
            problems.append(f"a socket is left: {self.redis.socket_path}")
        sockets = [str(path) for path in self.folder.rglob("*") if path.is_socket()]
        problems += [f"a socket is left: {path}" for path in sockets]
        for peer in self.config.peers:
            for port in (peer.control_port, peer.data_port):
                if not wait_until(partial(self.is_port_free, port, peer.host), CLEAN_S):
                    problems.append(f"{peer.name}: port {port} is still taken")
        self._block.close()
        return problems

    def is_port_free(self, port: int, host: str) -> bool:
        return is_free(port, host)

    def _problems_of_files(self) -> Iterator[str]:
        with suppress(ClientError):
            if not wait_until(lambda: not self.left_runs(), CLEAN_S):
                yield f"left of runs that have ended: {self.left_runs()}"


def wait_gone(processes: Sequence[subprocess.Popen[bytes]], timeout_s: float) -> None:
    wait_until(lambda: all(process.poll() is not None for process in processes), timeout_s)


def _shown(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return f"{process.pid} {process.name()} {process.status()} {process.cmdline()}"
    return str(process.pid)
