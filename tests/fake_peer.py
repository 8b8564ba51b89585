"""A peer that answers consoles as a test tells it to, over a real socket, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import zmq
from cluster.ports import free_port

from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.wire.keys import Security
from pymr.wire.requests import Refused
from pymr.wire.sockets import Authenticator, Endpoint, Sender

Queries = Mapping[type, Callable[[Any], Any]]
"""By type of request: what answers it. An answer of None leaves the console waiting."""


class FakePeer:
    """A context in which a peer answers. asked: every request that came, repetitions included."""

    def __init__(self, name: str, port: int, answers: Queries) -> None:
        self.name = name
        self.answers = dict(answers)
        self.asked: list[Any] = []
        self._port = port
        self._stopping = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name=f"fake peer {name}", daemon=True)

    def __enter__(self) -> FakePeer:
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def asked_for(self, kind: type) -> list[Any]:
        return [request for request in self.asked if isinstance(request, kind)]

    def _serve(self) -> None:
        security = Security(self.name)
        context: zmq.Context[Any] = zmq.Context()
        authenticator = Authenticator(context, security)
        endpoint = Endpoint(context, "127.0.0.1", self._port, security, self._answer)
        self._endpoint = endpoint
        self._ready.set()
        poller = zmq.Poller()
        poller.register(endpoint.fileno(), zmq.POLLIN)
        while not self._stopping.is_set():
            poller.poll(20)
            while endpoint.has_pending():
                endpoint.on_ready()
        endpoint.close()
        authenticator.close()
        context.term()

    def _answer(self, sender: Sender, request: Any) -> None:
        self.asked.append(request)
        answer = self.answers.get(type(request))
        reply = (
            answer(request)
            if answer is not None
            else Refused(id=request.id, code="invalid", reason=f"no answer to {type(request).__name__}")
        )
        if reply is not None:
            self._endpoint.reply(sender, reply)


@contextmanager
def fake_cluster(folder: Path, *answers: Queries, hosts: tuple[str, ...] = ()) -> Iterator[FakeCluster]:
    """Peers `p0`, `p1`... with these answers, and a cluster.toml of them in `folder`."""
    peers = [
        PeerConfig(
            name=f"p{number}",
            host=hosts[number] if hosts else "127.0.0.1",
            control_port=free_port(),
            data_port=free_port(),
            workers=2,
            data_dir=str(folder / f"p{number}"),
        )
        for number in range(len(answers))
    ]
    config = ClusterConfig(name="test", peers=tuple(peers), source=str(folder / "cluster.toml"))
    (folder / "cluster.toml").write_text(_toml(config))
    with ExitStack() as closing:
        fakes = [
            closing.enter_context(FakePeer(peer.name, peer.control_port, answer))
            for peer, answer in zip(peers, answers, strict=True)
        ]
        yield FakeCluster(config, fakes)


class FakeCluster:
    """Peers that answer as told. config: of them, with its file in place."""

    def __init__(self, config: ClusterConfig, peers: list[FakePeer]) -> None:
        self.config = config
        self.peers = peers


def _toml(config: ClusterConfig) -> str:
    from pymr.config.cluster import cluster_toml

    return cluster_toml(config.name, config.peers)
