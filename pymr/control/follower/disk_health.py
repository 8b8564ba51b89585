"""Disk health: what a peer tells of its disk, after what its disk has refused. Part of `follower`."""

from __future__ import annotations

from msgspec.structs import replace

from pymr.control.follower.events import (
    PeerEvent,
    Planned,
    ProjectPrepared,
    Published,
    SegmentRefused,
    TaskEnded,
    WorkerEnded,
)
from pymr.wire.outcomes import Failure
from pymr.wire.protocol import MachineFigures, first_line

TOLD_SECONDS = 15.0
"""A refusal is told for this long, or until a task is done. Whatever was refused is tried again sooner (see
liveness.REST_SECONDS), so that a disk which stays full is told of without a gap."""


class DiskHealth:
    """The last time that the disk of this peer was full or read-only for something, and for what."""

    def __init__(self) -> None:
        self._refusal = ""
        self._until = float("-inf")

    def take(self, event: PeerEvent, now: float) -> bool:
        """Note what an event says of the disk. Whether that is news."""
        refusal = _refusal_in(event)
        if not refusal:
            if _is_success(event):
                self._until = float("-inf")
            return False
        is_news = now > self._until
        self._refusal = first_line(refusal)
        self._until = now + TOLD_SECONDS
        return is_news

    def in_figures(self, machine: MachineFigures, now: float) -> MachineFigures:
        """The figures, with what was refused lately where they themselves show no problem."""
        if machine.disk_problem or now > self._until:
            return machine
        return replace(machine, disk_problem=self._refusal)


def _is_success(event: PeerEvent) -> bool:
    """Whether it tells of something that was written."""
    match event:
        case TaskEnded(outcome=outcome):
            return not isinstance(outcome, Failure)
        case Planned(report) | Published(report):
            return not report.error
    return False


def _refusal_in(event: PeerEvent) -> str:
    match event:
        case (
            TaskEnded(outcome=Failure(error=error, is_of_disk=True))
            | WorkerEnded(failure=Failure(error=error, is_of_disk=True))
            | ProjectPrepared(failure=Failure(error=error, is_of_disk=True))
            | SegmentRefused(error=error, is_of_disk=True)
        ):
            return error
        case Planned(report) | Published(report) if report.is_of_disk:
            return report.error
    return ""
