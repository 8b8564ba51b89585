"""What data services and consoles say to each other: a byte range is asked for, a chunk or a refusal comes.

A message is a header frame, b"pymr" | version (1 byte) | msgpack, and behind that of a chunk its payload. An
answer may be lost and a question repeated: a server keeps nothing between two of them.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec
from msgspec import Meta, msgpack
from xxhash import xxh3_64_intdigest

from pymr.base.errors import PymrError
from pymr.wire.frames import BadFrame

DATA_VERSION = 1

READ_BYTES_MAX = 1 << 20
"""Most bytes of one chunk."""

READ_HEADER_BYTES_MAX = 64 << 10
ANSWER_HEADER_BYTES_MAX = 2 << 20
"""Of an answer, which may carry the facts of many runs."""

FRAME_BYTES_MAX = 2 << 20
"""A longer frame ends the connection it comes in on."""

INFO_BYTES_MAX = 1 << 20

_ENVELOPE = b"pymr" + bytes([DATA_VERSION])
_ENCODER = msgpack.Encoder()
_Name = Annotated[str, Meta(max_length=255)]
_Number = Annotated[int, Meta(ge=0, lt=1 << 62)]


class Segment(msgspec.Struct, frozen=True, array_like=True, tag="segment"):
    """A partition's part of a map output: the bytes of all its runs, one behind another.

    Facts: msgpack of [length, keys, values] of each run.
    """

    peer: _Name
    run_id: _Name
    task: _Name
    attempt: _Name
    partition: _Number


class Plan(msgspec.Struct, frozen=True, array_like=True, tag="plan"):
    """The map tasks of a host in a run; shared: those of the folders that all hosts share."""

    peer: _Name
    run_id: _Name
    shared: bool = False


class Pane(msgspec.Struct, frozen=True, array_like=True, tag="pane"):
    """What a worker slot put out in a run; run_id: "" for the newest.

    A negative offset counts from the end. Facts: msgpack of (run_id, bytes skipped, marks); see pane_marks.
    """

    peer: _Name
    slot: _Number
    run_id: _Name


class Output(msgspec.Struct, frozen=True, array_like=True, tag="output"):
    """A file of a job's published output."""

    peer: _Name
    job_name: _Name
    name: _Name


class StepFile(msgspec.Struct, frozen=True, array_like=True, tag="step"):
    """A file in the folder of a finished attempt at a step, such as a list of what a transfer moves."""

    peer: _Name
    run_id: _Name
    task: _Name
    attempt: _Name
    name: _Name


class Pack(msgspec.Struct, frozen=True, array_like=True, tag="pack"):
    """The files that a list names, one behind another, where the list is that StepFile. See `packs`."""

    peer: _Name
    run_id: _Name
    task: _Name
    attempt: _Name
    name: _Name


class Staged(msgspec.Struct, frozen=True, array_like=True, tag="staged"):
    """Of a folder `uploads/UPLOAD_ID`, in which files for a console lie: one of its lists, or, with
    is_content, the files that this names as a stream."""

    peer: _Name
    upload_id: _Name
    name: _Name
    is_content: bool = False


Resource = Segment | Plan | Pane | Output | StepFile | Pack | Staged
"""What can be read. peer: in whose data folder it lies; any peer of the same host can be asked for it."""

FOR_VIEWERS = (Pane, Output)


class Read(msgspec.Struct, frozen=True, array_like=True, tag="read"):
    """Answered by Chunk, or by Refusal. id: chosen by who asks. compress: the payload may come compressed."""

    id: _Number
    resource: Resource
    offset: Annotated[int, Meta(gt=-(1 << 62), lt=1 << 62)]
    length: Annotated[int, Meta(ge=0, le=READ_BYTES_MAX)]
    compress: bool = False


class Write(msgspec.Struct, frozen=True, array_like=True, tag="write"):
    """Put the payload, which follows in a frame of its own, at `offset` of a file in `uploads/UPLOAD_ID`.

    Answered by Written, or by Refusal; by operators only. name: `list` or `pack`. checksum: of the payload.
    """

    id: _Number
    peer: _Name
    upload_id: _Name
    name: _Name
    offset: _Number
    checksum: int


class Discard(msgspec.Struct, frozen=True, array_like=True, tag="discard"):
    """Remove `uploads/UPLOAD_ID`. Answered by Written, or by Refusal; by operators only."""

    id: _Number
    peer: _Name
    upload_id: _Name


class UploadWritten(msgspec.Struct, frozen=True, array_like=True, tag="written"):
    """size: of the file as it is now, up to which nothing need be sent again."""

    id: _Number
    size: _Number


class Chunk(msgspec.Struct, frozen=True, array_like=True, tag="chunk"):
    """The bytes at `offset`: all that were asked for, or up to the end. size: of the whole resource.

    facts: in the chunk at offset 0 of a segment, and in every chunk of a pane. codec: of the payload, "zstd"
    or "" for none; the checksum is that of the payload as it is sent.
    """

    id: _Number
    offset: _Number
    size: _Number
    checksum: int
    info: bytes = b""
    codec: str = ""


class Refusal(msgspec.Struct, frozen=True, array_like=True, tag="refusal"):
    """code: `missing`, `corrupt`, `changed`: for good; `denied`, `invalid`: not asked rightly; `unreadable`:
    not now; `full`: the disk has no room."""

    id: _Number
    code: str
    reason: str


Question = Read | Write | Discard
Answer = Chunk | Refusal | UploadWritten
Message = TypeVar("Message")

_QUESTIONS: msgpack.Decoder[Question] = msgpack.Decoder(Question, strict=True)
_ANSWERS: msgpack.Decoder[Answer] = msgpack.Decoder(Answer, strict=True)


class DataRefused(PymrError):  # noqa: N818  (what was answered)
    """A resource cannot be had. code: see Refusal."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[DataRefused], tuple[str, str]]:
        return type(self), (self.code, self.reason)


def checksum_of(payload: bytes | memoryview, info: bytes) -> int:
    """xxh3-64 of a chunk's payload, seeded with that of its facts if it has any."""
    return xxh3_64_intdigest(payload, seed=xxh3_64_intdigest(info) if info else 0)


def encode_header(message: Question | Answer) -> bytes:
    return _ENVELOPE + _ENCODER.encode(message)


def decode_question(frame: bytes | memoryview) -> Question:
    """Raises BadFrame."""
    return _decode(frame, _QUESTIONS, READ_HEADER_BYTES_MAX)


def decode_answer(frame: bytes | memoryview) -> Answer:
    """Raises BadFrame."""
    return _decode(frame, _ANSWERS, ANSWER_HEADER_BYTES_MAX)


def _decode(frame: bytes | memoryview, decoder: msgpack.Decoder[Message], bytes_max: int) -> Message:
    view = memoryview(frame)
    if view[:4] != _ENVELOPE[:4]:
        raise BadFrame("this is no frame of a data service", "garbage")
    if view[4:5] != _ENVELOPE[4:]:
        raise BadFrame("it is of another version: install the same release of pymr everywhere", "version")
    if len(view) > bytes_max:
        raise BadFrame(f"a header of {len(view):,} bytes; the most is {bytes_max:,}", "size")
    try:
        return decoder.decode(view[5:])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"not a valid message: {error}", "message") from error
