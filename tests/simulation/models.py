"""Models: jobs over records that each have a number of their own, and what their outputs must hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal
from zlib import crc32

from simulation.world import ViolationError

Kind = Literal["good", "flaky", "broken", "wrong", "random"]
"""flaky: attempts fail now and then. broken: a task always fails. wrong: it fails for good at once.
random: the map function depends on chance."""

Item = tuple[int, int]
MapContent = Mapping[int, tuple[Item, ...]]
ReduceContent = tuple[tuple[int, tuple[int, ...]], ...]

SHARED_FOLDER = "/shared/input"
KEYS = 17

GROUPS = ("north", "south")
HELD_NAMES = ("held", "kept")
"""Names of jobs with `hold_state`; no others have them."""

TRANSFERS = ("upload", "upload_auxiliary", "download", "delete")


@dataclass(frozen=True)
class Habits:
    """What jobs of all types have in common: how they stand in the queue."""

    is_once: bool
    is_forced: bool
    group: str
    priority: int

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "run_once": self.is_once,
            "force_run": self.is_forced,
            "group_name": self.group or None,
            "job_priority": self.priority,
        }


def random_habits(random: Random) -> Habits:
    return Habits(
        is_once=random.random() < 0.4,
        is_forced=random.random() < 0.05,
        group=random.choice(["", "", "", *GROUPS]),
        priority=random.choice([0, 0, 1, 2]),
    )


@dataclass(frozen=True)
class StepModel:
    """A script or file_transfer job. kind: `wrong`: it names a peer that there is not."""

    number: int
    name: str
    kind: Kind
    steps: Mapping[str, Any]
    habits: Habits

    @property
    def fields(self) -> dict[str, Any]:
        return {"job_name": self.name, "model": self.number, **self.habits.fields, **self.steps}


@dataclass(frozen=True)
class JobModel:
    """A job: the records of each host, and those in the folder that all hosts share."""

    number: int
    name: str
    kind: Kind
    records: Mapping[str, tuple[int, ...]]
    shared: tuple[int, ...]
    split: int
    partitions: int | None
    adds: bool
    habits: Habits
    holds: bool = False
    engine: str = "pymr"

    @property
    def fields(self) -> dict[str, Any]:
        has_own, has_shared = bool(self.records) or self.holds, bool(self.shared) or self.holds
        folders = (["input"] if has_own else []) + ([SHARED_FOLDER] if has_shared else [])
        fields: dict[str, Any] = {
            "job_name": self.name,
            "job_type": "mapreduce",
            "input_dirs": folders,
            "hold_state": self.holds,
            "delete_job_data": not self.adds,
            "max_attempts": 3,
            "engine": self.engine,
            "model": self.number,
            **self.habits.fields,
        }
        if self.partitions is not None:
            fields["partitions"] = self.partitions
        return fields

    def all_records(self) -> list[int]:
        return sorted([*self.shared, *(record for records in self.records.values() for record in records)])

    def input_of(self, host: str, *, is_shared: bool) -> tuple[int, ...]:
        return self.shared if is_shared else self.records.get(host, ())

    def cut(self, records: Sequence[int], *, workers: int) -> list[tuple[int, ...]]:
        """The map tasks of a host. With more workers there are more of them."""
        size = max(1, min(self.split, len(records) // max(1, workers) + 1))
        return [tuple(records[start : start + size]) for start in range(0, len(records), size)]

    def map(self, records: Iterable[int], partitions: int, attempt: str) -> MapContent:
        salt = crc32(attempt.encode()) if self.kind == "random" else 0
        content: dict[int, list[Item]] = {}
        for record in records:
            key = (record * 7 + salt) % KEYS
            content.setdefault(key % partitions, []).append((key, record))
        return {partition: tuple(items) for partition, items in sorted(content.items())}


def reduce(segments: Iterable[Iterable[Item]]) -> ReduceContent:
    groups: dict[int, list[int]] = {}
    for segment in segments:
        for key, value in segment:
            groups.setdefault(key, []).append(value)
    return tuple((key, tuple(values)) for key, values in sorted(groups.items()))


def digest_of(content: object) -> str:
    return f"{crc32(repr(content).encode()):08x}"


def check_output(what: str, parts: Sequence[ReduceContent], runs: Sequence[Sequence[int]]) -> None:
    """Raise unless the parts hold each record of the runs once; no key may be in two parts of one run."""
    found = sorted(value for part in parts for _, values in part for value in values)
    expected = sorted(record for records in runs for record in records)
    if found != expected:
        lost = sorted(set(expected) - set(found))
        doubled = sorted({record for record in found if found.count(record) > expected.count(record)})
        raise ViolationError(f"{what}: lost {lost}, too many of {doubled}")
    keys = [key for part in parts for key, _ in part]
    if len(runs) == 1 and len(keys) != len(set(keys)):
        raise ViolationError(f"{what}: a key is in two parts")


def random_model(
    random: Random, number: int, name: str, hosts: Sequence[str], peers: Sequence[str]
) -> JobModel | StepModel:
    if name in HELD_NAMES:
        return _held_model(random, number, name)
    if random.random() < 0.3:
        return _step_model(random, number, name, peers)
    return _plain_model(random, number, name, hosts)


def on_engine(model: JobModel | StepModel, hosts: Sequence[str]) -> JobModel | StepModel:
    """The same job on an external engine, whose workers read what hosts share, or all of a single host."""
    if not isinstance(model, JobModel) or (model.holds and len(hosts) > 1):
        return model
    if len(hosts) == 1:
        return replace(model, engine="dask")
    return replace(model, engine="dask", records={}, shared=tuple(model.all_records()))


def _held_model(random: Random, number: int, name: str) -> JobModel:
    return JobModel(
        number,
        name,
        "good",
        records={},
        shared=(),
        split=random.choice([1, 2, 4]),
        partitions=random.choice([None, 1, 3]),
        adds=random.random() < 0.7,
        habits=replace(random_habits(random), is_once=random.random() < 0.1),
        holds=True,
    )


def _step_model(random: Random, number: int, name: str, peers: Sequence[str]) -> StepModel:
    kinds: list[Kind] = ["good", "flaky", "broken", "wrong"]
    kind = random.choices(kinds, [70, 16, 8, 6])[0]
    peer = "nobody" if kind == "wrong" else random.choice(peers)
    if random.random() < 0.5:
        places = [peer] if kind == "wrong" else [peer, "leader", "leader", "all"]
        return StepModel(
            number,
            name,
            kind,
            {"job_type": "script", "run_on": random.choice(places)},
            random_habits(random),
        )
    steps = {
        "job_type": "file_transfer",
        "transfer_type": random.choice(TRANSFERS[:-1] if kind == "wrong" else TRANSFERS),
        "local_peer": peer,
        "delete_files": random.random() < 0.5,
    }
    return StepModel(number, name, kind, steps, random_habits(random))


def _plain_model(random: Random, number: int, name: str, hosts: Sequence[str]) -> JobModel:
    kinds: list[Kind] = ["good", "flaky", "broken", "wrong", "random"]
    kind = random.choices(kinds, [66, 16, 3, 3, 12])[0]
    first = number * 10_000
    records: dict[str, tuple[int, ...]] = {}
    has_shared = random.random() < 0.45
    if not has_shared or random.random() < 0.5:
        for host in hosts:
            count = random.choice([0, 0, 1, 3, 6, 12, 20])
            records[host] = tuple(range(first, first + count))
            first += count
    shared = tuple(range(first, first + random.choice([1, 4, 10, 16]))) if has_shared else ()
    return JobModel(
        number,
        name,
        kind,
        records,
        shared,
        split=random.choice([1, 2, 4]),
        partitions=random.choice([None, 1, 2, 3, 6]),
        adds=random.random() < 0.2,
        habits=random_habits(random),
    )
