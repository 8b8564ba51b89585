"""A typist: holds the keyboard of a worker and types into it, in the order in which the keys were pressed."""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from pymr.client import Client, RefusedError
from pymr.errors import PymrError
from pymr.requests import ATTACH_SECONDS, TYPED_BYTES_MAX

RENEW_SECONDS = ATTACH_SECONDS * 0.3

SLOW_SECONDS = 1.0
"""An answer that takes longer is told of: whoever types sees nothing of it."""

WAITING_BYTES_MAX = TYPED_BYTES_MAX
"""What has not been sent yet, and the longest paste: a peer keeps no more for a worker that does not read."""

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
    """One at a time for a console. ask: runs a call with a client elsewhere, as app.ask does. on_slow: told
    that an answer takes more than SLOW_SECONDS (True), and that it has come (False).

    `run` holds the keyboard, asking again every RENEW_SECONDS, sends what `type` was given, and lets go.
    """

    def __init__(
        self,
        ask: Ask,
        worker: str,
        holder: str,
        size: tuple[int, int] = (0, 0),
        on_slow: Callable[[bool], object] = lambda _: None,
    ) -> None:
        self.worker = worker
        self._do_ask = ask
        self._on_slow = on_slow
        self._holder = holder
        self._size = size
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

    def close(self) -> None:
        """Send what is waiting, and end `run`."""
        self._is_closed = True
        self._wake.set()

    async def run(self, on_held: Callable[[], object]) -> str:
        """Hold the keyboard until `close`; how it ended otherwise, for people. on_held: it is held now."""
        try:
            columns, rows = self._size
            await self._ask(lambda client: client.attach(self.worker, self._holder, columns, rows))
        except RefusedError as error:
            return str(error)
        except PymrError as error:
            return f"{self.worker} cannot be typed into: {error}"
        on_held()
        try:
            while not self._is_closed or self._waiting:
                await self._send_or_renew()
        except PymrError as error:
            self._is_closed = True
            lost = f"; {len(self._waiting)} bytes were not sent" if self._waiting else ""
            return f"typing into {self.worker} has ended: {error}{lost}"
        finally:
            self._is_closed = True
            # It is let go of by itself after ATTACH_SECONDS; a console that is closing can ask no more.
            with suppress(PymrError, RuntimeError):
                await self._ask(lambda client: client.detach(self.worker, self._holder))
        return ""

    async def _ask(self, call: Callable[[Client], Any]) -> None:
        """Ask, and tell where the answer takes long."""
        is_slow = False

        def note() -> None:
            nonlocal is_slow
            is_slow = True
            self._on_slow(True)

        timer = asyncio.get_running_loop().call_later(SLOW_SECONDS, note)
        try:
            await self._do_ask(call)
        finally:
            timer.cancel()
            if is_slow:
                self._on_slow(False)

    async def _send_or_renew(self) -> None:
        if not self._waiting:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), RENEW_SECONDS)
            except TimeoutError:
                await self._ask(lambda client: client.attach(self.worker, self._holder))
        if self._waiting:
            data = bytes(self._waiting)
            await self._ask(lambda client: client.type_into(self.worker, self._holder, data))
            del self._waiting[: len(data)]
