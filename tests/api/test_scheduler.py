"""The Python API: what it asks, what it gives back, and that it is silent. Peers are fake, sockets real."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_peer import Queries, fake_cluster
from valid_jobs import MAPREDUCE
from written_projects import PLAIN, REDUCE, write_project

import pymr
from pymr import ManageCluster, Scheduler
from pymr.api.displays import OutputItems
from pymr.base.errors import ConfigError, JobError, PymrError
from pymr.client import ClientError
from pymr.client.output import Listing
from pymr.jobs.job import parse_job
from pymr.wire.requests import (
    DeleteJob,
    Done,
    ForceJob,
    GetHistory,
    GetJob,
    GetJobs,
    HistoryView,
    JobsView,
    JobView,
    PauseQueue,
    PutPackage,
    RetryJob,
    SubmitJob,
    Submitted,
    UndeleteJob,
)
from pymr.wire.rows import JobRow, OutputPart, RunRow

FIELDS = {"job_name": "j", "job_type": "mapreduce", "job_priority": 1, "run_once": False}
ROW = JobRow(fields=FIELDS, status="running", version=3, submitted_at=1.0, progress=0.25)
RUN = RunRow(
    run_id="r1", job_name="j", job_version=3, status="failed", start_time=1.0, end_time=2.0,
    exception="KeyError: <1>",
)  # fmt: skip


def done(request: Any) -> Done:
    return Done(id=request.id)


ANSWERS: Queries = {
    GetJobs: lambda request: JobsView(id=request.id, rows=(ROW,), total=1, cycle=2),
    GetJob: lambda request: JobView(id=request.id, row=ROW, runs=(RUN,)),
    GetHistory: lambda request: HistoryView(id=request.id, rows=(RUN,)),
    PutPackage: done,
    SubmitJob: lambda request: Submitted(
        id=request.id, job_name=request.fields["job_name"], version=4, replaced=True
    ),
    DeleteJob: done,
    UndeleteJob: lambda request: Submitted(
        id=request.id, job_name=request.job_name, version=5, replaced=False
    ),
    RetryJob: done,
    ForceJob: done,
    PauseQueue: done,
}


# ---- templates


def test_templates_are_dicts_with_every_field_and_a_filled_one_is_a_job(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, {}) as cluster, Scheduler(cluster.config) as scheduler:
        templates = [
            scheduler.get_mapreduce_job_template(),
            scheduler.get_script_template(),
            scheduler.get_file_transfer_template(),
        ]

    assert [one["job_type"] for one in templates] == ["mapreduce", "script", "file_transfer"]
    assert (templates[0]["max_attempts"], templates[0]["job_name"]) == (4, None)
    assert parse_job(templates[0] | MAPREDUCE)


# ---- the queue


def test_a_job_is_submitted_from_a_template_with_its_project(tmp_path: Path) -> None:
    write_project(tmp_path / "projects", "wordcount", map_functions=PLAIN, reduce_functions=REDUCE)
    with fake_cluster(tmp_path, ANSWERS) as cluster, Scheduler(tmp_path / "cluster.toml") as scheduler:
        job = scheduler.get_mapreduce_job_template() | MAPREDUCE
        submitted = scheduler.submit_job(job)
        again = scheduler.submit_job(parse_job(MAPREDUCE))
        asked = cluster.peers[0].asked_for(SubmitJob)

    assert (submitted.job_name, submitted.version, submitted.replaced) == ("count-words", 4, True)
    assert again == submitted
    assert [bool(request.project_hash) for request in asked] == [True, True]
    assert None not in asked[0].fields.values()


def test_a_wrong_job_is_an_error_with_all_its_problems(tmp_path: Path) -> None:
    with (
        fake_cluster(tmp_path, {}) as cluster,
        Scheduler(cluster.config) as scheduler,
        pytest.raises(JobError, match="job_name") as caught,
    ):
        scheduler.submit_job(scheduler.get_script_template())

    assert {problem.field for problem in caught.value.problems} == {
        "job_name",
        "job_priority",
        "script_location",
    }


def test_changes_are_asked_for(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, ANSWERS) as cluster, Scheduler(cluster.config) as scheduler:
        scheduler.delete_job("j")
        back = scheduler.undelete_job("j")
        scheduler.retry_job("g")
        scheduler.force_job("j")
        scheduler.pause()
        scheduler.resume()
        asked = cluster.peers[0].asked

    assert [type(request) for request in asked] == [
        DeleteJob,
        UndeleteJob,
        RetryJob,
        ForceJob,
        PauseQueue,
        PauseQueue,
    ]
    assert [request.paused for request in asked[4:]] == [True, False]
    assert (back.job_name, back.version, back.replaced) == ("j", 5, False)


# ---- what it gives back


def test_listings_are_lists_of_dicts_that_show_as_tables(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, ANSWERS) as cluster, Scheduler(cluster.config) as scheduler:
        jobs, history = scheduler.jobs(), scheduler.history("j")

    assert [(row["job_name"], row["status"], row["progress"]) for row in jobs] == [("j", "running", 0.25)]
    assert repr(jobs).splitlines()[0] == "(cycle 2)"
    assert "running" in repr(jobs)
    assert history[0]["exception"] == "KeyError: <1>"
    assert type(history[0]) is dict
    assert "KeyError: &lt;1&gt;</td>" in history._repr_html_()


def test_a_job_is_a_dict_that_shows_as_the_command_does(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, ANSWERS) as cluster, Scheduler(cluster.config) as scheduler:
        job = scheduler.job("j")

    assert (job["status"], job["runs"][0]["run_id"]) == ("running", "r1")
    assert "KeyError: <1>" in repr(job)
    assert "&lt;1&gt;" in job._repr_html_()


def test_a_job_that_never_was_is_an_error(tmp_path: Path) -> None:
    answers = {
        GetJob: lambda request: JobView(id=request.id, row=None),
        GetHistory: lambda request: HistoryView(id=request.id, rows=()),
    }
    with (
        fake_cluster(tmp_path, answers) as cluster,
        Scheduler(cluster.config) as scheduler,
        pytest.raises(ClientError, match="there is no job j"),
    ):
        scheduler.job("j")


def test_a_wait_gives_the_outcome_or_a_timeout(tmp_path: Path) -> None:
    views = {
        "j": ROW,
        "k": JobRow(fields=FIELDS, status="failed", version=1, submitted_at=1.0, exception="x"),
    }
    answers = {GetJob: lambda request: JobView(id=request.id, row=views[request.job_name])}
    with fake_cluster(tmp_path, answers) as cluster, Scheduler(cluster.config) as scheduler:
        outcome = scheduler.wait("k")
        with pytest.raises(TimeoutError, match="j has not ended"):
            scheduler.wait("j", timeout=0.2)

    assert (outcome.status, outcome.exception, outcome.is_success) == ("failed", "x", False)


def items_of(*files: tuple[str, bytes]) -> OutputItems:
    """The items of files in pieces of three bytes."""
    parts = tuple(OutputPart("p0", name, 2, len(content)) for name, content in files)

    def lines(listing: Listing) -> Any:
        from pymr.api.scheduler import _lines
        from pymr.client import decompressed

        for name, content in files:
            pieces = (content[start : start + 3] for start in range(0, len(content), 3))
            yield from _lines(decompressed(pieces, name))

    return OutputItems(Listing("j", "r1", parts), lines)


def test_an_output_is_its_items_whatever_its_files() -> None:
    plain, packed = b'["a",1]\n[["b",2],123456789012345678901]\n', gzip.compress(b'["<c>",{"d":null}]\n')
    output = items_of(("part-0.jsonl", plain), ("part-1.jsonl.gz", packed))

    assert list(output) == [("a", 1), (("b", 2), 123456789012345678901), ("<c>", {"d": None})]
    assert list(output) == list(output)
    assert len(output) == 4
    assert repr(output).startswith("<output of j: 4 items in 2 files")
    assert "&lt;c&gt;" in output._repr_html_()


# ---- its use


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with fake_cluster(tmp_path, ANSWERS) as cluster, Scheduler(cluster.config) as scheduler:
        scheduler.jobs()
        scheduler.job("j")
        ManageCluster(cluster.config).status()

    assert capfd.readouterr() == ("", "")


def test_several_threads_use_one_scheduler(tmp_path: Path) -> None:
    seen: list[str] = []

    def look(scheduler: Scheduler) -> None:
        for _ in range(5):
            seen.append(scheduler.jobs()[0]["job_name"])

    with fake_cluster(tmp_path, ANSWERS) as cluster, Scheduler(cluster.config) as scheduler:
        for _ in range(2):
            threads = [threading.Thread(target=look, args=(scheduler,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        scheduler.jobs()

        assert len(scheduler._clients._by_thread) == 1  # of this thread: the others have ended
    assert seen == ["j"] * 40
    with pytest.raises(ClientError, match="closed"):
        scheduler.jobs()


@pytest.mark.parametrize("make", [Scheduler, ManageCluster])
def test_the_configuration_is_found_as_the_commands_find_it(
    make: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_cluster(tmp_path, {}) as cluster:
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("PYMR_CONFIG", raising=False)
        beside = make()
        monkeypatch.chdir("/")
        with pytest.raises(ConfigError, match="pymr init"):
            make()
        monkeypatch.setenv("PYMR_CONFIG", cluster.config.source or "")
        by_variable = make()
        by_path = make(Path(cluster.config.source or ""))
        (tmp_path / "empty.toml").write_text('name = "x"\n')
        with pytest.raises(ConfigError, match="peers"):
            make(str(tmp_path / "empty.toml"))

    assert {one.config.source for one in (beside, by_variable, by_path)} == {cluster.config.source}


def test_the_public_names_are_loaded_when_they_are_used() -> None:
    code = (
        "import sys, pymr; assert not [n for n in sys.modules if n.startswith('pymr.') "
        "and n not in ('pymr.base', 'pymr.base.counters')], sys.modules; "
        "from pymr import Scheduler, ManageCluster, DiskList, DiskSort, PymrError, JobError, RefusedError; "
        "assert issubclass(JobError, PymrError) and issubclass(RefusedError, PymrError)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
    assert {"Scheduler", "ManageCluster", "DiskList", "DiskSort"} <= set(dir(pymr))
    assert issubclass(ClientError, PymrError)
