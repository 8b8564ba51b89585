"""Project folders, and their modules loaded afresh: never a stale one, never one of another project.

A module of functions is loaded under a name of its own, so that those of several projects, or of several
versions of one, can live in a process. What it imports from beside it is found in the usual way.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import os
import re
import sys
import traceback
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Literal

from pymr.errors import ProjectError
from pymr.kinds import check_name
from pymr.spelling import did_you_mean

FunctionKind = Literal["map", "reduce"]
MODULE_FILES: dict[FunctionKind, str] = {"map": "map_functions.py", "reduce": "reduce_functions.py"}

# Modules that anything may yet import. Nothing imports Python's own tests, and many a folder has a test.py.
_STANDARD_NAMES = sys.stdlib_module_names - {"test"}
_MODULE_PREFIX = "pymr_project_"
_TRACEBACK_FRAMES_MAX = 6
_ERROR_CHARACTERS_MAX = 4000


@dataclass(frozen=True, slots=True)
class LoadedModule:
    """A module of functions, and the text that it was made from."""

    project_name: str
    kind: FunctionKind
    path: Path
    source: bytes
    module: ModuleType


def project_names(projects_dir: Path) -> list[str]:
    """The projects in a folder, sorted: those of its folders that hold a module of functions."""
    folders = [folder for folder in projects_dir.iterdir() if folder.is_dir()]
    return sorted(
        folder.name for folder in folders if any((folder / file).is_file() for file in MODULE_FILES.values())
    )


def project_folder(projects_dir: Path, project_name: str) -> Path:
    """The folder of a project, absolute. Raises ProjectError, which says what exists, when there is none."""
    try:
        check_name(project_name)
    except ValueError as error:
        raise ProjectError(f"{project_name[:100]!r} cannot be the name of a project: it {error}") from None
    projects_dir = projects_dir.absolute()
    if not projects_dir.is_dir():
        raise ProjectError(
            f"there is no project {project_name!r}: its projects folder {projects_dir} does not exist"
        )
    folder = projects_dir / project_name
    if not folder.is_dir():
        names = project_names(projects_dir)
        existing = f"it holds {', '.join(names)}" if names else "it holds no project"
        nearest = did_you_mean(project_name, names)
        raise ProjectError(f"there is no project {project_name!r} in {projects_dir}; {existing}{nearest}")
    return folder


def import_from(folder: Path) -> None:
    """Make what lies in a project's folder importable, read anew, and in no other project's any longer.

    Changes sys.path, sys.modules and sys.dont_write_bytecode, for good: functions may import when they run.
    Raises ProjectError for a file that would hide a module of the standard library from the whole process.
    """
    _refuse_standard_names(folder)
    left = {entry for entry in sys.path if isinstance(entry, _ProjectEntry)}
    for name, module in list(sys.modules.items()):
        if not name.startswith(_MODULE_PREFIX) and _lies_in(module, {*left, str(folder)}):
            del sys.modules[name]
    sys.path[:] = [_ProjectEntry(folder), *(entry for entry in sys.path if entry not in left)]
    # A cache file would do harm in a project: it cannot tell two versions of one second apart.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    linecache.checkcache()


def load_module(folder: Path, kind: FunctionKind) -> LoadedModule:
    """Run the map_functions.py or reduce_functions.py of a project whose folder `import_from` has opened.

    It stays in sys.modules, where dataclasses and pickle look for it, until the same text is loaded again.
    Raises ProjectError when there is no such file, and for whatever goes wrong while it runs.
    """
    path = folder / MODULE_FILES[kind]
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ProjectError(
            f"project {folder.name!r} has no {path.name} that can be read, for its {kind} functions: "
            f"{path}: {error.strerror or error}"
        ) from error
    digest = sha256(os.fsencode(path) + b"\0" + source).hexdigest()
    # No dots: pickle would take what stands before one for a package.
    name = _MODULE_PREFIX + re.sub(r"\W", "_", f"{folder.name}_{path.stem}_{digest[:16]}")
    return LoadedModule(folder.name, kind, path, source, _run_module(name, path, source, folder))


class _ProjectEntry(str):
    """An entry of sys.path that was put there for a project, and goes when another one comes."""

    __slots__ = ()


def error_in_words(error: BaseException) -> str:
    """The type and message of an error that a user's module raised; a long message is cut."""
    try:
        return f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS_MAX]
    except Exception:  # its __str__ is the user's code too
        return type(error).__name__


def _refuse_standard_names(folder: Path) -> None:
    for entry in sorted(folder.iterdir()):
        is_module = entry.suffix == ".py" or (entry / "__init__.py").is_file()
        if is_module and entry.stem in _STANDARD_NAMES:
            raise ProjectError(
                f"{entry} has the name of a module of Python itself, and would hide it: rename it"
            )


def _lies_in(module: object, folders: set[str]) -> bool:
    # Not getattr: some packages have modules that import half of themselves when one looks at an attribute.
    attributes = getattr(module, "__dict__", {})
    locations = [attributes.get("__file__"), *attributes.get("__path__", ())]
    return any(isinstance(place, str) and _is_in(folder, place) for place in locations for folder in folders)


def _run_module(name: str, path: Path, source: bytes, folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the file's name ends with .py
    module = importlib.util.module_from_spec(spec)
    try:
        # Compiled here and not by its loader, which would look for a cache file.
        code = compile(source, str(path), "exec", dont_inherit=True)
        sys.modules[name] = module
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # whatever a user's module may do; it is told to the user
        sys.modules.pop(name, None)
        raise ProjectError(_why_not_loaded(path, folder, error)) from error
    return module


def _why_not_loaded(path: Path, folder: Path, error: BaseException) -> str:
    frames = list(traceback.extract_tb(error.__traceback__))
    while frames and not _is_in(folder, frames[0].filename):
        del frames[0]
    own = [frame for frame in frames if _is_in(folder, frame.filename)]
    where = f"{own[-1].filename}:{own[-1].lineno}" if own else str(path)
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}:{error.lineno}"
    what = error_in_words(error)
    if isinstance(error, SystemExit):
        what = f"it ends the process when it is imported ({what})"
    lines = [*traceback.format_list(frames[-_TRACEBACK_FRAMES_MAX:]), *traceback.format_exception_only(error)]
    shown = "".join(lines).rstrip()[-_ERROR_CHARACTERS_MAX:]
    return f"{path} cannot be loaded, {where}: {what}\n{shown}"


def _is_in(folder: str | Path, file_name: str) -> bool:
    return file_name.startswith(f"{folder}{os.sep}")
