"""What the console tells in passing."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App

from tui.app import ConsoleApp


def test_a_notice_controls_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, str]] = []
    monkeypatch.setattr(App, "notify", lambda _, text, *, title, **__: told.append((text, title)))
    app: Any = ConsoleApp.__new__(ConsoleApp)
    app.notify("failed: \x1b[2J\u202efirst\nsecond", title="of \x9b1m", markup=False)

    assert told == [("failed: \\x1b[2J\\u202efirst\nsecond", "of \\u009b1m")]
