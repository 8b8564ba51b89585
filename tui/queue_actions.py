"""What an operator does to the queue from any screen: submit, edit, delete, undo, retry, force, pause."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar

import msgspec
from textual.binding import Binding, BindingType

from pymr.errors import PymrError
from pymr.requests import UNDELETE_SECONDS
from pymr.rows import JobRow
from tui.asking import AskingApp
from tui.model.state import ClusterState
from tui.screens.base import ConsoleScreen
from tui.screens.confirm import Confirm

_CHANGING = ("submit", "delete", "undelete", "retry", "force", "pause")


_CHANGING = ("submit", "delete", "undelete", "retry", "force", "pause")
_OF_A_JOB = ("edit", "delete", "retry", "force")


class QueueActions(AskingApp):
    """The keys that are about the job which the shown screen has selected, and about the whole queue."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "submit", "submit", id="app.submit"),
        Binding("e", "edit", "edit", id="app.edit"),
        Binding("d", "delete", "delete", id="app.delete"),
        Binding("u", "undelete", "undo", id="app.undelete"),
        Binding("r", "retry", "retry", id="app.retry"),
        Binding("f", "force", "force", id="app.force"),
        Binding("p", "pause", "pause", id="app.pause"),
    ]

    deleted: list[tuple[str, float]]
    """Jobs that were deleted here, and when, by time.monotonic()."""

    @property
    @abstractmethod
    def shown_screen(self) -> ConsoleScreen: ...

    @abstractmethod
    def open_job(self, job_name: str) -> None: ...

    @abstractmethod
    def edit_job(self, row: JobRow | None, job_type: str = "") -> None: ...

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.screen_stack and self.shown_screen.takes_keys:
            return False
        if action in _CHANGING and not self.state.may_change:
            return False
        if action in _OF_A_JOB and self.screen_stack and not self.shown_screen.has_jobs:
            return False
        if action == "undelete":
            return bool(self._undeletable())
        return True

    def _selected(self, what: str) -> JobRow | None:
        row = self.shown_screen.selected_job()
        if row is None:
            left = self.shown_screen.left_job()
            why = f"{left} has left the queue: e opens it, to submit it again." if left else ""
            self.notify(why or f"Select a job to {what}.", severity="warning", markup=False)
        return row

    def action_submit(self) -> None:
        self.edit_job(None)

    async def action_edit(self) -> None:
        if left := self.shown_screen.left_job():
            await self._edit_left(left)
        elif (row := self._selected("edit")) is not None:
            self.edit_job(row)

    async def _edit_left(self, name: str) -> None:
        """Open the definition of the latest run of a job that has left the queue."""
        try:
            view = await self.ask(lambda client: client.job(name))
        except PymrError as error:
            self.notify(str(error), title=f"Cannot edit {name}", severity="error", markup=False)
            return
        row = view.row
        if row is None:
            row = JobRow(
                fields=view.left_fields or {"job_name": name}, status="queued", version=0, submitted_at=0
            )
        self.edit_job(row)

    def action_delete(self) -> None:
        if (row := self._selected("delete")) is None:
            return
        name = str(row.fields["job_name"])
        ends = "Its run ends at once. " if row.status == "running" else ""
        question = f"Delete {name} from the queue?"
        detail = f"{ends}For ten minutes u brings the job back."

        def answer(is_wanted: bool | None) -> None:
            if is_wanted:
                self.begin(self._delete(name))

        self.push_screen(Confirm(question, detail, "delete"), answer)

    async def _delete(self, name: str) -> None:
        if await self.try_to(f"delete {name}", lambda client: client.delete(name) or "deleted"):
            self.deleted = [one for one in self.deleted if one[0] != name]
            self.deleted.append((name, time.monotonic()))
            self.refresh_bindings()
            self.notify(f"{name} is deleted. u brings it back.", markup=False)

    async def action_undelete(self) -> None:
        names = self._undeletable()
        if not names:
            self.notify("Nothing was deleted here in the last ten minutes.", severity="warning")
            return
        name = names[-1]
        if await self.try_to(f"bring {name} back", lambda client: client.undelete(name)):
            self.deleted = [one for one in self.deleted if one[0] != name]
            self.refresh_bindings()
            self.open_job(name)
            self.notify(f"{name} is back in the queue.", markup=False)

    def _undeletable(self) -> list[str]:
        now = time.monotonic()
        return [name for name, at in self.deleted if now - at < UNDELETE_SECONDS]

    async def action_retry(self) -> None:
        if (row := self._selected("retry")) is not None:
            name = str(row.fields["job_name"])
            if (told := await self.try_to(f"retry {name}", lambda client: client.retry(name))) is not None:
                self.notify(told or f"{name} is queued again.", markup=False)

    async def action_force(self) -> None:
        if (row := self._selected("force a run of")) is not None:
            name = str(row.fields["job_name"])
            if (told := await self.try_to(f"force {name}", lambda client: client.force(name))) is not None:
                self.notify(told or f"{name} will run again.", markup=False)

    async def action_pause(self) -> None:
        if self.state.cluster is None:
            return
        is_paused = self.state.cluster.paused
        what = "resume the queue" if is_paused else "pause the queue"
        if await self.try_to(what, lambda client: client.resume() if is_paused else client.pause()):
            cluster = _with_queue(self.state, not is_paused)
            self.state = cluster
            self.shown_screen.update_bars(cluster)
            self.notify("The queue goes on." if is_paused else "The queue is paused; what runs goes on.")


def _with_queue(state: ClusterState, is_paused: bool) -> ClusterState:
    """The state with the queue shown as it was just made, before a peer has said so."""
    assert state.cluster is not None
    return replace(state, cluster=msgspec.structs.replace(state.cluster, paused=is_paused))
