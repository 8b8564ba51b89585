"""The parts of the editor, each in an app of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.widget import Widget
from waiting import screen_text, until, until_shown

import tui.app
from pymr.client import ClientError
from pymr.jobs.job import template_toml
from pymr.wire.requests import PreviewView
from pymr.wire.rows import JobRow
from tui.model.job_text.completion import Completion, KnownNames, complete
from tui.model.job_text.diff import FieldChange
from tui.model.job_text.problems import TextProblem, check_text, declared_field, facts_of
from tui.model.job_text.projects import LocalProjects, ModuleNames, ProjectNames
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.preview import PreviewDialog
from tui.screens.dialogs.submit import ConflictDialog, SubmitDialog
from tui.settings.themes import THEMES
from tui.widgets.job.diff_view import DiffView
from tui.widgets.job.editor import JobEditor, JobTextArea
from tui.widgets.job.field_help import FieldHelp
from tui.widgets.job.problem_list import ProblemList

PROJECTS = LocalProjects(
    "/projects",
    {"words": ProjectNames({"map": ModuleNames(("split",)), "reduce": ModuleNames(("total",))})},
    is_known=True,
)


class Shown(App[None]):
    """Shows widgets in the themes of the console, and keeps what they tell."""

    CSS_PATH = None
    CSS = "JobTextArea .job-text--error { color: $error; }"

    def __init__(self, *widgets: Widget) -> None:
        super().__init__()
        self.widgets = widgets
        self.told: list[Any] = []
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = THEMES[0].name

    def compose(self) -> ComposeResult:
        yield from self.widgets

    def on_job_editor_changed(self, event: JobEditor.Changed) -> None:
        self.told.append(event.text)
        area = self.query_one(JobTextArea)
        area.show_problems(check_text(event.text, PROJECTS).problems)

    def on_job_editor_left(self, event: JobEditor.Left) -> None:
        self.told.append("left")

    def on_problem_list_chosen(self, event: ProblemList.Chosen) -> None:
        self.told.append(event.problem)


def editor() -> JobEditor:
    def completer(text: str, line: int, column: int) -> Completion | None:
        known = KnownNames(["count"], ["nightly"], ["alpha"], ["count"])
        return complete(check_text(text, PROJECTS), line, column, PROJECTS, known)

    return JobEditor(completer)


async def write(pilot: Pilot[None], shown: JobEditor, text: str) -> None:
    """Begin with a text whose cursor stands at its end."""
    shown.load(text)
    shown.area.focus()
    shown.area.move_cursor(shown.area.document.end)
    await pilot.pause()


async def test_what_is_wrong_is_marked_beside_its_line() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(60, 10)) as pilot:
        await write(pilot, shown, 'job_type = "mapreduce"\njob_name = "a b"\n')
        await until_shown(pilot, "✗ 2  job_name")

        assert "✗ 1" not in screen_text(pilot)


async def test_a_warning_has_a_mark_of_its_own() -> None:
    shown = editor()
    head = 'job_type = "mapreduce"\njob_name = "a"\njob_priority = 0\ninput_dirs = ["a"]\n'
    async with Shown(shown).run_test(size=(60, 10)) as pilot:
        await write(pilot, shown, head + 'project_name = "worts"\nreduce_function_name = "total"\n')

        await until_shown(pilot, '! 5  project_name = "worts"')


async def test_tab_offers_and_enter_accepts_what_typing_has_narrowed() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, 'job_type = "mapreduce"\n')
        await pilot.press("tab")
        await until_shown(pilot, "job_priority")
        await pilot.press("r", "e", "d", "u")
        await until(pilot, lambda: "job_priority" not in screen_text(pilot), "the list to be narrowed")
        await pilot.press("enter")

        assert shown.text == 'job_type = "mapreduce"\nreduce_function_name = '


async def test_a_name_is_followed_by_the_values_for_it() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, 'job_type = "mapreduce"\nproj')
        await pilot.press("tab", "enter")
        await until_shown(pilot, "words")
        await pilot.press("enter")

        assert shown.text == 'job_type = "mapreduce"\nproject_name = "words"'


async def test_arrows_choose_and_escape_closes_without_leaving_the_text() -> None:
    shown = editor()
    app = Shown(shown)
    async with app.run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "job_type = ")
        await pilot.press("ctrl+space")
        await until_shown(pilot, "file_transfer")
        await pilot.press("escape")
        await until(pilot, lambda: "file_transfer" not in screen_text(pilot), "the list to close")
        assert "left" not in app.told
        await pilot.press("tab", "down", "tab")

        assert shown.text == 'job_type = "script"'


async def test_a_click_accepts_a_candidate() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "job_type = ")
        await pilot.press("tab")
        await until_shown(pilot, "file_transfer")
        lines = screen_text(pilot).split("\n")
        row = next(number for number, line in enumerate(lines) if "file_transfer" in line)
        await pilot.click(offset=(lines[row].index("file_transfer") + 2, row))
        await until(pilot, lambda: shown.text == 'job_type = "file_transfer"', "the candidate in the text")


async def test_where_there_is_nothing_to_choose_from_tab_indents() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "# prose")
        await pilot.press("tab")

        assert shown.text == "# prose "


@pytest.mark.parametrize("key", ["tab", "ctrl+space"])
@pytest.mark.parametrize(
    ("line", "shown_by_f8"),
    [('script_location = "<PROJECT/file.py>"', True), ('script_location = "ab"', False)],
)
async def test_inside_quotes_no_key_that_completes_writes_blanks(
    key: str, line: str, shown_by_f8: bool
) -> None:
    shown = editor()
    text = f'job_type = "script"\n{line}'
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, text)
        if shown_by_f8:
            problems = check_text(text, PROJECTS).problems
            shown.go_to(next(one for one in problems if one.field == "script_location"))
        await pilot.press("left", key)

        assert shown.text == text


async def test_ctrl_space_indents_nowhere() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "# prose")
        await pilot.press("ctrl+space")

        assert shown.text == "# prose"


async def test_escape_leaves_the_text_and_nothing_is_lost() -> None:
    shown = editor()
    app = Shown(shown)
    async with app.run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "a")
        await pilot.press("b", "escape")
        await until(pilot, lambda: "left" in app.told, "the text to be left")

        assert shown.text == "ab"


async def test_an_accepted_candidate_can_be_undone() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "job_type = ")
        await pilot.press("tab", "enter")
        assert shown.text == 'job_type = "mapreduce"'
        await pilot.press("ctrl+z")

        assert shown.text == "job_type = "


async def test_a_placeholder_is_selected_so_that_typing_replaces_it() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        text = template_toml("script")
        await write(pilot, shown, text)
        shown.go_to(check_text(text, PROJECTS).problems[0])
        await pilot.press("x")

        assert 'job_name = "x"' in shown.text


async def test_the_text_is_coloured_by_the_theme_and_follows_it() -> None:
    shown = editor()
    app = Shown(shown)
    async with app.run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, 'job_type = "script"')
        assert shown.area.is_syntax_aware
        before = shown.area._theme
        app.theme = THEMES[1].name
        await until(pilot, lambda: shown.area._theme is not before, "the colours of the other theme")


async def test_without_tree_sitter_the_text_is_shown_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("textual.widgets._text_area.get_language", lambda name: None)
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, 'job_name = "a b"')

        await until_shown(pilot, '✗ 1  job_name = "a b"')
        assert not shown.area.is_syntax_aware


async def test_a_change_is_told_of_once_when_no_key_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = editor()
    app = Shown(shown)
    async with app.run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "job_name = ")
        await until(pilot, lambda: app.told, "the text to be told")
        app.told.clear()
        monkeypatch.setattr("tui.widgets.job.editor.QUIET_SECONDS", 1.5)
        await pilot.press(*'"abcdef"')
        while_typing = list(app.told)
        await until(pilot, lambda: app.told, "the change to be told")

        assert while_typing == []
        assert app.told == ['job_name = "abcdef"']


async def test_a_problem_of_lines_that_are_gone_leads_to_the_last_line() -> None:
    shown = editor()
    async with Shown(shown).run_test(size=(80, 16)) as pilot:
        await write(pilot, shown, "a = 1\nb = 2")
        shown.go_to(TextProblem(9, 3, 5, "x", "is wrong"))

        assert shown.area.cursor_location[0] == 1


async def test_a_problem_is_gone_to_with_enter() -> None:
    problems = [
        TextProblem(3, 0, 4, "job_name", "is [bold]wrong[/]"),
        TextProblem(9, 0, 2, "x", "is odd", True),
    ]
    listed = ProblemList()
    app = Shown(listed)
    async with app.run_test(size=(60, 10)) as pilot:
        listed.show(problems)
        await until_shown(pilot, "✗  4  job_name is [bold]wrong[/]")
        await until_shown(pilot, "! 10  x is odd")
        listed.focus()
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: app.told == [problems[1]], "the problem to be told")
        listed.show([])

        assert not listed.display


@pytest.mark.parametrize("is_wide", [True, False])
async def test_the_help_of_a_field_fits_where_it_stands(is_wide: bool) -> None:
    field = declared_field("mapreduce", "encoding_errors")
    assert field is not None
    shown = FieldHelp(is_wide=is_wide)
    async with Shown(shown).run_test(size=(44, 20)) as pilot:
        shown.show(facts_of(field))
        await until_shown(pilot, "encoding_errors")

        assert ("U+FFFD" in screen_text(pilot)) == is_wide
        assert ("…" in screen_text(pilot)) != is_wide


async def test_changes_are_shown_with_a_sign_each() -> None:
    changes = [
        FieldChange("partitions", "changed", "4", "8"),
        FieldChange("group_name", "added", "", '"[red]"'),
        FieldChange("compress", "removed", "true", ""),
    ]
    async with Shown(DiffView(changes)).run_test(size=(60, 10)) as pilot:
        await until_shown(pilot, "~ partitions  4 → 8")

        assert '+ group_name  "[red]"' in screen_text(pilot)
        assert "- compress    true" in screen_text(pilot)


VIEW = PreviewView(
    id="1", peer="alpha", path="/data/in.txt", lines=20, seconds=0.31,
    items=('["the",1]', '["[b]odd[/b]\\u001b[31m",{"a":[1]}]', '["cut in the mid'), items_total=80,
    output=('["the",7]',), output_total=1, printed="hello\x1b[2J there\n",
)  # fmt: skip


def dialog(ask: Any) -> tuple[Shown, PreviewDialog]:
    return Shown(), PreviewDialog("count", ask)


async def test_a_preview_shows_items_and_output_side_by_side() -> None:
    async def ask(lines: int) -> PreviewView:
        return VIEW

    app, preview = dialog(ask)
    async with app.run_test(size=(100, 30)) as pilot:
        app.push_screen(preview)
        await until_shown(pilot, "20 lines on alpha   310 ms")
        await until_shown(pilot, "hello")
        text = screen_text(pilot)

        assert "first 3 of 80" in text
        assert "/data/in.txt" in text
        assert '"the"' in text and "7" in text
        assert "[b]odd[/b]" in text
        assert "\x1b" not in text
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not preview, "the preview to close")


async def test_a_preview_that_failed_shows_the_traceback() -> None:
    async def ask(lines: int) -> PreviewView:
        return PreviewView(
            id="1",
            peer="alpha",
            path="/in",
            lines=3,
            error='File "map_functions.py", line 3\nValueError: [x]',
        )

    app, preview = dialog(ask)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(preview)

        await until_shown(pilot, "ValueError: [x]")
        assert "failed" in screen_text(pilot)


async def test_a_preview_says_why_it_cannot_be() -> None:
    async def ask(lines: int) -> PreviewView:
        raise ClientError("no peer has answered")

    app, preview = dialog(ask)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(preview)

        await until_shown(pilot, "✗ no peer has answered")


async def test_waiting_for_a_preview_is_shown_and_given_up_with_escape() -> None:
    asked: list[int] = []

    async def ask(lines: int) -> PreviewView:
        asked.append(lines)
        await asyncio.Event().wait()
        return VIEW

    app, preview = dialog(ask)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(preview)
        await until_shown(pilot, "Trying it on the first 100 lines")
        await until(pilot, lambda: "… 0.0 s" not in screen_text(pilot), "the seconds to go on")
        await until_shown(pilot, "Trying it on")
        await pilot.press("escape")
        await until(pilot, lambda: app.screen is not preview, "the preview to close")

        assert asked == [100]


async def test_plus_tries_ten_times_the_lines() -> None:
    asked: list[int] = []

    async def ask(lines: int) -> PreviewView:
        asked.append(lines)
        return VIEW

    app, preview = dialog(ask)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(preview)
        await until(pilot, lambda: len(asked) == 1 and preview._began is None, "the first answer")
        await pilot.press("plus")
        await until(pilot, lambda: asked == [100, 1_000], "the second question")


async def test_a_long_key_of_a_preview_leaves_room_for_its_value() -> None:
    async def ask(lines: int) -> PreviewView:
        items = tuple(f'["{"k" * 60}",{number}001]' for number in range(5))
        return PreviewView(id="1", peer="alpha", path="/in", items=items, items_total=5)

    app, preview = dialog(ask)
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(preview)
        await until_shown(pilot, "4001")

        assert "kkk…" in screen_text(pilot)


class Dressed(Shown):
    """With the stylesheet of the console."""

    CSS_PATH = str(Path(tui.app.__file__).with_name("styles.tcss"))


LONG = tuple(FieldChange(f"field_{number}", "changed", "x" * 80, "y" * 80) for number in range(30))
THEIRS = JobRow(fields={"job_name": "count"}, status="queued", version=4, submitted_at=4e9)


@pytest.mark.parametrize(
    ("asked", "buttons"),
    [
        (SubmitDialog("count", ["It is running."], LONG, ()), ("submit (enter)", "edit (esc)")),
        (ConflictDialog(THEIRS, 3, LONG), ("reload theirs (r)", "keep editing (k)", "submit over it (o)")),
    ],
    ids=["submit", "conflict"],
)
async def test_the_buttons_stay_below_a_long_list_of_changes(
    asked: ModalScreen[Any], buttons: tuple[str, ...]
) -> None:
    app = Dressed()
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(asked)
        await until_shown(pilot, "field_0")
        first = screen_text(pilot)
        await pilot.press("end")
        await until_shown(pilot, "field_29")
        last = screen_text(pilot)

        assert [button for button in buttons if button not in first or button not in last] == []


async def test_a_version_from_a_clock_that_is_ahead_was_not_submitted_in_times_to_come() -> None:
    app = Dressed()
    async with app.run_test(size=(80, 24)) as pilot:
        app.push_screen(ConflictDialog(THEIRS, 3, ()))
        await until_shown(pilot, "submitted by somebody now")


@pytest.mark.parametrize("size", [(80, 24), (60, 24)])
async def test_a_long_question_is_asked_whole_and_enter_keeps(size: tuple[int, int]) -> None:
    app = Dressed()
    answers: list[bool | None] = []
    async with app.run_test(size=size) as pilot:
        detail = "Its run ends at once. For ten minutes u brings the job back."
        app.push_screen(Confirm(f"Delete {'a' * 120} from the queue?", detail, "delete"), answers.append)
        await until_shown(pilot, "the queue?")
        words = " ".join(screen_text(pilot).replace("│", " ").split())
        await pilot.press("enter")
        await until(pilot, lambda: answers, "an answer")

        assert "from the queue?" in words
        assert detail in words
        assert answers == [False]
