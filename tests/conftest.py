"""What holds for every test."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from cluster.standing import StandingClusters
from console import pymr
from hypothesis import HealthCheck, settings
from redis_fixture import cluster_name, own_redis, redis_server
from store_places import place, store

__all__ = ["cluster_name", "own_redis", "place", "pymr", "redis_server", "store"]

# Examples are judged by what comes of them, not by how long they take: machines that run tests may be busy.
settings.register_profile("pymr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pymr")

COLLECT_AFTER = (50_000, 20, 100)
"""As in a console. The engine collects garbage itself at every spill."""

# What whoever started the tests ignores (nohup, a shell's background), all that they start would ignore.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are lent a standing cluster come first, one after the other: so one process of several does
    all of them with the few clusters that it starts, and no other has to start its own."""
    items.sort(key=lambda item: "lend_cluster" not in getattr(item, "fixturenames", ()))


def pytest_collection_finish() -> None:
    """Thousands of tests and all that they import lie there to the end: the garbage collector need not look
    at them again and again, which takes an eighth of the time of tests that run in this process."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


@pytest.fixture(autouse=True)
def environment_of_children() -> Iterator[None]:
    """A test that loads a project into this process leaves nothing of it to the processes of later ones."""
    names = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
    before = {name: os.environ.get(name) for name in names}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture(scope="session")
def standing_clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandingClusters]:
    clusters = StandingClusters(lambda: tmp_path_factory.mktemp("standing"))
    yield clusters
    problems = clusters.end()

    assert problems == []


@pytest.fixture(autouse=True)
def idle_clusters_end(standing_clusters: StandingClusters) -> None:
    """Whichever test comes next, of whatever folder, those that were lent before do not idle for long."""
    problems = standing_clusters.end_idle()

    assert problems == []


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@pytest.fixture(autouse=True)
def signals_stay_as_they_are() -> Iterator[None]:
    """What a test would leave of them, all that later tests start would inherit."""
    before = [signal.getsignal(number) for number in _SIGNALS], signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    after = [signal.getsignal(number) for number in _SIGNALS], signal.pthread_sigmask(signal.SIG_BLOCK, ())

    assert after == before
