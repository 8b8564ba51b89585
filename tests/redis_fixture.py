"""Fixtures: a real Redis for each process that runs tests, and for each test a cluster name of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import pytest

from pymr.ops.private_redis import PrivateRedis

_numbers = count()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """A Redis that runs until the last test: no test may stop it, or leave it other than it was."""
    server = PrivateRedis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRedis]:
    """A Redis of this test alone, which may stop, kill and start it."""
    server = PrivateRedis(tmp_path_factory.mktemp("own-redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def cluster_name() -> str:
    """A name no other test of this process has."""
    return f"test-{next(_numbers)}"
