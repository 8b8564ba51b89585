"""Starting, stopping and killing the processes of a cluster: with processes that pass for daemons."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster.ports import free_port
from cluster.running import wait_until

from pymr.api.manage_cluster import ManageCluster
from pymr.base.errors import FatalError
from pymr.client import Client, RefusedError
from pymr.config.cluster import PeerConfig, cluster_toml, load_config
from pymr.ops.private_redis import running_pid
from pymr.ops.processes import find_daemons, find_processes
from pymr.ops.remote_peers import remote_data_dir, start_remote
from pymr.wire.addresses import is_here

TESTS = Path(__file__).parents[1]

DAEMON = f"""
import sys, threading
sys.path[:0] = [{str(TESTS)!r}]
from fake_peer import FakePeer
from pymr.config.cluster import load_config
from pymr.wire.requests import ClusterView, Done, GetCluster, GetPeers, PeersView, Refused, StopPeer
from pymr.wire.rows import PeerRow

config = load_config(sys.argv[2])
me = next(peer for peer in config.peers if peer.name == sys.argv[4])
stopping = threading.Event()

def cluster(request):
    return ClusterView(
        id=request.id, name=config.name, peer=me.name, incarnation="i", leader=config.peers[0].name, epoch=1,
        paused=False, peers_alive=1, peers=1, workers=1, workers_busy=0, jobs=0, version=version,
        role="operator", is_draining=is_draining)

version = "0.4.0"
is_draining = False
listed = config.peers

def stop(request):
    threading.Timer(0.1, stopping.set).start()
    return Done(id=request.id)

PREPARE
with FakePeer(me.name, me.control_port, {{
    GetCluster: cluster, StopPeer: stop, GetPeers: lambda request: PeersView(
        id=request.id, rows=tuple(PeerRow(name=peer.name, address="", data_address="") for peer in listed))
}}):
    stopping.wait()
"""


LAUNCHER = """sh -c 'exec sh -c "$1"' {host}"""
"""Runs on this machine what is meant for another one."""


class Place:
    """A cluster of two in a folder, with a managed Redis. said: what was reported.

    b_is_far: the peer b is taken for one of another machine, which `launch` reaches.
    """

    def __init__(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, *, b_is_far: bool = False, launch: str = LAUNCHER
    ) -> None:
        peers = [
            PeerConfig(
                name=name,
                host="localhost" if name == "b" and b_is_far else "127.0.0.1",
                control_port=free_port(),
                data_port=free_port(),
                workers=1,
                data_dir=f"data/{name}",
            )
            for name in ("a", "b")
        ]
        self.path = str(folder / "cluster.toml")
        self._daemon = folder / "pymr-peer"
        settings = {
            "redis": {"managed": True},
            "launch": {"ssh_command": launch, "remote_command": f"{sys.executable} {self._daemon}"},
        }
        Path(self.path).write_text(cluster_toml("t", peers, settings))
        if b_is_far:
            monkeypatch.setattr("pymr.ops.peers.is_here", lambda host: host != "localhost")
        self.prepare("")
        monkeypatch.setattr("pymr.ops.processes.peer_command", lambda: [sys.executable, str(self._daemon)])
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
def make_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Place]]:
    """Makes the one place of a test. At the end nothing of it may run."""
    made: list[Place] = []

    def make(**options: Any) -> Place:
        made.append(Place(tmp_path, monkeypatch, **options))
        return made[-1]

    yield make
    [place] = made
    left = find_processes(place.path, ["a", "b"])
    redis = place.redis
    for process in left:
        process.kill()
    if redis:
        os.kill(redis, signal.SIGKILL)

    assert (left, redis) == ([], None)


@pytest.fixture
def place(make_place: Callable[..., Place]) -> Place:
    return make_place()


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
    with pytest.raises(FatalError, match=r"no answer from b\n(.|\n)*still thinking"):
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


REFUSE = "def stop(request):\n    return Refused(id=request.id, code='denied', reason='guest may look')\n"
DRAIN = """
stop_now = stop

def stop(request):
    global is_draining
    if not is_draining:
        is_draining = True
        if DRAINS_FOR:
            threading.Timer(DRAINS_FOR, stopping.set).start()
        return Done(id=request.id, detail="draining")
    return Done(id=request.id) if request.drain else stop_now(request)
"""
KEEP_LOCK = """
import os
os.makedirs(me.data_dir + "/state", exist_ok=True)
open(me.data_dir + "/state/lock", "w").write(str(os.getpid()))
"""


def test_a_stop_that_is_refused_stops_nothing(place: Place) -> None:
    place.prepare(REFUSE)
    place.manager.start_cluster()
    before, redis = place.daemons, place.redis
    with pytest.raises(RefusedError, match="guest may look"):
        place.manager.stop_cluster(timeout_s=5.0)
    after, redis_then = place.daemons, place.redis
    place.manager.kill_cluster()

    assert {name: process.pid for name, process in after.items()} == {
        name: process.pid for name, process in before.items()
    }
    assert (redis_then, redis is not None) == (redis, True)


def test_a_peer_that_refuses_goes_on_and_is_named_while_the_others_end(place: Place) -> None:
    place.prepare(f"if me.name == 'b':\n    {REFUSE.replace(chr(10), chr(10) + '    ').rstrip()}")
    place.manager.start_cluster()
    with pytest.raises(FatalError, match=r"b keeps running, as it refuses: guest may look"):
        place.manager.stop_cluster(timeout_s=20.0)
    left, redis = set(place.daemons), place.redis
    place.manager.kill_cluster()

    assert (left, redis is not None) == ({"b"}, True)


@pytest.mark.parametrize("b_is_far", [False, True])
def test_a_start_waits_for_a_peer_that_is_about_to_end_and_starts_it_again(
    make_place: Callable[..., Place], b_is_far: bool
) -> None:
    place = make_place(b_is_far=b_is_far)
    place.prepare(KEEP_LOCK + "DRAINS_FOR = 3.0 if me.name == 'b' else 0\n" + DRAIN)
    place.manager.start_cluster()
    first = place.daemons
    with Client(place.manager.config) as client:
        client.stop_peer("b", drain=True)
    state = place.manager.status()
    place.manager.start_cluster()
    second = place.daemons
    again = place.manager.status()
    place.manager.kill_cluster()

    assert not state.is_well
    assert [peer.is_draining for peer in state.peers] == [False, True]
    assert again.is_well
    assert (second["a"].pid, second["b"].pid != first["b"].pid) == (first["a"].pid, True)
    assert any(line.startswith("b: is still stopping") for line in place.said)


@pytest.mark.parametrize("b_is_far", [False, True])
def test_a_peer_that_drains_for_too_long_is_told_to_end_at_once(
    make_place: Callable[..., Place], b_is_far: bool
) -> None:
    place = make_place(b_is_far=b_is_far)
    place.prepare("DRAINS_FOR = 0 if me.name == 'b' else 0.1\n" + DRAIN)
    place.manager.start_cluster()
    place.manager.stop_cluster(timeout_s=1.0)

    assert "b: is still busy after 1 s, ending it now" in place.said
    assert place.said[-2:] == ["b: stopped", "redis: stopped"]
    assert wait_until(lambda: not place.daemons, 30.0)  # of a far one only its port is seen from here
    assert place.redis is None


def test_a_far_peer_that_takes_no_request_is_ended_by_a_signal_there(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(b_is_far=True)
    place.prepare(KEEP_LOCK + "if me.name == 'b': stop = lambda request: None")
    place.manager.start_cluster()
    place.manager.stop_cluster(timeout_s=0.5)

    assert "b: does not take the request, and is ended by a signal" in place.said
    assert wait_until(lambda: not place.daemons, 30.0)


def test_a_far_peer_that_does_not_end_at_all_is_named(
    make_place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pymr.ops.stop.END_SECONDS", 1.5)
    place = make_place(b_is_far=True)
    place.prepare("stop_now = None\nif me.name == 'b':\n    stop = lambda request: Done(id=request.id)")
    place.manager.start_cluster()
    with pytest.raises(FatalError, match=r"did not end: b \(on localhost\); `pymr cluster kill`"):
        place.manager.stop_cluster(timeout_s=0.5)
    left, redis = place.daemons, place.redis
    for process in left.values():
        process.kill()
    place.manager.kill_cluster()

    assert (set(left), redis is not None) == ({"b"}, True)


def test_a_far_peer_that_ends_as_it_starts_is_an_error_with_the_end_of_its_log(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(b_is_far=True)
    place.prepare("if me.name == 'b': sys.exit('its port is taken there')")
    begun = time.monotonic()
    with pytest.raises(FatalError, match=r"b ended as it started(.|\n)*its port is taken there") as failed:
        place.manager.start_cluster(timeout_s=300.0)
    place.manager.kill_cluster()

    assert time.monotonic() - begun < 150
    assert "localhost:" in str(failed.value) and "daemon.log" in str(failed.value)


def test_a_far_peer_that_never_answers_is_told_of_with_the_end_of_its_log(
    make_place: Callable[..., Place],
) -> None:
    place = make_place(b_is_far=True)
    place.prepare(
        KEEP_LOCK + "if me.name == 'b': print('thinks, far away', flush=True); threading.Event().wait()"
    )
    with pytest.raises(FatalError, match=r"no answer from b\n(.|\n)*thinks, far away"):
        place.manager.start_cluster(timeout_s=6.0)
    place.manager.kill_cluster()


def test_what_fails_here_is_told_beside_what_fails_elsewhere(make_place: Callable[..., Place]) -> None:
    place = make_place(b_is_far=True, launch="sh -c 'echo no route to {host} >&2; exit 255'")
    place.prepare("if me.name == 'a': sys.exit('the disk is full here')")
    with pytest.raises(FatalError) as failed:
        place.manager.start_cluster()
    with pytest.raises(FatalError, match="no route to localhost"):
        place.manager.kill_cluster()

    assert "no route to localhost" in str(failed.value)
    assert "the disk is full here" in str(failed.value)
    assert place.redis is None


def test_peers_of_different_versions_are_told_of(place: Place) -> None:
    place.prepare("if me.name == 'b': version = '0.3.0'")
    state = place.manager.start_cluster()
    place.manager.kill_cluster()

    assert state.is_well
    assert state.warning.startswith("the peers run different versions: 0.3.0 (b), 0.4.0 (a)")
    assert f"warning: {state.warning}" in repr(state)


def test_a_peer_that_the_leader_does_not_know_is_named(place: Place) -> None:
    place.prepare("listed = config.peers[:1]")
    with pytest.raises(FatalError, match=r"a leads, but does not know b(.|\n)*cluster\.toml"):
        place.manager.start_cluster()
    place.manager.kill_cluster()


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
