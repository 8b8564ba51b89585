"""Relays: questions that only the leader can answer well, passed on to it by the peer that was asked."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from pymr import __version__
from pymr.wire.frames import BadFrame, decode_reply, decode_request, encode
from pymr.wire.protocol import PeerMessage, Relay, Relayed
from pymr.wire.requests import (
    ClusterView,
    GetCluster,
    GetJob,
    GetJobs,
    GetPeers,
    GetWorkers,
    Reply,
    Request,
    Role,
)

RELAY_SECONDS = 1.0
"""How long the leader has to answer before the peer that was asked answers from what it knows itself."""

WAITING_MAX = 1_000
"""Most questions under way; further ones are answered without the leader."""

_FOR_LEADER = (GetCluster, GetJobs, GetJob, GetPeers, GetWorkers)


class LeaderProxy:
    """Questions under way to the leader. send: gives a message to a peer. call_later: the loop's."""

    def __init__(
        self,
        me: str,
        send: Callable[[str, PeerMessage], None],
        call_later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._me = me
        self._send = send
        self._call_later = call_later
        self._waiting: dict[str, Callable[[Reply], object]] = {}
        self._count = 0

    @staticmethod
    def is_for_leader(request: Request) -> bool:
        """Whether the leader knows more of it than others."""
        return isinstance(request, _FOR_LEADER)

    def ask(
        self,
        leader: str,
        request: Request,
        respond: Callable[[Reply], object],
        answer_here: Callable[[], object],
    ) -> None:
        """Pass a question on; `answer_here` is called instead where no answer comes in time."""
        if len(self._waiting) >= WAITING_MAX:
            answer_here()
            return
        self._count += 1
        number = f"{self._me}-{self._count}"

        def give_up() -> None:
            if self._waiting.pop(number, None) is not None:
                answer_here()

        self._waiting[number] = respond
        self._call_later(RELAY_SECONDS, give_up)
        self._send(leader, Relay(id=number, peer=self._me, body=encode(request)))

    def take(self, answer: Relayed) -> None:
        """The leader has answered."""
        respond = self._waiting.pop(answer.id, None)
        if respond is not None:
            respond(decode_reply(answer.body))

    def answer(self, relay: Relay, answer: Callable[[Request, Callable[[Reply], object]], object]) -> None:
        """Have a question that another peer has passed on answered, if it is one of those."""
        try:
            request = decode_request(relay.body)
        except BadFrame:
            return
        if self.is_for_leader(request):
            answer(request, lambda reply: self._send(relay.peer, Relayed(id=relay.id, body=encode(reply))))

    def as_own(self, reply: Reply, role: Role, *, is_draining: bool) -> Reply:
        """The leader's answer, for a console of that role: it has asked this peer, and not the leader."""
        if not isinstance(reply, ClusterView):
            return reply
        own = {"peer": self._me, "version": __version__, "is_draining": is_draining}
        return msgspec.structs.replace(reply, role=role, **own)
