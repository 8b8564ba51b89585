"""Removed peers: those no longer in cluster.toml that have parts of outputs, as its manifests tell."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping

from pymr.base.errors import PymrError
from pymr.engine.staged_output import read_manifest
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.loop.disk_threads import Disk
from pymr.wire.rows import PeerRow

LOOK_SECONDS = 2.0
"""So often manifests are looked at while somebody asks; those that have not changed are not read again."""

_log = logging.getLogger("pymr")
_Version = tuple[int, int, int]


class RemovedPeers:
    """Knows what was so at the last look, which is taken beside the loop: nobody waits for the disk.

    peers: those in cluster.toml.
    """

    def __init__(self, paths: PeerPaths, disk: Disk, peers: Collection[str]) -> None:
        self._paths = paths
        self._disk = disk
        self._peers = frozenset(peers)
        self._holders: dict[str, tuple[_Version, frozenset[str]]] = {}  # by job
        self._jobs: Mapping[str, tuple[str, ...]] = {}
        self._is_looking = False
        self._looked_at = float("-inf")
        self._look()

    def rows(self) -> tuple[PeerRow, ...]:
        """A row for each, with the jobs of whose outputs it has parts."""
        self._look()
        return tuple(
            PeerRow(name=name, address="", data_address="", state="removed", outputs=jobs)
            for name, jobs in sorted(self._jobs.items())
        )

    def of_job(self, job_name: str) -> tuple[str, ...]:
        """Those that have parts of a job's output."""
        self._look()
        return tuple(name for name, jobs in sorted(self._jobs.items()) if job_name in jobs)

    def _look(self) -> None:
        if self._is_looking or time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._is_looking = True
        self._disk.do("ask", self._read, self._looked, self._failed)

    def _looked(self, jobs: Mapping[str, tuple[str, ...]]) -> None:
        self._jobs = jobs
        self._is_looking, self._looked_at = False, time.monotonic()

    def _failed(self, error: Exception) -> None:
        _log.warning("the outputs cannot be looked at: %s", error)
        self._is_looking, self._looked_at = False, time.monotonic()

    def _read(self) -> dict[str, tuple[str, ...]]:
        """The jobs by peer. In the disk's thread, which alone has `_holders`."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._paths.jobs) if entry.is_dir())
        except FileNotFoundError:
            names = []
        self._holders = {name: found for name in names if (found := self._holders_of(name)) is not None}
        jobs: dict[str, list[str]] = {}
        for job_name, (_, holders) in self._holders.items():
            for peer in holders:
                jobs.setdefault(peer, []).append(job_name)
        return {peer: tuple(found) for peer, found in jobs.items()}

    def _holders_of(self, job_name: str) -> tuple[_Version, frozenset[str]] | None:
        """Removed peers that have some of an output, at a version of its manifest; None without one."""
        folder = os.path.join(self._paths.jobs, job_name, "reduce")
        try:
            status = os.stat(os.path.join(folder, "_manifest.json"))
            version = status.st_mtime_ns, status.st_size, status.st_ino
            known = self._holders.get(job_name)
            if known is not None and known[0] == version:
                return known
            manifest = read_manifest(folder) or {}
        except (OSError, PymrError):  # whoever reads that output is told
            return None
        items = manifest.get("run_items") or {}
        return version, frozenset({peer for by_peer in items.values() for peer in by_peer} - self._peers)
