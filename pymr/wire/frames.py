"""The frames of the control transport: one msgpack message in an envelope, checked before anyone acts on it.

    b"pymr" | version (1 byte) | kind: P (of peers), C (of consoles), A (answer) | the message, as msgpack
"""  # fmt: skip

from __future__ import annotations

from functools import cache
from typing import Any, Literal, cast

import msgspec
from msgspec import msgpack

from pymr.base.errors import PymrError
from pymr.wire.protocol import PROTOCOL_VERSION, Orders, PeerMessage
from pymr.wire.requests import CheckJob, PreviewJob, Reply, Request, SubmitJob

FRAME_BYTES_MAX = 2 << 20
"""A longer frame is not sent, and ends the connection it comes in on."""

NESTING_MAX = 64
"""Deepest nesting of the free-form values (a job's fields, a run's summary) in a message."""

_MAGIC = b"pymr"
_HEAD_BYTES = len(_MAGIC) + 2
_ENCODER = msgpack.Encoder()

FrameCode = Literal["garbage", "version", "kind", "message", "size"]
Kind = Literal[b"P", b"C", b"A"]


class BadFrame(PymrError):  # noqa: N818  (what it is, not what went wrong with it)
    """A frame that says nothing that can be acted on. code: `version` where only that differs."""

    def __init__(self, reason: str, code: FrameCode) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[BadFrame], tuple[str, FrameCode]]:
        return type(self), (self.reason, self.code)


class Heading(msgspec.Struct, frozen=True):
    """What a request is and which one, without the rest of it."""

    ask: str = ""
    id: str = ""


def encode(message: PeerMessage | Request | Reply) -> bytes:
    """The frame of a message. Text that UTF-8 has no form for (parts of file names) is escaped.

    Raises BadFrame with code "size" for one that nobody would take.
    """
    try:
        body = _ENCODER.encode(message)
    except UnicodeEncodeError:
        body = _ENCODER.encode(_escaped(msgspec.to_builtins(message, builtin_types=(bytes,))))
    if len(body) + _HEAD_BYTES > FRAME_BYTES_MAX:
        name = type(message).__name__
        raise BadFrame(
            f"a {name} of {len(body):,} bytes is more than the {FRAME_BYTES_MAX:,} of a frame", "size"
        )
    return _MAGIC + bytes([PROTOCOL_VERSION]) + _kind_of(message) + body


def decode_any(frame: bytes) -> PeerMessage | Request:
    """What a peer or a console has sent. Raises BadFrame, as all that follow do."""
    return decode_request(frame) if kind_of_frame(frame) == b"C" else decode_peer(frame)


def decode_peer(frame: bytes) -> PeerMessage:
    message = cast(PeerMessage, _decode(frame, b"P"))
    if isinstance(message, Orders):
        for order in message.runs:
            _check_plain(order.fields)
        for publish in message.publish:
            _check_plain(publish.summary)
    return message


def decode_request(frame: bytes) -> Request:
    request = cast(Request, _decode(frame, b"C"))
    if isinstance(request, CheckJob | SubmitJob | PreviewJob):
        _check_plain(request.fields)
    return request


def decode_reply(frame: bytes) -> Reply:
    return cast(Reply, _decode(frame, b"A"))


def decode_heading(frame: bytes) -> Heading:
    """What a frame of any version asks, as far as can be told; empty where it cannot. Costs no memory."""
    try:
        return _decoder(None).decode(memoryview(frame)[_HEAD_BYTES:])  # type: ignore[no-any-return]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Heading()


def kind_of_frame(frame: bytes) -> Kind:
    """Raises BadFrame unless the frame has the envelope, of this version."""
    if frame[: len(_MAGIC)] != _MAGIC or len(frame) < _HEAD_BYTES:
        raise BadFrame("this is no frame of pymr", "garbage")
    if len(frame) > FRAME_BYTES_MAX:
        raise BadFrame(f"a frame of {len(frame):,} bytes; the most is {FRAME_BYTES_MAX:,}", "size")
    version = frame[len(_MAGIC)]
    if version != PROTOCOL_VERSION:
        raise BadFrame(
            f"a frame of protocol version {version}, where this side speaks version {PROTOCOL_VERSION}: "
            "install the same release of pymr on both sides",
            "version",
        )
    kind = frame[_HEAD_BYTES - 1 : _HEAD_BYTES]
    if kind not in (b"P", b"C", b"A"):
        raise BadFrame(f"a frame of the unknown kind {kind!r}", "kind")
    return cast(Kind, kind)


def is_of_console(frame: bytes) -> bool:
    """Whether a frame, of whatever version, says that a console has sent it."""
    return frame[: len(_MAGIC)] == _MAGIC and frame[_HEAD_BYTES - 1 : _HEAD_BYTES] == b"C"


def _decode(frame: bytes, wanted: Kind) -> object:
    kind = kind_of_frame(frame)
    if kind != wanted:
        raise BadFrame(
            f"a frame of kind {kind.decode()}, where one of kind {wanted.decode()} belongs", "kind"
        )
    try:
        return _decoder(wanted).decode(memoryview(frame)[_HEAD_BYTES:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a valid message: {error}", "message") from error


@cache
def _decoder(kind: Kind | None) -> msgpack.Decoder[Any]:
    """Made when first needed: the types of all messages take a few milliseconds to look through."""
    types: dict[Kind | None, Any] = {b"P": PeerMessage, b"C": Request, b"A": Reply, None: Heading}
    return msgpack.Decoder(types[kind], strict=True)


def _kind_of(message: PeerMessage | Request | Reply) -> Kind:
    kinds: dict[str | None, Kind] = {"type": b"P", "ask": b"C", "reply": b"A"}
    return kinds[message.__struct_config__.tag_field]


def _check_plain(values: dict[str, Any]) -> None:
    """Raise BadFrame unless free-form values are such as TOML has, nested no deeper than NESTING_MAX."""
    level: list[Any] = [values]
    for _ in range(NESTING_MAX):
        if not level:
            return
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                if not all(type(key) is str for key in value):
                    raise BadFrame("not a valid message: a name that is no text", "message")
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, msgpack.Ext):
                raise BadFrame("not a valid message: a value of an extension type", "message")
        level = below
    raise BadFrame(f"not a valid message: nested deeper than {NESTING_MAX}", "message")


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(each) for each in value]
    return value
