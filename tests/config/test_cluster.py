"""The configuration: what a cluster.toml may say, what is refused, and the memory that workers get."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pymr.base.errors import ConfigError
from pymr.config.byte_sizes import GIB, KIB, MIB
from pymr.config.cluster import (
    MEMORY_BYTES_PER_WORKER_MIN,
    ClusterConfig,
    EngineConfig,
    LaunchConfig,
    PeerConfig,
    RedisConfig,
    SchedulerConfig,
    SecurityConfig,
    StorageConfig,
    cluster_toml,
    format_bytes,
    is_loopback,
    load_config,
    machine_memory_bytes,
    memory_bytes_per_worker,
    parse_bytes,
)
from pymr.config.declared_fields import declared_fields
from pymr.ops.private_redis import PrivateRedis

REPOSITORY = Path(__file__).parents[2]
SECTION_CLASSES: list[type[msgspec.Struct]] = [
    RedisConfig,
    PeerConfig,
    EngineConfig,
    SchedulerConfig,
    StorageConfig,
    SecurityConfig,
    LaunchConfig,
]
PEER = '[[peers]]\nname = "a"\nworkers = 1\ndata_dir = "data/a"\n'


def load_text(folder: Path, text: str, overrides: dict[str, str] | None = None) -> ClusterConfig:
    path = folder / "cluster.toml"
    path.write_text(text)
    return load_config(str(path), overrides)


def problems_of(folder: Path, text: str, overrides: dict[str, str] | None = None) -> dict[str, str]:
    """Reasons by setting; empty when the configuration is accepted."""
    try:
        load_text(folder, text, overrides)
    except ConfigError as error:
        return {problem.field: problem.reason for problem in error.problems}
    return {}


# ---- loading


def test_no_file_means_the_defaults() -> None:
    assert load_config(None) == ClusterConfig()
    assert load_config(None).engine == EngineConfig(
        memory_bytes_per_worker=None,
        split_bytes=64 * MIB,
        line_bytes_max=16 * MIB,
        block_bytes=256 * KIB,
        merge_fan_in_max=128,
        block_codec="none",
        downsample_seed=0,
    )


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    config = load_text(tmp_path, "")

    assert config == ClusterConfig(source=str(tmp_path / "cluster.toml"))


def test_sizes_are_numbers_or_texts(tmp_path: Path) -> None:
    engine = load_text(tmp_path, '[engine]\nsplit_bytes = "1.5 MiB"\nblock_bytes = 4096\n').engine

    assert (engine.split_bytes, engine.block_bytes) == (3 * MIB // 2, 4096)


def test_overrides_win_over_the_file(tmp_path: Path) -> None:
    overrides = {"engine.split_bytes": "1 MiB", "scheduler.cycle_seconds": "2", "name": "test"}
    config = load_text(tmp_path, 'name = "a"\n[engine]\nsplit_bytes = 5\nmerge_fan_in_max = 3\n', overrides)

    assert (config.name, config.scheduler.cycle_seconds) == ("test", 2.0)
    assert (config.engine.split_bytes, config.engine.merge_fan_in_max) == (MIB, 3)


def test_overrides_work_without_a_file() -> None:
    assert load_config(None, {"engine.block_codec": "zstd"}).engine.block_codec == "zstd"


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    text = f'[redis]\npassword_file = "secret"\n[security]\nkeys_dir = "keys"\n{PEER}'
    config = load_text(tmp_path, text)

    assert config.redis.password_file == str(tmp_path / "secret")
    assert config.security.keys_dir == str(tmp_path / "keys")
    assert config.peers[0].data_dir == str(tmp_path / "data" / "a")


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(AttributeError):
        load_config(None).engine.split_bytes = 1  # type: ignore[misc]


# ---- what is refused


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    text = """
        name = "a b"
        split_bytes = 3
        [engine]
        split_byte = 1
        merge_fan_in_max = 1
        block_codec = "zst"
        memory_bytes_per_worker = "63 MiB"
        [scheduler]
        cycle_seconds = 0
        [stoage]
        [[peers]]
        name = "a"
        """
    problems = problems_of(tmp_path, text)

    assert problems["name"].startswith("must be 1 to 64")
    assert problems["split_bytes"] == "does not belong here; did you mean engine.split_bytes?"
    assert problems["engine.split_byte"] == "is not a setting; did you mean split_bytes?"
    assert problems["engine.merge_fan_in_max"] == "must be at least 2"
    assert problems["engine.block_codec"].endswith("did you mean zstd?")
    assert problems["engine.memory_bytes_per_worker"] == "must be at least 64 MiB"
    assert problems["scheduler.cycle_seconds"] == "must be a finite number above 0"
    assert problems["stoage"] == "is not a setting; did you mean storage?"
    assert problems["peers[0].workers"] == "is required and missing"
    assert len(problems) == 10


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("engine.split_bytes", "0"),
        ("engine.split_bytes", "-1"),
        ("engine.split_bytes", "1.5"),
        ("engine.split_bytes", "true"),
        ("engine.split_bytes", "many"),
        ("engine.line_bytes_max", "0 B"),
        ("engine.downsample_seed", "-1"),
        ("scheduler.concurrent_runs", "0"),
        ("storage.shared", '["relative"]'),
        ("storage.shared", "/a"),
        ("security.local_roots", '["/a", 1]'),
    ],
)
def test_a_wrong_value_is_refused_under_its_full_name(setting: str, value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {setting: value})

    assert [problem.field for problem in caught.value.problems] == [setting]


def test_an_override_of_no_setting_names_the_closest_one() -> None:
    with pytest.raises(ConfigError, match=r"did you mean engine\.split_bytes\?"):
        load_config(None, {"engin.split_bytes": "1"})


def test_a_section_must_be_a_table(tmp_path: Path) -> None:
    assert problems_of(tmp_path, "engine = 3") == {"engine": "must be a table of settings"}
    assert list(problems_of(tmp_path, "engine = 3", {"engine.split_bytes": "1"})) == ["engine"]
    assert list(problems_of(tmp_path, '[peers]\nname = "a"')) == ["peers"]
    assert list(problems_of(tmp_path, "peers = [3]")) == ["peers[0]"]


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml"):
        load_config(str(tmp_path / "none.toml"))
    with pytest.raises(ConfigError, match=r"cluster\.toml: 1 problem\n.*line 2"):
        load_text(tmp_path, "\n[engine\n")


@pytest.mark.parametrize(
    "url", ["redis://localhost", "redis://h:1/2", "rediss://h:6380/0", "unix:///run/redis.sock"]
)
def test_the_forms_of_a_redis_url(url: str) -> None:
    assert load_config(None, {"redis.url": url}).redis.url == url


@pytest.mark.parametrize(
    "url", ["localhost:6379", "http://h", "redis://", "redis://h:port", "redis://h:0", "unix://"]
)
def test_what_is_no_redis_url(url: str) -> None:
    with pytest.raises(ConfigError, match="redis://HOST:PORT/DATABASE"):
        load_config(None, {"redis.url": url})


def test_a_password_in_the_redis_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="password_file") as caught:
        load_config(None, {"redis.url": "redis://:hunter2@h:6379/0"})

    assert "hunter2" not in str(caught.value)


# ---- peers


def test_peers_must_differ_in_name_ports_and_folder(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, PEER + PEER)

    assert problems == {
        "peers[1].name": "is the same as peers[0].name: it must differ",
        "peers[1].control_port": "is the same as peers[0].control_port: it must differ",
        "peers[1].data_port": "is the same as peers[0].data_port: it must differ",
        "peers[1].data_dir": "is the same as peers[0].data_dir: it must differ",
    }


@pytest.mark.parametrize(("first", "second", "inner"), [("data", "data/a/b", 1), ("data/a", "data", 0)])
def test_the_folder_of_a_peer_must_not_lie_in_that_of_another(
    tmp_path: Path, first: str, second: str, inner: int
) -> None:
    text = "".join(
        f'[[peers]]\nname = "{name}"\nworkers = 1\ndata_dir = "{folder}"\n'
        f"control_port = {port}\ndata_port = {port + 1}\n"
        for name, folder, port in (("a", first, 7701), ("b", second, 7703))
    )
    outer = f"peers[{1 - inner}].data_dir, {tmp_path}/data"

    assert problems_of(tmp_path, text) == {f"peers[{inner}].data_dir": f"lies in {outer}: it must not"}


def test_peers_of_two_machines_may_use_the_same_ports_and_folder(tmp_path: Path) -> None:
    text = (
        '[security]\nkeys_dir = "keys"\n'
        '[[peers]]\nname = "a"\nhost = "10.0.0.1"\nworkers = 1\ndata_dir = "/data"\n'
        '[[peers]]\nname = "b"\nhost = "10.0.0.2"\nworkers = 1\ndata_dir = "/data"\n'
    )

    assert problems_of(tmp_path, text) == {}


def test_the_two_ports_of_a_peer_must_differ(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, PEER + "control_port = 7701\n")

    assert list(problems) == ["peers[0].data_port"]


def test_a_peer_that_others_can_reach_needs_keys(tmp_path: Path) -> None:
    open_peer = PEER + 'host = "10.0.0.1"\n'

    assert "security.keys_dir" in problems_of(tmp_path, open_peer)["peers[0].host"]
    assert problems_of(tmp_path, '[security]\nkeys_dir = "keys"\n' + open_peer) == {}


@pytest.mark.parametrize("name", ["leader", "all", "a/b", ""])
def test_names_that_no_peer_can_have(tmp_path: Path, name: str) -> None:
    text = PEER.replace('"a"', f'"{name}"')

    assert list(problems_of(tmp_path, text)) == ["peers[0].name"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("LocalHost", True),
        ("0.0.0.0", False),
        ("10.0.0.1", False),
        ("localhost.example.org", False),
    ],
)
def test_which_hosts_are_loopback(host: str, expected: bool) -> None:
    assert is_loopback(host) is expected


# ---- a managed Redis, and how peers are launched


def test_a_managed_redis_listens_in_its_folder_beside_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    folder.mkdir()
    redis = load_text(folder, "[redis]\nmanaged = true\n" + PEER).redis

    assert redis.directory == str(folder / "redis")
    assert redis.url == f"unix://{tmp_path}/a%20b/redis/redis.sock"


@pytest.mark.parametrize("name", ["short", "long" * 40])
def test_a_managed_redis_is_where_it_is_looked_for(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    redis = load_text(tmp_path / name, "[redis]\nmanaged = true\n" + PEER).redis

    assert redis.url == PrivateRedis(redis.directory).url


def test_a_managed_redis_has_no_address_or_password_of_its_own(tmp_path: Path) -> None:
    text = '[redis]\nmanaged = true\nurl = "redis://localhost:6379/0"\npassword_file = "p"\n'

    assert set(problems_of(tmp_path, text)) == {"redis.url", "redis.password_file"}


def test_a_managed_redis_serves_one_machine(tmp_path: Path) -> None:
    def text(*hosts: str) -> str:
        peers = [
            f'[[peers]]\nname = "p{number}"\nhost = "{host}"\nworkers = 1\ndata_dir = "data/{number}"\n'
            f"control_port = {7000 + 2 * number}\ndata_port = {7001 + 2 * number}\n"
            for number, host in enumerate(hosts)
        ]
        return "\n".join(["[redis]\nmanaged = true\n[security]\nkeys_dir = 'keys'", *peers])

    assert problems_of(tmp_path, text("127.0.0.1", "127.0.0.2", "localhost")) == {}
    assert problems_of(tmp_path, text("ant", "ant")) == {}
    assert set(problems_of(tmp_path, text("ant", "bee"))) == {"redis.managed"}


@pytest.mark.parametrize("command", ["ssh", "ssh '{host}", ""])
def test_a_launch_command_that_cannot_be_used_is_refused(tmp_path: Path, command: str) -> None:
    problems = problems_of(tmp_path, f'[launch]\nssh_command = "{command}"\n')

    assert set(problems) == {"launch.ssh_command"}


# ---- the file in the repository, and written files


def test_the_cluster_toml_of_the_repository_has_three_peers_on_this_machine() -> None:
    config = load_config(str(REPOSITORY / "cluster.toml"))

    assert [peer.name for peer in config.peers] == ["alpha", "beta", "gamma"]
    assert all(is_loopback(peer.host) for peer in config.peers)


def test_the_cluster_toml_of_the_repository_is_what_cluster_toml_writes() -> None:
    path = REPOSITORY / "cluster.toml"
    config = load_config(str(path))
    peers = [
        msgspec.structs.replace(peer, data_dir=os.path.relpath(peer.data_dir, REPOSITORY))
        for peer in config.peers
    ]

    assert cluster_toml(config.name, peers) == path.read_text()


def test_a_written_file_shows_every_setting_and_loads_as_the_defaults(tmp_path: Path) -> None:
    text = cluster_toml("mine", [PeerConfig(name="a", workers=3, data_dir="/data")])
    commented_in = text.replace("\n# memory_bytes_per_worker", "\nmemory_bytes_per_worker")

    for section in SECTION_CLASSES:
        for field in declared_fields(section):
            assert f"{field.name} = " in text
    assert load_text(tmp_path, text).peers == (PeerConfig(name="a", workers=3, data_dir="/data"),)
    assert load_text(tmp_path, text).engine == EngineConfig()
    assert load_text(tmp_path, commented_in).engine.memory_bytes_per_worker == 256 * MIB


def test_a_written_file_has_the_settings_that_were_asked_for(tmp_path: Path) -> None:
    peers = [PeerConfig(name="a", workers=3, data_dir="data/a")]
    text = cluster_toml("mine", peers, {"redis": {"managed": True}, "security": {"keys_dir": "keys"}})
    config = load_text(tmp_path, text)

    assert config.redis.managed
    assert config.security.keys_dir == str(tmp_path / "keys")


def test_every_setting_is_declared_and_its_default_passes_its_own_check() -> None:
    for section in SECTION_CLASSES:
        fields = declared_fields(section)

        assert {field.name for field in fields} == set(section.__struct_fields__)
        for field in fields:
            assert field.default is None or field.kind.check(field.default) == field.default


# ---- sizes


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        (0, 0),
        (5, 5),
        ("5", 5),
        ("64 MiB", 64 * MIB),
        ("64mib", 64 * MIB),
        (" 1GB ", 10**9),
        ("1.5 GiB", 3 * GIB // 2),
        ("2 kB", 2000),
        ("1 TiB", 2**40),
        ("0.1 KiB", 102),
        ("7 B", 7),
    ],
)
def test_sizes_as_people_write_them(text: int | str, size_bytes: int) -> None:
    assert parse_bytes(text) == size_bytes


@pytest.mark.parametrize(
    "text", ["", "MiB", "-1", -1, "1 MB/s", "1 M", "1e6", "٣ MB", "1,5 GB", "9" * 30, True, 1.5]
)
def test_what_is_not_a_size(text: Any) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (1536, "1.5 KiB"),
        (64 * MIB, "64 MiB"),
        (5 * 2**40, "5 TiB"),
    ],
)
def test_sizes_as_they_are_shown(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


# ---- memory


def test_a_set_memory_bound_counts() -> None:
    assert memory_bytes_per_worker(EngineConfig(memory_bytes_per_worker=GIB), workers=100) == GIB


def test_workers_share_a_quarter_of_the_memory_and_have_64_mib_at_least() -> None:
    quarter_bytes = machine_memory_bytes() // 4

    assert memory_bytes_per_worker(EngineConfig(), workers=1) == max(
        quarter_bytes, MEMORY_BYTES_PER_WORKER_MIN
    )
    assert memory_bytes_per_worker(EngineConfig(), workers=10**6) == MEMORY_BYTES_PER_WORKER_MIN


def test_the_limit_of_a_container_counts_when_it_is_lower(tmp_path: Path) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(f"{100 * MIB}\n")
    assert machine_memory_bytes(limit) == 100 * MIB

    limit.write_text("max\n")
    assert machine_memory_bytes(limit) > 100 * MIB
    assert machine_memory_bytes(tmp_path / "none") == machine_memory_bytes(limit)
