"""`breakpoint()` in a worker: the debugger of the standard library, on the worker's own terminal."""

from __future__ import annotations

import os
import pdb
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from pymr.project_paths import shown_path


def break_on_terminal(on_pause: Callable[[str], None], on_resume: Callable[[], None]) -> None:
    """Let `breakpoint()` open a debugger on this process's terminal.

    on_pause: called with where it is whenever the debugger begins to wait for commands; on_resume: when the
    function goes on. PYTHONBREAKPOINT is heeded, as everywhere.
    """
    debugger: _Debugger | None = None

    def hook(*arguments: Any, **options: Any) -> Any:
        nonlocal debugger
        if os.environ.get("PYTHONBREAKPOINT"):
            return sys.__breakpointhook__(*arguments, **options)
        if debugger is None:  # one for all, so that breakpoints set in it stay
            debugger = _Debugger(on_pause, on_resume)
        if options.get("header"):
            debugger.message(options["header"])
        # Last, as from here on every new frame is traced.
        debugger.set_trace(sys._getframe(1))
        return None

    sys.breakpointhook = hook


class _Debugger(pdb.Pdb):
    """Tells when it waits. Without readline, whose escape sequences would litter the pane.

    Frames of pymr are passed over: a step out of a function leads to its next call. Ctrl-C stays what it is
    in any function: KeyboardInterrupt.
    """

    def __init__(self, on_pause: Callable[[str], None], on_resume: Callable[[], None]) -> None:
        readline = sys.modules.get("readline")
        sys.modules["readline"] = None  # type: ignore[assignment]  # its import raises ImportError, as pdb expects
        try:
            super().__init__(stdin=sys.stdin, stdout=sys.stdout, skip=["pymr.*"], nosigint=True)
        finally:
            del sys.modules["readline"]
            if readline is not None:
                sys.modules["readline"] = readline
        self._on_pause = on_pause
        self._on_resume = on_resume

    def interaction(self, frame: FrameType | None, *arguments: Any) -> None:
        """Wait for commands until one of them lets the function go on."""
        self._on_pause(_where(frame))
        try:
            super().interaction(frame, *arguments)
        finally:
            self._on_resume()


def _where(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    code = frame.f_code
    return f"{shown_path(code.co_filename)}:{frame.f_lineno} in {code.co_name}"
