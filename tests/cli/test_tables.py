"""How listings look: columns, times, amounts, and rows made of what peers say."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from pymr.cli.rows import (
    history_lines,
    job_object,
    job_view_lines,
    jobs_lines,
    peers_lines,
    workers_lines,
)
from pymr.cli.tables import TextTable, bar, field_lines, one_line, table_lines
from pymr.wire.requests import JobsView, JobView
from pymr.wire.rows import JobRow, PanePlace, PeerRow, PhaseRow, RunRow, WorkerRow
from pymr.wire.wording import amount, count_of, from_now, moment, percent, phase_share, reason_of, span


def test_columns_are_aligned_and_numbers_stand_to_the_right() -> None:
    lines = table_lines(("NAME", ">SIZE", "NOTE"), [("a", "5", ""), ("long-name", "12345", "x")])

    assert lines == [
        "NAME        SIZE  NOTE",
        "a              5",
        "long-name  12345  x",
    ]


def test_a_table_is_cut_at_the_edge_of_the_terminal() -> None:
    assert table_lines(("A", "B"), [("one", "abcdefgh")], width=8) == ["A    B", "one  ab…"]


def test_no_text_of_a_job_moves_the_cursor() -> None:
    assert one_line("\n KeyError: \x1b[2J\x07\n  x\n") == "KeyError: ?[2J?"
    assert table_lines(("A",), [("two\nlines",)])[1] == "two"
    assert field_lines([("a", "x\n\x1b[31m\ty\u202e\u200b")]) == ["a  x", "   \\x1b[31m   y\\u202e\u200b"]


def test_a_long_cell_is_cut() -> None:
    assert len(one_line("x" * 500)) == 100


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "-"), (0.04, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1:00"),
     (185, "3:05"), (3723, "1:02:03"), (-1, "0.0 s")],
)  # fmt: skip
def test_lengths_of_time(seconds: float | None, shown: str) -> None:
    assert span(seconds) == shown


def test_a_moment_of_today_has_no_date() -> None:
    noon = time.mktime((2026, 5, 4, 12, 0, 0, 0, 0, -1))

    assert moment(noon, noon + 60) == "12:00:00"
    assert moment(noon, noon + 86_400) == "2026-05-04 12:00"
    assert moment(None) == "-"


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (2.5e12, "2.5 TB")]
)
def test_amounts(size: float, shown: str) -> None:
    assert amount(size) == shown


@pytest.mark.parametrize(("share", "shown"), [(0, "0%"), (0.999, "99%"), (1, "100%")])
def test_a_share_is_whole_only_at_the_end(share: float, shown: str) -> None:
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.5, "now"), (34, "in 34 s"), (120, "in 2 min"), (-5 * 3_600, "5 h ago"), (86_400 * 4, "in 4 days"),
     (-12, "12 s ago"), (-0.5, "just now")],
)  # fmt: skip
def test_how_far_away_a_moment_is(seconds: float, shown: str) -> None:
    assert from_now(1_000_000 + seconds, 1_000_000) == shown


def test_a_bar_is_full_only_at_the_end() -> None:
    assert bar(0.999) == "###########.  99%"
    assert bar(1) == "############ 100%"
    assert bar(0) == "............   0%"


def test_a_table_for_a_notebook_escapes_what_it_shows() -> None:
    table = TextTable(("NAME", ">SIZE"), [("<b>&", "1"), ("-", "")])

    assert '<td style="text-align:left">&lt;b&gt;&amp;</td>' in table.html()
    assert TextTable(("A", ">B"), [("x", "-")]).without_empty_columns() == TextTable(("A",), [("x",)])


def test_counts_agree_with_their_nouns() -> None:
    assert (count_of(1, "file"), count_of(2_000, "file")) == ("1 file", "2,000 files")


def job(**values: Any) -> JobRow:
    fields = {"job_name": "wordcount", "job_priority": 3, "group_name": None, "exception": None}
    standing: dict[str, Any] = {"status": "queued", "version": 1, "submitted_at": 1.0}
    return JobRow(**{"fields": fields} | standing | values)


def test_a_job_has_its_fields_and_how_it_stands_at_the_top_level() -> None:
    shown = job_object(job(status="failed", exception="KeyError: 1", current_phase="map", progress=0.5))

    assert shown["job_name"] == "wordcount"
    assert (shown["status"], shown["exception"], shown["progress"]) == ("failed", "KeyError: 1", 0.5)
    assert "fields" not in shown


def test_the_table_of_jobs_says_what_stands_in_the_way() -> None:
    failed = job(status="failed", exception="KeyError: 1\nTraceback")
    waiting = job(status="running", progress=0.42, seconds_left=65.0, waiting_for="machine beta")
    lines = jobs_lines(JobsView(id="", rows=(failed, waiting), total=2, paused=True), 0)

    assert "paused" in lines[0]
    assert lines[2].endswith("KeyError: 1")
    assert "42%" in lines[3]
    assert "1:05" in lines[3]
    assert lines[3].endswith("waits for machine beta")


def test_the_table_of_jobs_tells_when_each_begins() -> None:
    waiting = job(expected_start=1_130.0, last_seconds=12.0)
    late = job(expected_start=900.0)
    ended = job(status="succeeded", start_time=980.0, expected_start=None)
    script = job(fields={"job_name": "s", "job_type": "script", "group_name": "g"}, status="running")
    view = JobsView(id="", rows=(waiting, late, ended, script), total=4, cycle=7, next_cycle_at=1_034.0)
    lines = jobs_lines(view, 0, 1_000.0)

    assert lines[0] == "(cycle 7, the next one begins in 34 s at the earliest)"
    assert lines[1].split() == ["JOB", "GROUP", "TYPE", "PRIORITY", "STATUS", "PHASE", "START", "TAKES"]
    assert "in 2 min" in lines[2]
    assert "12 s" in lines[2]
    assert " now" in lines[3]
    assert "20 s ago" in lines[4]
    assert lines[5].split() == ["s", "g", "script", "None", "running", "begins", "0%", "-", "-"]


def test_a_cycle_is_told_of_only_where_jobs_recur() -> None:
    once = job(fields={"job_name": "once", "run_once": True})
    view = JobsView(id="", rows=(once,), total=1, cycle=7, next_cycle_at=1_034.0)

    assert jobs_lines(view, 0)[0].startswith("JOB")


def test_a_script_is_shown_with_what_it_said_and_where_to_read_on() -> None:
    run = RunRow(
        run_id="r", job_name="s", job_version=1, job_type="script", status="failed", start_time=1.0,
        exit_status=3, output="first\nlast words\n", attempts_failed=1,
    )  # fmt: skip
    lines = job_view_lines("s", JobView(id="", row=None), (run,), 0, ["alpha/0 --run r"])

    assert "exit status      3" in lines
    assert "                 last words" in lines
    assert "output           pymr logs alpha/0 --run r" in lines
    assert "exit status 3" in lines[-1]


@pytest.mark.parametrize(("offset", "start"), [(100, ""), (10_000, " --from 5904")])
def test_a_failed_run_says_where_to_read_what_its_worker_put_out(offset: int, start: str) -> None:
    place = PanePlace("alpha/0", "job-000001", offset)
    run = RunRow(
        run_id="job-000001", job_name="job", job_version=1, status="failed", start_time=0.0, failed_at=place
    )
    lines = job_view_lines("job", JobView(id="1", row=None), [run], 0)
    panes = [f"{worker} --run job-000001" for worker in ("alpha/0", "b/0")]
    with_panes = job_view_lines("job", JobView(id="1", row=None), [run], 0, panes)

    command = f"pymr logs alpha/0 --run job-000001{start}"
    assert [line.split(None, 1)[1] for line in lines if "pymr logs" in line] == [command]
    assert [line.split(None, 1)[1] for line in with_panes if "pymr logs" in line] == [
        command,
        "pymr logs b/0 --run job-000001",
    ]


def test_steps_of_a_transfer_are_shown_with_files_and_bytes() -> None:
    phase = PhaseRow(name="copy", done=0, total=3, units=(1, 5_000_000), total_units=20_000_000)
    run = RunRow(
        run_id="r", job_name="u", job_version=1, job_type="file_transfer", status="succeeded",
        start_time=1.0, files=2_000, bytes=3_000_000, skipped=7,
    )  # fmt: skip
    lines = job_view_lines("u", JobView(id="", row=job(), phases=(phase,)), (run,), 0)
    copy = next(line for line in lines if line.startswith("copy"))

    assert "###.........  25%" in copy
    assert "1 file  5.0 MB of 20.0 MB" in copy
    assert "2,000 files (3.0 MB), 7 skipped" in lines[-1]


def test_a_phase_is_done_when_all_its_tasks_are() -> None:
    assert phase_share(PhaseRow(name="map", done=3, total=4, units=(0, 9), total_units=9)) == 0.999
    assert phase_share(PhaseRow(name="list", done=2, total=2)) == 1.0
    assert phase_share(PhaseRow(name="map")) == 0.0


@pytest.mark.parametrize(
    ("exception", "shown"),
    [
        ("KeyError: 1\n\n(task map-00001: 4 attempts, the same each time)", "KeyError: 1"),
        ("map function 'words' raised ValueError: first\nsecond\n  at a.txt, byte 0\nTraceback (most "
         "recent call last):\n  File \"p/m.py\", line 1\nValueError: first\nsecond", "ValueError: first"),
        ("map function 'words' raised on 3 records, max_bad_records = 2; the first one: KeyError: 1\n  at a",
         "map function 'words' raised on 3 records, max_bad_records = 2; the first one: KeyError: 1"),
        ("unexpected: KeyError: 1\nTraceback (most recent call last):\n  x\nKeyError: 1", "KeyError: 1"),
        ("unexpected: Traceback (most recent call last):\n  File x\nOSError: 1\n\nDuring it, another:\n\n"
         "Traceback (most recent call last):\n  File x\nValueError: first\nsecond\n(task x failed 4 times)",
         "ValueError: first"),
        ("p/map_functions.py cannot be loaded, p/map_functions.py:2: OSError: no\n  File x\nOSError: no",
         "p/map_functions.py cannot be loaded, p/map_functions.py:2: OSError: no"),
        ("job.toml: 2 problems\n  - partitions = 0: at least 1\n  - x = 1: no such field",
         "job.toml: 2 problems: partitions = 0: at least 1"),
        ("(alone)", "(alone)"),
        ("the script a.py on alpha ended with exit status 3\nIts last lines:\nx", "the script a.py on alpha "
         "ended with exit status 3"),
        (None, ""),
    ],
)  # fmt: skip
def test_of_a_reason_the_line_is_shown_that_says_most(exception: str | None, shown: str) -> None:
    assert reason_of(exception) == shown


def test_empty_listings_say_so() -> None:
    assert "pymr submit" in jobs_lines(JobsView(id="", rows=(), total=0), 0)[0]
    assert history_lines((), 0) == ["no runs yet"]
    assert workers_lines((), 0) == ["no workers: no peer is alive"]


def test_peers_workers_and_runs_have_a_line_each() -> None:
    peers = (
        PeerRow(
            name="a", address="h:1", data_address="h:2", leader=True, alive=True, workers=2, busy=1, epoch=7
        ),
        PeerRow(name="b", address="h:3", data_address="h:4"),
    )
    removed = (PeerRow(name="c", address="", data_address="", state="removed", outputs=("j",)),)
    workers = (
        WorkerRow(name="a/0", peer="a", pid=5, state="map", job_name="j", phase="map", done=(1, 2_000)),
        WorkerRow(name="a/1", peer="a", pid=0, state="idle"),
    )
    runs = (
        RunRow(
            run_id="r",
            job_name="j",
            job_version=1,
            status="succeeded",
            start_time=1.0,
            end_time=3.5,
            records=1_000,
        ),
    )

    assert peers_lines(peers, 0)[1].startswith("a *  ")
    assert not re.search(r"0%|0 B|0/0", peers_lines(removed, 0)[1]), "of which nothing is known"
    assert " unknown " in peers_lines(peers, 0)[2]
    assert "1 record, 2.0 kB" in workers_lines(workers, 0)[1]
    assert "2.5 s" in history_lines(runs, 0)[1]
    assert "1,000" in history_lines(runs, 0)[1]
