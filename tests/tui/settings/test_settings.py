"""The settings file of the console, and the options of its command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pymr.base.errors import ConfigError
from tui import cli
from tui.settings.keys import wrong_keys
from tui.settings.options import Options
from tui.settings.settings import Settings, load_settings, settings_path

PYMR_TUI = Path(sys.executable).with_name("pymr-tui")


def settings(tmp_path: Path, text: str) -> Settings:
    path = tmp_path / "console.toml"
    path.write_text(text)
    return load_settings(path)


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command, where there is no terminal."""
    return subprocess.run(
        [PYMR_TUI, *arguments],
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
    )


def test_no_file_is_no_settings(tmp_path: Path) -> None:
    assert load_settings(tmp_path / "none.toml") == Settings()


def test_ids_may_stand_with_and_without_quotes(tmp_path: Path) -> None:
    told = settings(tmp_path, 'theme = "light"\n[keys]\njobs.delete = "x,delete"\n"jobs.filter" = "f3"\n')

    assert told.theme == "light"
    assert told.keys == {"jobs.delete": "x,delete", "jobs.filter": "f3"}
    assert told.path == str(tmp_path / "console.toml")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 1", "colour = 1: is not a setting of the console"),
        ("theme = 1", "theme = 1: has to be a text"),
        ("keys = 3", "keys = 3: has to be a table"),
        ("[keys]\njobs.delete = 3", "keys.jobs.delete = 3: has to be a text"),
        ('[keys]\n"jobs.delete" = ""', "keys.jobs.delete = '': has to be a text"),
        ("[keys", "cannot be read"),
    ],
)
def test_a_bad_setting_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings(tmp_path, text)

    assert str(tmp_path / "console.toml") in str(caught.value)
    assert named in str(caught.value)


def test_an_id_of_before_is_the_key_of_today(tmp_path: Path) -> None:
    told = settings(tmp_path, '[keys]\napp.pause = "P"\napp.retry = "R"\njobs.retry = "ctrl+r"\n')

    assert told.keys == {"jobs.pause": "P", "jobs.retry": "ctrl+r"}
    assert wrong_keys(told.keys) == []


def test_the_file_is_where_settings_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/somewhere")
    monkeypatch.delenv("PYMR_TUI_CONFIG", raising=False)
    usual = settings_path()
    monkeypatch.setenv("PYMR_TUI_CONFIG", "/else/where.toml")

    assert usual == Path("/somewhere/pymr/console.toml")
    assert settings_path() == Path("/else/where.toml")


def test_help_names_all_options() -> None:
    ended = command("--help")

    assert ended.returncode == 0
    for option in ("--config", "--key", "--read-only", "--projects", "--theme", "--serve", "--keys"):
        assert f"{option} " in ended.stdout


def test_without_a_terminal_it_says_what_to_do_instead() -> None:
    ended = command()

    assert ended.returncode == 2
    assert ended.stderr.startswith("pymr-tui: it needs a terminal")
    assert "pymr jobs" in ended.stderr and "--serve" in ended.stderr


def test_options_go_to_the_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[Any] = []
    monkeypatch.setattr(cli, "_run", lambda *given: began.append(given) or 7)
    monkeypatch.setattr(cli, "is_in_browser", lambda: True)
    monkeypatch.setenv("PYMR_TUI_CONFIG", str(tmp_path / "none.toml"))
    missing = tmp_path / "cluster.toml"
    arguments = [
        "--config",
        str(missing),
        "--key",
        "watcher",
        "--read-only",
        "--projects",
        "p",
        "--theme",
        "light",
    ]
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments, standalone_mode=False)

    assert ended.value.code == 7
    ((options, config, why_not, told),) = began
    assert options == Options("watcher", True, "p", "light")
    assert config is None and why_not.startswith(f"{missing} does not exist")
    assert told == Settings()


def test_a_bad_file_ends_the_command_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "is_in_browser", lambda: True)
    for variable, option in (("PYMR_TUI_CONFIG", []), ("", ["--config", str(tmp_path / "bad.toml")])):
        path = tmp_path / "bad.toml"
        path.write_text("nonsense = 1")
        monkeypatch.setenv("PYMR_TUI_CONFIG", str(path if variable else tmp_path / "none.toml"))
        with pytest.raises(SystemExit) as ended:
            cli.main(option, standalone_mode=False)
        told = capsys.readouterr().err

        assert ended.value.code == 2
        assert str(path) in told and "nonsense" in told


def test_a_theme_that_is_none_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "is_in_browser", lambda: True)
    monkeypatch.setenv("PYMR_TUI_CONFIG", str(tmp_path / "none.toml"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["--theme", "lihgt"], standalone_mode=False)

    assert ended.value.code == 2
    assert "theme = 'lihgt': there is none of that name; did you mean light?" in capsys.readouterr().err


def test_a_console_in_a_browser_gets_the_same_options() -> None:
    arguments = cli._arguments("/a b/cluster.toml", "watcher", True, "", "light")

    assert arguments == ["--config=/a b/cluster.toml", "--key=watcher", "--theme=light", "--read-only"]


class Failing:
    """A console that fails, then one that is left. Made instead of a ConsoleApp."""

    made: ClassVar[list[dict[str, Any]]] = []
    failures = 1

    def __init__(self, options: Options, config: Any, why_not: str, told: Settings, **more: Any) -> None:
        self.config, self.why_no_config, self.return_code = config, why_not, 0
        self.made.append(more)
        is_failing = len(self.made) <= self.failures
        self.unexpected = RuntimeError(f"fault {len(self.made)}") if is_failing else None

    def run(self) -> None:
        pass


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Failing]:
    monkeypatch.setattr("tui.app.ConsoleApp", Failing)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(Failing, "made", [])
    return Failing


def test_a_console_that_fails_begins_anew_and_logs_why(failing: type[Failing], tmp_path: Path) -> None:
    status = cli._run(Options(), None, "", Settings())
    log = (tmp_path / "pymr" / "console.log").read_text()

    assert status == 0
    first, second = failing.made
    assert first["after"] is None
    assert isinstance(second["after"], failing)  # whose text and demo it goes on with
    assert "RuntimeError: fault 1" in log


def test_a_console_that_fails_again_and_again_is_given_up(
    failing: type[Failing],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(failing, "failures", 100)
    status = cli._run(Options(), None, "", Settings())

    assert status == 1
    assert len(failing.made) == cli.RESTARTS_MAX + 1
    assert str(tmp_path / "pymr" / "console.log") in capsys.readouterr().err
