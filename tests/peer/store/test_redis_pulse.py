"""A Redis that is slow is told from one that is silent, by what was measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tcp_proxy import Proxy

from pymr.ops.private_redis import PrivateRedis
from pymr.peer.store.redis_pulse import PULSE_SECONDS, RedisPulse
from pymr.peer.store.store import RedisConnection, StoreUnavailable

LIMIT_S = 0.3


class Redis:
    """Answers as it takes so many seconds of the clock; None: not at all. asked: how often."""

    shown_url = "redis://r"

    def __init__(self) -> None:
        self.now = 0.0
        self.takes: float | None = None
        self.asked = 0

    def connect(self, url: str, password: str | None, timeout_s: float) -> Redis:
        return self

    def ask(self, *command: str) -> bytes:
        self.asked += 1
        if self.takes is None:
            self.now += 2.0
            raise StoreUnavailable("Redis at redis://r has not answered within 2 s")
        self.now += self.takes
        return b"PONG"

    def close(self) -> None:
        pass


def late(text: str = "Redis at redis://r has not answered within 0.3 s") -> StoreUnavailable:
    error = StoreUnavailable(text)
    error.__cause__ = TimeoutError()
    return error


@pytest.fixture
def redis() -> Redis:
    return Redis()


@pytest.fixture
def pulse(redis: Redis) -> RedisPulse:
    return RedisPulse("redis://r", None, LIMIT_S, connect=redis.connect, clock=lambda: redis.now)


def test_the_first_trouble_is_told_at_once_and_then_measured_now_and_then(
    redis: Redis, pulse: RedisPulse
) -> None:
    redis.takes = 0.62
    told = [pulse.describe(late()) for _ in range(3)]

    assert told[0] == str(late())
    assert "answers after 0.62 s, and no peer can lead while that takes more than 0.3 s" in told[1]
    assert told[2] == told[1] and redis.asked == 2

    redis.takes = 0.7
    redis.now += PULSE_SECONDS

    assert pulse.describe(late()) == told[1]  # a little change is no news

    redis.takes = None
    redis.now += PULSE_SECONDS

    assert "has not answered within 2 s" in pulse.describe(late())

    pulse.note_answer()

    assert pulse.describe(late()) == str(late())


def test_what_was_no_matter_of_time_is_told_as_it_is(redis: Redis, pulse: RedisPulse) -> None:
    refused = StoreUnavailable("Redis at redis://r does not answer (Connection refused)")

    assert [pulse.describe(refused) for _ in range(2)] == [str(refused)] * 2
    assert redis.asked == 0


def test_one_that_is_quick_again_is_told_as_unsteady(redis: Redis, pulse: RedisPulse) -> None:
    redis.takes = 0.05
    pulse.describe(late())

    assert "has not answered within 0.3 s, a moment later in 0.05 s" in pulse.describe(late())


@pytest.fixture
def proxy(redis_server: PrivateRedis) -> Iterator[Proxy]:
    with Proxy(str(Path(redis_server.directory) / "redis.sock")) as proxy:
        yield proxy


def test_a_real_redis_that_is_slow_is_measured(proxy: Proxy) -> None:
    proxy.delay_seconds = 0.2
    connection = RedisConnection(f"redis://127.0.0.1:{proxy.port}", None, 0.1)
    with pytest.raises(StoreUnavailable, match=r"has not answered within 0\.1 s") as raised:
        connection.ask("PING")
    connection.close()
    pulse = RedisPulse(f"redis://127.0.0.1:{proxy.port}", None, 0.1)
    pulse.describe(raised.value)

    assert "answers after 0.2" in pulse.describe(raised.value)
