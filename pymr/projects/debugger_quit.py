"""When a person leaves the debugger at a breakpoint of a project, the run is over: it is not an error of the
function, and would be no other at the next attempt."""

from __future__ import annotations

import traceback
from bdb import BdbQuit

from pymr.base.errors import StoppedByOperatorError
from pymr.projects.paths import shown_path

_DEBUGGERS = ("bdb.py", "pdb.py", "breakpoints.py")


def operator_stop(error: BaseException) -> StoppedByOperatorError | None:
    """The error for what `q` in a debugger raises, or the end of its input; None for anything else."""
    frames = list(traceback.extract_tb(error.__traceback__))
    is_quit = isinstance(error, BdbQuit) or (  # from Python 3.14 on, q at a breakpoint() exits
        isinstance(error, SystemExit) and bool(frames) and frames[-1].filename.endswith(_DEBUGGERS)
    )
    if not is_quit:
        return None
    own = [frame for frame in frames if not frame.filename.endswith(_DEBUGGERS)]
    place = f", at {shown_path(own[-1].filename)}:{own[-1].lineno} in {own[-1].name}" if own else ""
    return StoppedByOperatorError(f"stopped by the operator, who quit the debugger{place}")
