"""Texts as people are shown them: whatever a function or a file's name has put into them."""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any

import pytest
from rich.text import Text

from pymr.base.interruption import INTERRUPTING_SIGNALS
from pymr.base.printable import keep_log_printable, printable_text
from pymr.cli import console, main
from pymr.runs import display as run_display

EVIL = "\x1b[2J\x07 \x9b31m \u202egpj.exe\u2066 \x7f\r\u2028"
CONTROLS = set(EVIL) - set("[2J 31mgpj.exe")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, Zoë, 日本\u00a0語", "plain, Zoë, 日本\u00a0語"),
        ("lines\n\tand tabs\r\n", "lines\n\tand tabs\n"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("over\rwritten\x00", "over\\x0dwritten\\x00"),
        ("\x9b\x85\x7f", "\\u009b\\u0085\\u007f"),
        ("a\u202eb\u2066c\u061cd\u2028e", "a\\u202eb\\u2066c\\u061cd\\u2028e"),
    ],
)
def test_characters_of_control_are_written_out(text: str, shown: str) -> None:
    assert printable_text(text) == shown


def test_json_that_is_shown_stays_the_same_json() -> None:
    shown = printable_text(json.dumps({"name": EVIL}, ensure_ascii=False))

    assert json.loads(shown) == {"name": EVIL}
    assert not CONTROLS & set(shown)


def test_colours_can_be_kept_for_who_reads_them() -> None:
    shown = Text.from_ansi(printable_text(f"\x1b[31mred\x1b[0m {EVIL}", keeps_escapes=True)).plain

    assert shown.startswith("red ")
    assert not CONTROLS & set(shown)


def _say() -> None:
    console.say(EVIL)


def _fail() -> None:
    with pytest.raises(SystemExit):
        console.fail(EVIL)


def _notice() -> None:
    run_display.PlainDisplay("job", sys.stdout).on_notice(EVIL)


def _live_notice() -> None:
    with run_display.LiveDisplay("job", sys.stdout) as display:
        display.on_notice(EVIL)
        display.on_output("alpha/0", [EVIL])


def _log() -> None:
    handler = logging.StreamHandler(sys.stdout)
    logging.getLogger().addHandler(handler)
    try:
        keep_log_printable()
        logging.getLogger("pymr").warning("a file %s", EVIL)
    finally:
        logging.getLogger().removeHandler(handler)


DOORS = {"say": _say, "fail": _fail, "notice": _notice, "live": _live_notice, "log": _log}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_nothing_that_is_told_controls_a_terminal(door: Any, capsys: pytest.CaptureFixture[str]) -> None:
    handlers = [(one, one.formatter) for one in logging.getLogger().handlers]
    door()
    for handler, formatter in handlers:
        handler.setFormatter(formatter)
    told = "".join(capsys.readouterr())

    assert "gpj.exe" in told
    assert not CONTROLS & set(told), repr(told)


def test_an_error_of_a_command_line_controls_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["pymr", "show", "job", f"--{EVIL}"])
    before = [(number, signal.getsignal(number)) for number in INTERRUPTING_SIGNALS]
    status = main._status()
    for number, handler in before:
        signal.signal(number, handler)
    told = "".join(capsys.readouterr())

    assert status == main.EXIT_USAGE
    assert "gpj.exe" in told
    assert not CONTROLS & set(told), repr(told)
