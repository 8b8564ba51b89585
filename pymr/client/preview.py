"""Preview: a job is tried on the first lines of its input, on the first host that has some."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from pymr.client.errors import UnreachableError
from pymr.config.cluster import PeerConfig
from pymr.wire.requests import PreviewView
from pymr.wire.rows import PeerRow
from pymr.wire.run_warnings import ABSENT_WAY_OUT

if TYPE_CHECKING:
    from pymr.client.client import Client


def preview_on(
    client: Client, fields: dict[str, Any], project_hash: str, lines: int, peer: str = ""
) -> PreviewView:
    """What a job makes of the first lines of its input. peer: on whose host; "" for the first that has
    any. A peer that does not answer is passed over; those that are not known to be alive are asked last.
    Raises UnreachableError when none does."""
    hosts = {one.name: one.host for one in client.config.peers}
    views: dict[str, PreviewView] = {}
    unreachable = None
    for name in [peer] if peer else in_turn(client.config.peers, client.peers()):
        host = hosts.get(name, "")
        if host in views:
            continue
        try:
            view = client.preview_on(fields, project_hash, lines, name)
        except UnreachableError as error:
            unreachable = error
            continue
        if view.path or view.error:
            return view
        views[host] = view
    if not views and unreachable:
        raise unreachable
    return _without_input(list(views.values()))


def _without_input(views: list[PreviewView]) -> PreviewView:
    """What is reported when no host has input: an error if one of the input folders exists nowhere."""
    nowhere = [name for name in views[0].absent if all(name in view.absent for view in views)]
    if not nowhere:
        return views[0]
    where = " and ".join(view.peer for view in views)
    reason = f"input_dirs: {nowhere[0]} is not there on {where}; {ABSENT_WAY_OUT}"
    return replace(views[0], error=reason)


def in_turn(peers: Iterable[PeerConfig], rows: Iterable[PeerRow]) -> list[str]:
    """Names of peers: those that are alive first; of these one of each host, then the second ones, and so on;
    else in their order. rows: as the cluster tells of them."""
    alive = {row.name for row in rows if row.alive}
    of_host: Counter[tuple[bool, str]] = Counter()
    turns = []
    for peer in peers:
        is_away = peer.name not in alive
        of_host[is_away, peer.host] += 1
        turns.append((is_away, of_host[is_away, peer.host], peer.name))
    return [name for *_, name in sorted(turns, key=lambda turn: turn[:2])]
