"""Commit: what a run on an engine has made, of the attempts whose results the engine kept, and of no others.

Each attempt has a folder of its own; what a zombie or a speculative one has made is in none that is named
here, and goes with the run's folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from pymr.base.errors import FatalError
from pymr.engine.tasks import MapOutput, ReduceOutput
from pymr.engines.core.reduce_side import PartitionReport
from pymr.engines.core.setup import BAD_RECORDS


def committed(
    reports: Sequence[PartitionReport], run_dir: str, map_tasks: int, partitions: int
) -> tuple[list[MapOutput], list[ReduceOutput]]:
    """The outputs of all tasks, each once, in their order.

    Raises FatalError where the engine has lost a partition or given one twice, and where partitions were made
    of map outputs that differ, as when a map task that was done again has put out something else.
    """
    reports = sorted(reports, key=lambda report: report.partition)
    if [report.partition for report in reports] != list(range(partitions)):
        raise FatalError(
            f"the engine has given {len(reports):,} results for {partitions:,} partitions: run the job again"
        )
    mapped = [_located(output, run_dir) for report in reports for output in report.mapped]
    if len(mapped) != map_tasks:
        raise FatalError(f"the engine has lost map tasks: {len(mapped):,} of {map_tasks:,} have come")
    if len({report.digest for report in reports if report.digest}) > 1:
        raise FatalError(
            "a map task was done again, as its output was lost, and gave other items for the same input. "
            "A map function must not depend on time, chance or anything but its line and auxiliary data"
        )
    return mapped, [report.output for report in reports if report.output.parts]


def _located(output: MapOutput, run_dir: str) -> MapOutput:
    name = output.bad_records_path
    return replace(output, bad_records_path=name and os.path.join(run_dir, BAD_RECORDS, name))
