"""Searching and saving the pane that is shown: both read all that is kept of it, in a thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import TypeVar

from textual import on, work
from textual.timer import Timer

from pymr.base.errors import PymrError
from pymr.client import Client
from pymr.wire.wording import amount
from tui.console.screen import ConsoleScreen
from tui.model.pane.needle import Needle
from tui.model.pane.save import may_replace, save_pane
from tui.model.pane.search import Found, MatchCount, ReadPiece, find_in_pane
from tui.model.typed_path import typed_path
from tui.widgets.pane.prompt import PanePrompt
from tui.widgets.pane.view import PaneView

TYPING_SECONDS = 0.15
"""What is searched for may still be typed on for so long, before the whole pane is read for it."""

_PROGRESS_SECONDS = 0.2
_Result = TypeVar("_Result")


class SearchingScreen(ConsoleScreen):
    """What of the attach screen searches and saves. worker, run_id: of the pane that is shown."""

    worker: str = ""
    run_id: str = ""

    def __init__(self) -> None:
        super().__init__()
        self._needle = Needle("")
        self._count = MatchCount(self._needle)
        self._origin = 0
        self._stopped = Event()
        self._progress = (0, 0)
        self._doing = ""
        self._typing_timer: Timer | None = None
        self._replaced: Path | None = None  # what Enter replaces

    def on_mount(self) -> None:
        self.set_interval(_PROGRESS_SECONDS, self._show_progress)

    @property
    def view(self) -> PaneView:
        return self.query_one(PaneView)

    @property
    def prompt(self) -> PanePrompt:
        return self.query_one(PanePrompt)

    # ---- search

    @property
    def is_searching(self) -> bool:
        """Whether there is something to search for: not while the expression is none."""
        return bool(self._needle.text) and not self._needle.problem

    def action_search(self) -> None:
        if self.worker:
            self._origin = self.view.offset_at_top
            self.prompt.open("search", "/")

    def action_next_match(self) -> None:
        """The next line with a match: below the one that was found last, or below the top of the view."""
        if self.is_searching:
            line = self.view.found_line
            self._find(self.view.offset_at_top if line is None else line[1], backwards=False)

    def action_previous_match(self) -> None:
        if self.is_searching:
            line = self.view.found_line
            self._find(self.view.offset_at_top if line is None else line[0], backwards=True)

    def stop_search(self) -> bool:
        """Stop searching, and mark nothing any more. False where nothing was searched for."""
        was_searching = bool(self._needle.text)
        self._stopped.set()
        self._needle, self._doing = Needle(""), ""
        self.view.mark(None)
        return was_searching

    @on(PanePrompt.Changed)
    def _needle_changed(self, event: PanePrompt.Changed) -> None:
        if event.purpose != "search" or isinstance(event, PanePrompt.Answered):
            return
        self._seek(event.text)
        if self._typing_timer is not None:
            self._typing_timer.stop()
        if self.is_searching:
            find = partial(self._find, self._origin, backwards=False)
            self._typing_timer = self.set_timer(TYPING_SECONDS, find)

    @on(PanePrompt.Answered)
    def _answered(self, event: PanePrompt.Answered) -> None:
        if event.purpose == "search":
            is_sought_anew = event.text != self._needle.text  # it stood there, and not a letter was typed
            if is_sought_anew:
                self._seek(event.text)
            if self._needle.problem:  # it stays there to be mended
                return
            self.view.focus()
            if not event.text:
                self.prompt.close()
            elif is_sought_anew:
                self._find(self._origin, backwards=False)
        elif event.text.strip():
            self._save(event.text)

    @on(PanePrompt.Left)
    def _left(self, event: PanePrompt.Left) -> None:
        if event.purpose == "search":
            self.stop_search()
        self.view.focus()

    def _seek(self, text: str) -> None:
        self._stopped.set()
        self._needle = Needle(text)
        self._count = MatchCount(self._needle)
        self.view.mark(self._needle.in_text() if self.is_searching else None)
        if not self.is_searching:
            self._doing = ""
            self.prompt.show_status(self._needle.problem)

    def _find(self, start: int, *, backwards: bool) -> None:
        self._stopped.set()
        self._stopped = Event()
        self._found(start, backwards, self._stopped)

    @work(group="search", exclusive=True)
    async def _found(self, start: int, backwards: bool, stopped: Event) -> None:
        needle, self._doing, self._progress = self._needle, "searching… ", (0, 0)

        def find(read: ReadPiece) -> Found | None:
            return find_in_pane(
                read, needle, start, backwards=backwards, is_stopped=stopped, on_progress=self._note_progress
            )

        try:
            found = await self._with_pane(find)
        except PymrError as error:
            self._doing = ""
            self.prompt.show_status(str(error))
            return
        if stopped.is_set():
            return
        self._doing = ""
        if found is None:
            self.prompt.show_status(f"{needle.text!r} is not in what is kept")
            return
        where = "end" if backwards else "beginning"
        how = f"went on from the {where}" if found.has_wrapped else "n next  N previous"
        self.prompt.show_status(how)
        self.view.show_found(found.offset)
        await self._counted(found.offset, how, stopped)

    async def _counted(self, offset: int, how: str, stopped: Event) -> None:
        """Tell which of how many matches it is, once all that is kept has been read for them."""
        count = self._count
        try:
            is_done = await self._with_pane(lambda read: count.read_on(read, stopped))
        except PymrError:  # what was found is shown
            return
        if is_done and count is self._count and not stopped.is_set():
            number, total = count.number_of(offset)
            which = f"{number:,}" if count.is_whole or offset < count.counted else "?"
            self.prompt.show_status(f"{which}/{total:,}{'' if count.is_whole else '+'}  {how}")

    # ---- save

    def action_save(self) -> None:
        if self.worker:
            name = f"{self.worker.replace('/', '-')}-{self.run_id or 'newest'}.log"
            self._replaced = None
            self.prompt.open("save", "Save all of it to", name)

    def _save(self, text: str) -> None:
        """Save it there; where there is a file already, only when that has been asked for."""
        try:
            path = typed_path(text)
            is_there = may_replace(path)
        except PymrError as error:
            self.prompt.show_status(f"not saved: {error}")
            return
        if is_there and path != self._replaced:
            self._replaced = path
            self.prompt.open("replace", "It is there already: Enter replaces", str(path))
            return
        self._saved(path, over=is_there)

    @work(group="save", exclusive=True)
    async def _saved(self, path: Path, *, over: bool) -> None:
        self._doing, self._progress = "saving… ", (0, 0)
        try:
            size = await self._with_pane(
                lambda read: save_pane(read, path, over=over, on_progress=self._note_progress)
            )
        except PymrError as error:
            self.prompt.show_status(f"not saved: {error}")
            return
        finally:
            self._doing = ""
        self.prompt.close()
        self.view.focus()
        self.notify(f"{amount(size)} saved to {path.absolute()}", markup=False)

    # ---- both

    async def _with_pane(self, call: Callable[[ReadPiece], _Result]) -> _Result:
        """What `call` gives in a thread, for a reader of the pane that is shown."""
        worker, run_id = self.worker, self.run_id

        def with_client(client: Client) -> _Result:
            return call(lambda offset, bytes_max: client.read_pane(worker, run_id, offset, bytes_max))

        return await self.console.ask(with_client)

    def _note_progress(self, done: int, total: int) -> None:
        self._progress = done, total

    def _show_progress(self) -> None:
        done, total = self._progress
        if self._doing and total:
            self.prompt.show_status(f"{self._doing}{amount(done)} of {amount(total)}")
