"""The external engine of a run, opened by name, with an error for the user if that fails."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NamedTuple

from pymr import __version__
from pymr.base.errors import FatalError, StartError
from pymr.config.toml_text import parse_override
from pymr.runs.info import Backend

_CLASSES = {
    "dask": ("pymr.engines.dask", "DaskEngine"),
    "ray": ("pymr.engines.ray", "RayEngine"),
    "spark": ("pymr.engines.spark", "SparkEngine"),
    "spark connect": ("pymr.engines.spark_connect", "SparkConnectEngine"),
}
LIBRARIES = {"dask": "distributed", "ray": "ray", "spark": "pyspark"}


CONNECT_SECONDS = 10.0


class Worker(NamedTuple):
    """What has to be the same on the workers of an engine and here. host: where it is."""

    host: str
    python: str
    version: str


def open_engine(backend: Backend, *, workers: int, directory: str) -> Any:
    """A context of an Engine. workers: how many processes, where it is one of this machine. directory: where
    that one may put files. Raises StartError where its library is not installed."""
    library, here = LIBRARIES[backend.name], os.uname().nodename
    try:
        import_module(library)
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != library:
            raise StartError(
                f"the engine {backend.name}: {library} cannot be imported on {here}: {error}"
            ) from error
        raise StartError(
            f"the engine {backend.name} needs {library}, which is not installed on {here}: "
            f"pip install 'pymr-cluster[{backend.name}]'"
        ) from error
    is_connect = backend.name == "spark" and (backend.address or "").startswith("sc://")
    module, name = _CLASSES["spark connect" if is_connect else backend.name]
    options = {key: parse_override(value) for key, value in backend.options}
    return getattr(import_module(module), name)(
        backend.address, options, workers=workers, directory=directory
    )


def this_worker() -> Worker:
    """Facts about the calling process."""
    return Worker(os.uname().nodename, f"{sys.version_info.major}.{sys.version_info.minor}", __version__)


def check_workers(engine: str, workers: Iterable[Worker]) -> None:
    """Raise FatalError where a worker runs another Python or another pymr."""
    here = this_worker()
    for worker in workers:
        if worker.python != here.python:
            raise FatalError(
                f"a worker of {engine} on {worker.host} runs Python {worker.python}, and the driver on "
                f"{here.host} {here.python}: use the same on both"
            )
        if worker.version != here.version:
            raise FatalError(
                f"a worker of {engine} on {worker.host} has pymr {worker.version}, and the driver on "
                f"{here.host} {here.version}: install the same version of pymr-cluster on both"
            )


class EngineAwayError(StartError):
    """There is no such engine at an address; one that was there may come back."""


def refused_address(engine: str, address: str, error: BaseException) -> EngineAwayError:
    """The error for an address without such an engine."""
    shown = shown_address(address)
    reason = str(error).replace(address, shown).partition("\n")[0] or type(error).__name__
    return EngineAwayError(
        f"there is no {engine} at {shown} ({reason}): check --engine-address, or `address` in "
        f"[engine_{engine.lower()}] of cluster.toml; left out, it is one on this machine"
    )


def refused_start(engine: str, error: BaseException) -> StartError:
    """The error for an engine of this machine that does not start."""
    reason, cause = str(error).strip() or type(error).__name__, error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if cause is not error:
        reason = f"{reason} ({type(cause).__name__}: {cause})"
    return StartError(
        f"{engine} does not start on this machine: {reason}\nIts options are those of --engine-option, and "
        f"of `options` in [engine_{engine.lower()}] of cluster.toml"
    )


def shown_address(address: str) -> str:
    """An address without its parameters and user, in which tokens and passwords are."""
    return re.sub(r"//[^/@]*@", "//", address.partition(";")[0])


def check_address(engine: str, address: str, scheme: str, default_port: int) -> None:
    """Raise StartError where nobody listens at any of the hosts of SCHEME://HOST:PORT,...: some engines take
    minutes to say so. Addresses of other schemes are not looked at. scheme: "" for HOST:PORT alone."""
    given, _, places = address.rpartition("://")
    if given != scheme:
        return
    error: Exception | None = None
    for place in re.split(r"[/;]", places)[0].split(","):
        host, _, port = place.partition(":")
        try:
            socket.create_connection((host, int(port or default_port)), CONNECT_SECONDS).close()
            return
        except (OSError, ValueError) as refusal:
            error = refusal
    assert error is not None
    raise refused_address(engine, address, error) from error
