"""The Attach screen over panes in memory: runs that have ended, searching, going from worker to worker."""

from __future__ import annotations

import pytest
from job_samples import TRACEBACK, run
from pane_console import pane_console
from textual.widgets import OptionList
from waiting import screen_text, until_shown

from pymr.rows import RunRow, RunStatus, WorkerRow

RUN = "count-000007"
PANES = {("alpha/0", RUN): b"one\r\ntwo\r\n", ("beta/0", "other-000001"): b"of beta\r\n"}


def worker(name: str, state: str = "idle", run_id: str | None = None) -> WorkerRow:
    return WorkerRow(name=name, peer=name.split("/")[0], pid=1, state=state, run_id=run_id)  # type: ignore[arg-type]


def ended(number: int, status: RunStatus = "succeeded", exception: str | None = None) -> RunRow:
    row = run(number, status, job_name="count", exception=exception)
    return RunRow(
        **{name: getattr(row, name) for name in row.__struct_fields__} | {"run_id": f"count-{number:06d}"}
    )


# ---- runs that have ended


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_output_stays_when_the_job_ends_and_the_title_says_how(size: tuple[int, int]) -> None:
    at_work = worker("alpha/0", "map", RUN)
    async with pane_console(PANES, "alpha/0", RUN, workers=[at_work], size=size) as (app, pilot):
        await until_shown(pilot, "two")
        before = "ended" in screen_text(pilot)
        app.client.runs = (ended(8), ended(7, "failed", TRACEBACK))
        app.tell(worker("alpha/0", "map", "other-000002"))
        await until_shown(pilot, "✗ alpha/0 ended: failed")

        assert not before
        assert "two" in screen_text(pilot)
        assert "▼ at its end" in screen_text(pilot)
        assert app.attach.run_id == RUN


async def test_a_run_that_goes_on_elsewhere_is_not_called_ended() -> None:
    runs = [run(7, "running", job_name="count")]
    async with pane_console(PANES, "alpha/0", RUN, workers=[worker("alpha/0")], runs=runs) as (app, pilot):
        await until_shown(pilot, "no longer works on this run")
        app.client.runs = (ended(7),)
        await until_shown(pilot, "✓ alpha/0 ended: succeeded")
        app.attach.open("beta/0", "other-000001")
        await until_shown(pilot, "of beta")

        assert "ended" not in screen_text(pilot)


async def test_output_that_is_no_longer_kept_is_said_to_be_gone() -> None:
    async with pane_console(PANES, "alpha/0", "count-000003", runs=[ended(3, "failed")]) as (app, pilot):
        await until_shown(pilot, "What alpha/0 put out in count-000003 is no longer kept")
        await until_shown(pilot, "ended: failed")

        assert app.attach.notice.words.endswith("if it took part in that run")


async def test_runs_to_choose_from_are_those_of_which_output_is_kept() -> None:
    runs = [ended(9), ended(7)]
    async with pane_console(PANES, "alpha/0", RUN, runs=runs) as (app, pilot):
        await pilot.press("h")
        await until_shown(pilot, "Runs that alpha/0 has output of")
        options = app.screen.query_one(OptionList)

        assert [option.id for option in options.options] == [RUN]
        assert app.toasts == []
