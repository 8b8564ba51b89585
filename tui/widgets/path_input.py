"""An input for a path of this machine: Tab completes it, and what is wrong with it stands below."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import takewhile

from textual import events, on, work
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from tui.model.completion import Candidate, Completion, narrowed_by_typed
from tui.model.folder_names import FolderNames, folder_of, last_name, read_folder
from tui.model.printable import printable_lines
from tui.widgets.completion_list import CompletionList


class _Line(Input):
    """The path itself. It leads the list while that is open, and asks for it with Tab."""

    class CompletionWanted(Message):
        """Somebody asks how the path may go on."""

    def __init__(self, value: str, placeholder: str, completions: CompletionList) -> None:
        super().__init__(value, placeholder=placeholder, select_on_focus=False)
        self._completions = completions

    def on_key(self, event: events.Key) -> None:
        if self._completions.take(event.key):
            event.stop()
            event.prevent_default()
        elif event.key == "tab":
            event.stop()
            event.prevent_default()
            self.post_message(self.CompletionWanted())


class PathInput(Vertical):
    """Ends with Input.Submitted, as an input does. value: to begin with, where nothing else was typed before
    over the same. typed: what was, by dialog, to be kept here. suffix: of files that are offered; folders are
    offered always."""

    DEFAULT_CSS = """
    PathInput { height: auto; }
    PathInput > Static { height: auto; padding: 0 3; }
    """
    HINT = "tab completes"

    def __init__(
        self, typed: dict[str, str], value: str = "", placeholder: str = "", *, suffix: str = ""
    ) -> None:
        super().__init__()
        self._typed = typed
        self._suffix = suffix
        self._list = CompletionList()
        self._line = _Line(value, placeholder, self._list)
        self._below = Static(self.HINT, classes="muted", markup=False)
        self._wrong_value: str | None = None  # while what is wrong with it is told
        self._kept_as = f"{placeholder}\n{value}"

    def compose(self) -> ComposeResult:
        yield self._line
        yield self._below
        yield self._list

    def on_mount(self) -> None:
        self._line.value = self._typed.get(self._kept_as, self._line.value)
        self._line.cursor_position = len(self._line.value)

    def forget(self) -> None:
        """It was what was wanted: the next time it begins anew."""
        self._typed.pop(self._kept_as, None)

    def show_wrong(self, reason: str) -> None:
        """What is wrong with the path that stands there, until it is changed."""
        self._wrong_value = self._line.value
        self._tell("\n".join(printable_lines(reason)), is_wrong=True)

    def _tell(self, words: str, *, is_wrong: bool) -> None:
        self._below.update(words)
        self._below.set_class(is_wrong, "wrong")
        self._below.set_class(not is_wrong, "muted")

    @on(Input.Changed)
    def _follow(self, event: Input.Changed) -> None:
        event.stop()
        self._typed[self._kept_as] = event.value
        if self._wrong_value not in (None, event.value):
            self._wrong_value = None
            self._tell(self.HINT, is_wrong=False)
        if self._list.is_open:
            self._complete(may_write=False)

    def on_descendant_blur(self) -> None:
        self._list.close()

    @on(_Line.CompletionWanted)
    def _begin(self, event: _Line.CompletionWanted) -> None:
        event.stop()
        self._complete(may_write=True)

    @work(exclusive=True, group="folder")
    async def _complete(self, *, may_write: bool) -> None:
        """Offer what the path up to the cursor may be the beginning of. may_write: as far as there is one way
        only, it is gone at once."""
        typed = self._line.value[: self._line.cursor_position]
        found = await asyncio.to_thread(read_folder, folder_of(typed), [""])
        if typed != self._line.value[: self._line.cursor_position] or not self._line.has_focus:
            return
        paths = list(self._offered(found, typed))
        beginning = [path for path in paths if path.startswith(typed)]
        common = _shared_beginning(beginning)
        if may_write and len(common) > len(typed):
            self._put(common)
            typed = common
        if may_write and len(beginning) == 1:
            self._list.close()
            return
        kinds = ["folder" if path.endswith("/") else "file" for path in paths]
        candidates = tuple(map(Candidate, paths, paths, kinds))
        completion = narrowed_by_typed(Completion(0, 0, len(typed), typed, candidates))
        if completion is not None:
            self._list.open_at(self._line.cursor_screen_offset, completion)
            return
        self._list.close()
        if may_write:
            folder, begun = folder_of(typed), typed[len(folder_of(typed)) :]
            what = f"nothing begins with {begun}" if begun else "there is nothing"
            self.show_wrong(f"{what} in {folder or 'the folder of the console'}")

    def _offered(self, found: FolderNames, typed: str) -> Iterator[str]:
        takes_hidden = typed[len(folder_of(typed)) :].startswith(".")
        for path in found.names:
            is_shown = takes_hidden or not last_name(path).startswith(".")
            if is_shown and path.endswith(("/", self._suffix)):
                yield path

    def on_completion_list_accepted(self, event: CompletionList.Accepted) -> None:
        event.stop()
        self._list.close()
        self._put(event.candidate.text)

    def _put(self, path: str) -> None:
        """The path up to the cursor becomes another one."""
        behind = self._line.value[self._line.cursor_position :]
        self._line.value = path + behind
        self._line.cursor_position = len(path)


def _shared_beginning(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    first, last = min(texts), max(texts)  # what these two share all others do
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return first[: sum(1 for _ in shared)]
