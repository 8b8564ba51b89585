"""Typing into the worker whose pane is shown: one console at a time, every key in its order."""

from __future__ import annotations

from textual import events, work

from tui.model.pane.keys import AttachedKeys, bytes_of_paste
from tui.model.pane.typist import WAITING_BYTES_MAX, Typist, holder_name
from tui.screens.attach_search import SearchingScreen
from tui.widgets.pane.header import PaneNotice

HOW_TO_LEAVE = "Every key goes to {worker}. Ctrl-a d, or Ctrl-], gives the keyboard back."
STUCK = "{worker} {why}. Keys wait; Ctrl-a d gives the keyboard back."


class TypingScreen(SearchingScreen):
    """What of the attach screen types. is_live: the pane is that of a run whose worker can be typed into."""

    CHANGES = frozenset({"type"})

    def __init__(self) -> None:
        super().__init__()
        self.idle_key = ""  # pressed at a breakpoint, where it does nothing
        self.holder = holder_name()
        self.trouble = ""
        self.is_refused = False  # the keyboard was asked for, and why_not_typing said no
        self.stuck = ""  # why what was typed waits, for longer than somebody who types expects it
        self._typist: Typist | None = None
        self._keys = AttachedKeys()

    @property
    def is_answerable(self) -> bool:
        """Whether the worker is at a breakpoint and waits for input."""
        raise NotImplementedError

    @property
    def why_not_typing(self) -> str:
        """Why this worker cannot be typed into; "" where it can."""
        raise NotImplementedError

    def show_notice(self) -> None:
        """Show what matters just now."""
        raise NotImplementedError

    @property
    def notice(self) -> PaneNotice:
        return self.query_one(PaneNotice)

    @property
    def is_typing(self) -> bool:
        return self._typist is not None

    def action_type(self) -> None:
        """Hold the keyboard of the worker, and pass every key on, until Ctrl-a d."""
        if self.is_typing:
            return
        self.trouble = self.idle_key = ""
        self.is_refused = bool(self.why_not_typing)
        if self.is_refused:
            self.show_notice()
            return
        self._keys = AttachedKeys()
        self.stuck = ""
        self._typist = typist = Typist(
            self.console.ask,
            self.worker,
            self.holder,
            self.view.terminal_size,
            lambda why: self._note_stuck(typist, why),
        )
        self._type(typist)
        self.view.follow()
        self.view.focus()

    def stop_typing(self, why: str = "") -> None:
        """Give the keyboard back. why: that it has to be; "" where somebody wants to, and then what was typed
        before is sent first, if the worker takes it."""
        typist, self._typist = self._typist, None
        if typist is not None:
            if why:
                typist.drop()
            else:
                typist.close()
            self._take_keys(False)
            self.trouble = why
            self.show_notice()

    def _take_keys(self, takes_keys: bool) -> None:
        self.takes_keys = takes_keys
        self.view.show_cursor(takes_keys)
        self.refresh_bindings()

    def on_resize(self) -> None:
        self.call_after_refresh(self._tell_size)

    def _tell_size(self) -> None:
        if self._typist is not None:
            self._typist.resize(*self.view.terminal_size)

    def on_key(self, event: events.Key) -> None:
        if self._typist is None:
            bound = self.active_bindings.get(event.key)
            if not self.acts_on(event.key, bound.binding.action if bound else ""):
                event.stop()  # the bindings are looked at last, by the app
                self.idle_key = (event.character or event.key).strip() or "space"
                self.show_notice()
            return
        event.stop()
        event.prevent_default()
        data = self._keys.take(event.key, event.character)
        if data:
            self._send(data)
        if self._keys.is_detached:
            self.stop_typing()

    def on_paste(self, event: events.Paste) -> None:
        if self._typist is not None:
            event.stop()
            data = bytes_of_paste(event.text)
            if len(data) > WAITING_BYTES_MAX:
                self._tell(
                    f"Nothing of it was sent: a paste of {len(data):,} bytes; at most {WAITING_BYTES_MAX:,} "
                    "can be typed at once"
                )
            elif data:
                self._send(data)

    def _send(self, data: bytes) -> None:
        assert self._typist is not None
        if self._typist.type(data):
            self._tell("")
        else:
            self._tell(f"{self.worker} does not keep up: {len(data):,} bytes were not sent")

    def _tell(self, trouble: str) -> None:
        """trouble: with what was typed last; "" for none."""
        if trouble != self.trouble:
            self.trouble = trouble
            self.show_notice()

    def _note_stuck(self, typist: Typist, why: str) -> None:
        if self._typist is typist:
            self.stuck = why
            self.show_notice()

    @work(group="typing")
    async def _type(self, typist: Typist) -> None:
        why = await typist.run(self._held)
        if self._typist is typist:
            self._typist = None
            self._take_keys(False)
            self.trouble = why
            self.show_notice()
        elif why:  # the keyboard was given back before
            self.notify(why, severity="warning", markup=False)

    def _held(self) -> None:
        if self._typist is not None:
            self.trouble = ""
            self._take_keys(True)
            self.show_notice()
