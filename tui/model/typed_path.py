"""A path as somebody typed it, before anything is opened."""

from __future__ import annotations

import os
from pathlib import Path

from pymr.base.errors import PymrError
from tui.model.printable import printable

_SHOWN_CHARACTERS_MAX = 60


def typed_path(text: str) -> Path:
    """The path, `~` being a home folder. Whether there is such a file is not looked at.

    Raises PymrError for what no file can be called, and for the home of a user that there is not.
    """
    shown = printable(text.strip())
    if len(shown) > _SHOWN_CHARACTERS_MAX:
        shown = f"{shown[:_SHOWN_CHARACTERS_MAX]}…"
    try:
        path = Path(text.strip()).expanduser()
        is_name = b"\0" not in os.fsencode(path)
    except RuntimeError as error:
        raise PymrError(f"{shown}: there is no such user, or it has no home folder") from error
    except UnicodeError as error:
        raise PymrError(f"{shown} has characters that no path can have") from error
    if not is_name:
        raise PymrError(f"{shown} has characters that no path can have")
    return path
