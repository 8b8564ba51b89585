"""What an operator does to the queue: submit, edit, delete, undo, retry, force, pause. The keys are those of
the Jobs screen: elsewhere none may act on what nobody sees."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec

from pymr.base.errors import PymrError
from pymr.client import Client, RefusedError
from pymr.config.cluster import ClusterConfig
from pymr.wire.requests import UNDELETE_SECONDS, JobsView
from pymr.wire.rows import JobRow
from tui.console.console import Console, Deleted
from tui.console.screen import ConsoleScreen
from tui.model.state import RUNS_MAX, ClusterState
from tui.screens.dialogs.confirm import Confirm
from tui.settings.options import Options

_GONE_CODES = ("unknown", "conflict")  # with which a job is not to be brought back any more


class QueueActions(Console):
    """The actions about the job which the shown screen has selected, and about the whole queue."""

    CHANGES = frozenset({"submit", "delete", "undelete", "retry", "force", "pause"})

    def __init__(self, options: Options, config: ClusterConfig | None) -> None:
        super().__init__(options, config)
        self._under_way: set[str] = set()
        self._is_to_pause: bool | None = None  # what the queue is being made; None while nobody asks

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if self.screen_stack and not self.shown_screen.lets(action):
            return False
        if action in self.CHANGES and not self.state.may_change:
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

    def _begin_once(self, what: str, doing: Coroutine[Any, Any, object]) -> None:
        """Do something beside. The same again, before a peer has answered, is not asked for a second time."""
        if what in self._under_way:
            doing.close()
            self.notify(f"Still waiting for an answer, to {what}.", severity="warning", markup=False)
            return

        async def do() -> None:
            try:
                await doing
            finally:
                self._under_way.discard(what)

        self._under_way.add(what)
        self.begin(do())

    def _is_still_at(self, screen: ConsoleScreen) -> bool:
        """Whether the operator is where they were when they asked, and an answer may lead them elsewhere."""
        return self.screen is screen

    def action_submit(self) -> None:
        self.edit_job(None)

    def action_edit(self) -> None:
        if left := self.shown_screen.left_job():
            self._begin_once(f"edit {left}", self._edit_left(left))
        elif (row := self._selected("edit")) is not None:
            self.edit_job(row)

    async def _edit_left(self, name: str) -> None:
        """Open the definition of the latest run of a job that has left the queue."""
        asked_at = self.shown_screen
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
        if self._is_still_at(asked_at):
            self.edit_job(row)

    # ---- deleting

    def action_delete(self) -> None:
        if (row := self._selected("delete")) is None:
            return
        name, version = str(row.fields["job_name"]), row.version
        ends = "Its run ends at once. " if row.status == "running" else ""
        question = f"Delete {name} from the queue?"
        detail = f"{ends}For ten minutes u brings the job back."

        def answer(is_wanted: bool | None) -> None:
            if is_wanted:
                self._begin_once(f"delete {name}", self._delete(name, version))

        self.push_screen(Confirm(question, detail, "delete"), answer)

    async def _delete(self, name: str, version: int) -> None:
        if await self.try_to(f"delete {name}", lambda client: client.delete(name) or "deleted"):
            self._forget_deleted(name)
            self.deleted = [*self.deleted, Deleted(name, version, time.monotonic())][-RUNS_MAX:]
            self.refresh_bindings()
            self.notify(f"{name} is deleted. u brings it back.", markup=False)

    def action_undelete(self) -> None:
        if names := self._undeletable():
            self._begin_once(f"bring {names[-1]} back", self._undelete(names[-1]))

    async def _undelete(self, name: str) -> None:
        asked_at = self.shown_screen

        def if_refused(error: RefusedError) -> None:
            if error.code in _GONE_CODES:  # so that the next press is about the one before
                self._forget_deleted(name)

        if await self.try_to(f"bring {name} back", lambda client: client.undelete(name), if_refused):
            self._forget_deleted(name)
            self.notify(f"{name} is back in the queue.", markup=False)
            if self._is_still_at(asked_at):
                self.open_job(name)

    def _undeletable(self) -> list[str]:
        now = time.monotonic()
        return [one.name for one in self.deleted if now - one.at < UNDELETE_SECONDS]

    def _forget_deleted(self, *names: str) -> None:
        self.deleted = [one for one in self.deleted if one.name not in names]
        self.refresh_bindings()

    def forget_returned(self) -> None:
        """Jobs that were deleted here and are in the queue again are like any other."""
        if self.deleted and self.state.jobs is not None:
            versions = {row.fields["job_name"]: row.version for row in self.state.jobs.rows}
            returned = [one.name for one in self.deleted if versions.get(one.name, 0) > one.version]
            if returned:
                self._forget_deleted(*returned)

    # ---- running

    def action_retry(self) -> None:
        if (row := self._selected("retry")) is not None:
            name = str(row.fields["job_name"])
            self._begin_once(f"retry {name}", self._retry(name))

    async def _retry(self, name: str) -> None:
        told = await self.try_to(f"retry {name}", lambda client: client.retry(name))
        if told is not None:
            of_group = "" if told in ("", "queued") else f" ({told})"
            self.notify(f"{name} is queued again{of_group}.", markup=False)

    def action_force(self) -> None:
        if (row := self._selected("force a run of")) is not None:
            name = str(row.fields["job_name"])
            self._begin_once(f"force {name}", self._force(name))

    async def _force(self, name: str) -> None:
        if await self.try_to(f"force {name}", lambda client: client.force(name)) is not None:
            self.notify(f"{name} is queued and will run again.", markup=False)

    def action_pause(self) -> None:
        """Pause the queue, which is asked about first, or let it go on. Pressed again before a peer has
        answered, it is about what the queue will be then."""
        if self.state.cluster is None:
            return
        if self.state.cluster.paused if self._is_to_pause is None else self._is_to_pause:
            self._make_queue(is_paused=False)
            return

        def answer(is_wanted: bool | None) -> None:
            if is_wanted:
                self._make_queue(is_paused=True)

        detail = "What runs goes on; nothing else begins, for anybody, until p lets it."
        self.push_screen(Confirm("Pause the queue?", detail, "pause"), answer)

    def _make_queue(self, *, is_paused: bool) -> None:
        is_first, self._is_to_pause = self._is_to_pause is None, is_paused
        if is_first:
            self.begin(self._pause_or_resume())

    async def _pause_or_resume(self) -> None:
        is_paused: bool | None = None
        try:
            while self._is_to_pause is not None and is_paused != self._is_to_pause:
                is_paused = self._is_to_pause
                what = "pause the queue" if is_paused else "resume the queue"
                if await self.try_to(what, _making(is_paused)) is None:
                    return
                self.show_at_once(lambda state, is_paused=is_paused: _with_queue(state, is_paused))  # type: ignore[misc]
                self.shown_screen.update_bars(self.state)
                self.notify(
                    "The queue is paused; what runs goes on." if is_paused else "The queue was resumed."
                )
        finally:
            self._is_to_pause = None


def _making(is_paused: bool) -> Callable[[Client], JobsView]:
    def call(client: Client) -> JobsView:
        client.pause() if is_paused else client.resume()
        return client.jobs_page(0)  # for it the leader reads the queue anew: what it tells next is of now

    return call


def _with_queue(state: ClusterState, is_paused: bool) -> ClusterState:
    """The state with the queue shown as it was just made, before a peer has said so."""
    if state.cluster is None:  # another cluster was opened meanwhile
        return state
    return replace(state, cluster=msgspec.structs.replace(state.cluster, paused=is_paused))
