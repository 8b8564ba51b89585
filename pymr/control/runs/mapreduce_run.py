"""Phases: a mapreduce run, from its plan to its publication."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from msgspec.structs import replace

from pymr.control.counted_runs import count_failure, count_run, counting_of
from pymr.control.runs.run import Run, Task, Trouble
from pymr.control.runs.task_queue import TaskQueue
from pymr.control.stored_state import ActiveRun, Committed, HostPlan, JobState, RunPlan, RunRecord
from pymr.wire.outcomes import AttemptId, DriverOutcome, MapOutcome, ReduceOutcome
from pymr.wire.protocol import (
    SOURCES_MAX,
    Assignment,
    PlanOrder,
    PlanReport,
    PublishOrder,
    RunOrder,
    Source,
    SourcesOrder,
    map_task,
    reduce_task,
)
from pymr.wire.rows import RunStatus
from pymr.wire.run_warnings import RunWarnings, empty_input, joined

PHASES = ("plan", "map", "shuffle", "sort", "reduce", "publish")


class MapReduceRun(Run):
    """A run that maps, shuffles, sorts, reduces and publishes.

    A map task waits in the queue of its host, or in that of "" where every host can read its input; a reduce
    task in that of its home; a task becomes an object when anything is heard of it. `sources` are the
    committed map outputs in the order of their commits; what was released stays in it until another output of
    its task comes behind.
    unpublished: peers that do not show the output yet, once it is to be shown, and what is in their way.
    replaces: see PublishOrder.
    before: the state of the job when the run began. consumed: the same of a job with `hold_state`, whose
    lists tell the input that is not to be read again.
    unread_since: since when an output in the input is not whole, replanned_at: when that was last looked at.
    partition_bytes: how much of each partition was gathered, as its home has said last.
    input_warnings: what planning found.
    shuffle_troubles: why segments do not come to a peer, by its name. moves: how often a partition got
    another home, as the machine of the one before failed. full_disks: of `unpublished`, those for want of
    space.
    to_publish: what each peer has that belongs to the output. bad_maps: what the map tasks with bad
    records have made, by their numbers. redone: the tasks that are, or were, done again since an output of
    theirs was lost under an earlier leader.
    """

    PHASES: tuple[str, ...] = PHASES

    def __init__(self, record: RunRecord, now: float, before: JobState | None = None) -> None:
        super().__init__(record, self.PHASES, now)
        self.holds_state = bool(record.fields.get("hold_state"))
        self.adds = not record.fields.get("delete_job_data", True)
        self.before = before
        self.consumed = before if self.holds_state and before is not None and before.run_id else None
        self.plans: dict[tuple[str, bool], tuple[str, PlanReport]] = {}  # (host, shared): (peer, report)
        self.homes: dict[str, list[int]] = {}  # partitions by peer
        self.home_of: list[str] = []
        self.maps_left = self.reduces_left = 0
        self.waiting_maps: dict[str, TaskQueue] = {}
        self.waiting_reduces: dict[str, TaskQueue] = {}
        self.to_publish: dict[str, dict[AttemptId, Committed]] = {}
        self.bad_maps: dict[int, MapOutcome] = {}
        self.redone: list[Task] = []
        self.sources: list[Source] = []
        self.unpublished: dict[str, str] = {}
        self.replaces: tuple[str, ...] = ()
        self.plans_wanted: dict[tuple[str, bool], None] | None = None  # None: not worked out yet
        self.plan_orders: dict[str, list[PlanOrder]] | None = None  # by peer; None: to be put together again
        self.planners: dict[tuple[str, bool], tuple[tuple[str, int], int]] = {}  # ((peer, boot), turn)
        self.maps_total = 0
        self.trouble_since = 0.0
        self.unread_since: float | None = None
        self.replanned_at = 0.0
        self.partition_bytes: dict[int, int] = {}
        self.input_warnings = RunWarnings()
        self.shuffle_troubles: dict[str, Trouble] = {}
        self.moves: dict[int, int] = {}
        self.full_disks: set[str] = set()
        self._publish_orders: dict[str, PublishOrder] = {}
        self._reduced: set[int] = set()
        self._peer_items: dict[str, int] | None = None
        self._host_of_map: list[HostPlan] = []
        self._firsts: list[int] = []

    # -- planning

    def begin_tasks(self, plan: RunPlan) -> None:
        self.plan = plan
        self.input_warnings = plan.warnings
        self.stage = "tasks"
        self.home_of = list(plan.homes)
        for partition, home in enumerate(plan.homes):
            self.homes.setdefault(home, []).append(partition)
        self._host_of_map = [host for host in plan.hosts if host.tasks]
        self._firsts = [host.first for host in self._host_of_map]
        self.maps_total = self.maps_left = sum(host.tasks for host in plan.hosts)
        self.reduces_left = plan.partitions
        self._let_wait(frozenset(), frozenset())

    def _let_wait(self, mapped: Collection[int], reduced: Collection[int]) -> None:
        """Let all tasks wait but those that are done."""
        self.waiting_maps, self.waiting_reduces = {}, {}
        for plan in self._host_of_map:
            numbers: Iterable[int] = range(plan.first, plan.first + plan.tasks)
            if mapped:
                numbers = [number for number in numbers if number not in mapped]
            self._map_queue(plan).add_untouched(numbers)
        for home, partitions in self.homes.items():
            left = [one for one in partitions if one not in reduced] if reduced else list(partitions)
            self._reduce_queue(home).add_untouched(left)

    def restore(self, restored: ActiveRun) -> Iterator[None]:
        for one in restored.committed:
            self._restore(one)
            yield
        for name, digest in restored.released.items():
            task = self.find(name)
            if task is not None:
                task.lost_digest = digest
                self.redone.append(task)
            yield
        if restored.committed:
            mapped = {task.index for task in self.tasks.values() if task.is_map and task.committed}
            self._let_wait(mapped, self._reduced)

    def find(self, name: str) -> Task | None:
        task = self.tasks.get(name)
        if task is not None:
            return task
        kind, _, digits = name.partition("-")
        number = int(digits) if digits.isdecimal() and len(digits) <= _DIGITS_MAX else -1
        if kind == "map" and 0 <= number < self.maps_total and name == map_task(number):
            return self._map(number)
        partitions = len(self.home_of)
        if kind == "reduce" and 0 <= number < partitions and name == reduce_task(number):
            return self.reduce_of(number)
        return None

    def _map(self, index: int) -> Task:
        name = map_task(index)
        task = self.tasks.get(name)
        if task is None:
            task = self.tasks[name] = Task(name, index, True)
        return task

    def reduce_of(self, partition: int) -> Task:
        """The task that reduces a partition."""
        name = reduce_task(partition)
        task = self.tasks.get(name)
        if task is None:
            task = self.tasks[name] = Task(name, partition, False)
        return task

    def _keep(self, task: Task, committed: Committed) -> None:
        super()._keep(task, committed)
        if isinstance(committed.outcome, MapOutcome):
            self.sources.append(Source(task.index, committed.id.attempt, committed.peer))
            if committed.outcome.bad_records:
                self.bad_maps[task.index] = committed.outcome
        else:
            self._reduced.add(task.index)
        if not isinstance(committed.outcome, MapOutcome) or committed.outcome.bad_records:
            self.to_publish.setdefault(committed.peer, {})[committed.id] = committed

    def _unkeep(self, task: Task, committed: Committed) -> None:
        super()._unkeep(task, committed)
        if task.is_map:
            self.bad_maps.pop(task.index, None)
        else:
            self._reduced.discard(task.index)
        self.to_publish.get(committed.peer, {}).pop(committed.id, None)

    def host_plan(self, task: Task) -> HostPlan:
        """The plan a map task is in."""
        return self._host_of_map[bisect_right(self._firsts, task.index) - 1]

    # -- tasks

    def wait(self, task: Task, *, first: bool = False) -> None:
        if task.is_map:
            queue = self._map_queue(self.host_plan(task))
        else:
            queue = self._reduce_queue(self.home_of[task.index])
        queue.add(task, first=first)

    def _map_queue(self, plan: HostPlan) -> TaskQueue:
        return self.waiting_maps.setdefault("" if plan.shared else plan.host, TaskQueue(self._map))

    def _reduce_queue(self, home: str) -> TaskQueue:
        return self.waiting_reduces.setdefault(home, TaskQueue(self.reduce_of))

    def place_of(self, task: Task) -> tuple[str, str]:
        if not task.is_map:
            return self.home_of[task.index], ""
        plan = self.host_plan(task)
        return "", "" if plan.shared else plan.host

    def next_task(self, peer: str, host: str) -> Task | None:
        """Reduce tasks only when all maps are committed, and none of what they made is lost."""
        if self.maps_left:
            queues = (self.waiting_maps.get(host), self.waiting_maps.get(""))
        elif self.releasing:
            return None
        else:
            queues = (self.waiting_reduces.get(peer), None)
        for queue in filter(None, queues):
            while (task := queue.pop()) is not None:
                # Else it was adopted while it was in the queue, or has got another home. Lost after that it
                # stands there once more.
                if task.is_waiting and (task.is_map or self.home_of[task.index] == peer):
                    return task
        return None

    def assignment(self, task: Task, epoch: int, slot: int, peer: str, now: float) -> Assignment:
        task.tries += 1
        id = AttemptId(self.run_id, task.name, f"{epoch}.{task.tries}")
        self.begin(task, id, peer, now)
        if not task.is_map:
            return Assignment(id, slot)
        plan = self.host_plan(task)
        return Assignment(id, slot, plan.peer, task.index - plan.first, plan.shared)

    def may_adopt(self, task: Task, peer: str) -> bool:
        return task.is_map or (self.home_of[task.index] == peer and not self.maps_left)

    def needs(self, attempt: AttemptId) -> bool:
        return True

    def has_used(self, attempt: AttemptId) -> bool:
        return False  # of a map output that is made again, the digest tells whether it is the same

    def make_void(self, lost: Sequence[AttemptId]) -> dict[str, int]:
        return {}

    def is_void(self, attempt: AttemptId) -> bool:
        return False

    def _count_left(self, task: Task, change: int) -> None:
        if task.is_map:
            self.maps_left += change
        else:
            self.reduces_left += change

    @property
    def present_trouble(self) -> str:
        return self.trouble or next((one.text for one in self.shuffle_troubles.values()), "")

    def waiting_partitions(self, peer: str) -> list[int]:
        """The partitions of a home that nobody is at, nor has done."""
        tasks = self.tasks
        found = []
        for partition in self.homes.get(peer, ()):
            task = tasks.get(reduce_task(partition))
            if task is None or task.is_waiting:
                found.append(partition)
        return found

    def move_homes(self, moves: Mapping[int, str]) -> None:
        """Let other peers reduce partitions that wait, each the one that `moves` says; in the old
        queue they are passed over."""
        for before in {self.home_of[partition] for partition in moves}:
            self.homes[before] = [one for one in self.homes[before] if one not in moves]
        for partition, home in moves.items():
            self.homes.setdefault(home, []).append(partition)
            self.home_of[partition] = home
            self.wait(self.reduce_of(partition))

    @property
    def is_done(self) -> bool:
        return self.stage == "tasks" and not self.maps_left and not self.reduces_left

    def reducers(self) -> list[str]:
        """The peers that have any of what is to be published."""
        return [name for name, commits in self.to_publish.items() if commits]

    def homes_left(self) -> set[str]:
        """The homes of all partitions that are not reduced yet."""
        return {home for partition, home in enumerate(self.home_of) if partition not in self._reduced}

    # -- what peers are told

    def order(self, peer: str) -> RunOrder:
        return RunOrder(
            run_id=self.run_id,
            job_name=self.job_name,
            fields=self.record.fields,
            project_hash=self.record.project_hash,
            partitions=self.plan.partitions if self.plan else 0,
            homes=tuple(self.homes.get(peer, ())),
        )

    def sources_order(self, known: int) -> SourcesOrder | None:
        """What a peer that knows so many announcements has to learn next; None if it knows all. That there is
        nothing to learn, as no map task has any input, is told as well."""
        if known >= len(self.sources) and self.maps_total:
            return None
        news = tuple(self.sources[known : known + SOURCES_MAX])
        return SourcesOrder(self.run_id, known, news, self.maps_total)

    def publish_order(self, peer: str) -> PublishOrder:
        """What of the run's output lies with a peer; made once, as nothing is committed any more."""
        order = self._publish_orders.get(peer)
        if order is None:
            mine = sorted(self.to_publish.get(peer, {}).values(), key=lambda one: one.id.task)
            order = self._publish_orders[peer] = PublishOrder(
                self.run_id,
                self.job_name,
                peer,
                self.adds,
                tuple(one.id.folder for one in mine if isinstance(one.outcome, _WITH_PARTS)),
                tuple(one.id.folder for one in mine if getattr(one.outcome, "bad_records", 0)),
                summary_of(self.totals()),
                counting_of(self.before) if self.adds else None,
                self.replaces,
                self._items_by_peer(),
            )
        return order

    def _items_by_peer(self) -> dict[str, int]:
        """How much of the output each peer has that has any; put together once, as the orders are."""
        if self._peer_items is None:
            sums = {
                peer: sum(
                    one.outcome.items for one in commits.values() if isinstance(one.outcome, _WITH_PARTS)
                )
                for peer, commits in self.to_publish.items()
            }
            self._peer_items = {peer: items for peer, items in sums.items() if items}
        return self._peer_items

    # -- sums

    @property
    def first_phase(self) -> str:
        """The phase after that of the plan."""
        return "map" if self.maps_left else "shuffle"

    @property
    def bytes_read(self) -> int:
        """Of input, by the tasks that are committed."""
        return self.sums.of("map", "bytes")

    def sum_fields(self) -> Mapping[str, object]:
        fields = {name: self.sums.of("map", name) for name in ("records", "bytes", "bad_records")}
        fields |= {name: self.sums.of("reduce", name) for name in ("values", "groups", "items")}
        return fields | {"files": sum(host.files for host in self.plan.hosts) if self.plan else 0}

    def clear(self) -> Iterator[None]:
        self.waiting_maps, self.waiting_reduces, self.sources, self.redone = {}, {}, [], []
        self.to_publish = {}
        yield from super().clear()

    def warnings(self, status: RunStatus) -> RunWarnings:
        found = [self.input_warnings]
        allows_empty = self.plan is not None and self.record.fields.get("allow_empty", True)
        # What does not succeed leaves the output as it is.
        if allows_empty and self.has_no_records and status in ("running", "publishing", "succeeded"):
            downsample = self.record.fields.get("downsample")
            found.append(RunWarnings((empty_input(self.bytes_read, downsample, adds=self.adds),)))
        return joined(found)

    @property
    def has_no_records(self) -> bool:
        """Whether all map tasks are done, and have read nothing."""
        return not self.maps_left and not self.sums.of("map", "records")

    def state_after(self, hosts: Mapping[str, str]) -> JobState | None:
        has_state = self.holds_state or self.adds or self.before is not None
        if self.plan is None or not (has_state or self.unpublished):  # some may show what this one replaces
            return None
        lists = self._lists(hosts, self.plan) if self.holds_state else self.before or JobState("")
        shown_by = hosts.keys() - self.unpublished.keys()
        return count_run(self.before, lists, self.run_id, adds=self.adds, shown_by=shown_by)

    def state_after_failure(self, peers: Iterable[str]) -> JobState | None:
        """One that takes the place of another, and that some peers may show already, has torn the output; of
        one that is added, some may show parts that do not count."""
        if "publishing" not in (self.stage, self.record.status):
            return None
        if self.adds:
            return count_failure(self.before, self.run_id, self.reducers())
        if all(self.unpublished.get(peer) for peer in peers):
            return None
        return replace(self.before or JobState(""), torn=self.run_id)

    def _lists(self, hosts: Mapping[str, str], plan: RunPlan) -> JobState:
        """Whose lists say what was consumed, with this run."""
        shared = next((host.peer for host in plan.hosts if host.shared), "")
        own = tuple(host.peer for host in plan.hosts if not host.shared)
        if not shared and self.consumed is not None:
            # The host that has a list is to be asked again, not another.
            return JobState(self.run_id, self.consumed.shared_host, own, self.consumed.shared_peer)
        return JobState(self.run_id, hosts.get(shared, ""), own, shared)


_WITH_PARTS = (ReduceOutcome, DriverOutcome)
_DIGITS_MAX = 18
"""A number of more digits than this is that of no task."""


def summary_of(record: RunRecord) -> dict[str, object]:
    """What an output says of the run that made it."""
    names = ("records", "groups", "items", "bad_records", "counters")
    partitions = record.plan.partitions if record.plan else 0
    return {name: getattr(record, name) for name in names} | {"partitions": partitions}
