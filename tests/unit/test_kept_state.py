"""A peer's data folder: one daemon at a time, or one that stands in for it. What it remembers in there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from pymr.control.records import JobRecord, JobState
from pymr.errors import StartError
from pymr.peer.kept_state import JobTable, KeptState, StandIn
from pymr.peer.places import Places


def end_of_a_daemon(folder: Path) -> Places:
    """A folder as a daemon has left it that was killed."""
    places = Places(str(folder))
    script = f"from pymr.peer.kept_state import *; KeptState(Places({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", script], check=True)
    return places


def test_a_peer_that_comes_back_waits_for_the_one_that_stands_in_for_it(tmp_path: Path) -> None:
    places = end_of_a_daemon(tmp_path)
    boot = int(Path(places.boot).read_text())
    states: list[KeptState] = []
    with StandIn(places):
        thread = threading.Thread(target=lambda: states.append(KeptState(places)))
        thread.start()
        thread.join(0.2)
        before = list(states)
    thread.join(30.0)

    assert before == []
    assert [state.boot for state in states] == [boot + 1]
    states[0].close()


def test_a_peer_on_a_new_disk_does_not_count_its_starts_from_the_same_number_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    boots = []
    for second in (5, 6, 9):
        monkeypatch.setattr("time.time_ns", lambda now=second: now * 1_000_000_000)
        if second == 9:
            shutil.rmtree(tmp_path / "state")
        state = KeptState(Places(str(tmp_path)))
        boots.append(state.boot)
        state.close()

    assert boots == [5_001, 5_002, 9_001]


def test_a_second_daemon_is_refused_at_once_and_cannot_be_stood_in_for(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    state = KeptState(places)
    with pytest.raises(StartError, match="in use by another pymr-peer"):
        KeptState(places)
    with pytest.raises(BlockingIOError), StandIn(places):
        pass
    state.close()


def test_the_job_table_is_kept_with_its_cycle_and_what_was_consumed(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    state = KeptState(places)
    job = JobRecord(
        name="words", version=3, change=7, fields={"job_name": "words"}, project_hash="", submitted_at=1.5,
        cycle=2, seconds=0.5,
    )  # fmt: skip
    table = JobTable("life-1", 7, (job,), 2, {"words": JobState("words-000001", "a")}, True)
    state.keep_jobs(table)

    assert state.kept_jobs() == table
    state.close()


def test_a_job_table_of_an_earlier_release_is_read(tmp_path: Path) -> None:
    places = Places(str(tmp_path))
    state = KeptState(places)
    job = {"name": "words", "version": 3, "change": 7, "fields": {}, "project_hash": "", "submitted_at": 1.5}
    earlier = {"incarnation": "life-1", "change": 7, "jobs": [{**job, "status": "succeeded"}]}
    Path(places.job_table).write_bytes(msgspec.msgpack.encode(earlier))
    table = state.kept_jobs()

    assert table is not None and (table.cycle, table.states, table.paused) == (1, {}, False)
    assert (table.jobs[0].status, table.jobs[0].cycle, table.jobs[0].seconds) == ("succeeded", 0, None)
    state.close()
