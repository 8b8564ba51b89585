"""Keys: secrets stay secret, what is wrong is told with what to do, a changed list is read again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st
from zmq.utils import z85

from pymr.config.cluster import ClusterConfig, PeerConfig, SecurityConfig
from pymr.wire.authorization import Authorization
from pymr.wire.frames import encode
from pymr.wire.keys import (
    LOCAL_USER,
    AllowList,
    KeysError,
    Security,
    encode_z85,
    is_key,
    load_security,
    read_secret,
    write_authorized,
    write_key,
)
from pymr.wire.requests import GetCluster

PEERS = ("alpha", "beta")


def make_keys(folder: Path) -> dict[str, bytes]:
    """Keys of two peers, an operator and a viewer, all authorized; their public ones by name."""
    publics = {}
    for name in (*PEERS, "operator", "watcher"):
        publics[name], secret = zmq.curve_keypair()
        write_key(folder, name, publics[name], secret)
    roles = {"alpha": "peer", "beta": "peer", "operator": "operator", "watcher": "viewer"}
    write_authorized(folder, {name: (roles[name], public) for name, public in publics.items()})  # type: ignore[misc]
    return publics


def config_of(folder: Path | None) -> ClusterConfig:
    peers = tuple(
        PeerConfig(
            name=name, host="127.0.0.1", control_port=port, data_port=port + 1, workers=1, data_dir=name
        )
        for port, name in enumerate(PEERS, 7_700)
    )
    return ClusterConfig(
        peers=peers, security=SecurityConfig(keys_dir=None if folder is None else str(folder))
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_keys(tmp_path / "keys")
    return tmp_path / "keys"


def test_a_peer_gets_its_own_key_and_those_of_others(folder: Path) -> None:
    security = load_security(config_of(folder), "alpha")

    assert security.has_keys
    assert security.authorized[security.public or b""] == ("peer", "alpha")
    assert set(security.peers) == set(PEERS)
    assert str(security.secret) not in repr(security)


def test_without_a_folder_of_keys_there_are_none() -> None:
    assert load_security(config_of(None), "alpha") == Security("alpha")
    assert not Security("alpha").has_keys


def test_a_console_takes_the_key_it_is_told_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_security(config_of(folder)).name == "operator"

    monkeypatch.setenv("PYMR_KEY", str(folder / "watcher.secret"))

    assert load_security(config_of(folder)).name == "watcher"
    assert load_security(config_of(folder), "alpha").name == "alpha"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_secret_is_for_its_owner_only_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        path = write_key(tmp_path, "alpha", *zmq.curve_keypair())
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_is_never_overwritten(folder: Path) -> None:
    before = (folder / "alpha.secret").read_bytes()
    with pytest.raises(KeysError, match="exists already"):
        write_key(folder, "alpha", *zmq.curve_keypair())

    assert (folder / "alpha.secret").read_bytes() == before


def test_a_pair_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "alpha.public").write_text("")
    with pytest.raises(KeysError):
        write_key(tmp_path, "alpha", *zmq.curve_keypair())

    assert not (tmp_path / "alpha.secret").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_secret_that_others_can_read_is_refused(folder: Path, mode: int) -> None:
    (folder / "alpha.secret").chmod(mode)

    with pytest.raises(KeysError, match="chmod 600"):
        load_security(config_of(folder), "alpha")


def test_a_missing_secret_is_told_with_its_path(folder: Path) -> None:
    (folder / "alpha.secret").unlink()

    with pytest.raises(KeysError, match=r"alpha\.secret.*(?s:.)*`pymr keys alpha --role peer`"):
        load_security(config_of(folder), "alpha")


def test_whoever_has_no_key_is_told_how_to_get_one_and_not_to_make_a_cluster(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYMR_KEY", raising=False)
    with pytest.raises(KeysError) as missing:
        load_security(config_of(folder), "nobody")
    monkeypatch.setenv("PYMR_KEY", str(folder / "gone.secret"))
    with pytest.raises(KeysError) as gone:
        load_security(config_of(folder), "nobody")

    for error in (missing, gone):
        assert "pymr init" not in str(error.value)
        assert "`pymr keys nobody --role operator`" in str(error.value)
    assert "set $PYMR_KEY" in str(missing.value)
    assert "gone.secret" in str(gone.value)


def test_a_pipe_is_no_key_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alpha.secret", 0o600)

    with pytest.raises(KeysError, match="regular file"):
        read_secret(tmp_path / "alpha.secret")


@pytest.mark.parametrize("text", ["", "secret = ", "public = 'x'", "public = 1", "\x00", "[" * 5_000])
def test_a_malformed_secret_is_told_without_showing_it(tmp_path: Path, text: str) -> None:
    path = tmp_path / "alpha.secret"
    path.touch(0o600)
    path.write_text(f'secret = "hunter2hunter2"\n{text}')

    with pytest.raises(KeysError) as caught:
        read_secret(path)

    assert "hunter2" not in str(caught.value)


def test_a_peer_that_is_not_on_the_list_is_told_so(folder: Path) -> None:
    write_authorized(folder, {})

    with pytest.raises(KeysError, match='role = "peer"'):
        load_security(config_of(folder), "alpha")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a]\nrole = 'king'\npublic = '{key}'", "one of peer, operator, viewer"),
        ("[a]\nrole = 'peer'\npublic = '{key}x'", "must be a key"),
        ("[a]\nrole = 'peer'", "must be a key"),
        ("a = 1", "one of"),
        ("['../a']\nrole = 'peer'\npublic = '{key}'", "letters"),
        ("[a]\nrole = 'peer'\npublic = '{key}'\n[b]\nrole = 'peer'\npublic = '{key}'", "one owner"),
        ("[a", "TOML"),
    ],
)
def test_a_malformed_list_is_refused(folder: Path, text: str, reason: str) -> None:
    key = zmq.curve_keypair()[0].decode()
    (folder / "authorized.toml").write_text(text.replace("{key}", key))

    with pytest.raises(KeysError, match=reason):
        load_security(config_of(folder), "alpha")


def test_a_list_that_anybody_can_write_is_refused(folder: Path) -> None:
    (folder / "authorized.toml").chmod(0o666)

    with pytest.raises(KeysError, match="chmod o-w"):
        load_security(config_of(folder), "alpha")


def test_names_with_dots_are_names(tmp_path: Path) -> None:
    public, secret = zmq.curve_keypair()
    write_key(tmp_path, "a.b", public, secret)
    write_authorized(tmp_path, {"a.b": ("viewer", public)})

    assert AllowList(load_security(config_of(tmp_path), "a.b")).find(public) == ("viewer", "a.b")


def test_a_list_is_read_again_when_it_has_changed(folder: Path) -> None:
    allowed = AllowList(load_security(config_of(folder), "alpha"))
    public = zmq.curve_keypair()[0]
    assert allowed.find(public) is None
    assert allowed.has("viewer", "watcher")

    write_authorized(folder, {"newcomer": ("viewer", public)})

    assert allowed.find(public) == ("viewer", "newcomer")
    assert not allowed.has("viewer", "watcher")


def test_a_list_that_is_broken_later_leaves_the_one_before(folder: Path) -> None:
    allowed = AllowList(load_security(config_of(folder), "alpha"))

    (folder / "authorized.toml").write_text("[oops")
    assert allowed.has("viewer", "watcher")
    (folder / "authorized.toml").unlink()
    assert allowed.has("viewer", "watcher")


@given(st.binary(min_size=32, max_size=32))
def test_keys_are_written_as_zeromq_writes_them(key: bytes) -> None:
    assert encode_z85(key) == z85.encode(key)
    assert is_key(encode_z85(key).decode())


@pytest.mark.parametrize(
    "text", [None, 1, "", "x" * 39, "x" * 41, "#" * 40, '"' * 40, "é" * 40, " " * 40, "_" * 40]
)
def test_what_is_no_key(text: object) -> None:
    assert not is_key(text)


def test_a_key_called_local_has_a_name_and_who_needs_no_key_has_none() -> None:
    known = Security("alpha", b"p" * 40, b"s" * 40, {b"q" * 40: ("operator", "local")})
    judged = [
        Authorization(security).authorize(b"1", LOCAL_USER, [encode(GetCluster(id="1"))])
        for security in (known, Security("alpha"))
    ]

    assert [one[0].user if one is not None else None for one in judged] == ["local", ""]
