"""What is told of peers and workers while no peer leads: what each says of itself, and no more."""

from __future__ import annotations

from msgspec.structs import replace

from pymr.client.errors import UnreachableError
from pymr.client.peers import AskOne, peers_alone, workers_alone
from pymr.wire.requests import PeersView, WorkersView
from pymr.wire.rows import PeerRow, WorkerRow

NAMES = ("a", "b", "c")
UNKNOWN = tuple(PeerRow(name=name, address="", data_address="") for name in NAMES)


def seen_by(name: str, leader: str = "") -> tuple[PeerRow, ...]:
    """What a peer tells: of itself, or of all where there is a leader."""
    return tuple(
        replace(row, alive=True, state="alive", pid=7, leader=row.name == leader)
        if leader or row.name == name
        else row
        for row in UNKNOWN
    )


def asking(silent: str = "", leader_seen_by: str = "") -> AskOne:
    def peers(name: str, seconds: float) -> PeersView:
        if name == silent:
            raise UnreachableError("no peer has answered")
        return PeersView(id="", rows=seen_by(name, "c" if name == leader_seen_by else ""))

    def workers(name: str, seconds: float) -> WorkersView:
        if name == silent:
            raise UnreachableError("no peer has answered")
        row = WorkerRow(name=f"{name}/0", peer=name, pid=1, state="idle")
        return WorkersView(id="", rows=(row,), is_partial=True)

    return AskOne(peers, workers)


def test_each_peer_tells_of_itself_and_one_that_does_not_is_not_said_to_be_gone() -> None:
    rows = peers_alone(asking(silent="b"), seen_by("a"))

    assert [(row.name, row.alive, row.state, row.pid) for row in rows] == [
        ("a", True, "alive", 7),
        ("b", False, "does not answer", 0),
        ("c", True, "alive", 7),
    ]


def test_one_that_was_taken_out_of_the_cluster_is_not_asked() -> None:
    removed = PeerRow(name="z", address="", data_address="", state="removed", outputs=("job",))
    rows = peers_alone(asking(silent="z"), (*seen_by("a"), removed))

    assert rows[-1] == removed


def test_a_leader_that_one_of_them_knows_tells_of_all() -> None:
    rows = peers_alone(asking(leader_seen_by="b"), seen_by("a"))

    assert [(row.name, row.leader) for row in rows] == [("a", False), ("b", False), ("c", True)]


def test_the_workers_of_all_peers_that_answer_are_told() -> None:
    first = (WorkerRow(name="a/0", peer="a", pid=1, state="map"),)
    rows = workers_alone(asking(silent="b"), first, NAMES)

    assert [(row.name, row.state) for row in rows] == [("a/0", "map"), ("c/0", "idle")]
