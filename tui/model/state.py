"""What the console knows of the cluster at a moment. The feed makes one after another; screens show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pymr.wire.protocol import MachineFigures
from pymr.wire.requests import ClusterView, JobsView, JobView
from pymr.wire.rows import EventRow, PeerRow, RunRow, WorkerRow

EVENTS_MAX = 2_000
RUNS_MAX = 200
MACHINE_SAMPLES_MAX = 120


@dataclass(frozen=True, slots=True)
class ClusterState:
    """runs: the latest that have ended, RUNS_MAX at most, the newest first. job_views: the latest answer for
    each job that was looked at. machines: by peer, a sample every feed.PEERS_SECONDS, MACHINE_SAMPLES_MAX at
    most. events: EVENTS_MAX at most, the newest last.

    answered_at: when a peer last answered, by time.monotonic(). peers_at: when one last reported the peers;
    None if irrelevant. problem: why there is no answer now; "" while there is. fault: what the
    console itself failed at in an answer; "" for nothing. is_read_only: the console may not
    change anything.
    """

    cluster: ClusterView | None = None
    jobs: JobsView | None = None
    runs: tuple[RunRow, ...] = ()
    job_views: Mapping[str, JobView] = field(default_factory=dict)
    workers: tuple[WorkerRow, ...] = ()
    peers: tuple[PeerRow, ...] = ()
    machines: Mapping[str, tuple[MachineFigures, ...]] = field(default_factory=dict)
    events: tuple[EventRow, ...] = ()
    answered_at: float | None = None
    peers_at: float | None = None
    problem: str = ""
    fault: str = ""
    is_read_only: bool = False

    @property
    def is_viewer(self) -> bool:
        """Whether the cluster would refuse every change, as the key is a viewer's."""
        return self.cluster is not None and self.cluster.role == "viewer"

    @property
    def may_change(self) -> bool:
        return not (self.is_read_only or self.is_viewer)

    @property
    def why_read_only(self) -> str:
        """For a person; "" where changes may be made."""
        if self.is_viewer:
            return "this key may only look"
        return "started with --read-only" if self.is_read_only else ""

    def age_s(self, now: float) -> float | None:
        """Seconds since a peer last answered, by time.monotonic(); None before the first answer."""
        return None if self.answered_at is None else max(0.0, now - self.answered_at)
