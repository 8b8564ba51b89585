"""Output reading: what a peer has of the outputs in a folder that is read, so that none is read in part."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from pymr.config import PeerConfig
from pymr.output_shares import OutputRead, expected_shares, shown_shares
from pymr.peer.places import Places
from pymr.publishing import read_manifest


def outputs_read(names: Sequence[str], peers: Sequence[PeerConfig]) -> tuple[OutputRead, ...]:
    """What these peers have of each output that is read with one of these relative paths, or lies below.

    Raises OutputError where one is damaged, OSError.
    """
    found = []
    for peer in peers:
        places = Places(peer.data_dir)
        for job_name in dict.fromkeys(job for name in names for job in _jobs_at(name, places)):
            manifest = read_manifest(places.output(job_name))
            if manifest is not None:
                run_id = str(manifest.get("run_id", ""))
                runs = {run_id, *(manifest.get("run_items") or ())}
                expected = tuple(expected_shares(manifest, runs))
                shown = tuple(shown_shares(manifest, peer.name))
                found.append(OutputRead(job_name, peer.name, run_id, expected, shown))
    return tuple(found)


def _jobs_at(name: str, places: Places) -> list[str]:
    """The jobs whose outputs are read with a path below a data folder."""
    parts = os.path.normpath(name).split("/")
    if parts in (["."], ["jobs"]):  # which a transfer may move as a whole
        with suppress(FileNotFoundError):
            return sorted(entry.name for entry in os.scandir(places.jobs) if entry.is_dir())
    is_output = len(parts) >= 2 and parts[0] == "jobs" and (parts[2:] or ["reduce"])[0] == "reduce"
    return [parts[1]] if is_output else []
