"""The command `output`: a job's output from all peers, to stdout or into a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pymr.base.standard_streams import put
from pymr.cli.console import complete_jobs, config_option, fail, open_client, say, tell

if TYPE_CHECKING:
    from pymr.client import Client, Listing


@click.command()
@click.argument("job_name", shell_complete=complete_jobs)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False),
    metavar="DIR",
    help="Write the files into this folder, new or with an earlier output. [default: lines to stdout]",
)
@click.option(
    "--partial", is_flag=True, help="Accept an incomplete output if machines that hold some of it are absent."
)
@config_option
def output(job_name: str, folder: str | None, partial: bool, config_path: str | None) -> None:
    """Collect a job's output from all peers, in full or not at all."""
    with open_client(config_path) as client:
        if folder is None:
            _print(client, job_name, partial)
        else:
            _collect(client, job_name, folder, partial)


def _print(client: Client, job_name: str, partial: bool) -> None:
    """All lines, in the order of the part files; compressed ones as lines too."""
    from pymr.client import decompressed

    listing = client.output(job_name, partial=partial)
    _warn(listing)
    for part in listing.parts:
        for piece in decompressed(client.read_part(job_name, part), part.name):
            if not put(piece, flush=False):
                return
    if not put(b""):
        return
    if client.output(job_name, partial=partial).run_id != listing.run_id:
        fail(f"{job_name}: a new run replaced the output while it was being printed; print it again")


def _warn(listing: Listing) -> None:
    if listing.missing:
        tell(f"pymr: warning: {listing.missing}")


def _collect(client: Client, job_name: str, folder: str, partial: bool) -> None:
    from pymr.client.collected_output import collect_output
    from pymr.wire.wording import amount, count_of

    listing = collect_output(client, job_name, folder, partial=partial)
    _warn(listing)
    size = sum(part.length for part in listing.parts)
    items = sum(part.items for part in listing.parts)
    files = count_of(len(listing.parts), "file")
    say(f"{job_name}: {count_of(items, 'item')} in {files} ({amount(size)}) in {folder}")
