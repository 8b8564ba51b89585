"""Commands for the output of workers: `logs` prints it, `attach` also types into them."""

from __future__ import annotations

import io
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import click

from pymr.base.standard_streams import put
from pymr.base.terminal_text import TerminalText
from pymr.cli.console import (
    EXIT_INTERRUPTED,
    INTEGER_MAX,
    complete_workers,
    config_option,
    fail,
    open_client,
    tell,
)

if TYPE_CHECKING:
    from pymr.client import Client, PaneBytes

_FOLLOW_SECONDS = 0.15
_LOOK_FOR_RUN_SECONDS = 1.0
_STAMP_CHARACTERS = len("HH:MM:SS.mmm")

_WORKER = click.argument("worker", shell_complete=complete_workers)


@click.command()
@_WORKER
@click.option(
    "-f", "--follow", is_flag=True, help="Keep printing new output, including that of the worker's next runs."
)
@click.option(
    "--from",
    "offset",
    type=click.IntRange(-INTEGER_MAX, INTEGER_MAX),
    default=0,
    metavar="OFFSET",
    help="Byte to start at; negative counts from the end. [default: 0]",
)
@click.option("--run", "run_id", metavar="RUN", help="Of this run. [default: the worker's latest]")
@click.option(
    "-t", "--timestamps", is_flag=True, help="Prefix each line with its time of arrival, in local time."
)
@config_option
def logs(
    worker: str, follow: bool, offset: int, run_id: str | None, timestamps: bool, config_path: str | None
) -> None:
    """Print the output of a worker (PEER/SLOT); in a pipe or file lines end as in any text, without a CR."""
    from pymr.client.panes import check_pane

    try:
        with open_client(config_path) as client:
            chosen = run_id or client.newest_run(worker)
            is_terminal = sys.stdout.isatty()
            timed = TimedLines(is_dim=is_terminal) if timestamps else None
            text = None if is_terminal else TerminalText()
            if not chosen or not client.read_pane(worker, chosen, 0, 1).end:
                check_pane(client, worker, run_id or "")
            if not chosen and not follow:
                fail(f"{worker} has put out nothing yet, or nothing that is still kept")
            for piece in (
                _follow(client, worker, chosen, offset, is_fixed=run_id is not None)
                if follow
                else _read(client, worker, chosen, offset)
            ):
                data = timed.stamped(piece) if timed else piece.data
                if not put(text.feed(data) if text else data):
                    return
            if text:
                put(text.end())
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)  # how following ends: nothing to tell of


@click.command(short_help="Show a worker's output and type into it.")
@_WORKER
@config_option
def attach(worker: str, config_path: str | None) -> None:
    """Show a worker's output and type into it, as at a breakpoint(). Ctrl-a d detaches."""
    from pymr.cli.attachment import Attachment

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        fail("attach needs a terminal; `pymr logs` prints what a worker puts out")
    with open_client(config_path) as client:
        row = client.worker(worker)
        if row.run_id is None:
            fail(f"{worker} has no process: attach when a job runs in it")
        with Attachment(client, worker, row.run_id) as attachment:
            ended = attachment.run()
    tell(f"\n{worker}: {ended}")


class TimedLines:
    """Lines of a pane with the time before each, at the first of its bytes; blank where that is not known."""

    def __init__(self, *, is_dim: bool) -> None:
        self._frame = ("\x1b[2m", "\x1b[0m ") if is_dim else ("", " ")
        self._is_new_line = True

    def stamped(self, piece: PaneBytes) -> bytes:
        """The bytes of a piece, which follows the one before it."""
        offsets = [offset for offset, _ in piece.times]
        stamped = []
        at = piece.start
        for line in io.BytesIO(piece.data):  # which takes no other character for the end of a line
            if self._is_new_line:
                number = bisect_right(offsets, at) - 1
                stamped.append(self._stamp(piece.times[number][1] if number >= 0 else None))
            stamped.append(line)
            at += len(line)
            self._is_new_line = line.endswith(b"\n")
        return b"".join(stamped)

    def _stamp(self, when: float | None) -> bytes:
        text = " " * _STAMP_CHARACTERS
        if when is not None:
            text = datetime.fromtimestamp(when).strftime("%H:%M:%S.%f")[:_STAMP_CHARACTERS]
        return text.join(self._frame).encode()


def _read(client: Client, worker: str, run_id: str, offset: int) -> Iterator[PaneBytes]:
    """A pane from an offset to its present end."""
    end = None
    while end is None or offset < end:
        piece = client.read_pane(worker, run_id, offset)
        end = piece.end if end is None else end
        _tell_of_gap(worker, piece)
        if not piece.data:
            return
        offset = piece.next
        yield piece


def _follow(client: Client, worker: str, run_id: str, offset: int, *, is_fixed: bool) -> Iterator[PaneBytes]:
    """A pane from an offset on, as it grows; then, unless the run `is_fixed`, those of the next runs."""
    looked_at = time.monotonic()
    while True:
        if run_id:
            piece = client.read_pane(worker, run_id, offset)
            _tell_of_gap(worker, piece)
            offset = piece.next
            if piece.data:
                yield piece
                continue
        if not is_fixed and time.monotonic() - looked_at >= _LOOK_FOR_RUN_SECONDS:
            looked_at = time.monotonic()
            latest = client.newest_run(worker)
            if latest != run_id:
                tell(f"==> {worker}, run {latest}")
                run_id, offset = latest, 0
                continue
        time.sleep(_FOLLOW_SECONDS)


def _tell_of_gap(worker: str, piece: PaneBytes) -> None:
    if piece.skipped:
        tell(f"==> {worker}: {piece.skipped:,} bytes are not kept any more")
