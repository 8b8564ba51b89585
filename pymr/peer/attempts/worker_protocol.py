"""What a daemon and a worker process say to each other on their pipe: length-prefixed msgpack, bounded.

User code runs at the other end and may write anything into it; what is no message raises BadMessage here.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import msgpack

from pymr.config.cluster import ClusterConfig
from pymr.wire.outcomes import AttemptId, EarlierFailure, EnginePhase, Failure, Outcome
from pymr.wire.protocol import StepInput

MESSAGE_BYTES_MAX = 1 << 20
"""Longest message. A longer one is not sent, and whoever claims to send one is not listened to any more."""

READ_BYTES_MAX = 64 << 10
"""Most that is taken from a worker at once: one that floods its pipe or terminal holds up no other."""

PIPE_CLOSED_STATUS = 74
"""With which a worker ends whose pipe to the daemon is no longer what it was on its own side."""

_LENGTH_BYTES = 4

Message = TypeVar("Message")


class WorkerSetup(msgspec.Struct, frozen=True, kw_only=True, tag="setup"):
    """The run that a worker is for, once, as its first message.

    worker: its name, `alpha/0`. fields: the job, as `parse_job` takes it. projects_dir: the folder in which
    that of the job's project lies. data_dir: of the peer, for auxiliary data. engine: of EngineConfig.
    runs_dir: the folder in which that of the run lies. cluster: the configuration, where the run is no
    mapreduce run, or an external engine does it.
    """

    run_id: str
    worker: str
    fields: dict[str, Any]
    projects_dir: str
    data_dir: str
    engine: dict[str, Any]
    memory_bytes: int
    partitions: int
    runs_dir: str
    cluster: ClusterConfig | None = None


class PreviewSetup(msgspec.Struct, frozen=True, kw_only=True, tag="preview"):
    """A job to be tried on the first lines of the input of a peer's host: all that its worker is told.

    fields, projects_dir, memory_bytes: as in WorkerSetup. scratch: a folder of its own, which is there.
    lines: how many of the input.
    """

    cluster: ClusterConfig
    peer: str
    fields: dict[str, Any]
    projects_dir: str
    scratch: str
    memory_bytes: int
    lines: int


class MapOrder(msgspec.Struct, frozen=True, tag="map"):
    """Do the `plan_index`-th map task of the plan at `plan_path`. earlier: see protocol.Assignment."""

    id: AttemptId
    plan_path: str
    plan_index: int
    earlier: EarlierFailure | None = None


class ReduceOrder(msgspec.Struct, frozen=True, tag="reduce"):
    """Reduce a partition, whose segments the file at `sources_path` lists."""

    id: AttemptId
    partition: int
    sources_path: str
    earlier: EarlierFailure | None = None


class StepOrder(msgspec.Struct, frozen=True, tag="step"):
    """Do a step of a script or file_transfer run, its kind being that of its id. inputs: see
    protocol.Assignment."""

    id: AttemptId
    inputs: tuple[StepInput, ...] = ()
    earlier: EarlierFailure | None = None


class DriverOrder(msgspec.Struct, frozen=True, tag="driver"):
    """Drive a run on an external engine. plan_paths: its plans, in the order of its map tasks."""

    id: AttemptId
    plan_paths: tuple[str, ...]
    earlier: EarlierFailure | None = None


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """The worker has loaded the job's functions, if it has any."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The worker could not load the job's functions, and ends."""

    failure: Failure


class Progress(msgspec.Struct, frozen=True, tag="progress"):
    """How far the task is. done: (records, bytes), (groups, values) or (files, bytes). ticks: moves while
    none of these does. phase: see protocol.RunningAttempt."""

    done: tuple[int, int]
    ticks: int
    phase: EnginePhase | None = None


PreviewStage = Literal["load", "find", "map", "reduce"]


class PreviewNews(msgspec.Struct, frozen=True, kw_only=True, tag="preview"):
    """How far a preview is: so far, but for items, which are those since the last news.

    files: of the input, that were seen while it was looked for. lines: that were given to the map function.
    groups: that were reduced. where: the frames in which the project's code is, as in a traceback; "" for
    none. output, output_total and error: with the last news (`is_last`); for them and all others see
    requests.PreviewView.
    """

    stage: PreviewStage
    path: str = ""
    files: int = 0
    lines: int = 0
    items: tuple[str, ...] = ()
    items_total: int = 0
    groups: int = 0
    where: str = ""
    output: tuple[str, ...] = ()
    output_total: int = 0
    error: str = ""
    is_last: bool = False
    absent: tuple[str, ...] = ()


class TaskDone(msgspec.Struct, frozen=True, tag="done"):
    """A task has ended, well or not."""

    id: AttemptId
    outcome: Outcome


class Paused(msgspec.Struct, frozen=True, tag="paused"):
    """A function waits at a breakpoint for whoever types. where: file, line and function."""

    where: str


class Resumed(msgspec.Struct, frozen=True, tag="resumed"):
    """It goes on."""


TaskOrder = MapOrder | ReduceOrder | StepOrder | DriverOrder
ToWorker = WorkerSetup | PreviewSetup | MapOrder | ReduceOrder | StepOrder | DriverOrder
FromWorker = Ready | Failed | Progress | PreviewNews | TaskDone | Paused | Resumed


class BadMessage(Exception):  # noqa: N818  (what it is, not what went wrong with it)
    """What came or should go over a pipe is no message."""


def frame(message: ToWorker | FromWorker) -> bytes:
    """A message as it goes over the pipe. Raises BadMessage where it has no such form or is too long."""
    try:
        body = msgpack.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise BadMessage(f"{type(message).__name__} cannot be sent: {error}") from error
    if len(body) > MESSAGE_BYTES_MAX:
        raise BadMessage(f"{type(message).__name__} of {len(body):,} bytes is too long to be sent")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class MessageReader(Generic[Message]):
    """Puts messages together from what arrives of them. Holds at most one message and what came with it."""

    def __init__(self, kind: Any) -> None:
        self._decoder: msgpack.Decoder[Message] = msgpack.Decoder(kind)
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete now. Raises BadMessage for bytes that are none."""
        pending = self._pending
        pending += data
        messages: list[Message] = []
        while len(pending) >= _LENGTH_BYTES:
            length = int.from_bytes(pending[:_LENGTH_BYTES], "big")
            if length > MESSAGE_BYTES_MAX:
                raise BadMessage(f"a message of {length:,} bytes is announced")
            end = _LENGTH_BYTES + length
            if len(pending) < end:
                break
            try:
                messages.append(self._decoder.decode(pending[_LENGTH_BYTES:end]))
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                raise BadMessage(f"no message of the protocol: {error}") from error
            del pending[:end]
        return messages


FROM_WORKER: Any = FromWorker
TO_WORKER: Any = ToWorker
