"""Phases: a mapreduce run, from its plan to its publication."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from pymr.control.counting import count_failure, count_run, counting_of
from pymr.control.records import ActiveRun, Committed, HostPlan, JobState, RunPlan, RunRecord
from pymr.control.runs import Run, Task, Trouble
from pymr.outcomes import AttemptId, MapOutcome, ReduceOutcome
from pymr.protocol import (
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
from pymr.run_warnings import RunWarnings, empty_input, joined

PHASES = ("plan", "map", "shuffle", "sort", "reduce", "publish")


class MapReduceRun(Run):
    """A run that maps, shuffles, sorts, reduces and publishes.

    A map task waits in the queue of its host, or in that of "" where every host can read its input; a reduce
    task in that of its home. `sources` are the committed map outputs in the order of their commits; what was
    released stays in it until another output of its task comes behind.
    unpublished: peers that do not show the output yet, once it is to be shown, and what is in their way.
    replaces: see PublishOrder.
    before: the state of the job when the run began. consumed: the same of a job with `hold_state`, whose
    lists tell the input that is not to be read again.
    partition_bytes: how much of each partition was gathered, as its home has said last.
    input_warnings: what planning found.
    shuffle_troubles: why segments do not come to a peer, by its name. moves: how often a partition got
    another home, as the machine of the one before failed. full_disks: of `unpublished`, those for want of
    space.
    """

    def __init__(self, record: RunRecord, now: float, before: JobState | None = None) -> None:
        super().__init__(record, PHASES, now)
        self.holds_state = bool(record.fields.get("hold_state"))
        self.adds = not record.fields.get("delete_job_data", True)
        self.before = before
        self.consumed = before if self.holds_state and before is not None and before.run_id else None
        self.plans: dict[tuple[str, bool], tuple[str, PlanReport]] = {}  # (host, shared): (peer, report)
        self.homes: dict[str, list[int]] = {}  # partitions by peer
        self.home_of: list[str] = []
        self.maps_left = self.reduces_left = 0
        self.waiting_maps: dict[str, deque[Task]] = {}
        self.waiting_reduces: dict[str, deque[Task]] = {}
        self.sources: list[Source] = []
        self.unpublished: dict[str, str] = {}
        self.replaces: tuple[str, ...] = ()
        self.plans_wanted: dict[tuple[str, bool], None] | None = None  # None: not worked out yet
        self.plan_orders: dict[str, list[PlanOrder]] | None = None  # by peer; None: to be put together again
        self.planners: dict[tuple[str, bool], tuple[tuple[str, int], int]] = {}  # ((peer, boot), turn)
        self.maps_total = 0
        self.trouble_since = 0.0
        self.partition_bytes: dict[int, int] = {}
        self.input_warnings = RunWarnings()
        self.shuffle_troubles: dict[str, Trouble] = {}
        self.moves: dict[int, int] = {}
        self.full_disks: set[str] = set()
        self._publish_orders: dict[str, PublishOrder] = {}
        self._totals: RunRecord | None = None
        self._host_of_map: list[HostPlan] = []
        self._firsts: list[int] = []

    # -- planning

    def begin_tasks(self, plan: RunPlan, restored: ActiveRun | None = None) -> None:
        self.plan = plan
        self.input_warnings = plan.warnings
        self.stage = "tasks"
        self.home_of = list(plan.homes)
        for partition, home in enumerate(plan.homes):
            self.homes.setdefault(home, []).append(partition)
        self._host_of_map = [host for host in plan.hosts if host.tasks]
        self._firsts = [host.first for host in self._host_of_map]
        self.maps_total = sum(host.tasks for host in plan.hosts)
        committed = {one.id.task: one for one in restored.committed} if restored else {}
        released = restored.released if restored else {}
        for host in self._host_of_map:
            for index in range(host.first, host.first + host.tasks):
                self._add(Task(map_task(index), index, True), committed, released)
        for partition in range(plan.partitions):
            self._add(Task(reduce_task(partition), partition, False), committed, released)

    def _keep(self, task: Task, committed: Committed) -> None:
        super()._keep(task, committed)
        if task.is_map:
            self.sources.append(Source(task.index, committed.id.attempt, committed.peer))

    def host_plan(self, task: Task) -> HostPlan:
        """The plan a map task is in."""
        return self._host_of_map[bisect_right(self._firsts, task.index) - 1]

    # -- tasks

    def wait(self, task: Task, *, first: bool = False) -> None:
        if task.is_map:
            plan = self.host_plan(task)
            queue = self.waiting_maps.setdefault("" if plan.shared else plan.host, deque())
        else:
            queue = self.waiting_reduces.setdefault(self.home_of[task.index], deque())
        (queue.appendleft if first else queue.append)(task)

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
        for queue in queues:
            while queue:
                task = queue.popleft()
                # Else it was adopted while it was in the queue. Lost after that it stands there once more,
                # and once too often if it has got another home since.
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

    def move_home(self, partition: int, home: str) -> None:
        """Let another peer reduce a partition; one that waits, waits there."""
        task = self.tasks[reduce_task(partition)]
        before = self.home_of[partition]
        self.homes[before].remove(partition)
        self.homes.setdefault(home, []).append(partition)
        self.home_of[partition] = home
        if task.is_waiting:
            old = self.waiting_reduces.get(before)
            if old is not None and task in old:
                old.remove(task)
            self.wait(task)

    @property
    def is_done(self) -> bool:
        return self.stage == "tasks" and not self.maps_left and not self.reduces_left

    def reducers(self) -> list[str]:
        """The peers that have any of what is to be published."""
        return [
            name
            for name, commits in self.committed_by.items()
            if any(
                not isinstance(one.outcome, MapOutcome) or one.outcome.bad_records for one in commits.values()
            )
        ]

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
            mine = sorted(self.committed_by.get(peer, {}).values(), key=lambda one: one.id.task)
            order = self._publish_orders[peer] = PublishOrder(
                self.run_id,
                self.job_name,
                peer,
                self.adds,
                tuple(one.id.folder for one in mine if isinstance(one.outcome, ReduceOutcome)),
                tuple(one.id.folder for one in mine if _has_bad_records(one)),
                summary_of(self.totals()),
                counting_of(self.before) if self.adds else None,
                self.replaces,
            )
        return order

    # -- sums

    def totals(self) -> RunRecord:
        """The record with the sums; put together once, when nothing is committed any more."""
        if self._totals is not None:
            return self._totals
        totals = super().totals()
        if self.stage == "publishing":
            self._totals = totals
        return totals

    def sums(self) -> Mapping[str, object]:
        sums = dict.fromkeys(("records", "bytes", "bad_records", "values", "groups", "items"), 0)
        for one in self.committed_tasks():
            for name in _MAP_SUMS if isinstance(one.outcome, MapOutcome) else _REDUCE_SUMS:
                sums[name] += getattr(one.outcome, name)
        return sums | {"files": sum(host.files for host in self.plan.hosts) if self.plan else 0}

    def warnings(self) -> RunWarnings:
        found = [self.input_warnings]
        if self.plan is not None and self.record.fields.get("allow_empty", True) and self.has_no_records:
            found.append(RunWarnings((empty_input(adds=self.adds),)))
        return joined(found)

    @property
    def has_no_records(self) -> bool:
        """Whether all map tasks are done, and have read nothing."""
        return not self.maps_left and not any(
            one.outcome.records for one in self.committed_tasks() if isinstance(one.outcome, MapOutcome)
        )

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


_MAP_SUMS = ("records", "bytes", "bad_records")
_REDUCE_SUMS = ("values", "groups", "items")


def summary_of(record: RunRecord) -> dict[str, object]:
    """What an output says of the run that made it."""
    names = ("records", "groups", "items", "bad_records", "counters")
    partitions = record.plan.partitions if record.plan else 0
    return {name: getattr(record, name) for name in names} | {"partitions": partitions}


def _has_bad_records(committed: Committed) -> bool:
    return isinstance(committed.outcome, MapOutcome) and bool(committed.outcome.bad_records)
