"""What is missing of an output, and who has it: by what the manifests of all machines say together."""

from __future__ import annotations

import msgspec
import pytest

from pymr.engine.outputs import Part
from pymr.wire.frames import FRAME_BYTES_MAX
from pymr.wire.output_shares import (
    SHARES_MAX,
    expected_shares,
    missing_in_words,
    missing_items,
    shown_shares,
)
from pymr.wire.output_shares import OutputShare as Share

WHOLE = [Share("r1", "a", 5), Share("r1", "b", 7)]


def test_nothing_is_missing_where_all_is_there_however_often_it_is_said() -> None:
    assert missing_items(WHOLE * 3, WHOLE) is None
    assert missing_items([], [Share("", "a", 3)]) is None
    assert missing_items([], []) is None


def test_what_is_missing_is_told_with_those_who_have_it() -> None:
    missing = missing_items([*WHOLE, Share("r2", "c", 1)], [Share("r1", "a", 5)])

    assert missing is not None
    assert (missing.items, missing.total, missing.holders) == (8, 13, ("b", "c"))


def test_a_run_that_was_added_is_not_made_up_for_by_another() -> None:
    expected = [Share("r1", "a", 5), Share("r2", "b", 5)]
    missing = missing_items(expected, [Share("r1", "a", 5), Share("r1", "c", 5)])

    assert missing is not None and missing.holders == ("b",)


def test_a_peer_of_another_name_lacks_nothing() -> None:
    assert missing_items(WHOLE, [Share("r1", "a", 5), Share("r1", "renamed", 7)]) is None


def test_of_an_earlier_release_only_the_sum_is_known() -> None:
    assert missing_items([Share("r1", "", 12)], WHOLE) is None

    missing = missing_items([Share("r1", "", 12)], WHOLE[:1])

    assert missing is not None
    assert (missing.items, missing.total, missing.holders) == (7, 12, ())
    assert "made by machines that are not in cluster.toml any more" in missing_in_words("j", missing, ["a"])
    # Who has it is known as soon as one manifest tells it.
    known = missing_items([Share("r1", "", 12), *WHOLE], WHOLE[:1])
    assert known is not None and (known.total, known.holders) == (12, ("b",))


def test_the_words_name_machines_and_a_way_out() -> None:
    missing = missing_items([*WHOLE, Share("r1", "c", 1)], [Share("r1", "a", 2)])
    assert missing is not None

    text = missing_in_words("j", missing, ["a", "x"])
    assert "11 of its 13 items" in text
    assert "b and c, which have them, are no longer in cluster.toml" in text
    assert "the data folder of a has lost" in text
    assert "run j again" in text and "`pymr output j --partial`" in text
    assert "b, which has them, is no longer in" in missing_in_words("j", missing, ["a", "c"])


def manifest(**values: object) -> dict[str, object]:
    parts = [Part("part-00000-0000.jsonl", 5, 50), Part("part-00000-0001.jsonl", 2, 20)]
    return {"run_id": "r2", "runs": ["r1", "r2"], "parts": parts, "summary": {"items": 9}} | values


def test_a_manifest_says_what_all_have_and_which_part_is_whose() -> None:
    said = manifest(
        part_runs={"part-00000-0001.jsonl": "r2"},
        base_run="r1",
        run_items={"r1": {"a": 5, "b": 7}, "r2": {"a": 2}, "r0": {"z": 1}},
    )

    assert expected_shares(said, {"r2"}, lambda run: run == "r1") == [*WHOLE, Share("r2", "a", 2)]
    assert shown_shares(said, "a") == [Share("r1", "a", 5), Share("r2", "a", 2)]


def test_an_old_manifest_says_the_sum_of_its_last_run() -> None:
    assert expected_shares(manifest(runs=["r2"]), {"r2"}) == [Share("r2", "", 9)]
    assert shown_shares(manifest(runs=["r2"]), "a") == [Share("r2", "a", 7)]
    # What was there before the runs that were added is nobody's.
    added = manifest(part_runs={"part-00000-0001.jsonl": "r2"})
    assert shown_shares(added, "a") == [Share("", "a", 5), Share("r2", "a", 2)]


def test_a_peer_that_was_told_later_what_is_shown_knows_no_sum() -> None:
    assert expected_shares(manifest(summary={}, run_items={}), {"r2"}) == []


def test_a_run_without_any_item_lacks_nothing() -> None:
    said = manifest(parts=[], summary={"items": 0}, run_items={"r2": {}})

    assert expected_shares(said, {"r2"}) == []
    assert missing_items(expected_shares(manifest(summary={"items": 0}), {"r2"}), []) is None


PEERS = [f"peer-{number:03d}" for number in range(200)]


def added_to(runs: int, peer: str) -> dict[str, object]:
    """The manifest of a peer, of an output to which so many runs have added five items on every peer."""
    parts = [Part(f"part-00000-{number:04d}.jsonl", 5, 50) for number in range(runs)]
    return manifest(
        run_id=f"j-{runs}",
        parts=parts,
        part_runs={part.name: f"j-{number + 1}" for number, part in enumerate(parts)},
        run_items={f"j-{number + 1}": dict.fromkeys(PEERS, 5) for number in range(runs)},
    )


def all_runs(run_id: str) -> bool:
    return True


@pytest.mark.parametrize("runs", [4, 900, 3_000])
def test_what_is_told_of_an_output_is_bounded_and_still_tells_what_is_missing(runs: int) -> None:
    last = added_to(runs, "x")
    expected = expected_shares(last, (), all_runs)
    shown = [share for peer in PEERS for share in shown_shares(last, peer)]
    of_a_peer = [share for share in shown if share.peer == PEERS[0]]

    assert len(msgspec.msgpack.encode((expected, of_a_peer))) < FRAME_BYTES_MAX / 20
    assert missing_items(expected, shown) is None
    missing = missing_items(expected, [share for share in shown if share.peer != PEERS[7]])
    assert missing is not None
    assert (missing.items, missing.total) == (5 * runs, 5 * runs * len(PEERS))
    assert missing.holders == (PEERS[7],)


def test_machines_that_tell_runs_one_by_one_and_together_are_compared() -> None:
    some, more = added_to(SHARES_MAX, "a"), added_to(SHARES_MAX + 1, "b")
    expected = expected_shares(some, (), all_runs) + expected_shares(more, (), all_runs)
    shown = [share for peer in PEERS for share in shown_shares(some if peer == "a" else more, peer)]

    assert missing_items(expected, shown) is None
    last = shown_shares(added_to(SHARES_MAX, "a"), PEERS[0])
    missing = missing_items(expected, [share for share in shown if share.peer != PEERS[0]] + last)
    assert missing is not None and (missing.items, missing.holders) == (5, (PEERS[0],))
