"""The password of Redis, from a file that nobody else can read."""

from __future__ import annotations

import os
import stat

from pymr.base.errors import ConfigError, Problem
from pymr.config.cluster import ClusterConfig


def redis_password(config: ClusterConfig) -> str | None:
    """What `redis.password_file` holds; None without one. Raises ConfigError where others could read it."""
    path = config.redis.password_file
    if path is None:
        return None
    try:
        with open(path) as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise ConfigError(
                    str(config.source),
                    (Problem("redis.password_file", path, f"can be read by others: chmod 600 {path}"),),
                )
            return file.read().strip()
    except OSError as error:
        problem = Problem("redis.password_file", path, f"cannot be read: {error.strerror}")
        raise ConfigError(str(config.source), (problem,)) from error
