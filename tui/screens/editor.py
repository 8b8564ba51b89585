"""The Editor screen: a job as TOML, checked while it is written, tried on a few lines, and submitted."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Static

from pymr.jobs.transfer_rules import OWN_FOLDERS
from pymr.wire.requests import PreviewView
from pymr.wire.rows import JobRow
from pymr.wire.wording import count_of
from tui.console.screen import ConsoleScreen
from tui.model.folder_names import NOTHING_READ, FolderNames, folder_of, read_folder
from tui.model.job_text.completion import Completion, KnownNames, complete, path_begun
from tui.model.job_text.draft import Draft, DraftText, draft_of_job, draft_of_type, write_text
from tui.model.job_text.problems import CheckedText, check_text, facts_of, field_at
from tui.model.job_text.projects import LocalProjects, ProjectReader
from tui.model.printable import printable
from tui.render.styled_line import MUTED
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.path import PathDialog
from tui.screens.dialogs.preview import PreviewDialog
from tui.screens.dialogs.template import TemplateDialog
from tui.screens.submission import submit
from tui.widgets.job.editor import JobEditor
from tui.widgets.job.field_help import FieldHelp
from tui.widgets.job.problem_list import ProblemList

WIDE_COLUMNS = 110
PROJECTS_SECONDS = 2.0
"""So often the projects are looked at for new names, while the screen is shown."""
FOLDER_SECONDS = 2.0
"""A folder that was read longer ago is read again, where its names are asked for."""

_NOTHING = (
    "Nothing is being edited.\n\n"
    "s        a new job, from a template\n"
    "ctrl+o   a file with a job\n"
    "e        on a job in 1 Jobs: that job"
)


class EditorScreen(ConsoleScreen):
    """One text at a time. It stays while other screens are shown."""

    AUTO_FOCUS = ""  # so that 1 to 6 go on working until somebody wants to write
    CHANGES = frozenset({"submit_text", "preview"})
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "submit_text", "submit…", id="editor.submit"),
        Binding("ctrl+r,f5", "preview", "preview", id="editor.preview"),
        Binding("escape", "leave_text", "leave (then 1-6)", id="editor.leave"),
        Binding("s", "app.submit", "new", id="editor.new"),
        Binding("escape", "app.back", "back", id="editor.back", show=False),
        Binding("enter,i", "edit_text", "write", id="editor.write"),
        Binding("ctrl+o", "open_file", "open", id="editor.open"),
        Binding("ctrl+w", "write_file", "save as", id="editor.save"),
        Binding("f8", "next_problem", "next problem", id="editor.problem"),
        Binding("ctrl+g", "app.help", "help", id="editor.help", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._draft: Draft | None = None
        self._projects = LocalProjects()
        self._reader: ProjectReader | None = None
        self._checked: CheckedText = check_text("", self._projects)
        self._cursor_line = 0
        self._folder = NOTHING_READ
        self._folder_read_at = 0.0
        self._head = Static(id="editor-head", markup=False)
        self._nothing = Static(_NOTHING, id="editor-nothing", markup=False)
        self._parts = Vertical(id="editor-parts")
        self._editor = JobEditor(self._complete)
        self._problems = ProblemList()
        self._helps = FieldHelp(is_wide=True), FieldHelp(is_wide=False)
        self._opened_early: Draft | None = None
        self._kept: DraftText | None = None  # from before a fault, until the editor can take it

    def compose_body(self) -> ComposeResult:
        beside, below = self._helps
        yield self._head
        yield self._nothing
        with self._parts:
            with Horizontal(id="editor-text"):
                yield self._editor
                yield beside
            yield self._problems
            yield below

    def on_mount(self) -> None:
        self.set_interval(PROJECTS_SECONDS, self._look_at_projects)
        self._parts.display = self._draft is not None
        self._kept = self.console.edited
        self._read_projects()
        self._show_head()

    def on_resize(self, event: events.Resize) -> None:
        self._show_help()

    # ---- what is edited

    def open(self, row: JobRow | None, job_type: str = "", *, came_to_choose: bool = False) -> None:
        """Edit a job of the queue, or a new one of a type; with neither, ask which type. came_to_choose: the
        screen was another before, which is shown again where none is chosen."""
        if row is not None:
            self._replace_draft(draft_of_job(row))
        elif job_type:
            self._replace_draft(draft_of_type(job_type))
        else:
            self._ask_what(came_to_choose=came_to_choose)

    @property
    def edited(self) -> DraftText | None:
        return self._kept if self._draft is None else DraftText(self._draft, self._editor.text)

    def _ask_what(self, *, wants_file: bool = False, came_to_choose: bool = False) -> None:
        def answer(draft: Draft | None) -> None:
            if draft is not None:
                self._replace_draft(draft)
            elif came_to_choose:
                self.console.begin(self.console.go_back())

        self.app.push_screen(TemplateDialog(self.console.projects_dir, wants_file=wants_file), answer)

    def _replace_draft(self, draft: Draft) -> None:
        """Edit something else, if what was changed in the present text may go."""
        edited = self.edited
        if edited is None or not edited.is_changed:
            self._load(draft)
            return

        def answer(is_wanted: bool | None) -> None:
            if is_wanted:
                self._load(draft)

        detail = f"{draft.title} is opened in its place."
        question = f"Discard the changes to {edited.draft.title}?"
        self.app.push_screen(Confirm(question, detail, "discard"), answer)

    def _load(self, draft: Draft) -> None:
        if not self._editor.is_ready:
            self._opened_early = draft
            return
        self._editor.load(draft.text)
        # As the editor has it: the line ends of a file may be of several kinds.
        self._begin(replace(draft, text=self._editor.text))
        self._editor.area.focus()
        if not draft.job_name and self._checked.problems:
            self._editor.go_to(self._checked.problems[0])
        self.refresh_bindings()

    def _begin(self, draft: Draft) -> None:
        """What the text that was just loaded is, or came from."""
        self._draft, self._kept = draft, None
        self._nothing.display = False
        self._parts.display = True
        self._check(self._editor.text)

    def on_job_editor_ready(self) -> None:
        if self._opened_early is not None:
            self._load(self._opened_early)
        elif self._kept is not None:
            self._editor.load(self._kept.text)
            self._begin(self._kept.draft)
            self.refresh_bindings()

    # ---- while it is written

    def on_job_editor_changed(self, event: JobEditor.Changed) -> None:
        self._check(event.text)

    def on_job_editor_cursor_moved(self, event: JobEditor.CursorMoved) -> None:
        self._cursor_line = event.line
        self._look_at_folder(event.line, event.column)
        self._show_help()

    def on_job_editor_left(self) -> None:
        self.action_leave_text()

    def on_problem_list_chosen(self, event: ProblemList.Chosen) -> None:
        self._editor.go_to(event.problem)

    def on_descendant_focus(self) -> None:
        self.refresh_bindings()

    def on_descendant_blur(self) -> None:
        self.refresh_bindings()

    def _check_last_keys(self) -> None:
        """Check the text now, as what is typed is checked only once no key follows."""
        if self._checked.text != self._editor.text:
            self._check(self._editor.text)

    def _check(self, text: str) -> None:
        self._checked = check_text(text, self._projects)
        self._editor.area.show_problems(self._checked.problems)
        self._problems.show(self._checked.problems)
        self._show_head()
        self._show_help()

    def _complete(self, text: str, line: int, column: int) -> Completion | None:
        if text != self._checked.text:
            self._check(text)
        self._look_at_folder(line, column)
        return complete(self._checked, line, column, self._projects, self._known_names())

    def _known_names(self) -> KnownNames:
        state = self.console.state
        rows = state.jobs.rows if state.jobs else ()
        names = [str(row.fields.get("job_name", "")) for row in rows]
        groups = sorted({str(row.fields["group_name"]) for row in rows if row.fields.get("group_name")})
        outputs = [str(row.fields["job_name"]) for row in rows if row.fields.get("job_type") == "mapreduce"]
        peers = [peer.name for peer in self.console.config.peers] if self.console.config else []
        return KnownNames(names, groups, peers, outputs, self._folder)

    def _look_at_folder(self, line: int, column: int) -> None:
        """Read the folder that the path at a place leads into, before its names are asked for; where they are
        asked for already, they are offered as soon as they come."""
        begun = path_begun(self._checked, line, column)
        if begun is None:
            return
        age = time.monotonic() - self._folder_read_at
        if folder_of(begun) != self._folder.folder or age > FOLDER_SECONDS:
            self._read_folder(folder_of(begun))

    @work(exclusive=True, group="folder")
    async def _read_folder(self, folder: str) -> None:
        config = self.console.config
        # Those of peers of other machines are not here, and so have no names.
        data_dirs = {peer.data_dir: None for peer in config.peers} if config is not None else {}

        def read() -> FolderNames:
            if folder.startswith("/"):
                return read_folder(folder, ["/"])
            return read_folder(folder, [*data_dirs], () if folder else OWN_FOLDERS)

        self._folder = await asyncio.to_thread(read)
        self._folder_read_at = time.monotonic()
        self._editor.offer_again()

    def _look_at_projects(self) -> None:
        if self.is_current:
            self._read_projects()

    @work(exclusive=True, group="projects")
    async def _read_projects(self) -> None:
        folder = self.console.projects_dir
        if self._reader is None or self._projects.folder != str(folder):
            self._reader = ProjectReader(folder)
        projects = await asyncio.to_thread(self._reader.read)
        if projects != self._projects:
            self._projects = projects
            if self._draft is not None:
                self._check(self._editor.text)

    def _show_help(self) -> None:
        field = field_at(self._checked, self._cursor_line)
        is_wide = self.size.width >= WIDE_COLUMNS
        for field_help in self._helps:
            field_help.display = field_help.is_wide == is_wide
            field_help.show(facts_of(field) if field else None)

    def _show_head(self) -> None:
        projects = Content.styled(f"projects: {self.console.projects_dir.absolute()}", MUTED)
        if self._draft is None:
            self._head.update(projects, layout=False)
            return
        title = Content.assemble((printable(self._draft.title), "bold"))
        if self._draft.version:  # that of a job that has left the queue is 0
            title += Content.styled(f"  version {self._draft.version}", MUTED)
        if self._editor.text != self._draft.text:
            title += Content.styled("  ● changed", "$primary")
        title += Content("   ") + self._verdict() + Content("   ")
        self._head.update(title + projects, layout=False)

    def _verdict(self) -> Content:
        errors, warnings = self._checked.errors, self._checked.warnings
        parts = []
        if errors:
            parts.append(Content.styled(f"✗ {count_of(errors, 'error')}", "$error"))
        if warnings:
            parts.append(Content.styled(f"! {count_of(warnings, 'warning')}", "$warning"))
        return Content(", ").join(parts) if parts else Content.styled("✓ can be submitted", "$success")

    # ---- keys

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not super().check_action(action, parameters):
            return False
        if action in ("submit_text", "preview", "write_file", "next_problem"):
            return self._draft is not None
        if action == "leave_text":
            return self._is_writing
        if action == "edit_text":
            return self._draft is not None and not self._is_writing
        return True

    @property
    def _is_writing(self) -> bool:
        return self._draft is not None and self.focused is self._editor.area

    def action_leave_text(self) -> None:
        self.set_focus(None)

    def action_edit_text(self) -> None:
        self._editor.area.focus()

    def action_open_file(self) -> None:
        self._ask_what(wants_file=True)

    def action_next_problem(self) -> None:
        self._check_last_keys()
        problems = self._checked.problems
        if problems:
            below = [problem for problem in problems if problem.line > self._cursor_line]
            problem = (below or problems)[0]
            self._editor.go_to(problem)

    @work(exclusive=True, group="file")
    async def action_write_file(self) -> None:
        draft = self._draft
        assert draft is not None, "check_action lets this be without one"
        name = (self._checked.fields or {}).get("job_name") or draft.job_name or "job"
        text = self._editor.text

        async def write(path: Path) -> Path | None:
            if os.path.isfile(path) and str(path) != draft.path:
                question = Confirm(f"Replace {path}?", "There is such a file.", "replace")
                if not await self.app.push_screen_wait(question):
                    return None
            await asyncio.to_thread(write_text, path, text)
            return path

        dialog = PathDialog("Write this text to a file", draft.path or f"{name}.toml", write)
        path = await self.app.push_screen_wait(dialog)
        if path is None:
            return
        self._draft = Draft(text, draft.title, draft.job_name, draft.version, str(path))
        self._show_head()
        self.notify(f"Written to {path}", markup=False)

    # ---- trying and submitting

    def _fields_to(self, what: str) -> dict[str, Any] | None:
        """The fields of the job; None where they cannot be sent, which a toast and the cursor tell then."""
        self._check_last_keys()
        checked, state = self._checked, self.console.state
        if not state.may_change:
            self.notify(state.why_read_only, title=f"Cannot {what}", severity="warning", markup=False)
            return None
        if checked.fields is None:
            first = next(problem for problem in checked.problems if not problem.is_warning)
            self._editor.go_to(first)
            words = f"Line {first.line + 1}: {first.field} {first.reason}"
            self.notify(words, title=f"Cannot {what} yet", severity="warning", markup=False)
        return checked.fields

    def action_preview(self) -> None:
        fields = self._fields_to("preview")
        if fields is None:
            return
        if fields["job_type"] != "mapreduce":
            self.notify("Only mapreduce jobs can be tried on a few lines.", severity="warning")
            return

        async def ask(lines: int) -> PreviewView:
            projects_dir = self.console.projects_dir
            return await self.console.ask(lambda client: client.preview(fields, projects_dir, lines))

        self.app.push_screen(PreviewDialog(str(fields["job_name"]), ask))

    @work(exclusive=True, group="submit")
    async def action_submit_text(self) -> None:
        fields, draft, text = self._fields_to("submit"), self._draft, self._editor.text
        if fields is None or draft is None:
            return
        answer = await submit(self.console, self._checked, draft)
        if isinstance(answer, JobRow):
            if self._draft is draft:
                self._load(draft_of_job(answer))
        elif answer is not None:
            name = answer.job_name
            self.notify(f"{name} is submitted as version {answer.version}.", markup=False)
            if self._draft is draft:  # another one may have been opened meanwhile
                self._draft = Draft(text, name, name, answer.version, draft.path)
                self._check(self._editor.text)
            if self.is_current:
                self.console.open_job(name)
