"""The sweep: a peer removes what consoles have left in its `uploads` folder, unless a job still names it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pymr.peer.disk.job_table import JobTableCopy
from pymr.peer.disk.uploads import UPLOADS, remove_stale_uploads, stale_uploads
from pymr.peer.loop.disk_threads import Disk

SWEEP_SECONDS = 600.0
"""Between two looks at the folder; see also uploads.STALE_SECONDS."""

_FIELDS = ("input_dir", "input_file_name", "output_dir")
_NAMED = re.compile(rf"{UPLOADS}/+([A-Za-z0-9_-]+)")

_log = logging.getLogger("pymr")


class UploadSweep:
    """Removes what is stale, now and then. fields_of_runs: those of the jobs that run on this peer, which may
    have left the table. While Redis cannot be asked which jobs there are, nothing is removed."""

    def __init__(
        self,
        data_dir: str,
        jobs: JobTableCopy,
        disk: Disk,
        fields_of_runs: Callable[[], Iterable[Mapping[str, Any]]],
        call_every: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._data_dir = data_dir
        self._jobs = jobs
        self._disk = disk
        self._fields_of_runs = fields_of_runs
        call_every(SWEEP_SECONDS, self.sweep)

    def sweep(self) -> None:
        """Look; and if there is anything, ask for the jobs, then remove what none of them names."""
        self._disk.do("clean", lambda: stale_uploads(self._data_dir), self._take, self._warn)

    def _take(self, stale: list[str]) -> None:
        if stale:
            self._jobs.refresh(self._remove, lambda _: None)

    def _remove(self) -> None:
        jobs = [job.fields for job in self._jobs.table.jobs.values()]
        wanted = {name for fields in (*jobs, *self._fields_of_runs()) for name in _named_by(fields)}
        self._disk.do(
            "clean", lambda: remove_stale_uploads(self._data_dir, wanted), lambda _: None, self._warn
        )

    def _warn(self, error: Exception) -> None:
        _log.warning("uploads that were left cannot be removed from %s: %s", self._data_dir, error)


def _named_by(fields: Mapping[str, Any]) -> list[str]:
    """The ids of the uploads that the paths of a job lead to, however they are written."""
    paths = [str(fields.get(name) or "") for name in _FIELDS]
    return [found for path in paths if UPLOADS in path for found in _NAMED.findall(path)]
