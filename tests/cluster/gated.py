"""A word count that a test can hold in any phase, and that writes down which attempts were made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_COMMON = '''
import os, time

FOLDER = {folder!r}
_noted = set()

def note(what):
    """Write down once that this attempt does so."""
    attempt = os.environ.get("PYMR_ATTEMPT")
    if attempt and (what, attempt) not in _noted:
        _noted.add((what, attempt))
        run = os.environ["PYMR_RUN"]
        line = f"{{run}} {{what}} {{attempt}} {{time.monotonic()}}\\n".encode()
        descriptor = os.open(FOLDER + "/notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line)
        os.close(descriptor)

def hold(gate):
    while os.path.exists(FOLDER + "/" + gate):
        note("held-" + gate)
        time.sleep(0.01)
'''
_MAP = (
    _COMMON
    + """
def words(line, auxiliary_data):
    note("map")
    if "HOLD" in line:
        hold("map")
    return [(word, 1) for word in line.split()]
"""
)
_REDUCE = (
    _COMMON
    + """
def total(group, auxiliary_data):
    note("reduce")
    hold("reduce")
    return [(group.key, sum(group.values))]
"""
)


class Gates:
    """The gates of a word count, as files in `folder`: `map` (of lines with HOLD), `sort` (before a reduce
    task merges anything; for daemons with `faults` in their environment) and `reduce` (each group)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    @property
    def faults(self) -> dict[str, str]:
        """The environment in which the gate `sort` works, and loops can be made to hang."""
        sort, hang = self.folder / "sort", self.folder / "hang-%p"
        return {"PYMR_FAULTS": f"reduce.begin:hold={sort},peer.tick:hold={hang}"}

    @contextmanager
    def hanging(self, pid: int) -> Iterator[None]:
        """While in here, the loop of that daemon hangs; its other threads go on."""
        with self.closed(f"hang-{pid}"):
            yield

    @property
    def map_source(self) -> str:
        return _MAP.format(folder=str(self.folder))

    @property
    def reduce_source(self) -> str:
        return _REDUCE.format(folder=str(self.folder))

    def close(self, gate: str) -> None:
        (self.folder / gate).touch()

    def open(self, gate: str) -> None:
        (self.folder / gate).unlink(missing_ok=True)

    def open_all(self) -> None:
        for gate in ("map", "sort", "reduce"):
            self.open(gate)

    @contextmanager
    def closed(self, *gates: str) -> Iterator[None]:
        for gate in gates:
            self.close(gate)
        try:
            yield
        finally:
            for gate in gates:
                self.open(gate)

    def notes(self, job_name: str = "job") -> list[tuple[str, str, str, float]]:
        """(what, task, attempt, when) of the runs of a job, in the order in which they were written."""
        path = self.folder / "notes"
        found = []
        for line in path.read_text().splitlines() if path.exists() else []:
            run_id, what, folder, when = line.split()
            task, _, attempt = folder.rpartition("-")
            if run_id.rpartition("-")[0] == job_name:
                found.append((what, task, attempt, float(when)))
        return found

    def attempts(self, what: str, job_name: str = "job") -> dict[str, list[str]]:
        """The attempts at each task that have done so."""
        found: dict[str, list[str]] = {}
        for noted, task, attempt, _ in self.notes(job_name):
            if noted == what:
                found.setdefault(task, []).append(attempt)
        return found

    def forget(self) -> None:
        """Begin anew to write down what is done."""
        (self.folder / "notes").unlink(missing_ok=True)
