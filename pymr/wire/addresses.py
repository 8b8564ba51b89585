"""Host names become addresses here, beside the loop: a name server that is down must not hold up a daemon."""

from __future__ import annotations

import ipaddress
import logging
import socket
import threading

from pymr.base.errors import ConfigError, Problem
from pymr.config.cluster import is_loopback

_log = logging.getLogger("pymr")


class Address:
    """host:port of a peer. An IP address is known at once; a name is looked up in a thread of its own."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.problem = ""
        self._known = _numeric(host)
        self._is_name = self._known is None
        self._lookup: threading.Thread | None = None

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def endpoint(self) -> str | None:
        """What ZeroMQ connects to; None while the name is being looked up. Never waits."""
        if self._known is None:
            self.look_up()
        return None if self._known is None else tcp_endpoint(self._known, self.port)

    def look_up(self) -> None:
        """Look a name up again, whose machine may have another address now; the old one holds until then."""
        if self._is_name and (self._lookup is None or not self._lookup.is_alive()):
            self._lookup = threading.Thread(target=self._resolve, name=f"look-up {self.host}", daemon=True)
            self._lookup.start()

    def _resolve(self) -> None:
        try:
            self._known = resolve(self.host)
            self.problem = ""
        except OSError as error:
            self.problem = f"its host name is not known here: {error.strerror or error}"


def bind_address(host: str, *, has_keys: bool) -> str:
    """The IP address that a peer listens on. Raises ConfigError for one that others reach, without keys."""
    if not has_keys and not is_loopback(host):
        reason = "is not a loopback address: peers that others can reach need keys (set security.keys_dir)"
        raise ConfigError("peers", (Problem("host", host, reason),))
    try:
        address = _numeric(host) or resolve(host)
    except OSError as error:
        reason = (
            f"cannot be resolved here: {error.strerror or error}; use an IP address, or correct /etc/hosts"
        )
        raise ConfigError("peers", (Problem("host", host, reason),)) from error
    if is_loopback(address) and not is_loopback(host):
        _log.warning(
            "host %s means %s on this machine, so that no other machine can connect: correct /etc/hosts, or "
            "give its IP address in cluster.toml",
            host,
            address,
        )
    return address


def is_here(host: str) -> bool:
    """Whether a host is this machine: a loopback address, or one that a socket can be bound to here."""
    if is_loopback(host):
        return True
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return any(_can_bind(family, address) for family, _, _, _, address in found)


def _can_bind(family: int, address: tuple[object, ...]) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address[0], 0, *address[2:]))
        except OSError:
            return False
    return True


def resolve(host: str) -> str:
    """The first IP address of a host name. May wait for a name server. Raises OSError."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


def tcp_endpoint(address: str, port: int) -> str:
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def _numeric(host: str) -> str | None:
    """The address itself, where `host` is one; that of this machine for `localhost`."""
    if host.lower() == "localhost":
        return "127.0.0.1"
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
