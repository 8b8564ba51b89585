"""What lies in the folders of this machine that a path leads into."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.model.folder_names import folder_of, read_folder


def test_the_names_of_all_bases_are_there_once_and_folders_are_marked(tmp_path: Path) -> None:
    for path in ("alpha/corpus/2024", "beta/corpus", "beta/logs", "beta/state"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "alpha" / "a b.txt").write_text("")
    bases = [tmp_path / "alpha", tmp_path / "beta", tmp_path / "gone"]

    assert read_folder("", bases, ["state"]).names == ("a b.txt", "corpus/", "logs/")
    assert read_folder("corpus/", bases).names == ("corpus/2024/",)


def test_an_absolute_path_and_a_home_need_no_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))

    assert read_folder("~/", ["/no/such"]).names == ("~/jobs/",)
    assert read_folder(f"{tmp_path}/", ["/no/such"]).names == (f"{tmp_path}/jobs/",)


@pytest.mark.parametrize("folder", ["no/such/", "a\0b/", "~no-such-user/", "x" * 5_000 + "/"])
def test_what_cannot_be_read_has_no_names(tmp_path: Path, folder: str) -> None:
    assert read_folder(folder, [tmp_path]).names == ()


def test_names_that_no_text_can_hold_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "so\x1b[31mred").mkdir()
    (tmp_path / "so\udcffodd").mkdir()

    assert read_folder("", [tmp_path]).names == ()


def test_a_path_that_was_begun_is_a_folder_up_to_its_last_slash() -> None:
    assert [folder_of(text) for text in ("", "cor", "corpus/", "a/b", "/")] == ["", "", "corpus/", "a/", "/"]
