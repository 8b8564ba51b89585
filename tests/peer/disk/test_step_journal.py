"""The journal of a copying step: what it says is finished is, whatever it was ended in."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pymr.base.errors import RetryableError
from pymr.peer.disk import step_journal
from pymr.peer.disk.step_journal import Journal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "copied-copy-00001"
    with Journal(str(path), "lists > target") as journal:
        journal.add("one", [3, 1, 2, 7])
        journal.add("two", [0])
        journal.add("one", [8])
    return path


def test_what_was_added_is_found_again(path: Path) -> None:
    with Journal(str(path), "lists > target") as journal:
        assert journal.done("one") == {1, 2, 3, 7, 8}
        assert journal.done("two") == {0}
        assert journal.done("three") == set()


@pytest.mark.parametrize("ending", [b"one 9", b"one 9 1", b"one"])
def test_a_line_that_was_being_written_does_not_count(path: Path, ending: bytes) -> None:
    with open(path, "ab") as file:
        file.write(ending)
    with Journal(str(path), "lists > target") as journal:
        assert journal.done("one") == {1, 2, 3, 7, 8}
        journal.add("two", [1])
    with Journal(str(path), "lists > target") as journal:
        assert journal.done("two") == {0, 1}


@pytest.mark.parametrize(
    "content", [b"", b"other lists > target\none 1 1\n", b"lists > target\n\0\0\0\n", b"\xff"]
)
def test_one_about_something_else_or_damaged_is_begun_anew(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with Journal(str(path), "lists > target") as journal:
        assert journal.done("one") == set()
        journal.add("one", [5])
    with Journal(str(path), "lists > target") as journal:
        assert journal.done("one") == {5}


def test_only_one_attempt_has_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_journal, "LOCK_SECONDS", 0.0)
    with Journal(str(path), "lists > target"), pytest.raises(RetryableError, match="has not ended yet"):
        Journal(str(path), "lists > target")
    monkeypatch.undo()
    first = Journal(str(path), "lists > target")
    threading.Timer(0.2, first.close).start()
    ticks: list[None] = []
    with Journal(str(path), "lists > target", lambda: ticks.append(None)) as journal:
        assert journal.done("two") == {0}
    assert ticks
