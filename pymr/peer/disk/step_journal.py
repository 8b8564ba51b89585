"""The journal of a step: which files it has finished, so that a later attempt need not do them again.

Lies in the run's folder beside those of the attempts, and goes with it. Lines `LIST FIRST LAST`: the entries
FIRST to LAST of that piece of a list. A line is written when the files are on the disk under their names.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Set
from types import TracebackType

from pymr.base.errors import RetryableError
from pymr.base.file_locks import lock_within

LOCK_SECONDS = 30.0
"""How long to wait for an earlier attempt at the same step, whose worker is being ended."""

_POLL_SECONDS = 0.05
_NONE: frozenset[int] = frozenset()


class Journal:
    """Of one step of a run, open; only one process has it at a time. Raises OSError, RetryableError.

    of: what it is about. A journal about something else is begun anew.
    """

    def __init__(self, path: str, of: str, tick: Callable[[], object] = lambda: None) -> None:
        self._done: dict[str, set[int]] = {}
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115  (closed by `close`)
        try:
            lock_file(self._file.fileno(), path, tick, LOCK_SECONDS)
            self._read(of.replace("\n", " "))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def done(self, piece: str) -> Set[int]:
        """The numbers of the entries of a piece that are finished."""
        return self._done.get(piece, _NONE)

    def add(self, piece: str, numbers: Iterable[int]) -> None:
        """Note entries of a piece as finished."""
        lines = [f"{piece} {first} {last}\n" for first, last in _runs(sorted(numbers))]
        self._file.write("".join(lines).encode())

    def close(self) -> None:
        self._file.close()

    def _read(self, of: str) -> None:
        self._file.seek(0)
        text = self._file.read()
        whole = text[: text.rfind(b"\n") + 1]  # an end without a line end was being written
        heading, *lines = whole.decode("ascii", "replace").splitlines() or [""]
        done = _parse(lines) if heading == of else None
        if done is None:
            self._file.truncate(0)
            self._file.write(f"{of}\n".encode())
        else:
            self._file.truncate(len(whole))
            self._done = done


def _parse(lines: list[str]) -> dict[str, set[int]] | None:
    """None for what is no journal, as it may be after the machine has lost power."""
    done: dict[str, set[int]] = {}
    try:
        for line in lines:
            piece, first, last = line.split()
            done.setdefault(piece, set()).update(range(int(first), int(last) + 1))
    except ValueError:
        return None
    return done


def lock_file(
    descriptor: int, path: str, tick: Callable[[], object] = lambda: None, seconds: float = LOCK_SECONDS
) -> None:
    """Wait until no other process has the file locked, and lock it. Raises RetryableError after `seconds`."""
    try:
        lock_within(descriptor, time.monotonic() + seconds, look_s=_POLL_SECONDS, on_look=tick)
    except BlockingIOError as error:
        reason = f"another attempt at this step has not ended yet: it holds {path}"
        raise RetryableError(reason) from error


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Neighbouring numbers put together, as (first, last)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs
