"""The command `pymr` in the process of a test: what it said, and how it ended."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pymr.cli import main


@dataclass(frozen=True)
class Finished:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Finished]


@pytest.fixture
def pymr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command in the folder of the test, as `main` does but for the signals."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYMR_CONFIG", raising=False)
    monkeypatch.setattr(main, "_take_signals", lambda: None)
    monkeypatch.setattr("pymr.cli.main.signal.signal", lambda *_: None)
    monkeypatch.setattr(main, "check_streams", lambda: None)

    def run(*arguments: str) -> Finished:
        monkeypatch.setattr("sys.argv", ["pymr", *arguments])
        with pytest.raises(SystemExit) as ended:
            main.main()
        said = capsys.readouterr()
        return Finished(ended.value.code if isinstance(ended.value.code, int) else 0, said.out, said.err)

    return run
