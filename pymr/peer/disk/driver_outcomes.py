"""Outcomes of drivers, as they lie in the folders of their attempts."""

from __future__ import annotations

import os

import msgspec

from pymr.base.errors import DamagedFileError
from pymr.engine.segments import read_reduce_index
from pymr.wire.outcomes import DriverOutcome

OUTCOME_NAME = "outcome"
"""The file in an attempt's folder that tells how it went; the index beside it lists the parts."""


def driver_outcome(attempt_dir: str) -> DriverOutcome:
    """What a finished driver is reported with, after a look at whether its parts are all there.

    Raises DamagedFileError, FileNotFoundError.
    """
    read_reduce_index(attempt_dir)
    path = os.path.join(attempt_dir, OUTCOME_NAME)
    with open(path, "rb") as file:
        data = file.read()
    try:
        return msgspec.msgpack.decode(data, type=DriverOutcome)
    except (msgspec.MsgspecError, ValueError) as error:
        raise DamagedFileError(f"the outcome of a driver {path} is damaged: {error}") from error
