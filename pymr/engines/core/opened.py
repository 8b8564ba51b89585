"""What connections to external engines have in common: opened as a context, and what is changed meanwhile."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import Any, Self

from pymr.base.interruption import INTERRUPTING_SIGNALS


class OpenedEngine:
    """A context: an engine at an address, or one of this machine, for None, that ends with it.

    What `_open` leaves in `_at_the_end` is closed at the end, also where opening fails.
    """

    def __init__(
        self, address: str | None, options: Mapping[str, Any], *, workers: int, directory: str
    ) -> None:
        self.is_local = address is None
        self.slots = workers
        self._address = address
        self._options = options
        self._directory = directory
        self._at_the_end = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self) -> None:
        self._at_the_end.close()


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Values in the environment of this process, and of what is started in here."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def interrupting_handlers_kept() -> Iterator[None]:
    """Some engines take a signal for themselves while they start: it has its handler again afterwards."""
    handlers = {number: signal.getsignal(number) for number in INTERRUPTING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
