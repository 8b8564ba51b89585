"""Output reading: what a peer has of the outputs in a folder that is read, so that none is read in part."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pymr.config.cluster import PeerConfig
from pymr.engine.staged_output import read_manifest
from pymr.peer.disk.paths import PeerPaths
from pymr.wire.output_shares import OutputRead, expected_shares, shown_shares


def outputs_read(names: Sequence[str], peers: Sequence[PeerConfig]) -> tuple[OutputRead, ...]:
    """What these peers have of each output that is read with one of these relative paths.

    Raises OutputError where one is damaged, OSError.
    """
    found = []
    for peer in peers:
        paths = PeerPaths(peer.data_dir)
        for job_name in filter(None, dict.fromkeys(map(_job_at, names))):
            manifest = read_manifest(paths.output(job_name))
            if manifest is not None:
                run_id = str(manifest.get("run_id", ""))
                runs = {run_id, *(manifest.get("run_items") or ())}
                expected = tuple(expected_shares(manifest, runs))
                shown = tuple(shown_shares(manifest, peer.name))
                found.append(OutputRead(job_name, peer.name, run_id, expected, shown))
    return tuple(found)


def _job_at(name: str) -> str:
    """The job whose output is read with a path below a data folder; "" for none. Nobody reads all of `jobs`,
    where their own output lies too."""
    parts = os.path.normpath(name).split("/")
    is_output = len(parts) >= 2 and parts[0] == "jobs" and (parts[2:] or ["reduce"])[0] == "reduce"
    return parts[1] if is_output else ""
