"""Spark's errors in words for the user who ran the job: Spark's own have pages of Java."""

from __future__ import annotations

from pymr.base.errors import FatalError, PymrError
from pymr.engines.core.backends import this_worker
from pymr.engines.core.run_watch import error_of_engine


def in_words(error: Exception) -> PymrError:
    """The error of a run for one of Spark's, of either way to it."""
    text, here = str(error), this_worker()
    if "PYTHON_VERSION_MISMATCH" in text:
        return FatalError(
            f"the workers of Spark run another Python than the driver on {here.host} ({here.python}): "
            f"set PYSPARK_PYTHON to one of that version there"
        )
    if "No module named 'pymr'" in text:
        return FatalError(
            "the workers of Spark cannot import pymr: install pymr-cluster there, in the same version as here"
        )
    if "Python worker exited unexpectedly" in text:
        return FatalError(
            "Python workers of Spark were killed again and again while they did a task: they ran out of "
            "memory, or the function crashes; a lower engine.memory_bytes_per_worker may help"
        )
    return error_of_engine(error, "Spark")
