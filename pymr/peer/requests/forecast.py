"""Forecast: when the jobs of the queue will begin and end, by how long their runs have taken so far."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from pymr.control.job_queue import JobQueue, group_of
from pymr.control.stored_state import JobRecord

Times = tuple[float | None, float | None]
"""When a job begins and ends, in Unix seconds; None where that is not known."""

UNKNOWN: Times = (None, None)


@dataclass(slots=True)
class Forecast:
    """The queue, played through in its order over as many lanes as runs may be under way: a lane that gets
    free goes to the first job whose group is free.

    It is made anew when the table has changed or a second has passed. Cost: 20 ms for 10,000 jobs, then a
    look into a dict for each job.
    """

    concurrent_runs: int
    _key: tuple[int, int, int] = (-1, -1, -1)
    _times: dict[str, Times] = field(default_factory=dict)

    def times(self, job_queue: JobQueue, unix_now: float, left: dict[str, float | None]) -> dict[str, Times]:
        """(begin, end) of each job that is due, by its name. left: how long each running job still takes, by
        name; None where that is not known."""
        key = (job_queue.change, job_queue.cycle, int(unix_now))
        if key != self._key:
            self._key = key
            self._times = {} if job_queue.is_paused else self._play(job_queue, unix_now, left)
        return self._times

    def _play(self, job_queue: JobQueue, unix_now: float, left: dict[str, float | None]) -> dict[str, Times]:
        times: dict[str, Times] = {}
        if any(seconds is None for seconds in left.values()):
            return times  # nobody knows when a lane is free
        ends = [  # of what runs, with its group
            (unix_now + seconds, group_of(job_queue.jobs[name].fields))
            for name, seconds in left.items()
            if seconds is not None
        ]
        heapq.heapify(ends)
        due = job_queue.due()
        ready, waiting = _ready(due, {group for _, group in ends})
        usual = usual_seconds(job_queue.jobs.values())
        now = unix_now
        while ready or ends:
            while ready and len(ends) < self.concurrent_runs:
                _, _, name, group = due[heapq.heappop(ready)]
                job = job_queue.jobs[name]
                takes = job.seconds if job.seconds is not None else usual.get(str(job.fields.get("job_type")))
                if takes is None:
                    times[name] = now, None
                    return times
                times[name] = now, now + takes
                heapq.heappush(ends, (now + takes, group))
            now, group = heapq.heappop(ends)
            if waiting.get(group):
                heapq.heappush(ready, waiting[group].popleft())
        return times


def _ready(
    due: Sequence[tuple[int, int, str, str]], busy: Collection[str]
) -> tuple[list[int], dict[str, deque[int]]]:
    """The due jobs by their place in the order: (those that may begin when a lane is free, a heap; those that
    wait for others of their group, by its name). busy: groups of which a member runs."""
    ready: list[int] = []
    waiting: dict[str, deque[int]] = {group: deque() for group in busy if group}
    for place, (_, _, _, group) in enumerate(due):
        if group in waiting:
            waiting[group].append(place)
            continue
        ready.append(place)
        if group:
            waiting[group] = deque()
    return ready, waiting


def usual_seconds(jobs: Iterable[JobRecord]) -> dict[str, float]:
    """How long runs take on average, by the type of the job; only of types of which any is known."""
    sums: dict[str, tuple[float, int]] = {}
    for job in jobs:
        if job.seconds is not None:
            kind = str(job.fields.get("job_type"))
            total, count = sums.get(kind, (0.0, 0))
            sums[kind] = total + job.seconds, count + 1
    return {kind: total / count for kind, (total, count) in sums.items()}


def expected_left(
    usual: float | None, elapsed: float, progress: float, measured_from: float = 0.03
) -> float | None:
    """How long a run may still take whose pace is not known: as its job has taken so far, but no less than
    its progress says.

    usual: None where that is not known. elapsed: since it began. progress: 0 to 1; from `measured_from` on it
    says anything.
    """
    by_progress = elapsed * (1 - progress) / progress if progress > measured_from else None
    if usual is None:
        return by_progress
    return max(usual - elapsed, by_progress or 0.0)
