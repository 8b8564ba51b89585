"""A typist: holds the keyboard of a worker and types into it, in the order in which the keys were pressed."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from pymr.base.errors import PymrError
from pymr.client import Client, RefusedError
from pymr.wire.requests import ATTACH_SECONDS

RENEW_SECONDS = ATTACH_SECONDS * 0.3

SLOW_SECONDS = 1.0
"""An answer that takes longer is reported: the user sees no echo meanwhile."""

WAITING_BYTES_MAX = 1 << 20
"""What has not been sent yet, and the longest paste."""

PIECE_BYTES = 16 << 10
"""Sent at once. A peer takes it whole, or nothing of it while the worker has not read what came before."""

FULL_SECONDS = 0.25
"""A worker that takes nothing is tried again after this."""

NO_ANSWER, NOT_READ = "does not answer", "has not read all that was typed"
"""Why what is typed waits."""

Ask = Callable[[Callable[[Client], Any]], Awaitable[Any]]


def holder_name() -> str:
    """Who holds a keyboard here: for people, and unique to this console."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # a user id without a name, as containers have them
        user = f"uid{os.getuid()}"
    return f"{user}@{os.uname().nodename}:{os.getpid()}"


def holder_words(holder: str) -> str:
    """The same for people only."""
    name, colon, number = holder.rpartition(":")
    return name if colon and number.isdecimal() else holder


class Typist:
    """One at a time for a console. ask: runs a call with a client elsewhere, as app.ask does. on_stuck: told
    why what is typed waits, NO_ANSWER or NOT_READ, and "" when it does no longer.

    `run` holds the keyboard, asking again every RENEW_SECONDS, sends what `type` was given, and lets go.
    """

    def __init__(
        self,
        ask: Ask,
        worker: str,
        holder: str,
        size: tuple[int, int] = (0, 0),
        on_stuck: Callable[[str], object] = lambda _: None,
    ) -> None:
        self.worker = worker
        self._do_ask = ask
        self._on_stuck = on_stuck
        self._stuck = ""
        self._holder = holder
        self._size = size
        self._is_resized = False
        self._waiting = bytearray()
        self._wake = asyncio.Event()
        self._is_closed = False

    def type(self, data: bytes) -> bool:
        """Send this after what was typed before. False, and nothing of it is sent, where too much waits."""
        if self._is_closed or len(self._waiting) + len(data) > WAITING_BYTES_MAX:
            return False
        self._waiting += data
        self._wake.set()
        return True

    def resize(self, columns: int, rows: int) -> None:
        """The terminal of the worker is to have another size."""
        if (columns, rows) != self._size:
            self._size, self._is_resized = (columns, rows), True
            self._wake.set()

    def close(self) -> None:
        """Send what is waiting, as far as the worker takes it at once, and end `run`."""
        self._is_closed = True
        self._wake.set()

    def drop(self) -> None:
        """Forget what is waiting, and end `run`: the worker is not the one any more that was typed into."""
        self._waiting.clear()
        self.close()

    async def run(self, on_held: Callable[[], object]) -> str:
        """Hold the keyboard until `close`; how it ended otherwise, for people. on_held: it is held now."""
        try:
            await self._attach(*self._size)
        except RefusedError as error:
            return str(error)
        except PymrError as error:
            return f"{self.worker} cannot be typed into: {error}"
        on_held()
        try:
            while self._waiting or not self._is_closed:
                if self._waiting:
                    await self._send()
                elif self._is_resized:
                    self._is_resized = False
                    await self._attach(*self._size)
                elif not await self._is_woken(RENEW_SECONDS):
                    await self._attach()
        except PymrError as error:
            what = "were not sent" if isinstance(error, RefusedError) else "may not have arrived"
            lost = f"; {len(self._waiting):,} bytes {what}" if self._waiting else ""
            return f"typing into {self.worker} has ended: {error}{lost}"
        finally:
            self._is_closed = True
            # It is released automatically after ATTACH_SECONDS; a console that is closing can ask no more.
            with suppress(PymrError, RuntimeError):
                await self._ask(lambda client: client.detach(self.worker, self._holder))
        return ""

    async def _attach(self, columns: int = 0, rows: int = 0) -> None:
        """Hold the keyboard, or go on holding it; 0 leaves the terminal the size it has."""
        await self._ask(lambda client: client.attach(self.worker, self._holder, columns, rows))

    async def _send(self) -> None:
        """Send a piece. Where the worker takes nothing, wait a moment; one that is closed ends with that."""
        piece = bytes(self._waiting[:PIECE_BYTES])
        try:
            await self._ask(lambda client: client.type_into(self.worker, self._holder, piece))
        except RefusedError as error:
            if error.code != "unavailable" or self._is_closed:
                raise
            self._tell_stuck(NOT_READ)
            await self._is_woken(FULL_SECONDS)
            return
        del self._waiting[: len(piece)]
        if not self._waiting:
            self._tell_stuck("")

    async def _is_woken(self, seconds: float) -> bool:
        """Wait for the next `type` or `close`. False on a timeout."""
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def _ask(self, call: Callable[[Client], Any]) -> None:
        """Ask, and tell where the answer takes long."""
        before = self._stuck
        timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, self._tell_stuck, NO_ANSWER)
        try:
            await self._do_ask(call)
        finally:
            timer.cancel()
            self._tell_stuck(before)

    def _tell_stuck(self, why: str) -> None:
        if why != self._stuck:
            self._stuck = why
            self._on_stuck(why)
