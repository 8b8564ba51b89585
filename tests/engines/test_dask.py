"""Runs on Dask give the same bytes as inline ones."""

from __future__ import annotations

from collections.abc import Iterator

import dask
import pytest
from cluster.running import Place, parts_of, set_options
from engines.generated_jobs import check_generated_jobs

from pymr.engines.dask import DaskEngine

BATCHES, JOBS_PER_BATCH = 6, 50

IDLE_LESS = {
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.tick.interval": "1s",
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.memory.monitor-interval": "1s",
    "distributed.worker.profile.enabled": False,
}
"""What Dask watches while it does nothing costs as much here as the jobs."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskEngine]:
    """Its workers are threads of this process."""
    options = {"processes": False, "host": None}
    directory = str(tmp_path_factory.mktemp("dask"))
    with dask.config.set(IDLE_LESS), DaskEngine(None, options, workers=2, directory=directory) as engine:
        yield engine


@pytest.mark.parametrize("batch", range(BATCHES))
def test_generated_jobs_give_the_same_bytes_as_inline(engine: DaskEngine, batch: int) -> None:
    check_generated_jobs(engine, JOBS_PER_BATCH, batch)


def test_workers_killed_in_map_and_in_reduce_cost_nothing(place: Place) -> None:
    """What the one in reduce had mapped is mapped again."""
    functions = """
        import os
        import signal

        def words(line, auxiliary_data):
            kill_once("map", line == "b 4")
            return [(word, 1) for word in line.split()]

        def total(group, auxiliary_data):
            kill_once("reduce", group.key == "b")
            return [(group.key, sum(group.values))]

        def kill_once(name, may_kill):
            mark = os.path.join(FOLDER, name)
            if FOLDER and may_kill and not os.path.exists(mark):
                open(mark, "w").close()
                os.kill(os.getpid(), signal.SIGKILL)
    """
    place.functions(functions.replace("FOLDER", "''"), functions.replace("FOLDER", "''"))
    for number in range(6):
        place.feed(f"a {number}", f"b {number}", name=f"{number}.txt")
    options = set_options(partitions=3, engine__split_bytes=8)
    place.succeed("--inline", *options)
    expected = parts_of(place.output)
    source = functions.replace("FOLDER", repr(str(place.folder)))
    place.functions(source, source)
    place.succeed("--engine", "dask", "--workers", 2, *options)

    assert (place.folder / "map").exists() and (place.folder / "reduce").exists()
    assert parts_of(place.output) == expected
