"""Cluster: peers, their network and their Redis; every write and publication is checked as it happens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from simulation.disk import FIRST_BOOT, Disk, Output, number_of
from simulation.held_input import HeldInput
from simulation.memory_store import MemoryRedis, MemoryStore
from simulation.models import HELD_NAMES, JobModel, StepModel, check_output
from simulation.network import Network
from simulation.peers import TTL_SECONDS, SimulatedPeer
from simulation.queue_rules import QueueRules
from simulation.step_rules import StepContent, StepRules
from simulation.world import ViolationError, World

from pymr.control.messages import LeaderSettings, PeerInfo
from pymr.control.stored_state import (
    BeginAttempt,
    BeginCycle,
    BeginPublication,
    BeginRun,
    CommitTasks,
    Committed,
    EndRun,
    JobRecord,
    ReleaseTasks,
    RunRecord,
    Write,
)
from pymr.jobs.external_engines import external_engine
from pymr.wire.outcomes import AttemptId
from pymr.wire.protocol import DRIVER_TASK, PublishOrder, RunOrder, Wake


@dataclass
class FaultPlan:
    """Probabilities of what may go wrong at any time, and how long a task takes at most."""

    worker_death: float = 0.0
    flakiness: float = 0.3
    disk_errors: float = 0.0
    lost_replies: float = 0.0
    slow_redis: float = 0.0
    late_writes: float = 0.0
    crash_points: dict[str, float] = field(default_factory=dict)
    has_bad_clocks: bool = False
    task_seconds: float = 1.0

    def heal(self) -> None:
        self.__init__(flakiness=self.flakiness, task_seconds=self.task_seconds)  # type: ignore[misc]


@dataclass
class Lease:
    peer: str
    epoch: int
    ends_at: float


@dataclass
class Submission:
    """The last job of its name that was queued."""

    model: JobModel | StepModel
    version: int


class Cluster:
    """All parts of a simulation."""

    def __init__(self, world: World, info: list[PeerInfo], settings: LeaderSettings, plan: FaultPlan) -> None:
        self.world = world
        self.settings = settings
        self.plan = plan
        self.redis = MemoryRedis(clock=lambda: 1e6 + world.now)
        self._lease: Lease | None = None
        self.network = Network(world, self._deliver)
        self.peers: dict[str, SimulatedPeer] = {}
        for one in info:
            self.peers[one.name] = SimulatedPeer(self, one)
        self.store = MemoryStore(self.redis)
        self.models: list[JobModel | StepModel] = []
        self.has_engines = False  # whose workers do the tasks of mapreduce jobs
        self.queue_rules = QueueRules(self.redis)
        self.step_rules = StepRules()
        self.held_input = HeldInput()
        self.submissions: dict[str, Submission] = {}
        self.model_of_run: dict[str, JobModel | StepModel] = {}
        self.statuses: dict[str, str] = {}
        self.damaged_runs: set[str] = set()  # a disk has lost something of them
        self.lost_outputs: set[str] = set()  # or their output, after it was shown
        self.present: dict[str, float] = {}  # when a peer was last heard by Redis
        self._committed: dict[tuple[str, str], str] = {}
        self._shown: dict[str, list[str]] = {}  # runs that succeeded, by job
        self._begun_publications: set[str] = set()
        self._ever_shown: set[str] = set()  # by any folder, though its disk may be gone
        self._epoch = 0
        self._begun: set[str] = set()
        self._versions: set[int] = set()

    @property
    def hosts(self) -> list[str]:
        return list(dict.fromkeys(peer.info.host for peer in self.peers.values()))

    def model_of(self, order: RunOrder | RunRecord | JobRecord) -> JobModel | StepModel:
        return self.models[int(str(order.fields["model"]))]

    def look_at_queue(self) -> None:
        """Jobs were queued: a submission, or a retry, may have queued others of their group as well."""
        for job in self.redis.jobs.values():
            if job.version not in self._versions:
                self._versions.add(job.version)
                self.submissions[job.name] = Submission(self.model_of(job), job.version)

    def set_paused(self, is_paused: bool) -> None:
        if self.redis.paused != is_paused:
            self.redis.paused = is_paused
            self.redis.next_change()

    def _deliver(self, receiver: str, message: object) -> None:
        peer = self.peers[receiver]
        peer.tell(lambda: peer.receive(message))

    def wake_leaders(self) -> None:
        for peer in self.peers.values():
            if peer.leadership is not None:
                self.network.send(next(iter(self.peers)), peer.name, Wake(self.redis.change))

    def at_fault_point(self, name: str, peer: SimulatedPeer) -> None:
        if peer.life is not None and self.world.chance(self.plan.crash_points.get(name, 0.0)):
            if self.world.chance(0.3):
                peer.pause(self.world.between(0.5, 8.0))
                return
            peer.crash(f"at {name}")
            self.world.later(self.world.between(0.1, 4.0), peer.start)

    # -- lease

    @property
    def lease(self) -> Lease | None:
        if self._lease is not None and self.world.now >= self._lease.ends_at:
            self._lease = None
        return self._lease

    def take_lease(self, peer: SimulatedPeer) -> int:
        epoch = self.redis.take_lease(peer.name, peer.disk.boot)
        if epoch <= max(self._epoch, peer.disk.epoch):
            raise ViolationError(f"epoch {epoch} after {self._epoch}")
        self._epoch = epoch
        self._lease = Lease(peer.name, epoch, self.world.now + TTL_SECONDS)
        return epoch

    def give_lease_back(self, epoch: int) -> None:
        if self._lease is not None and self._lease.epoch == epoch:
            self._lease = None

    # -- writes

    def checked_write(self, peer: SimulatedPeer, epoch: int, incarnation: str, write: Write) -> Any:
        """Carry out a write, and see that it was allowed to do what it did."""
        before, cycle, cycle_began_at = self._before(write), self.redis.cycle, self.redis.cycle_began_at
        outcome = peer.store.write(epoch, incarnation, write)
        if epoch != self.redis.epoch:
            raise ViolationError(f"a write of epoch {epoch} had an effect in epoch {self.redis.epoch}")
        match write:
            case ReleaseTasks(run_id, ids):
                for id in ids:
                    if self._committed.get((run_id, id.task)) == id.attempt:
                        del self._committed[run_id, id.task]
                        self.world.log(peer.name, "releases", id.folder, "of", run_id)
            case CommitTasks(run_id):
                self._check_commit(run_id, write)
            case BeginPublication(run_id):
                self.world.log(peer.name, "begins to publish", run_id)
                self._begun_publications.add(run_id)
                self._check_whole(run_id)
            case EndRun(record):
                self._check_end(peer, record, outcome, before)
            case BeginRun() if isinstance(outcome, RunRecord) and outcome.run_id not in self._begun:
                self._begun.add(outcome.run_id)
                self.world.log(peer.name, "begins", outcome.run_id, "in cycle", cycle)
                assert before is None or isinstance(before, JobRecord)
                self.queue_rules.begins(before, cycle, outcome)
            case BeginCycle() if self.redis.cycle > cycle:
                self.world.log(peer.name, "begins cycle", outcome)
                self.queue_rules.cycle_begins(cycle_began_at, self.settings.cycle_seconds)
            case BeginAttempt(run_id, task) if outcome:
                run = self.redis.active[run_id]
                self.step_rules.numbered(run.record, task, run.committed)
            case _:
                self.world.log(peer.name, type(write).__name__, _short(outcome))
        return outcome

    def _before(self, write: Write) -> JobRecord | list[tuple[Committed, StepContent | None]] | None:
        """What a write is about to change, as far as it is looked at afterwards."""
        if isinstance(write, BeginRun):
            return self.redis.jobs.get(write.job_name)
        if isinstance(write, EndRun):
            run = self.redis.active.get(write.record.run_id)
            return [(one, self._step_content(one)) for one in run.committed.values()] if run else []
        return None

    def _step_content(self, committed: Committed) -> StepContent | None:
        attempt = self.peers[committed.peer].disk.attempts.get(committed.id)
        return attempt.content if attempt and isinstance(attempt.content, StepContent) else None

    def _check_commit(self, run_id: str, write: CommitTasks) -> None:
        run = self.redis.active.get(run_id)
        for task, committed in sorted(run.committed.items()) if run else ():
            before = self._committed.setdefault((run_id, task), committed.id.attempt)
            if before != committed.id.attempt:
                now = committed.id.attempt
                raise ViolationError(f"{task} of {run_id}: {before} was committed, now {now} is")

    def _check_whole(self, run_id: str) -> None:
        run = self.redis.active.get(run_id)
        if run is None:
            return
        plan = run.record.plan
        assert plan is not None
        if external_engine(run.record.fields):
            if DRIVER_TASK not in run.committed:
                raise ViolationError(f"{run_id} is published without a driver")
            return
        missing = [
            partition
            for partition in range(plan.partitions)
            if f"reduce-{partition:05d}" not in run.committed
        ]
        if missing:
            raise ViolationError(f"{run_id} is published without partitions {missing}")

    def _check_end(self, peer: SimulatedPeer, record: RunRecord, outcome: RunRecord, committed: Any) -> None:
        before = self.statuses.get(record.run_id)
        if before is not None and outcome.status != before:
            raise ViolationError(f"{record.run_id} was {before}, and is {outcome.status}")
        if before is not None:
            return
        why = (record.exception or "").replace("\n", " ")
        self.world.log(peer.name, "ends", record.run_id, outcome.status, why)
        self.statuses[record.run_id] = outcome.status
        model = self.model_of(record)
        self.model_of_run[record.run_id] = model
        if outcome.status == "succeeded" and isinstance(model, StepModel):
            self.step_rules.ended(record, committed)
        elif outcome.status == "succeeded":
            if record.job_name in HELD_NAMES:
                hosts = {peer.name: peer.info.host for peer in self.peers.values()}
                self.held_input.succeeded(record, hosts)
            self._shown.setdefault(record.job_name, []).append(record.run_id)
            self.check_published(record.job_name)
        elif outcome.status == "failed":
            self._check_failure(model, record)

    def _check_failure(self, model: JobModel | StepModel, record: RunRecord) -> None:
        """A job may fail only for a reason."""
        why = record.exception or ""
        allowed: tuple[str, ...] = {
            "good": ("waited", "the worker died"),
            "flaky": ("waited", "the worker died", "it raised now", "max_attempts"),
            "broken": ("waited", "the worker died", "it raised"),
            "wrong": ("waited", "the worker died", "it cannot be read", "is no peer of this cluster"),
            "random": ("waited", "the worker died", "gave other items"),
        }[model.kind]
        if record.run_id in self.damaged_runs:
            allowed = (*allowed, "is not whole any more", "no plan of", "what hangs on it is done")
        if self._is_torn(record.job_name, self._begun_publications):
            allowed = (*allowed, "failed while its output took the place")
        if self.held_input.lost_hosts:
            allowed = (*allowed, "the list of what was consumed is gone")
        if not why.startswith(allowed) and not any(words in why for words in allowed):
            raise ViolationError(f"{record.run_id}, a {model.kind} job, failed: {why}")

    # -- outputs

    def publish(self, order: PublishOrder) -> str:
        """Make a folder show a run, which has to be one that may be seen."""
        active = self.redis.active.get(order.run_id)
        status = active.record.status if active else self.statuses.get(order.run_id)
        disk = self.peers[order.peer].disk
        shown = disk.outputs.get(order.job_name)
        error = disk.publish(order)
        if disk.outputs.get(order.job_name) is not shown:
            self._ever_shown.add(order.run_id)
            self.world.log("the folder of", order.peer, "shows", order.run_id, order.attempts)
            # One that has begun to be shown fails only where a machine stays away, or loses what it had.
            may_be_seen = status in ("publishing", "succeeded") or order.run_id in self._begun_publications
            if not may_be_seen and (status == "running" or order.attempts):
                raise ViolationError(f"{order.run_id} is {status}, and is shown by {order.peer}")
        return error

    def check_published(self, job_name: str) -> None:
        """What the folders of a job show together is what its latest runs that succeeded have made."""
        runs = self._shown.get(job_name, [])
        if not runs:
            return
        latest = runs[-1]
        wanted = [latest]
        if self._adds(latest):
            begun = next((at for at in range(len(runs) - 1, -1, -1) if not self._adds(runs[at])), 0)
            wanted = runs[begun:]
        if self.lost_outputs.intersection(wanted) or self._is_torn(job_name, self._ever_shown):
            return
        parts = []
        for peer in self.peers.values():
            output = peer.disk.outputs.get(job_name, Output())
            self._check_added(output, latest, wanted)
            parts += [part for run, _, part in output.parts if run in wanted]
        check_output(f"{job_name} after {latest}", parts, [self._records_of(run) for run in wanted])

    def _check_added(self, output: Output, latest: str, wanted: list[str]) -> None:
        """A folder that shows a run which has succeeded has no parts of runs which did not, or were replaced;
        but for a later one that failed while it was being shown: its parts go with the next run."""
        shown = {run_id for run_id, _, _ in output.parts}
        if output.runs and number_of(output.runs[-1]) > number_of(latest):
            shown.discard(output.runs[-1])
        if latest in output.runs and (wrong := sorted(shown - set(wanted))):
            raise ViolationError(f"beside {latest} its folder shows parts of {wrong}, which do not count")

    def _adds(self, run_id: str) -> bool:
        model = self.model_of_run[run_id]
        return isinstance(model, JobModel) and model.adds

    def _records_of(self, run_id: str) -> list[int]:
        """What a run has read."""
        model = self.model_of_run[run_id]
        assert isinstance(model, JobModel)
        return self.held_input.records_of(run_id) if model.holds else model.all_records()

    def check_folders(self, job: JobRecord) -> None:
        """In the end no folder of a job may show an earlier run, not even one whose peer was away."""
        runs = self._shown.get(job.name)
        if not runs or isinstance(self.model_of(job), StepModel):
            return
        for peer in self.peers.values():
            shown = peer.disk.outputs.get(job.name, Output()).runs
            if runs[-1] not in shown and runs[-1] not in self.lost_outputs:
                raise ViolationError(f"{peer.name} shows {shown} of {job.name}, and not {runs[-1]}")

    def _is_torn(self, job_name: str, runs: Iterable[str]) -> bool:
        """Whether one of these has failed, since the last that succeeded, while its output was taking the
        place of others': then nothing can be said of them, and nothing may be added. One that adds leaves
        them as they were."""
        succeeded = self._shown.get(job_name, ())
        after = number_of(succeeded[-1]) if succeeded else 0
        return any(
            run_id.rpartition("-")[0] == job_name and number_of(run_id) > after
            for run_id in runs
            if self.statuses.get(run_id) == "failed" and not self._adds(run_id)
        )

    # -- damage

    def lose_disk(self, peer: SimulatedPeer) -> None:
        """All that a peer had is gone, published outputs as well: of these jobs no more can be said."""
        self.damaged_runs.update(peer.disk.runs())
        self.held_input.lose(peer)
        for output in peer.disk.outputs.values():
            self.lost_outputs.update(output.runs)
        peer.disk = Disk(boot=self._new_boot())

    def _new_boot(self) -> int:
        """From what number on the starts of a new disk are counted: the time, which may be behind."""
        milliseconds = int(self.world.now * 1000)
        return milliseconds if self.plan.has_bad_clocks else FIRST_BOOT + milliseconds

    def damage(self, peer: SimulatedPeer, id: AttemptId) -> None:
        """The disk of a peer loses a finished attempt."""
        if peer.disk.attempts.pop(id, None) is not None:
            self.world.log("the disk of", peer.name, "loses", id.folder, "of", id.run_id)
            self.damaged_runs.add(id.run_id)


def _short(outcome: object) -> object:
    return outcome.run_id if isinstance(outcome, RunRecord) else outcome
