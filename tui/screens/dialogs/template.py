"""What to edit: a new job of one of the three types, or a file with a job."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static
from textual.widgets.option_list import Option

from pymr.jobs.job_types import JOB_CLASSES, JOB_TYPES
from tui.model.job_text.draft import Draft, draft_of_file, draft_of_type
from tui.model.job_text.projects import find_job_files
from tui.model.printable import printable
from tui.render.styled_line import MUTED
from tui.screens.dialogs.path import PathScreen
from tui.widgets.choices import Choices
from tui.widgets.path_input import PathInput


class TemplateDialog(PathScreen[Draft | None]):
    """Its result: a new job, the text of a file, or None. wants_file: whether only a file is asked for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "cancel", id="template.cancel"),
        Binding("down", "app.focus_next", "list", show=False),
        Binding("up", "app.focus_previous", "list", show=False),
    ]

    def __init__(self, projects_dir: Path, *, wants_file: bool = False) -> None:
        super().__init__()
        self._projects_dir = projects_dir
        self._wants_file = wants_file
        self._choices: list[str | Path] = [] if wants_file else list(JOB_TYPES)

    def compose(self) -> ComposeResult:
        title = "Open a file" if self._wants_file else "New job"
        placeholder = "path of a file with a job, such as jobs/count.toml"
        path = PathInput(self.typed, placeholder=placeholder, suffix=".toml")
        place = "below" if self._wants_file else None
        with Vertical(classes="dialog wide"):
            yield Static(title, classes="title")
            if self._wants_file:
                yield path
            yield Choices(*map(self._option, self._choices), markup=False, id="choices", classes=place)
            if not self._wants_file:
                yield path

    def on_mount(self) -> None:
        options = self.query_one("#choices", OptionList)
        options.highlighted = 0 if self._choices else None
        (self.query_one(Input) if self._wants_file else options).focus()
        self._find_files()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        choice = self._choices[event.option_index]
        if isinstance(choice, Path):
            self.use_typed(str(choice))
        else:
            self.dismiss(draft_of_type(choice))

    async def use(self, path: Path) -> Draft:
        return await asyncio.to_thread(draft_of_file, path)

    @work(exclusive=True)
    async def _find_files(self) -> None:
        found = await asyncio.to_thread(find_job_files, self._projects_dir)
        options = self.query_one("#choices", OptionList)
        self._choices += found
        options.add_options([self._option(path) for path in found])

    def _option(self, choice: str | Path) -> Option:
        if isinstance(choice, str):
            doc = str(JOB_CLASSES[choice].__doc__).rstrip(".")
            return Option(Content.assemble((f" {choice:<14}", "bold"), (doc, MUTED)))
        base = self._projects_dir.parent
        shown = choice.relative_to(base) if choice.is_relative_to(base) else choice
        return Option(Content.assemble((" file          ", MUTED), printable(str(shown))))
