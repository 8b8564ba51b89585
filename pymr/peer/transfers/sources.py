"""Sources: lists and files of other peers for a step of a transfer, wherever they lie.

On its own host a step reads them directly, from elsewhere through the data services. It waits for a machine
that is gone as long as a run does, and says so in its pane.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator

from pymr.base.errors import (
    DamagedFileError,
    DiskError,
    FatalError,
    InputError,
    MissingSegmentError,
)
from pymr.config.cluster import ClusterConfig
from pymr.data.protocol import READ_BYTES_MAX, DataRefused, Pack, StepFile
from pymr.data.stream import Bytes, DataStream, Range
from pymr.peer.disk.file_lists import (
    SUMMARY_NAME,
    FileList,
    Summary,
    parse_list,
    parse_summary,
    piece_name,
)
from pymr.peer.disk.resources import Resources
from pymr.wire.keys import load_security
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import StepInput
from pymr.wire.retry import Unreachable

_SAY_SECONDS = 30.0


class Sources:
    """What the earlier steps of a run have left, and the files that their lists name.

    tick: called now and then while it waits. Everything raises InputError (a file has changed), FatalError
    (a machine is gone for too long, or something else that does not get better), DamagedFileError,
    MissingSegmentError (what an earlier step has left is gone from the disk).
    """

    def __init__(self, config: ClusterConfig, peer: str, run_id: str, tick: Callable[[], object]) -> None:
        self._config = config
        self._peer = peer
        self._run_id = run_id
        self._tick = tick
        self._streams: dict[str, DataStream] = {}
        self._direct = Resources(config, peer)
        self._hosts = {peer.name: peer.host for peer in config.peers}
        self._data_dirs = {peer.name: peer.data_dir for peer in config.peers}
        self._said_at = 0.0

    def close(self) -> None:
        for stream in self._streams.values():
            stream.close()
        self._streams.clear()
        self._direct.close()

    def summary(self, step: StepInput) -> Summary:
        return parse_summary(self._file(step, SUMMARY_NAME), f"{step.task} of {step.peer}")

    def pieces(self, step: StepInput, name: str) -> Iterator[tuple[str, FileList]]:
        """The pieces of a list, each with its name."""
        for piece in range(self.summary(step).pieces.get(name, 0)):
            yield piece_name(name, piece), self.piece(step, piece_name(name, piece))

    def piece(self, step: StepInput, name: str) -> FileList:
        return parse_list(self._file(step, name), f"{step.task}/{name} of {step.peer}")

    def content(
        self, step: StepInput, name: str, ranges: Iterable[Range], *, compress: bool
    ) -> Iterator[Bytes]:
        """The bytes of the files that a piece of a list names, seen as one stream: of these ranges of it."""
        pack = Pack(step.peer, self._run_id, step.task, step.attempt, name)
        with_errors = self._read(pack, ranges, compress=compress)
        while (data := self._next(step, with_errors)) is not None:
            yield data

    def _file(self, step: StepInput, name: str) -> bytes:
        file = StepFile(step.peer, self._run_id, step.task, step.attempt, name)
        data = []
        offset = 0
        while True:  # its size is not known before
            pieces = self._read(file, [(offset, READ_BYTES_MAX)], compress=False)
            data.append(b"".join(iter(lambda: self._next(step, pieces) or b"", b"")))  # noqa: B023
            offset += len(data[-1])
            if len(data[-1]) < READ_BYTES_MAX:
                return b"".join(data)

    def _read(self, resource: StepFile | Pack, ranges: Iterable[Range], *, compress: bool) -> Iterator[Bytes]:
        if self._is_here(resource.peer):
            for offset, length in ranges:
                for start in range(offset, offset + length, READ_BYTES_MAX):
                    count = min(READ_BYTES_MAX, offset + length - start)
                    yield self._direct.read(resource, start, count).data
        else:
            yield from self._stream(resource.peer).read(resource, ranges, compress=compress)

    def _next(self, step: StepInput, pieces: Iterator[Bytes]) -> Bytes | None:
        where = f"peer {step.peer} (host {self._hosts.get(step.peer, 'unknown')})"
        try:
            return next(pieces, None)
        except Unreachable as error:
            raise FatalError(f"waiting for {where} was given up: {error}") from error
        except DataRefused as error:
            if error.code == "missing":  # the list itself: what it names is told of as changed
                task, attempt = step.task, step.attempt
                text = f"on {where}: {error.reason}; {task} is done again if nothing hangs on it yet"
                raise MissingSegmentError(
                    text, task, attempt, missing=AttemptId(self._run_id, task, attempt)
                ) from error
            if error.code == "changed":
                raise InputError(f"on {where}: {error.reason}; run the transfer again") from error
            if error.code == "corrupt":
                raise DamagedFileError(f"on {where}: {error.reason}") from error
            if error.code == "unreadable":
                raise DiskError(f"on {where}: {error.reason}") from error
            raise FatalError(f"on {where}: {error.reason}") from error

    def _is_here(self, peer: str) -> bool:
        same_host = self._hosts.get(peer) == self._hosts.get(self._peer)
        return same_host and os.path.isdir(self._data_dirs[peer])

    def _stream(self, peer: str) -> DataStream:
        if peer not in self._streams:
            self._streams[peer] = DataStream(
                self._config,
                load_security(self._config, self._peer),
                peer,
                patience_s=self._config.scheduler.machine_grace_seconds,
                on_wait=lambda reason: self._wait(peer, reason),
            )
        return self._streams[peer]

    def _wait(self, peer: str, reason: str) -> None:
        self._tick()
        if time.monotonic() - self._said_at > _SAY_SECONDS:
            self._said_at = time.monotonic()
            print(f"waiting for the data service of {peer}: {reason}", flush=True)
