"""The backlog: the jobs of the queue, and which of them is to run next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pymr.control.records import JobChanges, JobRecord


class Backlog:
    """The job table as the leader knows it; it may lag behind Redis."""

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.change = 0
        self.is_paused = False
        self._begun: dict[str, int] = {}  # change of the record from which a job was begun

    def apply(self, changes: JobChanges) -> None:
        """Take over changes; those that are known already do nothing."""
        if changes.change < self.change:
            return
        if changes.is_whole:
            self.jobs = {job.name: job for job in changes.jobs}
        else:
            for name in changes.deleted:
                self.jobs.pop(name, None)
            self.jobs.update((job.name, job) for job in changes.jobs)
        self.change = changes.change
        self.is_paused = changes.paused
        self._begun = {name: change for name, change in self._begun.items() if self._is_known(name, change)}

    def next_job(self, busy: Iterable[str]) -> JobRecord | None:
        """The queued job of the highest priority, of equals the one submitted first; None while paused.

        busy: names of jobs that have a run already. A job of which nothing new was heard since it was begun
        is passed over: its status has changed, and here this is not known yet.
        """
        if self.is_paused:
            return None
        passed_over = set(busy)
        queued = (
            job
            for job in self.jobs.values()
            if job.status == "queued"
            and job.name not in passed_over
            and self._begun.get(job.name) != job.change
        )
        return min(queued, key=queue_order, default=None)

    def begin(self, job: JobRecord) -> None:
        """Note that a run of a job is being begun from this record of it."""
        self._begun[job.name] = job.change

    def _is_known(self, name: str, change: int) -> bool:
        job = self.jobs.get(name)
        return job is not None and job.change == change

    def in_order(self) -> Iterator[JobRecord]:
        """All jobs: those that run, then the queue, then what has ended."""
        ranks = {"running": 0, "queued": 1}
        return iter(sorted(self.jobs.values(), key=lambda job: (ranks.get(job.status, 2), *queue_order(job))))


def queue_order(job: JobRecord) -> tuple[int, int]:
    """Sorts jobs as they are to run."""
    return -int(str(job.fields.get("job_priority", 0))), job.version
