"""What peers say to each other: a Report from a peer to its leader, Orders from the leader to a peer.

Both are whole pictures, numbered and repeated: one that is lost, doubled or late changes nothing. See
docs/protocol.md. Consoles speak `pymr.wire.requests`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from pymr.wire.outcomes import DRIVER, AttemptId, EarlierFailure, EnginePhase, Outcome
from pymr.wire.output_shares import OutputRead
from pymr.wire.run_warnings import RunWarnings

PROTOCOL_VERSION = 1

REPORT_SECONDS = 0.5
"""A peer reports this often, and at once when something has changed. Lower: more load on the leader."""

SUSPECT_SECONDS = 2.0
"""A peer not heard for this long gets no new work."""

DEAD_SECONDS = 5.0
"""A peer not heard for this long counts as gone: what it was doing is given to others."""

ERROR_CHARACTERS_MAX = 16_384
"""Longest text of an error that travels; what is longer is cut in its middle."""

FIRST_LINE_CHARACTERS_MAX = 2_000
"""Longest piece of an error that a listing shows."""

RESULTS_MAX = 64
RESULT_CHARACTERS_MAX = 200_000
"""Most results in one report, and of their texts (but for the first one), so that it fits into a frame. The
others follow as soon as these are acknowledged."""

HOLDER_CHARACTERS_MAX = 200
"""Longest name of who has a keyboard that is told; of a longer one the beginning."""

INVENTORY_MAX = 4_000
"""Most finished attempts that one report tells of; of the others, the next ones do."""

LOST_MAX = 1_000
"""Most lost outputs of a run that one report tells of; of the others, later ones do."""

SOURCES_MAX = 2_000
"""Most map outputs announced in one message. The others follow as soon as these were seen."""

STEPS = ("script", "list", "spread", "copy", "delete")
"""What runs of script and file_transfer jobs consist of, one after another, each on one peer or more."""

WorkerState = Literal[
    "idle", "starting", "map", "shuffle", "sort", "reduce", "breakpoint",
    "script", "list", "spread", "copy", "delete",
]  # fmt: skip


# Those that come in great numbers are kept from the garbage collector: they form no cycles, and a leader of
# 1,000 peers would spend more time on having them looked at than on its decisions.


class MachineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How a machine stands. Percent of all its cores; bytes; bytes per second; load over one minute.

    disk_problem: what keeps the peer from writing, with the path, such as "disk full: /data"; "" if nothing.
    """

    cpu_percent: float = 0.0
    memory_bytes: int = 0
    memory_used_bytes: int = 0
    disk_bytes: int = 0
    disk_free_bytes: int = 0
    network_received_per_second: float = 0.0
    network_sent_per_second: float = 0.0
    load: float = 0.0
    disk_problem: str = ""


class RunningAttempt(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An attempt that a peer has. done: (records, bytes) in map, (groups, values) in reduce, and in a step
    (files, bytes). phase: of a driver, how far its engine is."""

    id: AttemptId
    slot: int
    state: WorkerState
    done: tuple[int, int]
    phase: EnginePhase | None = None


class WorkerReport(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A worker slot. pid: 0 where it has no process. run_id: of its process or its pane; "" for none.
    holder: who has its keyboard; "" for nobody."""

    slot: int
    pid: int
    state: WorkerState
    run_id: str
    task: str
    done: tuple[int, int]
    holder: str = ""


class AttemptResult(msgspec.Struct, frozen=True):
    """How an attempt ended; repeated until the leader has acknowledged it. pane_offset: of one that failed in
    a worker, how long its output was when the failure stood in it; None where no worker had a part in it."""

    id: AttemptId
    outcome: Outcome
    slot: int = 0
    pane_offset: int | None = None


class AbsentInput(msgspec.Struct, frozen=True, array_like=True):
    """An entry of input_dirs that a peer does not have. place: where it would lie, for a person."""

    name: str
    peer: str
    place: str


class PlanReport(msgspec.Struct, frozen=True):
    """What a peer found as the input of a run on its host. error: why it could not be read; "" if it could.
    is_of_disk: as the disk of the plan is full or read-only, which is waited for without limit.

    shared: which of the two kinds of plan it is, turn: what it answers; see PlanOrder.
    absent: relative entries of input_dirs that a peer of the host does not have. warnings: about the input.
    outputs: of jobs, that are read with it, as the peers of the host have them.
    """

    run_id: str
    tasks: int
    bytes: int
    files: int
    error: str = ""
    is_final: bool = True
    shared: bool = False
    turn: tuple[int, int] = (0, 0)
    absent: tuple[AbsentInput, ...] = ()
    warnings: RunWarnings = RunWarnings()
    is_of_disk: bool = False
    outputs: tuple[OutputRead, ...] = ()


class ShuffleReport(msgspec.Struct, frozen=True):
    """How far the fetching of a run's segments is. sources: how many announced map outputs the peer knows.

    total: segments known to be fetched from other hosts. lost: outputs their owner no longer has, LOST_MAX
    of them at most.
    partitions: those that are reduced here, with how many bytes of each are here, also in segments of this
    host; () of a run with more than `requests.PARTITIONS_SHOWN_MAX`.
    trouble: why segments do not come, which are tried again and again; "" if nothing is in the way.
    """

    run_id: str
    sources: int
    fetched: int
    total: int
    fetched_bytes: int
    lost: tuple[AttemptId, ...] = ()
    partitions: tuple[tuple[int, int], ...] = ()
    trouble: str = ""


class PublishReport(msgspec.Struct, frozen=True):
    """The data folder of `peer` (the reporting one, or one of its host that is dead) shows a run's output.
    error: why it does not; is_of_disk: its disk is full or read-only, which is waited for without limit."""

    run_id: str
    peer: str
    error: str = ""
    is_final: bool = False
    is_of_disk: bool = False


class HeldRun(msgspec.Struct, frozen=True):
    """Finished attempts that lie on the disk of a peer, with the digest of their content."""

    run_id: str
    attempts: tuple[tuple[str, str, str], ...]  # (task, attempt, digest)


class Report(msgspec.Struct, frozen=True, kw_only=True, tag="report"):
    """A peer's whole picture of itself.

    boot: rises with every start of this peer. sequence: rises with every report of a boot.
    epoch: the highest the peer has seen. running: every attempt it was given and has not yet ended;
    running_version changes whenever the set of them does. inventory: None unless orders asked for it; of what
    lay there when its beginning was asked for, from the `inventory_from`-th on. orders: the sequence of the
    last orders it has followed. has_more_results: than are told of here.
    """

    incarnation: str
    epoch: int
    peer: str
    boot: int
    sequence: int
    version: str
    pid: int
    slots: int
    orders: int = 0
    is_draining: bool = False
    machine: MachineFigures = MachineFigures()
    running_version: int = 0
    running: tuple[RunningAttempt, ...] = ()
    workers: tuple[WorkerReport, ...] = ()
    results: tuple[AttemptResult, ...] = ()
    has_more_results: bool = False
    plans: tuple[PlanReport, ...] = ()
    shuffles: tuple[ShuffleReport, ...] = ()
    published: tuple[PublishReport, ...] = ()
    inventory: tuple[HeldRun, ...] | None = None
    inventory_from: int = 0
    has_more_inventory: bool = False


class RunOrder(msgspec.Struct, frozen=True, kw_only=True):
    """A run that is alive, as every peer knows it.

    fields: the job, as `pymr.jobs.job.parse_job` takes it. project_hash: its package in Redis.
    partitions: their number. homes: the partitions that are reduced on this peer.
    """

    run_id: str
    job_name: str
    fields: dict[str, object]
    project_hash: str
    partitions: int
    homes: tuple[int, ...] = ()


class PlanOrder(msgspec.Struct, frozen=True):
    """List the input of a run on this host, and cut it into map tasks.

    workers: those that will read it. shared: the folders that all hosts share, and only these; false: all
    others. A peer may get both. consumed: of a job with `hold_state`, the run whose list of consumed files
    counts; "" for none. consumed_peer: in whose data folder on this host that list lies; "" where none of
    this host planned that run.
    turn: (epoch, number); the higher one is asked for later, and only what answers the last one is taken.
    is_anew: as the input of the run before had changed while it was read.
    """

    run_id: str
    workers: int
    shared: bool
    consumed: str = ""
    consumed_peer: str = ""
    turn: tuple[int, int] = (0, 0)
    is_anew: bool = False


class StepInput(msgspec.Struct, frozen=True, array_like=True):
    """A committed attempt at an earlier step of the run, in whose folder lies what a later one reads."""

    task: str
    attempt: str
    peer: str


class Assignment(msgspec.Struct, frozen=True):
    """Do this task in this worker slot.

    plan_peer, plan_index: for a map task, whose plan it is in and where there (from 0). plan_shared: which of
    that peer's plans. inputs: for a step, all committed attempts at the steps before it, in their order.
    earlier: for a task that has failed before. plans: for a driver, (peer, shared) of every plan of the run,
    in the order of its map tasks.
    """

    id: AttemptId
    slot: int
    plan_peer: str = ""
    plan_index: int = 0
    plan_shared: bool = False
    inputs: tuple[StepInput, ...] = ()
    earlier: EarlierFailure | None = None
    plans: tuple[tuple[str, bool], ...] = ()


class Source(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A committed map output: which map task, which attempt, in whose data folder it lies."""

    task: int
    attempt: str
    peer: str

    def id_in(self, run_id: str) -> AttemptId:
        """The attempt of that run which it stands for."""
        return AttemptId(run_id, map_task(self.task), self.attempt)


class SourcesOrder(msgspec.Struct, frozen=True):
    """Map outputs committed in a run, from the `start`-th announcement on. total: of map tasks.

    A task announced again replaces what was announced of it before.
    """

    run_id: str
    start: int
    sources: tuple[Source, ...]
    total: int


class Counting(msgspec.Struct, frozen=True):
    """Which runs' parts belong to an output that runs are added to, by the numbers of the runs.

    Those from `since` (which replaced all before) to `until` (the last that succeeded), but for those in
    `uncounted`: ranges, each with its first and its last.
    """

    since: int = 0
    until: int = 0
    uncounted: tuple[tuple[int, int], ...] = ()


class PublishOrder(msgspec.Struct, frozen=True):
    """Make a run's output visible in the data folder of `peer`.

    attempts: folders of the reduce attempts that lie there, in the order of their partitions.
    maps: folders of the map attempts there, whose lists of bad records belong to the output.
    summary: of the run, for the manifest. counting: where it is added, the runs whose parts stay; None for
    all. replaces: incarnations in which their ids mean the same. items: how many of the run's output each
    peer has that has any; None where that is not known any more.
    """

    run_id: str
    job_name: str
    peer: str
    add: bool
    attempts: tuple[str, ...]
    maps: tuple[str, ...]
    summary: dict[str, object]
    counting: Counting | None = None
    replaces: tuple[str, ...] = ()
    items: dict[str, int] | None = None


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The leader has dealt with a result. keep: the attempt was committed; otherwise its files may go."""

    id: AttemptId
    keep: bool


class Orders(msgspec.Struct, frozen=True, kw_only=True, tag="orders"):
    """All that a leader wants of a peer now.

    sequence: rises with all orders of an epoch. boot: whom they are for; another boot of the peer ignores
    them. runs: every run that is alive; what a peer has of any other run ends, and goes from its disk.
    jobs_change: the last change of the job table; a peer that is behind reads on from Redis.
    inventory_from: how much of the inventory was told already; None of a leader that takes all at once.
    """

    incarnation: str
    epoch: int
    leader: str
    peer: str
    boot: int
    sequence: int
    jobs_change: int = 0
    wants_inventory: bool = False
    inventory_from: int | None = None
    runs: tuple[RunOrder, ...] = ()
    plans: tuple[PlanOrder, ...] = ()
    assignments: tuple[Assignment, ...] = ()
    cancelled: tuple[AttemptId, ...] = ()
    sources: tuple[SourcesOrder, ...] = ()
    publish: tuple[PublishOrder, ...] = ()
    acknowledged: tuple[Acknowledged, ...] = ()


class Fenced(msgspec.Struct, frozen=True, tag="fenced"):
    """The answer to orders of an epoch that has passed; whoever gets it stops leading."""

    peer: str
    epoch: int


class Wake(msgspec.Struct, frozen=True, tag="wake"):
    """The job table has changed: the leader reads it now rather than at its next look."""

    change: int


class Relay(msgspec.Struct, frozen=True, kw_only=True, tag="relay"):
    """A question of a console that a peer passes on to the leader. body: its frame. Answered by Relayed."""

    id: str
    peer: str
    body: bytes


class Relayed(msgspec.Struct, frozen=True, kw_only=True, tag="relayed"):
    """The leader's answer. body: the frame of the reply."""

    id: str
    body: bytes


PeerMessage = Report | Orders | Fenced | Wake | Relay | Relayed


def map_task(index: int) -> str:
    """The name of a map task."""
    return f"map-{index:05d}"


def reduce_task(partition: int) -> str:
    """The name of the task that reduces a partition."""
    return f"reduce-{partition:05d}"


DRIVER_TASK = f"{DRIVER}-00000"
"""The name of the one task of a run on an external engine."""


def step_task(step: str, number: int) -> str:
    """The name of a step on one peer, the number-th of those that do it."""
    return f"{step}-{number:05d}"


def cut_text(text: str, characters_max: int = ERROR_CHARACTERS_MAX) -> str:
    """The text, or its beginning and its end where it is too long to travel."""
    if len(text) <= characters_max:
        return text
    half = characters_max // 2
    return f"{text[:half]}\n... {len(text) - 2 * half:,} characters left out ...\n{text[-half:]}"


def first_line(error: str) -> str:
    """What an error says first, short enough to be listed."""
    return cut_text(error.partition("\n")[0], FIRST_LINE_CHARACTERS_MAX)
