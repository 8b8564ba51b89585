"""Dialogs that ask for a path of this machine, and stay open until one will do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypeVar, cast

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from pymr.base.errors import DefinitionError, PymrError
from tui.model.typed_path import typed_path
from tui.screens.dialogs.dialog import Dialog
from tui.widgets.path_input import PathInput

if TYPE_CHECKING:
    from tui.console.console import Console

Result = TypeVar("Result")


class PathScreen(Dialog[Result]):
    """A dialog with a PathInput, which ends with what becomes of a path. What is wrong with one is told in
    it, and the path stays as it was typed."""

    @property
    def typed(self) -> dict[str, str]:
        """What was left standing in dialogs such as this."""
        return cast("Console", self.app).typed

    async def use(self, path: Path) -> Result | None:
        """What the dialog ends with; None where it goes on. Raises PymrError with what is wrong."""
        raise NotImplementedError

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.use_typed(event.value)

    @work(exclusive=True, group="path")
    async def use_typed(self, text: str) -> None:
        """Try a path."""
        try:
            result = await self.use(typed_path(text))
        except PymrError as error:
            self.query_one(PathInput).show_wrong(_reason(error))
        else:
            if result is not None:
                self.query_one(PathInput).forget()
                self.dismiss(result)


class PathDialog(PathScreen[Path | None]):
    """Its result: the path, or None. path: the one to begin with. use: as that of PathScreen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "cancel", id="path.cancel"),
    ]

    def __init__(self, title: str, path: str, use: Callable[[Path], Awaitable[Path | None]]) -> None:
        super().__init__()
        self._title, self._path, self._use = title, path, use

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="title", markup=False)
            yield PathInput(self.typed, self._path, "path of the file")

    async def use(self, path: Path) -> Path | None:
        return await self._use(path)


def _reason(error: PymrError) -> str:
    """Of a file in which one thing is wrong, that alone: its path stands in the input."""
    if isinstance(error, DefinitionError) and len(error.problems) == 1:
        problem = error.problems[0]
        return f"{problem.field} {problem.reason}"
    return str(error)
