"""What the daemon and its fork server say to each other: one msgpack message per packet of their socket."""

from __future__ import annotations

import socket
import sys

import msgspec
from msgspec import msgpack

MESSAGE_BYTES_MAX = 4 << 10

TERMINAL_COLUMNS, TERMINAL_ROWS = 120, 40
"""The size of a worker's terminal until a console says another."""

# macOS has no SEQPACKET between processes. Its datagrams keep message bounds too, but tell of no end: there
# the fork server looks now and then whether its parent is still the same.
SOCKET_KIND = socket.SOCK_SEQPACKET if sys.platform == "linux" else socket.SOCK_DGRAM


class ForkWorker(msgspec.Struct, frozen=True, tag="start"):
    """Fork a worker. id: a number that names it between daemon and fork server, never used again."""

    id: int
    columns: int = TERMINAL_COLUMNS
    rows: int = TERMINAL_ROWS


class KillWorker(msgspec.Struct, frozen=True, tag="kill"):
    """End a worker and all that it has started."""

    id: int


class Started(msgspec.Struct, frozen=True, tag="started"):
    """A worker runs. With it come two descriptors: the master of its terminal, and its pipe."""

    id: int
    pid: int


class StartFailed(msgspec.Struct, frozen=True, tag="failed"):
    """A worker could not be started, for want of processes, terminals or descriptors."""

    id: int
    error: str


class Exited(msgspec.Struct, frozen=True, tag="exited"):
    """A worker has ended, and what it had started is being ended. status: of exit; negative for a signal."""

    id: int
    pid: int
    status: int


ToNursery = ForkWorker | KillWorker
FromNursery = Started | StartFailed | Exited

_TO_NURSERY: msgpack.Decoder[ToNursery] = msgpack.Decoder(ToNursery)
_FROM_NURSERY: msgpack.Decoder[FromNursery] = msgpack.Decoder(FromNursery)


def encode(message: ToNursery | FromNursery) -> bytes:
    """A message as one packet."""
    return msgpack.encode(message)


def decode_to_nursery(packet: bytes) -> ToNursery:
    """A packet from the daemon. Raises msgspec.MsgspecError."""
    return _TO_NURSERY.decode(packet)


def decode_from_nursery(packet: bytes) -> FromNursery:
    """A packet from the fork server. Raises msgspec.MsgspecError."""
    return _FROM_NURSERY.decode(packet)
