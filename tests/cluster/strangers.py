"""Clients that do not keep to the rules: sockets of ZeroMQ and of TCP that say what they like to a peer."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil
import zmq
from cluster.clusters import Cluster

from pymr.wire.keys import read_authorized, read_secret

Port = Literal["control", "data"]


class Stranger:
    """A DEALER connected to a port of a peer.

    key: of whom, of those in the folder of keys; "unlisted" for one that nobody knows, None for none.
    """

    def __init__(self, cluster: Cluster, peer: str, key: str | None, port: Port = "control") -> None:
        info = next(one for one in cluster.config.peers if one.name == peer)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndtimeo = self.socket.rcvtimeo = 10_000
        self.socket.setsockopt(zmq.SNDHWM, 0)
        if key is not None:
            public, secret = _keys_of(cluster, key)
            self.socket.curve_publickey, self.socket.curve_secretkey = public, secret
            self.socket.curve_serverkey = _public_key_of(cluster, peer)
        number = info.control_port if port == "control" else info.data_port
        self.socket.connect(f"tcp://{info.host}:{number}")

    def __enter__(self) -> Stranger:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self._context.term()

    def send(self, *frames: bytes) -> None:
        self.socket.send_multipart(frames)

    def try_to_send(self, *frames: bytes) -> None:
        """Send, if anybody is connected to: of who is turned away ZeroMQ takes nothing."""
        with suppress(zmq.Again):
            self.socket.send_multipart(frames, zmq.NOBLOCK)

    def answer(self, timeout_s: float) -> list[bytes] | None:
        """What is answered in that time."""
        return self.socket.recv_multipart() if self.socket.poll(int(timeout_s * 1_000)) else None


def _keys_of(cluster: Cluster, key: str) -> tuple[bytes, bytes]:
    if key == "unlisted":
        return zmq.curve_keypair()
    return read_secret(_folder(cluster) / f"{key}.secret")


def _public_key_of(cluster: Cluster, peer: str) -> bytes:
    listed = read_authorized(_folder(cluster) / "authorized.toml")
    return next(key for key, (_, name) in listed.items() if name == peer)


def _folder(cluster: Cluster) -> Path:
    assert cluster.config.security.keys_dir is not None
    return Path(cluster.config.security.keys_dir)


def resident_bytes(cluster: Cluster, peer: str) -> int:
    """Of a daemon and its data service, together."""
    processes = [psutil.Process(cluster.pid(peer)), cluster.data_service(peer)]
    return sum(process.memory_info().rss for process in processes)
