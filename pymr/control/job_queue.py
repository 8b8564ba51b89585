"""The job queue: its jobs in their order, and which of them is to run next."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, Literal

from pymr.control.stored_state import JobChanges, JobRecord, JobState

FORCED_SECONDS = 1.0
"""A job with `force_run` begins again no sooner than this after it last began. Lower: more load on Redis."""

Place = Literal["running", "due", "ran", "ended"]
"""Where a job stands: ran: it is due again in the next cycle; ended: it failed, or has run once."""

_Entry = tuple[int, int, str, str]  # queue_order, name, group; equal versions do not occur


class JobQueue:
    """The job table, as it was last read; it may lag behind Redis.

    cycle: the number of the present one. cycle_began: when, by the clock of whoever reads; None while that
    is not known. states: which run's lists say what a job has consumed.
    Cost: O(log n) comparisons and a shift of pointers for a changed job; O(n) where a cycle begins, and for
    the first `in_order` after a change.
    """

    def __init__(self) -> None:
        self.jobs: dict[str, JobRecord] = {}
        self.states: dict[str, JobState] = {}
        self.change = 0
        self.is_paused = False
        self.cycle = 1
        self.cycle_began: float | None = None
        self.unix_offset: float | None = None  # from the clock of whoever reads to that of Redis
        self._cycle_read = (0, 0.0)  # number and beginning of the cycle of which cycle_began was learned
        self._begun: dict[str, int] = {}  # change of the record from which a job was begun
        self._paths: dict[str, tuple[Place, _Entry]] = {}
        self._sorted: dict[Place, list[_Entry]] = {"running": [], "due": [], "ran": [], "ended": []}
        self._last_began: dict[str, tuple[float, float]] = {}  # of forced jobs: by Redis' clock, ours
        self._forced: list[tuple[float, _Entry]] = []  # of `ran`: those to run again, the longest ago first
        self._in_order: tuple[JobRecord, ...] | None = None

    # -- what was read

    def apply(self, changes: JobChanges, now: float | None = None) -> None:
        """Take over changes; those that are known already do nothing. now: of any clock that never goes back;
        without it nothing is known of times."""
        if changes.change < self.change:
            return
        if now is not None and changes.now:
            self.unix_offset = changes.now - now
            if changes.cycle >= self.cycle or changes.is_whole:
                self._learn_cycle(changes, now)
        if changes.is_whole:
            self._replace_all(changes, now or 0.0)
        else:
            self._enter_cycle(changes.cycle)
            for name in changes.deleted:
                self._remove(name)
                self._last_began.pop(name, None)
            for job in changes.jobs:
                self._remove(job.name)
                self._learn_begun(job, changes.now, now or 0.0)
                self._add(job)
        if changes.is_whole:
            self.states = dict(changes.states)
        else:
            self.states.update(changes.states)
        if changes.jobs or changes.deleted or changes.is_whole:
            self._in_order = None
        self.change = changes.change
        self.is_paused = changes.paused
        self._begun = {name: change for name, change in self._begun.items() if self._is_known(name, change)}

    def _learn_cycle(self, changes: JobChanges, now: float) -> None:
        """Once for each cycle: the clock of Redis may be set meanwhile, and the age must not begin anew."""
        read = changes.cycle, changes.cycle_began_at
        if read == self._cycle_read and self.cycle_began is not None:
            return
        self._cycle_read = read
        if changes.cycle_began_at:
            self.cycle_began = now - max(0.0, changes.now - changes.cycle_began_at)
        elif self.cycle_began is None:
            self.cycle_began = now

    def _learn_begun(self, job: JobRecord, unix_now: float, now: float) -> None:
        """Note by our own clock when a job with `force_run` has begun: no later than now, whatever Redis'
        says."""
        if job.start_time is None or not job.fields.get("force_run"):
            return
        if self._last_began.get(job.name, (None, 0.0))[0] != job.start_time:
            self._last_began[job.name] = job.start_time, now - max(0.0, unix_now - job.start_time)

    def _began(self, job: JobRecord) -> float:
        return self._last_began[job.name][1] if job.name in self._last_began else 0.0

    def _replace_all(self, changes: JobChanges, now: float) -> None:
        self.cycle = changes.cycle
        self.jobs = {job.name: job for job in changes.jobs}
        self._paths = {}
        self._forced = []
        for entries in self._sorted.values():
            entries.clear()
        self._last_began = {name: began for name, began in self._last_began.items() if name in self.jobs}
        for job in changes.jobs:
            self._learn_begun(job, changes.now, now)
            place, entry = self._place_of(job), _entry(job)
            self._paths[job.name] = place, entry
            self._sorted[place].append(entry)
            if place == "ran" and job.fields.get("force_run"):
                self._forced.append((self._began(job), entry))
        for entries in self._sorted.values():
            entries.sort()
        self._forced.sort()

    def _add(self, job: JobRecord) -> None:
        place, entry = self._place_of(job), _entry(job)
        self.jobs[job.name] = job
        self._paths[job.name] = place, entry
        insort(self._sorted[place], entry)
        if place == "ran" and job.fields.get("force_run"):
            insort(self._forced, (self._began(job), entry))

    def _remove(self, name: str) -> None:
        job = self.jobs.pop(name, None)
        if job is None:
            return
        place, entry = self._paths.pop(name)
        entries = self._sorted[place]
        del entries[bisect_left(entries, entry)]
        if place == "ran" and job.fields.get("force_run"):
            self._forced.remove((self._began(job), entry))

    def _place_of(self, job: JobRecord) -> Place:
        if job.status == "running":
            return "running"
        if job.status == "queued":
            return "due"
        if job.status == "failed" or (job.status == "succeeded" and job.fields.get("run_once")):
            return "ended"
        return "due" if job.cycle < self.cycle else "ran"

    def _is_known(self, name: str, change: int) -> bool:
        job = self.jobs.get(name)
        return job is not None and job.change == change

    # -- cycles

    def begin_cycle(self, cycle: int, now: float) -> None:
        """A cycle has begun this moment: what recurs is due."""
        if cycle > self.cycle:
            self.cycle_began = now
            self._enter_cycle(cycle)

    def open_cycle(self, now: float) -> None:
        """The first run of the cycle has begun this moment, from when its time counts."""
        self.cycle_began = now

    def _enter_cycle(self, cycle: int) -> None:
        if cycle <= self.cycle:
            return
        self.cycle = cycle
        ran, self._sorted["ran"] = self._sorted["ran"], []
        # What is due can only be few here, as a cycle ends when nothing is; two sorted runs are merged in C.
        self._sorted["due"] = sorted(self._sorted["due"] + ran) if self._sorted["due"] else ran
        self._paths.update((entry[2], ("due", entry)) for entry in ran)
        self._forced.clear()
        self._in_order = None

    @property
    def recurs(self) -> bool:
        """Whether there is any job for which a next cycle would have to begin."""
        return bool(self._sorted["ran"])

    def has_due(self) -> bool:
        """Whether any job is still to begin in this cycle; not counting those whose run has begun, as far as
        the table lags behind."""
        return any(not self._is_begun(entry[2]) for entry in self._sorted["due"])

    # -- the next job

    def next_job(self, busy: Collection[str], groups: Collection[str] = ()) -> JobRecord | None:
        """The due job of the highest priority, of equals the one submitted first; None while paused.

        busy: names of jobs that have a run already; groups: those of which a member runs. A member of a group
        waits for all before it. A job of which nothing new was heard since it was begun is passed over: its
        status has changed, and here this is not known yet.
        """
        if self.is_paused:
            return None
        blocked = set(groups)
        for _, _, name, group in self._sorted["due"]:
            if group in blocked:
                continue
            if name not in busy and not self._is_begun(name):
                return self.jobs[name]
            if group:
                blocked.add(group)
        return None

    def next_forced(
        self, busy: Collection[str], groups: Collection[str], now: float
    ) -> tuple[JobRecord | None, float]:
        """The job with `force_run` that is to run again, though it ran in this cycle; and else when there may
        be one: the one that began longest ago comes first."""
        if self.is_paused:
            return None, float("inf")
        for began, (_, _, name, group) in self._forced:
            if began + FORCED_SECONDS > now:
                return None, began + FORCED_SECONDS
            if name not in busy and group not in groups and not self._is_begun(name):
                return self.jobs[name], now
        return None, float("inf")

    def begin(self, job: JobRecord) -> None:
        """Note that a run of a job is being begun from this record of it."""
        self._begun[job.name] = job.change

    def _is_begun(self, name: str) -> bool:
        return self._begun.get(name) == self.jobs[name].change if name in self._begun else False

    # -- for consoles

    def place(self, name: str) -> Place | None:
        """Where a job stands; None for one that is not in the table."""
        return self._paths[name][0] if name in self._paths else None

    def running(self) -> Sequence[_Entry]:
        """What runs, in its order, as `due`."""
        return self._sorted["running"]

    def due(self) -> Sequence[_Entry]:
        """What is due, in its order: (queue order, name, group) each; not to be changed."""
        return self._sorted["due"]

    def in_order(self) -> tuple[JobRecord, ...]:
        """All jobs: those that run, then the queue, then what has run."""
        if self._in_order is None:
            rest = sorted(self._sorted["ran"] + self._sorted["ended"])
            entries = chain(self._sorted["running"], self._sorted["due"], rest)
            self._in_order = tuple([self.jobs[entry[2]] for entry in entries])
        return self._in_order


def queue_order(job: JobRecord) -> tuple[int, int]:
    """Sorts jobs as they are to run."""
    return -int(str(job.fields.get("job_priority", 0))), job.version


def group_of(fields: Mapping[str, Any]) -> str:
    """The group a job is in; "" for one that is on its own."""
    return str(fields.get("group_name") or "")


def _entry(job: JobRecord) -> _Entry:
    return (*queue_order(job), job.name, group_of(job.fields))
