"""What a peer makes of the wishes of consoles: what it refuses, what it fills in, and whom it wakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from simulation.memory_store import MemoryRedis, MemoryStore

from pymr.base.errors import JobError
from pymr.config.cluster import ClusterConfig, PeerConfig
from pymr.control.stored_state import BeginRun, EndRun, JobState
from pymr.peer.disk.job_table import JobTableCopy
from pymr.peer.disk.local_state import LocalState
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.requests.commands import ClusterSnapshot, Commands, refused
from pymr.peer.requests.submissions import JOB_BYTES_MAX, CheckedSubmission, check_submission
from pymr.peer.store.store import StoreUnavailable
from pymr.projects.packages import pack_project, unpack_project
from pymr.wire.requests import (
    UNDELETE_SECONDS,
    CheckJob,
    DeleteJob,
    Done,
    ForceJob,
    PauseQueue,
    RecoverCluster,
    Refused,
    Reply,
    Request,
    RetryJob,
    SubmitJob,
    Submitted,
    UndeleteJob,
)

PEERS = ("alpha", "beta")
SCRIPT = {"job_type": "script", "job_name": "s", "job_priority": 1, "script_location": "/bin/true"}
UPLOAD = {
    "job_type": "file_transfer", "job_name": "u", "job_priority": 1, "transfer_type": "upload",
    "input_dir": "texts", "output_dir": "corpus",
}  # fmt: skip
COUNT = {
    "job_type": "mapreduce", "job_name": "m", "job_priority": 1, "project_name": "words",
    "input_dirs": ["corpus"], "reduce_function_name": "count",
}  # fmt: skip


def check(fields: dict[str, Any], project_hash: str = "", **changed: Any) -> CheckedSubmission:
    return check_submission({**fields, **changed}, project_hash, peers=PEERS, asked="beta")


# ---- submissions ----


@pytest.mark.parametrize("run_on", ["leader", "all", "alpha"])
def test_a_script_runs_on_a_peer_or_wherever_it_says(run_on: str) -> None:
    job = check(SCRIPT, "hash", run_on=run_on)

    assert job.fields["run_on"] == run_on
    assert (job.project, job.project_hash) == ("", ""), "a path needs no package"


def test_a_script_of_a_project_brings_its_package() -> None:
    job = check(SCRIPT, "hash", script_location="tools/bin/report.py")

    assert (job.project, job.project_hash) == ("tools", "hash")


@pytest.mark.parametrize(
    ("folder", "hosts", "is_refused"),
    [
        ("/shared/corpus", ("one", "two"), False),
        ("/shared", ("one", "two"), False),
        ("/sharedbutnot", ("one", "two"), True),
        ("corpus", ("one", "two"), True),
        ("corpus", ("one",), False),
    ],
)
def test_engine_gets_no_input_that_its_workers_cannot_read(
    folder: str, hosts: tuple[str, ...], is_refused: bool
) -> None:
    fields = {**COUNT, "input_dirs": ["/shared/a", folder]}

    def submit(engine: str) -> CheckedSubmission:
        return check_submission(
            fields | {"engine": engine}, "h", peers=PEERS, asked="beta", hosts=hosts, shared=("/shared",)
        )

    assert submit("pymr").fields["engine"] == "pymr"
    if not is_refused:
        assert submit("ray").fields["engine"] == "ray"
        return
    with pytest.raises(JobError) as raised:
        submit("ray")
    (problem,) = raised.value.problems
    assert (problem.field, problem.value) == ("input_dirs", folder)
    assert "each of the 2 hosts" in problem.reason and "below /shared" in problem.reason


def test_a_transfer_that_names_no_peer_means_the_one_that_was_asked() -> None:
    assert check(UPLOAD).fields["local_peer"] == "beta"
    assert check(UPLOAD, local_peer="alpha").fields["local_peer"] == "alpha"


@pytest.mark.parametrize(
    ("fields", "changed", "words"),
    [
        (SCRIPT, {"run_on": "alhpa"}, "run_on = 'alhpa'.*leader, all, alpha, beta.*alpha"),
        (SCRIPT, {"script_location": "report.py"}, "script_location = 'report.py'.*PROJECT/file.py"),
        (SCRIPT, {"script_location": "tools/"}, "script_location"),
        (SCRIPT, {"script_location": "tools//x.py"}, "script_location"),
        (SCRIPT, {"script_location": "tools/../x.py"}, "script_location"),
        (SCRIPT, {"script_location": ".tools/x.py"}, "script_location"),
        (SCRIPT, {"script_location": "/opt/"}, "script_location"),
        (SCRIPT, {"script_location": "/opt/a\nb"}, "script_location"),
        (SCRIPT, {"script_location": "tools/x.py"}, "script_location.*package of project tools"),
        (SCRIPT, {"script_arguments": ["x" * JOB_BYTES_MAX]}, "bytes.*script_arguments"),
        (UPLOAD, {"local_peer": "gamma"}, "local_peer = 'gamma'.*alpha, beta"),
        (UPLOAD, {"output_dir": "/corpus"}, "output_dir"),
        (UPLOAD, {"output_dir": "../corpus"}, "output_dir"),
        (COUNT, {}, "project_name.*package of project words"),
        (COUNT, {"input_dirs": ["d" * 100] * 3_000}, "bytes.*name folders"),
    ],
)
def test_a_job_that_cannot_run_here_is_refused_by_its_field(
    fields: dict[str, Any], changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(JobError, match=f"(?s){words}"):
        check(fields, **changed)


# ---- wishes ----


class Desk:
    """A peer's wishes, with a store in memory that answers at once."""

    def __init__(self, folder: Path) -> None:
        self.redis = MemoryRedis()
        self.epoch = self.redis.take_lease("alpha", 1)
        self.store = MemoryStore(self.redis)
        self.woken = 0
        peers = [PeerConfig(name=name, workers=1, data_dir=str(folder / name)) for name in PEERS]
        config, me = ClusterConfig(peers=tuple(peers)), peers[1]
        self.state = LocalState(PeerPaths(me.data_dir))
        life = self.redis.incarnation or ""
        self.state.remember(life, 1)
        self.jobs = JobTableCopy(
            self.state,
            self,
            self,
            lambda: life,
            lambda seconds, function: function(),  # type: ignore[arg-type]
        )
        snapshot = ClusterSnapshot(life, 1, "alpha", None, None, "")
        self.commands = Commands(config, me, self.state, self, self.jobs, lambda: snapshot, self._wake)  # type: ignore[arg-type]
        self._number = 0
        self.user = "ann"

    def ask(self, work: Callable[[Any], Any], on_done: Any, on_error: Any, **_: Any) -> None:
        try:
            outcome = work(self.store)
        except Exception as error:
            on_error(error)
        else:
            on_done(outcome)

    def do(self, work: Callable[[], Any], on_done: Any, on_error: Any) -> None:
        on_done(work())

    def wish(self, kind: type[Request], **fields: Any) -> Reply:
        self._number += 1
        replies: list[Reply] = []
        self.commands.execute(kind(id=f"r{self._number}", **fields), self.user, replies.append)
        (reply,) = replies
        return reply

    def run(self, name: str, status: str, state: JobState | None = None) -> None:
        life, job = self.redis.incarnation or "", self.redis.jobs[name]
        run = self.store.write(self.epoch, life, BeginRun(name, job.version))
        self.store.write(self.epoch, life, EndRun(replace(run, status=status), state))

    def _wake(self) -> None:
        self.woken += 1


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.state.close()


def refusal(reply: Reply) -> tuple[str, str]:
    assert isinstance(reply, Refused)
    return reply.code, reply.reason


def test_scripts_and_transfers_are_queued_and_wake_the_leader(desk: Desk) -> None:
    replies = [desk.wish(SubmitJob, fields=fields) for fields in (SCRIPT, UPLOAD, SCRIPT)]

    assert [reply.replaced for reply in replies if isinstance(reply, Submitted)] == [False, False, True]
    assert desk.redis.jobs["u"].fields["local_peer"] == "beta"
    assert desk.woken == 3


def test_a_package_that_is_not_there_is_asked_for(desk: Desk) -> None:
    fields = {**SCRIPT, "script_location": "tools/x.py"}
    code, reason = refusal(desk.wish(SubmitJob, fields=fields, project_hash="hash"))
    assert code == "invalid" and "package of project tools is not in Redis" in reason
    desk.store.put_package("hash", b"zip")

    assert isinstance(desk.wish(SubmitJob, fields=fields, project_hash="hash"), Submitted)
    assert desk.redis.jobs["s"].project_hash == "hash"


def test_a_bad_job_never_reaches_redis(desk: Desk) -> None:
    code, reason = refusal(desk.wish(SubmitJob, fields={**SCRIPT, "run_on": "gamma"}))

    assert code == "invalid" and "run_on" in reason
    assert desk.redis.jobs == {} and desk.woken == 0


def test_a_submission_over_another_version_is_a_conflict(desk: Desk) -> None:
    assert isinstance(desk.wish(SubmitJob, fields=SCRIPT, over_version=0), Submitted)
    assert isinstance(desk.wish(SubmitJob, fields=SCRIPT, over_version=1), Submitted)
    woken = desk.woken
    code, reason = refusal(desk.wish(SubmitJob, fields=SCRIPT, over_version=1))

    assert code == "conflict"
    assert "version 1" in reason and "version 2, submitted by" in reason and "`pymr show s`" in reason
    assert (desk.redis.jobs["s"].version, desk.woken) == (2, woken)


def test_a_deleted_job_is_put_back_and_wakes_the_leader(desk: Desk) -> None:
    desk.wish(SubmitJob, fields=SCRIPT)
    desk.wish(DeleteJob, job_name="s")
    woken = desk.woken
    back = desk.wish(UndeleteJob, job_name="s")

    assert isinstance(back, Submitted)
    assert (back.job_name, back.version, back.replaced) == ("s", 2, False)
    assert desk.redis.jobs["s"].status == "queued"
    assert desk.woken == woken + 1
    code, reason = refusal(desk.wish(UndeleteJob, job_name="s"))
    assert code == "conflict" and "version 2" in reason
    assert refusal(desk.wish(UndeleteJob, job_name="none")) == (
        "unknown",
        "no job 'none' was deleted in the last 10 minutes; submit it again from its file",
    )


def test_who_changes_the_queue_stands_in_an_event_that_is_kept_with_the_change(desk: Desk) -> None:
    desk.wish(SubmitJob, fields=SCRIPT)
    desk.wish(DeleteJob, job_name="none")
    desk.wish(DeleteJob, job_name="s")
    desk.wish(UndeleteJob, job_name="s")
    for paused in (True, True, False):
        desk.wish(PauseQueue, paused=paused)
    desk.user = ""  # without keys nobody has a name
    desk.wish(DeleteJob, job_name="s")
    desk.wish(UndeleteJob, job_name="s")
    desk.user = "local"  # a name like any other
    desk.wish(DeleteJob, job_name="s")

    assert [(event.kind, event.text, event.job_name, event.user) for _, _, event in desk.redis.events] == [
        ("job.deleted", "s was deleted, by ann", "s", "ann"),
        ("job.undeleted", "s was brought back, by ann", "s", "ann"),
        ("queue.paused", "the queue was paused: no more runs begin, by ann", "", "ann"),
        ("queue.resumed", "the queue was resumed, by ann", "", "ann"),
        ("job.deleted", "s was deleted", "s", ""),
        ("job.undeleted", "s was brought back", "s", ""),
        ("job.deleted", "s was deleted, by local", "s", "local"),
    ]


def test_a_job_deleted_too_long_ago_is_not_put_back(desk: Desk) -> None:
    now = 1e6
    desk.redis.clock = lambda: now
    desk.wish(SubmitJob, fields=SCRIPT)
    desk.wish(DeleteJob, job_name="s")
    now += UNDELETE_SECONDS

    assert refusal(desk.wish(UndeleteJob, job_name="s"))[0] == "unknown"


def test_groups_are_retried_and_jobs_forced_with_an_answer_in_words(desk: Desk) -> None:
    for name in ("one", "two"):
        desk.wish(SubmitJob, fields={**SCRIPT, "job_name": name, "group_name": "line"})
    assert refusal(desk.wish(RetryJob, name="line"))[0] == "invalid"
    assert refusal(desk.wish(RetryJob, name="none")) == (
        "unknown",
        "there is no job and no group 'none' in the queue; see `pymr jobs`",
    )
    desk.run("one", "succeeded")
    forced = desk.wish(ForceJob, job_name="one")
    desk.run("one", "failed")
    woken = desk.woken
    again = desk.wish(RetryJob, name="two")

    assert isinstance(forced, Done) and forced.detail == "queued"
    assert isinstance(again, Done) and again.detail == "queued 2 jobs of group line"
    assert desk.woken == woken + 1
    desk.run("one", "failed")
    assert "`pymr retry one`" in refusal(desk.wish(ForceJob, job_name="one"))[1]
    assert refusal(desk.wish(ForceJob, job_name="none"))[0] == "unknown"
    assert isinstance(desk.wish(DeleteJob, job_name="one"), Done)


def test_a_job_that_is_checked_is_judged_as_if_submitted_and_not_queued(desk: Desk) -> None:
    good = desk.wish(CheckJob, fields=SCRIPT)
    bad = desk.wish(CheckJob, fields=SCRIPT | {"run_on": "nobody"})
    lacking = desk.wish(CheckJob, fields=COUNT, project_hash="0f")

    assert isinstance(good, Done)
    assert isinstance(bad, Refused) and (bad.code, "run_on" in bad.reason) == ("invalid", True)
    assert isinstance(lacking, Refused) and "is not in Redis" in lacking.reason
    assert desk.redis.jobs == {}


def test_a_cluster_is_recovered_with_its_cycle_and_what_was_consumed(desk: Desk) -> None:
    desk.wish(SubmitJob, fields=SCRIPT)
    desk.redis.cycle = 4
    desk.run("s", "succeeded", JobState("s-000001", "h"))
    desk.wish(PauseQueue, paused=True)
    desk.jobs.refresh(lambda: None, pytest.fail)
    life = desk.redis.incarnation or ""
    desk.redis.forget()
    reply = desk.wish(RecoverCluster, incarnation=life, epoch=1)

    assert isinstance(reply, Done) and "1 job is back" in reply.detail
    assert "the history of the runs is lost" in reply.detail
    assert desk.redis.cycle == 4
    assert desk.redis.states == {"s": JobState("s-000001", "h", is_recovered=True)}
    assert desk.redis.jobs["s"].cycle == 4
    assert desk.redis.paused


def test_a_recovery_says_where_the_history_ends_that_redis_still_has(desk: Desk) -> None:
    desk.wish(SubmitJob, fields=SCRIPT)
    desk.run("s", "succeeded")
    (run,) = desk.store.history("", 9)
    desk.jobs.refresh(lambda: None, pytest.fail)
    desk.redis.incarnation, life = "began-anew", desk.redis.incarnation or ""
    desk.redis.epoch = 0
    reply = desk.wish(RecoverCluster, incarnation=life, epoch=1)

    assert isinstance(reply, Done)
    assert f"the history of the runs ends with {run.run_id}" in reply.detail


def test_a_recovery_names_the_jobs_whose_project_is_lost_with_redis(desk: Desk, tmp_path: Path) -> None:
    for name in ("here", "damaged", "never-ran"):
        folder = tmp_path / "projects" / name / "words"
        folder.mkdir(parents=True)
        (folder / "map_functions.py").write_text(f"# {name}")
        package = pack_project(folder.parent, "words")
        desk.store.put_package(package.content_hash, package.data)
        desk.wish(SubmitJob, fields=COUNT | {"job_name": name}, project_hash=package.content_hash)
        unpacked = Path(PeerPaths(str(tmp_path / "beta")).project(package.content_hash), "words")
        if name != "never-ran":
            unpack_project(package.data, unpacked, package.content_hash)
        if name == "damaged":
            (unpacked / "map_functions.py").write_text("")
    desk.jobs.refresh(lambda: None, pytest.fail)
    life = desk.redis.incarnation or ""
    desk.redis.forget()
    reply = desk.wish(RecoverCluster, incarnation=life, epoch=1)

    assert isinstance(reply, Done) and reply.detail.startswith("3 jobs are back")
    assert reply.detail.endswith("; submit again, as their projects are lost: damaged, never-ran")


def test_a_redis_that_does_not_answer_is_told_of(desk: Desk) -> None:
    desk.redis.is_available = False

    assert refusal(desk.wish(ForceJob, job_name="s"))[0] == "unavailable"


@pytest.mark.parametrize(
    ("request_", "may_be_done", "ends"),
    [
        (DeleteJob(id="1", job_name="j"), True, "Redis; it may have been carried out all the same: "),
        (DeleteJob(id="1", job_name="j"), False, "Redis"),
        (CheckJob(id="1", fields={}, project_hash=""), True, "Redis"),
    ],
)
def test_what_may_have_been_done_although_redis_has_not_said_so_is_told(
    request_: Request, may_be_done: bool, ends: str
) -> None:
    error = StoreUnavailable("Redis")
    error.may_be_done = may_be_done
    answer = refused(request_, error)

    assert answer.code == "unavailable"
    assert answer.reason.removesuffix("look with `pymr jobs`") == ends
