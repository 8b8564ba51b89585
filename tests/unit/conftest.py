"""Fixtures of the unit tests."""

from console import pymr
from redis_fixture import cluster_name, own_redis, redis_server
from store_places import place, store

__all__ = ["cluster_name", "own_redis", "place", "pymr", "redis_server", "store"]
