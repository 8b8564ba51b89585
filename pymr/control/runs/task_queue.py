"""Task queue: the tasks of a run that wait for the workers of one host, or of one peer."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator

from pymr.control.runs.run import Task


class TaskQueue:
    """Tasks in the order in which they are to be given out.

    Those that nobody has touched yet are numbers, of which `make` makes a task when its turn comes: a run of
    100,000 tasks begins at once.
    """

    def __init__(self, make: Callable[[int], Task]) -> None:
        self._make = make
        self._items: deque[Task | Iterator[int]] = deque()

    def add_untouched(self, numbers: Iterable[int]) -> None:
        """Let these wait behind all others. Not to be changed any more."""
        self._items.append(iter(numbers))

    def add(self, task: Task, *, first: bool = False) -> None:
        """Let a task wait in front of all others, or behind them."""
        (self._items.appendleft if first else self._items.append)(task)

    def pop(self) -> Task | None:
        """The next one, which is in the queue no more; None where there is none."""
        while self._items:
            head = self._items[0]
            if isinstance(head, Task):
                self._items.popleft()
                return head
            number = next(head, None)
            if number is not None:
                return self._make(number)
            self._items.popleft()
        return None
