"""Keys: who a process is, and whom it admits. Reads and writes the files of `security.keys_dir`.

    NAME.secret     a key pair, mode 0600, on the machine of its owner only
    NAME.public     its public half, to hand to others
    authorized.toml every key that is admitted: [NAME], role = "peer" | "operator" | "viewer", public = "..."
"""  # fmt: skip

from __future__ import annotations

import base64
import json
import logging
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

from pymr.base.errors import ConfigError, Problem
from pymr.config.cluster import ClusterConfig
from pymr.config.kinds import check_name
from pymr.config.toml_text import parse_toml, read_toml_file
from pymr.wire.requests import Role

KEY_VARIABLE = "PYMR_KEY"
"""In the environment: the path of the .secret file that a console uses."""

AUTHORIZED_FILE = "authorized.toml"
LOCAL_USER = "operator:local"
"""Who everybody is in a cluster without keys."""

_FILE_BYTES_MAX = 1 << 20
_log = logging.getLogger("pymr")


class KeysError(ConfigError):
    """A key file that is missing, malformed or exposed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Security:
    """Who this process is to others, and whom it admits. Keys are Z85 text (40 bytes), as ZeroMQ writes them.

    public, secret: None in a cluster without keys. authorized: (role, name) by public key.
    peers: public keys of the peers by name. authorized_path: where these two were read from.
    """

    name: str
    public: bytes | None = None
    secret: bytes | None = field(default=None, repr=False)
    authorized: Mapping[bytes, tuple[Role, str]] = field(default_factory=dict)
    peers: Mapping[str, bytes] = field(default_factory=dict)
    authorized_path: Path | None = None
    _listed: AllowList = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_listed", AllowList(self))

    @property
    def has_keys(self) -> bool:
        return self.secret is not None

    def key_of_peer(self, name: str) -> bytes:
        """The public key of a peer, as authorized.toml has it now. Raises KeysError where there is none."""
        key = self._listed.key_of_peer(name)
        if key is None:
            raise _error(
                self.authorized_path or Path(AUTHORIZED_FILE),
                name,
                "",
                'has no key with role = "peer" here: take over the authorized.toml of a peer that has it',
            )
        return key


def load_security(config: ClusterConfig, name: str = "operator") -> Security:
    """The keys of a peer, or of whoever sits at a console (then $PYMR_KEY names the file, if it is set).

    Without `security.keys_dir`: a Security without keys. Raises KeysError.
    """
    if config.security.keys_dir is None:
        return Security(name)
    folder = Path(config.security.keys_dir)
    is_peer = any(peer.name == name for peer in config.peers)
    chosen = None if is_peer else os.environ.get(KEY_VARIABLE)
    path = Path(chosen) if chosen else folder / f"{name}.secret"
    public, secret = read_secret(path, _way_to_a_key(name, path, is_peer=is_peer, is_chosen=bool(chosen)))
    authorized_path = folder / AUTHORIZED_FILE
    authorized = read_authorized(authorized_path)
    if is_peer and authorized.get(public) != ("peer", name):
        raise _error(
            authorized_path,
            name,
            "",
            f'does not list the key of {path} with role = "peer": add it, on all peers',
        )
    return Security(path.stem, public, secret, authorized, _peers_of(authorized), authorized_path)


def _peers_of(authorized: Mapping[bytes, tuple[Role, str]]) -> dict[str, bytes]:
    return {listed: key for key, (role, listed) in authorized.items() if role == "peer"}


class AllowList:
    """The keys that are admitted, as authorized.toml has them now: read again whenever that file changes.

    So a key is added or taken away without a restart. A file that cannot be read leaves the list as it is.
    It is read for the first time with the first question. Cost of a question: one stat. Where several threads
    ask, one may be answered from the list before, at the moment of a change.
    """

    def __init__(self, security: Security) -> None:
        self._path = security.authorized_path
        self._by_key = security.authorized
        self._users = frozenset(security.authorized.values())
        self._peers = security.peers
        self._seen: tuple[int, int, int] | None = None

    def find(self, public: bytes) -> tuple[Role, str] | None:
        """(role, name) of a public key (Z85); None if it is not admitted."""
        self._refresh()
        return self._by_key.get(public)

    def has(self, role: str, name: str) -> bool:
        """Whether a key is listed under that name and role."""
        self._refresh()
        return (role, name) in self._users

    def key_of_peer(self, name: str) -> bytes | None:
        """The public key that is listed for a peer; None if there is none."""
        self._refresh()
        return self._peers.get(name)

    def _refresh(self) -> None:
        stamp = self._stamp()
        if stamp != self._seen:
            self._seen = stamp
            self._read()

    def _read(self) -> None:
        if self._path is None:
            return
        try:
            self._by_key = read_authorized(self._path)
        except ConfigError as error:
            _log.error(
                "the list of keys could not be read again; the one read before stays in force: %s", error
            )
        else:
            self._users = frozenset(self._by_key.values())
            self._peers = _peers_of(self._by_key)

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._path is None:
            return None
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_ino, status.st_size


def _way_to_a_key(name: str, path: Path, *, is_peer: bool, is_chosen: bool) -> str:
    """What to do where there is no such file."""
    role = "peer" if is_peer else "operator"
    make = f"`pymr keys {name} --role {role}` makes a key where the others are, in security.keys_dir"
    if is_peer:
        return f"{make}; copy {path.name} to this machine"
    if is_chosen:
        return f"${KEY_VARIABLE} has to name the .secret file of a key that the cluster admits; {make}"
    return f"set ${KEY_VARIABLE} to the path of your .secret file, if you have one; {make}"


def read_secret(path: Path, way_out: str = "") -> tuple[bytes, bytes]:
    """(public, secret) of a .secret file. Raises KeysError, also where others may read the file.

    way_out: what to do where it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _error(
            path,
            "file",
            str(path),
            f"cannot be read: {error.strerror}" + (f"; {way_out}" if way_out else ""),
        ) from error
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise _error(path, "file", str(path), "is not a regular file")
        if status.st_mode & 0o077:
            mode = f"{stat.S_IMODE(status.st_mode):04o}"
            raise _error(path, "mode", mode, f"others can read this secret: chmod 600 {path}")
        text = file.read(_FILE_BYTES_MAX).decode("utf-8", "replace")
    try:
        values = parse_toml(text, str(path), KeysError)
    except KeysError:
        # Not chained, and without its line: that might show the secret.
        raise _error(path, "file", str(path), "is not valid TOML: make the key anew") from None
    return _key_of(values, "public", path), _key_of(values, "secret", path)


def read_authorized(path: Path) -> dict[bytes, tuple[Role, str]]:
    """(role, name) by public key. Raises KeysError with what is wrong in it."""
    tables = read_toml_file(path, KeysError)
    if path.stat().st_mode & stat.S_IWOTH:
        raise _error(path, "mode", "writable", f"anybody can admit themselves here: chmod o-w {path}")
    authorized: dict[bytes, tuple[Role, str]] = {}
    for name, table in tables.items():
        try:
            check_name(name)
        except ValueError as error:
            raise _error(path, "name", name, str(error)) from None
        role = table.get("role") if isinstance(table, dict) else None
        if role not in get_args(Role):
            raise _error(path, f"{name}.role", role, f"must be one of {', '.join(get_args(Role))}")
        public = _key_of(table, "public", path, f"{name}.")
        if public in authorized:
            other = authorized[public][1]
            raise _error(path, f"{name}.public", "", f"is also the key of {other}: a key has one owner")
        authorized[public] = (cast(Role, role), name)
    return authorized


def write_key(directory: Path, name: str, public: bytes, secret: bytes) -> Path:
    """Write NAME.secret and NAME.public; the path of the former. Raises KeysError where one exists."""
    check_name(name)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    public_line = f'public = "{public.decode()}"\n'
    secret_path = directory / f"{name}.secret"
    secret_text = (
        f'# The secret key of {name}: stays here, mode 0600.\n{public_line}secret = "{secret.decode()}"\n'
    )
    _create(secret_path, secret_text, 0o600)
    try:
        _create(directory / f"{name}.public", f"# The public key of {name}.\n{public_line}", 0o644)
    except BaseException:
        secret_path.unlink()
        raise
    return secret_path


def write_authorized(directory: Path, entries: Mapping[str, tuple[Role, bytes]]) -> Path:
    """Write authorized.toml anew, in one step: name -> (role, public key)."""
    lines = ["# Who is admitted: peers run work, operators may change things, viewers may look."]
    for name, (role, public) in entries.items():
        check_name(name)
        heading = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
        lines += ["", f"[{heading}]", f'role = "{role}"', f'public = "{public.decode()}"']
    path = directory / AUTHORIZED_FILE
    temporary = directory / f".{AUTHORIZED_FILE}.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    _create(temporary, "\n".join([*lines, ""]), 0o644)
    temporary.replace(path)
    return path


# The alphabets of Z85 and of Python's base85 (RFC 1924), in the order of their digits.
_DIGITS = b"0123456789"
_LOWER = b"abcdefghijklmnopqrstuvwxyz"
_Z85 = _DIGITS + _LOWER + _LOWER.upper() + b".-:+=^!/*?&<>()[]{}@%$#"
_B85 = _DIGITS + _LOWER.upper() + _LOWER + b"!#$%&()*+-;<=>?@^_`{|}~"
_TO_Z85 = bytes.maketrans(_B85, _Z85)
_FROM_Z85 = bytes.maketrans(_Z85, _B85)


def encode_z85(key: bytes) -> bytes:
    """The text of a key of 32 bytes, as ZeroMQ writes it."""
    return base64.b85encode(key).translate(_TO_Z85)


def is_key(text: object) -> bool:
    """Whether `text` is a key as ZeroMQ writes it: 40 digits of Z85."""
    if not isinstance(text, str) or len(text) != 40 or not text.isascii():
        return False
    digits = text.encode()
    if not set(digits) <= set(_Z85):
        return False
    try:
        return len(base64.b85decode(digits.translate(_FROM_Z85))) == 32
    except ValueError:  # a group of five above 2**32
        return False


def _key_of(table: Mapping[str, Any], setting: str, path: Path, prefix: str = "") -> bytes:
    text = table.get(setting)
    if not is_key(text):
        raise _error(
            path, prefix + setting, "(not shown)", "must be a key: 40 characters, as `pymr init` writes it"
        )
    return str(text).encode()


def _create(path: Path, text: str, mode: int) -> None:
    """Write a file that did not exist; nobody but `mode` allows can read it at any time."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError as error:
        raise _error(
            path, "file", str(path), "exists already: remove it first if its key is to go"
        ) from error
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _error(path: Path, setting: str, value: object, reason: str) -> KeysError:
    return KeysError(str(path), (Problem(setting, value, reason),))
