"""The dialog in which a run is chosen whose output a worker still has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from pymr.client import Client, RefusedError
from pymr.wire.rows import RunRow
from pymr.wire.wording import amount, moment
from tui.model.printable import printable
from tui.screens.dialogs.dialog import Dialog
from tui.widgets.choices import Choices

RUNS_ASKED_MAX = 40
"""Of the latest; a worker may have had no part in some, or have lost its output by age or size."""


@dataclass(frozen=True, slots=True)
class RunOutput:
    """A run that a worker has output of, so many bytes."""

    run: RunRow
    size: int


def runs_with_output(client: Client, worker: str) -> list[RunOutput]:
    """The latest runs that a worker has output of, the latest first. Cost: a question for each run."""
    found = []
    for run in client.history(limit=RUNS_ASKED_MAX):
        try:
            size = client.read_pane(worker, run.run_id, 0, 1).end
        except RefusedError as error:
            if error.code != "missing":
                raise
            continue
        if size:
            found.append(RunOutput(run, size))
    return found


class RunDialog(Dialog[str | None]):
    """Gives the id of the run; None where none was chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss_none", "back", id="attach.leave_runs", show=False)
    ]

    def __init__(self, worker: str, runs: list[RunOutput], shown_run: str) -> None:
        super().__init__()
        self._worker = worker
        self._runs = runs
        self._shown_run = shown_run

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Label(f"Runs that {self._worker} has output of", classes="title", markup=False)
            if self._runs:
                yield Choices(*(Option(self._line(one), id=one.run.run_id) for one in self._runs))
            else:
                yield Label("There is none yet.", classes="muted")

    def on_mount(self) -> None:
        ids = [one.run.run_id for one in self._runs]
        if self._shown_run in ids:
            self.query_one(OptionList).highlighted = ids.index(self._shown_run)

    def action_dismiss_none(self) -> None:
        self.dismiss(None)

    @on(OptionList.OptionSelected)
    def _choose(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option_id)

    def _line(self, one: RunOutput) -> Text:
        run = one.run
        started = moment(run.start_time)
        name = printable(run.job_name)
        return Text(f"{started:<17}{run.status:<11}{amount(one.size):>9}  {name}", no_wrap=True)
