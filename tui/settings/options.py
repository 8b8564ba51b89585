"""How the console was started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Options:
    """key_name: whose key of security.keys_dir is used. projects_dir: where projects are packed from; "" for
    the one beside the cluster.toml. theme: by name; "" for that of the settings."""

    key_name: str = "operator"
    is_read_only: bool = False
    projects_dir: str = ""
    theme: str = ""
