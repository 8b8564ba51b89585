"""All stages in one process: what `pymr run --inline` does, and what any cluster run must equal."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pymr.engine.tasks import (
    JobContext,
    MapOutput,
    MapTask,
    ReduceOutput,
    ReduceTask,
    TaskWatch,
    run_map_task,
    run_reduce_task,
)


def map_all(context: JobContext, tasks: Sequence[MapTask], directory: str) -> list[MapOutput]:
    """Map every task, each into a folder of its own below `directory`. Raises as `run_map_task`."""
    outputs = []
    for task in tasks:
        folder = os.path.join(directory, f"map-{task.index:05d}")
        os.mkdir(folder)
        outputs.append(run_map_task(context, task, folder, TaskWatch()))
    return outputs


def reduce_all(context: JobContext, tasks: Sequence[ReduceTask], directory: str) -> list[ReduceOutput]:
    """Reduce every partition of what was mapped, likewise. Raises as `run_reduce_task`."""
    outputs = []
    for task in tasks:
        folder = os.path.join(directory, f"reduce-{task.partition:05d}")
        os.mkdir(folder)
        outputs.append(run_reduce_task(context, task, folder, TaskWatch()))
    return outputs
