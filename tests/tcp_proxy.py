"""A TCP proxy that does to connections what networks do."""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from types import TracebackType

_PIECE_BYTES = 256 << 10
_LOOK_SECONDS = 0.05
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, 0 seconds


class Proxy:
    """Passes on what comes to `port`. reset_seconds: every connection is reset (RST) after so long.

    swallowed: so many of the first connections stay open, and nothing comes through them after the first
    `swallow_after` bytes from the server. connections: how many there have been.
    target: (host, port), or the path of a Unix socket. At any time: is_cut, so that nothing comes through and
    no connection ends; delay_seconds, by which every piece from the server comes later.
    """

    def __init__(
        self,
        target: tuple[str, int] | str,
        *,
        reset_seconds: float = float("inf"),
        swallowed: int = 0,
        swallow_after: int = 0,
    ) -> None:
        self.connections = 0
        self.is_cut = False
        self.delay_seconds = 0.0
        self._target = target
        self._reset_seconds = reset_seconds
        self._swallowed = swallowed
        self._swallow_after = swallow_after
        self._is_closed = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(_LOOK_SECONDS)
        self.port = int(self._listener.getsockname()[1])
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_closed = True
        for thread in list(self._threads):
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self.connections += 1
            passing = float("inf") if self.connections > self._swallowed else self._swallow_after
            thread = threading.Thread(target=self._pass_on, args=(client, server, passing))
            self._threads.append(thread)
            thread.start()

    def _connect(self) -> socket.socket:
        if not isinstance(self._target, str):
            return socket.create_connection(self._target)
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._target)
        return server

    def _pass_on(self, client: socket.socket, server: socket.socket, passing: float) -> None:
        """Both ways, in one thread, so that the sockets are really closed when they are closed."""
        end = time.monotonic() + self._reset_seconds
        other = {client: server, server: client}
        unsent = {client: b"", server: b""}
        for one in other:
            one.setblocking(False)
        try:
            while not self._is_closed and time.monotonic() < end:
                if self.is_cut:
                    time.sleep(_LOOK_SECONDS)
                    continue
                sources = [one for one in other if not unsent[other[one]]]
                readable, writable, _ = select.select(
                    sources, [one for one in other if unsent[one]], [], _LOOK_SECONDS
                )
                for one in readable:
                    data = one.recv(_PIECE_BYTES)
                    if not data:
                        return
                    if one is server:
                        time.sleep(self.delay_seconds)
                        data, passing = data[: int(min(passing, len(data)))], max(0, passing - len(data))
                    unsent[other[one]] = data
                for one in writable:
                    unsent[one] = unsent[one][one.send(unsent[one]) :]
        except OSError:
            pass
        finally:
            for one in other:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                one.close()
