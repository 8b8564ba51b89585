"""Fixtures of the unit tests."""

from redis_fixture import cluster_name, own_redis, redis_server

__all__ = ["cluster_name", "own_redis", "redis_server"]
