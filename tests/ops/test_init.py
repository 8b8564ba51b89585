"""`pymr init`: what it writes can be used as it is, and nothing that is there is overwritten."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest
from cluster.ports import free_port

from pymr.base.errors import ConfigError, FatalError
from pymr.client.submit import packed_project
from pymr.config.cluster import load_config
from pymr.jobs.job import load_job
from pymr.ops.init import add_key, init_cluster, next_steps
from pymr.wire.keys import load_security


def test_a_new_cluster_has_a_configuration_that_loads(tmp_path: Path) -> None:
    config = init_cluster(tmp_path / "my cluster", peers=4, workers=2).config

    assert config == load_config(str(tmp_path / "my cluster" / "cluster.toml"))
    assert config.name == "my-cluster"
    assert [peer.name for peer in config.peers] == ["alpha", "beta", "gamma", "peer-4"]
    assert {peer.workers for peer in config.peers} == {2}
    assert config.redis.managed
    for peer in config.peers:
        assert (Path(peer.data_dir) / "input").is_dir()


def test_everybody_has_a_key_that_only_its_owner_reads(tmp_path: Path) -> None:
    config = init_cluster(tmp_path / "c", peers=2, workers=1).config

    assert load_security(config).has_keys
    for peer in config.peers:
        assert load_security(config, peer.name).has_keys
    for secret in (tmp_path / "c" / "keys").glob("*.secret"):
        assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_the_first_job_is_ready_to_be_submitted(tmp_path: Path) -> None:
    cluster = init_cluster(tmp_path / "c", peers=1, workers=1)
    job = load_job(tmp_path / "c" / "wordcount.toml")

    assert packed_project(job, tmp_path / "c" / "projects") is not None
    assert any("pymr submit wordcount.toml" in step for step in next_steps(cluster))


def test_ports_in_use_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [free_port() for _ in range(3)]
    monkeypatch.setattr("pymr.ops.init._FIRST_PORT", first[0])
    monkeypatch.setattr("pymr.ops.init._PORT_STEP", 1)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first[1]))
        taken.listen()
        made = init_cluster(tmp_path / "a", peers=1, workers=1).config.peers[0]

    assert made.control_port >= first[2]


def test_a_cluster_is_not_made_over_another(tmp_path: Path) -> None:
    init_cluster(tmp_path, peers=1, workers=1)
    before = (tmp_path / "cluster.toml").read_text()
    with pytest.raises(FatalError, match="exists already"):
        init_cluster(tmp_path, peers=2, workers=1)

    assert (tmp_path / "cluster.toml").read_text() == before


def test_files_of_the_user_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "wordcount.toml").write_text("mine")
    init_cluster(tmp_path, peers=1, workers=1)

    assert (tmp_path / "wordcount.toml").read_text() == "mine"


def test_a_further_key_is_admitted_beside_the_others(tmp_path: Path) -> None:
    config = init_cluster(tmp_path, peers=1, workers=1).config
    add_key(config, "guest", "viewer")

    authorized = load_security(config, "guest").authorized
    assert sorted(authorized.values()) == [
        ("operator", "operator"),
        ("peer", "alpha"),
        ("viewer", "guest"),
    ]
    with pytest.raises(ConfigError, match="admitted already"):
        add_key(config, "guest", "operator")
