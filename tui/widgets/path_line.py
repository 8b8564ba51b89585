"""An input line for a path of this machine, which Tab completes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import takewhile

from textual import events, work
from textual.message import Message
from textual.widgets import Input

from tui.model.folder_names import FolderNames, folder_of, last_name, read_folder
from tui.model.job_text.completion import Candidate, Completion, narrowed_by_typed
from tui.widgets.completion_list import CompletionList


class PathLine(Input):
    """The path itself. It leads the list of what it may become while that is open, and opens it with Tab.

    completions: composed beside it; what is chosen there comes back by `accept`. suffix: of files that are
    offered; folders are offered always. completes_paths: False while what is typed is no path.
    """

    class NothingFound(Message):
        """why: there is no path that begins so."""

        def __init__(self, why: str) -> None:
            super().__init__()
            self.why = why

    def __init__(
        self, value: str, placeholder: str, completions: CompletionList, *, suffix: str = ""
    ) -> None:
        super().__init__(value, placeholder=placeholder, select_on_focus=False)
        self._list = completions
        self._suffix = suffix
        self.completes_paths = True

    def on_key(self, event: events.Key) -> None:
        if self._list.take(event.key):
            event.stop()
            event.prevent_default()
        elif event.key == "tab" and self.completes_paths:
            event.stop()
            event.prevent_default()
            self._complete(may_write=True)

    def on_blur(self) -> None:
        self._list.close()

    def follow(self) -> None:
        """The path has changed: an open list offers what there is now."""
        if self._list.is_open:
            self._complete(may_write=False)

    def accept(self, candidate: Candidate) -> None:
        """Take over what was chosen in the list."""
        self._list.close()
        self._put(candidate.text)

    @work(exclusive=True, group="folder")
    async def _complete(self, *, may_write: bool) -> None:
        """Offer what the path up to the cursor may be the beginning of. may_write: as far as there is one way
        only, it is gone at once."""
        typed = self.value[: self.cursor_position]
        found = await asyncio.to_thread(read_folder, folder_of(typed), [""])
        if typed != self.value[: self.cursor_position] or not self.has_focus:
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
            self._list.open_at(self.cursor_screen_offset, completion)
            return
        self._list.close()
        if may_write:
            folder, begun = folder_of(typed), typed[len(folder_of(typed)) :]
            what = f"nothing begins with {begun}" if begun else "there is nothing"
            self.post_message(self.NothingFound(f"{what} in {folder or 'the folder of the console'}"))

    def _offered(self, found: FolderNames, typed: str) -> Iterator[str]:
        takes_hidden = typed[len(folder_of(typed)) :].startswith(".")
        for path in found.names:
            is_shown = takes_hidden or not last_name(path).startswith(".")
            if is_shown and path.endswith(("/", self._suffix)):
                yield path

    def _put(self, path: str) -> None:
        """The path up to the cursor becomes another one."""
        behind = self.value[self.cursor_position :]
        self.value = path + behind
        self.cursor_position = len(path)


def _shared_beginning(texts: Sequence[str]) -> str:
    if not texts:
        return ""
    first, last = min(texts), max(texts)  # what these two share all others do
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return first[: sum(1 for _ in shared)]
