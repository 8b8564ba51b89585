"""The line above the screens that says what is wrong."""

from __future__ import annotations

import time

from pymr.wire.rows import PeerRow
from tui.model.state import ClusterState
from tui.widgets.banner import Banner


def peer(name: str, version: str, *, alive: bool = True) -> PeerRow:
    return PeerRow(name=name, address="h:1", data_address="h:2", alive=alive, version=version)


def words(*peers: PeerRow, **state: str) -> str:
    banner = Banner()
    banner._state = ClusterState(peers=peers, answered_at=time.monotonic(), **state)  # type: ignore[arg-type]
    return str(banner.render())


def test_peers_of_different_versions_are_told_of() -> None:
    told = words(peer("a", "0.4.0"), peer("b", "0.3.0"))

    assert told.startswith("The peers run different versions: 0.3.0 (b), 0.4.0 (a);")


def test_of_a_peer_that_is_gone_or_not_heard_of_no_version_counts() -> None:
    assert words(peer("a", "0.4.0"), peer("b", "0.3.0", alive=False), peer("c", "")) == ""


def test_a_fault_goes_before_it() -> None:
    assert words(peer("a", "0.4.0"), peer("b", "0.3.0"), fault="It is broken.") == "It is broken."
