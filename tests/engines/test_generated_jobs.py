"""Generated jobs on the engines that take long to start; those on Dask are in test_dask.py, and more."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from engines.generated_jobs import check_generated_jobs

from pymr.engines.core.backends import LIBRARIES, open_engine
from pymr.runs.info import Backend

GENERATED_JOBS = 30


@pytest.mark.parametrize("engine", [name for name in ("ray", "spark") if find_spec(LIBRARIES[name])])
def test_generated_jobs_give_the_same_bytes_as_inline(tmp_path: Path, engine: str) -> None:
    with open_engine(Backend(engine), workers=2, directory=str(tmp_path)) as opened:
        check_generated_jobs(opened, GENERATED_JOBS)
