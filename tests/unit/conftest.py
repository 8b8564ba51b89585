"""Fixtures of the unit tests."""

import signal
from collections.abc import Iterator

import pytest
from console import pymr
from redis_fixture import cluster_name, own_redis, redis_server
from store_places import place, store

__all__ = ["cluster_name", "own_redis", "place", "pymr", "redis_server", "store"]


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@pytest.fixture(autouse=True)
def signals_stay_as_they_are() -> Iterator[None]:
    """What a test would leave of them, all that later tests start would inherit."""
    before = [signal.getsignal(number) for number in _SIGNALS], signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    after = [signal.getsignal(number) for number in _SIGNALS], signal.pthread_sigmask(signal.SIG_BLOCK, ())

    assert after == before
