"""Commands that move files: `upload`, `download`, `auxiliary`. Each is a job, and shows how far that is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

import click

from pymr.base.printable import printable
from pymr.base.standard_streams import put
from pymr.cli.console import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    complete_from_cluster,
    config_option,
    fail,
    open_client,
    say,
)

if TYPE_CHECKING:
    from pymr.client import Client, Outcome
    from pymr.client.transfers import Staging, Transfer, TransferOptions
    from pymr.wire.requests import JobView
    from pymr.wire.rows import JobRow, PhaseRow

_PLAIN_SECONDS = 5.0
"""Between two plain lines of one step."""

_LIVE_SECONDS = 0.1

Command = Callable[..., Any]
Moved = tuple[int, int, int]
"""Files, bytes, and files that were passed over."""


def _names_of_peers(client: Client) -> list[str]:
    return [peer.name for peer in client.config.peers]


def _how(command: Command) -> Command:
    """The options that all transfers have."""
    for option in (
        click.option("--no-wait", is_flag=True, help="Submit without waiting for the end."),
        click.option(
            "--local-peer",
            default="",
            metavar="PEER",
            shell_complete=complete_from_cluster(_names_of_peers),
            help="Take the local path on this peer's machine instead of this one.",
        ),
        click.option(
            "--priority", type=int, default=100, show_default=True, help="Its priority in the queue."
        ),
        config_option,
    ):
        command = option(command)
    return command


def _files(command: Command) -> Command:
    """The options of transfers of many files."""
    for option in (
        click.option("--compress", is_flag=True, help="Compress in transit."),
        click.option(
            "--skip-existing",
            is_flag=True,
            help="Skip files that already exist with the same size and checksum.",
        ),
        click.option(
            "--bulk/--no-bulk",
            default=None,
            help="Whether to pack small files into few streams. [default: by their size]",
        ),
    ):
        command = option(command)
    return command


@click.command(short_help="Spread the files of a folder over the peers.")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.argument("target", metavar="DEST")
@_files
@_how
def upload(
    folder: str,
    target: str,
    bulk: bool | None,
    compress: bool,
    skip_existing: bool,
    priority: int,
    local_peer: str,
    no_wait: bool,
    config_path: str | None,
) -> None:
    """Spread the files of the folder DIR over the peers, by size, into the folder DEST of their data folders.

    If interrupted, it stops; files that have arrived are complete, and --skip-existing resumes.
    """
    from pymr.client import transfers

    options = _options(bulk, compress, skip_existing, priority, local_peer)
    with open_client(config_path) as client:
        _transfer(client, transfers.upload(client, folder, target, options), no_wait)


@click.command(short_help="Gather a folder of all peers on this machine.")
@click.argument("source", metavar="SRC")
@click.argument("folder", metavar="DIR", type=click.Path())
@click.option(
    "--delete/--keep",
    default=False,
    help="Delete the files on the cluster once all have arrived. [default: keep]",
)
@_files
@_how
def download(
    source: str,
    folder: str,
    delete: bool,
    bulk: bool | None,
    compress: bool,
    skip_existing: bool,
    priority: int,
    local_peer: str,
    no_wait: bool,
    config_path: str | None,
) -> None:
    """Gather the files of the folder SRC in the peers' data folders into the folder DIR.

    SRC may be jobs/NAME/reduce: the output of a job, in the files it consists of. If interrupted, it
    stops; files that have arrived are complete, and --skip-existing resumes.
    """
    from pymr.client import transfers

    options = _options(bulk, compress, skip_existing, priority, local_peer)
    with open_client(config_path) as client:
        transfer = transfers.download(client, source, folder, options, delete=delete)
        _transfer(client, transfer, no_wait)


@click.command(short_help="Put a JSON file on every peer as auxiliary data.")
@click.argument("name", metavar="NAME")
@click.argument("file", metavar="FILE", type=click.Path())
@_how
def auxiliary(
    name: str, file: str, priority: int, local_peer: str, no_wait: bool, config_path: str | None
) -> None:
    """Put the JSON in FILE on every peer as the auxiliary data NAME, for jobs with
    auxiliary_data_name_mapper or auxiliary_data_name_reducer."""
    from pymr.client import transfers

    options = _options(None, False, False, priority, local_peer)
    with open_client(config_path) as client:
        _transfer(client, transfers.auxiliary(client, name, file, options), no_wait)


def _options(
    bulk: bool | None, compress: bool, skip_existing: bool, priority: int, local_peer: str
) -> TransferOptions:
    from pymr.client.transfers import TransferOptions

    return TransferOptions(bulk, compress, skip_existing, priority, local_peer)


def _transfer(client: Client, transfer: Transfer, no_wait: bool) -> None:
    """Submit a transfer and, unless --no-wait is given, wait for it to end."""
    name, staging = transfer.job_name, transfer.staging
    if no_wait and transfer.fetched is not None:
        fail("no peer of the cluster runs on this machine, so files come here while this waits: no --no-wait")
    try:
        outcome, moved = _run(client, transfer, no_wait)
    except KeyboardInterrupt:
        _stop(client, name)
    finally:
        if staging is not None and not no_wait:
            _discard(client, staging)
    if outcome is None:
        say(f"{name}: submitted; `pymr wait {name}` waits for it, `pymr delete {name}` stops it")
    elif outcome.is_success:
        say(_summary(client, outcome, _way(transfer), moved))
    else:
        again = "the same command" if staging is not None else f"`pymr retry {name}`"
        text = f"{name}: {outcome.status}: {outcome.exception}"
        fail(f"{text}\n{again} tries it again, `pymr delete {name}` forgets it", EXIT_FAILED)


def _run(client: Client, transfer: Transfer, no_wait: bool) -> tuple[Outcome | None, Moved | None]:
    """Run a transfer; returns once all files for this machine are here. Returns its outcome and what was
    moved from a peer; None if not waited for."""
    sent, fetched, moved = transfer.sent, transfer.fetched, None
    with _Progress(transfer.job_name, sys.stdout) as progress:
        if sent is not None:
            counter = progress.counted(f"sent to {sent.peer}")
            client.send_files(sent.peer, sent.upload_id, sent.path, counter)
        client.submit(transfer.fields, ".")
        if no_wait:
            return None, None
        outcome = client.wait(transfer.job_name, on_view=progress.show)
        if outcome is not None and outcome.is_success and fetched is not None:
            counter = progress.counted(f"come from {fetched.peer}")
            skips = not transfer.fields["reload_files"]
            place = fetched.peer, fetched.upload_id, fetched.path
            moved = client.fetch_files(*place, counter, skip_existing=skips)
        return outcome, moved


def _discard(client: Client, staging: Staging) -> None:
    """Remove the remains on the peer; if that fails, the peer does so itself within an hour."""
    from pymr.client import ClientError

    with suppress(ClientError):
        client.discard_files(staging.peer, staging.upload_id)


def _stop(client: Client, name: str) -> None:
    from pymr.client import ClientError, RefusedError

    try:
        client.delete(name)
    except RefusedError as error:
        if error.code != "unknown":  # it was not even submitted
            fail(
                f"{name}: still running, as it could not be stopped ({error}); `pymr delete {name}` stops it"
            )
    except ClientError as error:
        fail(f"{name}: still running, as it could not be stopped ({error}); `pymr delete {name}` stops it")
    fail(
        f"{name}: stopped. Every file that has arrived is whole; the same command with --skip-existing goes "
        "on from there",
        EXIT_INTERRUPTED,
    )


def _way(transfer: Transfer) -> str:
    """Where the files have gone."""
    fields = transfer.fields
    if transfer.fetched is not None:
        return f"to {transfer.fetched.path}"
    if "auxiliary_data_name" in fields:
        return f"to auxiliary/{fields['auxiliary_data_name']}.data on every peer"
    is_upload = fields["transfer_type"].startswith("upload")
    return f"to {fields['output_dir']}" + (" on the peers" if is_upload else "")


def _summary(client: Client, outcome: Outcome, way: str, moved: Moved | None) -> str:
    """What was transferred, how long it took, and what was there already. moved: what came here from the
    peer that gathered it, if that was so."""
    from pymr.wire.wording import amount, count_of, span

    runs = client.history(outcome.job_name, 5)
    run = next((run for run in runs if run.run_id == outcome.run_id), None)
    if run is None or run.end_time is None:
        return f"{outcome.job_name}: done, {way}"
    seconds = run.end_time - run.start_time
    rate = f" ({_rate(run.files, run.bytes, seconds)})" if run.bytes and seconds >= 0.05 else ""
    files, size, skipped = moved or (run.files, run.bytes, run.skipped)
    besides = f"; {count_of(skipped, 'file')} skipped, there already" if skipped else ""
    what = f"{count_of(files, 'file')}, {amount(size)}"
    return f"{outcome.job_name}: {what} {way} in {span(seconds)}{rate}{besides}"


class _Progress:
    """How far a transfer is: a line that changes in place on a terminal, else a line now and then."""

    def __init__(self, job_name: str, stream: TextIO) -> None:
        self._job_name = job_name
        self._stream = stream
        self._is_live = stream.isatty()
        self._shown = ""
        self._shown_at = 0.0
        self._step = ""

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_live and self._shown:
            self._write("\r\x1b[K")

    def show(self, view: JobView) -> None:
        if view.row is None or view.row.status not in ("queued", "running"):
            return
        self._tell(*describe(view.row, view.phases))

    def _tell(self, step: str, text: str) -> None:
        now = time.monotonic()
        if self._is_live:
            if step != self._step or now - self._shown_at >= _LIVE_SECONDS:
                self._step, self._shown, self._shown_at = step, text, now
                self._write(f"\r\x1b[K{self._cut(f'{self._job_name}: {text}')}")
            return
        is_due = step != self._step or now - self._shown_at >= _PLAIN_SECONDS
        if is_due and text != self._shown:
            self._step, self._shown, self._shown_at = step, text, now
            self._write(f"{self._job_name}: {text}\n")

    def counted(self, what: str) -> Callable[[int], None]:
        """Shows how many bytes there are by now; to be called with how many more."""
        from pymr.wire.wording import amount

        total = 0

        def count(more: int) -> None:
            nonlocal total
            total += more
            if more:
                self._tell(what, f"{amount(total)} {what}")

        return count

    def _cut(self, text: str) -> str:
        from shutil import get_terminal_size

        return printable(text)[: get_terminal_size().columns - 1]

    def _write(self, text: str) -> None:
        put(text, self._stream)  # a closed output does not end a transfer


def describe(row: JobRow, phases: tuple[PhaseRow, ...]) -> tuple[str, str]:
    """The step that a transfer is in, and how far it is in words."""
    from pymr.wire.wording import from_now

    if row.status == "queued":
        now = time.time()
        expected = "" if row.expected_start is None else f" ({from_now(max(row.expected_start, now), now)})"
        return "queued", f"waits for its turn{expected}"
    step = row.current_phase or "begins"
    if row.waiting_for:
        return f"waiting in {step}", f"{step}: waits for {row.waiting_for}"
    phase = next((phase for phase in phases if phase.name == step), None)
    if phase is None or not (phase.units[0] or phase.total_units):
        return step, step
    return step, f"{step}: {_amounts(phase, row.seconds_left)}"


def _amounts(phase: PhaseRow, seconds_left: float | None) -> str:
    from pymr.wire.wording import amount, count_of, span

    files, done = phase.units
    files_total, total = phase.total_first, phase.total_units
    of_files = f"{files:,} of {count_of(files_total, 'file')}" if files_total else count_of(files, "file")
    parts = [of_files, amount(done) + (f" of {amount(total)}" if total else "")]
    if done and phase.seconds >= 0.5:
        parts.append(_rate(files, done, phase.seconds))
    parts += [f"{span(seconds_left)} left"] * (seconds_left is not None)
    return ", ".join(parts)


def _rate(files: int, size: int, seconds: float) -> str:
    """Of small files, how many in a second; of others, how much."""
    from pymr.wire.wording import amount

    return f"{files / seconds:,.0f} files/s" if _are_small(files, size) else f"{amount(size / seconds)}/s"


def _are_small(files: int, size: int) -> bool:
    from pymr.client.transfers import BULK_BELOW_BYTES

    return files > 1 and size / files < BULK_BELOW_BYTES
