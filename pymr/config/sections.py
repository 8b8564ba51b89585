"""The sections of a cluster.toml: declares the type, kind, default and meaning of every setting."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from pymr.config.byte_sizes import GIB, KIB, MIB, byte_size
from pymr.config.declared_fields import Declared
from pymr.config.kinds import (
    Kind,
    SecretError,
    absolute_path,
    boolean,
    check_text,
    choice,
    command_line,
    integer,
    list_of,
    number,
    plain_name,
    setting,
    text,
)

MEMORY_BYTES_PER_WORKER_MIN = 64 * MIB

# Words that `run_on` of a script job gives a meaning of their own.
_NOT_PEER_NAMES = ("leader", "all")


_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9.:_-]{0,252}")


def _host() -> Kind:
    def check(value: object) -> str:
        kept = check_text(value)
        if not _HOST.fullmatch(kept):
            raise ValueError("must be a host name or an IP address, without a port")
        return kept

    return Kind("host name or IP address", check)


def _redis_url() -> Kind:
    forms = "redis://HOST:PORT/DATABASE, rediss://... for TLS, or unix:///PATH"

    def check(value: object) -> str:
        kept = check_text(value)
        try:
            url = urlsplit(kept)
            has_port = url.port is None or url.port > 0
        except ValueError as error:
            raise ValueError(f"must be {forms}: {error}") from None
        if url.password is not None:
            raise SecretError(
                "must not hold a password: put that into a file, and the file into redis.password_file"
            )
        if url.scheme == "unix":
            complete = not url.netloc and len(url.path) > 1
        else:
            complete = url.scheme in ("redis", "rediss") and bool(url.hostname) and has_port
        if not complete:
            raise ValueError(f"must be {forms}")
        return kept

    return Kind(forms, check)


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Where the Redis of the cluster is."""

    url: Annotated[
        str,
        Declared(
            _redis_url(),
            "The Redis that all peers share: redis://HOST:PORT/DATABASE, or unix:///PATH for a socket.",
        ),
    ] = "redis://127.0.0.1:6379/0"
    password_file: Annotated[
        str | None,
        Declared(
            text(),
            "A file of mode 0600 with the password, relative to this file's folder. Left out: no password.",
            example="redis.password",
        ),
    ] = None
    managed: Annotated[
        bool,
        Declared(
            boolean(),
            "true: `pymr cluster start` starts a Redis of this cluster's own, and `pymr cluster stop` stops "
            "it; url is left out then. All peers are on this machine.",
        ),
    ] = False
    directory: Annotated[
        str,
        Declared(text(), "The folder of a managed Redis, relative to this file's folder."),
    ] = "redis"


class PeerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """One daemon on one machine."""

    name: Annotated[
        str,
        Declared(plain_name(reserved=_NOT_PEER_NAMES), "The peer's name; its workers are NAME/0, NAME/1..."),
    ]
    host: Annotated[
        str,
        Declared(_host(), "Where the other peers reach it. Without keys only a loopback address will do."),
    ] = "127.0.0.1"
    control_port: Annotated[
        int, Declared(integer(minimum=1, maximum=65535), "TCP port for control messages, and for consoles.")
    ] = 7700
    data_port: Annotated[
        int, Declared(integer(minimum=1, maximum=65535), "TCP port for bulk data: segments, files, panes.")
    ] = 7701
    workers: Annotated[
        int,
        Declared(
            integer(minimum=1, maximum=4096),
            "Number of tasks run at once. About one per core; more share the cores, and have less memory "
            "each.",
        ),
    ]
    data_dir: Annotated[
        str,
        Declared(
            text(), "The folder of this peer's input, output and state, relative to this file's folder."
        ),
    ]


class EngineConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How a worker uses memory and disk."""

    memory_bytes_per_worker: Annotated[
        int | None,
        Declared(
            byte_size(minimum=MEMORY_BYTES_PER_WORKER_MIN),
            "Memory bound of one worker, at least 64 MiB. Higher: fewer spills. Lower: more workers fit. "
            "Left out: the workers of a machine share a quarter of its memory.",
            example=256 * MIB,
        ),
    ] = None
    split_bytes: Annotated[
        int,
        Declared(
            byte_size(minimum=1),
            "Most input of one map task; less where that gives every worker one. Higher: fewer tasks, less "
            "overhead. Lower: better balance, and less to do again after a failure.",
        ),
    ] = 64 * MIB
    line_bytes_max: Annotated[
        int,
        Declared(
            byte_size(minimum=1),
            "Longest line read; a longer one is an error. Higher: a mapper may hold that much more memory.",
        ),
    ] = 16 * MIB
    block_bytes: Annotated[
        int,
        Declared(
            byte_size(minimum=1),
            "Size of a block on disk and on the wire, before compression. Higher: less overhead. Lower: a "
            "merge takes less memory, which is a block per segment.",
        ),
    ] = 256 * KIB
    merge_fan_in_max: Annotated[
        int,
        Declared(
            integer(minimum=2),
            "Number of segments merged at once. Higher: fewer passes over the disk. Lower: less memory, "
            "fewer open files.",
        ),
    ] = 128
    block_codec: Annotated[
        Literal["none", "zstd"],
        Declared(
            choice("none", "zstd"), "Compression of blocks. zstd saves disk and network, and costs CPU time."
        ),
    ] = "none"
    downsample_seed: Annotated[
        int,
        Declared(
            integer(minimum=0), "Which records a job with downsample keeps: the same ones for the same seed."
        ),
    ] = 0


class SchedulerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the leader runs the queue."""

    cycle_seconds: Annotated[
        float,
        Declared(
            number(above=0),
            "Least time in seconds from the beginning of one cycle to the next. Higher: recurring jobs run "
            "less often. Lower: they see new input sooner.",
        ),
    ] = 60.0
    concurrent_runs: Annotated[
        int,
        Declared(
            integer(minimum=1),
            "Number of jobs run at once. Higher: short jobs need not wait for long ones, and all share the "
            "workers.",
        ),
    ] = 1
    machine_grace_seconds: Annotated[
        float,
        Declared(
            number(above=0),
            "How long a run waits for a machine that is gone and has what nobody else has; then it fails, "
            "naming it. Higher: more time to repair the machine. Lower: the queue resumes sooner.",
        ),
    ] = 1800.0


class StorageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the machines share."""

    shared: Annotated[
        tuple[str, ...],
        Declared(
            list_of(absolute_path()),
            "Folders that every machine sees alike, such as network mounts. More: what a lost machine read "
            "there is taken over by others at once, instead of waiting for it.",
        ),
    ] = ()


class SecurityConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may connect, and what may be read."""

    keys_dir: Annotated[
        str | None,
        Declared(
            text(),
            "The folder of the keys, relative to this file's folder. Left out: nothing is encrypted, and "
            "peers accept connections from their own machine only.",
            example="keys",
        ),
    ] = None
    local_roots: Annotated[
        tuple[str, ...],
        Declared(
            list_of(absolute_path()),
            "Folders that absolute paths of jobs may lie in. None: wherever the daemon itself may read.",
        ),
    ] = ()


class PanesConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How long a peer keeps what its workers print. Of one worker in one run, it keeps 11 MiB at most."""

    keep_days: Annotated[
        float,
        Declared(
            number(above=0), "Days after which the output of a worker is removed. Higher: more of the past."
        ),
    ] = 7.0
    keep_bytes: Annotated[
        int,
        Declared(
            byte_size(minimum=1 * MIB),
            "Disk space of all output on a peer. Where it is over that, the oldest output of runs that did "
            "not fail goes first, then the oldest of those that failed; that of present runs stays.",
        ),
    ] = 2 * GIB


class LaunchConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How `pymr cluster start` reaches the other machines; pymr and this file are there already."""

    ssh_command: Annotated[
        str,
        Declared(
            command_line(must_hold="{host}"),
            "The command that runs another on a peer's host; {host} becomes that. No shell reads it here.",
        ),
    ] = "ssh -o BatchMode=yes {host}"
    remote_config: Annotated[
        str | None,
        Declared(
            absolute_path(),
            "Where the cluster.toml is on the other machines. Left out: at the same path as here.",
            example="/etc/pymr/cluster.toml",
        ),
    ] = None
    remote_command: Annotated[
        str, Declared(command_line(), "What starts a peer on the other machines; its options follow it.")
    ] = "pymr-peer"


class BackendConfig(msgspec.Struct, frozen=True, kw_only=True):
    """An external engine that does the tasks of jobs, those of `pymr run --engine` and those in the queue."""

    address: Annotated[
        str | None,
        Declared(
            text(),
            "Where it is, as it writes addresses itself. Left out: one of this machine, for each run.",
            example="tcp://scheduler:8786",
        ),
    ] = None
    options: Annotated[
        tuple[str, ...],
        Declared(
            list_of(setting()),
            "Options of the engine itself, each as KEY=VALUE; see docs/engines.md. Those of --engine-option "
            "come behind them.",
        ),
    ] = ()
    folder: Annotated[
        str | None,
        Declared(
            absolute_path(),
            "Where runs of jobs in the queue keep their files until they are published: all workers of the "
            "engine, and all peers, see it under this path. Left out: in the leader's data folder.",
            example="/mnt/shared/pymr",
        ),
    ] = None


class ClusterConfig(msgspec.Struct, frozen=True, kw_only=True):
    """A whole cluster.toml. Its relative paths have become absolute ones.

    peers: in the order of the file. source: the path it was read from; None for the defaults.
    """

    name: Annotated[
        str,
        Declared(plain_name(), "The cluster's name: two clusters can share a Redis under different names."),
    ] = "pymr"
    redis: RedisConfig = RedisConfig()
    peers: tuple[PeerConfig, ...] = ()
    engine: EngineConfig = EngineConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    storage: StorageConfig = StorageConfig()
    security: SecurityConfig = SecurityConfig()
    panes: PanesConfig = PanesConfig()
    launch: LaunchConfig = LaunchConfig()
    engine_dask: BackendConfig = BackendConfig()
    engine_ray: BackendConfig = BackendConfig()
    engine_spark: BackendConfig = BackendConfig()
    source: str | None = None
