"""The console's own settings: the file in which an operator gives keys another place, and chooses a theme."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymr.base.errors import ConfigError, Problem

SETTINGS_VARIABLE = "PYMR_TUI_CONFIG"

_RENAMED = {
    f"app.{name}": f"jobs.{name}"
    for name in ("submit", "edit", "delete", "undelete", "retry", "force", "pause")
}
"""Ids of keys as they were called once, which go on working, and as they are called now."""


@dataclass(frozen=True, slots=True)
class Settings:
    """theme: a name of `themes`; "" for the default. keys: by id of a binding, its keys, separated by commas,
    such as `{"jobs.delete": "x,delete"}`. path: the file that they are from; "" for none."""

    theme: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    path: str = ""


def settings_path() -> Path:
    """$PYMR_TUI_CONFIG, else pymr/console.toml among the user's settings."""
    if chosen := os.environ.get(SETTINGS_VARIABLE):
        return Path(chosen)
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(home) / "pymr" / "console.toml"


def load_settings(path: Path) -> Settings:
    """The settings of a file; those of nobody where it does not exist. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        values = tomllib.loads(text)
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(str(path), (Problem("file", str(path), f"cannot be read: {error}"),)) from error
    if isinstance(values.get("keys"), dict):
        values["keys"] = _by_id(values["keys"])
    problems = _problems(values)
    if problems:
        raise ConfigError(str(path), tuple(problems))
    return Settings(values.get("theme", ""), values.get("keys", {}), str(path))


def _by_id(keys: Mapping[str, Any]) -> dict[str, Any]:
    """Keys by the whole of their ids: to TOML, `jobs.delete` without quotes is `delete` in a table `jobs`. An
    id that was called otherwise once has its name of today, unless that is there, too."""
    whole: dict[str, Any] = {}
    for name, value in keys.items():
        inner = value if isinstance(value, dict) else {"": value}
        whole |= {f"{name}.{rest}" if rest else name: one for rest, one in inner.items()}
    return {_RENAMED.get(id, id): keys for id, keys in whole.items() if _RENAMED.get(id) not in whole}


def _problems(values: Mapping[str, Any]) -> list[Problem]:
    problems = [
        Problem(name, value, "is not a setting of the console; there are theme and [keys]")
        for name, value in values.items()
        if name not in ("theme", "keys")
    ]
    if not isinstance(values.get("theme", ""), str):
        problems.append(Problem("theme", values["theme"], "has to be a text"))
    keys = values.get("keys", {})
    if not isinstance(keys, dict):
        return [*problems, Problem("keys", keys, 'has to be a table: [keys], then lines of ID = "KEY"')]
    return problems + [
        Problem(f"keys.{name}", key, "has to be a text: a key, or some with commas between them")
        for name, key in keys.items()
        if not isinstance(key, str) or not key
    ]
