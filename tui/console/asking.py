"""How the console reaches its cluster: the feed of what is shown, and calls of what an operator asks for."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar, cast

from textual import actions
from textual.actions import ActionParseResult
from textual.dom import DOMNode

from pymr.base.errors import PymrError
from pymr.client import Client, ClientError, RefusedError
from pymr.config.cluster import ClusterConfig
from tui.console.notices import NoticingApp
from tui.model.fault_log import log_fault
from tui.model.feed import Feed
from tui.model.state import ClusterState
from tui.settings.options import Options

ASK_SECONDS = 10.0
"""What an operator asked for is given up when no peer has answered for this long."""

_QUESTIONS_MAX = 4
"""Of those that are under way at once; more of them wait."""

_Result = TypeVar("_Result")


class AskingApp(NoticingApp):
    """An app that has a cluster, or not yet, and asks it in threads of its own."""

    def __init__(self, options: Options, config: ClusterConfig | None) -> None:
        super().__init__()
        self.options = options
        self.config = config
        self.state = ClusterState(is_read_only=options.is_read_only)
        self._feed: Feed | None = None
        self._questions = asyncio.Semaphore(_QUESTIONS_MAX)
        self._refused = "", 0.0  # why a key was refused last, and when, by time.monotonic()

    def make_client(self, timeout_s: float = ASK_SECONDS) -> Client:
        """A client for the thread that calls this. Raises ConfigError where there is no such key."""
        assert self.config is not None, "nothing asks before there is a cluster"
        return Client(self.config, self.options.key_name, timeout_s=timeout_s)

    async def ask(self, call: Callable[[Client], _Result]) -> _Result:
        """What `call` gives for a client of its own, in a thread. Raises PymrError as the client does, and
        for whatever else goes wrong, also the end of the console, which the thread does not hold up."""
        async with self._questions:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[_Result] = loop.create_future()

            def tell(result: _Result | None, error: PymrError | None) -> None:
                if answer.done():  # nobody waits for it any more
                    return
                if error is not None:
                    answer.set_exception(error)
                else:
                    answer.set_result(cast(_Result, result))

            def run() -> None:
                result, error = self._asked(call)
                with suppress(RuntimeError):  # the console has ended meanwhile
                    loop.call_soon_threadsafe(tell, result, error)

            threading.Thread(target=run, name="pymr-tui asks", daemon=True).start()
            result = await answer
        if not self.screen_stack:
            raise ClientError("the console has ended meanwhile")
        return result

    async def try_to(
        self,
        what: str,
        call: Callable[[Client], _Result],
        if_refused: Callable[[RefusedError], object] = lambda _: None,
    ) -> _Result | None:
        """The same for what changes the cluster; where it cannot be done, a toast says `what` and why."""
        if not self.state.may_change:
            self.notify(self.state.why_read_only, title=f"Cannot {what}", severity="warning", markup=False)
            return None
        try:
            result = await self.ask(call)
        except PymrError as error:
            if isinstance(error, RefusedError):
                if_refused(error)
            self.notify(str(error), title=f"Cannot {what}", severity="error", timeout=10, markup=False)
            return None
        if self._feed is not None:
            self._feed.refresh()
        return result

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """The one place where a key, or a click on one, is refused to those who may only look."""
        namespace, name, _ = actions.parse(action) if isinstance(action, str) else action
        target: object = default_namespace or self
        if namespace in ("app", "screen"):
            target = getattr(self, namespace)
        if name in getattr(target, "CHANGES", ()) and not self.state.may_change:
            self._refuse(self.state.why_read_only)
            return True
        return await super().run_action(action, default_namespace, namespaces)

    def _refuse(self, why: str) -> None:
        """Tell why a key does nothing; not again while that is still to be read."""
        told, told_at = self._refused
        if why != told or time.monotonic() - told_at > self.NOTIFICATION_TIMEOUT:
            self._refused = why, time.monotonic()
            self.notify(why, title="Read only", severity="warning", markup=False)

    def show_at_once(self, change: Callable[[ClusterState], ClusterState]) -> None:
        """Show what was just changed in the cluster before a peer tells of it."""
        self.state = change(self.state) if self._feed is None else self._feed.change(change)

    def _asked(self, call: Callable[[Client], _Result]) -> tuple[_Result | None, PymrError | None]:
        """What came of it, or why nothing did."""
        try:
            with self.make_client() as client:
                return call(client), None
        except PymrError as error:
            return None, error
        except OSError as error:  # of a project that cannot be read, a file that cannot be written
            return None, ClientError(str(error))
        except Exception as error:  # the top of a thread: a fault of the console's, that must not end it
            path = log_fault("a question failed", error)
            return None, ClientError(f"the console has a fault: {error!r}; {path} tells more")

    def begin(self, doing: Coroutine[Any, Any, object]) -> None:
        """Do something beside what is shown; a failure of it is the console's own fault."""
        self.run_worker(doing, exit_on_error=True)
