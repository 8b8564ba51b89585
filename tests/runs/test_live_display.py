"""The live display of a run: whenever its user interrupts it, the terminal is left as it was."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable
from types import FrameType

import pytest

from pymr.runs.display import LiveDisplay
from pymr.runs.phases import Phase

BUFFERING = ("__enter__", "__exit__", "_enter_buffer", "_exit_buffer")
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def interrupted_at(call: int, draw: Callable[[LiveDisplay], object]) -> str | None:
    """What is on the terminal after SIGINT while something is drawn: at this call of a function by which the
    console of rich opens or closes its buffer. None where there are fewer calls."""
    terminal, calls = Terminal(), 0

    def interrupt(frame: FrameType, event: str, _what: object) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code.co_name in BUFFERING
        if calls == call:
            sys.setprofile(None)
            signal.raise_signal(signal.SIGINT)

    try:
        with LiveDisplay("job", terminal) as display:
            display.on_phase(Phase("map", 3, 100))
            sys.setprofile(interrupt)
            try:
                draw(display)
            finally:
                sys.setprofile(None)
    except KeyboardInterrupt:
        return terminal.getvalue()
    return None


@pytest.mark.parametrize(
    "draw",
    [
        lambda display: display.on_phase(Phase("reduce", 3, 100)),
        lambda display: display.on_output("local/0", ["a line"]),
        lambda display: display.on_notice("it waits"),
        lambda display: display.__exit__(None, None, None),
    ],
    ids=["a phase", "output", "a notice", "the end"],
)
def test_an_interruption_at_any_moment_of_drawing_leaves_the_cursor_shown(
    draw: Callable[[LiveDisplay], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    call, unshown = 1, []
    while (drawn := interrupted_at(call, draw)) is not None:
        if drawn.count(HIDDEN) != drawn.count(SHOWN) or not drawn.endswith(SHOWN):
            unshown.append(call)
        call += 1

    assert call > 5
    assert unshown == []
