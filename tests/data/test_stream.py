"""Streams of a data service: bytes come whole and in order, whatever happens on the way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from data_services import Service, make_config, peer_of, segment_of, write_attempt
from tcp_proxy import Proxy

from pymr.config.cluster import ClusterConfig
from pymr.data.protocol import READ_BYTES_MAX, DataRefused
from pymr.data.stream import DataStream
from pymr.wire.keys import Security
from pymr.wire.retry import Unreachable

MIB = 1 << 20
NO_KEYS = Security("beta")


@pytest.fixture
def config(tmp_path: Path) -> ClusterConfig:
    return make_config(tmp_path)


@contextlib.contextmanager
def stream_to(config: ClusterConfig, patience_s: float = 30.0) -> Iterator[DataStream]:
    with contextlib.closing(DataStream(config, NO_KEYS, "alpha", patience_s=patience_s)) as stream:
        yield stream


@pytest.mark.parametrize("compress", [False, True])
def test_ranges_come_in_their_order(config: ClusterConfig, compress: bool) -> None:
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 20 * MIB + 7)])
    ranges = [(5, 0), (5, 3), (3, 9 * MIB), (19 * MIB, MIB + 7), (0, 1)]
    with Service(config, "alpha") as service, stream_to(config) as stream:
        service.await_serving()
        pieces = list(stream.read(segment_of("alpha", "map-00000", 0), ranges, compress=compress))

    assert b"".join(pieces) == b"".join(content[offset : offset + length] for offset, length in ranges)
    assert max(map(len, pieces)) <= READ_BYTES_MAX


def test_a_stream_ends_with_its_resource(config: ClusterConfig) -> None:
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 100)])
    with Service(config, "alpha") as service, stream_to(config) as stream:
        service.await_serving()
        assert b"".join(stream.read(segment_of("alpha", "map-00000", 0), [(90, 2 * MIB)])) == content[90:]


def test_damaged_bytes_are_asked_for_again(config: ClusterConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 16 * MIB)])
    monkeypatch.setenv("PYMR_FAULTS", "data.corrupt:eio@3,data.corrupt:eio@5")
    with Service(config, "alpha") as service, stream_to(config) as stream:
        service.await_serving()
        got = b"".join(stream.read(segment_of("alpha", "map-00000", 0), [(0, 16 * MIB)]))

    assert got == content


READS_MAX = 50


def test_resets_every_200_ms_cost_nothing_but_time(config: ClusterConfig) -> None:
    """The same again until a connection has been reset: the machine may be quick."""
    [content] = write_attempt(config, "alpha", "map-00000", [(0, 64 * MIB)])
    address = peer_of(config, "alpha").host, peer_of(config, "alpha").data_port
    with Service(config, "alpha") as service, Proxy(address, reset_seconds=0.2) as proxy:
        service.await_serving()
        by_proxy = [msgspec.structs.replace(config.peers[0], data_port=proxy.port), config.peers[1]]
        with stream_to(msgspec.structs.replace(config, peers=tuple(by_proxy))) as stream:
            for _ in range(READS_MAX):
                pieces = stream.read(segment_of("alpha", "map-00000", 0), [(0, 64 * MIB)])
                assert b"".join(pieces) == content
                if proxy.connections > 1:
                    break

        assert proxy.connections > 1


def test_what_is_not_there_is_refused_and_who_is_not_there_is_told_of(config: ClusterConfig) -> None:
    waited: list[str] = []
    with Service(config, "alpha") as service, stream_to(config) as stream:
        service.await_serving()
        with pytest.raises(DataRefused, match="is not there"):
            list(stream.read(segment_of("alpha", "map-00009", 0), [(0, 1)]))
    stream = DataStream(config, NO_KEYS, "alpha", patience_s=4.0, on_wait=waited.append)
    with contextlib.closing(stream), pytest.raises(Unreachable, match="has answered for"):
        list(stream.read(segment_of("alpha", "map-00000", 0), [(0, 1)]))
    assert any("cannot be reached" in reason for reason in waited)
