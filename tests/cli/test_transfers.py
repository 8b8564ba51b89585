"""The commands that move files: which job they make, what they show, and how they end. Peers are fake."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from console import Command
from fake_peer import Queries, fake_cluster

from pymr.cli.transfers import _Progress, describe
from pymr.client.transfers import transfer_name
from pymr.jobs.job import parse_job
from pymr.wire.requests import (
    DeleteJob,
    Done,
    GetHistory,
    GetJob,
    GetPeers,
    HistoryView,
    JobView,
    PeersView,
    SubmitJob,
    Submitted,
)
from pymr.wire.rows import JobRow, PeerRow, PhaseRow, RunRow


def run_of(name: str, **values: Any) -> RunRow:
    standing: dict[str, Any] = {
        "run_id": "r1", "job_name": name, "job_version": 1, "job_type": "file_transfer",
        "status": "succeeded", "start_time": 10.0, "end_time": 12.0, "files": 3, "bytes": 4_000_000,
    }  # fmt: skip
    return RunRow(**standing | values)


class Queue:
    """Answers of a queue whose one job ends at once. run: what its run is like."""

    def __init__(self, **run: Any) -> None:
        self._run = run
        self.fields: dict[str, Any] = {}
        self.deleted: list[str] = []

    @property
    def answers(self) -> Queries:
        return {
            SubmitJob: self._submit,
            GetJob: lambda request: JobView(id=request.id, row=None, runs=self._runs(request.job_name)),
            GetHistory: lambda request: HistoryView(id=request.id, rows=self._runs(request.job_name)),
            DeleteJob: self._delete,
            GetPeers: self._peers,
        }

    def _submit(self, request: SubmitJob) -> Submitted:
        self.fields = dict(request.fields)
        return Submitted(id=request.id, job_name=request.fields["job_name"], version=1, replaced=False)

    def _runs(self, name: str) -> tuple[RunRow, ...]:
        return (run_of(name, **self._run),)

    def _delete(self, request: DeleteJob) -> Done:
        self.deleted.append(request.job_name)
        return Done(id=request.id)

    def _peers(self, request: GetPeers) -> PeersView:
        rows = [
            PeerRow(name=name, address="", data_address="", alive=name == "p1") for name in ("p0", "p1", "p2")
        ]
        return PeersView(id=request.id, rows=tuple(rows))


def folder_of(path: Path, sizes: tuple[int, ...]) -> Path:
    path.mkdir()
    for number, size in enumerate(sizes):
        (path / f"{number}.txt").write_bytes(bytes(size))
    return path


def test_an_upload_is_a_job_that_runs_once_and_is_told_of_at_its_end(pymr: Command, tmp_path: Path) -> None:
    queue = Queue(skipped=2)
    folder_of(tmp_path / "texts", (1_000_000, 10))
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("upload", "texts", "corpus/new", "--compress", "--skip-existing")
    name = queue.fields["job_name"]
    wanted = {
        "job_type": "file_transfer", "transfer_type": "upload", "run_once": True, "job_priority": 100,
        "local_peer": "p0", "input_dir": str(tmp_path / "texts"), "output_dir": "corpus/new",
        "compress": True, "reload_files": False,
    }  # fmt: skip

    assert finished.status == 0, finished.err
    assert queue.fields | wanted == queue.fields
    assert name.startswith("upload-corpus-new-")
    assert finished.out == (
        f"{name}: 3 files, 4.0 MB to corpus/new on the peers in 2.0 s (2.0 MB/s); "
        "2 files skipped, there already\n"
    )


@pytest.mark.parametrize(
    ("sizes", "options", "expected"),
    [
        ((100, 300), (), "upload_bulk"),
        ((100, 900_000), (), "upload"),
        ((100, 300), ("--no-bulk",), "upload"),
        ((900_000,), ("--bulk",), "upload_bulk"),
    ],
)
def test_small_files_are_packed_unless_told_otherwise(
    pymr: Command, tmp_path: Path, sizes: tuple[int, ...], options: tuple[str, ...], expected: str
) -> None:
    queue = Queue()
    folder_of(tmp_path / "texts", sizes)
    with fake_cluster(tmp_path, queue.answers):
        pymr("upload", "texts", "corpus", *options)

    assert queue.fields["transfer_type"] == expected


@pytest.mark.parametrize(("option", "deletes"), [((), False), (("--delete",), True), (("--keep",), False)])
def test_a_download_leaves_the_cluster_its_files_unless_told_otherwise(
    pymr: Command, tmp_path: Path, option: tuple[str, ...], deletes: bool
) -> None:
    queue = Queue()
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("download", "jobs/words/reduce", "results", "--priority", "-3", *option)
    fields = queue.fields

    assert finished.status == 0, finished.err
    assert (fields["input_dir"], fields["output_dir"]) == ("jobs/words/reduce", str(tmp_path / "results"))
    assert (fields["delete_files"], fields["transfer_type"], fields["job_priority"]) == (
        deletes,
        "download_bulk",
        -3,
    )


def test_auxiliary_data_go_to_every_peer(pymr: Command, tmp_path: Path) -> None:
    queue = Queue()
    (tmp_path / "stop.json").write_text('["the"]')
    (tmp_path / "bad.json").write_text("[the]")
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("auxiliary", "stop_words", "stop.json")
        bad = pymr("auxiliary", "stop_words", "bad.json")

    assert finished.status == 0, finished.err
    assert queue.fields["transfer_type"] == "upload_auxiliary"
    assert queue.fields["input_file_name"] == str(tmp_path / "stop.json")
    assert queue.fields["auxiliary_data_name"] == "stop_words"
    assert (bad.status, "bad.json is no JSON" in bad.err) == (1, True)


def test_auxiliary_data_may_begin_with_a_byte_order_mark_and_are_judged_as_tasks_do(
    pymr: Command, tmp_path: Path
) -> None:
    (tmp_path / "marked.json").write_bytes(b'\xef\xbb\xbf["a"]')
    (tmp_path / "wide.json").write_bytes('["a"]'.encode("utf-16"))
    (tmp_path / "nan.json").write_text("[NaN]")
    queue = Queue()
    with fake_cluster(tmp_path, queue.answers):
        marked = pymr("auxiliary", "stop_words", "marked.json")
        others = [pymr("auxiliary", "stop_words", name) for name in ("wide.json", "nan.json")]

    assert marked.status == 0, marked.err
    assert [(other.status, "is no JSON" in other.err) for other in others] == [(1, True)] * 2


def test_a_transfer_that_fails_says_why_and_what_to_do(pymr: Command, tmp_path: Path) -> None:
    queue = Queue(status="failed", exception="no space left on alpha")
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("download", "corpus", "results")

    assert finished.status == 1
    assert "no space left on alpha" in finished.err
    assert f"pymr retry {queue.fields['job_name']}" in finished.err


def test_a_transfer_that_is_not_waited_for_says_how_to_stop_it(pymr: Command, tmp_path: Path) -> None:
    queue = Queue()
    with fake_cluster(tmp_path, queue.answers) as cluster:
        finished = pymr("download", "corpus", "results", "--no-wait")

        assert cluster.peers[0].asked_for(GetJob) == []
    assert (finished.status, "pymr delete download-corpus-" in finished.out) == (0, True)


def test_an_interruption_stops_the_transfer(
    pymr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    queue = Queue()
    monkeypatch.setattr("pymr.client.Client.wait", interrupted)
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("download", "corpus", "results")

    assert finished.status == 130
    assert queue.deleted == [queue.fields["job_name"]]
    assert "--skip-existing" in finished.err


# ---- whose disk


def test_of_several_peers_of_this_machine_one_that_is_alive_is_taken(pymr: Command, tmp_path: Path) -> None:
    queue = Queue()
    hosts = ("127.0.0.1", "127.0.0.1", "127.0.0.2")
    with fake_cluster(tmp_path, queue.answers, queue.answers, queue.answers, hosts=hosts) as cluster:
        for peer in cluster.peers[1:]:
            peer.__exit__()
        pymr("download", "corpus", "results")

    assert queue.fields["local_peer"] == "p1"


def test_a_path_of_another_machine_is_taken_as_it_is(pymr: Command, tmp_path: Path) -> None:
    queue = Queue()
    with fake_cluster(tmp_path, queue.answers, queue.answers):
        finished = pymr("upload", "texts", "corpus", "--local-peer", "p1")
        unknown = pymr("upload", "texts", "corpus", "--local-peer", "p9")

    assert finished.status == 0, finished.err
    assert (queue.fields["local_peer"], queue.fields["input_dir"]) == ("p1", "texts")
    assert (unknown.status, "p0, p1" in unknown.err) == (1, True)


class Sent:
    """Stands for the data service of a peer. calls: what a client was told to do with it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Any, ...]] = []
        for name in ("send_files", "fetch_files", "discard_files"):
            monkeypatch.setattr(f"pymr.client.Client.{name}", self._noting(name))
        monkeypatch.setattr("pymr.client.transfers.peers_here", lambda config: [])

    def _noting(self, name: str) -> Callable[..., tuple[int, int, int]]:
        def note(
            _: object,
            peer: str,
            upload_id: str,
            path: str = "",
            on_bytes: Any = None,
            *,
            skip_existing: bool = False,
        ) -> tuple[int, int, int]:
            self.calls.append((name, peer, upload_id, path))
            if on_bytes is not None:
                on_bytes(3_000)
            return (1, 3_000, 2) if skip_existing else (3, 4_000_000, 0)

        return note


def test_without_a_peer_on_this_machine_files_are_sent_to_one_first(
    pymr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, sent = Queue(), Sent(monkeypatch)
    folder = folder_of(tmp_path / "texts", (900_000,))
    with fake_cluster(tmp_path, queue.answers, queue.answers):
        finished = pymr("upload", "texts", "corpus")
    (_, peer, upload_id, path), discarded = sent.calls

    assert finished.status == 0, finished.err
    assert "3.0 kB sent to p1" in finished.out
    assert (peer, path) == ("p1", str(folder))  # which is alive
    assert (queue.fields["local_peer"], queue.fields["input_dir"]) == ("p1", f"uploads/{upload_id}")
    assert discarded == ("discard_files", "p1", upload_id, "")


def test_without_a_peer_on_this_machine_files_are_fetched_from_one(
    pymr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, sent = Queue(), Sent(monkeypatch)
    with fake_cluster(tmp_path, queue.answers, queue.answers):
        finished = pymr("download", "corpus", "results")
        fields, calls = queue.fields, list(sent.calls)
        again = pymr("download", "corpus", "results", "--skip-existing")
        sent.calls = sent.calls[:2]
        deleting = pymr("download", "corpus", "results", "--delete")
        leaving = pymr("download", "corpus", "results", "--no-wait")
    upload_id = calls[0][2]

    assert finished.status == 0, finished.err
    assert ": 3 files, 4.0 MB to " in finished.out
    assert ": 1 file, 3.0 kB to " in again.out and "; 2 files skipped, there already" in again.out
    assert calls == [
        ("fetch_files", "p1", upload_id, str(tmp_path / "results")),
        ("discard_files", "p1", upload_id, ""),
    ]
    assert (fields["output_dir"], fields["delete_files"]) == (f"uploads/{upload_id}", False)
    assert (deleting.status, leaving.status, len(sent.calls)) == (1, 1, 2)


def test_a_transfer_from_elsewhere_that_fails_leaves_nothing_on_the_peer(
    pymr: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, sent = Queue(status="failed", exception="no space"), Sent(monkeypatch)
    (tmp_path / "stop.json").write_text("[]")
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("auxiliary", "stop", "stop.json")

    assert (finished.status, "the same command tries it again" in finished.err) == (1, True)
    assert queue.fields["input_file_name"] == f"uploads/{sent.calls[0][2]}"
    assert [call[0] for call in sent.calls] == ["send_files", "discard_files"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "is not a folder"),
        (lambda path: path.mkdir(), "has no files"),
        (lambda path: path.write_text(""), "is not a folder"),
    ],
)
def test_what_cannot_be_uploaded_is_told_before_anything_is_submitted(
    pymr: Command, tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "texts")
    queue = Queue()
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("upload", "texts", "corpus")

    assert (finished.status, said in finished.err, queue.fields) == (1, True, {})


def test_all_bad_names_are_told_at_once_before_anything_is_submitted(pymr: Command, tmp_path: Path) -> None:
    queue = Queue()
    texts = tmp_path / "texts"
    for name in ("good", "tab\there", "deep/line\nend", "bad\rfolder/a", "bad\rfolder/b"):
        (texts / name).parent.mkdir(parents=True, exist_ok=True)
        (texts / name).write_text("1")
    with open(os.fsencode(texts) + b"/deep/latin\xe9", "wb"):
        pass
    with fake_cluster(tmp_path, queue.answers):
        finished = pymr("upload", "texts", "corpus")

    assert (finished.status, queue.fields) == (1, {})
    assert "4 names cannot be moved" in finished.err
    for named in ("texts/tab\\there'", "deep/line\\nend'", "bad\\rfolder'", "deep/latin\\xe9'"):
        assert named in finished.err, finished.err
    assert "good" not in finished.err


def test_folders_that_are_too_deep_are_told_before_anything_is_submitted(
    pymr: Command, tmp_path: Path
) -> None:
    queue = Queue()
    deep = tmp_path / "texts"
    for number, said in ((200, "has no files"), (201, "lies more than 200 folders below")):
        deep.joinpath(*["d"] * number).mkdir(parents=True)
        with fake_cluster(tmp_path, queue.answers):
            finished = pymr("upload", "texts", "corpus")

        assert (finished.status, said in finished.err, queue.fields) == (1, True, {}), finished.err
    assert str(deep / "d") in finished.err


@pytest.mark.parametrize("what", ["a/b c\n\0", "x" * 200, "ü", "..", "-"])
def test_the_name_of_a_transfer_is_that_of_a_job(what: str) -> None:
    fields = {"job_type": "file_transfer", "job_priority": 1, "transfer_type": "delete", "output_dir": "x"}

    assert parse_job(fields | {"job_name": transfer_name("upload", what)})
    assert transfer_name("upload", what) != transfer_name("upload", what)


# ---- progress


def row(**values: Any) -> JobRow:
    standing: dict[str, Any] = {"status": "running", "version": 1, "submitted_at": 1.0}
    return JobRow(**{"fields": {"job_name": "u"}} | standing | values)


COPY = PhaseRow(name="copy", done=1, total=3, units=(12, 30_000_000), total_units=90_000_000, seconds=2.0)


def test_progress_names_files_bytes_rate_and_time_left() -> None:
    assert describe(row(current_phase="copy", seconds_left=4.0), (COPY,)) == (
        "copy",
        "copy: 12 files, 30.0 MB of 90.0 MB, 15.0 MB/s, 4.0 s left",
    )
    assert describe(row(current_phase="copy", waiting_for="machine beta"), (COPY,))[1] == (
        "copy: waits for machine beta"
    )
    assert describe(row(status="queued"), ()) == ("queued", "waits for its turn")


@pytest.mark.parametrize(
    ("files", "copied", "total", "left", "expected"),
    [
        (
            20_000,
            (5_000, 1_800_000),
            1_800_000,
            6.0,
            "5,000 of 20,000 files, 1.8 MB of 1.8 MB, 2,500 files/s, 6.0 s left",
        ),
        (20_000, (0, 1_800_000), 1_800_000, None, "0 of 20,000 files, 1.8 MB of 1.8 MB, 900.0 kB/s"),
        (3, (1, 900_000), 2_700_000, 4.0, "1 of 3 files, 900.0 kB of 2.7 MB, 450.0 kB/s, 4.0 s left"),
    ],
)
def test_a_copy_tells_of_files_bytes_pace_and_the_time_left_that_every_face_shows(
    files: int, copied: tuple[int, int], total: int, left: float | None, expected: str
) -> None:
    copy = PhaseRow(
        name="copy", done=1, total=3, units=copied, total_first=files, total_units=total, seconds=2.0
    )

    assert describe(row(current_phase="copy", seconds_left=left), (copy,))[1] == f"copy: {expected}"


def test_progress_is_a_line_at_each_step_where_nobody_looks() -> None:
    stream = io.StringIO()
    with _Progress("u", stream) as progress:
        progress.show(JobView(id="", row=row(status="queued")))
        for _ in range(3):
            progress.show(JobView(id="", row=row(current_phase="copy"), phases=(COPY,)))
        progress.show(JobView(id="", row=None))

    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        "u: waits for its turn",
        "u: copy: 12 files",
    ]


def test_progress_is_one_line_on_a_terminal() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Screen()
    with _Progress("u", stream) as progress:
        progress.show(JobView(id="", row=row(current_phase="copy"), phases=(COPY,)))

    assert "\n" not in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[K")
    assert json.dumps(stream.getvalue()).count("12 files") == 1
