"""What a run of a cluster reads: folders of every peer, those that all see, and those that are missing."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cluster.clusters import Cluster, ordered
from cluster.held_runs import HeldRun
from cluster.running import MAP_WORDS, REDUCE_TOTAL

Lend = MakeCluster = Callable[..., Cluster]
HOSTS = ["127.0.0.1", "127.0.0.1", "127.0.0.2"]


def started(make_cluster: MakeCluster, **arguments: object) -> Cluster:
    return counting(make_cluster(**arguments)).start()


def counting(cluster: Cluster) -> Cluster:
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    return cluster


def folder_of_words(folder: Path) -> Path:
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text("to be or not to be\n" * 50)
    return folder


def test_an_absolute_folder_that_all_peers_of_a_host_see_counts_once(
    lend_cluster: Lend, tmp_path: Path
) -> None:
    shared = folder_of_words(tmp_path / "shared")
    cluster = counting(lend_cluster())
    cluster.submit(input_dirs=[str(shared)])
    cluster.succeed()

    assert ordered(cluster.output()) == [["be", 300], ["not", 150], ["or", 150], ["to", 300]]


def test_a_folder_that_all_machines_share_counts_once_beside_those_of_each(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    shared = folder_of_words(tmp_path / "shared")
    settings = {"storage": {"shared": [str(shared)]}, "engine": {"split_bytes": 300}}
    cluster = started(make_cluster, hosts=HOSTS, settings=settings)
    for name in cluster.names:
        cluster.feed(name, "own.txt", f"of {name}", "or not")
    cluster.submit(input_dirs=["input", str(shared)])
    cluster.succeed()
    inputs = [*(cluster.input_of(name) for name in cluster.names), shared]

    assert ordered(cluster.output()) == ordered(cluster.reference(*inputs))
    assert dict(cluster.output())["or"] == 153


def test_a_folder_that_two_machines_have_each_for_itself_counts_twice(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    same_path = folder_of_words(tmp_path / "same-path")
    cluster = started(make_cluster, hosts=HOSTS)
    cluster.submit(input_dirs=[str(same_path)])
    cluster.succeed()

    assert dict(cluster.output())["be"] == 600


def test_a_folder_that_only_some_peers_have_is_empty_on_the_others(lend_cluster: Lend) -> None:
    cluster = counting(lend_cluster(HeldRun.HOSTS))
    cluster.input_of("gamma").rmdir()
    cluster.feed("alpha", "a.txt", "one two")
    cluster.submit()
    cluster.succeed()
    run = cluster.client.history(cluster.job)[0]

    assert ordered(cluster.output()) == [["one", 1], ["two", 1]]
    assert run.warnings == ("input is not there, and so taken as empty, on gamma",)


def test_a_folder_that_no_peer_has_is_named_with_them(lend_cluster: Lend) -> None:
    cluster = counting(lend_cluster(HeldRun.HOSTS))
    missing = [cluster.input_of(name) for name in cluster.names]
    for folder in missing:
        folder.rmdir()
    cluster.submit()
    outcome = cluster.finish()

    assert outcome.status == "failed"
    assert [str(folder) for folder in missing if str(folder) not in outcome.exception] == []


def test_an_empty_job_succeeds_with_an_empty_output_and_warns_of_it(lend_cluster: Lend) -> None:
    cluster = counting(lend_cluster(HeldRun.HOSTS))
    cluster.submit()
    cluster.succeed()
    run = cluster.client.history(cluster.job)[0]

    assert cluster.output() == []
    assert (run.status, run.records, run.items) == ("succeeded", 0, 0)
    assert run.warnings == ("the input has no records: the output is empty",)
    waited = cluster.pymr("wait", cluster.job)
    assert "succeeded" in waited.out
    assert waited.err == "pymr: warning: the input has no records: the output is empty\n"


def test_an_empty_input_fails_where_it_is_not_allowed_and_the_output_stays(lend_cluster: Lend) -> None:
    cluster = counting(lend_cluster(HeldRun.HOSTS))
    cluster.feed("alpha", "a.txt", "one two")
    cluster.submit(allow_empty=False)
    cluster.succeed()
    for file in cluster.input_of("alpha").iterdir():
        file.write_bytes(b"")
    cluster.submit(allow_empty=False)
    outcome = cluster.finish()

    assert outcome.status == "failed" and "allow_empty = false" in outcome.exception
    assert ordered(cluster.output()) == [["one", 1], ["two", 1]]


def test_what_is_left_out_of_the_input_is_told_in_every_console(lend_cluster: Lend) -> None:
    cluster = counting(lend_cluster(HeldRun.HOSTS))
    cluster.feed("alpha", "a.txt", "one")
    cluster.feed("alpha", "_SUCCESS", "not read")
    cluster.feed("beta", "empty.gz")
    (cluster.input_of("beta") / "empty.gz").write_bytes(b"")
    (cluster.input_of("gamma") / "broken").symlink_to("absent")
    cluster.submit()
    cluster.succeed()
    told = f"{cluster.input_of('gamma')}/broken is a link that leads nowhere"
    (run,) = (
        row for row in json.loads(cluster.pymr("history", "--json").out) if row["job_name"] == cluster.job
    )
    shown = json.loads(cluster.pymr("show", cluster.job, "--json").out)
    lines = " ".join(cluster.pymr("show", cluster.job).out.split())
    events = [
        event.text
        for event in cluster.client.events()
        if (event.kind, event.job_name) == ("run.warned", cluster.job)
    ]

    assert cluster.output() == [["one", 1]]
    for warnings in (run["warnings"], shown["warnings"], shown["runs"][0]["warnings"], events):
        (warning,) = warnings
        assert told in warning
    assert "leads nowhere, and was left out" in lines
    assert "1 warning" in cluster.pymr("history").out


def test_a_new_output_replaces_or_joins_the_one_before(lend_cluster: Lend) -> None:
    cluster = counting(lend_cluster(HeldRun.HOSTS))
    cluster.feed("alpha", "a.txt", "one two two")
    cluster.submit()
    cluster.succeed()
    cluster.submit(delete_job_data=False)
    cluster.succeed()
    joined = cluster.output()
    cluster.feed("alpha", "a.txt", "three")
    cluster.submit()
    cluster.succeed()

    assert ordered(joined) == [["one", 1], ["one", 1], ["two", 2], ["two", 2]]
    assert cluster.output() == [["three", 1]]


def test_two_thousand_files_of_three_hosts(make_cluster: MakeCluster) -> None:
    cluster = started(make_cluster, hosts=["127.0.0.1", "127.0.0.2", "127.0.0.3"], keys=True)
    for name in cluster.names:
        for number in range(700):
            cluster.feed(name, f"{number % 9}/{number}.txt", f"{name} {number % 50} every")
    cluster.submit(partitions=7)
    cluster.succeed()

    assert dict(cluster.output())["every"] == 2_100
    assert ordered(cluster.output()) == ordered(cluster.reference(partitions=7))


CHANGING_MAP = """
import os

def words(line, auxiliary_data):
    if line == "long" and os.path.exists(FLAG):
        CHANGE
        if not FOREVER:
            os.unlink(FLAG)
    return [(word, 1) for word in line.split()]
"""


def changing(cluster: Cluster, path: Path, change: str, *, forever: bool = False) -> Cluster:
    """Let the map function do that to an input file, once or whenever it reads it. path: of that file."""
    flag = cluster.folder / f"flag-{cluster.job}"
    flag.write_text("")
    source = CHANGING_MAP.replace("FLAG", repr(str(flag))).replace("FOREVER", str(forever))
    cluster.project(source.replace("CHANGE", change.replace("PATH", repr(str(path)))), REDUCE_TOTAL)
    return cluster


@pytest.mark.parametrize(
    "change", ["os.truncate(PATH, 5)", "os.utime(PATH, (1, 1))", "os.replace(PATH, PATH + '.new')"]
)
def test_input_that_changes_while_it_is_read_is_planned_anew(lend_cluster: Lend, change: str) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    path = cluster.feed("beta", "a.txt", "long", *["word"] * 40_000)
    lines = ["long"] if "truncate" in change else ["long", *["word"] * 40_000]
    changing(cluster, path, change)
    cluster.feed("alpha", "b.txt", "one")
    cluster.submit(run_once=False)
    cluster.succeed()
    runs = cluster.client.history(cluster.job)
    expected = [["long", 1], ["one", 1], *([["word", 40_000]] if len(lines) > 1 else [])]

    assert ordered(cluster.output()) == expected
    if "replace" not in change:  # whoever has it open reads what was planned
        assert [run.status for run in runs] == ["succeeded", "outdated"]
        assert runs[1].exception is not None and str(path) in runs[1].exception


def test_input_that_changes_all_the_time_fails_the_job_after_max_attempts(lend_cluster: Lend) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    path = cluster.feed("beta", "a.txt", "long", "word")
    changing(cluster, path, "os.utime(PATH, ns=(1, os.stat(PATH).st_mtime_ns + 1))", forever=True)
    cluster.submit(max_attempts=3)
    outcome = cluster.finish()
    statuses = [run.status for run in cluster.client.history(cluster.job)]

    assert outcome.status == "failed"
    assert str(path) in outcome.exception and "3 runs one after another" in outcome.exception
    assert statuses == ["failed", "outdated", "outdated"]


def test_input_that_grows_is_read_up_to_the_last_line_that_was_complete(lend_cluster: Lend) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    path = cluster.feed("beta", "a.txt", "long", *["word"] * 40_000)
    path.write_bytes(path.read_bytes() + b"begun")
    changing(cluster, path, "open(PATH, 'a').write(' and ended\\nmore\\n')")
    cluster.submit()
    cluster.succeed()

    assert ordered(cluster.output()) == [["long", 1], ["word", 40_000]]
    assert [run.status for run in cluster.client.history(cluster.job)] == ["succeeded"]


GROWING_MAP = """
import os

def words(line, auxiliary_data):
    if line.startswith("grows ") and os.path.exists(FLAG):
        _, path, after = line.split()
        if after == path or os.path.getsize(after) > 1_000_000:
            with open(path, "a") as file:
                file.write("more\\n" * 200_000)
    return [(word, 1) for word in line.split()[:1]]
"""


def test_a_job_that_holds_state_leaves_out_what_grows_and_reads_it_once_at_rest(lend_cluster: Lend) -> None:
    """The second file grows when the first was left out, which would grow again if it were read again."""
    cluster = lend_cluster(HeldRun.HOSTS)
    a, c = (cluster.input_of("beta") / name for name in ("a.txt", "c.txt"))
    cluster.feed("beta", "a.txt", f"grows {a} {a}")
    cluster.feed("beta", "b.txt", "one")
    cluster.feed("beta", "c.txt", f"grows {c} {a}")
    flag = cluster.folder / f"flag-{cluster.job}"
    flag.write_text("")
    cluster.project(GROWING_MAP.replace("FLAG", repr(str(flag))), REDUCE_TOTAL)
    fields = {"hold_state": True, "delete_job_data": False, "run_once": False, "max_attempts": 1}
    cluster.submit(**fields)
    cluster.succeed()
    first, runs = cluster.output(), cluster.client.history(cluster.job)
    flag.unlink()
    cluster.submit(**fields)
    cluster.succeed()
    counts: dict[str, int] = {}
    for word, number in cluster.output():
        counts[word] = counts.get(word, 0) + number

    assert first == [["one", 1]]
    assert {run.status for run in runs[1:]} == {"outdated"} and len(runs) <= 3
    assert {warning.split()[0] for warning in runs[0].warnings} == {str(a), str(c)}
    assert all("grew" in warning and "left out" in warning for warning in runs[0].warnings)
    assert counts == {"grows": 2, "more": 400_000, "one": 1}


def test_a_compressed_log_that_is_unpacked_later_is_not_read_again(lend_cluster: Lend) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    counting(cluster)
    path = cluster.input_of("beta") / "a.log.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(b"one two\n"))
    fields = {"hold_state": True, "delete_job_data": False, "run_once": False}
    cluster.submit(**fields)
    cluster.succeed()
    path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
    shutil.copystat(path, path.with_suffix(""))
    path.unlink()
    cluster.feed("alpha", "b.log", "three")
    cluster.submit(**fields)
    cluster.succeed()

    assert ordered(cluster.output()) == [["one", 1], ["three", 1], ["two", 1]]
