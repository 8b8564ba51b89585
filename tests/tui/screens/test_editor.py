"""The Editor screen over a real cluster: write, try, submit, and meet somebody else's change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from cluster.clusters import Cluster, ordered
from cluster.running import MAP_WORDS, REDUCE_TOTAL
from textual.pilot import Pilot
from textual.widgets import Input
from waiting import screen_text, until, until_shown

from pymr.config.toml_text import toml_value
from pymr.jobs.job import parse_job_text
from pymr.wire.rows import JobRow
from tui.app import ConsoleApp
from tui.console.console import Deleted
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.preview import PreviewDialog
from tui.screens.dialogs.submit import ConflictDialog, SubmitDialog
from tui.screens.dialogs.template import TemplateDialog
from tui.screens.editor import EditorScreen
from tui.widgets.job.editor import JobEditor

Lend = Callable[..., Cluster]
Make = Callable[..., ConsoleApp]
SIZE = (120, 35)


@pytest.fixture
def cluster(lend_cluster: Lend) -> Cluster:
    """With a word count to be done, and a project for it."""
    lent = lend_cluster()
    lent.project(MAP_WORDS, REDUCE_TOTAL)
    for peer in lent.names:
        lent.feed(peer, "a.txt", "one two two", f"three of {peer}")
    return lent


def toml_of(cluster: Cluster, **changes: Any) -> str:
    fields = cluster.job_fields(**changes)
    return "".join(f"{name} = {toml_value(value)}\n" for name, value in fields.items())


def screen_of(app: ConsoleApp) -> EditorScreen:
    return cast(EditorScreen, app.shown_screen)


def text_of(app: ConsoleApp) -> str:
    return app.shown_screen.query_one(JobEditor).text


async def is_connected(pilot: Pilot[None]) -> None:
    app = cast(ConsoleApp, pilot.app)
    await until(pilot, lambda: app.state.cluster is not None, "an answer of the cluster")


async def opened(pilot: Pilot[None], cluster: Cluster, **changes: Any) -> ConsoleApp:
    """The editor with the text of a new job that could be submitted."""
    app = cast(ConsoleApp, pilot.app)
    await is_connected(pilot)
    app.edit_job(None, "mapreduce")
    await until(pilot, lambda: app.current_mode == "editor" and screen_of(app)._draft, "the template")
    write(app, toml_of(cluster, **changes))
    await until_shown(pilot, "can be submitted")
    return app


async def opened_job(pilot: Pilot[None], cluster: Cluster) -> ConsoleApp:
    """The editor with a job of the queue."""
    app = cast(ConsoleApp, pilot.app)
    await is_connected(pilot)
    row = queued(cluster)
    app.edit_job(row)
    await until(pilot, lambda: app.current_mode == "editor" and screen_of(app)._draft, "the job")
    await until_shown(pilot, f"version {row.version}")
    return app


def write(app: ConsoleApp, text: str) -> None:
    """Replace the whole text, as somebody who pastes it does."""
    area = app.shown_screen.query_one(JobEditor).area
    area.select_all()
    area.replace(text, *area.selection)


def queued(cluster: Cluster) -> JobRow:
    """The job as it stands in the queue."""
    row = cluster.client.job(cluster.job).row
    assert row is not None
    return row


async def dialog(pilot: Pilot[None], kind: type[Any]) -> None:
    await until(pilot, lambda: isinstance(pilot.app.screen, kind), f"the {kind.__name__}")


async def test_a_word_count_is_submitted_from_the_editor_and_succeeds(
    cluster: Cluster, make_console: Make
) -> None:
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        await pilot.press("ctrl+s")
        await dialog(pilot, SubmitDialog)
        await until_shown(pilot, "A new job")
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "jobs", "the Jobs screen")
        await until(
            pilot,
            lambda: any(run.status == "succeeded" for run in cluster.client.history(cluster.job)),
            "the run to succeed",
            60.0,
        )

    assert ordered(cluster.output()) == ordered(cluster.reference())


async def test_the_template_dialog_offers_the_three_types_and_the_files_found(
    cluster: Cluster, make_console: Make
) -> None:
    (cluster.folder / "projects" / "p" / "mine.toml").write_text(toml_of(cluster, partitions=5))
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = cast(ConsoleApp, pilot.app)
        await is_connected(pilot)
        app.edit_job(None)
        await dialog(pilot, TemplateDialog)
        await until_shown(pilot, "projects/p/mine.toml")
        await until_shown(pilot, "file_transfer")
        await pilot.press("down", "enter")
        await until(pilot, lambda: 'job_type = "script"' in text_of(app), "the template of a script")
        await until_shown(pilot, "new script job")
        await pilot.press("ctrl+o")
        await dialog(pilot, TemplateDialog)
        app.screen.query_one(Input).value = str(cluster.folder / "projects" / "p" / "mine.toml")
        await pilot.press("enter")

        await until(pilot, lambda: "partitions = 5" in text_of(app), "the file")


async def test_a_job_with_problems_is_not_submitted_and_the_cursor_goes_to_the_first(
    cluster: Cluster, make_console: Make
) -> None:
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        write(app, text_of(app).replace("partitions = 3", "partitions = 0"))
        await until_shown(pilot, "1 error")
        await pilot.press("ctrl+s")
        await until_shown(pilot, "must be at least 1")
        area = app.shown_screen.query_one(JobEditor).area

        assert isinstance(app.screen, EditorScreen)
        assert area.document.get_line(area.cursor_location[0]) == "partitions = 0"


async def test_the_last_keys_are_checked_before_a_submission(
    cluster: Cluster, make_console: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        monkeypatch.setattr("tui.widgets.job.editor.QUIET_SECONDS", 600.0)
        write(app, text_of(app).replace("partitions = 3", "partitions = 0"))
        await pilot.press("ctrl+s")
        await until_shown(pilot, "must be at least 1")

        assert isinstance(app.screen, EditorScreen)


async def test_a_submission_over_a_job_shows_what_it_changes(cluster: Cluster, make_console: Make) -> None:
    cluster.client.pause()
    cluster.submit(run_once=False)
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened_job(pilot, cluster)
        version = queued(cluster).version
        write(app, text_of(app).replace("partitions = 3", "partitions = 4"))
        await until_shown(pilot, "changed")
        await pilot.press("ctrl+s")
        await dialog(pilot, SubmitDialog)
        await until_shown(pilot, "~ partitions  3 → 4")
        await until_shown(pilot, "The queue is paused")
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, EditorScreen), "the editor")
        assert queued(cluster).version == version
        await pilot.press("ctrl+s")
        await dialog(pilot, SubmitDialog)
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "jobs", "the Jobs screen")
    row = queued(cluster)
    cluster.client.resume()

    assert row.fields["partitions"] == 4


@pytest.mark.parametrize("answer", ["r", "k", "o"])
async def test_a_change_of_somebody_else_is_shown_and_decided_on(
    cluster: Cluster, make_console: Make, answer: str
) -> None:
    cluster.client.pause()
    cluster.submit()
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened_job(pilot, cluster)
        write(app, text_of(app).replace("partitions = 3", "partitions = 4"))
        cluster.submit(partitions=7, job_submitter="ann@office")
        await pilot.press("ctrl+s")
        await dialog(pilot, ConflictDialog)
        await until_shown(pilot, "~ partitions     7 → 4")
        await until_shown(pilot, "ann@office")
        await pilot.press(answer)
        if answer == "o":
            await until(pilot, lambda: app.current_mode == "jobs", "the Jobs screen")
        else:
            await until(pilot, lambda: isinstance(app.screen, EditorScreen), "the editor")
        if answer == "r":
            await until(pilot, lambda: "partitions = 7" in text_of(app), "their text")
        if answer == "k":
            assert "partitions = 4" in text_of(app)
    row = queued(cluster)
    cluster.client.resume()

    assert row.fields["partitions"] == (4 if answer == "o" else 7)


async def test_a_change_while_the_dialog_is_open_is_refused_and_shown(
    cluster: Cluster, make_console: Make
) -> None:
    cluster.client.pause()
    cluster.submit()
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened_job(pilot, cluster)
        write(app, text_of(app).replace("partitions = 3", "partitions = 4"))
        await pilot.press("ctrl+s")
        await dialog(pilot, SubmitDialog)
        cluster.submit(partitions=9)
        await pilot.press("enter")
        await dialog(pilot, ConflictDialog)
        await until_shown(pilot, "9 → 4")
    row = queued(cluster)
    cluster.client.resume()

    assert row.fields["partitions"] == 9


async def test_a_job_of_the_queue_is_as_text_what_it_is_in_the_queue(
    cluster: Cluster, make_console: Make
) -> None:
    cluster.client.pause()
    cluster.submit(downsample=0.5)
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened_job(pilot, cluster)
        row = queued(cluster)
        text = text_of(app)
        await pilot.press("ctrl+s")
        await until_shown(pilot, "No field differs")
    cluster.client.resume()

    assert parse_job_text(text) == parse_job_text(toml_of(cluster, **row.fields))


async def test_a_text_stays_while_other_screens_are_shown(cluster: Cluster, make_console: Make) -> None:
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        await pilot.press("1")
        assert app.current_mode == "editor"
        assert "1" in text_of(app).split("\n")[-1]
        before = text_of(app)
        await pilot.press("escape", "1")
        await until(pilot, lambda: app.current_mode == "jobs", "the Jobs screen")
        await pilot.press("5")
        await until(pilot, lambda: app.current_mode == "editor", "the Editor screen")

        assert text_of(app) == before
        assert app.focused is None
        await pilot.press("enter", "x")
        await until(pilot, lambda: text_of(app) != before, "what was typed")


async def test_changes_are_asked_for_before_another_text_is_opened(
    cluster: Cluster, make_console: Make
) -> None:
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        before = text_of(app)
        app.edit_job(None, "script")
        await dialog(pilot, Confirm)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, EditorScreen), "the editor")
        assert text_of(app) == before
        app.edit_job(None, "script")
        await dialog(pilot, Confirm)
        await pilot.press("y")

        await until(pilot, lambda: 'job_type = "script"' in text_of(app), "the other text")


async def test_a_preview_shows_what_the_functions_make_of_the_input(
    cluster: Cluster, make_console: Make
) -> None:
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        await pilot.press("ctrl+r")
        await dialog(pilot, PreviewDialog)
        await until_shown(pilot, "went well")
        text = screen_text(pilot)
        assert "ITEMS" in text and "OUTPUT" in text and '"two"' in text
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, EditorScreen), "the editor")

    assert cluster.client.jobs().rows == ()


async def test_a_read_only_console_looks_and_submits_nothing(cluster: Cluster, make_console: Make) -> None:
    async with make_console(cluster, is_read_only=True).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        await pilot.press("ctrl+s")
        await until_shown(pilot, "read-only")

        assert isinstance(app.screen, EditorScreen)
    assert cluster.client.jobs().rows == ()


async def test_unknown_functions_and_completion_are_those_of_the_projects_folder(
    cluster: Cluster, make_console: Make
) -> None:
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        write(app, text_of(app).replace('"words"', '"wrods"'))
        await until_shown(pilot, "did you mean words?")
        editor = app.shown_screen.query_one(JobEditor)
        line = text_of(app).split("\n").index('map_function_name = "wrods"')
        editor.area.move_cursor((line, len('map_function_name = "w')))
        await pilot.press("tab", "enter")

        assert 'map_function_name = "words"' in text_of(app)


async def test_the_text_is_written_to_a_file(cluster: Cluster, make_console: Make, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened(pilot, cluster)
        await pilot.press("ctrl+w")
        await until(pilot, lambda: app.screen.query(Input), "the question for a path")
        app.screen.query_one(Input).value = str(path)
        await pilot.press("enter")
        await until_shown(pilot, "Written to")

        assert path.read_text() == text_of(app)


async def test_what_was_typed_just_before_is_submitted_too(cluster: Cluster, make_console: Make) -> None:
    cluster.client.pause()
    cluster.submit(run_once=False)
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened_job(pilot, cluster)
        write(app, text_of(app).replace("partitions = 3", "partitions = 4"))
        screen_of(app).action_submit_text()  # before the text was checked
        await dialog(pilot, SubmitDialog)
        await until_shown(pilot, "~ partitions  3 → 4")
    cluster.client.resume()


async def test_the_console_after_one_with_a_fault_has_its_text_and_asks_before_it_goes(
    cluster: Cluster, make_console: Make
) -> None:
    cluster.client.pause()
    cluster.submit()
    first = make_console(cluster)
    async with first.run_test(size=SIZE) as pilot:
        await opened_job(pilot, cluster)
        version = queued(cluster).version
        written = text_of(first).replace("partitions = 3", "partitions = 4")
        write(first, written)
    first.deleted.append(Deleted("other", 1, 1.0))
    first.demo = first.config
    second = ConsoleApp(first.options, first.config, after=first)
    async with second.run_test(size=SIZE, notifications=True) as pilot:
        await until_shown(pilot, "What was written is in 5 Editor")
        await is_connected(pilot)
        await pilot.press("q")
        await dialog(pilot, Confirm)
        await pilot.press("n")
        await until(pilot, lambda: second.screen is second.shown_screen, "the Jobs screen")
        second.edit_job(None, "script")  # before the editor was ever shown
        await dialog(pilot, Confirm)
        await pilot.press("n")
        await until(pilot, lambda: text_of(second) == written, "the text")
        await until_shown(pilot, f"version {version}  ● changed")
        edited = second.edited
    cluster.client.resume()

    assert edited is not None and edited.draft.version == version
    assert second.deleted == [Deleted("other", 1, 1.0)]
    assert second.demo is first.config


async def test_a_job_that_left_the_queue_meanwhile_is_submitted_as_a_new_one(
    cluster: Cluster, make_console: Make
) -> None:
    cluster.client.pause()
    cluster.submit()
    async with make_console(cluster).run_test(size=SIZE, notifications=True) as pilot:
        app = await opened_job(pilot, cluster)
        cluster.client.delete(cluster.job)
        await pilot.press("ctrl+s")
        await until_shown(pilot, "A new job")
        await pilot.press("enter")
        await until(pilot, lambda: app.current_mode == "jobs", "the Jobs screen")
    row = queued(cluster)
    cluster.client.resume()

    assert row.fields["job_name"] == cluster.job


@pytest.mark.parametrize("columns", [80, 120])
async def test_the_help_of_the_field_stands_beside_the_text_where_there_is_room(
    cluster: Cluster, make_console: Make, columns: int
) -> None:
    async with make_console(cluster).run_test(size=(columns, 24)) as pilot:
        app = await opened(pilot, cluster)
        app.shown_screen.query_one(JobEditor).area.move_cursor((3, 0))
        await until_shown(pilot, "true: the job leaves the queue")
        lines = screen_text(pilot).split("\n")
        row = next(number for number, line in enumerate(lines) if "true: the job leaves the queue" in line)

        assert (row > 18) == (columns == 80)
