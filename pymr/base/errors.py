"""The errors of pymr: their type decides whether a task is tried again. Everything raises from here."""

from __future__ import annotations

import errno
from dataclasses import dataclass


class PymrError(Exception):
    """What happened, where, and what to do: the message says all three."""


class RetryableError(PymrError):
    """The task may succeed when it is run again; costs one attempt."""


class FatalError(PymrError):
    """The same input gives the same error; the job fails at once."""


class RunFailedError(FatalError):
    """A run in a cluster of its own has failed. shown_by: the worker among whose lines, as they were shown to
    the user, the whole of it stands; "" for none. kind: the name of the class of what its last attempt failed
    with; "" where it was none."""

    def __init__(self, message: str, shown_by: str = "", kind: str = "") -> None:
        super().__init__(message)
        self.shown_by = shown_by
        self.kind = kind


class StaleEpochError(PymrError):
    """A newer leader exists; the peer that gets this stops acting as leader."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a definition: which field, the value it has, why that cannot be."""

    field: str
    value: object
    reason: str

    def __str__(self) -> str:
        shown = repr(self.value)
        return f"{self.field} = {shown if len(shown) <= 120 else shown[:117] + '...'}: {self.reason}"


class DefinitionError(FatalError):
    """A job or a configuration is not valid. All of its problems are listed, not just the first."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{source}: {count}\n{listed}")

    def __reduce__(self) -> tuple[type[DefinitionError], tuple[str, tuple[Problem, ...]]]:
        return type(self), (self.source, self.problems)


class JobError(DefinitionError):
    """A job definition that cannot be run as it is written."""


class ConfigError(DefinitionError):
    """A cluster.toml that cannot be used as it is written."""


class ProjectError(FatalError):
    """A project, module or function that does not exist or cannot be loaded."""


class InputError(FatalError):
    """An input file or folder that cannot be read; the message names it, and the byte where it stops."""


class InputOutdatedError(InputError):
    """An input file was replaced, rewritten or removed since it was listed: the run is planned again."""


class InputGrownError(InputError):
    """An input file has become longer since it was listed, where only files that are whole may be read.

    path: of it.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class InputChangedError(RetryableError):
    """An input file was written to while it was being read."""


class RecordError(FatalError):
    """An item that cannot be carried: a NaN or unhashable key, a value that msgpack has no form for."""


class UserFunctionError(RetryableError):
    """A function of the project raised, or returned what is not a series of (key, value) items."""


class StoppedByOperatorError(FatalError):
    """A person has quit the debugger in which a function of the project waited."""


class CorruptBlockError(RetryableError):
    """A block does not have the bytes that were written: a failing disk, or memory. path: of its file."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class DamagedFileError(RetryableError):
    """A file in which pymr keeps its own affairs (a plan, an index) does not have the bytes it wrote."""


class DiskError(RetryableError):
    """The disk refused a read or a write (full, failing, read-only).

    path: of what, where that is one. is_unwritable: the disk is full, over its quota or read-only. That is
    the machine's fault and may pass, so it does not count against the task.
    """

    def __init__(self, message: str, path: str = "", *, is_unwritable: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.is_unwritable = is_unwritable
        self.is_counted = not is_unwritable


class MissingSegmentError(RetryableError):
    """A map output that a reduce task needs is gone or damaged: its map task has to be done again.

    task, attempt: whose output. path: the file at fault, which may be a copy of it. missing: both, as the
    AttemptId that is reported. It does not count against the task that needed it.
    """

    is_counted = False

    def __init__(
        self, message: str, task: str = "", attempt: str = "", path: str = "", missing: object = None
    ) -> None:
        super().__init__(message)
        self.task = task
        self.attempt = attempt
        self.path = path
        self.missing = missing


class OutputError(FatalError):
    """The output folder cannot be replaced, or an output item cannot be written."""


class OutputInTheWayError(OutputError):
    """The output folder holds what no run wrote. It can be moved away."""


class ScriptError(FatalError):
    """A script that cannot be started, took too long, or ended with another status than 0.

    output: its last lines, which are in the pane already and follow in the message. exit_status: negative for
    a signal; None where it was not started.
    """

    def __init__(self, reason: str, output: str = "", exit_status: int | None = None) -> None:
        self.reason = reason
        self.output = output
        self.exit_status = exit_status
        super().__init__(f"{reason}\nIts last lines:\n{output}" if output else reason)

    def __reduce__(self) -> tuple[type[ScriptError], tuple[str, str, int | None]]:
        return type(self), (self.reason, self.output, self.exit_status)


class WorkerDiedError(RetryableError):
    """A worker process ended without saying why: a crash, a kill, or out of memory."""


class TaskTimeoutError(RetryableError):
    """A task made no progress for as long as task_timeout_seconds allows."""


class TaskOverError(FatalError):
    """A task whose run is over, or was deleted, while it was done."""


class StartError(FatalError):
    """A worker process cannot be started."""


class Interrupted(KeyboardInterrupt):
    """The user wants the command to stop: SIGINT, SIGTERM or SIGHUP. A KeyboardInterrupt that a function of
    the project raises by itself is an error of that function."""


UNWRITABLE_DISKS = {
    errno.ENOSPC: ("disk full", "free some space there"),
    errno.EDQUOT: ("disk quota used up", "free some space there, or raise the quota"),
    errno.EROFS: ("read-only disk", "see that it can be written to"),
}
"""What is wrong with a disk that takes nothing, and what to do, by the number of the error."""

_DISK_HINTS = {
    errno.EIO: "the disk reports an input/output error: check its health before running it again",
}


def is_unwritable(error: OSError) -> bool:
    """Whether an error says that a disk is full, over its quota or read-only."""
    return error.errno in UNWRITABLE_DISKS


def disk_error(action: str, path: str, error: OSError) -> DiskError:
    """The DiskError for an OSError met while doing `action` (a verb in -ing form) on `path`."""
    number = error.errno or 0
    text = f"{action} {path} failed: {error.strerror or error}"
    if number in UNWRITABLE_DISKS:
        condition, hint = UNWRITABLE_DISKS[number]
        return DiskError(f"{condition}: {text}; {hint}", path, is_unwritable=True)
    hint = _DISK_HINTS.get(number, "")
    return DiskError(text + (f"; {hint}" if hint else ""), path)
