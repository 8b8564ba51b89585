"""How a console gets an answer: it asks one peer, repeats itself, and turns to the next, until one answers.

Knows no sockets: those are in `sockets`, whose `Console` this is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Generic, Protocol, TypeVar

from pymr.base.errors import PymrError
from pymr.wire.frames import BadFrame, decode_heading, decode_reply, encode
from pymr.wire.requests import Refused, Reply, Request

RESEND_SECONDS = 1.0
ROTATE_SECONDS = 1.5
"""A request is repeated after the first, and goes to another peer after the second, without an answer."""

CONNECT_SECONDS = 0.3
"""Another peer is asked at once where none has let the console in for this long."""


class Unreachable(PymrError):  # noqa: N818  (what the cluster is)
    """No peer has answered. The message lists those that were asked, and how each of them stands.

    was_sent: the request has left for one of them, which may do it all the same.
    """

    was_sent = False


class Connection(Protocol):
    """A connection to a peer. problem: why there can be none; "" as far as is known."""

    name: str
    problem: str

    def begin(self) -> None:
        """Forget what went wrong before, and try again."""

    def send(self, frame: bytes) -> bool:
        """Whether a connection took the frame. Never blocks."""

    def receive(self) -> bytes | None:
        """The next frame that has come. Never blocks."""

    def state(self) -> str:
        """How the peer stands, in words, when it has not answered."""

    def close(self) -> None: ...


Answer = TypeVar("Answer", bound=Reply)
AnyConnection = TypeVar("AnyConnection", bound=Connection)

Wait = Callable[[Sequence[AnyConnection], float, AnyConnection | None], Sequence[AnyConnection]]
"""(dealers, seconds, writer): the dealers that have received something; early when `writer` can send."""


class Requester(Generic[AnyConnection]):
    """Asks peers, one request after the other, in one thread. Ctrl-C ends a wait.

    dealers: in the order in which they are asked; the one that has answered goes first the next time.
    timeout_s: for requests that bring none of their own.
    """

    def __init__(self, dealers: Sequence[AnyConnection], wait: Wait[AnyConnection], timeout_s: float) -> None:
        self._dealers = list(dealers)
        self._wait = wait
        self._timeout_s = timeout_s
        self._was_sent = False  # the request that is asked now

    def ask(
        self, request: Request, reply_type: type[Answer], timeout_s: float | None = None
    ) -> Answer | Refused:
        """What any peer answers. Raises Unreachable; BadFrame for a request too long to be sent.

        A peer that can do nothing at the moment, as it has just started or is cut off from Redis, refuses
        with the code "unavailable": the same request then goes to the others, for ROTATE_SECONDS at most.
        A peer of another release is a Refused with code "version".
        """
        dealers = list(self._dealers)
        answer = self._exchange(request, reply_type, dealers, timeout_s)
        others_until = time.monotonic() + ROTATE_SECONDS
        while _is_unavailable(answer) and len(dealers) > 1:
            refusing = self._dealers.pop(0)
            self._dealers.append(refusing)
            dealers.remove(refusing)
            try:
                answer = self._exchange(request, reply_type, dealers, others_until - time.monotonic())
            except Unreachable:
                break
        return answer

    def ask_peer(
        self, name: str, request: Request, reply_type: type[Answer], timeout_s: float | None = None
    ) -> Answer | Refused:
        """What this peer answers, and no other: for what only the owner of a worker can do."""
        dealers = [dealer for dealer in self._dealers if dealer.name == name]
        if not dealers:
            known = ", ".join(sorted(dealer.name for dealer in self._dealers))
            raise Unreachable(f"there is no peer {name}; the cluster has {known}")
        return self._exchange(request, reply_type, dealers, timeout_s)

    def close(self) -> None:
        for dealer in self._dealers:
            dealer.close()

    def __enter__(self) -> Requester[AnyConnection]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exchange(
        self,
        request: Request,
        reply_type: type[Answer],
        dealers: list[AnyConnection],
        timeout_s: float | None,
    ) -> Answer | Refused:
        frame = encode(request)
        self._was_sent = False
        began = time.monotonic()
        deadline = began + (self._timeout_s if timeout_s is None else timeout_s)
        for dealer in dealers:
            dealer.begin()
        for dealer in cycle(dealers):
            reply = self._ask_one(dealer, dealers, frame, request.id, deadline)
            if reply is not None:
                if not isinstance(reply, (reply_type, Refused)):
                    raise BadFrame(f"a peer answered with a {type(reply).__name__}", "message")
                return reply
            if time.monotonic() >= deadline or all(each.problem for each in dealers):
                break
        error = _unreachable(dealers, time.monotonic() - began)
        error.was_sent = self._was_sent
        for dealer in dealers:
            dealer.close()  # the next request begins with new connections
        raise error

    def _ask_one(
        self,
        dealer: AnyConnection,
        dealers: Sequence[AnyConnection],
        frame: bytes,
        request_id: str,
        deadline: float,
    ) -> Reply | None:
        """Send to one peer, and wait for the answer of any: one asked before may have been at it."""
        now = time.monotonic()
        until = min(deadline, now + ROTATE_SECONDS)
        connected_by = min(until, now + CONNECT_SECONDS) if len(dealers) > 1 else until
        due, was_sent = now, False
        while now < (until if was_sent else connected_by) and not dealer.problem:
            is_sent = now < due or dealer.send(frame)
            if is_sent and now >= due:
                due, was_sent = now + RESEND_SECONDS, True
                self._was_sent = True
            wake_at = min(due, until) if is_sent else (until if was_sent else connected_by)
            for ready in self._wait(dealers, max(wake_at - now, 0.0), None if is_sent else dealer):
                reply = _reply_from(ready, request_id)
                if reply is not None:
                    self._dealers.remove(ready)
                    self._dealers.insert(0, ready)
                    return reply
            now = time.monotonic()
        return None


def _is_unavailable(answer: Reply) -> bool:
    return isinstance(answer, Refused) and answer.code == "unavailable"


def _reply_from(dealer: Connection, request_id: str) -> Reply | None:
    """The answer to a request, among what a dealer has received; answers to earlier ones are dropped."""
    while (frame := dealer.receive()) is not None:
        try:
            reply = decode_reply(frame)
        except BadFrame as error:
            if error.code == "version":
                return Refused(id=request_id, code="version", reason=f"{dealer.name}: {error.reason}")
            if decode_heading(frame).id == request_id:
                raise
            continue
        if reply.id == request_id:
            return reply
    return None


def _unreachable(dealers: Sequence[Connection], seconds: float) -> Unreachable:
    if not dealers:
        return Unreachable("the cluster has no peers: list them in cluster.toml, as [[peers]]")
    states = "".join(f"\n  - {dealer.name}: {dealer.state()}" for dealer in dealers)
    return Unreachable(f"no peer has answered within {seconds:.1f} s; asked were:{states}")
