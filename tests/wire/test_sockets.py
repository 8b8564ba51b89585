"""The control transport, over real sockets: who is heard, who is refused, and that nothing ends it."""

from __future__ import annotations

import contextlib
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq
from cluster.ports import free_port

from pymr.base.errors import ConfigError
from pymr.config.cluster import ClusterConfig, PeerConfig, SecurityConfig
from pymr.peer import links as links_module
from pymr.peer.links import Link, Links
from pymr.peer.loop.loop import Loop
from pymr.wire import sockets
from pymr.wire.addresses import Address
from pymr.wire.frames import FRAME_BYTES_MAX, BadFrame, decode_reply, encode
from pymr.wire.keys import Security, load_security, write_authorized, write_key
from pymr.wire.protocol import PROTOCOL_VERSION, Fenced, Wake
from pymr.wire.requests import (
    DeleteJob,
    Done,
    EventsView,
    GetCluster,
    GetEvents,
    GetJobs,
    JobsView,
    Refused,
)
from pymr.wire.sockets import Authenticator, ConsoleSocket, Endpoint, Sender, Unreachable, make_keypair

LIMIT_SECONDS = 10.0
NO_KEYS = Security("operator")


class Peer:
    """An endpoint with a loop in a thread. It answers every request with the name of whoever asks."""

    def __init__(self, security: Security, port: int = 0, host: str = "127.0.0.1") -> None:
        self.security = security
        self.messages: list[Any] = []
        self.context: sockets.Context = zmq.Context()
        self.authenticator = Authenticator(self.context, security)
        self.loop = Loop()
        try:
            self.endpoint = Endpoint(self.context, host, port, security, self._on_message)
        except ConfigError:
            self._free()
            raise
        self.port = self.endpoint.port
        self.is_silent = False
        self.loop.watch_socket(self.endpoint)
        self._thread = threading.Thread(target=self.loop.run, daemon=True)
        self._thread.start()

    def _on_message(self, sender: Sender, message: Any) -> None:
        self.messages.append(message)
        if isinstance(message, GetEvents):
            self.endpoint.reply(sender, Done(id=message.id, detail="x" * FRAME_BYTES_MAX))
        elif not isinstance(message, (Wake, Fenced)) and not self.is_silent:
            self.endpoint.reply(sender, Done(id=message.id, detail=f"{sender.role}:{sender.name}"))

    def close(self) -> None:
        self.loop.stop()
        self._thread.join()
        self.endpoint.close()
        self._free()

    def _free(self) -> None:
        self.authenticator.close()
        self.loop.close()
        self.context.term()  # hangs if a socket was left open


@pytest.fixture
def start() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def make(*arguments: Any, **options: Any) -> Peer:
        peers.append(Peer(*arguments, **options))
        return peers[-1]

    yield make
    for peer in peers:
        peer.close()


@pytest.fixture
def keys(tmp_path: Path) -> Callable[[str], Security]:
    """The Security of alpha (a peer), beta (a peer), operator, watcher (a viewer) and stranger (unlisted)."""
    roles = {"alpha": "peer", "beta": "peer", "operator": "operator", "watcher": "viewer"}
    authorized: dict[str, Any] = {}
    for name in (*roles, "stranger"):
        public, secret = make_keypair()
        write_key(tmp_path, name, public, secret)
        if name in roles:
            authorized[name] = (roles[name], public)
    write_authorized(tmp_path, authorized)
    peers = tuple(
        PeerConfig(
            name=name, host="127.0.0.1", control_port=port, data_port=port + 1, workers=1, data_dir=name
        )
        for port, name in ((7_700, "alpha"), (7_702, "beta"))
    )
    config = ClusterConfig(peers=peers, security=SecurityConfig(keys_dir=str(tmp_path)))
    return lambda name: load_security(config, name)


def ask(
    peer: Peer,
    security: Security = NO_KEYS,
    request: Any = None,
    timeout_s: float = LIMIT_SECONDS,
    name: str = "alpha",
) -> Any:
    with ConsoleSocket([(name, "127.0.0.1", peer.port)], security, timeout_s) as console:
        return console.ask(request or GetCluster(id="1"), Done)


@contextlib.contextmanager
def raw_dealer(peer: Peer, security: Security = NO_KEYS) -> Iterator[zmq.Socket[bytes]]:
    """A socket that sends whatever bytes it is told to."""
    dealer = sockets.shared_context().socket(zmq.DEALER)
    dealer.setsockopt(zmq.RCVTIMEO, int(LIMIT_SECONDS * 1_000))
    sockets.secure_client(dealer, security, "alpha")
    dealer.connect(f"tcp://127.0.0.1:{peer.port}")
    try:
        yield dealer
    finally:
        dealer.close(linger=0)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.005)


# ---- who is heard


def test_without_keys_whoever_is_on_this_machine_is_an_operator(start: Callable[..., Peer]) -> None:
    assert ask(start(NO_KEYS)) == Done(id="1", detail="operator:local")


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6_loopback_is_loopback(start: Callable[..., Peer]) -> None:
    peer = start(NO_KEYS, host="::1")

    with ConsoleSocket([("alpha", "::1", peer.port)], NO_KEYS) as console:
        assert console.ask(GetCluster(id="1"), Done) == Done(id="1", detail="operator:local")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "somewhere.example"])
def test_an_address_that_others_reach_needs_keys(host: str) -> None:
    with pytest.raises(ConfigError, match="keys_dir"):
        Peer(NO_KEYS, host=host)


def test_a_port_in_use_is_told(start: Callable[..., Peer]) -> None:
    with pytest.raises(ConfigError, match="control_port"):
        Peer(NO_KEYS, port=start(NO_KEYS).port)


@pytest.mark.parametrize(
    ("name", "role"), [("operator", "operator"), ("watcher", "viewer"), ("beta", "peer")]
)
def test_a_listed_key_is_known_by_role_and_name(
    start: Callable[..., Peer], keys: Callable[[str], Security], name: str, role: str
) -> None:
    assert ask(start(keys("alpha")), keys(name)) == Done(id="1", detail=f"{role}:{name}")


def test_an_unlisted_key_is_turned_away_at_once(
    start: Callable[..., Peer], keys: Callable[[str], Security]
) -> None:
    peer = start(keys("alpha"))
    began = time.monotonic()
    with pytest.raises(Unreachable, match="stranger"):
        ask(peer, keys("stranger"))

    assert time.monotonic() - began < LIMIT_SECONDS / 2
    assert peer.authenticator.denied >= 1
    assert isinstance(ask(peer, keys("operator")), Done)


def test_who_has_no_key_is_turned_away(start: Callable[..., Peer], keys: Callable[[str], Security]) -> None:
    peer = start(keys("alpha"))
    with pytest.raises(Unreachable):
        ask(peer, NO_KEYS, timeout_s=1.0)

    assert peer.messages == []
    assert isinstance(ask(peer, keys("operator")), Done)


def test_a_peer_that_is_not_the_one_meant_is_not_spoken_to(
    start: Callable[..., Peer], keys: Callable[[str], Security]
) -> None:
    peer = start(keys("alpha"))
    with pytest.raises(Unreachable):
        ask(peer, keys("operator"), timeout_s=1.0, name="beta")

    assert peer.messages == []


def test_a_key_is_added_and_taken_away_without_a_restart(
    start: Callable[..., Peer], keys: Callable[[str], Security]
) -> None:
    peer = start(keys("alpha"))
    stranger, operator = keys("stranger"), keys("operator")
    path = stranger.authorized_path
    assert path is not None and stranger.public is not None
    listed: dict[str, Any] = {name: (role, key) for key, (role, name) in stranger.authorized.items()}

    with ConsoleSocket([("alpha", "127.0.0.1", peer.port)], operator) as console:
        assert isinstance(console.ask(GetCluster(id="1"), Done), Done)
        listed.pop("operator")
        write_authorized(path.parent, {**listed, "stranger": ("viewer", stranger.public)})
        refused = console.ask(GetCluster(id="2"), Done)  # over the connection it has already

    assert isinstance(refused, Refused) and refused.code == "denied"
    assert ask(peer, stranger) == Done(id="1", detail="viewer:stranger")


def test_a_viewer_may_look_and_change_nothing(
    start: Callable[..., Peer], keys: Callable[[str], Security], caplog: pytest.LogCaptureFixture
) -> None:
    peer = start(keys("alpha"))
    refused = ask(peer, keys("watcher"), DeleteJob(id="5", job_name="x"))

    assert refused == Refused(id="5", code="denied", reason=refused.reason)
    assert isinstance(ask(peer, keys("watcher"), GetJobs(id="6")), Done)
    assert [type(message) for message in peer.messages] == [GetJobs]
    assert any("watcher" in record.message for record in caplog.records)


def test_messages_of_peers_need_the_key_of_that_peer(
    start: Callable[..., Peer], keys: Callable[[str], Security]
) -> None:
    peer = start(keys("alpha"))
    links = [
        Link(peer_context(), "alpha", "127.0.0.1", peer.port, keys(name)) for name in ("operator", "beta")
    ]
    operator, beta = links

    wait_until(lambda: operator.send(Wake(change=1)))
    wait_until(lambda: beta.send(Fenced(peer="gamma", epoch=1)))
    wait_until(lambda: peer.endpoint.bad_frames == 2)
    wait_until(lambda: beta.send(Fenced(peer="beta", epoch=1)))
    wait_until(lambda: peer.messages)
    for link in links:
        link.close()

    assert peer.messages == [Fenced(peer="beta", epoch=1)]
    assert isinstance(ask(peer, keys("operator")), Done)


def test_a_peer_without_a_key_is_out_of_reach_until_it_has_one(
    start: Callable[..., Peer], keys: Callable[[str], Security], caplog: pytest.LogCaptureFixture
) -> None:
    beta = keys("beta")
    path = beta.authorized_path
    assert path is not None
    listed: dict[str, Any] = {name: (role, key) for key, (role, name) in beta.authorized.items()}
    gamma = listed.pop("alpha")
    peer = start(keys("alpha"))
    write_authorized(path.parent, listed)
    link = Link(peer_context(), "gamma", "127.0.0.1", peer.port, keys("beta"))

    assert not any(link.send(Wake(change=1)) for _ in range(3))
    assert [record.message for record in caplog.records if "out of reach" in record.message] == [
        'gamma is out of reach: it has no key with role = "peer" here: take over the authorized.toml of a '
        "peer that has it"
    ]

    write_authorized(path.parent, {**listed, "gamma": gamma})
    wait_until(lambda: link.send(Wake(change=2)) and peer.messages)
    link.close()


def test_links_to_all_peers_are_made_although_one_has_no_key(
    keys: Callable[[str], Security], caplog: pytest.LogCaptureFixture
) -> None:
    peers = [
        PeerConfig(name=name, host="127.0.0.1", control_port=1, data_port=2, workers=1, data_dir=name)
        for name in ("alpha", "gamma", "beta")
    ]
    links = Links(peer_context(), peers[0], peers, keys("alpha"))
    links.warm()
    links.warm()
    links.send("beta", Wake(change=1))
    links.close()

    assert len([record for record in caplog.records if "gamma is out of reach" in record.message]) == 1


# ---- what is sent by those who are let in


GOOD = encode(GetCluster(id="9"))
OTHER_VERSION = b"pymr\x63" + GOOD[5:]
BAD = {
    "nothing": [b""],
    "garbage": [b"GET / HTTP/1.1\r\n\r\n"],
    "two frames": [GOOD, GOOD],
    "no message": [GOOD[:6]],
    "cut short": [GOOD[:-1]],
    "more behind it": [GOOD + b"\0"],
    "another version": [OTHER_VERSION],
    "another kind": [GOOD[:5] + b"X" + GOOD[6:]],
    "nested": [GOOD[:6] + b"\x83\xa3ask\xa4jobs\xa2id\xa11\xa1x" + b"\x91" * 100_000 + b"\xc0"],
    "a huge claim": [GOOD[:6] + b"\xdd\xff\xff\xff\xff"],
}


@pytest.mark.parametrize("parts", BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("is_keyed", [False, True])
def test_bad_frames_are_counted_and_three_are_enough(
    start: Callable[..., Peer], keys: Callable[[str], Security], parts: list[bytes], is_keyed: bool
) -> None:
    peer = start(keys("alpha") if is_keyed else NO_KEYS)
    security = keys("operator") if is_keyed else NO_KEYS
    with raw_dealer(peer, security) as dealer:
        for _ in range(5):
            dealer.send_multipart(parts)
        dealer.send(GOOD)  # of somebody who is not listened to any more
        wait_until(lambda: peer.endpoint._authorization.ignored == 3)

    assert peer.endpoint.bad_frames == 3
    assert peer.messages == []
    assert isinstance(ask(peer, security), Done)


def test_a_frame_that_is_too_long_ends_the_connection_only(start: Callable[..., Peer]) -> None:
    peer = start(NO_KEYS)
    with raw_dealer(peer) as dealer:
        dealer.send(bytes(FRAME_BYTES_MAX * 2))
        assert isinstance(ask(peer), Done)

    assert peer.messages == [GetCluster(id="1")]


def test_a_console_of_another_version_is_told_so(start: Callable[..., Peer]) -> None:
    peer = start(NO_KEYS)
    with raw_dealer(peer) as dealer:
        dealer.send(OTHER_VERSION)
        reply = decode_reply(dealer.recv())

    assert isinstance(reply, Refused)
    assert (reply.id, reply.code) == ("9", "version")
    assert "version 99" in reply.reason and f"version {PROTOCOL_VERSION}" in reply.reason


def test_a_flood_of_tiny_frames_costs_no_memory_and_holds_up_nobody(start: Callable[..., Peer]) -> None:
    peer = start(NO_KEYS)
    assert isinstance(ask(peer), Done)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with raw_dealer(peer) as dealer:
        for number in range(100_000):
            dealer.send(b"x")
            if number == 50_000:
                assert isinstance(ask(peer), Done)
        wait_until(lambda: peer.endpoint._authorization.ignored == 100_000 - 3)

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 << 10
    assert isinstance(ask(peer), Done)


def test_messages_that_take_long_leave_the_loop_to_others_in_between(
    start: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "TURN_SECONDS", -1.0)  # each takes too long
    peer = start(NO_KEYS)
    dealt_with: list[int] = []
    on_ready = peer.endpoint.on_ready

    def counted() -> None:
        before = len(peer.messages)
        on_ready()
        dealt_with.append(len(peer.messages) - before)

    monkeypatch.setattr(peer.endpoint, "on_ready", counted)
    with raw_dealer(peer) as dealer:
        for number in range(20):
            dealer.send(encode(GetCluster(id=str(number))))
        wait_until(lambda: len(peer.messages) == 20)

    assert set(dealt_with) <= {0, 1}


@pytest.mark.parametrize("said", [b"", b"\xff", b"GET / HTTP/1.0\r\n\r\n", bytes(64)])
def test_a_connection_that_does_not_introduce_itself_is_closed(
    start: Callable[..., Peer], monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setitem(sockets._OPTIONS, zmq.HANDSHAKE_IVL, 300)
    peer = start(NO_KEYS)
    with socket.create_connection(("127.0.0.1", peer.port), LIMIT_SECONDS) as connection:
        connection.sendall(said)
        assert isinstance(ask(peer), Done)
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1_000):
                pass

    assert isinstance(ask(peer), Done)


def test_an_answer_that_is_too_long_is_told_instead(start: Callable[..., Peer]) -> None:
    reply = ask(start(NO_KEYS), request=GetEvents(id="3"))

    assert isinstance(reply, Refused) and reply.code == "unavailable"


# ---- consoles


def test_a_console_goes_on_to_a_peer_that_is_there(start: Callable[..., Peer]) -> None:
    silent, good = start(NO_KEYS), start(NO_KEYS)
    silent.is_silent = True
    addresses = [
        ("dead", "127.0.0.1", free_port()),
        ("silent", "127.0.0.1", silent.port),
        ("good", "127.0.0.1", good.port),
    ]
    with ConsoleSocket(addresses, NO_KEYS) as console:
        assert isinstance(console.ask(GetCluster(id="1"), Done), Done)
        assert isinstance(console.ask(GetCluster(id="2"), Done), Done)  # of the one that has answered

        assert {message.id for message in silent.messages} == {"1"}
        assert len(silent.messages) == 2  # the request, repeated after a second


def test_a_console_that_reaches_nobody_says_whom_it_asked(start: Callable[..., Peer]) -> None:
    silent, port = start(NO_KEYS), free_port()
    silent.is_silent = True
    addresses = [
        ("gone", "127.0.0.1", port),
        ("mute", "127.0.0.1", silent.port),
        ("lost", "no.such.invalid", 1),
    ]
    with ConsoleSocket(addresses, NO_KEYS, 1.0) as console, pytest.raises(Unreachable) as caught:
        console.ask(GetCluster(id="1"), Done)

    text = str(caught.value)
    assert f"gone: 127.0.0.1:{port} cannot be reached" in text
    assert f"mute: 127.0.0.1:{silent.port} is connected, but silent" in text
    assert "lost: " in text


def test_a_console_rests_while_a_host_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr(sockets.time, "sleep", rests.append)
    dealer = sockets._ConsoleDealer("alpha", Address("name.invalid", 7_000), NO_KEYS)

    assert sockets._wait([dealer], 1.0, dealer) == []
    assert rests == [sockets._LOOK_UP_SECONDS]


def test_one_peer_alone_can_be_asked(start: Callable[..., Peer]) -> None:
    first, second = start(NO_KEYS), start(NO_KEYS)
    addresses = [("first", "127.0.0.1", first.port), ("second", "localhost", second.port)]
    with ConsoleSocket(addresses, NO_KEYS) as console:
        assert isinstance(console.ask_peer("second", GetCluster(id="1"), Done), Done)
        with pytest.raises(Unreachable, match="there is no peer third"):
            console.ask_peer("third", GetCluster(id="1"), Done)

    assert (first.messages, second.messages) == ([], [GetCluster(id="1")])


def test_a_console_finds_a_peer_that_was_restarted(start: Callable[..., Peer]) -> None:
    first = Peer(NO_KEYS)
    with ConsoleSocket([("alpha", "127.0.0.1", first.port)], NO_KEYS) as console:
        assert isinstance(console.ask(GetCluster(id="1"), Done), Done)
        first.close()
        with pytest.raises(Unreachable):
            console.ask(GetCluster(id="2"), Done, 0.2)
        start(NO_KEYS, port=first.port)

        assert isinstance(console.ask(GetCluster(id="3"), Done), Done)


def test_an_answer_of_another_type_is_an_error(start: Callable[..., Peer]) -> None:
    peer = start(NO_KEYS)
    with ConsoleSocket([("alpha", "127.0.0.1", peer.port)], NO_KEYS) as console:
        for reply_type in (JobsView, EventsView):
            with pytest.raises(BadFrame, match="Done"):
                console.ask(GetCluster(id="1"), reply_type)


# ---- links


def test_a_link_reaches_a_peer_that_comes_later_and_comes_back(start: Callable[..., Peer]) -> None:
    port = free_port()
    link = Link(peer_context(), "alpha", "localhost", port, NO_KEYS)
    assert not link.send(Wake(change=0))
    assert link.unsent == 1
    first = Peer(NO_KEYS, port=port)
    wait_until(lambda: link.send(Wake(change=1)) and first.messages)
    first.close()
    second = start(NO_KEYS, port=port)
    wait_until(lambda: link.send(Wake(change=2)) and second.messages)
    link.renew()
    second.messages.clear()
    wait_until(lambda: link.send(Wake(change=3)) and second.messages)
    link.close()

    assert Wake(change=0) not in first.messages


def test_a_link_to_a_peer_that_reads_nothing_never_blocks(start: Callable[..., Peer]) -> None:
    peer = start(NO_KEYS)
    link = Link(peer_context(), "alpha", "127.0.0.1", peer.port, NO_KEYS)
    wait_until(lambda: link.send(Wake(change=1)) and peer.messages)
    release = threading.Event()
    peer.loop.call_soon(lambda: release.wait(LIMIT_SECONDS))
    message = Fenced(peer="x" * 100_000, epoch=1)
    wait_until(lambda: not all(link.send(message) for _ in range(100)))
    release.set()
    link.close()

    assert isinstance(ask(peer), Done)


def test_a_link_that_was_turned_away_tries_again_by_itself(
    start: Callable[..., Peer], keys: Callable[[str], Security], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_module, "RENEW_SECONDS", 0.2)
    peer, beta = start(keys("alpha")), keys("beta")
    path = beta.authorized_path
    assert path is not None
    listed: dict[str, Any] = {name: (role, key) for key, (role, name) in beta.authorized.items()}
    write_authorized(path.parent, {"alpha": listed["alpha"]})
    link = Link(peer_context(), "alpha", "127.0.0.1", peer.port, beta)
    wait_until(lambda: link.send(Wake(change=1)) or peer.authenticator.denied)
    write_authorized(path.parent, listed)
    wait_until(lambda: link.send(Wake(change=2)) and peer.messages)
    link.close()


def peer_context() -> sockets.Context:
    return sockets.shared_context()
