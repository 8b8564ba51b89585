"""Fixtures of the console's tests: a real cluster, lent; and the console over it, without a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster
from cluster.conftest import lend_cluster, make_cluster, pytest_runtest_makereport

from pymr.config.cluster import load_config
from tui.app import ConsoleApp
from tui.parsed_styles import ParsedStyles
from tui.settings.options import Options

__all__ = ["lend_cluster", "make_cluster", "pytest_runtest_makereport"]


MakeConsole = Callable[..., ConsoleApp]


@pytest.fixture(scope="session", autouse=True)
def _parsed_styles() -> Iterator[None]:
    """Apps that show one widget parse styles once, as the console does: a fifth of what they cost."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual.app.Stylesheet", ParsedStyles)
        yield


@pytest.fixture(autouse=True)
def _own_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The console's log of whoever runs the tests stays as it is."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def make_console(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MakeConsole:
    """Makes consoles over a cluster; none of them sees the settings of whoever runs the tests."""
    monkeypatch.setenv("PYMR_TUI_CONFIG", str(tmp_path / "console.toml"))
    monkeypatch.delenv("NO_COLOR", raising=False)

    def make(cluster: Cluster, **options: Any) -> ConsoleApp:
        options.setdefault("projects_dir", str(cluster.folder / "projects"))
        return ConsoleApp(Options(**options), load_config(str(cluster.path)))

    return make
