"""Named fault points: tests make the disk full, or a process die, at an exact place.

PYMR_FAULTS is a list such as `block.write:enospc@3,commit.after_rename:kill@1`: at the third pass through
`block.write` raise ENOSPC, at the first through `commit.after_rename` kill this process. With
`reduce.begin:hold=FILE` every pass waits there for as long as that file exists; `%p` in its name is
replaced by the process id. Without the variable a fault point costs a truth test.
"""

from __future__ import annotations

import errno
import os
import signal
import time

_HOLD = "hold="


def _parse(text: str) -> dict[str, list[tuple[str, int]]]:
    faults: dict[str, list[tuple[str, int]]] = {}
    for entry in filter(None, text.split(",")):
        name, _, action = entry.partition(":")
        what, _, nth = action.partition("@")
        faults.setdefault(name, []).append((what, int(nth or 1)))
    return faults


_faults = _parse(os.environ.get("PYMR_FAULTS", ""))
_passes: dict[str, int] = {}


def fault_point(name: str) -> None:
    """A place where a test can let a fault happen; see the module."""
    if _faults:
        _passes[name] = _passes.get(name, 0) + 1
        for what, nth in _faults.get(name, ()):
            if what.startswith(_HOLD):
                _hold(what.removeprefix(_HOLD))
            elif _passes[name] == nth:
                _happen(what)


def _happen(what: str) -> None:
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    number = getattr(errno, what.upper(), errno.EIO)
    raise OSError(number, os.strerror(number))


def _hold(path: str) -> None:
    path = path.replace("%p", str(os.getpid()))
    while os.path.exists(path):
        time.sleep(0.01)
