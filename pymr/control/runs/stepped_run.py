"""Steps: the run of a script or file_transfer job, as steps that peers do, one after another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pymr.base.errors import JobError, Problem
from pymr.control.runs.run import Run, Task
from pymr.control.stored_state import ActiveRun, Committed, RunPlan, RunRecord, StepPlan
from pymr.wire.outcomes import AttemptId, Failure, StepOutcome
from pymr.wire.protocol import Assignment, RunOrder, StepInput, cut_text, step_task

LEADER = "leader"
ALL = "all"
"""What `run_on` of a script may be besides the name of a peer."""

_STEPS_OF: dict[str, tuple[tuple[str, str], ...]] = {
    "upload": (("list", "all"), ("spread", "local"), ("copy", "all")),
    "upload_bulk": (("list", "all"), ("spread", "local"), ("copy", "all")),
    "upload_auxiliary": (("list", "local"), ("copy", "all")),
    "download": (("list", "all"), ("copy", "local"), ("delete", "all")),
    "download_bulk": (("list", "all"), ("copy", "local"), ("delete", "all")),
    "delete": (("delete", "all"),),
}
"""The steps of each type of transfer, and who does them: every peer, or the one whose disk is "local"."""

_READ = ("list", "spread")
"""The steps whose output others read. What the others did is done, whatever is lost of their folders."""


def is_stepped(fields: Mapping[str, Any]) -> bool:
    """Whether the runs of such a job consist of steps."""
    return fields.get("job_type") in ("script", "file_transfer")


def step_names(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """The steps of a run of a script or file_transfer job, in their order."""
    return tuple(name for name, _ in _steps_of(fields)) or ("script",)


def plan_steps(fields: Mapping[str, Any], peers: Sequence[str], leader: str) -> tuple[StepPlan, ...]:
    """The steps of a run, each with the peers that do it. peers: all of the configuration, in its order.

    leader: the one that leads now. Raises JobError for a peer that there is not.
    """
    if fields.get("job_type") == "script":
        run_on = str(fields.get("run_on") or LEADER)
        if run_on not in (LEADER, ALL):
            _check_peer("run_on", run_on, fields, peers)
        there = {LEADER: (leader,), ALL: tuple(peers)}.get(run_on, (run_on,))
        return (StepPlan("script", there),)
    steps = _steps_of(fields)
    if any(who == "local" for _, who in steps):
        _check_peer("local_peer", fields.get("local_peer"), fields, peers)
    local = (str(fields.get("local_peer")),)
    return tuple(StepPlan(name, local if who == "local" else tuple(peers)) for name, who in steps)


def _steps_of(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    steps = _STEPS_OF.get(str(fields.get("transfer_type")), ())
    deletes = fields.get("delete_files") or fields.get("transfer_type") == "delete"
    return [step for step in steps if deletes or step[0] != "delete"]


def _check_peer(field: str, name: object, fields: Mapping[str, Any], peers: Sequence[str]) -> None:
    if name not in peers:
        reason = f"is no peer of this cluster, which has {', '.join(peers)}"
        raise JobError(f"job {fields.get('job_name')}", (Problem(field, name, reason),))


class StepTask(Task, gc=False, eq=False):
    """A step on one peer. step: which of the run's it is. home: the peer that is to do it.

    number: of the attempt that is to come, as Redis has counted it; 0 while it has not.
    is_asked: Redis is asked for that number. void: of the last attempt that may have read what was lost.
    """

    step: int = 0
    home: str = ""
    number: int = 0
    is_asked: bool = False
    void: int = 0


def _has_read(task: Task) -> bool:
    """Whether what a task has read cannot change any more: Redis has it as done, or is asked to."""
    return task.committed is not None or task.committing is not None


class SteppedRun(Run):
    """A run of a script or file_transfer job. A step begins when all peers have done those before.

    failed: what came of the script that failed; None while none has.
    """

    def __init__(self, record: RunRecord, now: float) -> None:
        steps = record.plan.steps if record.plan is not None else ()
        super().__init__(record, [step.name for step in steps] or step_names(record.fields), now)
        self.steps: list[list[StepTask]] = []
        self.left: list[int] = []  # tasks that are not committed, by step
        self.failed: Failure | None = None
        self._by_name: dict[str, StepTask] = {}
        self._by_home: dict[str, list[StepTask]] = {}
        self._inputs: dict[int, tuple[StepInput, ...]] = {}

    def begin_tasks(self, plan: RunPlan) -> None:
        self.plan = plan
        self.stage = "tasks"
        for number, step in enumerate(plan.steps):
            self.left.append(len(step.peers))
            self.steps.append([])
            for index, peer in enumerate(step.peers):
                task = StepTask(step_task(step.name, index), index, step=number, home=peer)
                self.steps[number].append(task)
                self.tasks[task.name] = self._by_name[task.name] = task
                self._by_home.setdefault(peer, []).append(task)
        self.is_touched = True  # they are to be numbered

    def restore(self, restored: ActiveRun) -> Iterator[None]:
        for task in self._by_name.values():
            task.tries = restored.attempts.get(task.name, 0)
            task.void = int(restored.released.get(task.name, "0"))
        # In the order of the steps, and of the peers in each.
        committed = {one.id.task: one for one in restored.committed}
        for name in filter(committed.__contains__, self._by_name):
            self._restore(committed[name])
            yield

    def find(self, name: str) -> Task | None:
        return self.tasks.get(name)

    def committed_tasks(self) -> Iterator[Committed]:
        """What is committed so far, in the order of the tasks."""
        return (task.committed for task in self._by_name.values() if task.committed is not None)

    # -- where it is

    @property
    def current(self) -> int:
        """The step that it is at; the number of steps when all is done."""
        return next((step for step, left in enumerate(self.left) if left), len(self.left))

    @property
    def is_done(self) -> bool:
        return self.stage == "tasks" and not any(self.left)

    @property
    def is_leader_script(self) -> bool:
        """Whether it is a script that may go to another peer when the one that led is gone."""
        fields = self.record.fields
        return fields.get("job_type") == "script" and fields.get("run_on", LEADER) == LEADER

    def _count_left(self, task: Task, change: int) -> None:
        self.left[self._by_name[task.name].step] += change

    # -- tasks

    def unnumbered(self) -> list[StepTask]:
        """The tasks that may be done now, and for whose next attempt there is no number yet."""
        return [task for task in self._waiting() if not (task.number or task.is_asked)]

    def numbered_tasks(self) -> list[StepTask]:
        """The tasks that may be done now, and whose next attempt has its number."""
        return [task for task in self._waiting() if task.number]

    def _waiting(self) -> list[StepTask]:
        current = self.current
        if current == len(self.steps) or self.releasing:
            return []
        return [task for task in self.steps[current] if task.is_waiting]

    def numbered(self, task: StepTask, number: int) -> None:
        """Redis has counted one more attempt of a task: it waits for a worker of its peer."""
        task.is_asked = False
        task.number = number

    def wait(self, task: Task, *, first: bool = False) -> None:
        self.is_touched = True  # it is to be numbered

    def move_home(self, task: StepTask, home: str) -> None:
        """Let another peer do a task."""
        self._by_home[task.home].remove(task)
        self._by_home.setdefault(home, []).append(task)
        task.home = home

    def place_of(self, task: Task) -> tuple[str, str]:
        return self._by_name[task.name].home, ""

    def next_task(self, peer: str, host: str) -> Task | None:
        current = -1 if self.releasing else self.current
        mine = self._by_home.get(peer, ())
        return next((one for one in mine if one.step == current and one.is_waiting and one.number), None)

    def assignment(self, task: Task, epoch: int, slot: int, peer: str, now: float) -> Assignment:
        mine = self._by_name[task.name]
        id = AttemptId(self.run_id, task.name, f"{epoch}.{mine.number}")
        mine.tries, mine.number = mine.number, 0
        self.begin(task, id, peer, now)
        return Assignment(id, slot, inputs=self._inputs_of(mine.step))

    def _inputs_of(self, step: int) -> tuple[StepInput, ...]:
        """All that was committed before a step; put together once, unless it is lost."""
        inputs = self._inputs.get(step)
        if inputs is None:
            done = [task.committed for tasks in self.steps[:step] for task in tasks if task.committed]
            inputs = tuple(StepInput(one.id.task, one.id.attempt, one.peer) for one in done)
            self._inputs[step] = inputs
        return inputs

    def begin(self, task: Task, attempt: AttemptId, peer: str, now: float) -> None:
        super().begin(task, attempt, peer, now)
        mine = self._by_name[task.name]
        if mine.home != peer:
            self.move_home(mine, peer)

    def may_adopt(self, task: Task, peer: str) -> bool:
        mine = self._by_name[task.name]
        return mine.step == self.current and (mine.home == peer or self.is_leader_script)

    def make_void(self, lost: Sequence[AttemptId]) -> dict[str, int]:
        first = min(self._by_name[one.task].step for one in lost) + 1
        void = {}
        for task in (task for tasks in self.steps[first:] for task in tasks if task.tries):
            void[task.name] = task.void = task.tries
        return void

    def is_void(self, attempt: AttemptId) -> bool:
        return attempt.try_number <= self._by_name[attempt.task].void

    # -- losses

    def running_ahead(self) -> list[StepTask]:
        """Tasks that run although a step before theirs is to be done again."""
        later = self.steps[self.current + 1 :]
        return [task for tasks in later for task in tasks if task.running is not None]

    def readers_of(self, attempt: AttemptId) -> list[StepTask]:
        """The tasks that read what an attempt has made: a spread reads the lists; else whatever comes later
        does."""
        if attempt.kind not in _READ:
            return []
        later = self.steps[self._by_name[attempt.task].step + 1 :]
        if attempt.kind == "list" and "spread" in self.phases:
            later = later[:1]
        return [task for tasks in later for task in tasks]

    def needs(self, attempt: AttemptId) -> bool:
        return not all(map(_has_read, self.readers_of(attempt)))

    def has_used(self, attempt: AttemptId) -> bool:
        """Another list would not be the same: files come and go."""
        return any(map(_has_read, self.readers_of(attempt)))

    def release(self, attempt: AttemptId) -> None:
        super().release(attempt)
        self._inputs.clear()

    # -- what is told of it

    def order(self, peer: str) -> RunOrder:
        return RunOrder(
            run_id=self.run_id,
            job_name=self.job_name,
            fields=self.record.fields,
            project_hash=self.record.project_hash,
            partitions=0,
        )

    def sum_fields(self) -> Mapping[str, object]:
        """Files and bytes are those of the step that the job is there for."""
        main = "copy" if "copy" in self.phases else self.phases[-1]
        done = {
            one.peer: one.outcome
            for one in self.committed_tasks()
            if one.id.kind == main and isinstance(one.outcome, StepOutcome)
        }
        sums: dict[str, object] = {
            name: sum(getattr(outcome, name) for outcome in done.values())
            for name in ("files", "bytes", "skipped")
        }
        if main == "script":
            sums |= self._script_sums(done)
        return sums

    def _script_sums(self, done: Mapping[str, StepOutcome]) -> Mapping[str, object]:
        """What the script said; of several peers one after the other, each under its name."""
        if self.failed is not None:
            return {"exit_status": self.failed.exit_status, "output": self.failed.output}
        if not done:
            return {}
        texts = [outcome.output for outcome in done.values()]
        if len(self.steps[0]) > 1:
            texts = [f"{peer}:\n{outcome.output}" for peer, outcome in done.items()]
        return {"exit_status": 0, "output": cut_text("\n".join(texts))}
