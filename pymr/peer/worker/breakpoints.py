"""`breakpoint()` in a worker: the debugger of the standard library, on the worker's own terminal."""

from __future__ import annotations

import os
import pdb
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from pymr.peer.worker.line_editing import LineEditing
from pymr.projects.paths import shown_path


def break_on_terminal(
    on_pause: Callable[[str], None], on_resume: Callable[[], None], editing: LineEditing
) -> None:
    """Let `breakpoint()` open a debugger on this process's terminal.

    on_pause: called with where it is whenever the debugger begins to wait for commands; on_resume: when the
    function goes on. editing: of lines that are typed there. PYTHONBREAKPOINT is heeded, as everywhere.
    """
    debugger: _Debugger | None = None

    def hook(*arguments: Any, **options: Any) -> Any:
        nonlocal debugger
        if os.environ.get("PYTHONBREAKPOINT"):
            return sys.__breakpointhook__(*arguments, **options)
        if debugger is None:  # one for all, so that breakpoints set in it stay
            debugger = _Debugger(on_pause, on_resume, editing)
        if options.get("header"):
            debugger.message(options["header"])
        # Last, as from here on every new frame is traced.
        debugger.set_trace(sys._getframe(1))
        return None

    sys.breakpointhook = hook


class _Debugger(pdb.Pdb):
    """Tells when it waits. Lines are edited where Python has readline, with history and completion.

    Frames of pymr are passed over: a step out of a function leads to its next call. Ctrl-C stays what it is
    in any function: KeyboardInterrupt.
    """

    def __init__(
        self, on_pause: Callable[[str], None], on_resume: Callable[[], None], editing: LineEditing
    ) -> None:
        can_edit = editing.prepare()
        super().__init__(stdin=sys.stdin, stdout=sys.stdout, skip=["pymr.*"], nosigint=True)
        self.use_rawinput = can_edit  # by input(), which alone edits; else by reading a line
        self._editing = editing
        self._on_pause = on_pause
        self._on_resume = on_resume

    def cmdloop(self, intro: Any = None) -> None:
        """Read commands until one of them lets the function go on."""
        with self._editing.allowed():
            super().cmdloop(intro)

    def completenames(self, text: str, line: str, begidx: int, endidx: int) -> list[str]:
        """Commands; where none begins so, names that the function knows: a statement may stand there, too."""
        names: list[str] = super().completenames(text, line, begidx, endidx)
        return names or self._names(text, line, begidx, endidx)

    def completedefault(self, *arguments: Any) -> list[str]:
        """What is not the argument of a command is that of a statement."""
        return super().completedefault(*arguments) or self._names(*arguments)

    def _names(self, *arguments: Any) -> list[str]:
        return self.complete_p(*arguments) or []

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
