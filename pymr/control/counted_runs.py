"""Counting: which runs of a job count, and so whose parts stay in an output that runs are added to.

All count up to the last that has succeeded, but for those that a state names; see decision 012.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from msgspec.structs import replace

from pymr.control.stored_state import JobState, UncountedRuns
from pymr.jobs.run_ids import run_number
from pymr.wire.protocol import Counting

UNCOUNTED_MAX = 1_000
"""Entries of a state, one for all runs in a row that failed while their output was shown, with a success
before and after them. None is ever forgotten for want of room: at so many, nothing is added any more."""


def is_counted(run_id: str, counting: Counting | None) -> bool:
    """Whether a run counts; "" for one that is not known, which does. counting: None where all do."""
    number = run_number(run_id)
    if counting is None or not number:
        return True
    return counting.since <= number <= counting.until and not any(
        first <= number <= last for first, last in counting.uncounted
    )


def stays(run_id: str, base_run: str, counting: Counting | None) -> bool:
    """Whether a part stays in an output that is added to. run_id: of the run that has added it; "" for a part
    of `base_run`, which had replaced all others, or of nobody knows whom."""
    if run_id or counting is None:
        return is_counted(run_id, counting)
    return not base_run or run_number(base_run) >= counting.since


def counting_of(state: JobState | None) -> Counting:
    """Which runs count by the state of a job. Without one none has that added to the output.

    The state of a release that did not note it names one run: of those before it, all counted.
    """
    if state is None:
        return Counting()
    ranges = tuple((runs.first, runs.last) for runs in state.uncounted)
    return Counting(state.since, run_number(state.shown or state.run_id), ranges)


def count_run(
    before: JobState | None, lists: JobState, run_id: str, *, adds: bool, shown_by: Collection[str]
) -> JobState:
    """The state after a run that has succeeded. lists: what says whose lists count. adds: to the output.
    shown_by: the peers that show it, and so nothing any more of runs that do not count."""
    number = run_number(run_id)
    uncounted: list[UncountedRuns] = []
    since = before.since if before is not None else 0
    if not adds:
        since = number
    else:
        for runs in before.uncounted if before is not None else ():
            peers = tuple(peer for peer in runs.peers if peer not in shown_by)
            if peers or not runs.peers:
                uncounted.append(replace(runs, peers=peers))
        if before is None or before.is_recovered:
            first = counting_of(before).until + 1
            _put(uncounted, UncountedRuns(first, number - 1), since_success=first)
    return replace(
        lists,
        shown=run_id,
        adds=adds,
        since=since,
        uncounted=tuple(uncounted),
        is_recovered=False,
        torn="",
    )


def count_failure(before: JobState | None, run_id: str, peers: Iterable[str]) -> JobState | None:
    """The state after a run that failed while its output was being added on these peers, each of which may
    show a part of it; None where there is nothing to note."""
    shown_by = tuple(sorted(peers))
    if not shown_by:
        return None
    state = before or JobState("", is_recovered=True)  # of runs before the first one nothing is known
    number, uncounted = run_number(run_id), list(state.uncounted)
    _put(uncounted, UncountedRuns(number, number, shown_by), since_success=counting_of(state).until + 1)
    return replace(state, uncounted=tuple(uncounted))


def _put(uncounted: list[UncountedRuns], runs: UncountedRuns, *, since_success: int) -> None:
    """Append an entry, as one with those after the last success: of the runs between them none counts."""
    if runs.first > runs.last:
        return
    peers: set[str] = set(runs.peers)
    is_known = bool(runs.peers)
    while uncounted and uncounted[-1].last >= since_success:
        one = uncounted.pop()
        runs = UncountedRuns(min(one.first, runs.first), max(one.last, runs.last))
        peers.update(one.peers)
        is_known = is_known and bool(one.peers)
    uncounted.append(replace(runs, peers=tuple(sorted(peers)) if is_known else ()))
