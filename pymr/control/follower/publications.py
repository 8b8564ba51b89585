"""Publications: which output folders a peer is to make, one at a time each. Part of `follower`."""

from __future__ import annotations

from collections.abc import Sequence

from pymr.wire.protocol import PublishOrder, PublishReport


class Publications:
    """What a peer was told to publish, and what came of it.

    A folder (of a job, in the data folder of a peer) is worked on for one run at a time, so that an earlier
    run never comes after a later one.
    """

    def __init__(self) -> None:
        self._reports: dict[tuple[str, str], PublishReport | None] = {}  # None: in work
        self._folders: dict[tuple[str, str], tuple[str, str]] = {}  # (job, peer) -> the one in work

    def take(self, orders: Sequence[PublishOrder]) -> list[PublishOrder]:
        """Learn what is wanted; returns what to begin now. What is wanted no more is forgotten once done."""
        wanted = {(order.run_id, order.peer): order for order in orders}
        for key in [one for one, report in self._reports.items() if report is not None]:
            if key not in wanted:
                del self._reports[key]
        return [order for key, order in wanted.items() if self._begins(key, order)]

    def _begins(self, key: tuple[str, str], order: PublishOrder) -> bool:
        folder = (order.job_name, order.peer)
        if folder in self._folders:
            return False
        report = self._reports.get(key)
        if report is not None and (not report.error or report.is_final):
            return False
        self._folders[folder] = key
        self._reports[key] = None
        return True

    def done(self, report: PublishReport) -> None:
        """A folder shows a run's output, or could not be made to."""
        key = (report.run_id, report.peer)
        self._reports[key] = report
        for folder in [one for one, busy in self._folders.items() if busy == key]:
            del self._folders[folder]

    def reports(self) -> tuple[PublishReport, ...]:
        return tuple(report for report in self._reports.values() if report is not None)
