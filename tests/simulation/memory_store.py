"""A store in memory, with the interface and the rules of `pymr.peer.store.store.Store`, for the simulator.

The tests that use `store_places` hold both to the same contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from simulation import memory_redis as rules
from simulation import memory_runs as run_rules
from simulation.memory_redis import MemoryRedis

from pymr.base.errors import StaleEpochError
from pymr.control.stored_state import (
    ActiveRun,
    BeginAttempt,
    BeginCycle,
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    Event,
    JobChanges,
    JobRecord,
    JobState,
    LeaveQueue,
    ReleaseTasks,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.peer.store.store import StoreForgot, StoreUnavailable

__all__ = ["MemoryRedis", "MemoryStore"]

_Outcome = TypeVar("_Outcome")


class MemoryStore:
    """One peer's view of a MemoryRedis; the methods are those of Store."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis
        self._events_unanswered: tuple[Event, ...] = ()
        self._attempt_unanswered: tuple[int, BeginAttempt, int] | None = None

    def close(self) -> None:
        pass

    # ---- for every peer ----

    def changes(self, after: int, incarnation: str = "") -> JobChanges:
        redis = self._reached(incarnation)
        whole = after == 0 or after < redis.trimmed or after > redis.change
        jobs = tuple(job for job in redis.jobs.values() if whole or job.change > after)
        deleted = () if whole else tuple(name for name, change in redis.tombstones.items() if change > after)
        changed = {name for name, change in redis.states_changes.items() if whole or change > after}
        return self._answered(
            JobChanges(
                redis.change,
                jobs,
                deleted,
                whole,
                redis.paused,
                cycle=redis.cycle,
                cycle_began_at=redis.cycle_began_at,
                now=redis.clock(),
                states={name: redis.states[name] for name in changed},
            )
        )

    def submit(
        self,
        request_id: str,
        incarnation: str,
        fields: Mapping[str, Any],
        project_hash: str,
        over_version: int | None = None,
    ) -> tuple[JobRecord, bool]:
        return self._once(
            request_id, incarnation, lambda redis: rules.submit(redis, fields, project_hash, over_version)
        )

    def delete(self, request_id: str, incarnation: str, name: str, told: Event | None = None) -> bool:
        def do(redis: MemoryRedis) -> bool:
            is_done = rules.delete(redis, name)
            rules.add_events(redis, [told] if told and is_done else [])
            return is_done

        return self._once(request_id, incarnation, do)

    def undelete(self, request_id: str, incarnation: str, name: str, told: Event | None = None) -> int | None:
        def do(redis: MemoryRedis) -> int | None:
            version = rules.undelete(redis, name)
            rules.add_events(redis, [told] if told and version else [])
            return version

        return self._once(request_id, incarnation, do)

    def retry(self, request_id: str, incarnation: str, name: str) -> str:
        return self._once(request_id, incarnation, lambda redis: rules.retry(redis, name))

    def force(self, request_id: str, incarnation: str, name: str) -> str:
        return self._once(request_id, incarnation, lambda redis: rules.force(redis, name))

    def pause(self, request_id: str, incarnation: str, paused: bool, told: Event | None = None) -> None:
        def do(redis: MemoryRedis) -> None:
            if redis.paused != paused:
                redis.paused = paused
                redis.next_change()
                rules.add_events(redis, [told] if told else [])

        self._once(request_id, incarnation, do)

    def put_package(self, content_hash: str, data: bytes) -> None:
        self._reached().packages.setdefault(content_hash, data)
        self._answered(None)

    def has_package(self, content_hash: str) -> bool:
        return self._answered(content_hash in self._reached().packages)

    def package(self, content_hash: str) -> bytes | None:
        return self._answered(self._reached().packages.get(content_hash))

    def failed_among(self, run_ids: Sequence[str]) -> set[str]:
        history = self._reached().history
        return self._answered(
            {run_id for run_id in run_ids if run_id in history and history[run_id].status == "failed"}
        )

    def history(self, job_name: str, limit: int, start: int = 0) -> tuple[RunRecord, ...]:
        runs = sorted(
            (run for run in self._reached().history.values() if job_name in ("", run.job_name)),
            key=lambda run: (run.start_time, run.run_id),
            reverse=True,
        )
        return self._answered(tuple(runs[start : start + max(limit, 0)]))

    def events(self, after: str, limit: int) -> list[tuple[str, float, Event]]:
        events = self._reached().events
        if not after:
            return self._answered(events[-limit:])
        return self._answered([event for event in events if _place_of(event[0]) > _place_of(after)][:limit])

    def present(self) -> tuple[str, ...]:
        return self._answered(tuple(sorted(self._reached().present)))

    def incarnation(self) -> tuple[str | None, int, tuple[str, ...]]:
        redis = self._reached()
        return self._answered((redis.incarnation, redis.epoch, tuple(redis.replaces)))

    def recover(
        self,
        old: str,
        new: str,
        epoch_floor: int,
        jobs: Sequence[JobRecord],
        change: int,
        cycle: int = 1,
        states: Mapping[str, JobState] | None = None,
        paused: bool = False,
    ) -> bool:
        redis = self._reached()
        if redis.incarnation == new:
            return self._answered(True)
        is_behind = redis.incarnation == old and redis.change < change
        if redis.incarnation is not None and redis.epoch >= epoch_floor and not is_behind:
            return self._answered(False)
        rules.recover(redis, old, new, epoch_floor, jobs, change, cycle, states or {}, paused)
        return self._answered(True)

    def check_settings(self) -> list[str]:
        self._reached()
        return []

    # ---- for the leader ----

    def write(self, epoch: int, incarnation: str, write: Write) -> Any:
        redis = self._reached(incarnation, epoch)
        match write:
            case BeginCycle():
                return self._answered(run_rules.begin_cycle(redis, write))
            case LeaveQueue():
                return self._answered(run_rules.leave_queue(redis, write))
            case BeginRun():
                return self._answered(run_rules.begin_run(redis, write, epoch))
            case BeginAttempt():
                return self._begin_attempt(redis, epoch, write)
            case SavePlan():
                return self._answered(run_rules.save_plan(redis, write))
            case CommitTasks():
                return self._answered(run_rules.commit_tasks(redis, write))
            case ReleaseTasks():
                return self._answered(run_rules.release_tasks(redis, write))
            case BeginPublication():
                return self._answered(run_rules.begin_publication(redis, write))
            case EndRun():
                return self._answered(run_rules.end_run(redis, write))

    def _begin_attempt(self, redis: MemoryRedis, epoch: int, write: BeginAttempt) -> int:
        asked = self._attempt_unanswered
        if asked is None or asked[:2] != (epoch, write):
            asked = epoch, write, run_rules.begin_attempt(redis, write)
        self._attempt_unanswered = asked
        number = self._answered(asked[2])
        self._attempt_unanswered = None
        return number

    def active_runs(self, incarnation: str = "") -> tuple[ActiveRun, ...]:
        runs = sorted(self._reached(incarnation).active.values(), key=lambda run: run.record.start_time)
        return self._answered(
            tuple(
                ActiveRun(
                    run.record,
                    tuple(run.committed[task] for task in sorted(run.committed)),
                    dict(run.released),
                    dict(run.attempts),
                )
                for run in runs
            )
        )

    def add_events(self, epoch: int, incarnation: str, events: Sequence[Event]) -> None:
        redis = self._reached(incarnation, epoch)
        if self._events_unanswered != tuple(events):
            self._events_unanswered = tuple(events)
            rules.add_events(redis, events)
        self._answered(None)
        self._events_unanswered = ()

    def _reached(self, incarnation: str | None = None, epoch: int | None = None) -> MemoryRedis:
        """The Redis, where this call may have an effect. incarnation: "" for any, None even for none."""
        redis = self._redis
        if not redis.is_available:
            raise StoreUnavailable("Redis does not answer: start it")
        if incarnation is None:
            return redis
        if redis.incarnation is None or (incarnation and redis.incarnation != incarnation):
            raise StoreForgot(f"Redis has forgotten this cluster: it holds {redis.incarnation}")
        if epoch is not None and redis.epoch < epoch:
            raise StoreForgot(f"Redis has forgotten this cluster: its epoch is {redis.epoch}")
        if epoch is not None and redis.epoch != epoch:
            raise StaleEpochError(f"a newer leader exists, of epoch {redis.epoch}; this one is of {epoch}")
        return redis

    def _answered(self, outcome: _Outcome) -> _Outcome:
        if self._redis.replies_to_lose:
            self._redis.replies_to_lose -= 1
            raise StoreUnavailable("Redis does not answer: start it")
        return outcome

    def _once(self, request_id: str, incarnation: str, do: Callable[[MemoryRedis], _Outcome]) -> _Outcome:
        """Do it, or give the answer it had when it was done."""
        redis = self._reached(incarnation)
        key = (redis.incarnation, request_id)
        if key not in redis.outcomes:
            redis.outcomes[key] = do(redis)
        outcome: _Outcome = redis.outcomes[key]
        return self._answered(outcome)


def _place_of(event_id: str) -> tuple[int, ...]:
    return tuple(map(int, event_id.split("-")))
