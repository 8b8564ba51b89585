"""The commands of a cluster: what they print, as tables and as JSON, and how they end."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from console import Command
from fake_peer import Queries, fake_cluster
from valid_jobs import MAPREDUCE, SCRIPT
from written_projects import PLAIN, REDUCE, write_project

from pymr.cli import main
from pymr.cli.console import complete_deleted_jobs
from pymr.cli.queue import undelete
from pymr.client import Client
from pymr.jobs.job import parse_job_text
from pymr.wire.requests import (
    CheckJob,
    DeleteJob,
    Done,
    ForceJob,
    GetHistory,
    GetJob,
    GetJobs,
    GetMemory,
    GetPeers,
    GetWorkers,
    HistoryView,
    JobsView,
    JobView,
    MemoryView,
    PauseQueue,
    PeersView,
    PutPackage,
    RecoverCluster,
    Refused,
    RetryJob,
    SubmitJob,
    Submitted,
    UndeleteJob,
    WorkersView,
    only_looks,
)
from pymr.wire.rows import JobRow, PeerRow, PhaseRow, RunRow, WorkerRow

FIELDS = MAPREDUCE | {"job_name": "j", "exception": None}
ROW = JobRow(fields=FIELDS, status="running", version=3, submitted_at=1.0, current_phase="map", progress=0.25)
RUN = RunRow(
    run_id="r1", job_name="j", job_version=3, status="failed", start_time=1.0, end_time=2.0,
    exception="KeyError: 1", counters={"seen": 2},
)  # fmt: skip


def done(request: Any) -> Done:
    return Done(id=request.id)


def history(*rows: RunRow) -> Callable[[Any], HistoryView]:
    return lambda request: HistoryView(id=request.id, rows=rows)


LISTINGS: Queries = {
    GetJobs: lambda request: JobsView(id=request.id, rows=(ROW,), total=1),
    GetJob: lambda request: JobView(
        id=request.id,
        row=ROW,
        runs=(RUN,),
        counters={"seen": 1},
        phases=(PhaseRow(name="map", done=1, total=4),),
    ),
    GetHistory: history(RUN),
    GetPeers: lambda request: PeersView(
        id=request.id,
        rows=(
            PeerRow(name="p0", address="h:1", data_address="h:2", pid=4, leader=True, alive=True, epoch=2),
        ),
    ),
    GetWorkers: lambda request: WorkersView(
        id=request.id,
        rows=(WorkerRow(name="p0/0", peer="p0", pid=5, state="map", job_name="j", phase="map"),),
    ),
}


def of_versions(*versions: str) -> PeersView:
    return PeersView(
        id="",
        rows=tuple(
            PeerRow(name=f"p{number}", address="h:1", data_address="h:2", alive=True, version=version)
            for number, version in enumerate(versions)
        ),
    )


@pytest.mark.parametrize("words", [("jobs",), ("peers",), ("workers",), ("history",), ("show", "j")])
def test_each_listing_warns_where_the_peers_run_different_versions(
    pymr: Command, tmp_path: Path, words: tuple[str, ...]
) -> None:
    views = [of_versions("0.4.0", "0.3.0", "0.4.0"), of_versions("0.4.0", "0.4.0", "")]
    answers = LISTINGS | {GetPeers: lambda request: msgspec.structs.replace(views[0], id=request.id)}
    with fake_cluster(tmp_path, answers):
        table, listed = pymr(*words), pymr(*words, "--json")
        del views[0]
        same = pymr(*words)

    told = "the peers run different versions: 0.3.0 (p1), 0.4.0 (p0, p2); install the same one everywhere"
    assert (table.status, listed.status, same.status) == (0, 0, 0)
    assert told in table.err and told in listed.err
    assert json.loads(listed.out)
    assert "warning" not in same.err
    if words[0] == "show":
        assert json.loads(listed.out)["cluster_warning"] == told


# ---- the configuration


def test_without_a_configuration_a_command_says_what_to_do(pymr: Command) -> None:
    finished = pymr("jobs")

    assert finished.status == 2
    assert "pymr init" in finished.err
    assert "--config" in finished.err


def test_a_bad_configuration_is_a_usage_error(pymr: Command, tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text("[redis]\nurl = 5\n")
    finished = pymr("peers")

    assert (finished.status, "redis.url" in finished.err) == (2, True)


def test_the_configuration_is_named_by_option_or_environment(
    pymr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    with fake_cluster(tmp_path / "elsewhere", LISTINGS):
        path = str(tmp_path / "elsewhere" / "cluster.toml")
        by_option = pymr("jobs", "--config", path, "--json")
        monkeypatch.setenv("PYMR_CONFIG", path)
        by_environment = pymr("jobs", "--json")

    assert by_option.json == by_environment.json != []


def test_a_cluster_out_of_reach_is_named(
    pymr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymr.client.Client.__init__.__kwdefaults__", {"timeout_s": 0.3})
    with fake_cluster(tmp_path, {}) as cluster:
        cluster.peers[0].__exit__()
        finished = pymr("jobs")

    assert finished.status == 1
    assert "127.0.0.1" in finished.err


# ---- listings


@pytest.mark.parametrize("command", ["jobs", "peers", "workers", "history"])
def test_a_listing_in_json_is_an_array_of_objects(pymr: Command, tmp_path: Path, command: str) -> None:
    with fake_cluster(tmp_path, LISTINGS):
        listed = pymr(command, "--json").json

    assert isinstance(listed, list)
    wanted = {
        "jobs": {"job_name": "j", "input_dirs": ["corpus"], "status": "running", "progress": 0.25},
        "peers": {"name": "p0", "pid": 4, "address": "h:1", "leader": True, "epoch": 2, "alive": True},
        "workers": {"name": "p0/0", "peer": "p0", "pid": 5, "state": "map", "job_name": "j", "phase": "map"},
        "history": {"run_id": "r1", "job_name": "j", "status": "failed", "counters": {"seen": 2.0}},
    }[command]
    assert listed[0] | wanted == listed[0]


@pytest.mark.parametrize("command", ["jobs", "peers", "workers", "history"])
def test_a_listing_is_a_table(pymr: Command, tmp_path: Path, command: str) -> None:
    with fake_cluster(tmp_path, LISTINGS):
        finished = pymr(command)

    assert (finished.status, finished.err) == (0, "")
    assert len(finished.out.splitlines()) == 2


@pytest.mark.parametrize("command", ["jobs", "peers", "workers", "history", "show j"])
def test_a_listing_says_what_is_wrong_with_the_cluster_and_fails(
    pymr: Command, tmp_path: Path, command: str
) -> None:
    answers = {
        kind: lambda request, answer=answer: msgspec.structs.replace(answer(request), problem="Redis is down")
        for kind, answer in LISTINGS.items()
    }
    with fake_cluster(tmp_path, answers):
        table, listed = pymr(*command.split()), pymr(*command.split(), "--json")

    assert (table.status, table.err) == (listed.status, listed.err) == (1, "pymr: Redis is down\n")
    assert len(table.out.splitlines()) >= 2
    assert listed.json


def test_jobs_that_are_not_known_are_not_said_to_be_none(pymr: Command, tmp_path: Path) -> None:
    answers: Queries = {
        GetJobs: lambda request: JobsView(id=request.id, rows=(), total=0, problem="Redis is down"),
        GetJob: lambda request: JobView(id=request.id, row=None, problem="Redis is down"),
    }
    with fake_cluster(tmp_path, answers):
        listed, shown = pymr("jobs"), pymr("show", "j")

    assert "no job is known while the cluster has the problem" in listed.out
    assert shown.err == "pymr: nothing is known of j now: Redis is down\n"


def test_a_job_is_shown_with_its_phases_and_runs(pymr: Command, tmp_path: Path) -> None:
    with fake_cluster(tmp_path, LISTINGS):
        text, shown = pymr("show", "j").out, pymr("show", "j", "--json").json

    assert "total" in text
    assert "KeyError: 1" in text
    assert "1/4" in text
    assert shown["reduce_function_name"] == "total"
    assert shown["runs"][0]["run_id"] == "r1"
    assert shown["phases"][0]["name"] == "map"


def test_a_job_that_never_was_cannot_be_shown(pymr: Command, tmp_path: Path) -> None:
    answers = {GetJob: lambda request: JobView(id=request.id, row=None), GetHistory: history()}
    with fake_cluster(tmp_path, answers):
        finished = pymr("show", "j")

    assert (finished.status, "there is no job j" in finished.err) == (1, True)


# ---- the queue


def test_a_submission_says_what_to_type_next(pymr: Command, tmp_path: Path) -> None:
    write_project(tmp_path / "projects", "wordcount", map_functions=PLAIN, reduce_functions=REDUCE)
    lines = [f"{name} = {json.dumps(value)}" for name, value in MAPREDUCE.items()]
    (tmp_path / "job.toml").write_text("\n".join(lines))
    answers = {
        PutPackage: done,
        SubmitJob: lambda request: Submitted(
            id=request.id, job_name="count-words", version=1, replaced=False
        ),
    }
    with fake_cluster(tmp_path, answers) as cluster:
        finished = pymr("submit", "job.toml", "--set", "partitions=4")
        submission = cluster.peers[0].asked[-1]

    assert finished.status == 0
    assert "pymr wait count-words" in finished.out
    assert submission.fields["partitions"] == 4


@pytest.mark.parametrize("command", ["submit", "preview", "delete", "pause"])
def test_a_key_that_may_only_look_is_refused_by_the_name_of_the_command(
    pymr: Command, tmp_path: Path, command: str
) -> None:
    def deny(request: Any) -> Refused:
        return Refused(id=request.id, code="denied", reason=only_looks("watcher"))

    write_project(tmp_path / "projects", "wordcount", map_functions=PLAIN, reduce_functions=REDUCE)
    (tmp_path / "job.toml").write_text("".join(f"{n} = {json.dumps(v)}\n" for n, v in MAPREDUCE.items()))
    argument = {"submit": ["job.toml"], "preview": ["job.toml"], "delete": ["j"], "pause": []}[command]
    with fake_cluster(tmp_path, dict.fromkeys((PutPackage, DeleteJob, PauseQueue), deny)):
        finished = pymr(command, *argument)

    assert finished.status == 1
    assert finished.err == (
        f"pymr: `pymr {command}`: watcher may look, and change nothing: that needs the key of an operator\n"
    )


def test_a_version_that_was_seen_is_the_one_that_a_submission_replaces(pymr: Command, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(SCRIPT_TOML)
    answers = {SubmitJob: lambda request: Submitted(id=request.id, job_name="s", version=4, replaced=True)}
    with fake_cluster(tmp_path, answers) as cluster, Client(cluster.config) as client:
        finished = pymr("submit", "job.toml", "--over-version", "3")
        one = list(client.submit_all([(parse_job_text(SCRIPT_TOML), tmp_path)], 3))
        asked = cluster.peers[0].asked_for(SubmitJob)

    assert (finished.status, one[0].version) == (0, 4)
    assert [request.over_version for request in asked] == [3, 3]


def test_of_several_jobs_none_is_submitted_if_one_is_wrong(pymr: Command, tmp_path: Path) -> None:
    script = SCRIPT | {"script_location": "/srv/clean.py"}
    lines = [f"{name} = {json.dumps(value)}\n" for name, value in script.items()]
    (tmp_path / "good.toml").write_text("".join(lines))
    (tmp_path / "bad.toml").write_text('job_type = "mapreduce"\n')
    answers = {
        CheckJob: done,
        SubmitJob: lambda request: Submitted(id=request.id, job_name="clean", version=1, replaced=True),
    }
    with fake_cluster(tmp_path, answers) as cluster:
        wrong = pymr("submit", "good.toml", "bad.toml")
        asked = list(cluster.peers[0].asked)
        right = pymr("submit", "good.toml", "good.toml")

        assert len(cluster.peers[0].asked_for(SubmitJob)) == 2
    assert (wrong.status, asked) == (2, [])
    assert (right.status, len(right.out.splitlines())) == (0, 2)


def test_a_project_that_is_missing_for_one_of_several_lets_none_be_submitted(
    pymr: Command, tmp_path: Path
) -> None:
    write_project(tmp_path / "projects", "wordcount", map_functions=PLAIN, reduce_functions=REDUCE)
    wrong = [{"project_name": "wrodcount"}, {"reduce_function_name": "totl"}, {"map_function_name": "wrds"}]
    for number, fields in enumerate([{}, *wrong]):
        values = MAPREDUCE | {"job_name": f"job{number}"} | fields
        text = "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())
        (tmp_path / f"{number}.toml").write_text(text)
    with fake_cluster(tmp_path, {}) as cluster:
        finished = [pymr("submit", "0.toml", f"{number}.toml") for number in (1, 2, 3)]
        both = pymr("submit", "0.toml", "1.toml", "2.toml")

        assert cluster.peers[0].asked == []
    assert [one.status for one in (*finished, both)] == [2] * 4
    assert "did you mean wordcount?" in finished[0].err and "totl" in finished[1].err
    assert "wrodcount" in both.err and "totl" in both.err


def test_what_a_peer_refuses_of_several_lets_none_be_submitted(pymr: Command, tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.toml").write_text(SCRIPT_TOML.replace('"s"', f'"{name}"'))

    def check(request: CheckJob) -> Done | Refused:
        if request.fields["job_name"] != "b":
            return Done(id=request.id)
        return Refused(id=request.id, code="invalid", reason="b: run_on: is no peer of this cluster")

    with fake_cluster(tmp_path, {CheckJob: check}) as cluster:
        finished = pymr("submit", "a.toml", "b.toml", "c.toml")

        assert cluster.peers[0].asked_for(SubmitJob) == []
    assert finished.status == 2 and "run_on" in finished.err


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("conflict", "not submitted: b, c"),
        (
            "unavailable",
            "submitted or not, which nobody has said: b; not submitted: c",
        ),
    ],
)
def test_a_failure_after_some_were_submitted_tells_which(
    pymr: Command, tmp_path: Path, code: str, told: str
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.toml").write_text(SCRIPT_TOML.replace('"s"', f'"{name}"'))

    def submit(request: SubmitJob) -> Submitted | Refused:
        name = request.fields["job_name"]
        if name == "b":
            return Refused(id=request.id, code=code, reason="Redis is full")
        return Submitted(id=request.id, job_name=name, version=1, replaced=False)

    with fake_cluster(tmp_path, {CheckJob: done, SubmitJob: submit}):
        finished = pymr("submit", "a.toml", "b.toml", "c.toml")

    assert finished.status == 1 and finished.out.startswith("a: submitted")
    assert f"Redis is full; submitted before that: a; {told}" in finished.err


SCRIPT_TOML = 'job_type = "script"\njob_name = "s"\njob_priority = 1\nscript_location = "/bin/true"\n'


def test_a_job_is_submitted_over_the_version_that_was_seen(pymr: Command, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text(SCRIPT_TOML)
    answers = {
        SubmitJob: lambda request: Submitted(id=request.id, job_name="s", version=4, replaced=True),
    }
    with fake_cluster(tmp_path, answers) as cluster:
        finished = pymr("submit", "job.toml", "--over-version", "3")
        pymr("submit", "job.toml", "--over-version", "0")
        pymr("submit", "job.toml")
        several = pymr("submit", "job.toml", "job.toml", "--over-version", "3")
        negative = pymr("submit", "job.toml", "--over-version", "-1")
        asked = cluster.peers[0].asked_for(SubmitJob)

    assert finished.status == 0
    assert [request.over_version for request in asked] == [3, 0, None]
    assert (several.status, "one by one" in several.err, negative.status) == (2, True, 2)


def test_a_deletion_says_how_to_undo_it_and_that_how_to_wait(pymr: Command, tmp_path: Path) -> None:
    answers = {
        DeleteJob: done,
        UndeleteJob: lambda request: Submitted(id=request.id, job_name="j", version=4, replaced=False),
    }
    with fake_cluster(tmp_path, answers):
        deleted, back = pymr("delete", "j"), pymr("undelete", "j")

    assert deleted.out == "j: deleted; `pymr undelete j` within 10 minutes brings it back\n"
    assert (back.status, back.out) == (0, "j: back in the queue; `pymr wait j` waits for its first run\n")


@pytest.mark.parametrize("code", ["unknown", "conflict"])
def test_a_job_that_cannot_come_back_is_told_of(pymr: Command, tmp_path: Path, code: str) -> None:
    with fake_cluster(
        tmp_path, {UndeleteJob: lambda request: Refused(id=request.id, code=code, reason="it cannot")}
    ):
        finished = pymr("undelete", "j")

    assert (finished.status, finished.out, finished.err) == (1, "", "pymr: it cannot\n")


def test_the_shell_completes_jobs_that_are_gone(tmp_path: Path) -> None:
    gone = msgspec.structs.replace(RUN, run_id="r2", job_name="gone")
    with fake_cluster(tmp_path, {**LISTINGS, GetHistory: history(RUN, gone)}) as cluster:
        context = click.Context(undelete)
        context.params["config_path"] = cluster.config.source
        items = complete_deleted_jobs(context, undelete.params[0], "")

    assert [item.value for item in items] == ["gone"]


def test_what_a_retry_has_queued_is_told(pymr: Command, tmp_path: Path) -> None:
    def retried(request: RetryJob) -> Done:
        return Done(id=request.id, detail="queued 3 jobs of group g")

    with fake_cluster(tmp_path, {RetryJob: retried}):
        assert pymr("retry", "g").out.startswith("g: queued 3 jobs of group g;")


@pytest.mark.parametrize(
    ("job_type", "said"), [("mapreduce", "pymr output"), ("script", "pymr show"), ("file_transfer", "")]
)
def test_the_end_of_a_wait_says_what_to_look_at(
    pymr: Command, tmp_path: Path, job_type: str, said: str
) -> None:
    row = JobRow(
        fields={"job_name": "j", "job_type": job_type}, status="queued", version=3, submitted_at=1.0,
        first_run_id="r1", first_run_status="succeeded",
    )  # fmt: skip
    with fake_cluster(tmp_path, {GetJob: lambda request: JobView(id=request.id, row=row)}):
        finished = pymr("wait", "j")

    assert finished.status == 0
    assert ("`" in finished.out) == bool(said)
    assert said in finished.out


def test_a_wait_for_a_job_that_failed_with_its_group_says_whose_fault_it_was(
    pymr: Command, tmp_path: Path
) -> None:
    why = "the job a of its group g failed: KeyError: 1; `pymr retry g` queues all of it again"
    row = JobRow(fields=FIELDS, status="failed", version=3, submitted_at=1.0, exception=why)
    with fake_cluster(tmp_path, {GetJob: lambda request: JobView(id=request.id, row=row)}):
        finished = pymr("wait", "j")

    assert (finished.status, finished.err) == (1, f"pymr: j: failed: {why}\n")


def test_a_job_file_that_is_wrong_is_a_usage_error(pymr: Command, tmp_path: Path) -> None:
    (tmp_path / "job.toml").write_text('job_type = "mapreduce"\n')
    with fake_cluster(tmp_path, {}):
        finished = pymr("submit", "job.toml")

    assert (finished.status, "input_dirs" in finished.err) == (2, True)


@pytest.mark.parametrize(
    ("code", "status"), [("invalid", 2), ("denied", 1), ("conflict", 1), ("unavailable", 1)]
)
def test_a_job_that_a_peer_finds_wrong_is_a_usage_error_too(
    pymr: Command, tmp_path: Path, code: str, status: int
) -> None:
    def refuse(request: Any) -> Refused:
        return Refused(id=request.id, code=code, reason="run_on = 'nobody': is no peer of this cluster")

    (tmp_path / "job.toml").write_text(SCRIPT_TOML + 'run_on = "nobody"\n')
    with fake_cluster(tmp_path, {SubmitJob: refuse}):
        finished = pymr("submit", "job.toml")

    assert (finished.status, "run_on = 'nobody'" in finished.err) == (status, True)


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (("delete", "j"), DeleteJob),
        (("retry", "j"), RetryJob),
        (("force", "j"), ForceJob),
        (("pause",), PauseQueue),
        (("resume",), PauseQueue),
    ],
)
def test_a_change_is_asked_for_and_told(
    pymr: Command, tmp_path: Path, command: tuple[str, ...], kind: type
) -> None:
    with fake_cluster(tmp_path, {kind: done}) as cluster:
        finished = pymr(*command)
        asked = cluster.peers[0].asked

    assert (finished.status, len(finished.out.splitlines()), len(asked)) == (0, 1, 1)


def test_a_refusal_is_told_as_it_was_said(pymr: Command, tmp_path: Path) -> None:
    def refuse(request: Any) -> Refused:
        return Refused(id=request.id, code="unknown", reason="there is no job 'j' in the queue")

    with fake_cluster(tmp_path, {DeleteJob: refuse}):
        finished = pymr("delete", "j")

    assert (finished.status, finished.err) == (1, "pymr: there is no job 'j' in the queue\n")


@pytest.mark.parametrize(("run_status", "status"), [("succeeded", 0), ("skipped", 0), ("failed", 1)])
def test_a_wait_ends_as_the_run_did(pymr: Command, tmp_path: Path, run_status: Any, status: int) -> None:
    row = JobRow(
        fields=FIELDS, status="queued", version=3, submitted_at=1.0, first_run_id="r1",
        first_run_status=run_status, exception="KeyError: 1",
    )  # fmt: skip
    with fake_cluster(tmp_path, {GetJob: lambda request: JobView(id=request.id, row=row)}):
        finished = pymr("wait", "j")

    assert finished.status == status
    assert ("KeyError: 1" in finished.err) == (status == 1)


def test_a_wait_that_takes_too_long_has_a_status_of_its_own(pymr: Command, tmp_path: Path) -> None:
    with fake_cluster(tmp_path, LISTINGS):
        finished = pymr("wait", "j", "--timeout", "0.2")

    assert (finished.status, "has not ended" in finished.err) == (2, True)


@pytest.mark.parametrize("command", ["show", "wait"])
def test_no_name_is_the_name_of_no_job(pymr: Command, tmp_path: Path, command: str) -> None:
    with fake_cluster(tmp_path, LISTINGS):
        finished = pymr(command, "")

    assert (finished.status, finished.out) == (1, "")
    assert "without a name" in finished.err


# ---- recovery


def memory(incarnation: str, epoch: int, change: int) -> Queries:
    view: dict[str, Any] = {"incarnation": incarnation, "epoch": epoch, "change": change, "jobs": 1}
    return {GetMemory: lambda request: MemoryView(id=request.id, **view), RecoverCluster: done}


def test_a_recovery_takes_the_memory_of_most_peers(pymr: Command, tmp_path: Path) -> None:
    with fake_cluster(tmp_path, memory("old", 3, 5), memory("old", 2, 6), memory("odd", 9, 7)) as cluster:
        finished = pymr("cluster", "recover", "--yes")
        asked = [peer.asked_for(RecoverCluster) for peer in cluster.peers]

    assert finished.status == 0
    assert [len(requests) for requests in asked] == [0, 1, 0]
    assert (asked[1][0].incarnation, asked[1][0].epoch) == ("old", 9)


def test_a_recovery_needs_most_peers(pymr: Command, tmp_path: Path) -> None:
    view: dict[str, Any] = {"incarnation": "i", "epoch": 1, "change": 1, "jobs": 1}
    answers = {GetMemory: lambda request: MemoryView(id=request.id, **view), RecoverCluster: done}
    with fake_cluster(tmp_path, answers, {}) as cluster:
        cluster.peers[1].__exit__()
        finished = pymr("cluster", "recover", "--yes")

        assert cluster.peers[0].asked_for(RecoverCluster) == []
    assert (finished.status, "start p1" in finished.err) == (1, True)


def test_a_recovery_asks_nothing_where_nobody_can_answer(pymr: Command, tmp_path: Path) -> None:
    with fake_cluster(tmp_path, memory("old", 3, 5)) as cluster:
        finished = pymr("cluster", "recover", "--json")
        asked = cluster.peers[0].asked_for(RecoverCluster)

    assert (finished.status, len(asked)) == (0, 1)
    assert finished.json["name"] == "test" and finished.json["detail"] == ""
    assert [peer["name"] for peer in finished.json["peers"]] == ["p0"]


def test_a_recovery_asks_first_at_a_terminal(
    pymr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.StringIO("n\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", terminal)
    with fake_cluster(tmp_path, memory("old", 3, 5)) as cluster:
        finished = pymr("cluster", "recover")
        asked = cluster.peers[0].asked_for(RecoverCluster)

    assert (finished.status, asked) == (130, [])
    assert "Put the jobs that the peers of test remember" in finished.err


def test_every_command_has_help(pymr: Command) -> None:
    names = main.commands.list_commands(None)  # type: ignore[arg-type]
    listed = pymr("--help").out

    assert all(f"\n  {name} " in listed for name in names)
    assert all(pymr(name, "--help").status == 0 for name in names)
