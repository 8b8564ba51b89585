"""Where to write a text."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, TypeVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from pymr.errors import PymrError
from tui.model.typed_path import typed_path

Result = TypeVar("Result")


class PathScreen(ModalScreen[Result]):
    """A dialog that ends with the path in its input, among whatever else may be its result."""

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if not event.value.strip():
            return
        try:
            path = typed_path(event.value)
        except PymrError as error:
            self.notify(str(error), title="No such path", severity="error", markup=False)
        else:
            self.dismiss(cast(Result, path))


class PathDialog(PathScreen[Path | None]):
    """Its result: the path, or None. path: the one to begin with."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "cancel", id="path.cancel"),
    ]

    def __init__(self, title: str, path: str) -> None:
        super().__init__()
        self._title, self._path = title, path

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(self._title, classes="title", markup=False)
            yield Input(self._path, placeholder="path of the file")
