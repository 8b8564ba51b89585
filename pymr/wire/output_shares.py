"""Output shares: what each peer has to have of an output, and what of that is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

SHARES_MAX = 1_000
"""Most shares that are told one by one of what an output has to have: of more, only how many items each run
has, and each peer. Of more runs than this, RUNS_TOGETHER are told as one. A job may have added to its output
for years, on hundreds of machines, and all of that has to fit into a frame."""

RUNS_TOGETHER = 64
_TOGETHER = "~"
"""Ends the id that stands for RUNS_TOGETHER runs, by their numbers: the same on every machine."""


class OutputShare(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """How many items of a run's output a peer has. peer: "" where only their sum is known. run_id: "" for
    those of all runs together, of what an output has to have."""

    run_id: str
    peer: str
    items: int


class OutputRead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a peer has of a job's output that is about to be read. run_id: the newest in it. expected, shown:
    as in requests.OutputView."""

    job_name: str
    peer: str
    run_id: str
    expected: tuple[OutputShare, ...]
    shown: tuple[OutputShare, ...]


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
    wanted_shares, here_shares = _most(expected), list(shown)
    if any(_is_of_several(share) for share in wanted_shares):
        one_by_one = [share for share in wanted_shares if not _is_of_several(share)]
        wanted_shares = [share for share in wanted_shares if _is_of_several(share)] + _together(one_by_one)
        here_shares = _together(here_shares)
    by_run: dict[str, dict[str, int]] = {}  # "" for all runs
    for share in _most(wanted_shares):
        by_run.setdefault(share.run_id, {})[share.peer] = share.items
    by_peer = by_run.pop("", {})
    here: Counter[str] = Counter()
    here_by_peer: Counter[tuple[str, str]] = Counter()
    for share in here_shares:
        here[share.run_id] += share.items
        here_by_peer[share.run_id, share.peer] += share.items
        here_by_peer["", share.peer] += share.items if share.run_id in by_run else 0
    items = total = 0
    holders: set[str] = set()
    for run_id, shares in by_run.items():
        known = {peer: count for peer, count in shares.items() if peer}
        wanted = sum((known or shares).values())
        total += wanted
        if here[run_id] < wanted:
            items += wanted - here[run_id]
            where = (run_id, known) if known else ("", by_peer)
            holders.update(peer for peer, count in where[1].items() if here_by_peer[where[0], peer] < count)
    return MissingItems(items, total, tuple(sorted(holders - {""}))) if items else None


def why_not_read(outputs: Iterable[OutputRead], peers: Collection[str]) -> tuple[str, bool]:
    """Why the outputs that are about to be read cannot be, and whether that is for good; "" where they can.

    outputs: of all peers, which are those in cluster.toml. While an output is replaced, its machines differ.
    """
    by_job: dict[str, list[OutputRead]] = {}
    for one in outputs:
        by_job.setdefault(one.job_name, []).append(one)
    for job_name, reads in by_job.items():
        runs = {one.peer: one.run_id for one in reads}
        missing = missing_items(
            (share for one in reads for share in one.expected),
            (share for one in reads for share in one.shown),
        )
        if len(set(runs.values())) > 1:
            shown = ", ".join(f"{peer} that of {run_id}" for peer, run_id in runs.items())
            return f"machines do not show the same output of {job_name}: {shown}; run it again", False
        if missing is not None:
            is_shown_by_all = set(peers) <= runs.keys() or bool(set(missing.holders) - set(peers))
            return missing_in_words(job_name, missing, peers), is_shown_by_all
    return "", False


def missing_in_words(job_name: str, missing: MissingItems, peers: Collection[str]) -> str:
    """Why an output cannot be read, and what to do. peers: those in cluster.toml."""
    gone = [name for name in missing.holders if name not in peers]
    here = [name for name in missing.holders if name in peers]
    reasons, ways = [], []
    if gone:
        reasons.append(f"{_names(gone)} no longer in cluster.toml")
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
    """What a manifest says all peers have together, of these runs and those that count; see SHARES_MAX."""
    run_items: dict[str, dict[str, int]] = manifest.get("run_items") or {}
    shares = [
        OutputShare(run_id, peer, items)
        for run_id, by_peer in run_items.items()
        if run_id in shown_runs or counts(run_id)
        for peer, items in by_peer.items()
    ]
    run_id, summary = str(manifest.get("run_id", "")), manifest.get("summary")
    items = summary.get("items") if isinstance(summary, dict) else None
    if run_id not in run_items and run_id in shown_runs and isinstance(items, int):
        shares.append(OutputShare(run_id, "", items))
    if _has_many_runs(manifest):
        shares = _together(shares)
    if len(shares) <= SHARES_MAX:
        return shares
    by_run, by_peer = Counter[str](), Counter[str]()
    for share in shares:
        by_run[share.run_id] += share.items
        by_peer[share.peer] += share.items
    sums = [OutputShare(run_id, "", items) for run_id, items in by_run.items()]
    return sums + [OutputShare("", peer, items) for peer, items in by_peer.items() if peer]


def shown_shares(manifest: Mapping[str, Any], peer: str) -> list[OutputShare]:
    """What a manifest lists of the parts of its peer, by the run that has made them; "" for nobody knows."""
    items = Counter(taken_items(manifest, {}))
    for part in manifest["parts"]:
        items[_run_of(manifest, part.name)] += part.items
    shares = [OutputShare(run_id, peer, count) for run_id, count in items.items()]
    return _together(shares) if _has_many_runs(manifest) else shares


def _most(shares: Iterable[OutputShare]) -> list[OutputShare]:
    """Of several shares of the same run and peer the one of most items, as a manifest may know less."""
    found: dict[tuple[str, str], OutputShare] = {}
    for share in shares:
        key = share.run_id, share.peer
        if key not in found or found[key].items < share.items:
            found[key] = share
    return list(found.values())


def _is_of_several(share: OutputShare) -> bool:
    return share.run_id.endswith(_TOGETHER)


def _has_many_runs(manifest: Mapping[str, Any]) -> bool:
    return len(manifest.get("run_items") or ()) > SHARES_MAX


def _together(shares: Iterable[OutputShare]) -> list[OutputShare]:
    """The shares of RUNS_TOGETHER runs as those of one."""
    sums = Counter[tuple[str, str]]()
    for share in shares:
        name, _, number = share.run_id.rpartition("-")
        run_id = share.run_id
        if number.isdecimal():
            run_id = f"{name}-{int(number) // RUNS_TOGETHER * RUNS_TOGETHER}{_TOGETHER}"
        sums[run_id, share.peer] += share.items
    return [OutputShare(run_id, peer, items) for (run_id, peer), items in sums.items()]


def taken_items(manifest: Mapping[str, Any], removed: Mapping[str, int]) -> dict[str, int]:
    """How many items somebody has moved away on purpose, which nobody misses, by run. removed: those of parts
    that are about to be, by their names."""
    taken = Counter(manifest.get("taken") or {})
    for name, items in removed.items():
        taken[_run_of(manifest, name)] += items
    return dict(taken)


def _run_of(manifest: Mapping[str, Any], part_name: str) -> str:
    """The run that has made a part; "" for nobody knows."""
    noted: dict[str, str] = manifest.get("part_runs") or {}
    runs: list[str] = manifest.get("runs") or []
    # Of an earlier release, a run that replaced all others stands alone.
    base = runs[0] if len(runs) == 1 and not noted else ""
    return str(noted.get(part_name, manifest.get("base_run", base)))


def _names(peers: list[str]) -> str:
    if len(peers) == 1:
        return f"{peers[0]}, which has them, is"
    return f"{', '.join(peers[:-1])} and {peers[-1]}, which have them, are"
