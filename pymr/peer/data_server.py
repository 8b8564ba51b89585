"""Serving: answers every read with a chunk or a refusal, keeping nothing between two of them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import get_args

from pymr.config import ClusterConfig
from pymr.faults import fault_point
from pymr.keys import AllowList, Security
from pymr.peer.data_protocol import (
    FOR_VIEWERS,
    Chunk,
    DataRefused,
    Read,
    Refusal,
    checksum_of,
    decode_read,
    encode_header,
)
from pymr.peer.data_sockets import ServerSocket
from pymr.peer.frames import BadFrame
from pymr.peer.resources import Resources
from pymr.requests import Role

STRIKES_MAX = 3
"""Bad frames after which a connection is not listened to any more."""

_SENDERS_MAX = 10_000  # of bad frames that are remembered; beyond, the oldest are forgotten
_REASON_CHARACTERS_MAX = 1_000
_WAIT_SECONDS = 1.0
_log = logging.getLogger("pymr")


class DataServer:
    """Answers reads, in the thread that made its socket. bad_frames: those that said nothing valid."""

    def __init__(
        self, socket: ServerSocket, config: ClusterConfig, peer_name: str, security: Security
    ) -> None:
        self.bad_frames = 0
        self._socket = socket
        self._resources = Resources(config, peer_name)
        self._has_keys = security.has_keys
        self._allowed = AllowList(security)
        self._strikes: OrderedDict[bytes, int] = OrderedDict()

    def serve(self) -> None:
        """Go on for ever."""
        while True:
            if self._socket.wait(_WAIT_SECONDS):
                self.serve_next()

    def serve_next(self) -> None:
        """Answer what has come."""
        while (message := self._socket.receive()) is not None:
            identity, user, frames = message
            if self._strikes.get(identity, 0) >= STRIKES_MAX:
                continue
            try:
                if len(frames) != 1:
                    raise BadFrame(f"{len(frames)} frames, where a read is one", "garbage")
                read = decode_read(frames[0])
            except BadFrame as error:
                self._strike(identity, user, error)
            else:
                self._answer(identity, user, read)

    def _answer(self, identity: bytes, user: str, read: Read) -> None:
        try:
            self._check_right(user, read)
            piece = self._resources.read(read.resource, read.offset, read.length)
        except DataRefused as refused:
            refusal = Refusal(read.id, refused.code, refused.reason[:_REASON_CHARACTERS_MAX])
            self._socket.send(identity, encode_header(refusal), None)
            return
        except Exception:  # the boundary of a request: nobody else is to suffer for it
            _log.exception("a read of %s failed", user)
            refusal = Refusal(read.id, "unreadable", "an error in the data service; its log has the details")
            self._socket.send(identity, encode_header(refusal), None)
            return
        checksum = checksum_of(piece.data, piece.facts)
        header = encode_header(Chunk(read.id, piece.offset, piece.size, checksum, piece.facts))
        self._socket.send(identity, header, _after_faults(piece.data))

    def _check_right(self, user: str, read: Read) -> None:
        role, _, name = user.partition(":")
        if role not in get_args(Role):
            raise DataRefused("denied", "no gatekeeper has seen who asks")
        if self._has_keys and not self._allowed.has(role, name):
            raise DataRefused("denied", f"the key of {name} is no longer admitted as {role}")
        if role == "viewer" and not isinstance(read.resource, FOR_VIEWERS):
            what = type(read.resource).__name__.lower()
            raise DataRefused("denied", f"{name} may look at output and panes; a {what} needs another role")

    def _strike(self, identity: bytes, user: str, error: BadFrame) -> None:
        self.bad_frames += 1
        strikes = self._strikes[identity] = self._strikes.pop(identity, 0) + 1
        if len(self._strikes) > _SENDERS_MAX:
            self._strikes.popitem(last=False)
        if strikes == 1:
            _log.warning("a bad frame for the data service from %s: %.500s", user or "nobody", error.reason)


def _after_faults(data: bytes) -> bytes:
    try:
        fault_point("data.corrupt")
    except OSError:  # a test wants a bit to flip on its way
        return bytes([data[0] ^ 1]) + data[1:] if data else b"\0"
    return data
