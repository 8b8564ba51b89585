"""Local state: what a peer remembers over its restarts: who it is, the highest epoch it saw, the job
table."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from contextlib import suppress

import msgspec

from pymr.base.durable import replace_file, write_file
from pymr.base.errors import StartError, disk_error, is_unwritable
from pymr.base.faults import fault_point
from pymr.peer.disk.job_journal import JobJournal
from pymr.peer.disk.paths import PeerPaths

STAND_IN_SECONDS_MAX = 60.0
"""How long a peer that starts waits for another of its host to be done with publishing in its place."""

RESERVE_BYTES = 64 << 10
"""Kept for the state of a peer on a disk that is full: it goes on leading or following. Random, so that no
file system compresses it away. Without it the peer waits for space (see EpochGuard)."""

_STAND_IN_LOOK_SECONDS = 0.05


class _Epoch(msgspec.Struct, frozen=True):
    incarnation: str | None
    epoch: int


class LocalState:
    """The folder `state` of a peer, held by this process alone until it ends.

    boot: counts the starts, in a new folder from the time on: also after its disk was replaced, no life of a
    peer has the number of an earlier one. incarnation: of the cluster; None before the peer has ever met one.
    jobs: its job table, as it is kept. change: the last one of it that this peer has read (see JobTableCopy).
    Raises StartError where another process holds the folder, or it cannot be written.
    """

    def __init__(self, paths: PeerPaths) -> None:
        self._paths = paths
        self.jobs = JobJournal(paths.job_table)
        self._writing = threading.Lock()
        try:
            os.makedirs(paths.state, exist_ok=True)
            self._lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            _take(self._lock, paths.lock)
            os.truncate(self._lock, 0)
            os.write(self._lock, b"%d\n" % os.getpid())
            self.boot = (_read_number(paths.boot) or time.time_ns() // 1_000_000) + 1
            self._replace(paths.boot, b"%d\n" % self.boot)
            kept = _read_epoch(paths.epoch)
        except BlockingIOError as error:
            raise StartError(
                f"the data folder {paths.data_dir} is in use by another pymr-peer "
                f"(pid {_read_number(paths.lock)}); stop that one, or give this peer a data_dir of its own"
            ) from error
        except OSError as error:
            raise StartError(str(disk_error("preparing", paths.state, error))) from error
        self.incarnation, self.epoch = kept.incarnation, kept.epoch
        self.change = 0

    def known(self) -> tuple[int, int]:
        """(epoch, change): what a Redis that has forgotten nothing has at least."""
        return self.epoch, self.change

    def has(self, incarnation: str, epoch: int) -> bool:
        """Whether `remember` would change nothing."""
        return incarnation == self.incarnation and epoch <= self.epoch

    def remember(self, incarnation: str, epoch: int) -> None:
        """Keep both, from any thread; they are on the disk when this returns. Raises OSError.

        Of one incarnation, a lower epoch than the one that is kept changes nothing.
        """
        with self._writing:
            if self.has(incarnation, epoch):
                return
            fault_point("state.epoch")
            self._replace(self._paths.epoch, msgspec.json.encode(_Epoch(incarnation, epoch)))
            if incarnation != self.incarnation:
                self.change = 0
            self.incarnation, self.epoch = incarnation, epoch

    def _replace(self, path: str, data: bytes) -> None:
        """Replace a small file; on a disk that is full, in the place of what is kept in reserve for that."""
        try:
            replace_file(path, data)
        except OSError as error:
            if not is_unwritable(error) or not os.path.exists(self._paths.state_reserve):
                raise
            os.unlink(self._paths.state_reserve)
            replace_file(path, data)
            return
        with suppress(OSError):  # there is no room for it yet
            self._keep_reserve()

    def _keep_reserve(self) -> None:
        path = self._paths.state_reserve
        if not os.path.exists(path):
            try:
                write_file(path, os.urandom(RESERVE_BYTES))
            except OSError:
                os.unlink(path)

    def close(self) -> None:
        """Let another process have the folder."""
        self.jobs.close()
        os.close(self._lock)


class StandIn:
    """Holds the data folder of a peer whose daemon has ended, for another of its host to act in its place.

    A context; entering it raises BlockingIOError while the daemon lives.
    """

    def __init__(self, paths: PeerPaths) -> None:
        self._path = paths.lock
        self._descriptor: int | None = None

    def __enter__(self) -> StandIn:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.truncate(descriptor, 0)  # tells a daemon that starts to wait: see _take
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


def _take(lock: int, path: str) -> None:
    """Lock the folder. Raises BlockingIOError where the daemon that holds it lives; waits for one that stands
    in for an earlier daemon, which takes no longer than to publish an output."""
    deadline = time.monotonic() + STAND_IN_SECONDS_MAX
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if _is_alive(_read_number(path)) or time.monotonic() > deadline:
                raise
        time.sleep(_STAND_IN_LOOK_SECONDS)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return pid > 0


def _read_number(path: str) -> int:
    with suppress(OSError, ValueError), open(path) as file:
        return int(file.read())
    return 0


def _read_epoch(path: str) -> _Epoch:
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(file.read(), type=_Epoch)
    except FileNotFoundError:
        return _Epoch(None, 0)
    except msgspec.MsgspecError as error:
        raise StartError(
            f"{path} is damaged ({error}): it holds the highest epoch this peer has seen. Without it a "
            "leader of the past could be followed; remove the file only if Redis is the one it was"
        ) from error
