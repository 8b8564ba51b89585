"""Steps: what runs of script and file_transfer jobs consist of, each done on one peer so that it counts.

Runs in the worker process. As with tasks, the folder of the attempt gets its name when all in it is on the
disk; what is returned says again what the outcome in it says.
"""

from __future__ import annotations

import os

import msgspec

from pymr.base.durable import write_file
from pymr.base.errors import DiskError
from pymr.base.faults import fault_point
from pymr.engine.tasks import TaskWatch
from pymr.peer.attempts.attempts import commit_attempt
from pymr.peer.attempts.steps import OUTCOME_NAME, StepContext, step_outcome
from pymr.peer.attempts.worker_protocol import StepOrder
from pymr.wire.outcomes import StepOutcome


def do_step(context: StepContext, order: StepOrder, run_dir: str, watch: TaskWatch) -> StepOutcome:
    """Do a step; leaves the folder STEP-NUMBER-ATTEMPT in `run_dir`. A finished one is not done again.

    What does it is given the folder, which is empty; it flushes to the disk itself what it writes there. On
    the watch, `moved` says (files, bytes).
    Raises what the step raises, and DiskError; then nothing is left of the attempt. A disk that is full when
    a script has run already counts against it: whoever runs it again has to be allowed to.
    """
    has_run_script = False

    def work(folder: str) -> None:
        if order.id.kind == "script":
            from pymr.peer.attempts.scripts import run_script  # what most workers never need

            nonlocal has_run_script
            has_run_script = True
            outcome = run_script(context, order, folder, watch)
        else:
            from pymr.peer.transfers.transfers import do_transfer_step

            outcome = do_transfer_step(context, order, folder, watch)
        fault_point("step.before_outcome")
        write_file(os.path.join(folder, OUTCOME_NAME), msgspec.msgpack.encode(outcome))
        fault_point("attempt.after_write")

    watch.records = watch.groups = None
    watch.moved = (0, 0)
    try:
        return commit_attempt(order.id, run_dir, work, step_outcome)
    except DiskError as error:
        error.is_counted = error.is_counted or has_run_script
        raise
