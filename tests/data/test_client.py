"""What consoles read from data services, and what they may not."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_services import RUN_ID, Service, make_config, peer_of, segment_of, write_attempt, write_output

from pymr.client import panes
from pymr.config.cluster import ClusterConfig
from pymr.data.client import DataClient
from pymr.data.protocol import DataRefused, Output, Plan
from pymr.peer.panes.panes import PaneStore
from pymr.wire.keys import Security, load_security
from pymr.wire.retry import Unreachable

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


# ---- who may read


def test_viewers_read_panes_and_outputs_only(tmp_path: Path) -> None:
    config = make_config(tmp_path, curve=True)
    write_attempt(config, "alpha", "map-00000", [(0, 1_000)])
    write_output(config, "part-00000-0000.jsonl", b"content")
    with Service(config, "alpha") as service:
        service.await_serving()
        viewer = DataClient(config, load_security(config, "viewer"))
        operator = DataClient(config, load_security(config, "operator"))
        with contextlib.closing(viewer), contextlib.closing(operator):
            output = Output("alpha", "job", "part-00000-0000.jsonl")
            segment = segment_of("alpha", "map-00000", 0)

            assert b"".join(viewer.read(output, 0, 100)) == b"content"
            assert viewer.read_pane("alpha", 0, "", 0, 1).data == b""
            for resource in (segment, Plan("alpha", RUN_ID)):
                with pytest.raises(DataRefused, match="viewer") as refused:
                    viewer.read_piece(resource, 0, 1)
                assert refused.value.code == "denied"
            assert len(operator.read_piece(segment, 0, 1_000).data) == 1_000


def test_strangers_read_nothing(tmp_path: Path) -> None:
    config = make_config(tmp_path / "ours", curve=True)
    theirs = make_config(tmp_path / "theirs", curve=True)
    write_output(config, "part-00000-0000.jsonl", b"content")
    stranger = load_security(theirs, "operator")
    known = load_security(config, "operator")
    with Service(config, "alpha") as service:
        service.await_serving()
        for security in (
            Security("operator", stranger.public, stranger.secret, peers=known.peers),
            Security("operator"),
        ):
            client = DataClient(config, security, timeout_s=2.5)
            with contextlib.closing(client), pytest.raises(Unreachable, match="turned this console away"):
                client.read_piece(Output("alpha", "job", "part-00000-0000.jsonl"), 0, 1)


# ---- reading from a console


def test_an_output_is_read_from_any_offset(served: Service) -> None:
    content = os.urandom(3 * MIB + 17)
    write_output(served.config, "part-00000-0000.jsonl", content)
    output = Output("alpha", "job", "part-00000-0000.jsonl")
    with contextlib.closing(DataClient(served.config, NO_KEYS)) as client:
        assert b"".join(client.read(output, 0, len(content))) == content
        assert b"".join(client.read(output, MIB + 3, 10 * MIB)) == content[MIB + 3 :]
        assert b"".join(client.read(output, len(content) + 5, 1)) == b""
        with pytest.raises(DataRefused) as refused:
            client.read_piece(Output("alpha", "job", "part-00001-0000.jsonl"), 0, 1)
        assert refused.value.code == "missing"


def test_a_pane_is_read_while_it_grows(served: Service) -> None:
    pane = PaneStore(Path(peer_of(served.config, "alpha").data_dir, "panes")).open(3, "job-7")
    pane.append(b"0123456789")
    with contextlib.closing(DataClient(served.config, NO_KEYS)) as client:
        piece = client.read_pane("alpha", 3, "", 4, 3)
        assert (piece.run_id, piece.offset, piece.data, piece.end) == ("job-7", 4, b"456", 10)
        assert [offset for offset, _ in piece.marks] == [0]
        for worker, begin, bytes_max, data in (("alpha/3", 2, 5, b"23456"), ("alpha/3", -4, 3, b"678")):
            seen = panes.read_pane(client, worker, "", begin, bytes_max)
            assert (seen.data, seen.end) == (data, 10)
            assert [offset for offset, _ in seen.times] == [0]
            assert 0 <= time.time() - seen.times[0][1] < 60
        pane.append(b"abc")
        assert client.read_pane("alpha", 3, "job-7", -5, 100).data == b"89abc"
    pane.close()


def test_a_console_turns_to_another_peer_of_the_host(tmp_path: Path) -> None:
    config = make_config(tmp_path, names=("alpha", "beta", "gamma"))
    write_output(config, "part-00000-0000.jsonl", b"content")
    with Service(config, "gamma") as service:
        service.await_serving()
        with contextlib.closing(DataClient(config, NO_KEYS)) as client:
            assert client.read_piece(Output("alpha", "job", "part-00000-0000.jsonl"), 0, 9).data == b"content"


def test_a_console_says_who_could_not_be_reached(config: ClusterConfig) -> None:
    with contextlib.closing(DataClient(config, NO_KEYS, timeout_s=0.5)) as client:
        with pytest.raises(Unreachable, match="alpha"):
            client.read_piece(Plan("alpha", RUN_ID), 0, 1)
        with pytest.raises(Unreachable, match="no peer"):
            client.read_piece(Plan("nobody", RUN_ID), 0, 1)
