"""What becomes of the editor while a submission is on its way, and what is said of it, without a cluster."""

from __future__ import annotations

from typing import cast

from asked_console import AskedConsole, asked_console
from job_samples import job
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from pymr.wire.requests import JobView
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.submit import SubmitDialog
from tui.screens.editor import EditorScreen
from tui.widgets.job.editor import JobEditor

SCRIPT = """job_type = "script"
job_name = "sweep"
job_priority = 1
script_location = "/bin/true"
"""


async def write_script(app: AskedConsole, pilot: Pilot[None], text: str = SCRIPT) -> None:
    app.edit_job(None, "script")
    await until(pilot, lambda: app.edited, "the template in the editor")
    area = app.shown_screen.query_one(JobEditor).area
    area.select_all()
    area.replace(text, *area.selection)
    await until_shown(pilot, "can be submitted")


async def send(app: AskedConsole, pilot: Pilot[None]) -> None:
    """Submit, as far as the question that nobody answers yet."""
    app.queue.is_open.clear()
    await pilot.press("ctrl+s")
    await until(pilot, lambda: isinstance(app.screen, SubmitDialog), "the dialog")
    await pilot.press("enter")
    await until(pilot, lambda: app.queue.asked, "the submission")


async def test_a_job_that_was_opened_while_another_was_on_its_way_stays_what_it_is() -> None:
    async with asked_console([job("other", version=4)]) as (app, pilot):
        await write_script(app, pilot)
        await send(app, pilot)
        app.edit_job(app.queue.rows[0])
        await until(pilot, lambda: isinstance(app.screen, Confirm), "the question about the changes")
        await pilot.press("y")
        await until(pilot, lambda: app.edited and app.edited.draft.job_name == "other", "the other job")
        app.queue.is_open.set()
        await until(pilot, lambda: "sweep is submitted as version 9." in app.toasts, "the answer")
        await pilot.pause()
        edited = app.edited

    assert edited is not None
    assert (edited.draft.job_name, edited.draft.version, edited.is_changed) == ("other", 4, False)


async def test_who_has_gone_elsewhere_stays_there_when_the_job_is_submitted() -> None:
    async with asked_console() as (app, pilot):
        await write_script(app, pilot)
        await send(app, pilot)
        await pilot.press("escape", "4")
        await until(pilot, lambda: app.current_mode == "peers", "another screen")
        app.queue.is_open.set()
        await until(pilot, lambda: "sweep is submitted as version 9." in app.toasts, "the answer")
        await pilot.pause()

        assert app.current_mode == "peers"
        assert app.edited is not None and app.edited.draft.version == 9


async def test_a_job_that_has_left_the_queue_has_no_version_and_is_not_said_to_stay_there() -> None:
    left = JobView(id="v", row=None, left_fields={
        "job_type": "script", "job_name": "swept", "job_priority": 1, "script_location": "/bin/true",
    })  # fmt: skip
    async with asked_console() as (app, pilot):
        app.queue.views["swept"] = left
        app.begin(app._edit_left("swept"))
        await until_shown(pilot, "swept   ✓ can be submitted")
        area = cast(EditorScreen, app.shown_screen).query_one(JobEditor).area
        area.load_text(area.text.replace("swept", "sweep"))
        await pilot.press("ctrl+s")
        await until_shown(pilot, "Submit sweep?")

        assert "stays in the queue" not in screen_text(pilot)
