"""Counting: which runs of a job count, and so whose parts stay in an output that runs are added to."""

from __future__ import annotations

from msgspec.structs import replace

from pymr.control.records import JobState

COUNTED_MAX = 64
"""Runs of a job that its state names. A peer that was away for more of them, and shows parts of a run that
failed before, would keep those."""


def run_number(run_id: str) -> int:
    """The number at the end of a run's id; they rise over the life of a cluster, a recovery included."""
    number = run_id.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def is_counted(run_id: str, counting: tuple[int, ...]) -> bool:
    """Whether a run counts, by the numbers of a state: all do that are older than the first of them."""
    number = run_number(run_id)
    return not counting or number < counting[0] or number in counting


def counted(state: JobState | None) -> tuple[int, ...]:
    """The numbers of the runs that count; 0 comes first where there were no others before them.

    The state of a release that did not note them names one run: of those before it, all counted.
    """
    if state is None:
        return (0,)
    return state.counted or (run_number(state.run_id),)


def count_run(before: JobState | None, lists: JobState, run_id: str, *, adds: bool) -> JobState:
    """The state after a run that has succeeded. lists: what says whose lists count. adds: to the output."""
    numbers = (*counted(before), run_number(run_id)) if adds else (0, run_number(run_id))
    return replace(lists, shown=run_id, adds=adds, counted=numbers[-COUNTED_MAX:], torn="")
