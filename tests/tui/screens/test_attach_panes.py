"""The Attach screen over panes in memory: runs that have ended, searching, going from worker to worker."""

from __future__ import annotations

from pathlib import Path

import pytest
from job_samples import TRACEBACK, run
from pane_console import pane_console
from textual.widgets import Input, OptionList
from waiting import screen_text, until, until_shown

from pymr.wire.rows import RunRow, RunStatus, WorkerRow

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
    async with pane_console(PANES, "alpha/0", RUN, workers=[worker("alpha/0")]) as (app, pilot):
        await until_shown(pilot, "no longer works on this run")
        app.client.runs = (ended(7),)
        await until_shown(pilot, "✓ alpha/0 ended: succeeded")
        app.attach.open("beta/0", "other-000001")
        await until_shown(pilot, "of beta")

        assert "ended" not in screen_text(pilot)


async def test_the_end_is_told_of_however_many_runs_of_the_job_have_ended_before() -> None:
    before = [ended(number) for number in range(60, 0, -1)]
    panes = {("alpha/0", "count-000061"): b"one\r\n"}
    idle = [worker("alpha/0")]
    async with pane_console(panes, "alpha/0", "count-000061", workers=idle, runs=before) as (app, pilot):
        await until(pilot, lambda: app.client.histories >= 2, "a question, and another one")
        app.client.runs = (ended(61, "failed"), *before)
        await until_shown(pilot, "✗ alpha/0 ended: failed")
        asked = app.client.histories
        app.attach._look_for_end()
        app.attach.open("alpha/0", "count-000061")
        await until_shown(pilot, "✗ alpha/0 ended: failed")

        assert app.client.histories - asked <= 2  # nothing before it was opened again


async def test_an_old_run_of_many_is_found_and_one_that_is_forgotten_is_given_up() -> None:
    runs = [ended(number) for number in range(90, 2, -1)]
    panes = {("alpha/0", "count-000003"): b"one\r\n", ("alpha/0", "count-000002"): b"two\r\n"}
    async with pane_console(panes, "alpha/0", "count-000003", runs=runs) as (app, pilot):
        await until_shown(pilot, "✓ alpha/0 ended: succeeded")
        app.attach.open("alpha/0", "count-000002")
        await until(pilot, lambda: not app.attach._is_end_sought, "that it is given up")

        assert "ended" not in screen_text(pilot)


async def test_a_slow_answer_about_the_end_is_waited_for_and_not_asked_for_again() -> None:
    async with pane_console(PANES, "alpha/0", RUN, workers=[worker("alpha/0", "map", RUN)]) as (app, pilot):
        app.client.runs = (ended(7),)
        app.client.is_open.clear()
        app.tell(worker("alpha/0"))
        for _ in range(5):  # as often as its interval passes meanwhile
            app.attach._look_for_end()
            await pilot.pause()
        asked = app.client.histories
        app.client.is_open.set()
        await until_shown(pilot, "✓ alpha/0 ended: succeeded")

        assert asked == 1


async def test_the_end_of_a_run_that_the_console_knows_is_not_asked_for() -> None:
    async with pane_console(PANES, "alpha/0", RUN, workers=[worker("alpha/0", "map", RUN)]) as (app, pilot):
        app.tell(worker("alpha/0"), runs=[ended(7)])
        await until_shown(pilot, "✓ alpha/0 ended: succeeded")

        assert app.client.histories == 0


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


async def test_a_breakpoint_of_the_worker_that_is_looked_at_is_not_told_of_once_more() -> None:
    async with pane_console(PANES, "alpha/0", RUN, workers=[worker("alpha/0", "map", RUN)]) as (app, _):
        looked_at = app.shown_screen.looked_at
        app.attach.open("alpha/0")
        of_any_run = app.shown_screen.looked_at
        await app.action_show("jobs")

        assert (looked_at, of_any_run[0]) == (("alpha/0", RUN), "alpha/0")
        assert app.shown_screen.looked_at == ("", "")


# ---- other workers, copying


MANY = {(f"alpha/{number}", RUN): b"of %d\r\n" % number for number in (2, 9, 10)} | {
    ("beta/0", "other-000001"): b"of beta\r\n"
}
ALL = [worker(name) for name in ("alpha/2", "alpha/9", "alpha/10", "beta/0", "gamma/0")]


async def test_keys_go_from_worker_to_worker_of_the_run_in_the_order_of_slots() -> None:
    async with pane_console(MANY, "alpha/9", RUN, workers=ALL) as (app, pilot):
        went = []
        for key in ("right_square_bracket", "right_square_bracket", "left_square_bracket"):
            shown = app.attach.worker
            await pilot.press(key)
            await until(pilot, lambda shown=shown: app.attach.worker != shown, "another worker")  # type: ignore[misc]
            went.append((app.attach.worker, app.attach.run_id))

        assert went == [("alpha/10", RUN), ("alpha/2", RUN), ("alpha/10", RUN)]


async def test_where_the_run_has_no_other_worker_keys_go_to_the_next_of_all() -> None:
    async with pane_console(MANY, "beta/0", "other-000001", workers=ALL) as (app, pilot):
        await pilot.press("left_square_bracket")
        await until(pilot, lambda: app.attach.worker == "alpha/10", "the one before")
        await until_shown(pilot, "of 10")
        app.attach.open("beta/0", "other-000001")
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: app.attach.worker == "gamma/0", "the one after, without output")
        await pilot.press("right_square_bracket")
        await until(pilot, lambda: app.attach.worker == "alpha/2", "the first again")

        assert app.toasts == []


async def test_what_the_mouse_has_marked_is_not_marked_in_the_next_pane() -> None:
    async with pane_console(MANY, "alpha/9", RUN, workers=ALL) as (app, pilot):
        view = app.attach.view
        await pilot.mouse_down(view, offset=(0, 0))
        await pilot.hover(view, offset=(3, 0))
        await pilot.mouse_up(view, offset=(3, 0))
        await until(pilot, lambda: view.text_selection is not None, "a selection")
        await pilot.press("right_square_bracket")
        await until_shown(pilot, "of 10")

        assert view.text_selection is None
        assert view.visible_text().startswith("of 10")


async def test_copying_says_no_more_than_is_known() -> None:
    async with pane_console(PANES, "alpha/0", RUN) as (app, pilot):
        await pilot.press("y")
        await until(pilot, lambda: app.toasts, "a notice")

        assert app.clipboard == "one\ntwo"
        assert app.toasts == [
            "2 lines handed to the terminal to copy, if it allows that. S saves all to a file."
        ]


async def test_more_than_a_terminal_takes_is_not_copied() -> None:
    long = b"".join(b"%0300d\r\n" % number for number in range(400))
    async with pane_console({("alpha/0", RUN): long}, "alpha/0", RUN, size=(300, 300)) as (app, pilot):
        await pilot.press("y")
        await until(pilot, lambda: app.toasts, "a notice")

        assert app.clipboard == ""
        assert app.toasts[0].startswith("Not copied: 29")
        assert app.toasts[0].endswith("are too much for a terminal. S saves all to a file.")


# ---- searching


NUMBERS = b"".join(b"%04d %s\r\n" % (number, b"odd" if number % 2 else b"even") for number in range(1_000))


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
async def test_a_search_takes_an_expression_and_tells_which_of_how_many(size: tuple[int, int]) -> None:
    async with pane_console({("alpha/0", RUN): NUMBERS}, "alpha/0", RUN, size=size) as (_, pilot):
        await pilot.press("home", "slash", *r"^\d{3}3 odd$", "enter")
        await until_shown(pilot, "1/100  n next  N previous")
        await pilot.press("n", "n")
        await until_shown(pilot, "3/100")
        await pilot.press("N")
        await until_shown(pilot, "2/100")
        await pilot.press("N", "N")
        await until_shown(pilot, "100/100  went on from the end")

        assert "0993 odd" in screen_text(pilot)


async def test_a_wrong_expression_says_so_and_stays_to_be_mended() -> None:
    async with pane_console({("alpha/0", RUN): NUMBERS}, "alpha/0", RUN, size=(80, 24)) as (app, pilot):
        await pilot.press("home", "slash", *"(00|1", "enter")
        await until_shown(pilot, "not a valid regular expression: missing )")
        await until_shown(pilot, "…")  # at 80 columns there is a sign that there is more
        typed = app.attach.prompt.query_one(Input).value
        await pilot.press(*")5", "enter")
        await until_shown(pilot, "1/31")

        assert typed == "(00|1"
        assert app.attach.prompt.query_one(Input).value == "(00|1)5"
        assert "0005 odd" in screen_text(pilot)


# ---- saving


async def test_tab_completes_the_path_to_save_to_and_keeps_the_focus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("logbook", "logs-of-may", "logs-of-june"):
        (tmp_path / name).mkdir()
    async with pane_console(PANES, "alpha/0", RUN, size=(80, 24)) as (app, pilot):
        await pilot.press("S")
        entry = app.attach.prompt.query_one(Input)
        entry.value = ""
        await pilot.press(*"logs", "tab")
        await until(pilot, lambda: entry.value == "logs-of-", "what both have in common")
        await until_shown(pilot, "logs-of-june/")
        shown = screen_text(pilot).split("\n")
        await pilot.press("down", "enter")
        await until(pilot, lambda: entry.value == "logs-of-may/", "the folder")
        await pilot.press(*"none", "tab")
        await until_shown(pilot, "nothing begins with none in logs-of-may/")

        assert app.focused is entry
        assert any("Save all of it to" in line for line in shown)
        assert app.toasts == []
