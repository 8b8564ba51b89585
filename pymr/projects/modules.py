"""Project folders, and their modules loaded afresh: never a stale one, never one of another project.

A module of functions has the name of its file, in any process that works for the project: what is pickled in
one can be unpickled in another, and in what the functions start. A process works for one project at a time.
"""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import os
import sys
import traceback
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Literal

from pymr.base.errors import ProjectError
from pymr.base.spelling import did_you_mean
from pymr.config.kinds import check_name
from pymr.projects.debugger_quit import operator_stop
from pymr.projects.paths import EntryAbove, ProjectEntry, is_in, shown_path, shown_traceback

FunctionKind = Literal["map", "reduce"]
MODULE_FILES: dict[FunctionKind, str] = {"map": "map_functions.py", "reduce": "reduce_functions.py"}

# Modules that anything may yet import. Nothing imports Python's own tests, and many a folder has a test.py.
_STANDARD_NAMES = sys.stdlib_module_names - {"test"}
_PATH_VARIABLE, _NO_CACHE_VARIABLE = "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"
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
    """Make the modules of a project's folder importable, freshly read, and those of other projects not.

    As `helpers` and as `PROJECT.helpers`, and by PYTHONPATH also in the processes that functions start.
    Changes sys.path, sys.modules, sys.dont_write_bytecode and the environment, for good: functions may import
    when they run.
    Raises ProjectError for a file that would hide a module of the standard library from the whole process.
    """
    _refuse_standard_names(folder)
    left = {entry for entry in sys.path if isinstance(entry, ProjectEntry)}
    folders = {str(folder), *(entry for entry in left if not isinstance(entry, EntryAbove))}
    here, prefix = _prefixes(folders), _prefixes({sys.prefix})
    for name, module in list(sys.modules.items()):
        if _lies_in(module, here) and not _lies_in(module, prefix):  # its own .venv may be in it
            del sys.modules[name]
    own, above = ProjectEntry(folder), _entry_above(folder)
    # What lies above comes last: it may hold more than projects, and is to hide nothing.
    sys.path[:] = [own, *(entry for entry in sys.path if not isinstance(entry, ProjectEntry)), *above]
    _let_children_import([own, *(entry for entry in above if _holds_only(entry, folder.name))], left)
    # A cache file would do harm in a project: it cannot tell two versions of one second apart.
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    linecache.checkcache()


def load_module(folder: Path, kind: FunctionKind) -> LoadedModule:
    """Run the map_functions.py or reduce_functions.py of a project whose folder `import_from` has opened,
    unless the other one has imported it already.

    It stays in sys.modules, where dataclasses and pickle look for it, until `import_from` is called again.
    Raises ProjectError if there is no such file, and for any error while it runs.
    """
    path = folder / MODULE_FILES[kind]
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ProjectError(
            f"project {folder.name!r} has no {path.name} that can be read, for its {kind} functions: "
            f"{shown_path(path)}: {error.strerror or error}"
        ) from error
    module = sys.modules.get(path.stem)
    if module is None or getattr(module, "__file__", None) != str(path):
        module = _run_module(path, source, folder)
        _put_into_package(module, folder)
    return LoadedModule(folder.name, kind, path, source, module)


def _entry_above(folder: Path) -> list[EntryAbove]:
    can_be_package = folder.name.isidentifier() and folder.name not in _STANDARD_NAMES
    return [EntryAbove(folder.parent)] if can_be_package else []


def _holds_only(folder: str, name: str) -> bool:
    """Whether a folder can come first on a path, as in PYTHONPATH, without hiding anything."""
    return all(entry == name or entry.startswith(".") for entry in os.listdir(folder))


def _let_children_import(entries: Sequence[str], left: Set[str]) -> None:
    """Have the processes that are started from here find what is below `entries`, and not below `left`."""
    inherited = os.environ.get(_PATH_VARIABLE, "").split(os.pathsep)
    kept = [entry for entry in inherited if entry and entry not in left and entry not in entries]
    os.environ[_PATH_VARIABLE] = os.pathsep.join([*entries, *kept])
    os.environ[_NO_CACHE_VARIABLE] = "1"


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
                f"{folder.name}/{entry.name} has the name of a module of Python itself, and would hide it: "
                "rename it"
            )


def _prefixes(folders: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{folder}{os.sep}" for folder in folders)


def _lies_in(module: object, prefixes: tuple[str, ...]) -> bool:
    # Not getattr: some packages have modules that import half of themselves when one looks at an attribute.
    attributes = getattr(module, "__dict__", {})
    locations = [attributes.get("__file__"), *attributes.get("__path__", ())]
    return any(isinstance(place, str) and f"{place}{os.sep}".startswith(prefixes) for place in locations)


def _run_module(path: Path, source: bytes, folder: Path) -> ModuleType:
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # the file's name ends with .py
    module = importlib.util.module_from_spec(spec)
    try:
        # Compiled here and not by its loader, which would look for a cache file.
        code = compile(source, str(path), "exec", dont_inherit=True)
        sys.modules[name] = module
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:  # a user's module may do anything; reported to the user
        sys.modules.pop(name, None)
        if stop := operator_stop(error):
            raise stop from error
        raise ProjectError(_why_not_loaded(path, folder, error)) from error
    return module


def _put_into_package(module: ModuleType, folder: Path) -> None:
    """Have `from PROJECT.map_functions import Point` mean the same class as in the functions themselves."""
    spec = importlib.util.find_spec(folder.name) if _entry_above(folder) else None
    # A package with an __init__.py is the project's own affair, and one of another place is another.
    if spec is None or spec.origin is not None or str(folder) not in (spec.submodule_search_locations or ()):
        return
    package = importlib.import_module(folder.name)
    setattr(package, module.__name__, module)
    sys.modules[f"{folder.name}.{module.__name__}"] = module


def _why_not_loaded(path: Path, folder: Path, error: BaseException) -> str:
    frames = list(traceback.extract_tb(error.__traceback__))
    while frames and not is_in(folder, frames[0].filename):
        del frames[0]
    own = [frame for frame in frames if is_in(folder, frame.filename)]
    where = f"{shown_path(own[-1].filename)}:{own[-1].lineno}" if own else shown_path(path)
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{shown_path(error.filename)}:{error.lineno}"
    what = error_in_words(error)
    if isinstance(error, SystemExit):
        what = f"it ends the process when it is imported ({what})"
    lines = [*traceback.format_list(frames[-_TRACEBACK_FRAMES_MAX:]), *traceback.format_exception_only(error)]
    shown = "".join(lines).rstrip()[-_ERROR_CHARACTERS_MAX:]
    return f"{shown_path(path)} cannot be loaded, {where}: {what}\n{shown_traceback(shown)}"
