"""The cluster's configuration: a cluster.toml becomes frozen sections, or an error listing all that is wrong.

The settings themselves are declared in `sections`.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from pymr.base.errors import ConfigError, Problem
from pymr.base.spelling import did_you_mean
from pymr.config.byte_sizes import format_bytes, parse_bytes
from pymr.config.declared_fields import check_fields, declared_fields, shown_name
from pymr.config.sections import (
    MEMORY_BYTES_PER_WORKER_MIN,
    BackendConfig,
    ClusterConfig,
    EngineConfig,
    LaunchConfig,
    PanesConfig,
    PeerConfig,
    RedisConfig,
    SchedulerConfig,
    SecurityConfig,
    StorageConfig,
)
from pymr.config.toml_text import (
    comment_lines,
    field_lines,
    heading,
    parse_override,
    read_toml_file,
    toml_value,
)

__all__ = [
    "MEMORY_BYTES_PER_WORKER_MIN",
    "BackendConfig",
    "ClusterConfig",
    "EngineConfig",
    "LaunchConfig",
    "PanesConfig",
    "PeerConfig",
    "RedisConfig",
    "SchedulerConfig",
    "SecurityConfig",
    "StorageConfig",
    "cluster_toml",
    "format_bytes",
    "is_loopback",
    "load_config",
    "machine_memory_bytes",
    "managed_redis_socket",
    "memory_bytes_per_worker",
    "parse_bytes",
]

# The part of a machine's memory that its workers have together, unless the configuration says otherwise.
_WORKERS_SHARE_OF_MEMORY = 1 / 4
_CGROUP_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")

_SOCKET_PATH_BYTES_MAX = 100

_INTRODUCTION = (
    "# A cluster of pymr. A setting that is commented out has the value shown, unless its comment says",
    '# what leaving it out means. Sizes are numbers of bytes, or texts such as "64 MiB".',
)
_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "redis": RedisConfig,
    "engine": EngineConfig,
    "scheduler": SchedulerConfig,
    "storage": StorageConfig,
    "security": SecurityConfig,
    "panes": PanesConfig,
    "launch": LaunchConfig,
    "engine_dask": BackendConfig,
    "engine_ray": BackendConfig,
    "engine_spark": BackendConfig,
}


def load_config(path: str | None = None, overrides: Mapping[str, str] | None = None) -> ClusterConfig:
    """The configuration in a cluster.toml; for None all defaults, and no peers.

    overrides: settings over those of the file, such as {"engine.split_bytes": "1 MiB"}; not those of peers.
    Relative paths are taken from the folder of the file (for None, from that of the process).
    Raises ConfigError with all problems at once, each by the name of its section and setting.
    """
    given = read_toml_file(Path(path), ConfigError) if path is not None else {}
    folder = Path(path).absolute().parent if path is not None else Path.cwd()
    problems = _override(given, overrides or {})
    values, found = _check(given)
    problems += found
    problems += _peer_problems(values["peers"], folder, has_keys=bool(values["security"].get("keys_dir")))
    problems += _managed_redis_problems(values, given)
    if problems:
        raise ConfigError(path or "configuration", tuple(problems))
    return _build(values, folder, path)


def memory_bytes_per_worker(engine: EngineConfig, workers: int) -> int:
    """The memory bound of each of a machine's `workers` >= 1, in bytes.

    Where the configuration leaves it open: an equal part of a quarter of the machine's memory, and never less
    than MEMORY_BYTES_PER_WORKER_MIN.
    """
    if engine.memory_bytes_per_worker is not None:
        return engine.memory_bytes_per_worker
    share_bytes = int(machine_memory_bytes() * _WORKERS_SHARE_OF_MEMORY) // workers
    return max(share_bytes, MEMORY_BYTES_PER_WORKER_MIN)


def machine_memory_bytes(cgroup_limit: Path = _CGROUP_MEMORY_LIMIT) -> int:
    """The memory of this machine, or of its container where that has less."""
    physical_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(physical_bytes, int(cgroup_limit.read_text()))
    except (OSError, ValueError):  # absent outside containers; "max" where there is no limit
        return physical_bytes


def is_loopback(host: str) -> bool:
    """Whether a host name or address is certain to mean the machine that asks."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def managed_redis_socket(directory: str) -> str:
    """The socket of a managed Redis: in its folder; where that makes it too long, in a folder for temporary
    files. As `pymr.ops.private_redis` has it."""
    path = os.path.join(directory, "redis.sock")
    if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES_MAX:
        return path
    import tempfile
    from hashlib import sha256

    name = sha256(os.fsencode(directory)).hexdigest()[:16]
    return os.path.join(tempfile.gettempdir(), f"pymr-{os.getuid()}-{name}", "redis.sock")


def cluster_toml(
    cluster_name: str, peers: Sequence[PeerConfig], settings: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """A commented cluster.toml of `peers`, with every other setting commented out at its default.

    settings: those that are set, by section, such as {"redis": {"managed": True}}.
    """
    lines = [*_INTRODUCTION, *field_lines(declared_fields(ClusterConfig), {"name": cluster_name})]
    for section, declaring in _SECTIONS.items():
        lines += ["", heading(section), f"[{section}]"]
        lines += field_lines(declared_fields(declaring), (settings or {}).get(section, {}))
    lines += ["", heading("peers")]
    fields = declared_fields(PeerConfig)
    lines += [comment for field in fields for comment in comment_lines(f"{field.name}: {field.doc}")]
    for peer in peers:
        lines += ["", "[[peers]]"]
        lines += [f"{name} = {toml_value(value)}" for name, value in msgspec.structs.asdict(peer).items()]
    return "\n".join([*lines, ""])


def _override(given: dict[str, Any], overrides: Mapping[str, str]) -> list[Problem]:
    """Put `overrides` into the tables of `given`. Names of settings are judged later, of sections here."""
    problems = []
    for name, text in overrides.items():
        section, _, setting = name.rpartition(".")
        table = given.setdefault(section, {}) if section in _SECTIONS else given
        if section and section not in _SECTIONS:
            nearest = did_you_mean(name, _setting_names())
            problems.append(
                Problem(shown_name(name), text, f"is not a setting that can be overridden{nearest}")
            )
        elif isinstance(table, dict):
            table[setting] = parse_override(text)
    return problems


def _check(given: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The values of all sections, as nested dicts, and what is wrong with them."""
    values, problems = check_fields(declared_fields(ClusterConfig), given)
    problems += _unknown(given, ["name", *_SECTIONS, "peers"], "")
    for section, declaring in _SECTIONS.items():
        values[section], found = _check_section(declaring, given.get(section, {}), section)
        problems += found
    values["peers"] = []
    peers = given.get("peers", [])
    if not isinstance(peers, list):
        problems.append(
            Problem("peers", peers, "must be tables: each peer under a line [[peers]] of its own")
        )
        return values, problems
    for position, table in enumerate(peers):
        peer, found = _check_section(PeerConfig, table, f"peers[{position}]")
        values["peers"].append(peer)
        problems += found
    return values, problems


def _check_section(
    declaring: type[msgspec.Struct], table: object, section: str
) -> tuple[dict[str, Any], list[Problem]]:
    if not isinstance(table, dict):
        return {}, [Problem(section, table, "must be a table of settings")]
    fields = declared_fields(declaring)
    values, problems = check_fields(fields, table, prefix=f"{section}.")
    return values, problems + _unknown(table, [field.name for field in fields], f"{section}.")


def _unknown(table: Mapping[str, Any], known: Sequence[str], prefix: str) -> list[Problem]:
    return [
        Problem(prefix + shown_name(name), value, _why_unknown(name, known))
        for name, value in table.items()
        if name not in known
    ]


def _why_unknown(name: str, known: Sequence[str]) -> str:
    elsewhere = [setting for setting in _setting_names() if setting.endswith(f".{name}")]
    if elsewhere:
        return f"does not belong here; did you mean {elsewhere[0]}?"
    return f"is not a setting{did_you_mean(name, known)}"


def _setting_names() -> list[str]:
    """Every setting outside of peers, as in `engine.split_bytes`."""
    sections = [
        f"{section}.{field.name}" for section, one in _SECTIONS.items() for field in declared_fields(one)
    ]
    return ["name", *sections]


def _peer_problems(peers: Sequence[Mapping[str, Any]], folder: Path, *, has_keys: bool) -> list[Problem]:
    """What the peers cannot have together, and what they cannot have without keys.

    Settings of a peer that have a problem of their own are absent or None, and are passed over.
    """
    problems = []
    taken: dict[tuple[object, ...], str] = {}
    for position, peer in enumerate(peers):
        host = peer.get("host")
        if host and not has_keys and not is_loopback(host):
            reason = (
                "is not a loopback address: peers that others can reach need keys (set security.keys_dir)"
            )
            problems.append(Problem(f"peers[{position}].host", host, reason))
        for setting, owned in _owned_alone(peer, folder):
            here = f"peers[{position}].{setting}"
            if owned in taken:
                problems.append(
                    Problem(here, peer[setting], f"is the same as {taken[owned]}: it must differ")
                )
            taken.setdefault(owned, here)
    return problems + _nested_folders(peers, folder)


def _nested_folders(peers: Sequence[Mapping[str, Any]], folder: Path) -> list[Problem]:
    """Data folders in that of another peer of the machine, which would take them for files of its own."""
    places = [
        (position, _machine(peer["host"]), _absolute(peer["data_dir"], folder))
        for position, peer in enumerate(peers)
        if peer.get("host") and peer.get("data_dir")
    ]
    return [
        Problem(f"peers[{inner}].data_dir", path, f"lies in peers[{outer}].data_dir, {above}: it must not")
        for inner, machine, path in places
        for outer, other_machine, above in places
        if machine == other_machine and Path(above) in Path(path).parents
    ]


def _machine(host: str) -> str:
    return "here" if is_loopback(host) else host


def _managed_redis_problems(values: Mapping[str, Any], given: Mapping[str, Any]) -> list[Problem]:
    """Raise for settings that conflict with a managed Redis, which listens on a local socket."""
    if not values["redis"].get("managed"):
        return []
    problems = [
        Problem(f"redis.{name}", given["redis"][name], "must be left out with redis.managed")
        for name in ("url", "password_file")
        if given["redis"].get(name) is not None
    ]
    hosts = [peer["host"] for peer in values["peers"] if peer.get("host")]
    machines = set(map(_machine, hosts))
    if len(machines) > 1:
        reason = "serves the peers of one machine only; set redis.url to a Redis that all can reach"
        problems.append(Problem("redis.managed", True, reason))
    return problems


def _owned_alone(peer: Mapping[str, Any], folder: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    """(setting, what it claims) for each thing that no other peer may claim as well."""
    host = peer.get("host")
    if peer.get("name"):
        yield "name", ("name", peer["name"])
    for setting in ("control_port", "data_port"):
        if host and peer.get(setting):
            yield setting, ("address", "127.0.0.1" if host == "localhost" else host, peer[setting])
    if host and peer.get("data_dir"):
        yield "data_dir", ("folder", _machine(host), _absolute(peer["data_dir"], folder))


def _build(values: dict[str, Any], folder: Path, source: str | None) -> ClusterConfig:
    """The typed configuration of values without a problem, its paths made absolute."""
    tables = [(values["redis"], "password_file"), (values["security"], "keys_dir")]
    for table, setting in [*tables, *((peer, "data_dir") for peer in values["peers"])]:
        if table[setting] is not None:
            table[setting] = _absolute(table[setting], folder)
    _locate_managed_redis(values["redis"], folder)
    sections = {section: declaring(**values[section]) for section, declaring in _SECTIONS.items()}
    peers = tuple(PeerConfig(**peer) for peer in values["peers"])
    return ClusterConfig(**{**values, **sections, "peers": peers, "source": source})


def _locate_managed_redis(redis: dict[str, Any], folder: Path) -> None:
    if redis["managed"]:
        redis["directory"] = _absolute(redis["directory"], folder)
        redis["url"] = f"unix://{quote(managed_redis_socket(redis['directory']))}"


def _absolute(path: str, folder: Path) -> str:
    return os.path.normpath(folder / path)
