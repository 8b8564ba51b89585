"""Keys that come faster than they are worked off: each does what it means after those before it."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from textual import events
from textual.app import App
from textual.screen import Screen
from textual.widget import Widget


class KeysInOrder(App[None]):
    """Textual hands a key to the widget that has the focus when it is read, and looks for what it does once
    the app has it back. Where a key before it has moved the focus meanwhile, as `/` does to a filter, it is
    handed on to what has the focus then."""

    def __init__(self) -> None:
        super().__init__()
        self._handed_to: WeakKeyDictionary[events.Key, Widget | Screen[Any]] = WeakKeyDictionary()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and self.screen_stack:
            self._handed_to[event] = self.focused or self.screen
        await super().on_event(event)

    def on_key(self, event: events.Key) -> None:
        before = self._handed_to.get(event)
        if before is None or not self.screen_stack:
            return
        now = self.focused or self.screen
        if now is not before:
            event.prevent_default()
            again = events.Key(event.key, event.character)
            self._handed_to[again] = now
            now._forward_event(again)
