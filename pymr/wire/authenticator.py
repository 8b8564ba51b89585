"""Who may connect: answers the questions that ZeroMQ asks of every new connection (ZAP, RFC 27)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from pymr.config.cluster import is_loopback
from pymr.wire.keys import LOCAL_USER, AllowList, Security, encode_z85

_VERSION = b"1.0"
_LOGGED_MAX = 1_000  # then each is logged once more, rather than remembered for ever
_log = logging.getLogger("pymr")


class Admission:
    """Decides on connections. denied: how many were turned away. To be used in one thread."""

    def __init__(self, security: Security) -> None:
        self.denied = 0
        self._has_keys = security.has_keys
        self._allowed = AllowList(security)
        self._logged: set[tuple[str, str]] = set()

    def answer(self, request: Sequence[bytes]) -> list[bytes]:
        """The frames that answer those of a question. Never raises: a connection would hang then."""
        number = request[1] if len(request) > 1 else b""
        try:
            _, _, _, address, _, mechanism, *credentials = request
            user = self._user(address.decode("ascii", "replace"), mechanism, credentials)
        except Exception:
            _log.exception("a connection could not be judged, and was turned away")
            return [_VERSION, number, b"500", b"internal error", b"", b""]
        if user is None:
            self.denied += 1
            return [_VERSION, number, b"400", b"not admitted", b"", b""]
        return [_VERSION, number, b"200", b"OK", user.encode(), b""]

    def _user(self, address: str, mechanism: bytes, credentials: Sequence[bytes]) -> str | None:
        """`role:name` of who connects; None for one who may not."""
        if not self._has_keys:
            if mechanism == b"NULL" and is_loopback(address.removeprefix("::ffff:")):
                return LOCAL_USER
            self._note_denial(address, "only this machine may connect where there are no keys")
        elif mechanism != b"CURVE" or len(credentials) != 1 or len(credentials[0]) != 32:
            self._note_denial(address, "it shows no key")
        else:
            public = encode_z85(credentials[0])
            found = self._allowed.find(public)
            if found is not None:
                return ":".join(found)
            self._note_denial(address, f"its key {public.decode()} is not in authorized.toml")
        return None

    def _note_denial(self, address: str, reason: str) -> None:
        if len(self._logged) >= _LOGGED_MAX:
            self._logged.clear()
        if (address, reason) not in self._logged:
            self._logged.add((address, reason))
            _log.warning("a connection from %s was turned away: %s", address, reason)
