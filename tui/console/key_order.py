"""Keys that come faster than they are worked off: each does what it means after those before it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.message import Message

HELD_MAX = 100_000
"""So many keys and pastes wait at most; nobody types more than that ahead."""

_LOST_SECONDS = 60.0
"""A key whose end is not told of within this is taken for done, though what had it is there: no machine is so
slow that a key may overtake another before."""

_LOOK_SECONDS = 0.1
"""So often it is looked whether what has the key is still there."""


class WorkedOff(Message, bubble=True):
    """Follows a key on its way from the widget that it was given to up to the app, and so comes there when
    all that the key does has been done. turn: of which key."""

    def __init__(self, turn: int) -> None:
        super().__init__()
        self.turn = turn


class KeysInOrder(App[None]):
    """Textual gives a key to the widget that has the focus when it is read, though a key before it, as `/`
    does with a filter, may be about to move the focus. Here one key is under way at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[events.Key | events.Paste] = deque()
        self._turn = 0
        self._done_turn = 0
        self._look: asyncio.TimerHandle | None = None

    async def on_event(self, event: events.Event) -> None:
        if not isinstance(event, events.Key | events.Paste) or event.is_forwarded or not self.screen_stack:
            await super().on_event(event)
        elif len(self._held) < HELD_MAX:
            self._held.append(event)
            await self._give_next()

    async def on_worked_off(self, message: WorkedOff) -> None:
        message.stop()
        if message.turn == self._turn:
            self._done_turn = message.turn
            await self._give_next()

    async def _give_next(self) -> None:
        """Give the next key to what has the focus, unless one is under way."""
        while self._held and self._done_turn == self._turn and self.screen_stack:
            self._turn += 1
            self._leave_removed_focus()
            taker = self.focused or self.screen
            way = [node for node in taker.ancestors_with_self if node is not self]
            await super().on_event(self._held.popleft())
            self._send_behind(way, asyncio.get_running_loop().time() + _LOST_SECONDS)

    def _send_behind(self, way: Sequence[DOMNode], ends: float) -> None:
        """Send WorkedOff behind the key that is under way, from the first on its way that is still there.
        What has gone has lost it, with all that was to come for it. ends: when the key is taken for done."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        for place, node in enumerate(way):
            if node.is_running and node.post_message(WorkedOff(self._turn)):
                self._look_later(way[place:], ends)
                return
        self.post_message(WorkedOff(self._turn))

    def _look_later(self, way: Sequence[DOMNode], ends: float) -> None:
        self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look_after_key, way, ends)

    def _look_after_key(self, way: Sequence[DOMNode], ends: float) -> None:
        if self._done_turn == self._turn:
            return
        if asyncio.get_running_loop().time() > ends:
            self._send_behind((), ends)
        elif way[0].is_running:
            self._look_later(way, ends)
        else:
            self._send_behind(way[1:], ends)

    def _leave_removed_focus(self) -> None:
        """A widget that is gone takes no key. Textual moves the focus on when one is removed, but may give it
        the focus after its removal has begun."""
        focused = self.focused
        if focused is not None and not focused.is_attached:
            chain = self.screen.focus_chain
            self.screen.set_focus(chain[0] if chain else None)
