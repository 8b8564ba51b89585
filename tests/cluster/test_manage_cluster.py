"""Starting, stopping and killing the processes of a cluster: with processes that pass for daemons."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fake_peer import free_port

from pymr.config import PeerConfig, cluster_toml, load_config
from pymr.errors import FatalError
from pymr.manage_cluster import ManageCluster
from pymr.peer_processes import find_daemons, find_processes, is_here
from pymr.private_redis import running_pid
from pymr.remote_peers import remote_data_dir, start_remote

TESTS = Path(__file__).parents[1]

DAEMON = f"""
import sys, threading
sys.path[:0] = [{str(TESTS)!r}]
from fake_peer import FakePeer
from pymr.config import load_config
from pymr.requests import ClusterView, Done, GetCluster, GetPeers, PeersView, StopPeer

config = load_config(sys.argv[2])
me = next(peer for peer in config.peers if peer.name == sys.argv[4])
stopping = threading.Event()

def cluster(request):
    return ClusterView(
        id=request.id, name=config.name, peer=me.name, incarnation="i", leader=config.peers[0].name, epoch=1,
        paused=False, peers_alive=1, peers=1, workers=1, workers_busy=0, jobs=0, version="0", role="operator")

def stop(request):
    threading.Timer(0.1, stopping.set).start()
    return Done(id=request.id)

PREPARE
with FakePeer(me.name, me.control_port, {{
    GetCluster: cluster, StopPeer: stop, GetPeers: lambda request: PeersView(id=request.id, rows=())
}}):
    stopping.wait()
"""


class Place:
    """A cluster of two in a folder, with a managed Redis. said: what was reported."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        peers = [
            PeerConfig(
                name=name, control_port=free_port(), data_port=free_port(), workers=1, data_dir=f"data/{name}"
            )
            for name in ("a", "b")
        ]
        self.path = str(folder / "cluster.toml")
        self._daemon = folder / "pymr-peer"
        Path(self.path).write_text(cluster_toml("t", peers, {"redis": {"managed": True}}))
        self.prepare("")
        monkeypatch.setattr("pymr.peer_processes.peer_command", lambda: [sys.executable, str(self._daemon)])
        self.said: list[str] = []
        self.manager = ManageCluster(self.path, self.said.append)

    def prepare(self, code: str) -> None:
        """What the daemons do before they answer."""
        self._daemon.write_text(DAEMON.replace("PREPARE", code))

    @property
    def daemons(self) -> dict[str, psutil.Process]:
        return find_daemons(self.path, ["a", "b"])

    @property
    def redis(self) -> int | None:
        return running_pid(self.manager.config.redis.directory)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    place = Place(tmp_path, monkeypatch)
    yield place
    left = find_processes(place.path, ["a", "b"])
    redis = place.redis
    for process in left:
        process.kill()
    if redis:
        os.kill(redis, signal.SIGKILL)

    assert (left, redis) == ([], None)


def test_a_cluster_is_started_told_of_and_stopped(place: Place) -> None:
    before = place.manager.status()
    place.manager.start_cluster()
    running, redis, state = place.daemons, place.redis, place.manager.status()
    place.manager.stop_cluster()
    after = place.manager.status()

    assert (before.is_well, before.leader) == (False, "")
    assert set(running) == {"a", "b"}
    assert redis is not None
    assert (state.is_well, state.leader, state.epoch) == (True, "a", 1)
    assert {peer.name: peer.pid for peer in state.peers} == {n: p.pid for n, p in running.items()}
    assert [peer.leader for peer in state.peers] == [True, False]
    assert not after.is_well
    assert "pymr cluster start" in after.problem


def test_a_second_start_starts_what_is_missing_and_leaves_the_rest(place: Place) -> None:
    place.manager.start_cluster()
    first, redis = place.daemons, place.redis
    first["b"].kill()
    first["b"].wait(5)
    place.manager.start_cluster()
    second, redis_then = place.daemons, place.redis
    place.manager.kill_cluster()

    assert (second["a"].pid, redis_then) == (first["a"].pid, redis)
    assert second["b"].pid != first["b"].pid
    assert f"a: is running already (pid {first['a'].pid})" in place.said
    assert place.daemons == {}


def test_a_daemon_that_outlives_nobody_is_in_a_session_of_its_own(place: Place) -> None:
    place.manager.start_cluster()
    sessions = {os.getsid(process.pid) for process in place.daemons.values()}
    pids = {process.pid for process in place.daemons.values()}
    place.manager.kill_cluster()

    assert sessions == pids


def test_a_peer_that_ends_as_it_starts_is_an_error_with_the_end_of_its_log(place: Place) -> None:
    place.prepare("if me.name == 'b': sys.exit('the port is taken')")
    with pytest.raises(FatalError, match="the port is taken") as failed:
        place.manager.start_cluster()
    place.manager.kill_cluster()

    assert "daemon.log" in str(failed.value)


def test_a_peer_that_never_answers_is_named(place: Place) -> None:
    place.prepare("if me.name == 'b': print('still thinking', flush=True); stopping.wait()")
    with pytest.raises(FatalError, match=r"no answer of b\n(.|\n)*still thinking"):
        place.manager.start_cluster(timeout_s=6.0)
    place.manager.kill_cluster()


def test_peers_that_answer_without_a_leader_say_what_is_wrong(place: Place) -> None:
    place.prepare(
        "answer = cluster\n"
        "def cluster(request):\n"
        "    import msgspec, time\n"
        "    time.sleep(0.5)  # as long as a peer looks for a leader\n"
        "    view = answer(request)\n"
        "    return msgspec.structs.replace(view, leader='', problem='it forgot: `pymr cluster recover`')"
    )
    with pytest.raises(FatalError, match=r"none leads after 6 s: it forgot: `pymr cluster recover`"):
        place.manager.start_cluster(timeout_s=6.0)
    place.manager.kill_cluster()


def test_a_peer_that_is_busy_for_too_long_is_ended_by_a_signal(place: Place) -> None:
    place.prepare("stopping.set = lambda: None")
    place.manager.start_cluster()
    begun = time.monotonic()
    place.manager.stop_cluster(timeout_s=0.3)

    assert time.monotonic() - begun < 40  # of the 60 that it has by itself
    assert any("still busy" in line for line in place.said)
    assert place.daemons == {}


def test_a_peer_of_another_cluster_is_left_alone(place: Place, tmp_path: Path) -> None:
    place.manager.start_cluster()
    other = tmp_path / "other.toml"
    other.write_text(Path(place.path).read_text())
    found = find_daemons(str(other), ["a", "b"])
    place.manager.kill_cluster()

    assert found == {}


def test_which_hosts_are_this_machine() -> None:
    assert is_here("127.0.0.1")
    assert is_here("localhost")
    assert is_here("127.0.0.9")
    assert is_here("0.0.0.0")
    assert not is_here("192.0.2.1")
    assert not is_here("no-such-host.invalid")


def test_a_peer_elsewhere_is_started_over_the_launch_command(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there with blanks").mkdir()
    script = tmp_path / "pymr-peer"
    script.write_text('#!/bin/sh\nprintf "%s|" "$@" > "$(dirname "$0")/started"\n')
    script.chmod(0o755)
    launcher = tmp_path / "launcher"
    launcher.write_text(f'#!/bin/sh\nprintf "%s" "$1" > "{tmp_path}/host"\nexec sh -c "$2"\n')
    launcher.chmod(0o755)
    (tmp_path / "here" / "cluster.toml").write_text(
        f'[launch]\nssh_command = "{launcher} {{host}}"\nremote_command = "{script}"\n'
        f'remote_config = "{tmp_path}/there with blanks/cluster.toml"\n[security]\nkeys_dir = "keys"\n'
        '[[peers]]\nname = "far"\nhost = "far.example"\nworkers = 1\ndata_dir = "data/far"\n'
    )
    config = load_config(str(tmp_path / "here" / "cluster.toml"))
    start_remote(config, config.peers[0])
    deadline = time.monotonic() + 60
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    there = tmp_path / "there with blanks"
    assert (tmp_path / "host").read_text() == "far.example"
    assert (tmp_path / "started").read_text() == f"--config|{there}/cluster.toml|--name|far|"
    assert remote_data_dir(config, config.peers[0]) == str(there / "data" / "far")
    assert (there / "data" / "far" / "state" / "daemon.log").exists()


def test_a_launch_that_fails_says_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "cluster.toml").write_text(
        """[launch]\nssh_command = "sh -c 'echo no route to {host} >&2; exit 255'"\n"""
        '[security]\nkeys_dir = "keys"\n'
        '[[peers]]\nname = "far"\nhost = "far.example"\nworkers = 1\ndata_dir = "data/far"\n'
    )
    config = load_config(str(tmp_path / "cluster.toml"))

    with pytest.raises(FatalError, match=r"no route to far\.example"):
        start_remote(config, config.peers[0])
