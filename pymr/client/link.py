"""A console's connection to a cluster: how `client.Client` asks, and whom."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from pymr.client.errors import ClientError, RefusedError, UnreachableError
from pymr.client.panes import PANES_SECONDS
from pymr.config.cluster import ClusterConfig
from pymr.wire import sockets
from pymr.wire.frames import BadFrame
from pymr.wire.keys import Security, load_security
from pymr.wire.requests import PACKAGE_CHUNK_BYTES, Done, PutPackage, Refused, Reply, Request, doubt

if TYPE_CHECKING:
    from pymr.data.client import DataClient

ANSWER_SECONDS = 5.0
"""A question is given up when no peer has answered for this long."""

Answer = TypeVar("Answer", bound=Reply)


class ClientLink:
    """Asks peers for one thread, and closes its sockets at the end. For the arguments see `client.Client`.

    problem: what was wrong with the cluster by the last answer, so that this was perhaps old; "" if nothing.
    """

    def __init__(
        self, config: ClusterConfig, name: str = "operator", *, timeout_s: float = ANSWER_SECONDS
    ) -> None:
        self.config = config
        self.timeout_s = timeout_s
        self._security: Security = load_security(config, name)
        self._console = sockets.ConsoleSocket(
            [(peer.name, peer.host, peer.control_port) for peer in config.peers],
            self._security,
            timeout_s,
        )
        self._data: DataClient | None = None
        self.problem = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._console.close()
        if self._data is not None:
            self._data.close()

    def _put_package(self, content_hash: str, data: bytes, peer: str = "") -> None:
        count = -(-len(data) // PACKAGE_CHUNK_BYTES)
        for index in range(count):
            piece = data[index * PACKAGE_CHUNK_BYTES : (index + 1) * PACKAGE_CHUNK_BYTES]
            request = PutPackage(id=new_id(), content_hash=content_hash, index=index, count=count, data=piece)
            if self._do(request, peer=peer) == "known":
                return

    def _do(self, request: Request, *, peer: str = "", timeout_s: float | None = None) -> str:
        return self._ask(request, Done, peer=peer, timeout_s=timeout_s).detail

    def _ask(
        self,
        request: Request,
        answer_type: type[Answer],
        *,
        peer: str = "",
        timeout_s: float | None = None,
    ) -> Answer:
        """The answer to a request. peer: which one has to give it; "" for any."""
        timeout_s = timeout_s or self.timeout_s
        try:
            if peer:
                answer = self._console.ask_peer(peer, request, answer_type, timeout_s)
            else:
                answer = self._console.ask(request, answer_type, timeout_s)
        except sockets.Unreachable as error:
            unsure = doubt(request) if error.was_sent else ""
            raise UnreachableError(f"{error}{unsure}") from error
        except BadFrame as error:
            raise ClientError(str(error)) from error
        self.problem = answer.problem
        if isinstance(answer, Refused):
            raise RefusedError(answer.code, answer.reason)
        return answer

    def _data_client(self) -> DataClient:
        if self._data is None:
            from pymr.data.client import DataClient

            self._data = DataClient(self.config, self._security)
        return self._data

    @contextmanager
    def _hasty_data_client(self) -> Iterator[DataClient]:
        """One that gives up after PANES_SECONDS, for questions whose answers are only good to have."""
        from pymr.data.client import DataClient

        data = DataClient(self.config, self._security, PANES_SECONDS)
        try:
            yield data
        finally:
            data.close()


def new_id() -> str:
    """For a request: unique to it, and the same in its repetitions."""
    return os.urandom(12).hex()
