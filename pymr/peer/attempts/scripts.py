"""Scripts: which file a script job names, what it is run with, and what its end means.

Runs in the worker process; how the script is run there: `script_terminal`.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import stat
import sys
from contextlib import suppress

from pymr.base.errors import FatalError, PymrError, RetryableError, ScriptError
from pymr.base.faults import fault_point
from pymr.base.terminal_text import without_escapes
from pymr.engine.tasks import TaskWatch
from pymr.jobs.job_types import ScriptJob
from pymr.jobs.required_project import script_parts
from pymr.peer.attempts.script_terminal import NotStarted, ScriptEnd, run_on_terminal
from pymr.peer.attempts.steps import StepContext
from pymr.peer.attempts.worker_protocol import StepOrder
from pymr.peer.disk.paths import is_below
from pymr.wire.outcomes import StepOutcome

OUTPUT_LINES_MAX = 50
OUTPUT_BYTES_MAX = 8 << 10
"""Of the end of a script's output so much goes into the history, or into the reason of a failure."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_SHORTAGES = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_START_HINTS = {
    errno.ENOENT: "its first line names an interpreter that is not on this machine",
    errno.ENOEXEC: "it is neither a program of this machine nor has a first line such as #!/bin/sh",
    errno.EACCES: "it or its interpreter may not be run by the user of the daemon, or its disk is mounted "
    "noexec",
    errno.E2BIG: "its arguments are too long",
}


def run_script(context: StepContext, order: StepOrder, folder: str, watch: TaskWatch) -> StepOutcome:
    """Run the script of a job on this worker's terminal, and wait for its end and that of all it started.

    folder: of the attempt; nothing is written there.
    Raises ScriptError (final) where it cannot be started, takes longer than timeout_seconds, or ends with
    another status than 0: with its last lines.
    """
    job = context.job
    if not isinstance(job, ScriptJob):
        raise FatalError(f"{job.job_name} is a {job.job_type} job and has no script")
    command = [*script_command(job, context), *job.script_arguments]
    environment = os.environ | script_variables(context, order)
    fault_point("script.before_start")
    try:
        ended = run_on_terminal(command, environment, context.data_dir, job.timeout_seconds)
    except NotStarted as error:
        raise _not_started(job, context, error.__cause__) from error
    fault_point("script.after_end")
    output = last_lines(ended.output)
    if ended.is_late or ended.status != 0:
        raise ScriptError(_reason(job, context, ended), output, ended.status)
    return StepOutcome(exit_status=0, output=output)


def script_variables(context: StepContext, order: StepOrder) -> dict[str, str]:
    """What a script finds in its environment beside what the daemon has in its own.

    PYMR_ATTEMPT: "1", "2", ...: a script whose machine or daemon was lost is run again.
    """
    return {
        "PYMR_RUN": context.run_id,
        "PYMR_ATTEMPT": str(order.id.try_number),
        "PYMR_JOB": context.job.job_name,
        "PYMR_PEER": context.peer,
        "PYMR_DATA_DIR": context.data_dir,
    }


def script_command(job: ScriptJob, context: StepContext) -> list[str]:
    """What runs the file that `script_location` names; its arguments follow. Raises ScriptError."""
    path = _path_of(job.script_location, context)
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise _refused(job.script_location, context, f"{path} is {_kind_of(mode)} and not a file")
        is_executable = os.access(path, os.X_OK)
        if path.endswith(".py") and not (is_executable and _begins_with(path, b"#!")):
            return [sys.executable, path]
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror or error}"
        raise _refused(job.script_location, context, reason) from error
    if not is_executable:
        reason = f"{path} is not executable: chmod +x it, or give it a name that ends in .py"
        raise _refused(job.script_location, context, reason)
    return [path]


def last_lines(output: bytes) -> str:
    """The last OUTPUT_LINES_MAX lines of what was written to a terminal, within OUTPUT_BYTES_MAX, as text.

    Of a line that was written over again and again, such as a bar of progress, its last state.
    """
    text = without_escapes(output).decode("utf-8", "replace")
    lines = [line.rstrip("\r").rpartition("\r")[2].rstrip() for line in text.split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    shown = _CONTROLS.sub("", "\n".join(lines[-OUTPUT_LINES_MAX:]))
    data = shown.encode()
    if len(data) <= OUTPUT_BYTES_MAX:
        return shown
    return data[-OUTPUT_BYTES_MAX:].decode("utf-8", "ignore")


def _path_of(location: str, context: StepContext) -> str:
    """Where the file should be. A link must not lead out of the project, nor out of security.local_roots."""
    if any(character in location for character in "\0\n\r"):
        raise _refused(location, context, "it contains a NUL or a line end")
    project, path = script_parts(location)
    if not project:
        roots = context.config.security.local_roots
        if roots and not is_below(os.path.realpath(path), map(os.path.realpath, roots)):
            allowed = " or ".join(roots)
            raise _refused(location, context, f"it is not below {allowed} (security.local_roots)")
        return path
    if not path or not context.projects_dir:
        raise _refused(location, context, "it is neither an absolute path nor PROJECT/file.py")
    folder = os.path.join(context.projects_dir, project)
    full = os.path.join(folder, path)
    if ".." in location.split("/") or not is_below(os.path.realpath(full), [os.path.realpath(folder)]):
        raise _refused(location, context, f"it leads out of the project {project}")
    return full


def _refused(location: str, context: StepContext, reason: str) -> ScriptError:
    return ScriptError(f"script_location = {location!r:.300} cannot be run on {context.peer}: {reason}")


def _begins_with(path: str, start: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(start)) == start


def _kind_of(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
        return "a device"
    return "a pipe" if stat.S_ISFIFO(mode) else "a socket"


def _not_started(job: ScriptJob, context: StepContext, error: BaseException | None) -> PymrError:
    reason = str(error)
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
        if error.errno in _SHORTAGES:
            return RetryableError(f"{job.script_location} cannot be started on {context.peer} now: {reason}")
        hint = _START_HINTS.get(error.errno or 0, "")
        if not os.path.isdir(context.data_dir):
            hint = f"the folder it is run in, {context.data_dir}, does not exist"
        reason += f" ({hint})" if hint else ""
    return _refused(job.script_location, context, reason)


def _reason(job: ScriptJob, context: StepContext, ended: ScriptEnd) -> str:
    name = f"the script {job.script_location} on {context.peer}"
    if ended.is_late:
        return (
            f"{name} took longer than timeout_seconds = {job.timeout_seconds:g}, and was ended with all that "
            "it had started"
        )
    if ended.status > 0:
        return f"{name} ended with exit status {ended.status}"
    signal_name = f"signal {-ended.status}"
    with suppress(ValueError):
        signal_name = signal.Signals(-ended.status).name
    return f"{name} was ended by {signal_name}"
