"""A peer's data folder: one daemon at a time, or one that stands in for it. What it remembers in there."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pymr.base.errors import StartError
from pymr.peer.disk.local_state import LocalState, StandIn
from pymr.peer.disk.paths import PeerPaths


def end_of_a_daemon(folder: Path) -> PeerPaths:
    """A folder as a daemon has left it that was killed."""
    paths = PeerPaths(str(folder))
    script = f"from pymr.peer.disk.local_state import *; LocalState(PeerPaths({str(folder)!r}))"
    subprocess.run([sys.executable, "-c", script], check=True)
    return paths


def test_a_peer_that_comes_back_waits_for_the_one_that_stands_in_for_it(tmp_path: Path) -> None:
    paths = end_of_a_daemon(tmp_path)
    boot = int(Path(paths.boot).read_text())
    states: list[LocalState] = []
    with StandIn(paths):
        thread = threading.Thread(target=lambda: states.append(LocalState(paths)))
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
        state = LocalState(PeerPaths(str(tmp_path)))
        boots.append(state.boot)
        state.close()

    assert boots == [5_001, 5_002, 9_001]


def test_a_second_daemon_is_refused_at_once_and_cannot_be_stood_in_for(tmp_path: Path) -> None:
    paths = PeerPaths(str(tmp_path))
    state = LocalState(paths)
    with pytest.raises(StartError, match="in use by another pymr-peer"):
        LocalState(paths)
    with pytest.raises(BlockingIOError), StandIn(paths):
        pass
    state.close()
