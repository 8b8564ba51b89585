"""State-changing requests of consoles; each is one atomic Redis write."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from msgspec.structs import replace

from pymr.base.errors import JobError, PymrError, StartError
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.leader.leader import Leader
from pymr.control.stored_state import JobRecord
from pymr.jobs.required_project import project_of
from pymr.peer.disk.job_table import JobTableCopy
from pymr.peer.disk.local_state import LocalState
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.loop.threads import Unavailable
from pymr.peer.requests.change_events import deleted, paused_or_resumed, undeleted
from pymr.peer.requests.packages import PackageParts
from pymr.peer.requests.submissions import check_submission
from pymr.peer.store.conflicts import StoreConflict
from pymr.peer.store.lease import LeaseView
from pymr.peer.store.store import Store, StoreForgot
from pymr.peer.store.thread import StoreThread
from pymr.projects.project import pack_project
from pymr.wire.protocol import Report
from pymr.wire.requests import (
    UNDELETE_SECONDS,
    CheckJob,
    DeleteJob,
    Done,
    ForceJob,
    PauseQueue,
    PutPackage,
    RecoverCluster,
    Refused,
    Reply,
    Request,
    RetryJob,
    SubmitJob,
    Submitted,
    UndeleteJob,
    doubt,
)

STORE_SECONDS = 4.0
"""How long a console waits for Redis before it is told that it does not answer. Less than it asks for
(client_link.ANSWER_SECONDS), or it would take the peer for the one that is silent."""

_log = logging.getLogger("pymr")

Respond = Callable[[Reply], object]


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What a peer knows of the cluster at a moment. leader: None unless this peer leads. is_draining: this
    peer is about to end.

    problem: why nothing is scheduled; outage: the same, but for a moment without a leader, which passes by
    itself.
    """

    incarnation: str
    epoch: int
    leader_name: str
    leader: Leader | None
    report: Report | None
    problem: str
    is_draining: bool = False
    outage: str = ""

    @classmethod
    def of(
        cls,
        view: LeaseView,
        own_problem: str,
        own_epoch: int,
        leader: Leader | None,
        report: Report | None,
        is_draining: bool,
    ) -> ClusterSnapshot:
        """own_problem: what keeps this peer from taking part. own_epoch: the highest it remembers."""
        problem = outage = view.problem or own_problem
        if not problem and not view.leader and view.state != "leader":
            problem = "no peer leads at this moment; one will in about two seconds"
        epoch = max(view.epoch, own_epoch)
        incarnation = view.incarnation or ""
        return cls(incarnation, epoch, view.leader, leader, report, problem, is_draining, outage)


class Commands:
    """Grants one wish after another. For the arguments see `answers.Queries`."""

    def __init__(
        self,
        config: ClusterConfig,
        me: PeerConfig,
        state: LocalState,
        store: StoreThread,
        jobs: JobTableCopy,
        snapshot: Callable[[], ClusterSnapshot],
        wake_leader: Callable[[], None],
    ) -> None:
        self._config = config
        self._peers = [peer.name for peer in config.peers]
        self._name = me.name
        self._paths = PeerPaths(me.data_dir)
        self._state = state
        self._store = store
        self._jobs = jobs
        self._snapshot = snapshot
        self._wake_leader = wake_leader
        self._packages = PackageParts()

    def execute(self, request: Request, user: str, respond: Respond) -> None:
        """Execute a command; `respond` is called once, now or later. user: the name of the key of who wants
        it; "" where there are no keys."""
        incarnation = self._snapshot().incarnation
        problem = self._snapshot().problem
        if isinstance(request, RecoverCluster):
            self._recover(request, respond)
            return
        if not incarnation:
            respond(Refused(id=request.id, code="unavailable", reason=problem or "the cluster is not up yet"))
            return
        match request:
            case PutPackage():
                self._put_package(request, respond)
            case SubmitJob() | CheckJob():
                self._submit(request, incarnation, respond)
            case DeleteJob(id=id, job_name=name):
                ask_store(
                    self._store,
                    request,
                    lambda store: store.delete(id, incarnation, name, deleted(name, user)),
                    lambda existed: self._changed(
                        respond, Done(id=id) if existed else _unknown_job(id, name)
                    ),
                    respond,
                )
            case UndeleteJob(id=id, job_name=name):
                ask_store(
                    self._store,
                    request,
                    lambda store: store.undelete(id, incarnation, name, undeleted(name, user)),
                    lambda version: self._changed(respond, _undeleted(id, name, version)),
                    respond,
                )
            case RetryJob(id=id, name=name):
                ask_store(
                    self._store,
                    request,
                    lambda store: store.retry(id, incarnation, name),
                    lambda outcome: self._changed(respond, _retried(id, name, outcome)),
                    respond,
                )
            case ForceJob(id=id, job_name=name):
                ask_store(
                    self._store,
                    request,
                    lambda store: store.force(id, incarnation, name),
                    lambda outcome: self._changed(respond, _forced(id, name, outcome)),
                    respond,
                )
            case PauseQueue(id=id, paused=paused):
                ask_store(
                    self._store,
                    request,
                    lambda store: store.pause(id, incarnation, paused, paused_or_resumed(paused, user)),
                    lambda _: self._changed(respond, Done(id=id, detail="paused" if paused else "resumed")),
                    respond,
                )

    def _changed(self, respond: Respond, reply: Reply) -> None:
        self._wake_leader()
        respond(reply)

    def _put_package(self, request: PutPackage, respond: Respond) -> None:
        content_hash = request.content_hash

        def upload(known: bool) -> None:
            if known:
                respond(Done(id=request.id, detail="known"))
                return
            try:
                data = self._packages.add(request)
            except PymrError as error:
                respond(refused(request, error))
                return
            if data is None:
                respond(Done(id=request.id, detail="more"))
                return
            ask_store(
                self._store,
                request,
                lambda store: store.put_package(content_hash, data),
                lambda _: respond(Done(id=request.id, detail="known")),
                respond,
            )

        ask_store(self._store, request, lambda store: store.has_package(content_hash), upload, respond)

    def _submit(self, request: SubmitJob | CheckJob, incarnation: str, respond: Respond) -> None:
        try:
            job = check_submission(
                request.fields,
                request.project_hash,
                peers=self._peers,
                asked=self._name,
                hosts={peer.host for peer in self._config.peers},
                shared=self._config.storage.shared,
            )
        except JobError as error:
            respond(Refused(id=request.id, code="invalid", reason=str(error)))
            return

        def submit(store: Store) -> tuple[JobRecord, bool] | None:
            if job.project_hash and not store.has_package(job.project_hash):
                raise PymrError(
                    f"the package of project {job.project} is not in Redis: send it first, as "
                    "`pymr submit` does"
                )
            if isinstance(request, CheckJob):
                return None
            over_version = request.over_version
            return store.submit(request.id, incarnation, job.fields, job.project_hash, over_version)

        def answer(outcome: tuple[JobRecord, bool] | None) -> None:
            if outcome is None:
                respond(Done(id=request.id))
                return
            record, replaced = outcome
            reply = Submitted(id=request.id, job_name=record.name, version=record.version, replaced=replaced)
            self._changed(respond, reply)

        ask_store(self._store, request, submit, answer, respond)

    def _recover(self, request: RecoverCluster, respond: Respond) -> None:
        kept = self._jobs.as_kept()
        new = token_hex(8)
        epoch = max(request.epoch, self._state.epoch)
        if kept.incarnation != request.incarnation:
            reason = f"this peer remembers no job table of {request.incarnation or 'any cluster'}"
            respond(Refused(id=request.id, code="invalid", reason=reason))
            return

        def answer(outcome: tuple[bool, str, list[str]]) -> None:
            is_done, latest_run, lacking = outcome
            _log.warning("recovery of the cluster from this peer's memory: %s", is_done)
            jobs = "1 job is back" if len(kept.jobs) == 1 else f"{len(kept.jobs)} jobs are back"
            text = f"{jobs}, under the new incarnation {new}; {_history_left(latest_run)}"
            if lacking:
                text += f"; submit again, as their projects are lost: {', '.join(lacking)}"
            respond(
                Done(id=request.id, detail=text)
                if is_done
                else Refused(
                    id=request.id, code="invalid", reason="Redis has not forgotten anything: nothing was done"
                )
            )

        def recover(store: Store) -> tuple[bool, str, list[str]]:
            # Runs of a job that have ended after its state are forgotten.
            states = {name: replace(state, is_recovered=True) for name, state in kept.states.items()}
            is_done = store.recover(
                kept.incarnation, new, epoch, kept.jobs, kept.change, kept.cycle, states, kept.paused
            )
            lacking = self._put_packages_back(store, kept.jobs) if is_done else []
            runs = store.history("", 1)
            return is_done, runs[0].run_id if runs else "", lacking

        ask_store(
            self._store,
            request,
            recover,
            answer,
            respond,
        )

    def _put_packages_back(self, store: Store, jobs: Iterable[JobRecord]) -> list[str]:
        """The projects of the jobs, as unpacked here; returns the names of the jobs whose project is lost."""
        lacking = []
        for job in jobs:
            if not job.project_hash or store.has_package(job.project_hash):
                continue
            try:
                package = pack_project(Path(self._paths.project(job.project_hash)), project_of(job.fields))
            except PymrError as error:
                _log.warning("the project of %s is not here to be put back: %s", job.name, error)
                lacking.append(job.name)
                continue
            if package.content_hash == job.project_hash:
                store.put_package(package.content_hash, package.data)
            else:
                _log.warning("the project of %s is not put back, as what is here was changed", job.name)
                lacking.append(job.name)
        return lacking


def ask_store(
    store: StoreThread,
    request: Request,
    work: Callable[[Store], Any],
    on_done: Callable[[Any], object],
    respond: Respond,
    *,
    is_patient: bool = True,
) -> None:
    """Ask Redis something for a console, which is told after STORE_SECONDS if it does not answer; unless
    is_patient, at the first error."""
    deadline = time.monotonic() + STORE_SECONDS
    store.ask(
        work,
        on_done,
        lambda error: respond(refused(request, error)),
        timeout_s=STORE_SECONDS,
        is_wanted=lambda: is_patient and time.monotonic() < deadline,
    )


def refused(request: Request, error: Exception) -> Refused:
    """What a console is told of an error."""
    if isinstance(error, StoreForgot):
        return Refused(id=request.id, code="forgotten", reason=str(error))
    if isinstance(error, StoreConflict):
        return Refused(id=request.id, code="conflict", reason=str(error))
    if isinstance(error, Unavailable) and error.may_be_done:
        return Refused(id=request.id, code="unavailable", reason=f"{error}{doubt(request)}")
    if isinstance(error, Unavailable | StartError):
        return Refused(id=request.id, code="unavailable", reason=str(error))
    if isinstance(error, PymrError):
        return Refused(id=request.id, code="invalid", reason=str(error))
    _log.error("a request failed: %s", error, exc_info=error)
    return Refused(
        id=request.id, code="unavailable", reason=f"unexpected: {error!r}; see the log of the peer"
    )


def _history_left(latest_run: str) -> str:
    """What a recovery has to say of the history, which peers do not remember. latest_run: in Redis."""
    if latest_run:
        return f"the history of the runs ends with {latest_run}, as Redis has it: later ones are lost"
    return "the history of the runs is lost; what they have put out is still there"


def _unknown_job(id: str, name: str) -> Refused:
    return Refused(id=id, code="unknown", reason=f"there is no job {name!r} in the queue; see `pymr jobs`")


def _undeleted(id: str, name: str, version: int | None) -> Reply:
    if version is None:
        minutes = f"{UNDELETE_SECONDS / 60:g} minutes"
        reason = f"no job {name!r} was deleted in the last {minutes}; submit it again from its file"
        return Refused(id=id, code="unknown", reason=reason)
    return Submitted(id=id, job_name=name, version=version, replaced=False)


def _retried(id: str, name: str, outcome: str) -> Reply:
    if outcome == "unknown":
        reason = f"there is no job and no group {name!r} in the queue; see `pymr jobs`"
        return Refused(id=id, code="unknown", reason=reason)
    if outcome == "not failed":
        return Refused(id=id, code="invalid", reason=f"{name} has not failed, so there is nothing to retry")
    return Done(id=id, detail=outcome)


def _forced(id: str, name: str, outcome: str) -> Reply:
    if outcome == "unknown":
        return _unknown_job(id, name)
    reasons = {
        "running": f"{name} is running now; force it when that has ended",
        "failed": f"{name} has failed: `pymr retry {name}` queues it again",
    }
    if outcome in reasons:
        return Refused(id=id, code="invalid", reason=reasons[outcome])
    return Done(id=id, detail=outcome)
