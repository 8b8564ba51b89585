"""The sweep of panes: a peer removes the output of its workers that is too old, or too much."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pymr.config.cluster import PanesConfig
from pymr.peer.loop.disk_threads import Disk
from pymr.peer.panes.panes import PaneStore, folders_of_panes
from pymr.peer.store.thread import StoreThread

SWEEP_SECONDS = 600.0
"""Between two looks at all panes. Lower: less output over the bounds of the configuration; more reading."""

CHECK_SECONDS = 15.0
"""Between two looks at how much was written; where that is a SWEEP_SHARE of the bound, it sweeps sooner."""

SWEEP_SHARE = 1 / 16

_DAY_SECONDS = 86_400.0
_BLOCK_BYTES = 512  # of st_blocks, on every system

_log = logging.getLogger("pymr")


@dataclass(frozen=True, slots=True)
class KeptPane:
    """A pane on the disk. bytes: what its files and its folder take there. changed_at: Unix seconds."""

    folder: Path
    bytes: int
    changed_at: float

    @property
    def run_id(self) -> str:
        return self.folder.name


class PaneSweep:
    """Sweeps now and then. present_runs: gives the ids of the runs that this peer takes part in, whose panes
    stay. Which runs failed is asked of Redis; while that does not answer, nothing goes for want of room.
    """

    def __init__(
        self,
        panes: PaneStore,
        config: PanesConfig,
        store: StoreThread,
        disk: Disk,
        present_runs: Callable[[], Iterable[str]],
        call_every: Callable[[float, Callable[[], object]], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._panes = panes
        self._config = config
        self._store = store
        self._disk = disk
        self._present_runs = present_runs
        self._clock = clock
        self._swept_bytes = 0
        self._due_checks = 0
        call_every(CHECK_SECONDS, self._check)

    def sweep(self) -> None:
        """Look at all panes; where there are too many, ask which runs failed, then remove what has to go."""
        self._swept_bytes = self._panes.bytes_appended
        self._due_checks = int(SWEEP_SECONDS / CHECK_SECONDS)
        self._disk.do("clean", lambda: list(kept_panes(self._panes.directory)), self._judge, self._warn)

    def _check(self) -> None:
        appended = self._panes.bytes_appended - self._swept_bytes
        self._due_checks -= 1
        if self._due_checks < 0 or appended >= self._config.keep_bytes * SWEEP_SHARE:
            self.sweep()

    def _judge(self, found: list[KeptPane]) -> None:
        present = {*self._present_runs(), *self._panes.open_runs()}
        removable = [pane for pane in found if pane.run_id not in present]
        oldest = self._clock() - self._config.keep_days * _DAY_SECONDS
        stale = [pane for pane in removable if pane.changed_at < oldest]
        kept = [pane for pane in removable if pane.changed_at >= oldest]
        excess = sum(pane.bytes for pane in found) - sum(pane.bytes for pane in stale)
        excess -= self._config.keep_bytes
        self._remove(stale)
        if excess > 0 and kept:
            run_ids = sorted({pane.run_id for pane in kept})
            self._store.ask(
                lambda store: store.failed_among(run_ids),
                lambda failed: self._remove(panes_to_remove(kept, failed, excess)),
                lambda _: None,  # which Redis is out of reach is told elsewhere; the next sweep asks again
                timeout_s=SWEEP_SECONDS,
            )

    def _remove(self, panes: Sequence[KeptPane]) -> None:
        if panes:
            self._disk.do("clean", lambda: remove_panes(panes), lambda _: None, self._warn)

    def _warn(self, error: Exception) -> None:
        _log.warning("old output of workers cannot be removed from %s: %s", self._panes.directory, error)


def panes_to_remove(
    panes: Iterable[KeptPane], failed_runs: Collection[str], excess_bytes: int
) -> list[KeptPane]:
    """The panes to remove to be rid of so many bytes: the oldest of runs that did not fail, then the oldest
    of those that did."""
    removed = []
    for pane in sorted(panes, key=lambda pane: (pane.run_id in failed_runs, pane.changed_at, pane.folder)):
        if excess_bytes <= 0:
            break
        removed.append(pane)
        excess_bytes -= pane.bytes
    return removed


def kept_panes(directory: Path) -> Iterator[KeptPane]:
    """Every pane below the folder of a peer's panes. Cost: a look at each of their files."""
    for folder in folders_of_panes(directory):
        with suppress(OSError):
            found = folder.stat()
            taken, changed_at = found.st_blocks * _BLOCK_BYTES, found.st_mtime
            with os.scandir(folder) as entries:
                for entry in entries:
                    file = entry.stat(follow_symlinks=False)
                    taken += file.st_blocks * _BLOCK_BYTES
                    changed_at = max(changed_at, file.st_mtime)
            yield KeptPane(folder, taken, changed_at)


def remove_panes(panes: Iterable[KeptPane]) -> None:
    for pane in panes:
        shutil.rmtree(pane.folder, ignore_errors=True)
