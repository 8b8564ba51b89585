"""Paths as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pymr.base.errors import PymrError
from tui.model.typed_path import typed_path


def test_a_path_is_taken_as_it_is_and_the_home_put_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")

    assert typed_path("  ~/jobs/a b.toml ") == Path("/home/ann/jobs/a b.toml")
    assert typed_path("x" * 300) == Path("x" * 300)  # opening it says that this is too long


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("~no-such-user/x", "~no-such-user/x: there is no such user"),
        ("a\0b", "has characters that no path can have"),
        ("a\ud800", "has characters that no path can have"),
        ("a\0" + "b" * 5_000, "b… has characters"),
    ],
)
def test_what_is_no_path_is_told(text: str, why: str) -> None:
    with pytest.raises(PymrError) as caught:
        typed_path(text)

    assert why in str(caught.value)
    assert str(caught.value).isprintable()
