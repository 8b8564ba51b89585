"""What all dialogs have in common."""

from __future__ import annotations

from typing import TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import ModalScreen

Result = TypeVar("Result")


class Dialog(ModalScreen[Result]):
    """A screen over another. It goes once, and from below another as soon as that has gone: Textual's takes
    away whatever is on top, be it another screen."""

    _result: tuple[Result | None] | None = None  # of one that is to go

    def dismiss(self, result: Result | None = None) -> AwaitComplete:
        if self.is_active:
            return super().dismiss(result)
        self._result = (result,)
        return AwaitComplete()

    def on_screen_resume(self) -> None:
        if self._result is not None:
            self.dismiss(*self._result)
