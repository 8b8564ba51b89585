"""Serving: answers every read with a chunk or a refusal, keeping nothing between two of them."""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import get_args

from pymr.base.faults import fault_point
from pymr.base.zstd import zstd
from pymr.data.contents import ReadableResources, WritableUploads
from pymr.data.protocol import (
    FOR_VIEWERS,
    Chunk,
    DataRefused,
    Discard,
    Question,
    Read,
    Refusal,
    UploadWritten,
    Write,
    checksum_of,
    decode_question,
    encode_header,
)
from pymr.data.sockets import ServerSocket
from pymr.wire.frames import BadFrame
from pymr.wire.keys import AllowList, Security
from pymr.wire.requests import Role

BAD_FRAMES_MAX = 3
"""Bad frames after which a connection is not listened to any more."""

_ZSTD_LEVEL = 1  # it serves one read after the other: nobody is to wait for the last percent
_SENDERS_MAX = 10_000  # of bad frames that are remembered; beyond, the oldest are forgotten
_REASON_CHARACTERS_MAX = 1_000
_WAIT_SECONDS = 1.0
_log = logging.getLogger("pymr")


class DataServer:
    """Answers questions, in the thread that made its socket. bad_frames: those that said nothing valid."""

    def __init__(
        self, socket: ServerSocket, resources: ReadableResources, uploads: WritableUploads, security: Security
    ) -> None:
        self.bad_frames = 0
        self._socket = socket
        self._resources = resources
        self._uploads = uploads
        self._has_keys = security.has_keys
        self._allowed = AllowList(security)
        self._bad_frames_of: OrderedDict[bytes, int] = OrderedDict()

    def serve(self) -> None:
        """Go on for ever."""
        while True:
            if self._socket.wait(_WAIT_SECONDS):
                self.serve_next()

    def serve_next(self) -> None:
        """Answer what has come."""
        while (message := self._socket.receive()) is not None:
            identity, user, frames = message
            if self._bad_frames_of.get(identity, 0) >= BAD_FRAMES_MAX:
                continue
            try:
                question = _question_in(frames)
            except BadFrame as error:
                self._count_bad_frame(identity, user, error)
            else:
                self._answer(identity, user, question, frames[-1])

    def _answer(self, identity: bytes, user: str, question: Question, payload: bytes) -> None:
        """payload: of a Write."""
        try:
            self._check_right(user, question)
            if isinstance(question, Read):
                self._send_chunk(identity, question)
            elif isinstance(question, Write):
                size = self._uploads.write(question, payload)
                self._socket.send(identity, encode_header(UploadWritten(question.id, size)), None)
            else:
                self._uploads.discard(question)
                self._socket.send(identity, encode_header(UploadWritten(question.id, 0)), None)
        except DataRefused as refused:
            refusal = Refusal(question.id, refused.code, refused.reason[:_REASON_CHARACTERS_MAX])
            self._socket.send(identity, encode_header(refusal), None)
        except Exception:  # the boundary of a request: nobody else is to suffer for it
            _log.exception("a %s of %s failed", type(question).__name__.lower(), user)
            reason = "an error in the data service; its log has the details"
            self._socket.send(identity, encode_header(Refusal(question.id, "unreadable", reason)), None)

    def _send_chunk(self, identity: bytes, read: Read) -> None:
        piece = self._resources.read(read.resource, read.offset, read.length)
        payload, codec = _compressed(piece.data) if read.compress else (piece.data, "")
        checksum = checksum_of(payload, piece.info)
        header = encode_header(Chunk(read.id, piece.offset, piece.size, checksum, piece.info, codec))
        self._socket.send(identity, header, _after_faults(payload))

    def _check_right(self, user: str, question: Question) -> None:
        role, _, name = user.partition(":")
        if role not in get_args(Role):
            raise DataRefused("denied", "no authenticator has seen who asks")
        if self._has_keys and not self._allowed.has(role, name):
            raise DataRefused("denied", f"the key of {name} is no longer admitted as {role}")
        if isinstance(question, Write | Discard):
            if role != "operator":
                raise DataRefused("denied", f"{name} is a {role}; only an operator may upload")
        elif role == "viewer" and not isinstance(question.resource, FOR_VIEWERS):
            what = type(question.resource).__name__.lower()
            raise DataRefused("denied", f"{name} may look at output and panes; a {what} needs another role")

    def _count_bad_frame(self, identity: bytes, user: str, error: BadFrame) -> None:
        self.bad_frames += 1
        bad_frames = self._bad_frames_of[identity] = self._bad_frames_of.pop(identity, 0) + 1
        if len(self._bad_frames_of) > _SENDERS_MAX:
            self._bad_frames_of.popitem(last=False)
        if bad_frames == 1:
            _log.warning("a bad frame for the data service from %s: %.500s", user or "nobody", error.reason)


def _question_in(frames: list[bytes]) -> Question:
    """Raises BadFrame."""
    if not frames:
        raise BadFrame("no frame at all", "garbage")
    question = decode_question(frames[0])
    count = 2 if isinstance(question, Write) else 1
    if len(frames) != count:
        raise BadFrame(f"{len(frames)} frames, where {count} are right", "garbage")
    return question


def _compressed(data: bytes) -> tuple[bytes, str]:
    """The bytes as they are to be sent, and how: what does not get smaller stays as it is."""
    smaller = zstd.compress(data, _ZSTD_LEVEL)
    return (smaller, "zstd") if len(smaller) < len(data) else (data, "")


def _after_faults(data: bytes) -> bytes:
    try:
        fault_point("data.corrupt")
    except OSError:  # a test wants a bit to flip on its way
        return bytes([data[0] ^ 1]) + data[1:] if data else b"\0"
    return data
