"""What a submission will do, before it is done; and what to do where somebody else has changed the job."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import ClassVar, Literal

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Static

from pymr.wire.rows import JobRow
from pymr.wire.wording import from_now
from tui.model.job_text.diff import FieldChange
from tui.model.job_text.problems import TextProblem
from tui.model.printable import printable
from tui.screens.dialogs.dialog import Dialog
from tui.widgets.job.diff_view import DiffView

ConflictAnswer = Literal["reload", "keep", "over"]


class SubmitDialog(Dialog[bool]):
    """Its result: whether to submit. changes: against the job in the queue; None where there is none."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,y", "answer(True)", "submit", id="submit.yes"),
        Binding("n,escape", "answer(False)", "go on editing", id="submit.no"),
    ]

    def __init__(
        self,
        job_name: str,
        told: Sequence[str],
        changes: Sequence[FieldChange] | None,
        warnings: Sequence[TextProblem],
    ) -> None:
        super().__init__()
        self._job_name, self._told, self._changes, self._warnings = job_name, told, changes, warnings

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog wide", can_focus=False):
            yield Static(f"Submit {printable(self._job_name)}?", classes="title", markup=False)
            yield Static("\n".join(self._told), markup=False)
            with Vertical(classes="parts"):
                if self._changes:
                    yield DiffView(self._changes, "in the queue", "as submitted")
                elif self._changes is not None:
                    yield Static("No field differs from the job in the queue.", classes="muted")
                for problem in self._warnings:
                    words = f"! line {problem.line + 1}: {problem.field} {problem.reason}"
                    yield Static(printable(words), classes="warning", markup=False)
            with Horizontal(classes="buttons"):
                yield Button("submit (enter)", id="yes", variant="primary")
                yield Button("edit (esc)", id="no")

    def on_mount(self) -> None:
        self.query_one("#yes").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, is_yes: bool) -> None:
        self.dismiss(is_yes)


class ConflictDialog(Dialog[ConflictAnswer]):
    """theirs: the job as it stands in the queue now. changes: from theirs to the text here."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "answer('reload')", "reload theirs", id="conflict.reload"),
        Binding("k,escape", "answer('keep')", "keep editing", id="conflict.keep"),
        Binding("o", "answer('over')", "submit over it", id="conflict.over"),
    ]

    def __init__(self, theirs: JobRow, edited_version: int, changes: Sequence[FieldChange]) -> None:
        super().__init__()
        self._theirs, self._edited_version, self._changes = theirs, edited_version, changes

    def compose(self) -> ComposeResult:
        theirs, now = self._theirs, time.time()
        name = printable(str(theirs.fields.get("job_name", "")))
        submitter = printable(str(theirs.fields.get("job_submitter") or "somebody"))
        edited = f"version {self._edited_version}" if self._edited_version else "a new job"
        when = from_now(min(theirs.submitted_at, now), now)  # by the clock of another machine
        whose = f"Version {theirs.version}, submitted by {submitter} {when},"
        began = f"What is edited here began as {edited}."
        with VerticalScroll(classes="dialog wide", can_focus=False):
            yield Static(f"{name} was changed meanwhile", classes="title", markup=False)
            yield Static(f"{whose} is in the queue.\n{began} Nothing was submitted.", markup=False)
            with Vertical(classes="parts"):
                if self._changes:
                    yield DiffView(self._changes, "theirs", "yours")
                else:
                    yield Static("No field differs between theirs and yours.", classes="muted")
            with Horizontal(classes="buttons"):
                yield Button("reload theirs (r)", id="reload")
                yield Button("keep editing (k)", id="keep", variant="primary")
                yield Button("submit over it (o)", id="over", variant="error")

    def on_mount(self) -> None:
        self.query_one("#keep").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        answers: dict[str | None, ConflictAnswer] = {"reload": "reload", "over": "over"}
        self.dismiss(answers.get(event.button.id, "keep"))

    def action_answer(self, answer: ConflictAnswer) -> None:
        self.dismiss(answer)
