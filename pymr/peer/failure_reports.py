"""Failure reports: an error that a command of the follower met, as the leader is told of it."""

from __future__ import annotations

import logging

from pymr.base.errors import DiskError, FatalError, ProjectError, PymrError, disk_error
from pymr.wire.outcomes import Failure
from pymr.wire.protocol import PlanOrder, PlanReport, cut_text

_log = logging.getLogger("pymr")


def failure_of(error: Exception) -> Failure:
    """An error of ours, on its way to the leader. What is wrong with a machine counts against no task."""
    if isinstance(error, OSError):
        error = disk_error("writing", str(error.filename or "to the data folder"), error)
    if isinstance(error, PymrError):
        is_final = isinstance(error, FatalError | ProjectError)
        disk = error if isinstance(error, DiskError) else None
        return Failure(
            type(error).__name__,
            cut_text(str(error)),
            is_final,
            is_counted=disk is None,
            is_of_disk=disk is not None and disk.is_unwritable,
        )
    _log.error("unexpected: %s", error, exc_info=error)
    return Failure(type(error).__name__, cut_text(f"unexpected: {error!r}"))


def failed_plan(plan: PlanOrder, error: Exception) -> PlanReport:
    """A plan that could not be made, for whatever reason."""
    text = f"planning failed: {error}"
    return PlanReport(plan.run_id, 0, 0, 0, text, shared=plan.shared, turn=plan.turn)
