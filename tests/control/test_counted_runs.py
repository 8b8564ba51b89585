"""Which runs count: what a state notes of those that failed, for as long as a peer may show them."""

from __future__ import annotations

from msgspec.structs import replace

from pymr.control.counted_runs import count_failure, count_run, counting_of, is_counted
from pymr.control.stored_state import JobState, UncountedRuns

ALL = ("a", "b", "c")


def run(number: int) -> str:
    return f"job-{number:06d}"


def added(state: JobState | None, number: int, *shown_by: str) -> JobState:
    lists = state or JobState("")
    return count_run(state, lists, run(number), adds=True, shown_by=shown_by or ALL)


def failed(state: JobState | None, number: int, *peers: str) -> JobState:
    after = count_failure(state, run(number), peers)
    assert after is not None
    return after


def counts(state: JobState | None, *numbers: int) -> list[bool]:
    return [is_counted(run(number), counting_of(state)) for number in numbers]


def test_a_run_that_failed_is_remembered_until_its_peers_show_a_later_one() -> None:
    state = failed(added(None, 1), 2, "a", "b")
    for number in range(3, 500):
        state = added(state, number, "b", "c")

    assert state.uncounted == (UncountedRuns(2, 2, ("a",)),)
    assert counts(state, 1, 2, 3, 499, 500) == [True, False, True, True, False]

    state = added(state, 500)

    assert counts(state, 1, 3, 500) == [True, True, True]
    assert state.uncounted == ()


def test_normally_nothing_is_noted() -> None:
    state = added(None, 1)
    for number in range(2, 100):
        state = added(state, number)

    assert state.uncounted == ()


def test_failures_in_a_row_are_one_entry_of_all_their_peers() -> None:
    state = failed(failed(failed(added(None, 1), 3, "b"), 5, "a"), 9, "c")

    assert state.uncounted == (UncountedRuns(3, 9, ("a", "b", "c")),)

    state = failed(added(state, 10, "c"), 12, "c")

    assert state.uncounted == (UncountedRuns(3, 9, ("a", "b")), UncountedRuns(12, 12, ("c",)))


def test_a_run_without_any_part_leaves_nothing_to_note() -> None:
    assert count_failure(added(None, 1), run(2), ()) is None


def test_a_run_that_replaces_all_makes_an_end_of_it() -> None:
    state = failed(added(None, 1), 2, "a")
    state = count_run(state, state, run(3), adds=False, shown_by=("b",))

    assert (state.since, state.uncounted, state.adds) == (3, (), False)
    assert counts(state, 1, 2, 3, 4) == [False, False, True, False]


def test_what_redis_has_forgotten_never_counts_whoever_shows_it() -> None:
    """A peer may come back that was in no configuration since."""
    state = replace(added(added(None, 1), 4), is_recovered=True)
    state = added(failed(state, 1_005, "a"), 1_009)

    assert state.uncounted == (UncountedRuns(5, 1_008),)
    assert not state.is_recovered

    state = added(added(state, 1_010), 1_020)

    assert counts(state, 1, 4, 5, 1_005, 1_008, 1_009, 1_020) == [True, True, False, False, False, True, True]


def test_before_the_first_run_that_counts_nothing_is_known() -> None:
    """Its ids may be those of runs that Redis has forgotten."""
    for state in (added(None, 7), added(failed(None, 5, "a"), 7)):
        assert counts(state, 1, 5, 6, 7) == [False, False, False, True]
    assert counts(None, 1) == [False]
    assert counts(JobState(run(3)), 2, 3, 4) == [True, True, False]  # of an earlier release
