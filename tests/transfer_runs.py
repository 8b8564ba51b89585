"""Runs of file_transfer jobs step by step, as a leader has them done, over the data services of the peers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path

import msgspec

from pymr.config.cluster import ClusterConfig
from pymr.engine.tasks import TaskWatch
from pymr.jobs.job import FileTransferJob, parse_job
from pymr.peer.attempts.steps import StepContext
from pymr.peer.attempts.worker_protocol import StepOrder
from pymr.peer.worker.steps import do_step
from pymr.wire.outcomes import AttemptId, StepOutcome
from pymr.wire.protocol import StepInput, step_task
from tests.data_services import Service, make_config, peer_of

PEERS = ("alpha", "beta", "gamma")
"""gamma is on the host of alpha."""

_numbers = count(1)


class TransferRun:
    """A run of a transfer. outcomes: of the steps done, by task."""

    def __init__(self, config: ClusterConfig, **fields: object) -> None:
        job = {"job_type": "file_transfer", "job_name": "move", "job_priority": 0, "local_peer": "alpha"}
        parsed = parse_job({**job, **fields})
        assert isinstance(parsed, FileTransferJob)
        self.config = config
        self.job = parsed
        self.run_id = f"move-{next(_numbers)}"
        self.inputs: list[StepInput] = []
        self.outcomes: dict[str, StepOutcome] = {}
        self.watch = TaskWatch()
        self._tries = count(1)

    def plan(self) -> list[tuple[str, Sequence[str]]]:
        """The steps, each with the peers that do it."""
        everybody = [peer.name for peer in self.config.peers]
        local = [self.job.local_peer or ""]
        kind = self.job.transfer_type.removesuffix("_bulk")
        ending = [("delete", everybody)] if self.job.delete_files else []
        return {
            "upload": [("list", everybody), ("spread", local), ("copy", everybody)],
            "upload_auxiliary": [("list", local), ("copy", everybody)],
            "download": [("list", everybody), ("copy", local), *ending],
            "delete": [("delete", everybody)],
        }[kind]

    def run(self, until: str = "") -> TransferRun:
        """Do the steps, all or up to one of them."""
        for kind, peers in self.plan():
            if kind == until:
                break
            done = [self.do(kind, number, peer) for number, peer in enumerate(peers)]
            self.inputs += done
        return self

    def do(self, kind: str, number: int, peer: str) -> StepInput:
        order = self.order(kind, number)
        context = self._context(peer)
        run_dir = os.path.join(context.data_dir, "runs", self.run_id)
        self.outcomes[order.id.task] = do_step(context, order, run_dir, self.watch)
        return StepInput(order.id.task, order.id.attempt, peer)

    def do_apart(self, order: StepOrder, peer: str, faults: str = "", *, quiet: bool = True) -> int:
        """Do a step in a process of its own, in which faults happen; its exit status."""
        config = msgspec.json.encode((self.config, self.job, self.run_id, peer, order))
        process = subprocess.run(
            [sys.executable, "-m", "tests.transfer_runs"],
            input=config,
            env={**os.environ, "PYMR_FAULTS": faults},
            cwd=Path(__file__).parents[1],
            stdout=subprocess.DEVNULL if quiet else None,
            check=False,
            timeout=600,
        )
        return process.returncode

    def total(self, kind: str) -> StepOutcome:
        """The sums of a step over all peers."""
        of_kind = [outcome for task, outcome in self.outcomes.items() if task.startswith(f"{kind}-")]
        return StepOutcome(
            files=sum(outcome.files for outcome in of_kind),
            bytes=sum(outcome.bytes for outcome in of_kind),
            skipped=sum(outcome.skipped for outcome in of_kind),
        )

    def order(self, kind: str, number: int) -> StepOrder:
        """For a new attempt at a step."""
        id = AttemptId(self.run_id, step_task(kind, number), f"1.{next(self._tries)}")
        return StepOrder(id, tuple(self.inputs))

    def _context(self, peer: str) -> StepContext:
        return context_of(self.config, self.job, self.run_id, peer)


def context_of(config: ClusterConfig, job: FileTransferJob, run_id: str, peer: str) -> StepContext:
    data_dir = peer_of(config, peer).data_dir
    return StepContext(
        job=job,
        config=config,
        peer=peer,
        data_dir=data_dir,
        projects_dir="",
        run_id=run_id,
        worker=f"{peer}/0",
        engine=config.engine,
    )


@contextmanager
def serving(folder: Path, *, curve: bool = False, names: Sequence[str] = PEERS) -> Iterator[ClusterConfig]:
    """A cluster of which only the data services run."""
    config = make_config(folder, curve=curve, names=names)
    with ExitStack() as services:
        for service in [services.enter_context(Service(config, name)) for name in names]:
            service.await_serving()
        yield config


def write_tree(folder: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def read_tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, hidden ones included."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() or path.is_symlink()
    }


def data_of(config: ClusterConfig, peer: str) -> Path:
    return Path(peer_of(config, peer).data_dir)


def _work_apart() -> None:
    kinds = tuple[ClusterConfig, FileTransferJob, str, str, StepOrder]
    config, job, run_id, peer, order = msgspec.json.decode(sys.stdin.buffer.read(), type=kinds)
    context = context_of(config, job, run_id, peer)
    do_step(context, order, os.path.join(context.data_dir, "runs", run_id), TaskWatch())


if __name__ == "__main__":
    _work_apart()
