"""What becomes of a frame that has come in: a message to act on, a refusal to send back, or nothing."""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from pymr.wire.frames import (
    BadFrame,
    decode_heading,
    decode_peer,
    decode_request,
    is_of_console,
    kind_of_frame,
)
from pymr.wire.keys import AllowList, Security
from pymr.wire.protocol import Orders, PeerMessage, Relayed, Wake
from pymr.wire.requests import READING, Refused, Request, Role, only_looks

BAD_FRAMES_MAX = 3
"""Bad frames after which nothing is read of a sender any more, until it connects anew."""

DENIALS_SECONDS = 60.0
"""What is denied to somebody again and again is logged this often at most."""

_IDENTITIES_MAX = 10_000  # senders of bad frames that are remembered; beyond, the oldest are forgotten
_ASKS = frozenset(str(kind.__struct_config__.tag) for kind in get_args(Request))
_VIEWER_ASKS = frozenset(str(kind.__struct_config__.tag) for kind in READING)
_log = logging.getLogger("pymr")


@dataclass(frozen=True, slots=True)
class Sender:
    """Where a message is from. identity: of the connection. role, name: of its key, by authorized.toml.
    has_key: False in a cluster without keys, where everybody has the same name."""

    identity: bytes
    role: Role
    name: str
    has_key: bool = True

    @property
    def user(self) -> str:
        """The name of the key; "" where there are no keys."""
        return self.name if self.has_key else ""


class Authorization:
    """Judges frames, without ever failing. bad_frames: how many said nothing valid; denied: nothing allowed.

    ignored: frames of senders that had BAD_FRAMES_MAX bad ones.
    """

    def __init__(self, security: Security) -> None:
        self.bad_frames = 0
        self.denied = 0
        self.ignored = 0
        self._has_keys = security.has_keys
        self._allowed = AllowList(security)
        self._bad_frames: OrderedDict[bytes, int] = OrderedDict()
        self._silent_until: dict[tuple[str, str], float] = {}  # as many as there are keys and requests

    def authorize(
        self, identity: bytes, user: str, parts: Sequence[bytes]
    ) -> tuple[Sender, PeerMessage | Request | Refused] | None:
        """user: `role:name`, as the authenticator gave it. parts: the frames of one message; one is right."""
        if self._bad_frames.get(identity, 0) >= BAD_FRAMES_MAX:
            self.ignored += 1
            return None
        role, _, name = user.partition(":")
        if role not in get_args(Role):
            self._count_bad_frame(identity, user, "a sender that no authenticator has seen")
            return None
        sender = Sender(identity, cast(Role, role), name, self._has_keys)
        if len(parts) != 1:
            self._count_bad_frame(identity, user, f"{len(parts)} frames, where a message is one")
            return None
        verdict = self._judge_frame(sender, parts[0])
        return None if verdict is None else (sender, verdict)

    def _judge_frame(self, sender: Sender, frame: bytes) -> PeerMessage | Request | Refused | None:
        user = f"{sender.role}:{sender.name}"
        try:
            if kind_of_frame(frame) == b"P":
                message = decode_peer(frame)
                impostor = self._impostor(sender, message)
                if not impostor:
                    return message
                self.denied += 1
                self._count_bad_frame(sender.identity, user, impostor)
                return None
            if denial := self._denial(sender, decode_heading(frame).ask):
                return self._deny(sender, frame, denial)
            request = decode_request(frame)
            if denial := self._denial(sender, str(request.__struct_config__.tag)):
                return self._deny(sender, frame, denial)
            return request
        except BadFrame as error:
            self._count_bad_frame(sender.identity, user, error.reason)
            if not is_of_console(frame):
                return None
            code = "version" if error.code == "version" else "invalid"
            return Refused(id=decode_heading(frame).id, code=code, reason=error.reason)

    def _denial(self, sender: Sender, ask: str) -> str:
        """Why a request is refused to its sender, judged before the rest of it is read; "" if it is not.

        ask: what it asks; "" where that cannot be told, as of what is no request at all.
        """
        if self._is_revoked(sender):
            return f"the key of {sender.name} is no longer admitted as {sender.role}"
        if sender.role == "viewer" and ask and ask not in _VIEWER_ASKS:
            return only_looks(sender.name)
        return ""

    def _deny(self, sender: Sender, frame: bytes, reason: str) -> Refused:
        heading = decode_heading(frame)
        self.denied += 1
        self._tell(sender, heading.ask, reason)
        return Refused(id=heading.id, code="denied", reason=reason)

    def _tell(self, sender: Sender, ask: str, reason: str) -> None:
        """Log a denial, the same one not too often."""
        now = time.monotonic()
        denial = sender.name, ask if ask in _ASKS else ""
        if now >= self._silent_until.get(denial, now):
            self._silent_until[denial] = now + DENIALS_SECONDS
            _log.warning("denied to %s %s: %.64s: %s", sender.role, sender.name, ask, reason)

    def _impostor(self, sender: Sender, message: PeerMessage) -> str:
        """Why a message of peers is not believed: not a peer's key, or another peer's name; "" if it is."""
        if not self._has_keys:
            return ""
        if sender.role != "peer":
            return f"a {type(message).__name__} with the key of {sender.name}, which is not a peer's"
        if self._is_revoked(sender):
            return f"a {type(message).__name__} with the key of {sender.name}, which is no longer admitted"
        claimed = _speaker(message)
        if claimed not in ("", sender.name):
            return f"a {type(message).__name__} of {claimed} with the key of {sender.name}"
        return ""

    def _is_revoked(self, sender: Sender) -> bool:
        return self._has_keys and not self._allowed.has(sender.role, sender.name)

    def _count_bad_frame(self, identity: bytes, user: str, reason: str) -> None:
        self.bad_frames += 1
        bad_frames = self._bad_frames[identity] = self._bad_frames.pop(identity, 0) + 1
        if len(self._bad_frames) > _IDENTITIES_MAX:
            self._bad_frames.popitem(last=False)
        if bad_frames == 1:
            _log.warning("a bad frame from %s: %.500s", user or "nobody", reason)
        elif bad_frames == BAD_FRAMES_MAX:
            _log.warning("%s sent %d bad frames: nothing more is read of this connection", user, bad_frames)


def _speaker(message: PeerMessage) -> str:
    """The peer that a message says it is from; "" where it does not."""
    if isinstance(message, Orders):
        return message.leader
    return "" if isinstance(message, Wake | Relayed) else message.peer
