"""The state of a cluster in Redis: what peers ask of it for consoles, and what their leader writes.

The keys and the Lua that moves them stand in `store_scripts.py`; the lease has a connection of its own.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pymr.control.records import (
    ActiveRun,
    BeginPublication,
    BeginRun,
    CommitTasks,
    EndRun,
    Event,
    JobChanges,
    JobRecord,
    ReleaseTasks,
    RunRecord,
    SavePlan,
    Write,
)
from pymr.errors import FatalError, RetryableError, StaleEpochError
from pymr.peer import store_job_scripts as job_scripts
from pymr.peer import store_records as records
from pymr.peer import store_run_scripts as run_scripts
from pymr.peer.store_records import Argument
from pymr.peer.store_scripts import DEFAULT_LIMITS, Limits, script_text

_TASKS_PER_PAGE = 1_000

_SAFE_SETTINGS = {
    "appendonly": ("yes", "a restart of Redis loses all jobs"),
    "appendfsync": (
        "always",
        "a crash of its machine loses what was written last",
    ),
    "maxmemory-policy": ("noeviction", "Redis may drop jobs when its memory is full"),
}

_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class StoreUnavailable(RetryableError):  # noqa: N818  # a state of Redis
    """Redis did not do what it was asked, or it is not known whether it did; ask again."""


class StoreForgot(FatalError):  # noqa: N818  # a state of Redis
    """Redis does not have the state of this cluster: it is empty, another's, or of an old backup."""


class Store:
    """One connection to the Redis of a cluster; used by one thread.

    url: `redis://`, `rediss://` or `unix://`, without a password. It connects when it is first used.
    Every method raises StoreUnavailable after some timeout_s at most; what was not answered may have been
    done, and is called again with the same arguments, which has no further effect. A method that is given
    an incarnation raises StoreForgot where Redis has another, or less of it than `known` tells: the highest
    epoch and the last change of the job table that the peer has seen; one given an epoch, StaleEpochError
    where Redis has a higher one.
    """

    def __init__(
        self,
        url: str,
        password: str | None,
        cluster: str,
        *,
        timeout_s: float = 2.0,
        limits: Limits = DEFAULT_LIMITS,
        known: Callable[[], tuple[int, int]] = lambda: (0, 0),
    ) -> None:
        self._known = known
        self._redis = RedisConnection(url, password, timeout_s)
        self._prefix = f"pymr:{cluster}:"
        self._limits = limits
        self._texts: dict[str, str] = {}
        self._events_token: tuple[str, tuple[bytes, ...]] | None = None

    def close(self) -> None:
        self._redis.close()

    # ---- for every peer ----

    def changes(self, after: int, incarnation: str = "") -> JobChanges:
        """The jobs that changed after the change of that number; all where after is 0 or too long ago.

        Raises StoreForgot rather than tell of an empty table, where Redis has lost it.
        10,000 jobs take about 0.1 s.
        """
        change, whole, paused, jobs, deleted = self._run(job_scripts.CHANGES, [after], incarnation)
        return JobChanges(
            change=int(change),
            jobs=tuple(job.record() for job in records.decode_jobs(jobs)),
            deleted=tuple(name.decode() for name in deleted),
            is_whole=bool(whole),
            paused=bool(paused),
        )

    def submit(
        self, request_id: str, incarnation: str, fields: Mapping[str, Any], project_hash: str
    ) -> tuple[JobRecord, bool]:
        """Queue a valid job, in the place of the one of its name; returns it, and whether there was one.

        The same request_id gives the same answer for a day.
        """
        arguments = [request_id, *records.submission(fields, project_hash)]
        (outcome,) = self._run(job_scripts.SUBMIT, arguments, incarnation)
        version, change, submitted_at, replaced = outcome.split()
        record = JobRecord(
            name=str(fields["job_name"]),
            version=int(version),
            change=int(change),
            fields=dict(fields),
            project_hash=project_hash,
            submitted_at=float(submitted_at),
        )
        return record, replaced == b"1"

    def delete(self, request_id: str, incarnation: str, name: str) -> bool:
        """Take a job off the table; returns whether it was there. A run of it is for the leader to end."""
        (existed,) = self._run(job_scripts.DELETE, [request_id, name], incarnation)
        return bool(existed == b"1")

    def retry(self, request_id: str, incarnation: str, name: str) -> str:
        """Queue a failed job as a new version; returns "queued", or why not: "unknown" or "not failed"."""
        (outcome,) = self._run(job_scripts.RETRY, [request_id, name], incarnation)
        return str(outcome.decode())

    def pause(self, request_id: str, incarnation: str, paused: bool) -> None:
        """Set whether new runs are begun; the leader keeps to it."""
        self._run(job_scripts.PAUSE, [request_id, int(paused)], incarnation)

    def put_package(self, content_hash: str, data: bytes) -> None:
        """Keep a project. It goes a day after it was last asked for by has_package, unless a job uses it."""
        self._run(job_scripts.PUT_PACKAGE, [content_hash, data])

    def has_package(self, content_hash: str) -> bool:
        """Whether a project is kept; it then stays for a day at least."""
        return bool(self._run(job_scripts.HAS_PACKAGE, [content_hash])[0])

    def package(self, content_hash: str) -> bytes | None:
        data: bytes | None = self._redis.ask("GET", f"{self._prefix}package:{content_hash}")
        return data

    def history(self, job_name: str, limit: int) -> tuple[RunRecord, ...]:
        """Runs that have ended, those begun last first. job_name: "" for those of all jobs."""
        if limit <= 0:
            return ()
        (runs,) = self._run(run_scripts.HISTORY, [job_name, limit])
        return tuple(run.record() for run in records.decode_ended_runs(runs))

    def events(self, after: str, limit: int) -> list[tuple[str, float, Event]]:
        """(id, Unix time, event) ascending: the first ones after that id; the latest ones where it is ""."""
        name = f"{self._prefix}events"
        if after:
            entries = self._redis.ask("XRANGE", name, f"({after}", "+", "COUNT", limit)
        else:
            entries = self._redis.ask("XREVRANGE", name, "+", "-", "COUNT", limit)[::-1]
        return [
            (identity.decode(), int(identity.split(b"-")[0]) / 1000, records.decode_event(event))
            for identity, (_, event) in entries
        ]

    def present(self) -> tuple[str, ...]:
        """The names of the peers whose lease thread was heard in the last seconds."""
        return tuple(sorted(peer.decode() for peer in self._run(job_scripts.PRESENT, [])))

    def incarnation(self) -> tuple[str | None, int, tuple[str, ...]]:
        """The id of this life of the cluster's state (None: it has none), its epoch, and the ids before."""
        incarnation, epoch, *replaces = self._run(job_scripts.INCARNATION, [])
        return incarnation.decode() or None, int(epoch), tuple(before.decode() for before in replaces)

    def recover(self, old: str, new: str, epoch_floor: int, jobs: Sequence[JobRecord], change: int) -> bool:
        """Put the jobs back into a Redis that forgot; returns whether it is done.

        Only where Redis has no incarnation, or its epoch is below epoch_floor, the highest any peer has seen,
        or it lacks changes. change: of the snapshot the jobs are from. Runs are not put back: jobs that ran
        are queued.
        """
        arguments: list[Argument] = [old, new, epoch_floor, change, *records.recovered_jobs(jobs)]
        return bool(self._run(job_scripts.RECOVER, arguments)[0])

    def check_settings(self) -> list[str]:
        """What of the settings of Redis puts jobs at risk, each with what to set."""
        warnings = []
        for name, (wanted, risk) in _SAFE_SETTINGS.items():
            try:
                found = self._redis.ask("CONFIG", "GET", name)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, redis.ResponseError):
                    raise
                wishes = ", ".join(f"{name} {wanted}" for name, (wanted, _) in _SAFE_SETTINGS.items())
                return [f"the settings of Redis cannot be read ({error.__cause__}): see that it has {wishes}"]
            value = found[1].decode() if found else "unknown"
            if value != wanted:
                warnings.append(f"Redis has `{name} {value}`, so that {risk}: set `{name} {wanted}`")
        return warnings

    # ---- for the leader ----

    def write(self, epoch: int, incarnation: str, write: Write) -> Any:
        """Do what the leader decided; the outcome is as the type of `write` says."""
        match write:
            case BeginRun():
                return self.begin_run(epoch, incarnation, write)
            case SavePlan():
                arguments: list[Argument] = [write.run_id, records.encode(write.plan)]
                return bool(self._run(run_scripts.SAVE_PLAN, arguments, incarnation, epoch)[0])
            case CommitTasks():
                return self.commit_tasks(epoch, incarnation, write)
            case ReleaseTasks():
                arguments = [write.run_id]
                for identity in write.ids:
                    arguments += [identity.task, identity.attempt]
                self._run(run_scripts.RELEASE_TASKS, arguments, incarnation, epoch)
                return True
            case BeginPublication():
                return bool(self._run(run_scripts.BEGIN_PUBLICATION, [write.run_id], incarnation, epoch)[0])
            case EndRun():
                return self.end_run(epoch, incarnation, write)

    def begin_run(self, epoch: int, incarnation: str, write: BeginRun) -> RunRecord | None:
        """See BeginRun. A job that recurs begins again from `succeeded` and `skipped`."""
        ordinal = time.clock_gettime_ns(_BOOT_CLOCK) // 1000
        arguments: list[Argument] = [write.job_name, write.job_version, ordinal]
        begun = self._run(run_scripts.BEGIN_RUN, arguments, incarnation, epoch)
        return records.decode_run(begun[0]).record() if begun else None

    def commit_tasks(self, epoch: int, incarnation: str, write: CommitTasks) -> tuple[str, ...]:
        """See CommitTasks."""
        arguments: list[Argument] = [write.run_id]
        for task in write.tasks:
            arguments += [task.id.task, task.id.attempt, records.encode_committed(task)]
        counting = self._run(run_scripts.COMMIT_TASKS, arguments, incarnation, epoch)
        return tuple(attempt.decode() for attempt in counting)

    def end_run(self, epoch: int, incarnation: str, write: EndRun) -> RunRecord:
        """See EndRun. The job follows only where it still has the version of the run."""
        record = write.record
        arguments: list[Argument] = [
            record.run_id,
            record.status,
            record.exception or "",
            records.encode(record),
        ]
        (stored,) = self._run(run_scripts.END_RUN, arguments, incarnation, epoch)
        return records.decode_ended_run(stored).record()

    def active_runs(self, incarnation: str = "") -> tuple[ActiveRun, ...]:
        """The runs that have not ended, in the order of their beginning. Asked by a new leader."""
        (packed,) = self._run(run_scripts.ACTIVE_RUNS, [], incarnation)
        runs = sorted((run.record() for run in records.decode_runs(packed)), key=lambda run: run.start_time)
        found = tuple(
            ActiveRun(
                run,
                tuple(records.decode_committed(task) for task in self._tasks(run.run_id)),
                {task.decode(): digest.decode() for task, digest in self._released(run.run_id).items()},
            )
            for run in runs
        )
        self._run(run_scripts.ACTIVE_RUNS, [], incarnation)  # Redis may have lost all since the first look
        return found

    def add_events(self, epoch: int, incarnation: str, events: Sequence[Event]) -> None:
        """Tell operators of events. Those that were not answered for are given again before any others."""
        encoded = tuple(records.encode(event) for event in events)
        if self._events_token is None or self._events_token[1] != encoded:
            self._events_token = (token_hex(8), encoded)
        self._run(run_scripts.ADD_EVENTS, [self._events_token[0], *encoded], incarnation, epoch)
        self._events_token = None

    def _tasks(self, run_id: str) -> list[bytes]:
        tasks: dict[bytes, bytes] = {}
        cursor = b"0"
        while True:
            cursor, page = self._redis.ask(
                "HSCAN", f"{self._prefix}tasks:{run_id}", cursor, "COUNT", _TASKS_PER_PAGE
            )
            tasks |= _pairs(page)  # a scan may show one twice
            if cursor == b"0":
                return [tasks[task] for task in sorted(tasks)]

    def _released(self, run_id: str) -> dict[bytes, bytes]:
        return _pairs(self._redis.ask("HGETALL", f"{self._prefix}released:{run_id}"))

    def _run(
        self,
        body: str,
        arguments: Sequence[Argument],
        incarnation: str = "",
        epoch: int | None = None,
    ) -> list[Any]:
        text = self._texts.setdefault(body, script_text(body, self._limits))
        epoch_known, change_known = self._known()
        header: list[Argument] = [self._prefix, incarnation, "" if epoch is None else epoch]
        header += [epoch_known, change_known]
        status, *reply = self._redis.run_script(text, [*header, *arguments])
        if status == b"forgot":
            raise StoreForgot(
                forgotten_problem(reply[0].decode(), int(reply[1]), incarnation, max(epoch_known, epoch or 0))
            )
        if status == b"stale":
            raise StaleEpochError(
                f"a newer leader exists: its epoch is {int(reply[0])}, this one's is {epoch}"
            )
        return reply


class RedisConnection:
    """A connection that is made when it is needed, tries nothing twice, and tells errors in words of our own.

    A call takes at most about timeout_s for each of: to connect, to log in, to be answered.
    """

    def __init__(self, url: str, password: str | None, timeout_s: float) -> None:
        self._shown_url = _without_user(url)
        pool = redis.ConnectionPool.from_url(
            url,
            password=password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._connection: Any = pool.make_connection()

    def close(self) -> None:
        self._connection.disconnect()

    def run_script(self, text: str, arguments: Sequence[Argument]) -> list[Any]:
        """What a script answers, which is given no names of keys."""
        digest = hashlib.sha1(text.encode()).hexdigest()
        try:
            reply: list[Any] = self.ask("EVALSHA", digest, 0, *arguments)
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, redis.exceptions.NoScriptError):
                raise
            reply = self.ask("EVAL", text, 0, *arguments)
        return reply

    def ask(self, *command: Argument) -> Any:
        """The answer to a command, as Redis gave it. Raises StoreUnavailable."""
        is_answered = False
        try:
            self._connection.send_command(*command)
            reply = self._connection.read_response()
            is_answered = True
            return reply
        except redis.ResponseError as error:
            is_answered = True
            raise StoreUnavailable(f"Redis at {self._shown_url} refused a call: {_advice(error)}") from error
        except (redis.RedisError, OSError) as error:
            raise StoreUnavailable(
                f"Redis at {self._shown_url} does not answer ({error}): see that it runs, and that redis.url "
                "and redis.password_file in cluster.toml are right"
            ) from error
        finally:
            if not is_answered:  # an answer that is still to come must not be taken for that of the next call
                self._connection.disconnect()


def _advice(error: redis.ResponseError) -> str:
    """What Redis said, and what to do about it."""
    said = str(error)
    for word, advice in _ADVICE.items():
        if word in said or isinstance(error, _KINDS.get(word, ())):
            return f"{said}; {advice}"
    return said


_ADVICE = {
    "MISCONF": "its disk is full or failing: put that right, it then goes on by itself",
    "OOM": "its memory is full: raise its maxmemory, or delete jobs",
    "READONLY": "it is a replica: let redis.url name its master",
    "NOAUTH": "it wants a password: put that into a file, and the file into redis.password_file",
    "WRONGPASS": "put the right password into the file that redis.password_file names",
    "NOPERM": "give its user the commands and the keys pymr:*",
}
_KINDS = {"OOM": (redis.exceptions.OutOfMemoryError,), "READONLY": (redis.exceptions.ReadOnlyError,)}


def forgotten_problem(stored: str, stored_epoch: int, incarnation: str, epoch: int) -> str:
    """What is wrong with what Redis has, and the way out."""
    if not stored:
        found = "it holds nothing of this cluster"
    elif incarnation and stored != incarnation:
        found = f"it holds incarnation {stored} of it, and this peer knows {incarnation}"
    else:
        found = "it was restored from an old backup: " + (
            f"its epoch is {stored_epoch}, and there was {epoch} already"
            if stored_epoch < epoch
            else "jobs have changed since"
        )
    return (
        f"Redis has forgotten this cluster: {found}. Nothing is scheduled or published until its data is put "
        "back, or `pymr cluster recover` gives it the jobs that the peers remember"
    )


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
