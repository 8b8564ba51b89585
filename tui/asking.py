"""How the console reaches its cluster: the feed of what is shown, and calls of what an operator asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from textual.app import App

from pymr.client import Client
from pymr.config import ClusterConfig
from pymr.errors import PymrError
from tui.model.feed import Feed
from tui.model.state import ClusterState
from tui.options import Options

ASK_SECONDS = 10.0
"""What an operator asked for is given up when no peer has answered for this long."""

_THREADS_MAX = 4
_Result = TypeVar("_Result")


class AskingApp(App[None]):
    """An app that has a cluster, or not yet, and asks it in threads of its own."""

    def __init__(self, options: Options, config: ClusterConfig | None) -> None:
        super().__init__()
        self.options = options
        self.config = config
        self.state = ClusterState(is_read_only=options.is_read_only)
        self._feed: Feed | None = None
        self._threads = ThreadPoolExecutor(_THREADS_MAX, "pymr-tui asks")

    def make_client(self, timeout_s: float = ASK_SECONDS) -> Client:
        """A client for the thread that calls this. Raises ConfigError where there is no such key."""
        assert self.config is not None, "nothing asks before there is a cluster"
        return Client(self.config, self.options.key_name, timeout_s=timeout_s)

    async def ask(self, call: Callable[[Client], _Result]) -> _Result:
        """What `call` gives for a client of its own, in a thread. Raises PymrError as the client does."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._asked, call)

    async def try_to(self, what: str, call: Callable[[Client], _Result]) -> _Result | None:
        """The same for what changes the cluster; where it cannot be done, a toast says `what` and why."""
        if not self.state.may_change:
            self.notify(self.state.why_read_only, title=f"Cannot {what}", severity="warning", markup=False)
            return None
        try:
            result = await self.ask(call)
        except PymrError as error:
            self.notify(str(error), title=f"Cannot {what}", severity="error", timeout=10, markup=False)
            return None
        if self._feed is not None:
            self._feed.refresh()
        return result

    def _asked(self, call: Callable[[Client], _Result]) -> _Result:
        with self.make_client() as client:
            return call(client)

    def begin(self, doing: Coroutine[Any, Any, object]) -> None:
        """Do something beside what is shown; a failure of it is the console's own fault."""
        self.run_worker(doing, exit_on_error=True)
