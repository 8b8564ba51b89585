"""What is missing of an output, and who has it: by what the manifests of all machines say together."""

from __future__ import annotations

from pymr.engine.outputs import Part
from pymr.output_shares import OutputShare as Share
from pymr.output_shares import expected_shares, missing_in_words, missing_items, shown_shares

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
    assert "b and c, which have them, are in cluster.toml no more" in text
    assert "the data folder of a has lost" in text
    assert "run j again" in text and "`pymr output j --partial`" in text
    assert "b, which has them, is in" in missing_in_words("j", missing, ["a", "c"])


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
