"""What consoles are told of consumed files and bad records: of every host, by one of its peers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console import Finished
from fake_peer import fake_cluster

from pymr.client import Client, ClientError, RefusedError, UnreachableError
from pymr.wire.requests import (
    BadRecordsView,
    Done,
    ForgetState,
    GetBadRecords,
    GetHistory,
    GetJob,
    GetState,
    HistoryView,
    JobView,
    Refused,
    StateView,
)
from pymr.wire.rows import JobRow, RunRow, StateRow

HOSTS = ("127.0.0.1", "127.0.0.1", "localhost")
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pymr(pymr: Callable[..., Finished]) -> Command:
    """Runs a command in the folder of the test: its exit status, what it said on stdout and on stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        finished = pymr(*arguments)
        return finished.status, finished.out, finished.err

    return run


def rows(*names: str, peer: str = "p0") -> tuple[StateRow, ...]:
    return tuple(StateRow(f"input/{name}", peer, 1_000, 1_700_000_000 * 10**9) for name in names)


def pages(
    all_rows: tuple[StateRow, ...], run_id: str = "j-000002", size: int = 2
) -> Callable[[Any], StateView]:
    def answer(request: GetState) -> StateView:
        page = all_rows[request.start : request.start + size]
        return StateView(id=request.id, run_id=run_id, rows=page, total=len(all_rows))

    return answer


def refuse(code: str) -> Callable[[Any], Refused]:
    return lambda request: Refused(id=request.id, code=code, reason=f"it is {code}")


def bad(*offsets: int) -> list[str]:
    return [
        json.dumps(
            {
                "file": "/in/a",
                "offset": one,
                "line": f"é{one}\x1b",
                "error": "ValueError: no",
                "traceback": "T",
            }
        )
        for one in offsets
    ]


def lines(*found: str, size: int = 2) -> Callable[[Any], BadRecordsView]:
    """Pages of lines, each of which is a byte long."""

    def answer(request: GetBadRecords) -> BadRecordsView:
        end = request.start + size
        page = tuple(found[request.start : end])
        return BadRecordsView(id=request.id, lines=page, next=end if end < len(found) else None)

    return answer


def history(*runs: RunRow) -> Callable[[Any], HistoryView]:
    return lambda request: HistoryView(id=request.id, rows=runs)


def run_row(**values: Any) -> RunRow:
    standing: dict[str, Any] = {"run_id": "j-000002", "job_name": "j", "job_version": 1, "start_time": 1.0}
    return RunRow(**{"status": "succeeded"} | standing | values)


NONE = pages((), "")


def test_consumed_files_are_those_of_all_hosts_page_by_page(tmp_path: Path) -> None:
    mine, theirs = rows("1", "2", "3", "4", "5"), rows("6", peer="p2")
    answers = [{GetState: refuse("unavailable")}, {GetState: pages(mine)}, {GetState: pages(theirs)}]
    with fake_cluster(tmp_path, *answers, hosts=HOSTS) as cluster, Client(cluster.config) as client:
        consumed = client.state("j")

    assert consumed.files == (*mine, *theirs)
    assert (consumed.run_id, consumed.silent) == ("j-000002", {})


def test_files_that_change_while_they_are_read_are_read_anew(tmp_path: Path) -> None:
    answers = [pages(rows("1", "2", "3")), pages(rows("1", "2", "3", "4"), "j-000003")]
    asked: list[int] = []

    def answer(request: GetState) -> StateView:
        asked.append(request.start)
        return answers[len(asked) > 1](request)

    with fake_cluster(tmp_path, {GetState: answer}) as cluster, Client(cluster.config) as client:
        consumed = client.state("j")

    assert (consumed.run_id, len(consumed.files)) == ("j-000003", 4)
    assert asked == [0, 2, 0, 2]


def test_hosts_that_do_not_tell_are_named_and_the_command_fails(tmp_path: Path, pymr: Command) -> None:
    damaged = [{GetState: pages(rows("1"))}, {}, {GetState: refuse("invalid")}]
    with fake_cluster(tmp_path, *damaged, hosts=HOSTS):
        status, out, err = pymr("state", "j")

    assert (status, "input/1" in out, "localhost: it is invalid" in err) == (1, True, True)


def test_a_cluster_of_which_nobody_tells_is_an_error(tmp_path: Path) -> None:
    with (
        fake_cluster(tmp_path, {GetState: lambda _: None}) as cluster,
        Client(cluster.config, timeout_s=0.3) as client,
        pytest.raises(UnreachableError),
    ):
        client.state("j")


def test_the_state_is_shown_as_a_table_and_as_json(tmp_path: Path, pymr: Command) -> None:
    with fake_cluster(tmp_path, {GetState: pages(rows("1", "2", "3"))}):
        _, table, _ = pymr("state", "j")
        _, text, _ = pymr("state", "j", "--json")

    assert table.splitlines()[-1] == "3 files (3.0 kB) up to j-000002"
    assert table.count("p0") == 3
    shown = json.loads(text)
    assert (shown["run_id"], shown["total"]) == ("j-000002", 3)
    assert shown["files"][0] == {
        "path": "input/1",
        "peer": "p0",
        "size": 1_000,
        "mtime_ns": 1_700_000_000 * 10**9,
    }


def test_a_job_without_state_says_so(tmp_path: Path, pymr: Command) -> None:
    fields = {"job_name": "j", "job_type": "mapreduce"}
    row = JobRow(fields=fields, status="queued", version=1, submitted_at=0)
    answers = {
        GetJob: lambda request: JobView(id=request.id, row=row),
        GetState: NONE,
        ForgetState: refuse("unknown"),
    }
    with fake_cluster(tmp_path, answers):
        shown, forgot = pymr("state", "j"), pymr("state", "j", "--forget", "*")

    assert (shown[0], "has consumed nothing" in shown[1]) == (0, True)
    assert (forgot[0], "it is unknown" in forgot[2]) == (1, True)


def test_files_are_forgotten_on_every_host_or_on_that_of_one_peer(tmp_path: Path, pymr: Command) -> None:
    def forgot(count: str) -> Callable[[Any], Done]:
        return lambda request: Done(id=request.id, detail=count)

    answers = [{ForgetState: forgot("2")}, {}, {ForgetState: forgot("3")}]
    with fake_cluster(tmp_path, *answers, hosts=HOSTS) as cluster:
        everywhere, here = (
            pymr("state", "j", "--forget", "*.log"),
            pymr("state", "j", "--forget", "*", "--peer", "p2"),
        )
        text = pymr("state", "j", "--forget", "*", "--json")[1]
        asked = [request.pattern for peer in cluster.peers for request in peer.asked_for(ForgetState)]
        with Client(cluster.config) as client, pytest.raises(ClientError, match="there is no peer p9"):
            client.forget_state("j", "*", "p9")

    assert "forgot 5 files" in everywhere[1] and "forgot 3 files" in here[1]
    assert json.loads(text) == {"job_name": "j", "forgotten": {"127.0.0.1": 2, "localhost": 3}, "total": 5}
    assert asked == ["*.log", "*", "*.log", "*", "*"]


def test_a_host_that_has_not_forgotten_is_named(tmp_path: Path, pymr: Command) -> None:
    done = {ForgetState: lambda request: Done(id=request.id, detail="0")}
    with fake_cluster(tmp_path, done, {}, {ForgetState: refuse("invalid")}, hosts=HOSTS):
        status, out, err = pymr("state", "j", "--forget", "x")
    with fake_cluster(tmp_path, done):
        nothing = pymr("state", "j", "--forget", "x")
        wrong = pymr("state", "j", "--peer", "p0")

    assert (status, "forgot 0 files" in out, "localhost: it is invalid" in err) == (1, True, True)
    assert (nothing[0], "no file matches 'x'" in nothing[1]) == (0, True)
    assert (wrong[0], "--forget" in wrong[2]) == (2, True)


def test_a_viewer_is_told_that_it_may_not(tmp_path: Path) -> None:
    with (
        fake_cluster(tmp_path, {ForgetState: refuse("denied")}, {ForgetState: refuse("denied")}) as cluster,
        Client(cluster.config) as client,
        pytest.raises(RefusedError, match="denied"),
    ):
        client.forget_state("j", "*")


def test_bad_records_are_printed_with_their_place(tmp_path: Path, pymr: Command) -> None:
    answers = [
        {GetBadRecords: lines(*bad(1, 2, 3, 3), '{"left_out": 7}')},
        {},
        {GetBadRecords: lines(*bad(3))},
    ]
    with fake_cluster(tmp_path, *answers, hosts=HOSTS):
        status, out, err = pymr("bad-records", "j-000002")
        traced = pymr("bad-records", "j-000002", "--traceback")[1]
        shown = json.loads(pymr("bad-records", "j-000002", "--json")[1])

    assert status == 0 and "7 more" in err and "\x1b" not in out
    assert [line for line in out.splitlines() if line.startswith("/in")] == [
        "/in/a:1 on 127.0.0.1", "/in/a:2 on 127.0.0.1", "/in/a:3 on 127.0.0.1", "/in/a:3 on localhost",
    ]  # fmt: skip
    assert "ValueError: no" in out and "é1" in out
    assert traced.count("T\n") == 4 and out.count("T\n") == 0
    assert [(entry["host"], entry["offset"]) for entry in shown] == [
        ("127.0.0.1", 1), ("127.0.0.1", 2), ("127.0.0.1", 3), ("localhost", 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("runs", "status", "text"),
    [
        ([run_row()], 0, "j-000002 (succeeded) had no bad records"),
        ([run_row(bad_records=3)], 1, "3 bad records, which are not kept any more"),
        ([run_row(status="failed", exception="it raised\nhere")], 0, "that were passed over: it raised\n"),
        ([], 1, "there is no run j-000002 in the history"),
    ],
)
def test_it_is_told_why_there_are_no_bad_records(
    tmp_path: Path, pymr: Command, runs: list[RunRow], status: int, text: str
) -> None:
    with fake_cluster(tmp_path, {GetBadRecords: lines(), GetHistory: history(*runs)}):
        ended, out, err = pymr("bad-records", "j-000002")

    assert (ended, text in out + err) == (status, True)


def test_bad_records_of_hosts_that_do_not_tell_are_not_taken_for_none(tmp_path: Path, pymr: Command) -> None:
    with fake_cluster(
        tmp_path, {GetBadRecords: lines(*bad(1))}, {}, {GetBadRecords: refuse("x")}, hosts=HOSTS
    ):
        status, out, err = pymr("bad-records", "j-000002")

    assert (status, "/in/a:1" in out, "localhost: it is x" in err) == (1, True, True)
