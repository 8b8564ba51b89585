"""Which cluster is meant: a configuration, the path of one, or the one that this environment names."""

from __future__ import annotations

import os

from pymr.base.errors import ConfigError, Problem
from pymr.config.cluster import ClusterConfig, load_config

CONFIG_VARIABLE = "PYMR_CONFIG"
CONFIG_NAME = "cluster.toml"


def choose_config(config: ClusterConfig | str | os.PathLike[str] | None) -> ClusterConfig:
    """The configuration. None: $PYMR_CONFIG, then ./cluster.toml.

    Raises ConfigError where there is none, or a bad one, or one without peers.
    """
    if not isinstance(config, ClusterConfig):
        path = os.fspath(config or os.environ.get(CONFIG_VARIABLE) or CONFIG_NAME)
        if not os.path.isfile(path):
            reason = (
                f"does not exist: make a cluster with `pymr init DIR`, then name its {CONFIG_NAME}, also in "
                f"${CONFIG_VARIABLE}"
            )
            raise ConfigError(path, (Problem("config", path, reason),))
        config = load_config(os.path.abspath(path))
    if not config.peers:
        reason = "is empty: add a section [[peers]] for each peer, or make a cluster with `pymr init DIR`"
        raise ConfigError(config.source or "configuration", (Problem("peers", (), reason),))
    return config
