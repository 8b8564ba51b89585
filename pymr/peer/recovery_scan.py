"""Findings: what a peer that starts finds on its disk of the runs it worked for before."""

from __future__ import annotations

import logging
import shutil

from pymr.base.errors import PymrError
from pymr.control.follower.events import Held
from pymr.peer.attempts.attempts import map_outcome, reduce_outcome
from pymr.peer.attempts.steps import step_outcome
from pymr.peer.disk.driver_outcomes import driver_outcome
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.output.publication import (
    clear_unfinished,
    finished_attempts,
    forget_attempt,
    forget_run,
    runs_on_disk,
)
from pymr.wire.outcomes import DRIVER, AttemptId, Outcome
from pymr.wire.protocol import STEPS, AttemptResult

_log = logging.getLogger("pymr")


def clear_foreign_runs(paths: PeerPaths) -> None:
    """Runs on the disk of a peer that remembers no cluster are of one that is no more; ids begin anew."""
    for run_id in runs_on_disk(paths):
        _log.warning("%s is of a cluster that this peer does not remember: it is removed", run_id)
        forget_run(paths, run_id)
    shutil.rmtree(paths.bad_records_of_runs, ignore_errors=True)


def found_runs(paths: PeerPaths) -> list[str]:
    """Runs of which there is anything on the disk; what was not finished has been cleared away."""
    clear_unfinished(paths)
    return runs_on_disk(paths)


def held_attempts(paths: PeerPaths) -> list[Held]:
    """Finished attempts and their outcomes: the leader knows whether they count. Damaged ones are removed."""
    held = []
    for run in finished_attempts(paths):
        for task, attempt, digest in run.attempts:
            id = AttemptId(run.run_id, task, attempt)
            folder = paths.attempt(id)
            try:
                outcome = _outcome_of(folder, id)
            except PymrError as error:
                _log.warning("a finished attempt is damaged, and removed: %s", error)
                forget_attempt(paths, id)
                continue
            held.append(Held(AttemptResult(id, outcome), digest))
    return held


def _outcome_of(folder: str, id: AttemptId) -> Outcome:
    if id.kind in STEPS:
        return step_outcome(folder)
    if id.kind == DRIVER:
        return driver_outcome(folder)
    return map_outcome(folder) if id.is_map else reduce_outcome(folder)
