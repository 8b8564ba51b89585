"""Output shares: what each peer has to have of an output, and what of that is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pymr.rows import OutputShare


@dataclass(frozen=True, slots=True)
class MissingItems:
    """Items of an output that no machine shows. holders: peers that are to have some of them, as far as that
    is known."""

    items: int
    total: int
    holders: tuple[str, ...]


def missing_items(expected: Iterable[OutputShare], shown: Iterable[OutputShare]) -> MissingItems | None:
    """What an output lacks; None where it is whole.

    expected: what the manifests of all hosts say, each as often as it likes; a share whose peer is "" is all
    that is known of a run of an earlier release. shown: what there is, once for each peer. A peer that was
    given another name lacks nothing, as long as somebody shows it.
    """
    by_run: dict[str, dict[str, int]] = {}
    for share in expected:
        by_run.setdefault(share.run_id, {})[share.peer] = share.items
    here: Counter[str] = Counter()
    here_by_peer: Counter[tuple[str, str]] = Counter()
    for share in shown:
        here[share.run_id] += share.items
        here_by_peer[share.run_id, share.peer] += share.items
    items = total = 0
    holders: set[str] = set()
    for run_id, shares in by_run.items():
        known = {peer: count for peer, count in shares.items() if peer} or shares
        wanted = sum(known.values())
        total += wanted
        if here[run_id] < wanted:
            items += wanted - here[run_id]
            holders.update(peer for peer, count in known.items() if here_by_peer[run_id, peer] < count)
    return MissingItems(items, total, tuple(sorted(holders - {""}))) if items else None


def missing_in_words(job_name: str, missing: MissingItems, peers: Collection[str]) -> str:
    """Why an output cannot be read, and what to do. peers: those in cluster.toml."""
    gone = [name for name in missing.holders if name not in peers]
    here = [name for name in missing.holders if name in peers]
    reasons, ways = [], []
    if gone:
        reasons.append(f"{_names(gone)} in cluster.toml no more")
        ways.append("put it back there" if len(gone) == 1 else "put them back there")
    if here:
        reasons.append(f"the data folder of {' and of '.join(here)} has lost what it had of them")
    if not reasons:
        reasons.append("they were made by machines that are not in cluster.toml any more, or have lost them")
    ways.append(f"run {job_name} again")
    return (
        f"the output of {job_name} is not whole: {missing.items:,} of its {missing.total:,} items are not "
        f"there, as {', and '.join(reasons)}; {', or '.join(ways)}. `pymr output {job_name} --partial` gives "
        "what is there"
    )


def expected_shares(
    manifest: Mapping[str, Any], shown_runs: Collection[str], counts: Callable[[str], bool] = lambda _: False
) -> list[OutputShare]:
    """What a manifest says all peers have together, of these runs and those that count."""
    run_items: dict[str, dict[str, int]] = manifest.get("run_items") or {}
    shares = [
        OutputShare(run_id, peer, items)
        for run_id, by_peer in run_items.items()
        if run_id in shown_runs or counts(run_id)
        for peer, items in by_peer.items()
    ]
    run_id, summary = str(manifest.get("run_id", "")), manifest.get("summary") or {}
    if run_id not in run_items and isinstance(summary.get("items"), int) and run_id in shown_runs:
        shares.append(OutputShare(run_id, "", summary["items"]))
    return shares


def shown_shares(manifest: Mapping[str, Any], peer: str) -> list[OutputShare]:
    """What a manifest lists of the parts of its peer, by the run that has made them; "" for nobody knows."""
    noted: dict[str, str] = manifest.get("part_runs") or {}
    runs: list[str] = manifest.get("runs") or []
    # Of an earlier release, a run that replaced all others stands alone.
    base = str(manifest.get("base_run", runs[0] if len(runs) == 1 and not noted else ""))
    items: Counter[str] = Counter()
    for part in manifest["parts"]:
        items[noted.get(part.name, base)] += part.items
    return [OutputShare(run_id, peer, count) for run_id, count in items.items()]


def _names(peers: list[str]) -> str:
    if len(peers) == 1:
        return f"{peers[0]}, which has them, is"
    return f"{', '.join(peers[:-1])} and {peers[-1]}, which have them, are"
