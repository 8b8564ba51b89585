"""Runs that read only new files: the example of it, what it remembers, and kills at every step of that."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import MAP_WORDS, PROJECTS, REDUCE_TOTAL

from pymr.client import UnreachableError
from pymr.wire.rows import RunRow

MakeCluster = Callable[..., Cluster]
EXAMPLE = PROJECTS / "incremental_counts"
COUNTS, COMBINED = "incremental_counts", "combined_counts"
SETTINGS = {"scheduler": {"cycle_seconds": 3_600.0}}
"""No job runs again by itself while a test lasts: only where it is forced to."""


def ended_runs(cluster: Cluster, job_name: str) -> list[RunRow]:
    """The runs of a job that have ended, the first one first."""
    return [run for run in reversed(cluster.client.history(job_name)) if run.end_time is not None]


def run_again(cluster: Cluster, *job_names: str) -> list[RunRow]:
    """Have jobs run once more; the runs."""
    before = {name: len(ended_runs(cluster, name)) for name in job_names}
    for name in job_names:
        cluster.client.force(name)

    def have_ended() -> bool:
        cluster.restart_dead()  # of a test that kills
        return all(len(ended_runs(cluster, name)) > before[name] for name in job_names)

    cluster.wait_for(have_ended, what=f"a further run of {job_names}")
    return [ended_runs(cluster, name)[-1] for name in job_names]


def give(cluster: Cluster, batch: str, **peers: str) -> None:
    """Put the files of a batch of the example into the input of peers."""
    for peer, name in peers.items():
        folder = cluster.input_of(peer) / batch
        folder.mkdir()
        shutil.copy(EXAMPLE / "input" / batch / name, folder)


def inline(cluster: Cluster, *folders: Path) -> list[Any]:
    """What the example gives in one run over these folders."""
    output = cluster.folder / "inline"
    options = [word for folder in folders for word in ("--input", folder)]
    job = EXAMPLE / f"{COUNTS}.toml"
    finished = cluster.pymr("run", job, "--inline", "--output", output, *options, config=False)
    assert finished.status == 0, finished.err
    lines = [line for part in output.glob("part-*") for line in part.read_text().splitlines()]
    shutil.rmtree(output)
    return ordered(map(json.loads, lines))


def test_the_example_reads_each_batch_once_and_adds_up(make_cluster: MakeCluster) -> None:
    hosts = ["127.0.0.1", "127.0.0.1", "127.0.0.2"]
    cluster = make_cluster(hosts=hosts, settings=SETTINGS)
    gate = cluster.folder / "gate"
    cluster.env["PYMR_FAULTS"] = f"reduce.begin:hold={gate}"
    cluster.start()
    a, b = EXAMPLE / "input" / "batch_a", EXAMPLE / "input" / "batch_b"

    give(cluster, "batch_a", alpha="river.csv", gamma="wood.csv")
    for name in (COUNTS, COMBINED):
        finished = cluster.pymr("submit", EXAMPLE / f"{name}.toml", "--projects", PROJECTS)
        assert finished.status == 0, finished.err
    cluster.succeed(COUNTS)
    cluster.succeed(COMBINED)
    first = ended_runs(cluster, COUNTS)[0]
    assert (first.status, first.files, first.records) == ("succeeded", 2, 10)
    of_a, of_both = inline(cluster, a), inline(cluster, a, b)
    assert ordered(cluster.output(COMBINED)) == of_a

    (nothing,) = run_again(cluster, COUNTS)
    assert (nothing.status, nothing.files, nothing.records) == ("skipped", 0, 0)
    assert ordered(cluster.output(COUNTS)) == of_a

    give(cluster, "batch_b", beta="river.csv", gamma="meadow.csv")
    gate.touch()
    cluster.client.force(COUNTS)
    cluster.wait_for(lambda: cluster.phase(COUNTS) in ("shuffle", "sort", "reduce"), what="a reduce task")
    refused = cluster.pymr("state", COUNTS, "--forget", "*")
    gate.unlink()
    cluster.wait_for(lambda: len(ended_runs(cluster, COUNTS)) == 3, what="the run over batch B")
    second = ended_runs(cluster, COUNTS)[2]
    (combined,) = run_again(cluster, COMBINED)
    assert (refused.status, "is running" in refused.err) == (1, True), refused
    assert (second.status, second.files, second.records) == ("succeeded", 2, 8)
    assert combined.records == len(of_a) + second.items
    assert ordered(cluster.output(COMBINED)) == of_both

    state = json.loads(cluster.pymr("state", COUNTS, "--json").out)
    assert state["run_id"] == second.run_id
    assert {(row["peer"], row["path"]) for row in state["files"]} == {
        ("alpha", "input/batch_a/river.csv"),
        ("beta", "input/batch_b/river.csv"),
        ("gamma", "input/batch_a/wood.csv"),
        ("gamma", "input/batch_b/meadow.csv"),
    }

    forgot = cluster.pymr("state", COUNTS, "--forget", "*/batch_b/*")
    assert (forgot.status, "forgot 2 files" in forgot.out) == (0, True), forgot
    again, _ = run_again(cluster, COUNTS, COMBINED)
    assert (again.files, again.records) == (2, 8)
    assert ordered(cluster.output(COMBINED)) == inline(cluster, a, b, copy_of(b, cluster))

    a_list_is_damaged(cluster, again.run_id)


def copy_of(folder: Path, cluster: Cluster) -> Path:
    """The same files in another folder, so that they count as others."""
    return Path(shutil.copytree(folder, cluster.folder / "copy"))


def a_list_is_damaged(cluster: Cluster, run_id: str) -> None:
    """The next run fails and names it; forgetting it on that machine alone is the way out."""
    path = cluster.data("gamma") / "state" / "consumed" / COUNTS / run_id
    path.write_bytes(path.read_bytes()[:-1])
    (failed,) = run_again(cluster, COUNTS)
    shown = cluster.pymr("state", COUNTS)
    forgot = cluster.pymr("state", COUNTS, "--forget", "*", "--peer", "gamma")
    cluster.client.retry(COUNTS)
    cluster.wait_for(lambda: ended_runs(cluster, COUNTS)[-1].run_id != failed.run_id, what="the run after")
    after = ended_runs(cluster, COUNTS)[-1]

    assert failed.status == "failed" and failed.exception is not None
    assert str(path) in failed.exception and "--forget '*' --peer gamma" in failed.exception
    assert (shown.status, "input/batch_a/river.csv" in shown.out, str(path) in shown.err) == (1, True, True)
    assert forgot.status == 0, forgot.err
    assert (after.status, after.files, after.records) == ("succeeded", 2, 9)


@pytest.mark.parametrize(
    "point",
    [
        "plan.before_state",
        "plan.after_state",
        "publish.before_swap",
        "leader.before_end",
        "leader.after_end",
    ],
)
def test_a_kill_at_any_step_counts_every_file_once(make_cluster: MakeCluster, point: str) -> None:
    """The second run is the one that is killed, in every daemon that comes there."""
    cluster = make_cluster(
        hosts=["127.0.0.1", "127.0.0.2"], settings=SETTINGS, env={"PYMR_FAULTS": f"{point}:kill@2"}
    )
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    for name in cluster.names:
        cluster.feed(name, "first.txt", f"{name}-first all")
    cluster.start()
    cluster.submit(run_once=False, hold_state=True, delete_job_data=False)
    cluster.succeed()
    for name in cluster.names:
        cluster.feed(name, "second.txt", f"{name}-second all")
    cluster.env.clear()
    with suppress(UnreachableError):  # whoever is asked may be killed before it has answered
        cluster.client.force("job")
    cluster.wait_for(lambda: dead(cluster), what=f"a kill at {point}")
    if point.startswith("plan."):  # what was listed by then is written anew, with another time
        for name in dead(cluster):
            cluster.feed(name, "second.txt", f"{name}-second all")

    def has_ended() -> bool:
        cluster.restart_dead()
        return len(ended_runs(cluster, "job")) == 2

    cluster.wait_for(has_ended, what="the end of the second run")
    cluster.restart_dead()
    cluster.wait_for(lambda: cluster.is_up(cluster.names), what="the peers to agree on a leader")
    (third,) = run_again(cluster, "job")
    runs = ended_runs(cluster, "job")

    assert [(run.status, run.files, run.records) for run in runs[:2]] == [("succeeded", 2, 2)] * 2
    assert (third.status, third.files) == ("skipped", 0)
    counts: Counter[str] = Counter()
    for word, number in cluster.output():
        counts[word] += number
    each = {f"{name}-{file}": 1 for name in cluster.names for file in ("first", "second")}
    assert counts == each | {"all": 4}
    assert len(cluster.client.state("job").files) == 4


def test_a_job_that_finds_nothing_at_first_leaves_an_empty_output_to_the_next_one(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(settings=SETTINGS)
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    cluster.input_of("alpha").mkdir(parents=True, exist_ok=True)
    cluster.start()
    cluster.client.pause()
    cluster.submit(run_once=False, hold_state=True, delete_job_data=False, group_name="g")
    cluster.submit(job_name="next", run_once=False, input_dirs=["jobs/job/reduce"], group_name="g")
    cluster.client.resume()
    assert [cluster.succeed(name).status for name in ("job", "next")] == ["succeeded"] * 2
    (again,) = run_again(cluster, "job")
    cluster.feed("alpha", "first.txt", "one")
    (third,) = run_again(cluster, "job")

    assert (again.status, third.status, cluster.output()) == ("skipped", "succeeded", [["one", 1]])


def dead(cluster: Cluster) -> list[str]:
    return [name for name, process in cluster.processes.items() if process.poll() is not None]


def test_what_a_run_that_did_not_count_has_shown_goes_with_the_next(make_cluster: MakeCluster) -> None:
    """A file is in the way of an output: until the run fails, and when Redis forgets the publication."""
    grace = {"scheduler": {"cycle_seconds": 3_600.0, "machine_grace_seconds": 3.0}}
    cluster = make_cluster(hosts=["127.0.0.1", "127.0.0.2"], settings=grace)
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    gate = cluster.folder / "gate"
    cluster.env["PYMR_FAULTS"] = f"reduce.begin:hold={gate}"
    cluster.start()
    for name in cluster.names:
        cluster.feed(name, "1.txt", f"{name} all")
    cluster.submit(run_once=False, hold_state=True, delete_job_data=False, partitions=6)
    cluster.succeed()
    outputs = {name: cluster.data(name) / "jobs" / "job" / "reduce" for name in cluster.names}
    thesis = outputs["beta"] / "thesis.txt"

    def counts() -> Counter[str]:
        found: Counter[str] = Counter()
        for word, number in cluster.output():
            found[word] += number
        return found

    def runs_shown(name: str) -> list[str]:
        runs: list[str] = json.loads((outputs[name] / "_manifest.json").read_bytes())["runs"]
        return runs

    def get_in_the_way(number: int) -> str:
        """Of the run over further files of that number; its id."""
        for name in cluster.names:
            cluster.feed(name, f"{number}.txt", f"{name} all")
        gate.touch()
        before = runs_shown("alpha")
        cluster.client.force("job")
        cluster.wait_for(lambda: cluster.phase() in ("shuffle", "sort", "reduce"), what="a reduce task")
        thesis.write_text("years of work")
        gate.unlink()
        cluster.wait_for(lambda: thesis.name in cluster.waiting_for(), what="the file to be in the way")
        cluster.wait_for(lambda: runs_shown("alpha") != before, what="the output of alpha")
        return runs_shown("alpha")[-1]

    failed_id = get_in_the_way(2)
    cluster.wait_for(lambda: ended_runs(cluster, "job")[-1].run_id == failed_id, what="the end of the run")
    failed = ended_runs(cluster, "job")[-1]
    assert failed.status == "failed" and failed.exception is not None
    assert thesis.name in failed.exception and "machine_grace_seconds" in failed.exception
    assert counts() == {"alpha": 1, "beta": 1, "all": 2}  # although alpha shows parts of the run that failed

    cluster.client.pause()
    cluster.client.retry("job")
    assert counts() == {"alpha": 1, "beta": 1, "all": 2}  # nor when it is not the job's last word any more

    thesis.unlink()
    cluster.client.resume()
    cluster.succeed()
    assert counts() == {"alpha": 2, "beta": 2, "all": 4}
    assert failed_id not in runs_shown("alpha")

    forgotten = get_in_the_way(3)
    cluster.kill_redis()
    cluster.restart_redis(empty=True)
    cluster.wait_for(cluster.problem, what="a peer to say that Redis has forgotten")
    thesis.unlink()
    recovered = cluster.pymr("cluster", "recover", "--yes")
    assert recovered.status == 0, recovered.err
    assert "the history of the runs is lost" in recovered.out
    cluster.wait_for(lambda: ended_runs(cluster, "job"), what="the run after the recovery")
    (last,) = ended_runs(cluster, "job")
    assert (last.status, last.files) == ("succeeded", 2)
    assert counts() == {"alpha": 3, "beta": 3, "all": 6}
    assert forgotten not in runs_shown("alpha") and len(runs_shown("alpha")) == 3
