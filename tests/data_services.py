"""Data services of two hosts on this machine, with map outputs to fetch: for the tests and the benchmark."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import msgspec
import psutil

from pymr.config.cluster import ClusterConfig, PeerConfig, SchedulerConfig, SecurityConfig
from pymr.data.orders import Fetched, FetchFailed, FetchOrder, Owner
from pymr.data.protocol import Resource, Segment
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.segments import RUNS_NAME, write_index
from pymr.engine.tasks import MapOutput
from pymr.peer.data_service import DataService
from pymr.wire.keys import write_authorized, write_key
from pymr.wire.sockets import make_keypair
from tests.cluster.ports import free_port

RUN_ID = "job-1"
ATTEMPT = "1.1"
HOSTS = {"alpha": "127.0.0.1", "beta": "127.0.0.2"}
LIMIT_SECONDS = 60.0


def make_config(
    folder: Path,
    *,
    curve: bool = False,
    names: Sequence[str] = tuple(HOSTS),
    grace_seconds: float = LIMIT_SECONDS,
) -> ClusterConfig:
    """Peers on hosts of their own, other names on alpha's; with keys for them, an operator and a viewer."""
    peers = []
    for name in names:
        host = HOSTS.get(name, HOSTS["alpha"])
        data_dir = folder / name
        data_dir.mkdir(parents=True, exist_ok=True)
        peers.append(
            PeerConfig(
                name=name,
                host=host,
                control_port=free_port(),
                data_port=free_port(),
                workers=1,
                data_dir=str(data_dir),
            )
        )
    keys_dir = write_keys(folder / "keys", names) if curve else None
    scheduler = SchedulerConfig(machine_grace_seconds=grace_seconds)
    return ClusterConfig(peers=tuple(peers), security=SecurityConfig(keys_dir=keys_dir), scheduler=scheduler)


def write_keys(folder: Path, peer_names: Sequence[str]) -> str:
    entries = {}
    for name in [*peer_names, "operator", "viewer"]:
        public, secret = make_keypair()
        write_key(folder, name, public, secret)
        role = name if name in ("operator", "viewer") else "peer"
        entries[name] = (role, public)
    write_authorized(folder, entries)  # type: ignore[arg-type]
    return str(folder)


def peer_of(config: ClusterConfig, name: str) -> PeerConfig:
    return next(peer for peer in config.peers if peer.name == name)


def owner_of(config: ClusterConfig, name: str, port: int = 0) -> Owner:
    peer = peer_of(config, name)
    return peer.name, peer.host, port or peer.data_port


def write_attempt(
    config: ClusterConfig, peer_name: str, task: str, runs: Sequence[tuple[int, int]], seed: int = 0
) -> list[bytes]:
    """A finished map attempt of random bytes; returns those. runs: (partition, length) in their order."""
    folder = Path(peer_of(config, peer_name).data_dir, "runs", RUN_ID, f"{task}-{ATTEMPT}")
    folder.mkdir(parents=True)
    source = random.Random(seed)
    path = str(folder / RUNS_NAME)
    written, contents = [], []
    with open(path, "wb") as file:
        for partition, length in runs:
            content = source.randbytes(length)
            written.append(SortedRun(path, partition, file.tell(), length, length // 2, length))
            file.write(content)
            contents.append(content)
    write_index(str(folder), MapOutput(tuple(written), 1, 1, {}, digest="0"))
    return contents


def write_output(config: ClusterConfig, name: str, content: bytes) -> Path:
    """A file in the published output of the job `job`, on alpha."""
    path = Path(peer_of(config, "alpha").data_dir, "jobs", "job", "reduce", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def segment_of(peer_name: str, task: str, partition: int) -> Segment:
    return Segment(peer_name, RUN_ID, task, ATTEMPT, partition)


class Service:
    """A data service, driven as a daemon does. The target of a fetch lies in the run's folder of its peer."""

    def __init__(self, config: ClusterConfig, name: str) -> None:
        self.config = config
        self.name = name
        self.folder = Path(peer_of(config, name).data_dir, "runs", RUN_ID, "fetched")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        self.fetched: list[Fetched] = []
        self.lost: list[FetchFailed] = []
        self.service = DataService.start(
            config, name, on_fetched=self.fetched.append, on_lost=self.lost.append
        )

    def __enter__(self) -> Service:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.service.close()

    def fetch(self, resource: Resource, *owners: Owner, key: str = "", in_flight: int = 10) -> Path:
        """Order a fetch; where it will lie. key: one of its own if it is not given."""
        key = key or "-".join(map(str, msgspec.structs.astuple(resource))).replace("/", "-")
        target = self.folder / key
        self.service.fetch(FetchOrder(RUN_ID, key, resource, owners, str(target), in_flight))
        return target

    def pump(self, seconds: float = 0.05) -> None:
        """Hear what has come."""
        poll = select.poll()  # unlike select() with any descriptor
        poll.register(self.service, select.POLLIN)
        if poll.poll(seconds * 1_000):
            self.service.on_ready()

    def pump_until(self, is_done: Callable[[], bool], limit: float = LIMIT_SECONDS) -> None:
        deadline = time.monotonic() + limit
        while not is_done():
            assert time.monotonic() < deadline, (self.fetched, self.lost)
            self.pump()

    def await_serving(self) -> None:
        self.pump_until(lambda: self.service.port > 0)

    def await_fetched(self, count: int = 1, limit: float = LIMIT_SECONDS) -> None:
        self.pump_until(lambda: len(self.fetched) + len(self.lost) >= count, limit)
        assert not self.lost, self.lost

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.service.pid).memory_info().rss)
