"""The third screen: one pane, whole; what its worker put out from the first byte kept, and its keyboard."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from pymr.base.errors import PymrError
from pymr.client import Client, ended_run, may_still_end
from pymr.wire.rows import JobRow, RunRow, WorkerRow
from pymr.wire.wording import amount, count_of
from tui.model.pane.feed import RANGES_MAX, PaneWish
from tui.model.pane.grid import by_slot
from tui.model.pane.place import LOOKED_AHEAD_BYTES, LOOKED_BACK_BYTES, start_of_failure
from tui.model.printable import printable
from tui.model.state import ClusterState
from tui.screens.attach_typing import HOW_TO_LEAVE, STUCK, TypingScreen
from tui.screens.dialogs.run import RunDialog, runs_with_output
from tui.settings.keys import is_character
from tui.widgets.choices import Choices
from tui.widgets.pane.header import PaneFacts, PaneHeader, PaneNotice
from tui.widgets.pane.prompt import PanePrompt
from tui.widgets.pane.view import PaneView

END_SECONDS = 1.0
"""Whether a run has ended at which its worker no longer works is asked so often, until it has."""

COPIED_BYTES_MAX = 74_994
"""Of what is copied: as base64 the 100,000 bytes of a sequence at which terminals and tmux stop reading."""

TAIL_BYTES = 256 << 10
"""So much of the end is followed; what comes faster is a gap that can be read."""

STOPPED = "◆ Stopped at a breakpoint"
HOW_TO_ANSWER = ": press i to answer"
NOT_TYPED = "◆ {key} does nothing at a breakpoint: i types into the debugger, Escape goes back"


class AttachScreen(TypingScreen):
    """Shows one pane. Until a worker has been chosen it offers those that there are."""

    WANTS = frozenset({"workers"})
    shows_panes = True
    AUTO_FOCUS = None
    DEFAULT_CSS = """
    AttachScreen #attach-workers { height: 1fr; border: none; display: none; }
    AttachScreen.-choosing #attach-workers { display: block; }
    AttachScreen.-choosing PaneView { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("i", "type", "type", id="attach.type"),
        Binding("f", "follow", "follow", id="attach.follow"),
        Binding("slash,ctrl+f", "search", "search", id="attach.search"),
        Binding("w", "wrap", "wrap", id="attach.wrap"),
        Binding("t", "times", "times", id="attach.times"),
        Binding("h", "runs", "runs", id="attach.runs"),
        Binding("left_square_bracket", "other_worker(-1)", "before", id="attach.previous_worker", show=False),
        Binding("right_square_bracket", "other_worker(1)", "other worker", id="attach.next_worker"),
        Binding("y", "copy", "copy", id="attach.copy"),
        Binding("S", "save", "save", id="attach.save"),
        Binding("c", "colours", "colours", id="attach.colours", show=False),
        Binding("n,f3", "next_match", "next match", id="attach.next_match", show=False),
        Binding("N,shift+f3", "previous_match", "previous match", id="attach.previous_match", show=False),
        Binding("escape", "app.back", "back", id="attach.back", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._is_newest = True  # the worker's next run is shown when it begins
        self._place: int | None = None  # behind a failure, shown as soon as it is loaded
        self._ranges: list[tuple[int, int]] = []
        self._problem = ""
        self._row: WorkerRow | None = None
        self._job_name = ""
        self._ended: RunRow | None = None  # the run that is shown, once it has ended
        self._is_end_sought = True  # until it is known, or the history has forgotten it
        self._ends_asked_for: set[str] = set()  # runs, while the question is under way
        self._choices: list[str] = []
        self._wish: PaneWish | None = None
        self._was_answerable = False

    def compose_body(self) -> ComposeResult:
        yield PaneHeader()
        yield PaneNotice()
        yield Choices(id="attach-workers")
        yield PaneView()
        yield PanePrompt()

    def on_mount(self) -> None:
        self.set_class(not self.worker, "-choosing")
        self.set_interval(END_SECONDS, self._look_for_end)

    # ---- what the console asks of it

    def open(self, worker: str, run_id: str = "", offset: int | None = None) -> None:
        """Show a worker's output in a run, "" for its newest; with an offset the failure that ends there."""
        if self.is_typing and (worker, run_id) != (self.worker, self.run_id):
            self.stop_typing()
        self.stop_search()
        self.prompt.close()
        self.worker, self.run_id, self._is_newest = worker, run_id, not run_id
        self.trouble = self.idle_key = self._problem = self._job_name = ""
        self._ended, self._is_end_sought = None, True
        self.is_refused = False
        self._place, self._ranges = offset, []
        self.set_class(False, "-choosing")
        self.refresh_bindings()
        self.view.begin()
        self.view.is_following = offset is None
        if offset is not None:
            start, end = max(0, offset - LOOKED_BACK_BYTES), offset + LOOKED_AHEAD_BYTES
            self._ranges.append((start, end))
        self.view.focus()
        self._wish = None
        self._want()
        self.show_state(self.console.state)
        self._look_for_end()

    def show_state(self, state: ClusterState) -> None:
        self._row = next((row for row in state.workers if row.name == self.worker), None)
        row = self._row
        if not self.worker:
            self._offer(state)
        elif row is not None and self.run_id and row.run_id and row.run_id != self.run_id:
            if self.is_typing:
                self.stop_typing("Typing has ended, as the run has")
            if self._is_newest and self.view.is_following:
                self.open(self.worker)
                return
        elif self.is_typing and row is not None and row.state == "idle" and not row.pid:
            self.stop_typing("Typing has ended, as the process has")
        self._show_facts()

    def show_panes(self) -> None:
        pieces = []
        for news in self.console.pane_feed.take():
            if (news.worker, news.run_id) != (self.worker, self.run_id):
                continue
            self._problem = news.problem
            if news.piece is not None:
                pieces.append(news.piece)
        view = self.view
        if pieces:
            view.add_all(pieces)
            self._ranges = [one for one in self._ranges if self._is_lacking(one)]
        if not self.run_id and view.buffer.run_id:  # from now on of this run, whatever the worker begins
            self.run_id = view.buffer.run_id
        if self._place is not None and view.buffer.end:
            self._show_place(self._place)
        self._want()
        self._show_facts()

    def selected_job(self) -> JobRow | None:
        jobs, row = self.console.state.jobs, self._row
        if jobs is None or row is None or not row.job_name:
            return None
        return next((job for job in jobs.rows if job.fields.get("job_name") == row.job_name), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return bool(self.worker) and not self.takes_keys and super().check_action(action, parameters)

    def acts_on(self, key: str, action: str) -> bool:
        """At a breakpoint on no character but the one that begins to type: any other was most likely meant
        for the debugger."""
        return not self.is_answerable or action == "type" or not is_character(key)

    def on_screen_resume(self) -> None:
        self._wish = None
        self._want()

    def on_screen_suspend(self) -> None:
        """Nothing is read of what nobody sees; another screen with panes says itself what it reads."""
        shown = self.console.shown_screen
        if shown is not self:
            self.stop_typing()
            self._wish = None
            if not shown.shows_panes and self.console.config is not None:
                self.console.pane_feed.want(())

    # ---- keys

    def action_follow(self) -> None:
        self.view.follow(not self.view.is_following)

    def action_wrap(self) -> None:
        self.view.wrap(not self.view.is_wrapped)

    def action_times(self) -> None:
        self.view.show_times(not self.view.has_times)

    def action_colours(self) -> None:
        self.view.colour(not self.view.is_coloured)

    def action_copy(self) -> None:
        text = self.view.visible_text()
        size, what = len(text.encode()), count_of(text.count("\n") + 1, "line")
        if size > COPIED_BYTES_MAX:
            told = f"Not copied: {what}, {amount(size)}, are too much for a terminal. S saves all to a file."
            self.notify(told, severity="warning")
            return
        self.console.copy_to_clipboard(text)
        self.notify(f"{what} handed to the terminal to copy, if it allows that. S saves all to a file.")

    def leave_part(self) -> bool:
        """Out of a search."""
        if not (self.prompt.display or self.is_searching):
            return False
        self.prompt.close()
        self.stop_search()
        self.view.focus()
        return True

    async def action_runs(self) -> None:
        if not self.worker:
            return
        worker = self.worker
        try:
            runs = await self.console.ask(lambda client: runs_with_output(client, worker))
        except PymrError as error:
            self.notify(str(error), title="The runs cannot be had", severity="error", markup=False)
            return

        def chosen(run_id: str | None) -> None:
            if run_id:
                self.open(worker, run_id)
                self._job_name = next(one.run.job_name for one in runs if one.run.run_id == run_id)

        self.console.push_screen(RunDialog(worker, runs, self.run_id), chosen)

    async def action_other_worker(self, step: int) -> None:
        """The next worker that put out something in this run; of all workers, where there is no other."""
        worker, run_id = self.worker, self.run_id
        if not worker:
            return
        try:
            names = await self.console.ask(lambda client: client.panes_of(run_id)) if run_id else []
        except PymrError:
            names = []
        rows = self.console.state.workers
        found = {worker, *names, *(row.name for row in rows if run_id and row.run_id == run_id)}
        if len(found) == 1:
            run_id, found = "", {worker, *(row.name for row in rows)}
        if len(found) == 1:
            self.notify("There is no other worker.")
            return
        workers = sorted(found, key=by_slot)
        self.open(workers[(workers.index(worker) + step) % len(workers)], run_id)

    @on(PaneView.Wanted)
    def _wanted(self, event: PaneView.Wanted) -> None:
        one = event.start, event.end
        if event.end > event.start and one not in self._ranges:
            self._ranges = [*self._ranges, one][-RANGES_MAX:]
            self._want()

    @on(PaneView.Followed)
    def _followed(self) -> None:
        self._want()
        self._show_facts()

    @on(OptionList.OptionSelected, "#attach-workers")
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id:
            self.open(event.option_id)

    @property
    def looked_at(self) -> tuple[str, str]:
        return self.worker, self.run_id

    # ---- typing

    @property
    def is_stopped(self) -> bool:
        row = self._row
        return row is not None and row.state == "breakpoint" and self.run_id in ("", row.run_id)

    @property
    def is_answerable(self) -> bool:
        return self.is_stopped and self.console.state.may_change and not self.why_not_typing

    @property
    def why_not_typing(self) -> str:
        row = self._row
        if row is None:
            return f"{self.worker} is not there: nothing can be typed into it"
        if self.run_id and row.run_id != self.run_id:
            return "This run has ended: nothing can be typed into it"
        if row.holder and row.holder != self.holder:
            return f"{printable(row.holder)} is typing into {self.worker}; one at a time"
        return ""

    def show_notice(self) -> None:
        if self.is_answerable != self._was_answerable:
            self._was_answerable = self.is_answerable
            self.idle_key = ""
            self.refresh_bindings()
        row = self._row
        refusal = self.why_not_typing if self.is_refused else ""
        self.is_refused = bool(refusal)
        if self.is_typing and self.stuck and not self.trouble:
            self.notice.show(STUCK.format(worker=self.worker, why=self.stuck), "alarm")
        elif self.takes_keys:
            self.notice.show(self.trouble or HOW_TO_LEAVE.format(worker=self.worker), "typing")
        elif self.trouble or refusal:
            self.notice.show(self.trouble or refusal, "alarm")
        elif self._problem:
            self.notice.show(self._problem, "alarm")
        elif self.idle_key:
            self.notice.show(NOT_TYPED.format(key=printable(self.idle_key)), "alarm")
        elif self.is_stopped and row is not None and not row.holder:
            self.notice.show(STOPPED + HOW_TO_ANSWER * self.console.state.may_change, "alarm")
        else:
            self.notice.show("")

    # ---- showing

    def _offer(self, state: ClusterState) -> None:
        """The workers that there are, to choose from."""
        names = [f"{row.name} {row.state} {row.job_name}" for row in state.workers]
        if names == self._choices:
            return
        self._choices = names
        choices = self.query_one("#attach-workers", OptionList)
        highlighted = choices.highlighted or 0
        choices.set_options(
            Option(Text(f"{row.name:<20} {row.state:<12} {printable(row.job_name or '')}"), id=row.name)
            for row in state.workers
        )
        if names:
            choices.highlighted = min(highlighted, len(names) - 1)
            choices.focus()

    def _show_facts(self) -> None:
        if not self.worker:
            return
        view = self.view
        self.query_one(PaneHeader).show(
            PaneFacts(
                self.worker,
                self.run_id,
                self._row,
                self._job_name,
                view.is_following,
                view.offset_at_top,
                view.buffer.end,
                self.holder,
                self._ended,
            )
        )
        self.show_notice()

    def _look_for_end(self) -> None:
        """Query the outcome of the run that is shown, if its worker has left it."""
        row, run_id = self._row, self.run_id
        is_at_it = row is not None and row.run_id == run_id and row.state != "idle"
        is_seen = self.console.shown_screen is self and self.console.config is not None
        if not (run_id and is_seen and self._is_end_sought) or is_at_it:
            return
        known = next((run for run in self.console.state.runs if run.run_id == run_id), None)
        if known is not None:
            self._show_end(run_id, known, may_follow=False)
        elif run_id not in self._ends_asked_for:
            self._ends_asked_for.add(run_id)
            self._ask_for_end(run_id)

    @work(group="end")
    async def _ask_for_end(self, run_id: str) -> None:
        def look(client: Client) -> tuple[RunRow | None, bool]:
            return (None, True) if may_still_end(client, run_id) else (ended_run(client, run_id), False)

        try:
            self._show_end(run_id, *await self.console.ask(look))
        except PymrError:  # it is asked again
            pass
        finally:
            self._ends_asked_for.discard(run_id)

    def _show_end(self, run_id: str, ended: RunRow | None, may_follow: bool) -> None:
        """may_follow: there is no end of it yet."""
        if run_id == self.run_id:
            self._ended, self._is_end_sought = ended, may_follow
            self._show_facts()

    def _show_place(self, offset: int) -> None:
        """Show the failure before an offset, once what is before it has been loaded."""
        start, buffer = max(0, offset - LOOKED_BACK_BYTES), self.view.buffer
        gap = buffer.gap_at(start)
        if gap is not None and gap.is_kept:
            return
        start = gap.stop if gap is not None else start
        self._place = None
        data = buffer.loaded(start)[1][: offset - start]
        self.view.show_region(start + start_of_failure(data), offset)

    def _is_lacking(self, one: tuple[int, int]) -> bool:
        """Whether a range is still to be read: where it begins there is a gap, and something is kept."""
        start, stop = one
        buffer = self.view.buffer
        gap = buffer.gap_at(start)
        return start < min(stop, buffer.end) and gap is not None and gap.is_kept

    def _want(self) -> None:
        if not self.worker or self.console.config is None or self.console.shown_screen is not self:
            return
        tail = TAIL_BYTES if self.view.is_following else 0
        wish = PaneWish(self.worker, self.run_id, tail, tuple(self._ranges))
        if self._wish is None:  # what was known of it, be it by another screen, is read anew
            self.console.pane_feed.want(())
        if wish != self._wish:
            self._wish = wish
            self.console.pane_feed.want([wish])
