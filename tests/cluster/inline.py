"""`pymr run --inline` without a process of its own: for jobs whose functions do this process no harm."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

from pymr.api.run import Nobody
from pymr.base.errors import PymrError
from pymr.cli import main
from pymr.engines.core.driver import Engine
from pymr.local.run import RunRequest, run_job

for _name in ("pymr.config.cluster", "pymr.local.inline", "pymr.jobs.job"):  # once, not again for each run
    import_module(_name)


def request_of(folder: Path, *arguments: object) -> RunRequest:
    """What the command `pymr run` with these arguments asks for, called in this folder."""
    with contextlib.chdir(folder):
        return main._run_request(**main.run.make_context("run", [*map(str, arguments)]).params)


def run_here(request: RunRequest, engine: Engine | None = None) -> str:
    """Run it in this process, or from it on an engine; what was wrong, "" if nothing. What it has loaded is
    gone afterwards."""
    with _imports_put_back():
        try:
            run_job(request, Nobody(), engine)
        except PymrError as error:
            return str(error)
    return ""


@contextlib.contextmanager
def _imports_put_back() -> Iterator[None]:
    path, modules, writes_none = list(sys.path), set(sys.modules), sys.dont_write_bytecode
    try:
        yield
    finally:
        sys.path[:] = path
        sys.dont_write_bytecode = writes_none
        for name in set(sys.modules) - modules:
            if not _is_installed(sys.modules[name]):
                del sys.modules[name]


def _is_installed(module: ModuleType) -> bool:
    """Whether it is of a library: some of those, such as numpy, cannot be loaded twice."""
    return "site-packages" in str(getattr(module, "__file__", None))
