"""pymr: MapReduce in Python, on your own machines, from a terminal."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pymr.base.counters import count

if TYPE_CHECKING:
    from pymr.api.manage_cluster import ManageCluster
    from pymr.api.run import run
    from pymr.api.scheduler import Scheduler
    from pymr.base.errors import ConfigError, JobError, ProjectError, PymrError
    from pymr.client import ClientError, RefusedError, UnreachableError
    from pymr.engine.disk.disk_list import DiskList
    from pymr.engine.disk_sort import DiskSort

__version__ = "0.4.0"
__all__ = [
    "ClientError", "ConfigError", "DiskList", "DiskSort", "JobError", "ManageCluster", "ProjectError",
    "PymrError", "RefusedError", "Scheduler", "UnreachableError", "__version__", "count", "run",
]  # fmt: skip

# Loaded on first use: a console that only asks for the version pays for nothing else.
_LAZY = {
    **dict.fromkeys(("ConfigError", "JobError", "ProjectError", "PymrError"), "pymr.base.errors"),
    **dict.fromkeys(("ClientError", "RefusedError", "UnreachableError"), "pymr.client"),
    "DiskList": "pymr.engine.disk.disk_list",
    "DiskSort": "pymr.engine.disk_sort",
    "ManageCluster": "pymr.api.manage_cluster",
    "Scheduler": "pymr.api.scheduler",
    "run": "pymr.api.run",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'pymr' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
