"""Saving: all that is kept, whole or not at all, and over nothing that is no file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pane_samples import reader

from pymr.base.errors import PymrError
from pymr.base.terminal_text import TerminalText
from pymr.client import PaneBytes, UnreachableError
from tui.model.pane.save import may_replace, save_pane


def text_of(pane: bytes) -> bytes:
    """What a part of a pane says; a line end or colour that is cut at its end or start is no whole one."""
    text = TerminalText(is_plain=True)
    return text.feed(pane) + text.end()


def test_all_that_is_kept_is_saved_as_text_without_colours(tmp_path: Path) -> None:
    pane = b"\x1b[31mline\x1b[0m\r\n" * 50_000

    size = save_pane(reader(pane, (200_000, 300_000)), tmp_path / "a.log", over=False)

    saved = (tmp_path / "a.log").read_bytes()
    note = b"\n[pymr: 100,000 bytes of output are not kept here]\n"
    assert saved == text_of(pane[:200_000]) + note + text_of(pane[300_000:])
    assert saved.count(b"line\n") > 40_000
    assert size == len(saved)
    assert [path.name for path in tmp_path.iterdir()] == ["a.log"]


def test_a_file_that_is_there_is_replaced_only_when_told_so(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("mine")

    with pytest.raises(PymrError, match="already"):
        save_pane(reader(b"new"), tmp_path / "a.log", over=False)
    before = (tmp_path / "a.log").read_text()
    save_pane(reader(b"new"), tmp_path / "a.log", over=True)

    assert before == "mine"
    assert (tmp_path / "a.log").read_text() == "new"


def test_a_pane_that_cannot_be_read_on_leaves_no_file(tmp_path: Path) -> None:
    def read(offset: int, bytes_max: int) -> PaneBytes:
        if offset:
            raise UnreachableError("gone")
        return PaneBytes("r1", 0, b"x" * 100, 1_000)

    with pytest.raises(PymrError, match="gone"):
        save_pane(read, tmp_path / "a.log", over=False)

    assert list(tmp_path.iterdir()) == []


def test_a_file_is_as_readable_as_any_other_and_stays_as_it_was(tmp_path: Path) -> None:
    new, old, other = tmp_path / "new.log", tmp_path / "old.log", tmp_path / "other"
    other.touch()
    old.touch(mode=0o600)

    save_pane(reader(b"text"), new, over=False)
    save_pane(reader(b"text"), old, over=True)

    assert new.stat().st_mode == other.stat().st_mode
    assert old.stat().st_mode & 0o777 == 0o600


def test_through_a_link_the_file_behind_it_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("file")

    save_pane(reader(b"new"), tmp_path / "link", over=True)

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("folder", "a folder has that name"),
        ("pipe", "no regular file has that name"),
        ("n" * 300, "File name too long"),
        ("file/inside", "Not a directory"),
        ("missing/file", "No such file or directory"),
    ],
)
def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(PymrError, match=reason) as error:
        save_pane(reader(b"text"), tmp_path / name, over=True)

    assert str(error.value).endswith(f": {tmp_path / name}")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "pipe"]


def test_only_what_is_there_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    assert may_replace(tmp_path / "file")
    assert not may_replace(tmp_path / "other")
