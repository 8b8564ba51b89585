"""The state of a cluster in Redis: what peers ask of it for consoles, and what their leader writes.

The keys and the Lua that moves them stand in `scripts.py`; the lease has a connection of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from secrets import token_hex
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from pymr.base.errors import FatalError, StaleEpochError
from pymr.control.stored_state import (
    ActiveRun,
    BeginAttempt,
    Event,
    JobChanges,
    JobRecord,
    JobState,
    RunRecord,
    Write,
)
from pymr.peer.loop.threads import Unavailable
from pymr.peer.store import encoding as records
from pymr.peer.store import scripts
from pymr.peer.store.conflicts import check_standing
from pymr.peer.store.encoding import Argument
from pymr.peer.store.problems import (
    ADVICE,
    SAFE_SETTINGS,
    forgotten_problem,
    settings_problems,
    shown_url,
    unanswered_problem,
    unreadable_settings,
)
from pymr.peer.store.scripts import DEFAULT_LIMITS, Limits, script_text
from pymr.peer.store.writes import outcome_of, script_of

_TASKS_PER_PAGE = 1_000
_TIMEOUTS = (redis.TimeoutError, TimeoutError)
_PER_CALL, _RECOVERED_SECONDS = 500, 600


class StoreUnavailable(Unavailable):
    """Redis did not do what it was asked; ask again."""

    @property
    def is_late(self) -> bool:
        """Whether an answer was not waited for any longer: it may only be slow."""
        return isinstance(self.__cause__, _TIMEOUTS)


class StoreForgot(FatalError):  # noqa: N818  # a state of Redis
    """Redis does not have the state of this cluster: it is empty, another's, or of an old backup."""


class Store:
    """One connection to the Redis of a cluster; used by one thread.

    url: `redis://`, `rediss://` or `unix://`, without a password. It connects when it is first used.
    Every method raises StoreUnavailable after some timeout_s at most; what was not answered may have been
    done, and is called again with the same arguments, which has no further effect. A method that is given
    an incarnation raises StoreForgot where Redis has another, or less of it than `known` tells: the highest
    epoch and the last change of the job table that the peer has seen; one given an epoch, StaleEpochError
    where Redis has a higher one. told: the event of a change, which is kept with it, and with no other.
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
        self._unanswered: dict[str, tuple[object, str]] = {}

    def close(self) -> None:
        self._redis.close()

    # ---- for every peer ----

    def changes(self, after: int, incarnation: str = "") -> JobChanges:
        """The jobs that changed after the change of that number; all where after is 0 or too long ago.

        Raises StoreForgot rather than tell of an empty table, where Redis has lost it.
        All of 10,000 jobs take about 0.2 s, of which Redis has 0.02 s; a few, a millisecond.
        """
        jobs: tuple[JobRecord, ...] = ()
        reply = self._run(scripts.CHANGES, [after], incarnation) if after else None
        if reply is not None and not reply[1]:
            jobs = records.changed_jobs(reply[3])
        else:
            reply, jobs = self._whole_table(incarnation)
        change, whole, paused, _, deleted, cycle, cycle_began_at, now, states = reply
        return JobChanges(
            change=int(change),
            jobs=jobs,
            deleted=tuple(name.decode() for name in deleted),
            is_whole=bool(whole),
            paused=bool(paused),
            cycle=int(cycle),
            cycle_began_at=float(cycle_began_at),
            now=float(now),
            states=records.decode_states(_pairs(states)),
        )

    def _whole_table(self, incarnation: str) -> tuple[list[Any], tuple[JobRecord, ...]]:
        script = self._script(scripts.CHANGES, [0], incarnation, None)
        hashes = [("HGETALL", self._prefix + name) for name in ("definitions", "exceptions")]
        packed = ("HVALS", f"{self._prefix}packed_jobs")
        reply, *found = self._redis.ask_together([("EVAL", script[0], 0, *script[1]), packed, *hashes])
        checked = self._checked(reply, incarnation, None)
        return checked, records.all_jobs(found[0], _pairs(found[1]), _pairs(found[2]))

    def submit(
        self,
        request_id: str,
        incarnation: str,
        fields: Mapping[str, Any],
        project_hash: str,
        over_version: int | None = None,
    ) -> tuple[JobRecord, bool]:
        """Queue a valid job, in the place of the one of its name; returns it, and whether there was one.

        Where its group has failed, all of that is queued again. The same request_id gives the same answer for
        a day. over_version: as in requests.SubmitJob; raises StoreConflict where another stands there.
        """
        over = "" if over_version is None else over_version
        arguments = [request_id, over, *records.submission(fields, project_hash)]
        outcome, *standing = self._run(scripts.SUBMIT, arguments, incarnation)
        check_standing(str(fields["job_name"]), over_version, standing)
        return records.submitted(outcome, fields, project_hash)

    def delete(self, request_id: str, incarnation: str, name: str, told: Event | None = None) -> bool:
        """Take a job off the table; returns whether it was there. A run of it is for the leader to end.

        The others of its group stay, but for those that were to run once and waited only for this one. It is
        kept for `undelete`: see Limits.
        """
        (existed,) = self._run(scripts.DELETE, [request_id, name, records.told(told)], incarnation)
        return bool(existed == b"1")

    def undelete(self, request_id: str, incarnation: str, name: str, told: Event | None = None) -> int | None:
        """Queue a job anew that was deleted; returns its version, None where it is not kept (any more).

        Those of its group that left with it stay away. Raises StoreConflict where its name is in the queue.
        """
        arguments: list[Argument] = [request_id, name, records.told(told)]
        outcome, *standing = self._run(scripts.UNDELETE, arguments, incarnation)
        check_standing(name, None, standing)
        return None if outcome == b"unknown" else int(outcome.split()[0])

    def retry(self, request_id: str, incarnation: str, name: str) -> str:
        """Queue a failed job, with all of its group, or a failed group, as new versions in their old order.

        Returns "queued", "queued N jobs of group G", or why not: "unknown" or "not failed".
        """
        (outcome,) = self._run(scripts.RETRY, [request_id, name], incarnation)
        return str(outcome.decode())

    def force(self, request_id: str, incarnation: str, name: str) -> str:
        """Let a job run once more in this cycle; returns "queued", or why not: "unknown", "running" or
        "failed"."""
        (outcome,) = self._run(scripts.FORCE, [request_id, name], incarnation)
        return str(outcome.decode())

    def pause(self, request_id: str, incarnation: str, paused: bool, told: Event | None = None) -> None:
        """Set whether new runs are begun; the leader keeps to it."""
        self._run(scripts.PAUSE, [request_id, int(paused), records.told(told)], incarnation)

    def put_package(self, content_hash: str, data: bytes) -> None:
        """Keep a project. It goes a day after it was last asked for by has_package, unless a job uses it."""
        self._run(scripts.PUT_PACKAGE, [content_hash, data])

    def has_package(self, content_hash: str) -> bool:
        """Whether a project is kept; it then stays for a day at least."""
        return bool(self._run(scripts.HAS_PACKAGE, [content_hash])[0])

    def package(self, content_hash: str) -> bytes | None:
        data: bytes | None = self._redis.ask("GET", f"{self._prefix}package:{content_hash}")
        return data

    def history(self, job_name: str, limit: int, start: int = 0) -> tuple[RunRecord, ...]:
        """Runs that have ended, those begun last first, from the `start`-th on. job_name: "" for those of all
        jobs."""
        if limit <= 0:
            return ()
        (runs,) = self._run(scripts.HISTORY, [job_name, limit, start])
        return tuple(run.record() for run in records.decode_ended_runs(runs))

    def failed_among(self, run_ids: Sequence[str]) -> set[str]:
        """Those of the runs that failed. A run that the history has forgotten is none of them."""
        asked = [("HGET", f"{self._prefix}run:{run_id}", "status") for run_id in run_ids]
        pages = (asked[start : start + _PER_CALL] for start in range(0, len(asked), _PER_CALL))
        statuses = [status for page in pages for status in self._redis.ask_together(page)]
        return {run_id for run_id, status in zip(run_ids, statuses, strict=True) if status == b"failed"}

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
        return tuple(sorted(peer.decode() for peer in self._run(scripts.PRESENT, [])))

    def incarnation(self) -> tuple[str | None, int, tuple[str, ...]]:
        """The id of this life of the cluster's state (None: it has none), its epoch, and the ids before."""
        incarnation, epoch, *replaces = self._run(scripts.INCARNATION, [])
        return incarnation.decode() or None, int(epoch), tuple(before.decode() for before in replaces)

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
        """Put the jobs back into a Redis that forgot; returns whether it is done.

        Only where Redis has no incarnation, or its epoch is below epoch_floor, the highest any peer has seen,
        or it lacks changes. change, cycle, states, paused: of the snapshot the jobs are from. Runs are not
        put back: jobs that ran are queued. The cycle begins anew.
        """
        for name, texts in records.recovered_texts(jobs).items():
            self._put_aside(f"{self._prefix}recovered_{name}:{new}", texts)
        arguments: list[Argument] = [old, new, epoch_floor, change, cycle, int(paused)]
        arguments += [*records.recovered_states(states or {}), *records.recovered_jobs(jobs)]
        return bool(self._run(scripts.RECOVER, arguments)[0])

    def _put_aside(self, hash_name: str, texts: Sequence[tuple[str, bytes]]) -> None:
        for start in range(0, len(texts), _PER_CALL):
            some = texts[start : start + _PER_CALL]
            self._redis.ask("HSET", hash_name, *(part for pair in some for part in pair))
            self._redis.ask("EXPIRE", hash_name, _RECOVERED_SECONDS)

    def check_settings(self) -> list[str]:
        """What of the settings of Redis puts jobs at risk, each with what to set."""
        found = {}
        for name in SAFE_SETTINGS:
            try:
                pair = self._redis.ask("CONFIG", "GET", name)
            except StoreUnavailable as error:
                if not isinstance(error.__cause__, redis.ResponseError):
                    raise
                return [unreadable_settings(error.__cause__)]
            found[name] = pair[1].decode() if pair else "unknown"
        return settings_problems(found)

    # ---- for the leader ----

    def write(self, epoch: int, incarnation: str, write: Write) -> Any:
        """Do what the leader decided; the outcome is as the type of `write` says."""
        is_attempt = isinstance(write, BeginAttempt)
        token = self._token("attempt", (epoch, write)) if is_attempt else ""
        script, arguments = script_of(write, token)
        reply = self._run(script, arguments, incarnation, epoch)
        if is_attempt:
            self._is_answered("attempt")
        return outcome_of(write, reply)

    def active_runs(self, incarnation: str = "") -> tuple[ActiveRun, ...]:
        """The runs that have not ended, in the order of their beginning. Asked by a new leader."""
        (packed,) = self._run(scripts.ACTIVE_RUNS, [], incarnation)
        runs = sorted((run.record() for run in records.decode_runs(packed)), key=lambda run: run.start_time)
        found = tuple(
            ActiveRun(
                run,
                tuple(records.decode_committed(task) for task in self._tasks(run.run_id)),
                {task.decode(): lost.decode() for task, lost in self._hash(f"released:{run.run_id}").items()},
                {
                    task.decode(): int(n.split()[0])
                    for task, n in self._hash(f"attempts:{run.run_id}").items()
                },
            )
            for run in runs
        )
        self._run(scripts.ACTIVE_RUNS, [], incarnation)  # Redis may have lost all since the first look
        return found

    def add_events(self, epoch: int, incarnation: str, events: Sequence[Event]) -> None:
        """Tell operators of events. Those that were not answered for are given again before any others."""
        encoded = tuple(records.encode(event) for event in events)
        token = self._token("events", encoded)
        self._run(scripts.ADD_EVENTS, [token, *encoded], incarnation, epoch)
        self._is_answered("events")

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

    def _hash(self, name: str) -> dict[bytes, bytes]:
        return _pairs(self._redis.ask("HGETALL", self._prefix + name))

    def _token(self, kind: str, what: object) -> str:
        """What tells a call that was not answered, and is made again, from a new one."""
        if kind not in self._unanswered or self._unanswered[kind][0] != what:
            self._unanswered[kind] = (what, token_hex(8))
        return self._unanswered[kind][1]

    def _is_answered(self, kind: str) -> None:
        self._unanswered.pop(kind, None)

    def _run(
        self,
        body: str,
        arguments: Sequence[Argument],
        incarnation: str = "",
        epoch: int | None = None,
    ) -> list[Any]:
        text, all_arguments = self._script(body, arguments, incarnation, epoch)
        return self._checked(self._redis.run_script(text, all_arguments), incarnation, epoch)

    def _script(
        self, body: str, arguments: Sequence[Argument], incarnation: str, epoch: int | None
    ) -> tuple[str, list[Argument]]:
        text = self._texts.setdefault(body, script_text(body, self._limits))
        header: list[Argument] = [self._prefix, incarnation, "" if epoch is None else epoch, *self._known()]
        return text, [*header, *arguments]

    def _checked(self, answer: list[Any], incarnation: str, epoch: int | None) -> list[Any]:
        """What a script answers, unless it was refused."""
        status, *reply = answer
        if status == b"forgot":
            known = max(self._known()[0], epoch or 0)
            raise StoreForgot(forgotten_problem(reply[0].decode(), int(reply[1]), incarnation, known))
        if status == b"stale":
            raise StaleEpochError(f"a newer leader exists, of epoch {int(reply[0])}; this one's is {epoch}")
        return reply


class RedisConnection:
    """A connection that is made when it is needed, tries nothing twice, and tells errors in words of our own.

    A call takes at most about timeout_s for each of: to connect, to log in, to be answered.
    """

    def __init__(self, url: str, password: str | None, timeout_s: float) -> None:
        self.shown_url = shown_url(url)
        self._timeout_s = timeout_s
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

    def ask_together(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """The answers to commands that are done with nothing between them. Raises StoreUnavailable."""
        try:
            self.ask("MULTI")
            for command in commands:
                self.ask(*command)
            replies: list[Any] = self.ask("EXEC")
        except StoreUnavailable:
            self._connection.disconnect()  # what was begun must not go on with the next call
            raise
        for reply in replies:
            if isinstance(reply, redis.ResponseError):
                raise self._refused(reply) from reply
        return replies

    def ask(self, *command: Argument) -> Any:
        """The answer to a command, as Redis gave it. Raises StoreUnavailable."""
        is_sent = False
        try:
            self._connection.send_command(*command)
            is_sent = True
            return self._connection.read_response()
        except redis.ResponseError as error:
            raise self._refused(error) from error
        except BaseException as error:
            self._connection.disconnect()  # what may still come must not be taken for the next call's answer
            if not isinstance(error, redis.RedisError | OSError):
                raise
            timeout_s = self._timeout_s if isinstance(error, _TIMEOUTS) else None
            unavailable = StoreUnavailable(unanswered_problem(self.shown_url, error, timeout_s))
            unavailable.may_be_done = is_sent
            raise unavailable from error

    def _refused(self, error: redis.ResponseError) -> StoreUnavailable:
        return StoreUnavailable(f"Redis at {self.shown_url} refused a call: {_advice(error)}")


def _advice(error: redis.ResponseError) -> str:
    """What Redis said, and what to do about it."""
    said = str(error)
    for word, advice in ADVICE.items():
        if word in said or isinstance(error, _KINDS.get(word, ())):
            return f"{said}; {advice}"
    return said


_KINDS = {"OOM": (redis.exceptions.OutOfMemoryError,), "READONLY": (redis.exceptions.ReadOnlyError,)}


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))
