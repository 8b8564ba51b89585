"""`pymr logs -t`: each line of a worker's output with the time at which it began to come."""

from __future__ import annotations

import re
from datetime import datetime

from pymr.cli.panes import TimedLines
from pymr.client.panes import PaneBytes

NOON = datetime(2026, 1, 2, 12, 0, 0).timestamp()


def piece(start: int, data: bytes, *times: tuple[int, float]) -> PaneBytes:
    return PaneBytes("run-1", start, data, 1_000, times=tuple((at, NOON + seconds) for at, seconds in times))


def test_a_line_has_the_time_of_its_first_byte_however_it_is_read() -> None:
    timed = TimedLines(is_dim=False)
    shown = timed.stamped(piece(0, b"one\ntw", (0, 0.0), (4, 1.5)))
    shown += timed.stamped(piece(6, b"o\n\nfour", (4, 1.5), (6, 60.0)))
    shown += timed.stamped(piece(13, b""))

    assert shown == b"12:00:00.000 one\n12:00:01.500 two\n12:01:00.000 \n12:01:00.000 four"


def test_a_line_of_an_unknown_time_is_put_below_the_others() -> None:
    shown = TimedLines(is_dim=False).stamped(piece(0, b"early\nlate\n", (6, 1.0)))

    assert shown == b"             early\n12:00:01.000 late\n"


def test_a_line_that_is_written_over_stays_one_and_times_are_dim_on_a_terminal() -> None:
    shown = TimedLines(is_dim=True).stamped(piece(0, b"10 %\r20 %\r\nab\x0bc\n", (0, 0.0)))

    assert shown.count(b"\x1b[2m12:00:00.000\x1b[0m ") == 2
    assert re.sub(rb"\x1b\[2m.{12}\x1b\[0m ", b"", shown) == b"10 %\r20 %\r\nab\x0bc\n"
