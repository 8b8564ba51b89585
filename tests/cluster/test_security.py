"""Who may not do a thing cannot, and what is no message harms nobody: on a running cluster with keys."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import pytest
from cluster.clusters import Cluster, ordered
from cluster.daemons import PEER
from cluster.gated import Gates
from cluster.running import MAP_WORDS, REDUCE_TOTAL, processes_of, wait_until
from cluster.strangers import Port, Stranger, resident_bytes

from pymr.client import Client
from pymr.client.errors import RefusedError
from pymr.data.protocol import Chunk, Output, Pane, Plan, Read, Refusal, Segment, decode_answer
from pymr.data.protocol import encode_header as encode_data
from pymr.data.sockets import READS_PER_LINK_MAX
from pymr.ops.init import add_key
from pymr.ops.private_redis import PrivateRedis
from pymr.wire.frames import decode_reply, encode
from pymr.wire.keys import read_authorized, write_authorized
from pymr.wire.protocol import Orders, Report
from pymr.wire.requests import (
    AttachWorker,
    DeleteJob,
    DetachWorker,
    GetCluster,
    PauseQueue,
    PutPackage,
    RecoverCluster,
    Refused,
    RetryJob,
    StopPeer,
    SubmitJob,
    TypeIntoWorker,
)

MIB = 1 << 20
GROWTH_BYTES_MAX = 32 * MIB
TOLD_S = 30.0
"""Until what happens at once must have happened, however slow the machine is."""

LISTED = "keys/authorized.toml"
OUT_OF_REACH = "beta is out of reach: it has no key"

GOOD = encode(GetCluster(id="9"))
GOOD_READ = encode_data(Read(1, Pane("alpha", 0, ""), 0, 1))


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("cluster"), peers=2, workers=1, keys=True)
    add_key(cluster.config, "watcher", "viewer")
    cluster.start()
    run_small_job(cluster)
    yield cluster
    problems = cluster.end()

    assert problems == []


@pytest.fixture
def cluster(standing: Cluster, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two peers. After the test they are the same processes, have grown little, and do a small job."""
    request.node.clusters = [standing]
    pids = {name: (standing.pid(name), standing.data_service(name).pid) for name in standing.names}
    before = {name: resident_bytes(standing, name) for name in standing.names}
    yield standing
    grown = {name: resident_bytes(standing, name) - before[name] for name in standing.names}
    run_small_job(standing)

    assert pids == {name: (standing.pid(name), standing.data_service(name).pid) for name in standing.names}
    assert max(grown.values()) < GROWTH_BYTES_MAX, grown
    assert "Traceback" not in standing.logs()


def run_small_job(cluster: Cluster) -> None:
    cluster.project(MAP_WORDS, REDUCE_TOTAL)
    for name in cluster.names:
        cluster.feed(name, "text.txt", "one two two", name)
    cluster.submit()
    cluster.succeed()
    peers = len(cluster.names)
    counts = [["one", peers], ["two", 2 * peers], *([name, 1] for name in cluster.names)]
    assert ordered(cluster.output()) == ordered(counts)


@pytest.fixture
def log_lines(cluster: Cluster) -> Callable[..., list[str]]:
    """Gives the lines of alpha's log that have come since the test began and hold all these texts."""
    start = len(cluster.log_of("alpha"))

    def look(*texts: str) -> list[str]:
        lines = cluster.log_of("alpha")[start:].splitlines()
        return [line for line in lines if all(text in line for text in texts)]

    return look


LogLines = Callable[..., list[str]]


# ---- who may do what


@pytest.mark.parametrize("port", ["control", "data"])
def test_an_unlisted_key_is_turned_away(cluster: Cluster, log_lines: LogLines, port: Port) -> None:
    good = GOOD if port == "control" else GOOD_READ
    with ExitStack() as stack:
        strangers = [stack.enter_context(Stranger(cluster, "alpha", "unlisted", port)) for _ in range(3)]
        for stranger in strangers:
            stranger.try_to_send(good)
        answers = [stranger.answer(0.7) for stranger in strangers]

    assert answers == [None] * 3
    assert len(log_lines("was turned away", "is not in authorized.toml")) == 3, "one for each key"


@pytest.mark.parametrize("port", ["control", "data"])
def test_who_shows_no_key_is_turned_away(cluster: Cluster, port: Port) -> None:
    with Stranger(cluster, "alpha", None, port) as stranger:
        stranger.try_to_send(GOOD if port == "control" else GOOD_READ)
        answer = stranger.answer(1.5)  # in which it connects again and again

    assert answer is None
    if port == "control":
        told = "connections given up in their handshake"
        assert wait_until(lambda: cluster.log_of("alpha").count(told) == 1, TOLD_S)


def test_a_viewer_changes_nothing(cluster: Cluster, log_lines: LogLines) -> None:
    cluster.client.pause()
    cluster.submit(job_name="kept")
    fields = cluster.job_fields(job_name="kept", job_priority=7)
    wishes = [
        DeleteJob(id="1", job_name="kept"),
        SubmitJob(id="2", fields=fields),
        RetryJob(id="3", name="kept"),
        PauseQueue(id="4", paused=False),
        PutPackage(id="5", content_hash="0" * 64, index=0, count=1, data=b"x"),
        AttachWorker(id="6", worker="alpha/0", holder="me"),
        TypeIntoWorker(id="7", worker="alpha/0", holder="me", data=b"x"),
        DetachWorker(id="8", worker="alpha/0", holder="me"),
        StopPeer(id="9", drain=False),
        RecoverCluster(id="10", incarnation="x", epoch=1 << 40),
    ]
    with Stranger(cluster, "alpha", "watcher") as stranger:
        replies = []
        for wish in wishes:
            stranger.send(encode(wish))
            replies.append(decode_reply((stranger.answer(5.0) or [b""])[0]))
    jobs = cluster.client.jobs()
    [kept] = [row for row in jobs.rows if row.fields["job_name"] == "kept"]
    cluster.client.delete("kept")
    cluster.client.resume()

    assert [(type(reply), reply.id) for reply in replies] == [(Refused, wish.id) for wish in wishes]
    assert {reply.code for reply in replies if isinstance(reply, Refused)} == {"denied"}
    assert jobs.paused
    assert (kept.status, kept.fields["job_priority"], kept.version) == ("queued", 1, kept.version)
    assert len(log_lines("denied to viewer watcher")) == len(wishes)


def test_the_client_of_a_viewer_sees_everything(cluster: Cluster) -> None:
    with Client(cluster.config, "watcher") as viewer:
        with pytest.raises(RefusedError) as caught:
            viewer.delete("job")
        listing = viewer.output("job")
        content = b"".join(b"".join(viewer.read_part("job", part)) for part in listing.parts)

        assert caught.value.code == "denied"
        assert viewer.cluster().role == "viewer"
        assert [row.name for row in viewer.peers()] == cluster.names
        assert viewer.history("job")
        assert b'"two"' in content


# ---- what peers may say


@pytest.fixture
def gates(cluster: Cluster, tmp_path: Path) -> Iterator[Gates]:
    """A run that stays in its map phase until the gate `map` is opened."""
    gates = Gates(tmp_path / "gates")
    cluster.project(gates.map_source, gates.reduce_source, "gated")
    for name in cluster.names:
        (cluster.data(name) / "gated").mkdir(exist_ok=True)
        (cluster.data(name) / "gated" / "text.txt").write_text(f"HOLD {name}\n")
    with gates.closed("map"):
        cluster.submit(job_name="gated", project_name="gated", input_dirs=["gated"])
        cluster.wait_for(lambda: gates.attempts("held-map", "gated"), what="a map task to be held")
        yield gates


def other_than(cluster: Cluster, peer: str) -> str:
    return next(name for name in cluster.names if name != peer)


def orders_for(cluster: Cluster, peer: str, leader: str, epoch: int, sequence: int = 1 << 40) -> Orders:
    """Orders that would end every run of a peer, if they were followed."""
    view = cluster.view(peer)
    assert view is not None
    return Orders(
        incarnation=view.incarnation,
        epoch=epoch,
        leader=leader,
        peer=peer,
        boot=boot_of(cluster, peer),
        sequence=sequence,
    )


def boot_of(cluster: Cluster, peer: str) -> int:
    return int((cluster.data(peer) / "state" / "boot").read_text())


@pytest.mark.parametrize("name", ["old epoch", "another's name", "an operator's key"])
def test_orders_of_who_does_not_lead_are_not_followed(
    cluster: Cluster, gates: Gates, name: str, log_lines: LogLines
) -> None:
    epoch = cluster.epoch()
    key, leader, told_epoch = {
        "old epoch": ("beta", "beta", epoch - 1),
        "another's name": ("beta", "alpha", epoch + 1),
        "an operator's key": ("operator", "beta", epoch + 1),
    }[name]
    cluster.wait_for(lambda: any(row.job_name == "gated" for row in cluster.client.workers()))
    with Stranger(cluster, "alpha", key) as stranger:
        for _ in range(3):
            stranger.send(encode(orders_for(cluster, "alpha", leader, told_epoch)))
        stranger.send(GOOD)
        stranger.answer(1.0)
        running = [row for row in cluster.client.workers() if row.job_name == "gated"]
        epoch_after = cluster.epoch()
    gates.open("map")
    cluster.succeed("gated")

    assert running
    assert epoch_after == epoch
    assert all(len(tries) == 1 for tries in gates.attempts("map", "gated").values())
    if name != "old epoch":
        assert len(log_lines("a bad frame from", "Orders")) == 1


def test_a_report_in_anothers_name_is_not_believed(cluster: Cluster, log_lines: LogLines) -> None:
    leader = cluster.leader()
    claimed = {peer: row.pid for peer, row in zip(cluster.names, cluster.client.peers(), strict=True)}
    view = cluster.view(leader)
    assert view is not None
    forged = Report(
        incarnation=view.incarnation,
        epoch=view.epoch,
        peer="alpha",
        boot=1 << 50,
        sequence=1 << 40,
        version="0",
        pid=1,
        slots=99,
    )
    with Stranger(cluster, leader, "beta") as stranger:
        for _ in range(5):
            stranger.send(encode(forged))
        stranger.answer(0.7)
    rows = cluster.client.peers()

    assert {row.name: row.pid for row in rows} == claimed
    assert all(row.alive for row in rows)
    if leader == "alpha":
        assert len(log_lines("a bad frame from peer:beta", "a Report of alpha with the key of beta")) == 1


# ---- what is no message


BAD = {
    "garbage": [b"GET / HTTP/1.1\r\n\r\n"],
    "nothing": [b""],
    "two frames": [GOOD, GOOD],
    "another version": [b"pymr\x63" + GOOD[5:]],
    "another kind": [GOOD[:5] + b"X" + GOOD[6:]],
    "cut short": [GOOD[:-1]],
    "more behind it": [GOOD + b"\0"],
    "nested": [GOOD[:6] + b"\x83\xa3ask\xa4jobs\xa2id\xa11\xa1x" + b"\x91" * 1_000_000 + b"\xc0"],
    "nested job": [
        encode(SubmitJob(id="1", fields={"deep": 0}))[:-1] + b"\x91" * 100_000 + b"\xc0",
    ],
    "a huge claim": [GOOD[:6] + b"\xdd\xff\xff\xff\xff"],
    "a huge claim of a report": [GOOD[:5] + b"P\xdf\xff\xff\xff\xff"],
    "random bytes": [GOOD[:6] + bytes((number * 131 + 7) % 256 for number in range(100_000))],
    "too long": [GOOD + bytes(2 * MIB)],
}
BAD_READS = {
    "garbage": [b"GET / HTTP/1.1\r\n\r\n"],
    "two frames": [GOOD_READ, GOOD_READ],
    "another version": [b"pymr\x63" + GOOD_READ[5:]],
    "cut short": [GOOD_READ[:-1]],
    "nested": [GOOD_READ[:5] + b"\x91" * 60_000],
    "a huge claim": [GOOD_READ[:5] + b"\xdd\xff\xff\xff\xff"],
    "more than may be read": [
        GOOD_READ[:5] + msgpack.packb(["read", 1, ["pane", "alpha", 0, ""], 0, 1 << 40])
    ],
    "too long": [GOOD_READ + bytes(3 * MIB)],
}


@pytest.mark.parametrize("key", ["operator", "watcher", "beta"])
def test_what_is_no_message_is_dropped_and_logged_once(
    cluster: Cluster, log_lines: LogLines, key: str
) -> None:
    for name, frames in BAD.items():
        told_s = 2.0 if name == "too long" else TOLD_S
        before = len(log_lines("a bad frame from", f":{key}:"))
        with Stranger(cluster, "alpha", key) as stranger:
            for _ in range(20):
                stranger.send(*frames)
            wait_until(lambda before=before: len(log_lines("a bad frame from", f":{key}:")) > before, told_s)
            assert cluster.view("alpha", TOLD_S) is not None, name
        if name != "too long":
            assert len(log_lines("a bad frame from", f":{key}:")) == before + 1, name

    assert len(log_lines("nothing more is read")) <= len(BAD)


def test_what_is_no_read_is_dropped_and_logged_once(cluster: Cluster, log_lines: LogLines) -> None:
    for name, frames in BAD_READS.items():
        told_s = 2.0 if name == "too long" else TOLD_S
        before = len(log_lines("a bad frame for the data service"))
        with Stranger(cluster, "alpha", "operator", "data") as stranger:
            for _ in range(20):
                stranger.send(*frames)
            wait_until(
                lambda before=before: len(log_lines("a bad frame for the data service")) > before, told_s
            )
            with Stranger(cluster, "alpha", "operator", "data") as other:
                other.send(GOOD_READ)
                assert other.answer(TOLD_S) is not None, name

    told = log_lines("a bad frame for the data service")
    assert len(told) == len([name for name in BAD_READS if name != "too long"])


@pytest.mark.parametrize("port", ["control", "data"])
def test_frames_of_64_mib_end_their_connection_only(cluster: Cluster, port: Port) -> None:
    with Stranger(cluster, "alpha", "operator", port) as stranger:
        stranger.send(bytes(64 * MIB))
        assert stranger.answer(0.5) is None
        assert cluster.view("alpha", TOLD_S) is not None


@pytest.mark.parametrize("port", ["control", "data"])
def test_100_000_tiny_frames_hold_up_nobody(cluster: Cluster, log_lines: LogLines, port: Port) -> None:
    with Stranger(cluster, "alpha", "operator", port) as stranger:
        slowest = 0.0
        for number in range(100_000):
            stranger.send(b"x")
            if number % 20_000 == 0:
                asked = time.monotonic()
                assert cluster.view("alpha", TOLD_S) is not None
                slowest = max(slowest, time.monotonic() - asked)
        assert cluster.client.read_pane("alpha/0", "", 0) is not None

    print(f"slowest answer: {slowest:.2f} s")
    assert slowest < 10.0
    assert len(log_lines("a bad frame")) == 1


def test_half_open_handshakes_are_closed(cluster: Cluster) -> None:
    info = cluster.config.peers[0]
    greeting = b"\xff\0\0\0\0\0\0\0\1\x7f\3\1CURVE"
    told = "connections given up in their handshake"
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection((info.host, port), TOLD_S))
            for port in (info.control_port, info.data_port)
            for _ in range(20)
        ]
        for index, connection in enumerate(connections):
            connection.sendall(greeting[: index % len(greeting)])
        for _ in range(10):
            assert cluster.view("alpha", TOLD_S) is not None
        closed = wait_until(lambda: all(map(is_closed, connections)), TOLD_S)

    assert closed
    assert wait_until(lambda: cluster.log_of("alpha").count(told) == 1, TOLD_S)


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has ended a connection."""
    connection.setblocking(False)
    try:
        while connection.recv(1_000):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


# ---- what may be read


BAD_NAMES = (
    "..",
    "../..",
    "../../state",
    "/etc",
    "a/../../b",
    "a\0b",
    ".",
    "",
    "x" * 255,
    "\\..\\..",
    "~root",
)


def ask(cluster: Cluster, resource: Any, key: str = "operator") -> Chunk | Refusal:
    with Stranger(cluster, "alpha", key, "data") as stranger:
        stranger.send(encode_data(Read(1, resource, 0, 4096)))
        frames = stranger.answer(5.0)
    assert frames is not None, resource
    return decode_answer(frames[0])


def test_no_name_leads_out_of_the_data_folder(cluster: Cluster) -> None:
    (cluster.data("alpha") / "secret").write_text("secret")
    right = [
        Segment("alpha", "job-000001", "map-00000", "1.1", 0),
        Plan("alpha", "job-000001"),
        Pane("alpha", 0, "job-000001"),
        Output("alpha", "job", "part-00000-0000.jsonl"),
    ]
    asked = []
    for resource in right:
        for field in resource.__struct_fields__:
            if isinstance(getattr(resource, field), str):
                asked += [msgspec.structs.replace(resource, **{field: name}) for name in BAD_NAMES]
    with Stranger(cluster, "alpha", "operator", "data") as stranger:
        answers = {}
        for first in range(0, len(asked), READS_PER_LINK_MAX):  # of more, whoever is slow loses answers
            some = asked[first : first + READS_PER_LINK_MAX]
            for number, resource in enumerate(some):
                stranger.send(encode_data(Read(number, resource, 0, 4096)))
            for _ in some:
                frames = stranger.answer(5.0)
                assert frames is not None
                answer = decode_answer(frames[0])
                answers[some[answer.id]] = answer, frames

    empty_pane = [one for one in asked if isinstance(one, Pane) and one.run_id == "" and one.peer == "alpha"]
    for resource, (answer, frames) in answers.items():
        if resource in empty_pane:  # the newest run's
            continue
        has_content = isinstance(answer, Chunk) and any(frames[1:])
        assert not has_content, (resource, frames)
        assert isinstance(answer, Chunk) or answer.code in ("invalid", "missing"), (resource, answer)


def test_links_out_of_the_data_folder_are_not_followed(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "reduce").mkdir()
    (tmp_path / "reduce" / "passwords").write_text("a secret")
    jobs = cluster.data("alpha") / "jobs"
    (jobs / "linked").symlink_to(tmp_path)
    (jobs / "half").mkdir()
    (jobs / "half" / "reduce").symlink_to(tmp_path / "reduce")
    (jobs / "file" / "reduce").mkdir(parents=True)
    (jobs / "file" / "reduce" / "passwords").symlink_to(tmp_path / "reduce" / "passwords")
    os.mkfifo(jobs / "file" / "reduce" / "pipe")
    answers = [ask(cluster, Output("alpha", name, "passwords")) for name in ("linked", "half", "file")]
    answers.append(ask(cluster, Output("alpha", "file", "pipe")))
    for path in (jobs / "linked", jobs / "half" / "reduce"):
        path.unlink()

    assert [type(answer) for answer in answers] == [Refusal] * 4, answers


def test_a_viewer_reads_no_segments(cluster: Cluster, gates: Gates) -> None:
    run_id = next(row.run_id for row in cluster.client.jobs().rows if row.fields["job_name"] == "gated")
    assert run_id
    refused = [
        ask(cluster, Segment("alpha", run_id, "map-00000", "1.1", 0), "watcher"),
        ask(cluster, Plan("alpha", run_id), "watcher"),
    ]
    allowed = ask(cluster, Pane("alpha", 0, ""), "watcher")
    gates.open("map")
    cluster.succeed("gated")

    assert [getattr(answer, "code", "") for answer in refused] == ["denied", "denied"]
    assert isinstance(allowed, Chunk)


# ---- starting, and secrets


def start_peer(folder: Path, name: str = "alpha") -> tuple[int, str]:
    """Start a peer that is to refuse; its exit status and what it says."""
    command = [str(PEER), "--config", str(folder / "cluster.toml"), "--name", name]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    return finished.returncode, finished.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "::"])
def test_a_peer_that_others_could_reach_needs_keys(tmp_path: Path, host: str) -> None:
    text = f'[[peers]]\nname = "alpha"\nhost = "{host}"\nworkers = 1\ndata_dir = "data"\n'
    (tmp_path / "cluster.toml").write_text(text)
    status, said = start_peer(tmp_path)

    assert status == 2
    assert "keys_dir" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("exposed", ["keys/alpha.secret", "redis.password"])
def test_a_secret_that_others_can_read_is_refused(
    make_cluster: Callable[..., Cluster], tmp_path: Path, exposed: str
) -> None:
    cluster = make_cluster(peers=1, keys=True, settings={"redis": {"password_file": "redis.password"}})
    (cluster.folder / "redis.password").touch(mode=0o600)
    path = cluster.folder / exposed
    path.chmod(0o644)
    status, said = start_peer(cluster.folder)

    assert status == 2
    assert f"chmod 600 {path}" in said
    assert "Traceback" not in said


def test_a_console_whose_key_others_can_read_is_refused(cluster: Cluster) -> None:
    path = cluster.folder / "keys" / "operator.secret"
    path.chmod(0o644)
    try:
        finished = cluster.pymr("jobs")
    finally:
        path.chmod(0o600)

    assert finished.says(f"chmod 600 {path}").status == 2


def test_a_machine_whose_key_is_not_listed_yet_keeps_nobody_from_starting(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(peers=2, keys=True)
    listed = {name: (role, key) for key, (role, name) in read_authorized(cluster.folder / LISTED).items()}
    write_authorized(cluster.folder / "keys", {name: listed[name] for name in listed if name != "beta"})
    cluster.start("alpha")
    cluster.wait_for(lambda: OUT_OF_REACH in cluster.log_of("alpha"), what="alpha to tell of beta")
    leader = cluster.leader()
    write_authorized(cluster.folder / "keys", listed)
    cluster.start("beta")
    cluster.wait_for(lambda: cluster.is_up(cluster.names), what="beta to be heard")

    assert cluster.leader() == leader == "alpha"
    assert cluster.log_of("alpha").count(OUT_OF_REACH) == 1


@pytest.mark.parametrize("is_right", [True, False])
def test_secrets_are_shown_nowhere(make_cluster: Callable[..., Cluster], is_right: bool) -> None:
    password = "the-secret-of-this-redis"
    cluster = make_cluster(peers=1, keys=True, settings={"redis": {"password_file": "redis.password"}})
    cluster.redis = PrivateRedis(cluster.folder / "redis", password=password)
    (cluster.folder / "redis.password").touch(mode=0o600)
    (cluster.folder / "redis.password").write_text(password if is_right else password + "-not")
    shown = []
    if is_right:
        cluster.start()
        run_small_job(cluster)
    else:
        cluster.redis.start()
        cluster.launch("alpha")
        cluster.wait_for(lambda: "Redis" in cluster.log_of("alpha"), what="the peer to say what is wrong")
    listings = ("peers", "jobs", "history") if is_right else ("jobs",)
    for arguments in (("cluster", "status"), *((listing,) for listing in listings)):
        finished = cluster.pymr(*arguments, "--json")
        shown += [finished.out, finished.err]
    shown += [" ".join(process.cmdline()) for process in processes_of(cluster.marker)]
    shown.append(cluster.logs())
    for path in cluster.folder.rglob("*"):
        if path.is_file() and path.stat().st_mode & 0o077 and path.suffix != ".sock":
            shown.append(path.read_bytes().decode("utf-8", "replace"))
    keys = [
        path.read_text().split('secret = "')[1][:40] for path in (cluster.folder / "keys").glob("*.secret")
    ]

    assert len(keys) == 2
    for secret in (password, *keys):
        assert not any(secret in text for text in shown)
