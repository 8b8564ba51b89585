"""What a step of a script or file_transfer run is given, and how its outcome lies in its attempt's folder."""

from __future__ import annotations

import os
from dataclasses import dataclass

import msgspec

from pymr.base.errors import DamagedFileError
from pymr.config.cluster import ClusterConfig
from pymr.config.sections import EngineConfig
from pymr.jobs.job_types import FileTransferJob, ScriptJob
from pymr.wire.outcomes import StepOutcome

OUTCOME_NAME = "outcome"
"""The file in an attempt's folder that tells how it went. Its own; what else a step writes, it may name."""


@dataclass(frozen=True, slots=True)
class StepContext:
    """All that the steps of a run have in common on a peer.

    config: of the cluster. peer: the name of the peer that does it, whose data folder is data_dir.
    projects_dir: the folder in which that of a script's project lies; "" where the run has none.
    worker: that does it, `alpha/0`. engine: the section of the configuration.
    """

    job: ScriptJob | FileTransferJob
    config: ClusterConfig
    peer: str
    data_dir: str
    projects_dir: str
    run_id: str
    worker: str
    engine: EngineConfig


def step_outcome(attempt_dir: str) -> StepOutcome:
    """What a finished attempt at a step is reported with. Raises DamagedFileError, FileNotFoundError."""
    path = os.path.join(attempt_dir, OUTCOME_NAME)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return msgspec.msgpack.decode(data, type=StepOutcome)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DamagedFileError(f"the outcome of a step {path} is damaged: {error}") from error
