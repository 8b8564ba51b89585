"""What is done to the queue: while no answer comes, after a refusal, and when a job comes back."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest
from asked_console import AskedConsole, asked_console
from job_samples import job, run
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from pymr.client import ClientError, RefusedError, UnreachableError
from tui.console.console import Deleted
from tui.screens.jobs import JobsScreen

ROWS = (job("count", "failed"),)


async def until_toast(app: AskedConsole, pilot: Pilot[None], words: str) -> None:
    await until(pilot, lambda: any(words in toast for toast in app.toasts), f"{words!r} among {app.toasts}")


@pytest.mark.parametrize(
    ("keys", "question"),
    [("r", "retry count"), ("f", "force count"), ("py", "pause"), ("u", "undelete gone")],
)
async def test_a_question_without_an_answer_holds_up_nothing(keys: str, question: str) -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.deleted = [Deleted("gone", 1, 1e12)]
        app.queue.is_open.clear()
        await pilot.press(*keys)
        await until(pilot, lambda: app.queue.asked == [question], "the question")
        await pilot.press("2")
        await until(pilot, lambda: app.current_mode == "workers", "another screen")


@pytest.mark.parametrize(("key", "question"), [("r", "retry count"), ("f", "force count")])
async def test_what_is_under_way_is_not_asked_for_twice(key: str, question: str) -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.queue.is_open.clear()
        await pilot.press(key, key)
        await until_toast(app, pilot, "Still waiting for an answer")
        app.queue.is_open.set()
        await until_toast(app, pilot, "count is queued")
        first = list(app.queue.asked)
        await pilot.press(key)
        await until(pilot, lambda: len(app.queue.asked) > 1, "another question")

    assert first == [question]
    assert app.queue.asked == [question, question]


async def test_pausing_the_queue_asks_first_and_resuming_does_not() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await pilot.press("p")
        await until_shown(pilot, "Pause the queue?")
        await pilot.press("escape")
        await until(pilot, lambda: len(app.screen_stack) == 1, "the question to be gone")
        await pilot.press("p", "y")
        await until_toast(app, pilot, "The queue is paused")
        await pilot.press("p")
        await until_toast(app, pilot, "The queue was resumed.")

    assert app.queue.asked == ["pause", "resume"]


async def test_two_quick_presses_pause_the_queue_and_let_it_go_on() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.queue.is_open.clear()
        await pilot.press("p", "y", "p")
        await until(pilot, lambda: app.queue.asked == ["pause"], "the first question")
        app.queue.is_open.set()
        await until_toast(app, pilot, "The queue was resumed.")

    assert app.queue.asked == ["pause", "resume"]
    assert app.state.cluster is not None
    assert not app.state.cluster.paused


async def test_a_pause_that_failed_is_not_followed_by_what_was_to_come_after_it() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.queue.errors["pause"] = UnreachableError("no peer has answered")
        app.queue.is_open.clear()
        await pilot.press("p", "y", "p")
        app.queue.is_open.set()
        await until_toast(app, pilot, "no peer has answered")
        app.queue.errors.clear()
        await pilot.press("p", "y")
        await until_toast(app, pilot, "The queue is paused")

    assert app.queue.asked == ["pause", "pause"]


async def test_an_answer_does_not_take_an_operator_away_who_has_gone_elsewhere() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.deleted = [Deleted("gone", 1, 1e12)]
        app.queue.is_open.clear()
        await pilot.press("u", "2")
        await until(pilot, lambda: app.current_mode == "workers", "another screen")
        app.queue.is_open.set()
        await until_toast(app, pilot, "gone is back in the queue.")
        await pilot.pause()

    assert app.current_mode == "workers"


@pytest.mark.parametrize("code", ["conflict", "unknown"])
async def test_a_job_that_cannot_come_back_does_not_stand_before_the_others(code: str) -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.deleted = [Deleted("first", 1, 1e12), Deleted("second", 2, 1e12)]
        app.queue.errors["undelete second"] = RefusedError(code, "it is not to be had")
        await pilot.press("u")
        await until_toast(app, pilot, "Cannot bring second back it is not to be had")
        await pilot.press("u")
        await until_toast(app, pilot, "first is back in the queue.")

    assert app.deleted == []


async def test_a_job_can_still_be_brought_back_when_the_cluster_answers_again() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.deleted = [Deleted("gone", 1, 1e12)]
        app.queue.errors["undelete gone"] = RefusedError("unavailable", "the cluster is not up yet")
        await pilot.press("u")
        await until_toast(app, pilot, "the cluster is not up yet")

    assert [one.name for one in app.deleted] == ["gone"]


async def test_the_runs_of_a_deleted_job_are_hidden_and_those_of_its_later_versions_shown() -> None:
    async with asked_console(ROWS) as (app, pilot):
        await until_shown(pilot, "count")
        await pilot.press("d", "y")
        await until(pilot, lambda: app.deleted, "the job to be deleted")
        app.tell((), [run(1, job_name="count")])
        await pilot.pause()
        hidden = screen_text(pilot)
        later = run(2, "failed", job_name="count")
        later = msgspec.structs.replace(later, job_version=2)
        app.tell((), [later, run(1, job_name="count")])
        await until_shown(pilot, "in the queue no more")

    assert "✓ succeeded" not in hidden
    assert app.deleted[0].version == ROWS[0].version


async def test_a_job_that_is_in_the_queue_again_cannot_be_brought_back() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.deleted = [Deleted("other", 1, 1e12), Deleted("count", 4, 1e12)]
        app.tell([job("count", version=4)])  # from before it was deleted
        app.forget_returned()
        before = [one.name for one in app.deleted]
        app.tell([job("count", version=5)])
        app.forget_returned()
        await pilot.pause()

    assert before == ["other", "count"]
    assert [one.name for one in app.deleted] == ["other"]


async def test_a_fault_in_a_question_is_told_of_and_the_console_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with asked_console(ROWS) as (app, pilot):
        app.queue.errors["retry count"] = ValueError("an odd answer")
        await pilot.press("r")
        await until_toast(
            app, pilot, "Cannot retry count the console has a fault: ValueError('an odd answer')"
        )
        await pilot.press("f")
        await until_toast(app, pilot, "count is queued and will run again.")
    log = (tmp_path / "pymr" / "console.log").read_text()

    assert "ValueError: an odd answer" in log


async def test_no_question_that_is_under_way_holds_up_the_end() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.queue.is_open.clear()
        await pilot.press("r", "f", "p", "y")
        await until(pilot, lambda: len(app.queue.asked) == 3, "the questions")
        threads = [thread for thread in threading.enumerate() if thread.name == "pymr-tui asks"]

    assert len(threads) == 3
    assert all(thread.daemon for thread in threads)


async def test_an_answer_that_comes_when_the_console_has_ended_is_for_nobody() -> None:
    async with asked_console(ROWS) as (app, _):
        pass

    with pytest.raises(ClientError, match="has ended"):
        await app.ask(lambda client: client.jobs())


async def test_a_queue_that_is_empty_while_the_cluster_has_a_problem_is_not_called_new() -> None:
    async with asked_console(ROWS) as (app, pilot):
        app.tell((), problem="Redis has lost all that it had: `pymr cluster recover` puts it back.")
        await until_shown(pilot, "No job is known")
        await until_shown(pilot, "Redis has lost all")
        text = screen_text(pilot)
        app.tell(())
        await until_shown(pilot, "No jobs yet")
        screen = app.shown_screen

    assert isinstance(screen, JobsScreen)
    assert "No jobs yet" not in text


async def test_who_may_not_submit_is_not_told_to() -> None:
    async with asked_console([], is_read_only=True) as (_, pilot):
        await until_shown(pilot, "No jobs yet.")

        assert "press s" not in screen_text(pilot)
