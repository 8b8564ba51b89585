"""Previews: what comes of the first lines in the worker, what the daemon makes of it, and whom it refuses."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from valid_jobs import MAPREDUCE
from written_projects import PLAIN, REDUCE, import_state, write_project

from pymr.base.errors import InputError, PymrError, StartError, UserFunctionError
from pymr.client.errors import UnreachableError
from pymr.client.preview import preview_on
from pymr.config.cluster import ClusterConfig, PeerConfig, SecurityConfig
from pymr.peer.attempts.worker_protocol import PreviewNews, PreviewSetup
from pymr.peer.disk.paths import PeerPaths
from pymr.peer.disk.unpacked_projects import UnpackedProjects
from pymr.peer.requests.previews import PREVIEWS_MAX, PRINTED_BYTES_MAX, Previews, Printed, given_up
from pymr.peer.store.store import StoreUnavailable
from pymr.peer.worker import preview as preview_worker
from pymr.peer.worker.preview import LINE_CHARACTERS_MAX, PreviewTeller, item_line, run_preview, try_job
from pymr.projects.project import pack_project, unpack_project
from pymr.wire.authorization import Authorization
from pymr.wire.frames import encode
from pymr.wire.keys import load_security
from pymr.wire.requests import READING, PreviewJob, PreviewView, Refused, Reply
from pymr.wire.rows import PeerRow

__all__ = ["import_state"]

ONE_BY_ONE = "def words(line, auxiliary_data):\n    for word in line.split():\n        yield word, 1\n"


class Bench:
    """A preview in this process, on a host of two peers. news: what was told."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.folder = folder
        peers = tuple(
            PeerConfig(name=name, workers=1, data_dir=str(folder / name)) for name in ("alpha", "beta")
        )
        self.config = ClusterConfig(peers=peers, **sections)
        self.news: list[PreviewNews] = []
        for peer in peers:
            (Path(peer.data_dir) / "input").mkdir(parents=True)
        self.project()

    def project(self, map_source: str = PLAIN, reduce_source: str = REDUCE) -> None:
        projects = self.folder / "projects"
        write_project(projects, map_functions=map_source, reduce_functions=reduce_source)

    def feed(self, path: str, text: str) -> Path:
        target = self.folder / path
        data = text.encode()
        target.write_bytes(gzip.compress(data) if target.suffix == ".gz" else data)
        return target

    def setup(self, lines: int = 100, **fields: Any) -> PreviewSetup:
        scratch = self.folder / f"scratch-{len(self.news)}"
        scratch.mkdir()
        functions = {"map_function_name": "words", "reduce_function_name": "total"}
        names = {"project_name": "demo", "input_dirs": ["input"]}
        return PreviewSetup(
            cluster=self.config,
            peer="alpha",
            fields={**MAPREDUCE, **functions, **names, **fields},
            projects_dir=str(self.folder / "projects"),
            scratch=str(scratch),
            memory_bytes=256 << 20,
            lines=lines,
        )

    def preview(self, lines: int = 100, **fields: Any) -> tuple[tuple[str, ...], int]:
        """The output; what was told on the way is in `news`."""
        setup = self.setup(lines, **fields)
        self.teller = PreviewTeller(setup.projects_dir, self.news.append)  # type: ignore[arg-type]
        try:
            return try_job(setup, self.teller)
        finally:
            self.teller.tell_last()

    @property
    def items(self) -> list[str]:
        return [item for news in self.news for item in news.items]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, import_state: None) -> Bench:
    for name in ("PYMR_RUN", "PYMR_ATTEMPT"):
        monkeypatch.setenv(name, "")
    return Bench(tmp_path)


# ---- in the worker


def test_the_first_lines_are_mapped_and_reduced_in_the_order_of_keys(bench: Bench) -> None:
    path = bench.feed("alpha/input/a.txt", "b a\na\nc\n")
    output = bench.preview(2)

    assert output == (('["a",2]', '["b",1]'), 2)
    assert bench.items == ['["b",1]', '["a",1]', '["a",1]']
    assert (bench.news[-1].path, bench.news[-1].lines, bench.news[-1].items_total) == (str(path), 2, 3)


def test_lines_come_from_as_many_files_as_are_needed_and_empty_ones_are_passed_over(bench: Bench) -> None:
    bench.feed("alpha/input/0.txt", "")
    first = bench.feed("alpha/input/1.gz", "a\nb\n")
    bench.feed("alpha/input/2.txt", "c\n")
    bench.feed("beta/input/3.txt", "d\ne\n")
    output, _ = bench.preview(4)

    assert output == ('["a",1]', '["b",1]', '["c",1]', '["d",1]')
    assert bench.news[-1].path == str(first)


def test_it_is_told_how_many_files_are_seen_while_the_input_is_looked_for(bench: Bench) -> None:
    for number in range(5):
        bench.feed(f"alpha/input/{number}.txt", "a\n" if number == 4 else "")
    bench.preview()
    stages = list(dict.fromkeys(news.stage for news in bench.news))

    assert stages == ["find", "map", "reduce"]
    assert next(news.files for news in bench.news if news.stage == "map") == 5


@pytest.mark.parametrize("name", ["none", "nothing.txt", "nothing.gz"])
def test_a_host_without_a_line_has_no_path(bench: Bench, name: str) -> None:
    if name != "none":
        bench.feed(f"alpha/input/{name}", "")
    output = bench.preview()

    assert output == ((), 0)
    assert (bench.news[-1].path, bench.news[-1].lines) == ("", 0)


def test_the_fields_of_a_run_count_but_for_those_that_leave_lines_out(bench: Bench) -> None:
    bench.feed("alpha/input/a.txt", "b a b\n" * 5)
    fields: dict[str, Any] = {
        "downsample": 0.01,
        "hold_state": True,
        "compress": True,
        "disk_based_input": True,
    }
    output = bench.preview(**fields, combine_function_name="total")

    assert output == (('["a",5]', '["b",10]'), 2)
    assert len(bench.items) == 15


def test_a_function_may_give_its_items_one_by_one(bench: Bench) -> None:
    bench.project(ONE_BY_ONE)
    bench.feed("alpha/input/a.txt", "b a\n" * 70)
    output = bench.preview()

    assert output == (('["a",70]', '["b",70]'), 2)
    assert (len(bench.items), bench.news[-1].items_total) == (100, 140)


def test_what_was_mapped_before_an_error_is_known_with_the_record_and_the_line(bench: Bench) -> None:
    source = "def words(line, auxiliary_data):\n    return [(line, 1 // (line != 'c'))]\n"
    bench.project(source)
    path = bench.feed("alpha/input/a.txt", "a\nb\nc\nd\n")
    with pytest.raises(UserFunctionError) as raised:
        bench.preview()

    assert "ZeroDivisionError" in str(raised.value)
    assert f"{path}, byte 4: 'c'" in str(raised.value)
    assert 'map_functions.py", line 2, in words' in str(raised.value)
    assert "preview_worker" not in str(raised.value)
    assert bench.items == ['["a",1]', '["b",1]']
    assert bench.news[-1].lines == 3


def test_items_are_counted_once_where_the_engine_asks_again_for_what_was_wrong(bench: Bench) -> None:
    bench.project("def words(line, auxiliary_data):\n    yield line, {1}\n")
    bench.feed("alpha/input/a.txt", "a\nb\n")
    with pytest.raises(PymrError, match=r"cannot be carried.*\n  at .*byte 0: 'a'"):
        bench.preview()

    assert bench.items == ["('a', {1})", "('b', {1})"]
    assert bench.news[-1].items_total == 2


def test_a_function_that_returns_no_items_is_told_of_as_in_a_run(bench: Bench) -> None:
    bench.project("def words(line, auxiliary_data):\n    return line\n")
    bench.feed("alpha/input/a.txt", "ab\n")
    with pytest.raises(PymrError, match="it returned 'ab'; it has to return an iterable"):
        bench.preview()


def test_bad_records_are_passed_over_as_in_a_run_and_said_so(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.project("def words(line, auxiliary_data):\n    return [(int(line), 1)]\n")
    bench.feed("alpha/input/a.txt", "1\nx\n2\n")
    output, _ = bench.preview(max_bad_records=3)

    assert output == ("[1,1]", "[2,1]")
    assert (
        "bad records passed over, as max_bad_records allows: 1; the first: ValueError"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["link", "/elsewhere"])
def test_input_is_read_only_where_a_run_may_read_it(bench: Bench, tmp_path: Path, name: str) -> None:
    bench.config = ClusterConfig(peers=bench.config.peers, security=SecurityConfig(local_roots=("/allowed",)))
    (tmp_path / "outside").mkdir()
    (tmp_path / "alpha" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "a.txt").write_text("secret\n")
    with pytest.raises(InputError, match="input_dirs"):
        bench.preview(input_dirs=[name])

    assert bench.items == []


def test_a_folder_that_is_missing_is_named_as_in_a_run(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"alpha/nowhere on peer alpha .* cannot be read"):
        bench.preview(input_dirs=["nowhere"])


def test_a_folder_that_only_other_hosts_may_have_is_empty_here_and_told(bench: Bench) -> None:
    path = bench.feed("alpha/input/a.txt", "a\n")
    elsewhere = PeerConfig(name="other", host="elsewhere", workers=1, data_dir="/other")
    bench.config = ClusterConfig(peers=(*bench.config.peers, elsewhere))
    output = bench.preview(input_dirs=["nowhere", "input"])

    assert output == (('["a",1]',), 1)
    assert (bench.news[-1].path, bench.news[-1].absent) == (str(path), ("nowhere",))
    bench.preview(input_dirs=["nowhere"])
    assert (bench.news[-1].path, bench.news[-1].absent) == ("", ("nowhere",))


def test_whatever_goes_wrong_is_the_last_that_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview_worker, "_be_alone", lambda: None)
    monkeypatch.setattr(preview_worker, "_wait_for_end", lambda: None)
    bench.project("import nothing_of_this_name\n")
    run_preview(bench.setup(), bench.news.append)  # type: ignore[arg-type]

    assert bench.news[-1].is_last
    assert "map_functions.py:1: ModuleNotFoundError" in bench.news[-1].error
    assert bench.news[-1].stage == "load"


@pytest.mark.parametrize(
    ("item", "line"),
    [
        (("k", 1), '["k",1]'),
        (("k", b"raw"), "('k', b'raw')"),
        ("no pair", "'no pair'"),
        (("\ud800", 1), "('\\ud800', 1)"),
        (("x" * 5_000, 1), '["' + "x" * (LINE_CHARACTERS_MAX - 3) + "…"),
    ],
)
def test_an_item_is_shown_as_in_the_output_or_as_python_shows_it(item: object, line: str) -> None:
    assert item_line(item) == line


# ---- in the daemon


@pytest.mark.parametrize(
    ("news", "words"),
    [
        (PreviewNews(stage="load"), "given up after 2 s: the project was being loaded; no line was mapped"),
        (PreviewNews(stage="find", files=71_300), "the input was being looked for; 71,300 files were seen"),
        (PreviewNews(stage="map", lines=1), "given up after 2 s: 0 lines were mapped until then"),
        (PreviewNews(stage="map", lines=8), "given up after 2 s: 7 lines were mapped until then"),
        (PreviewNews(stage="reduce", lines=8, groups=2), "all 8 lines were mapped, and 1 group was reduced"),
        (PreviewNews(stage="map", lines=3, where='  File "m.py", line 2'), 'was at\n  File "m.py", line 2'),
    ],
)
def test_a_preview_that_is_given_up_says_how_far_it_was(news: PreviewNews, words: str) -> None:
    assert words in given_up(news, 2.0)


def test_of_what_is_printed_the_beginning_is_kept() -> None:
    printed = Printed()
    printed.append(b"\xff" + b"x" * PRINTED_BYTES_MAX)
    printed.append(b"more")

    assert printed.text() == f"\ufffd{'x' * (PRINTED_BYTES_MAX - 1)}\n... (5 bytes more were printed)"
    assert printed.end == PRINTED_BYTES_MAX + 5


class Desk:
    """The previews of a peer, with a store, a disk and workers that do at once what is asked."""

    def __init__(self, folder: Path) -> None:
        write_project(folder / "projects", map_functions=PLAIN, reduce_functions=REDUCE)
        self.package = pack_project(folder / "projects", "demo")
        self.data = folder / "alpha"
        self.started: list[tuple[PreviewSetup, Callable[..., None], Callable[..., None]]] = []
        self.ended = 0
        self.timers: list[Callable[[], object]] = []
        self.has_redis = self.has_nursery = True
        self.unread = b""
        me = PeerConfig(name="alpha", workers=1, data_dir=str(self.data))
        config = ClusterConfig(peers=(me,))
        projects = UnpackedProjects(PeerPaths(me.data_dir), self, self, self._later)  # type: ignore[arg-type]
        self.previews = Previews(config, me, self, self, projects, self, self._later)  # type: ignore[arg-type]
        self.replies: list[Any] = []

    def ask(self, work: Callable[[Any], Any], on_done: Any, on_error: Any, **_: Any) -> None:
        if self.has_redis:
            on_done(self.package.data)
        else:
            on_error(StoreUnavailable("Redis does not answer"))

    def do(self, _: str, work: Callable[[], Any], on_done: Any, on_error: Any, **__: Any) -> None:
        on_done(work())

    def start_guest(self, setup: PreviewSetup, output: Any, on_message: Any, on_end: Any) -> Any:
        if not self.has_nursery:
            raise StartError("alpha: start the peer again")
        self.started.append((setup, on_message, on_end))
        self.output = output
        return self

    def end_guest(self, _: object) -> None:
        self.ended += 1

    def drain(self) -> None:
        """Of the link, which this stands for as well: what was printed and not read yet."""
        self.output.append(self.unread)
        self.unread = b""

    def close(self) -> None:
        """Of the link."""

    def _later(self, _: float, function: Callable[[], object]) -> None:
        self.timers.append(function)

    def wish(self, id: str = "1", lines: int = 100, **fields: Any) -> list[Reply]:
        job = {**MAPREDUCE, "project_name": "demo", "map_function_name": "words", **fields}
        request = PreviewJob(id=id, fields=job, project_hash=self.package.content_hash, lines=lines)
        self.previews.answer(request, self.replies.append)
        return self.replies

    def left(self) -> list[str]:
        return os.listdir(self.data / "runs")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_preview_is_answered_with_what_its_worker_told_and_nothing_is_left(desk: Desk) -> None:
    desk.wish()
    desk.unread = b"the last line\n"
    setup, tell, end = desk.started[0]
    unpacked = (Path(setup.projects_dir) / "demo" / "map_functions.py").read_text()
    tell(PreviewNews(stage="map", path="/a", lines=1, items=("[1,1]",), items_total=1))
    tell(
        PreviewNews(
            stage="reduce", path="/a", lines=2, items=("[2,1]",), items_total=2, output=("[1,2]",),
            output_total=1, is_last=True,
        )
    )  # fmt: skip
    end("was ended by SIGKILL")
    desk.timers[0]()
    (view,) = desk.replies

    assert isinstance(view, PreviewView)
    assert (view.peer, view.path, view.lines, view.error) == ("alpha", "/a", 2, "")
    assert (view.items, view.output) == (("[1,1]", "[2,1]"), ("[1,2]",))
    assert view.printed == "the last line\n"
    assert unpacked == PLAIN
    assert desk.left() == []
    assert desk.ended == 1


def test_a_worker_that_ends_by_itself_is_told_of_with_what_was_mapped(desk: Desk) -> None:
    desk.wish()
    _, tell, end = desk.started[0]
    tell(PreviewNews(stage="map", path="/a", lines=2, items=("[1,1]",), items_total=1))
    end("was ended by SIGSEGV: a crash")

    assert desk.replies[0].error == "the worker of the preview was ended by SIGSEGV: a crash"
    assert desk.replies[0].items == ("[1,1]",)


def test_a_request_that_is_repeated_is_done_once(desk: Desk) -> None:
    desk.wish("1")
    desk.wish("1")
    _, _, end = desk.started[0]
    desk.timers[0]()
    desk.wish("1")
    end("was ended by SIGKILL")
    desk.wish("1")

    assert len(desk.started) == 1
    assert [view.error.partition(":")[0] for view in desk.replies] == ["given up after 2 s"] * 3


def test_there_are_two_previews_at_once_until_the_processes_of_one_have_ended(desk: Desk) -> None:
    for number in range(PREVIEWS_MAX + 1):
        desk.wish(str(number))
    (refused,) = desk.replies
    desk.timers[0]()
    desk.wish("again")
    still_refused = desk.replies[-1]
    desk.started[0][2]("was ended by SIGKILL")
    desk.wish("at last")

    assert isinstance(refused, Refused) and refused.code == "unavailable"
    assert isinstance(still_refused, Refused)
    assert len(desk.started) == PREVIEWS_MAX + 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"lines": 0}, "lines = 0"),
        ({"lines": 10_001}, "1 to 10,000"),
        ({"partitions": 0}, "partitions"),
        (
            {"job_type": "script", "script_location": "/bin/true"},
            "job_type|map_function_name|project_name",
        ),
    ],
)
def test_a_preview_that_cannot_be_is_refused_by_its_field(
    desk: Desk, fields: dict[str, Any], words: str
) -> None:
    (refused,) = desk.wish(**fields)

    assert isinstance(refused, Refused) and refused.code == "invalid"
    assert any(word in refused.reason for word in words.split("|"))
    assert desk.started == []


def test_only_mapreduce_jobs_are_previewed(desk: Desk) -> None:
    script = {"job_type": "script", "job_name": "s", "job_priority": 1, "script_location": "/bin/true"}
    desk.previews.answer(PreviewJob(id="1", fields=script), desk.replies.append)

    assert "only mapreduce jobs can be previewed" in desk.replies[0].reason


def test_without_redis_a_project_that_no_run_has_brought_cannot_be_previewed(desk: Desk) -> None:
    desk.has_redis = False
    desk.wish("1")
    folder = desk.data / "projects" / desk.package.content_hash / "demo"
    unpack_project(desk.package.data, folder, desk.package.content_hash)
    desk.wish("2")

    assert [reply.code for reply in desk.replies] == ["unavailable"]
    assert [setup.projects_dir for setup, _, _ in desk.started] == [
        str(desk.data / "projects" / desk.package.content_hash)
    ]


def test_a_peer_that_can_start_no_worker_any_more_refuses_at_once(desk: Desk) -> None:
    desk.has_nursery = False
    (refused,) = desk.wish()

    assert isinstance(refused, Refused)
    assert (refused.code, refused.reason) == ("unavailable", "alpha: start the peer again")
    assert desk.left() == []


def test_a_viewer_may_not_preview() -> None:
    reception = Authorization(load_security(ClusterConfig(), "operator"))
    frame = encode(PreviewJob(id="1", fields={}))
    viewer = reception.authorize(b"1", "viewer:watcher", [frame])
    operator = reception.authorize(b"2", "operator:me", [frame])

    assert "PreviewJob" not in [kind.__name__ for kind in READING]
    assert viewer is not None and isinstance(viewer[1], Refused) and viewer[1].code == "denied"
    assert operator is not None and isinstance(operator[1], PreviewJob)


class Hosts:
    """A client of peers on hosts, some of which are away, known or not; on one host there is input."""

    def __init__(
        self,
        hosts: dict[str, str],
        away: set[str],
        input_on: str,
        known: str = "",
        absent: dict[str, tuple[str, ...]] | None = None,
    ) -> None:
        self.config = ClusterConfig(
            peers=tuple(
                PeerConfig(name=name, host=host, workers=1, data_dir=f"/{name}")
                for name, host in hosts.items()
            )
        )
        self.asked: list[str] = []
        self._away = away
        self._input_on = input_on
        self._known = known
        self._absent = absent or {}

    def peers(self) -> list[PeerRow]:
        names = [one.name for one in self.config.peers]
        return [
            PeerRow(name=name, address="", data_address="", alive=name not in self._known.split())
            for name in names
        ]

    def preview_on(self, fields: object, project_hash: str, lines: int, name: str) -> PreviewView:
        self.asked.append(name)
        if name in self._away:
            raise UnreachableError(f"{name} is away")
        host = next(one.host for one in self.config.peers if one.name == name)
        path = "/input" if host == self._input_on else ""
        return PreviewView(id="1", peer=name, path=path, absent=self._absent.get(host, ()))


TWO_HOSTS = {"a0": "a", "a1": "a", "b0": "b", "b1": "b"}


@pytest.mark.parametrize(
    ("away", "known", "input_on", "asked"),
    [
        ("", "", "b", ["a0", "b0"]),
        ("a0", "", "b", ["a0", "b0"]),
        ("a0", "", "a", ["a0", "b0", "a1"]),
        ("a0 b0", "", "b", ["a0", "b0", "a1", "b1"]),
        ("a0", "a0", "a", ["a1"]),
        ("a0 a1", "a0 a1", "b", ["b0"]),
        ("", "a0 a1", "a", ["b0", "a0"]),
    ],
)
def test_a_peer_that_is_away_is_passed_over_for_another_of_its_host(
    away: str, known: str, input_on: str, asked: list[str]
) -> None:
    client = Hosts(TWO_HOSTS, set(away.split()), input_on, known)
    view = preview_on(client, {}, "", 10)  # type: ignore[arg-type]

    assert client.asked == asked
    assert (view.peer, view.path) == (asked[-1], "/input")


def test_a_host_without_input_answers_where_no_other_has_any() -> None:
    client = Hosts(TWO_HOSTS, set(), "")
    view = preview_on(client, {}, "", 10)  # type: ignore[arg-type]

    assert (client.asked, view.peer, view.path) == (["a0", "b0"], "a0", "")


def test_a_preview_that_nobody_answers_says_so() -> None:
    client = Hosts(TWO_HOSTS, set(TWO_HOSTS), "a")
    with pytest.raises(UnreachableError):
        preview_on(client, {}, "", 10)  # type: ignore[arg-type]

    assert client.asked == ["a0", "b0", "a1", "b1"]


@pytest.mark.parametrize("peer", ["", "b1"])
def test_a_folder_that_no_host_has_is_an_error(peer: str) -> None:
    client = Hosts(TWO_HOSTS, set(), "", absent={"a": ("logs", "more"), "b": ("logs",)})
    view = preview_on(client, {}, "", 10, peer)  # type: ignore[arg-type]

    where = "a0 and b0" if not peer else "b1"
    assert view.error == (
        f"input_dirs: logs is not there on {where}; make it there (an empty folder will do), or take it out "
        "of input_dirs"
    )


def test_a_folder_that_one_host_has_is_none() -> None:
    client = Hosts(TWO_HOSTS, set(), "", absent={"a": ("logs",)})
    view = preview_on(client, {}, "", 10)  # type: ignore[arg-type]

    assert (client.asked, view.error) == (["a0", "b0"], "")
