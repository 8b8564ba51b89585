"""Line editing on a worker's terminal: Python's readline, at the prompt of the debugger and nowhere else.

`input()` of a user's function stays plain, as in a program whose output is read and not drawn.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_SETTINGS = (
    "set enable-bracketed-paste off",
    "set horizontal-scroll-mode on",  # one row, whatever the width of the console that shows the pane
    "set page-completions off",
)
_SIZE_VARIABLES = frozenset({"COLUMNS", "LINES"})
_LIBEDIT_COMPLETES = "bind ^I rl_complete"  # from Python 3.13 on, cmd.Cmd says so itself


class LineEditing:
    """Whether input() edits lines in this process: not before `allowed`, nor after it.

    Made before user code runs. TERM says what readline draws with; `dumb`: backspaces and spaces alone.
    """

    def __init__(self) -> None:
        self._function = ctypes.c_void_p.in_dll(ctypes.pythonapi, "PyOS_ReadlineFunctionPointer")
        # Imported by the program that this process was forked from: importing it again would not set this.
        self._editing = self._function.value if "readline" in sys.modules else None
        self._function.value = None
        self._is_prepared = False

    def prepare(self) -> bool:
        """Import readline, and set it up for a pane. False for a Python without it."""
        if self._is_prepared:
            return self._editing is not None
        self._is_prepared = True
        before = self._function.value
        is_new = "readline" not in sys.modules
        try:
            import readline
        except ImportError:
            return False
        if is_new or self._editing is None:  # where a function has imported it, it edits already
            self._editing = self._function.value
        self._function.value = None if is_new else before
        with suppress(OSError, AttributeError):  # TERM was another when it was imported
            ctypes.CDLL(readline.__file__).rl_reset_terminal(None)
        if "libedit" in (readline.__doc__ or ""):
            readline.parse_and_bind(_LIBEDIT_COMPLETES)
        else:
            for setting in _SETTINGS:
                readline.parse_and_bind(setting)
        return self._editing is not None

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """While this is open input() edits lines: cursor keys, history, completion."""
        before = self._function.value
        if self._editing is not None:
            self._function.value = self._editing
        try:
            yield
        finally:
            self._function.value = before
            for name in _SIZE_VARIABLES.difference(os.environ):  # told by readline to programs alone
                os.unsetenv(name)
