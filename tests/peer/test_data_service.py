"""Data services as processes: bytes come whole, whatever happens on the way, and only to whom they may."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack
import psutil
import pytest
import zmq
from cluster.running import lives
from data_services import (
    RUN_ID,
    Service,
    make_config,
    owner_of,
    peer_of,
    segment_of,
    write_attempt,
)
from tcp_proxy import Proxy

from pymr.config.cluster import ClusterConfig
from pymr.data.client import DataClient
from pymr.data.protocol import (
    READ_BYTES_MAX,
    Chunk,
    Output,
    Pane,
    Plan,
    Read,
    Resource,
    decode_answer,
    encode_header,
)
from pymr.wire.keys import Security

MIB = 1 << 20
NO_KEYS = Security("operator")


@pytest.fixture
def config(tmp_path: Path) -> ClusterConfig:
    return make_config(tmp_path)


@pytest.fixture
def served(config: ClusterConfig) -> Iterator[Service]:
    """The data service of alpha."""
    with Service(config, "alpha") as service:
        service.await_serving()
        yield service


# ---- fetching


@pytest.mark.parametrize("curve", [False, True])
def test_segments_arrive_byte_for_byte(tmp_path: Path, curve: bool) -> None:
    config = make_config(tmp_path, curve=curve)
    runs = [(0, 700_000), (1, 3 * MIB), (0, 5), (2, 1), (0, 2 * MIB + 1)]
    contents = write_attempt(config, "alpha", "map-00000", runs)
    with Service(config, "alpha"), Service(config, "beta") as fetcher:
        targets = [
            fetcher.fetch(segment_of("alpha", "map-00000", partition), owner_of(config, "alpha"))
            for partition in range(4)
        ]
        fetcher.await_fetched(4)

    assert [target.read_bytes() for target in targets] == [
        contents[0] + contents[2] + contents[4], contents[1], contents[3], b"",
    ]  # fmt: skip
    assert {notice.bytes for notice in fetcher.fetched} == {target.stat().st_size for target in targets}
    assert _facts(targets[0]) == [[700_000, 350_000, 700_000], [5, 2, 5], [2 * MIB + 1, MIB, 2 * MIB + 1]]
    assert _facts(targets[3]) == []
    assert _partial_files(fetcher) == []


def test_many_small_segments_arrive(served: Service) -> None:
    config = served.config
    contents = write_attempt(config, "alpha", "map-00000", [(number, number) for number in range(500)])
    with Service(config, "beta") as fetcher:
        for number in range(500):
            fetcher.fetch(
                segment_of("alpha", "map-00000", number), owner_of(config, "alpha"), key=f"{number}"
            )
        fetcher.await_fetched(500)

    assert [(fetcher.folder / f"{number}").read_bytes() for number in range(500)] == contents


def test_fetching_goes_on_after_the_server_was_killed(
    config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 32 * MIB)])
    monkeypatch.setenv("PYMR_FAULTS", "data.corrupt:kill@20")
    with Service(config, "alpha") as first:
        monkeypatch.delenv("PYMR_FAULTS")
        first.await_serving()
        with Service(config, "beta") as fetcher:
            target = fetcher.fetch(segment_of("alpha", "map-00000", 0), owner_of(config, "alpha"))
            first.pump_until(lambda: first.service.has_died)
            assert not fetcher.fetched
            with Service(config, "alpha"):
                fetcher.await_fetched()

    assert target.read_bytes() == content


def test_resets_every_200_ms_cost_nothing_but_time(served: Service) -> None:
    config = served.config
    contents = write_attempt(config, "alpha", "map-00000", [(number, 16 * MIB) for number in range(16)])
    address = peer_of(config, "alpha").host, peer_of(config, "alpha").data_port
    with Proxy(address, reset_seconds=0.2) as proxy, Service(config, "beta") as fetcher:
        owner = owner_of(config, "alpha", proxy.port)
        targets = [
            fetcher.fetch(segment_of("alpha", "map-00000", number), owner, in_flight=3)
            for number in range(16)
        ]
        fetcher.await_fetched(16, limit=60.0)

        assert proxy.connections > 1
    assert [target.read_bytes() for target in targets] == contents


def test_a_half_open_connection_is_made_anew(served: Service) -> None:
    config = served.config
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 16 * MIB)])
    address = peer_of(config, "alpha").host, peer_of(config, "alpha").data_port
    with (
        Proxy(address, swallowed=1, swallow_after=5 * MIB) as proxy,
        Service(config, "beta") as fetcher,
    ):
        target = fetcher.fetch(segment_of("alpha", "map-00000", 0), owner_of(config, "alpha", proxy.port))
        fetcher.await_fetched(limit=10.0)

        assert proxy.connections == 2
    assert target.read_bytes() == content


def test_another_peer_of_the_host_stands_in(tmp_path: Path) -> None:
    config = make_config(tmp_path, names=("alpha", "beta", "gamma"))
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 5 * MIB)])
    with Service(config, "gamma"), Service(config, "beta") as fetcher:
        owners = owner_of(config, "alpha"), owner_of(config, "gamma")
        target = fetcher.fetch(segment_of("alpha", "map-00000", 0), *owners)
        fetcher.await_fetched(limit=10.0)

    assert target.read_bytes() == content


def test_damaged_chunks_are_fetched_again(config: ClusterConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 4 * MIB)])
    monkeypatch.setenv("PYMR_FAULTS", "data.corrupt:eio@2,data.corrupt:eio@5")
    with Service(config, "alpha"), Service(config, "beta") as fetcher:
        target = fetcher.fetch(segment_of("alpha", "map-00000", 0), owner_of(config, "alpha"))
        fetcher.await_fetched()

    assert target.read_bytes() == content


def test_what_comes_damaged_again_and_again_is_given_up(
    config: ClusterConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_attempt(config, "alpha", "map-00000", [(0, 1_000)])
    monkeypatch.setenv("PYMR_FAULTS", ",".join(f"data.corrupt:eio@{number}" for number in (1, 2, 3)))
    with Service(config, "alpha"), Service(config, "beta") as fetcher:
        fetcher.fetch(segment_of("alpha", "map-00000", 0), owner_of(config, "alpha"), key="a")
        fetcher.pump_until(lambda: bool(fetcher.lost))

        assert [(failed.key, failed.code) for failed in fetcher.lost] == [("a", "corrupt")]
        assert os.listdir(fetcher.folder.parent) == []


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        (segment_of("alpha", "map-00007", 0), "missing"),
        (Plan("alpha", RUN_ID), "missing"),
        (Output("alpha", "job", "../../state/epoch"), "invalid"),
        (segment_of("beta", "map-00000", 0), "invalid"),
    ],
)
def test_what_is_not_to_be_had_is_told(served: Service, resource: Resource, code: str) -> None:
    with Service(served.config, "beta") as fetcher:
        fetcher.fetch(resource, owner_of(served.config, "alpha"))
        fetcher.pump_until(lambda: bool(fetcher.lost))

    assert [failed.code for failed in fetcher.lost] == [code]


def test_a_truncated_map_output_is_told_as_corrupt(served: Service) -> None:
    write_attempt(served.config, "alpha", "map-00000", [(0, 1_000)])
    path = Path(peer_of(served.config, "alpha").data_dir, "runs", RUN_ID, "map-00000-1.1", "runs")
    os.truncate(path, 999)
    with Service(served.config, "beta") as fetcher:
        fetcher.fetch(segment_of("alpha", "map-00000", 0), owner_of(served.config, "alpha"))
        fetcher.pump_until(lambda: bool(fetcher.lost))

    assert [failed.code for failed in fetcher.lost] == ["corrupt"]


def test_a_full_disk_is_told_and_leaves_nothing(served: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    [content] = write_attempt(served.config, "alpha", "map-00000", [(0, 4 * MIB)])
    monkeypatch.setenv("PYMR_FAULTS", "data.write:enospc@3")
    with Service(served.config, "beta") as fetcher:
        segment, owner = segment_of("alpha", "map-00000", 0), owner_of(served.config, "alpha")
        fetcher.fetch(segment, owner)
        fetcher.pump_until(lambda: bool(fetcher.lost))
        assert [failed.code for failed in fetcher.lost] == ["disk"]
        assert _partial_files(fetcher) == []

        fetcher.lost.clear()
        target = fetcher.fetch(segment, owner)  # there is space again
        fetcher.await_fetched()
        assert target.read_bytes() == content


def test_cancelling_removes_what_has_come(served: Service) -> None:
    config = served.config
    write_attempt(config, "alpha", "map-00000", [(0, 16 * MIB)])
    address = peer_of(config, "alpha").host, peer_of(config, "alpha").data_port
    with (
        Proxy(address, swallowed=100, swallow_after=5 * MIB) as proxy,
        Service(config, "beta") as fetcher,
    ):
        fetcher.fetch(segment_of("alpha", "map-00000", 0), owner_of(config, "alpha", proxy.port))
        fetcher.pump_until(lambda: _partial_files(fetcher) != [])
        fetcher.service.cancel(RUN_ID)
        fetcher.pump_until(lambda: _partial_files(fetcher) == [])

    assert fetcher.fetched == fetcher.lost == []


# ---- the process


def test_it_dies_with_its_daemon(tmp_path: Path) -> None:
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[1])\n"
        "from data_services import Service, make_config\n"
        "from pathlib import Path\n"
        "service = Service(make_config(Path(sys.argv[2])), 'alpha'); service.await_serving()\n"
        "print(service.service.pid, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(Path(__file__).parents[1]), str(tmp_path)]
    daemon = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert daemon.stdout is not None
    service = psutil.Process(int(daemon.stdout.readline()))
    daemon.kill()
    daemon.wait()
    daemon.stdout.close()

    _wait_until(lambda: not lives(service), 20.0)


def test_its_end_is_noticed(served: Service) -> None:
    assert not served.service.has_died
    os.kill(served.service.pid, signal.SIGKILL)

    served.pump_until(lambda: served.service.has_died, 20.0)


# ---- serving to those who misbehave


def test_garbage_is_dropped_and_others_are_served(served: Service) -> None:
    good = encode_header(Read(1, Pane("alpha", 0, ""), 0, 1))
    bad: list[list[bytes]] = [
        [b""], [b"garbage"], [good, b""], [good[:-1]], [good + b"\0"], [b"pymr\x02" + good[5:]],
        [b"pymr\x01" + b"\x91" * 100_000], [b"pymr\x01\xdd\xff\xff\xff\xff"],
        [b"pymr\x01" + msgpack.packb(["read", 1, ["pane", "alpha", 0, ""], 0, READ_BYTES_MAX + 1])],
        [b"pymr\x01" + msgpack.packb(["read", 1, ["pane", "a" * 300, 0, ""], 0, 1])],
        [b"pymr\x01" + msgpack.packb(["read", 1, ["shadow", "alpha"], 0, 1])],
    ]  # fmt: skip
    with zmq.Context() as context:
        for frames in bad:
            with _dealer(context, served) as client:
                client.send_multipart(frames)
                client.send(good)
                assert client.poll(5_000), frames
                answer = decode_answer(client.recv_multipart()[0])
                assert isinstance(answer, Chunk), frames


def test_who_sends_only_garbage_is_not_heard_any_more(served: Service) -> None:
    good = encode_header(Read(1, Pane("alpha", 0, ""), 0, 1))
    with zmq.Context() as context, _dealer(context, served) as client, _dealer(context, served) as other:
        for _ in range(3):
            client.send(b"garbage")
        client.send(good)
        other.send(good)

        assert other.poll(5_000)
        assert not client.poll(200)


def test_oversized_and_countless_frames_harm_nobody(served: Service) -> None:
    before = served.resident_bytes()
    with zmq.Context() as context:
        with _dealer(context, served) as client:
            client.send(bytes(3 * MIB))
        with _dealer(context, served) as client:
            client.send_multipart([b"x"] * 100_000)
            client.send(encode_header(Read(1, Pane("alpha", 0, ""), 0, 1)))
            assert client.poll(10_000)

    assert served.resident_bytes() - before < 32 * MIB
    with contextlib.closing(DataClient(served.config, NO_KEYS)) as reader:
        assert reader.read_pane("alpha", 0, "", 0, 1).data == b""


def test_a_client_that_does_not_read_costs_bounded_memory_and_holds_up_nobody(served: Service) -> None:
    config = served.config
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 32 * MIB)])
    before = served.resident_bytes()
    with zmq.Context() as context, _dealer(context, served, receive_queue=1) as client:
        for number in range(2_000):
            client.send(encode_header(Read(number, segment_of("alpha", "map-00000", 0), 0, READ_BYTES_MAX)))
        with Service(config, "beta") as fetcher:
            target = fetcher.fetch(segment_of("alpha", "map-00000", 0), owner_of(config, "alpha"))
            fetcher.await_fetched(limit=10.0)

        assert target.read_bytes() == content
        assert served.resident_bytes() - before < 128 * MIB


def _facts(target: Path) -> list[list[int]]:
    info: list[list[int]] = msgpack.unpackb(Path(f"{target}.facts").read_bytes())
    return info


def _partial_files(fetcher: Service) -> list[str]:
    return [path.name for path in fetcher.folder.glob("*.partial")] if fetcher.folder.exists() else []


@contextlib.contextmanager
def _dealer(
    context: zmq.Context[zmq.Socket[bytes]], service: Service, receive_queue: int = 1_000
) -> Iterator[zmq.Socket[bytes]]:
    peer = peer_of(service.config, service.name)
    with context.socket(zmq.DEALER) as socket:
        socket.linger = 1_000
        socket.sndhwm, socket.rcvhwm = 10_000, receive_queue
        socket.connect(f"tcp://{peer.host}:{peer.data_port}")
        yield socket


def _wait_until(is_so: Callable[[], bool], limit: float) -> None:
    deadline = time.monotonic() + limit
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
