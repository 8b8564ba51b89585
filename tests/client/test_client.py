"""The client: what it asks, of whom, and what it makes of the answers. Peers are real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_peer import FakePeer, fake_cluster
from valid_jobs import MAPREDUCE, SCRIPT
from written_projects import PLAIN, REDUCE, write_project

from pymr.base.errors import JobError
from pymr.client import Client, ClientError, RefusedError, UnreachableError
from pymr.wire.output_shares import OutputShare
from pymr.wire.requests import (
    PACKAGE_CHUNK_BYTES,
    TYPED_BYTES_MAX,
    ClusterView,
    Done,
    GetCluster,
    GetHistory,
    GetJob,
    GetJobs,
    GetOutput,
    GetWorkers,
    HistoryView,
    JobsView,
    JobView,
    OutputView,
    PauseQueue,
    PutPackage,
    Refused,
    SubmitJob,
    Submitted,
    TypeIntoWorker,
    WorkersView,
)
from pymr.wire.rows import JobRow, OutputPart, RunRow, WorkerRow


def row(name: str = "j", **values: Any) -> JobRow:
    standing: dict[str, Any] = {"status": "queued", "version": 3, "submitted_at": 1.0}
    return JobRow(**{"fields": {"job_name": name}} | standing | values)


def run(run_id: str = "r1", version: int = 3, **values: Any) -> RunRow:
    standing: dict[str, Any] = {
        "job_name": "j",
        "job_version": version,
        "status": "succeeded",
        "start_time": 1.0,
    }
    return RunRow(**{"run_id": run_id} | standing | values)


def cluster_view(request: Any) -> ClusterView:
    return ClusterView(
        id=request.id, name="test", peer="p0", incarnation="i", leader="p0", epoch=4, paused=False,
        peers_alive=1, peers=1, workers=2, workers_busy=0, jobs=0, version="0.1", role="operator",
    )  # fmt: skip


def done(request: Any) -> Done:
    return Done(id=request.id)


def unavailable(request: Any) -> Refused:
    return Refused(id=request.id, code="unavailable", reason="no Redis")


def views(*answers: tuple[JobRow | None, tuple[RunRow, ...]]) -> Callable[[Any], JobView]:
    """One view after the other; the last one again and again."""
    left = list(answers)

    def answer(request: Any) -> JobView:
        row, runs = left.pop(0) if len(left) > 1 else left[0]
        return JobView(id=request.id, row=row, runs=runs)

    return answer


def no_history(request: Any) -> HistoryView:
    return HistoryView(id=request.id, rows=())


# ---- asking


def test_a_peer_that_is_gone_is_passed_over(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, {}, {GetCluster: cluster_view}) as cluster:
        cluster.peers[0].__exit__()
        with Client(cluster.config) as client:
            assert client.cluster().epoch == 4


def test_a_cluster_that_does_not_answer_is_an_error_that_names_its_peers(tmp_path: Path) -> None:
    with (
        fake_cluster(tmp_path, {GetCluster: lambda _: None}) as cluster,
        Client(cluster.config, timeout_s=0.3) as client,
        pytest.raises(UnreachableError, match="p0"),
    ):
        client.cluster()


def test_a_change_that_nobody_answered_may_be_done_all_the_same(tmp_path: Path) -> None:
    silent = {PauseQueue: lambda _: None, GetCluster: lambda _: None}
    with fake_cluster(tmp_path, silent) as cluster, Client(cluster.config, timeout_s=0.3) as client:
        with pytest.raises(UnreachableError, match=r"may have been carried out.*look with `pymr jobs`"):
            client.pause()
        with pytest.raises(UnreachableError) as asked:
            client.cluster()
        cluster.peers[0].__exit__()
        with pytest.raises(UnreachableError) as gone:
            client.pause()

    assert "carried out" not in f"{asked.value} {gone.value}"


def test_a_refusal_is_an_error_with_its_code(tmp_path: Path) -> None:
    def deny(request: Any) -> Refused:
        return Refused(id=request.id, code="denied", reason="only operators may")

    with (
        fake_cluster(tmp_path, {PauseQueue: deny}) as cluster,
        Client(cluster.config) as client,
        pytest.raises(RefusedError, match="only operators may") as refused,
    ):
        client.pause()

    assert refused.value.code == "denied"


def test_a_peer_that_is_cut_off_is_passed_over_and_asked_last_the_next_time(tmp_path: Path) -> None:
    cut_off = {PauseQueue: unavailable}
    with (
        fake_cluster(tmp_path, cut_off, {PauseQueue: done}) as cluster,
        Client(cluster.config) as client,
    ):
        client.pause()
        client.resume()

        first, second = (peer.asked_for(PauseQueue) for peer in cluster.peers)
        assert [request.paused for request in first] == [True]
        assert [request.paused for request in second] == [True, False]
        assert first[0].id == second[0].id  # the same wish, should the first peer have had it granted


def test_a_cluster_whose_peers_are_all_cut_off_says_so(tmp_path: Path) -> None:
    cut_off = {PauseQueue: unavailable}
    with (
        fake_cluster(tmp_path, cut_off, cut_off) as cluster,
        Client(cluster.config) as client,
        pytest.raises(RefusedError, match="no Redis") as caught,
    ):
        client.pause()

    assert caught.value.code == "unavailable"
    assert [len(peer.asked) for peer in cluster.peers] == [1, 1]


def test_all_pages_of_jobs_are_one_list(tmp_path: Path) -> None:
    names = [f"j{number:03}" for number in range(25)]

    def page(request: GetJobs) -> JobsView:
        chosen = names[request.start : request.start + 10]
        rows = tuple(row(name) for name in chosen)
        return JobsView(id=request.id, rows=rows, total=25, paused=True, cycle=3, next_cycle_at=9.0)

    with fake_cluster(tmp_path, {GetJobs: page}) as cluster, Client(cluster.config) as client:
        view = client.jobs()

    assert [one.fields["job_name"] for one in view.rows] == names
    assert (view.total, view.paused, view.cycle, view.next_cycle_at) == (25, True, 3, 9.0)


def test_all_pages_of_the_history_are_one_list_without_what_has_moved_on(tmp_path: Path) -> None:
    runs = [run(f"r{number}") for number in range(9, 0, -1)]

    def page(request: GetHistory) -> HistoryView:
        start = request.start - (request.start > 0)  # a run has ended since the first page
        end = start + min(request.limit, 4)
        next_one = None if end >= len(runs) else request.start + end - start
        return HistoryView(id=request.id, rows=tuple(runs[start:end]), next=next_one)

    with fake_cluster(tmp_path, {GetHistory: page}) as cluster, Client(cluster.config) as client:
        found = [client.history(limit=limit) for limit in (100, 6, 3)]
        asked = [request.limit for request in cluster.peers[0].asked]

    assert [[row.run_id for row in rows] for rows in found] == [
        [row.run_id for row in runs[:count]] for count in (9, 6, 3)
    ]
    assert asked == [100, 96, 93, 6, 2, 1, 3]


def test_a_worker_that_does_not_exist_is_an_error_that_lists_those_that_do(tmp_path: Path) -> None:
    def workers(request: GetWorkers) -> WorkersView:
        one = WorkerRow(name="p0/0", peer="p0", pid=1, state="idle")
        return WorkersView(id=request.id, rows=(one,))

    with fake_cluster(tmp_path, {GetWorkers: workers}) as cluster, Client(cluster.config) as client:
        assert client.worker("p0/0").pid == 1
        with pytest.raises(ClientError, match="p0/0"):
            client.worker("p0/7")


def test_what_is_typed_goes_to_the_peer_of_the_worker_in_pieces(tmp_path: Path) -> None:
    typed = bytes(TYPED_BYTES_MAX) + b"rest"

    with fake_cluster(tmp_path, {}, {TypeIntoWorker: done}) as cluster, Client(cluster.config) as client:
        client.type_into("p1/0", "me", typed)
        requests = cluster.peers[1].asked_for(TypeIntoWorker)

    assert b"".join(request.data for request in requests) == typed
    assert len(requests) == 2
    assert cluster.peers[0].asked == []


# ---- submitting


def submitted(request: SubmitJob) -> Submitted:
    return Submitted(id=request.id, job_name=request.fields["job_name"], version=1, replaced=False)


def test_a_project_is_sent_in_pieces_before_its_job(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "projects", "wordcount", map_functions=PLAIN, reduce_functions=REDUCE)
    import random

    (folder / "table.bin").write_bytes(random.Random(1).randbytes(PACKAGE_CHUNK_BYTES + 1))
    job = MAPREDUCE | {"map_function_name": "words"}

    with (
        fake_cluster(tmp_path, {PutPackage: done, SubmitJob: submitted}) as cluster,
        Client(cluster.config) as client,
    ):
        answer = client.submit(job, tmp_path / "projects")
        *pieces, submission = cluster.peers[0].asked

    assert answer.job_name == "count-words"
    assert [(piece.index, piece.count) for piece in pieces] == [(0, 2), (1, 2)]
    assert len(pieces[0].data) == PACKAGE_CHUNK_BYTES
    assert submission.project_hash == pieces[0].content_hash
    assert submission.fields["map_function_name"] == "words"
    assert None not in submission.fields.values()


def test_a_project_that_is_known_is_not_sent_again(tmp_path: Path) -> None:
    folder = write_project(tmp_path / "projects", "wordcount", map_functions=PLAIN, reduce_functions=REDUCE)
    (folder / "table.bin").write_bytes(bytes(range(256)) * 8000)

    def known(request: PutPackage) -> Done:
        return Done(id=request.id, detail="known")

    with (
        fake_cluster(tmp_path, {PutPackage: known, SubmitJob: submitted}) as cluster,
        Client(cluster.config) as client,
    ):
        client.submit(MAPREDUCE, tmp_path / "projects")
        asked = cluster.peers[0].asked

    assert [type(request) for request in asked] == [PutPackage, SubmitJob]


def test_a_job_without_a_project_is_sent_alone(tmp_path: Path) -> None:
    with fake_cluster(tmp_path, {SubmitJob: submitted}) as cluster, Client(cluster.config) as client:
        client.submit(SCRIPT | {"script_location": "/srv/clean.py"}, tmp_path / "projects")

        assert [request.project_hash for request in cluster.peers[0].asked] == [""]


def test_what_is_wrong_with_a_submission_is_told_without_asking(tmp_path: Path) -> None:
    write_project(tmp_path / "projects", "wordcount", reduce_functions=REDUCE)

    with fake_cluster(tmp_path, {}) as cluster, Client(cluster.config) as client:
        with pytest.raises(JobError, match="input_dirs"):
            client.submit({**MAPREDUCE, "input_dirs": []}, tmp_path / "projects")
        with pytest.raises(JobError, match=r"map_function_name = 'words': there is no .*map_functions\.py"):
            client.submit({**MAPREDUCE, "map_function_name": "words"}, tmp_path / "projects")
        with pytest.raises(JobError, match="project_name = 'other': there is no project 'other'"):
            client.submit({**MAPREDUCE, "project_name": "other"}, tmp_path / "projects")

        assert cluster.peers[0].asked == []


def test_code_of_the_project_is_never_run_here(tmp_path: Path) -> None:
    trap = "def words(line, data): ...\ndef total(group, data): ...\nraise SystemExit('was run')"
    write_project(tmp_path / "projects", "wordcount", map_functions=trap, reduce_functions=trap)

    with (
        fake_cluster(tmp_path, {PutPackage: done, SubmitJob: submitted}) as cluster,
        Client(cluster.config) as client,
    ):
        assert client.submit(MAPREDUCE, tmp_path / "projects").version == 1


# ---- waiting


def wait_for(tmp_path: Path, answer: Callable[[Any], Any], timeout_s: float = 5.0) -> Any:
    with (
        fake_cluster(tmp_path, {GetJob: answer, GetHistory: no_history}) as cluster,
        Client(cluster.config) as client,
    ):
        return client.wait("j", timeout_s)


def test_a_wait_ends_with_the_first_run_after_the_submission(tmp_path: Path) -> None:
    outcome = wait_for(
        tmp_path,
        views(
            (row(), ()),
            (row(status="running", first_run_id="r1", first_run_status="running"), ()),
            (row(first_run_id="r1", first_run_status="succeeded"), (run("r1", end_time=3.5),)),
        ),
    )

    assert (outcome.status, outcome.run_id, outcome.seconds) == ("succeeded", "r1", 2.5)
    assert outcome.is_success


def test_a_wait_for_a_failing_job_says_why(tmp_path: Path) -> None:
    failed = row(status="failed", first_run_id="r1", first_run_status="failed", exception="KeyError: 1")
    outcome = wait_for(tmp_path, views((row(), ()), (failed, ())))

    assert (outcome.is_success, outcome.exception) == (False, "KeyError: 1")


def test_a_job_that_failed_with_its_group_is_not_waited_for(tmp_path: Path) -> None:
    outcome = wait_for(tmp_path, views((row(status="failed", exception="a failed"), ())))

    assert (outcome.status, outcome.exception) == ("failed", "a failed")


def test_a_job_that_has_left_the_queue_is_judged_by_its_history(tmp_path: Path) -> None:
    runs = (run("r9", 4), run("r2", 3), run("r1", 2, status="failed"))
    outcome = wait_for(tmp_path, views((row(), ()), (None, runs)))

    assert (outcome.status, outcome.run_id) == ("succeeded", "r2")


def test_a_job_that_has_left_before_the_wait_began_is_judged_by_its_last_submission(tmp_path: Path) -> None:
    runs = (run("r3", 3, status="failed", exception="x"), run("r2", 3), run("r1", 2, status="failed"))

    assert wait_for(tmp_path, views((None, runs))).run_id == "r2"


def test_a_wait_goes_on_to_a_later_submission(tmp_path: Path) -> None:
    outcome = wait_for(
        tmp_path,
        views(
            (row(), ()),
            (row(version=4), (run("r1", 3, status="replaced"),)),
            (row(version=4, first_run_id="r2", first_run_status="skipped"), ()),
        ),
    )

    assert (outcome.status, outcome.run_id) == ("skipped", "r2")


def test_a_job_that_is_deleted_during_a_wait_ends_it(tmp_path: Path) -> None:
    outcome = wait_for(tmp_path, views((row(), ()), (None, ())))

    assert (outcome.status, outcome.is_success) == ("deleted", False)


def test_a_job_that_never_was_cannot_be_waited_for(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="there is no job j"):
        wait_for(tmp_path, views((None, ())))


def test_a_wait_ends_when_its_time_is_over(tmp_path: Path) -> None:
    begun = time.monotonic()

    assert wait_for(tmp_path, views((row(), ())), timeout_s=0.4) is None
    assert time.monotonic() - begun >= 0.4


def test_a_wait_outlasts_a_cluster_out_of_reach(tmp_path: Path) -> None:
    answers = {GetJob: views((row(), ())), GetHistory: no_history}
    with fake_cluster(tmp_path, answers) as cluster:
        peer = cluster.config.peers[0]
        ended = views((row(first_run_id="r1", first_run_status="succeeded"), ()))
        outcomes: list[Any] = []

        def wait() -> None:
            with Client(cluster.config, timeout_s=0.3) as client:
                outcomes.append(client.wait("j", 60))

        waiting = threading.Thread(target=wait)
        waiting.start()
        cluster.peers[0].__exit__()
        with FakePeer(peer.name, peer.control_port, {GetJob: ended, GetHistory: no_history}):
            waiting.join(60)

    assert [outcome.status for outcome in outcomes] == ["succeeded"]


def troubled(problem: str) -> Callable[[Any], JobView]:
    return lambda request: JobView(id=request.id, row=row(), problem=problem)


def test_a_wait_whose_time_is_over_while_nothing_is_known_of_the_job_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=r"j: not known after 0\.4 s: Redis is down"):
        wait_for(tmp_path, troubled("Redis is down"), timeout_s=0.4)


def test_a_wait_goes_on_for_as_long_as_peers_answer_without_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymr.client.wait.OUT_OF_REACH_SECONDS", 0.0)
    ended = views((row(first_run_id="r1", first_run_status="succeeded"), ()))
    asked = []

    def answer(request: Any) -> Any:
        asked.append(request)
        if len(asked) < 3:
            return Refused(id=request.id, code="unavailable", reason="Redis is down")
        return troubled("Redis is down")(request) if len(asked) < 5 else ended(request)

    with (
        fake_cluster(tmp_path, {GetJob: answer, GetHistory: no_history}) as cluster,
        Client(cluster.config) as client,
    ):
        outcome = client.wait("j")

    assert outcome is not None and outcome.status == "succeeded"
    assert len(asked) >= 5


def test_a_wait_without_a_time_of_its_own_gives_a_cluster_up_of_which_no_peer_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymr.client.wait.OUT_OF_REACH_SECONDS", 0.0)
    with fake_cluster(tmp_path, {}) as cluster:
        cluster.peers[0].__exit__()
        with Client(cluster.config, timeout_s=0.2) as client, pytest.raises(UnreachableError):
            client.wait("j")


# ---- output


def part(peer: str, name: str, items: int = 1) -> OutputPart:
    return OutputPart(peer, name, items, 10)


def output(*answers: tuple[str, tuple[OutputPart, ...]]) -> Callable[[Any], OutputView]:
    left = list(answers)

    def answer(request: Any) -> OutputView:
        run_id, parts = left.pop(0) if len(left) > 1 else left[0]
        return OutputView(id=request.id, run_id=run_id, parts=parts)

    return answer


TWO_HOSTS = ("127.0.0.1", "localhost")


def test_an_output_is_that_of_all_hosts_in_the_order_of_its_parts(tmp_path: Path) -> None:
    first = output(("r1", (part("p0", "part-00002-0000.jsonl"), part("p0", "part-00000-0000.jsonl"))))
    second = output(("r1", (part("p1", "part-00001-0000.jsonl"), part("p1", "_bad_records.jsonl"))))

    with (
        fake_cluster(tmp_path, {GetOutput: first}, {GetOutput: second}, hosts=TWO_HOSTS) as cluster,
        Client(cluster.config) as client,
    ):
        listing = client.output("j")

    assert [(one.name, one.peer) for one in listing.parts] == [
        ("part-00000-0000.jsonl", "p0"),
        ("part-00001-0000.jsonl", "p1"),
        ("part-00002-0000.jsonl", "p0"),
    ]
    assert [one.name for one in listing.others] == ["_bad_records.jsonl"]


def test_one_peer_is_asked_for_the_output_of_its_host(tmp_path: Path) -> None:
    shown = {GetOutput: output(("r1", (part("p1", "part-00000-0000.jsonl"),)))}

    with fake_cluster(tmp_path, shown, shown) as cluster:
        cluster.peers[0].__exit__()
        with Client(cluster.config, timeout_s=2.0) as client:
            listing = client.output("j")

    assert len(listing.parts) == 1


def test_hosts_that_show_different_runs_are_asked_until_they_agree(tmp_path: Path) -> None:
    late = output(("r1", ()), ("r1", ()), ("r2", (part("p1", "part-00001-0000.jsonl"),)))
    early = output(("r2", (part("p0", "part-00000-0000.jsonl"),)))

    with (
        fake_cluster(
            tmp_path,
            {GetOutput: early, GetHistory: no_history},
            {GetOutput: late, GetHistory: no_history},
            hosts=TWO_HOSTS,
        ) as cluster,
        Client(cluster.config) as client,
    ):
        listing = client.output("j")

    assert (listing.run_id, len(listing.parts)) == ("r2", 2)


def test_a_host_whose_peers_show_different_runs_is_asked_until_they_agree(tmp_path: Path) -> None:
    shown = output(("r2", (part("p0", "part-00000-0000.jsonl"),)))
    refused = 0

    def answer(request: Any) -> Any:
        nonlocal refused
        refused += 1
        changing = Refused(id=request.id, code="changing", reason="it is being replaced")
        return changing if refused < 3 else shown(request)

    with fake_cluster(tmp_path, {GetOutput: answer}) as cluster, Client(cluster.config) as client:
        assert client.output("j").run_id == "r2"


def test_a_host_without_output_is_passed_over_only_where_the_others_have_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymr.client.output.AGREEMENT_SECONDS", 0.5)
    items = 7

    def history(request: Any) -> HistoryView:
        return HistoryView(id=request.id, rows=(run("r1", items=items),))

    there = {GetOutput: output(("r1", (part("p0", "part-00000-0000.jsonl", 7),))), GetHistory: history}
    none = {GetOutput: output(("", ())), GetHistory: history}
    with (
        fake_cluster(tmp_path, there, none, hosts=TWO_HOSTS) as cluster,
        Client(cluster.config) as client,
    ):
        assert client.output("j").run_id == "r1"
        items = 8
        with pytest.raises(ClientError, match="localhost none"):
            client.output("j")


def test_the_output_of_a_host_that_does_not_answer_cannot_be_had(tmp_path: Path) -> None:
    shown = {GetOutput: output(("r1", (part("p0", "part-00000-0000.jsonl"),)))}

    with fake_cluster(tmp_path, shown, {}, hosts=TWO_HOSTS) as cluster:
        cluster.peers[1].__exit__()
        with (
            Client(cluster.config, timeout_s=2.0) as client,
            pytest.raises(UnreachableError, match="localhost"),
        ):
            client.output("j")


def shared_output(peer: str, items: int, *expected: tuple[str, int]) -> Callable[[Any], OutputView]:
    """The output of a host that has so many items, and knows who is to have how many."""

    def answer(request: Any) -> OutputView:
        return OutputView(
            id=request.id,
            run_id="r1",
            parts=(part(peer, "part-00000-0000.jsonl", items),),
            expected=tuple(OutputShare("r1", name, count) for name, count in expected),
            shown=(OutputShare("r1", peer, items),),
        )

    return answer


def test_an_output_of_which_a_machine_that_is_gone_has_some_is_given_only_as_a_part(tmp_path: Path) -> None:
    knowing = {GetOutput: shared_output("p0", 3, ("p0", 3), ("p1", 2), ("gamma", 4))}
    unknowing = {GetOutput: shared_output("p1", 2)}
    with (
        fake_cluster(tmp_path, knowing, unknowing, hosts=TWO_HOSTS) as cluster,
        Client(cluster.config) as client,
    ):
        with pytest.raises(ClientError, match=r"4 of its 9 items .* gamma, which has them, is no longer in"):
            client.output("j")
        listing = client.output("j", partial=True)

    assert sum(one.items for one in listing.parts) == 5
    assert "gamma" in listing.missing


def test_of_a_host_that_does_not_answer_the_rest_is_given_where_a_part_will_do(tmp_path: Path) -> None:
    shown = {GetOutput: shared_output("p0", 3, ("p0", 3), ("p1", 2))}
    with fake_cluster(tmp_path, shown, {}, hosts=TWO_HOSTS) as cluster:
        cluster.peers[1].__exit__()
        with Client(cluster.config, timeout_s=2.0) as client:
            listing = client.output("j", partial=True)

    assert [one.peer for one in listing.parts] == ["p0"]
    assert "on localhost cannot be had" in listing.missing


def test_a_host_that_has_lost_its_share_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pymr.client.output.AGREEMENT_SECONDS", 0.5)
    shown = {GetOutput: shared_output("p0", 3, ("p0", 3), ("p1", 2))}
    with (
        fake_cluster(tmp_path, shown, {GetOutput: output(("", ()))}, hosts=TWO_HOSTS) as cluster,
        Client(cluster.config) as client,
    ):
        with pytest.raises(ClientError, match="localhost none"):
            client.output("j")
        listing = client.output("j", partial=True)

    assert "localhost none" in listing.missing


def test_no_output_at_all_is_an_error(tmp_path: Path) -> None:
    with (
        fake_cluster(tmp_path, {GetOutput: output(("", ()))}) as cluster,
        Client(cluster.config) as client,
        pytest.raises(ClientError, match="has no output"),
    ):
        client.output("j")
