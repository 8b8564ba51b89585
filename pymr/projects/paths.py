"""Where the current process's project is, by sys.path, and how its files are named in messages."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class ProjectEntry(str):
    """An entry of sys.path that was put there for a project, and goes when another one comes. In another
    process, which `multiprocessing` starts with this one's path, it is any entry."""

    __slots__ = ()

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)


class EntryAbove(ProjectEntry):
    """The folder that the project's lies in, where it can be imported as a package."""

    __slots__ = ()


def shown_path(path: str | Path) -> str:
    """The name of a file in messages: in the loaded project from its name on (`demo/helpers.py`), wherever on
    this machine the project lies; any other by its path."""
    for folder in _open_folders():
        if is_in(folder, str(path)):
            return f"{os.path.basename(folder)}{str(path)[len(folder) :]}"
    return str(path)


def shown_traceback(text: str) -> str:
    """A traceback of Python with the project's files as `shown_path` tells of them."""
    for folder in _open_folders():
        text = text.replace(f'File "{folder}{os.sep}', f'File "{os.path.basename(folder)}{os.sep}')
    return text


def _open_folders() -> list[str]:
    """The folder of the project that is loaded, if any."""
    entries = (entry for entry in sys.path if isinstance(entry, ProjectEntry))
    return [str(entry) for entry in entries if not isinstance(entry, EntryAbove)]


def is_in(folder: str | Path, file_name: str) -> bool:
    return file_name.startswith(f"{folder}{os.sep}")
