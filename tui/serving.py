"""`pymr-tui --serve`: the same console in a browser of this machine. Each page has a process of its own that
ends with it. Whoever has no token gets nothing, as a console may run code in the cluster."""

from __future__ import annotations

import asyncio
import secrets
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from string import Template

import click
from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server

HOST = "127.0.0.1"
NAMES = frozenset({HOST, "localhost"})
"""By what the server may be called. Another name in a request is that of a page of another host, whose name
was made to lead here (DNS rebinding)."""

END_SECONDS = 5.0
"""A console that does not end on request is ended by a signal after this time."""

EXIT_FAILED = 1

PAGES_MAX = 16
"""Most pages at once; the process of each takes some 50 MB."""

_SIZE_MAX = 1_000
_FONT_SIZE = 16
_PAGE = Path(__file__).with_name("serving.html")
_SCRIPT = _PAGE.with_suffix(".js")
_MESSAGE_BYTES_MAX = 1 << 20

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def serve(port: int, arguments: Sequence[str]) -> int:
    """Serve consoles until Ctrl-C. Returns the exit status.

    arguments: of `pymr-tui`, for each console.
    """
    return asyncio.run(_serve(ConsoleServer(port, arguments)))


async def _serve(server: ConsoleServer) -> int:
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=2 * END_SECONDS)
    await runner.setup()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        await web.TCPSite(runner, HOST, server.port).start()
    except OSError as error:
        click.echo(
            f"pymr-tui: cannot serve on {HOST}:{server.port}: {error.strerror or error}; "
            f"choose another port: --serve PORT",
            err=True,
        )
        await runner.cleanup()
        return EXIT_FAILED
    click.echo(f"The console is at {server.address}")
    click.echo("Whoever has this address can do in the cluster what you can. Ctrl-C ends it.")
    await ended.wait()
    await runner.cleanup()
    return 0


class ConsoleProcess(AppService):
    """A console process, behind a page."""

    async def set_terminal_size(self, width: int, height: int) -> None:
        """Raises TypeError for what no page says: the process would draw a screen of any size."""
        if type(width) is not int or type(height) is not int:
            raise TypeError(f"no size of a terminal: {width!r}, {height!r}")
        await super().set_terminal_size(_size(width), _size(height))

    async def until_ended(self) -> None:
        """Wait for the process to say nothing more."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def end(self) -> None:
        """End the process, and wait for that."""
        with suppress(TimeoutError, ConnectionError):
            await asyncio.wait_for(self.stop(), END_SECONDS)
        process = self._process
        if process is None:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), END_SECONDS)
        if process.returncode is None:
            process.kill()
            await process.wait()


class ConsoleServer(Server):
    """The web server. Only a page that it has given out itself may open a console, and only with the token.

    The token is in addresses, never in a cookie: browsers send cookies to all ports of a host, so that a
    server of another user of this machine could be given it.
    """

    def __init__(self, port: int, arguments: Sequence[str]) -> None:
        command = [sys.executable, "-P", "-m", "tui", *arguments]
        super().__init__(f"exec {shlex.join(command)}", host=HOST, port=port, title="pymr")
        self._token = secrets.token_urlsafe(32)
        self._pages: set[web.WebSocketResponse] = set()

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.port}/?token={self._token}"

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._guarded])
        app.router.add_get("/", self.handle_index)
        app.router.add_get("/serving.js", self._handle_script)
        app.router.add_get("/ws/{token}", self.handle_websocket)
        app.router.add_get("/download/{key}", self.handle_download)
        app.router.add_static("/static", self.statics_path)
        app.on_response_prepare.append(self._add_headers)
        app.on_shutdown.append(self._close_pages)
        return app

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if not is_of_this_machine(request.host):
            raise web.HTTPForbidden(text=f"This is no server of {request.host}.\n")
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{request.host}":
            raise web.HTTPForbidden(text="A page of another server may not do that.\n")
        return await handler(request)

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        """Nothing comes from other hosts, the address goes to none, and no other page shows this one."""
        response.headers["Content-Security-Policy"] = (
            "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; font-src 'self'; "
            f"img-src data:; connect-src 'self' ws://{request.host}; form-action 'self'; base-uri 'none'; "
            "frame-ancestors 'none'"
        )
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        response.headers["Cache-Control"] = "no-store"

    def _check(self, token: str) -> None:
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            raise web.HTTPForbidden(text="Open the address that `pymr-tui --serve` has printed.\n")

    def _refuse_too_many(self) -> None:
        if len(self._pages) >= PAGES_MAX:
            text = f"There are {PAGES_MAX} pages of this server already: close one and load this one again.\n"
            raise web.HTTPServiceUnavailable(text=text)

    async def handle_index(self, request: web.Request) -> web.Response:
        self._check(request.query.get("token", ""))
        self._refuse_too_many()
        page = Template(_PAGE.read_text(encoding="utf-8")).substitute(
            title="pymr",
            token=escape(self._token),
            websocket=escape(f"ws://{request.host}/ws/{self._token}"),
            font_size=_number(request, "fontsize", _FONT_SIZE),
        )
        return web.Response(text=page, content_type="text/html")

    async def _handle_script(self, _request: web.Request) -> web.FileResponse:
        return web.FileResponse(_SCRIPT)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        self._check(request.match_info["token"])
        self._refuse_too_many()
        page = web.WebSocketResponse(heartbeat=15, max_msg_size=_MESSAGE_BYTES_MAX)
        self._pages.add(page)
        try:
            await page.prepare(request)
            await self._run_console(request, page)
        finally:
            self._pages.discard(page)
        return page

    async def _run_console(self, request: web.Request, page: web.WebSocketResponse) -> None:
        """A console for a page, until one of the two ends."""

        async def close() -> None:
            await page.close()

        console = ConsoleProcess(
            self.command,
            write_bytes=page.send_bytes,
            write_str=page.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        try:
            await console.start(_number(request, "width", 80), _number(request, "height", 24))
            tasks = [
                asyncio.create_task(self._read_page(page, console)),
                asyncio.create_task(console.until_ended()),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            await console.end()
            await page.close()

    async def _read_page(self, page: web.WebSocketResponse, console: ConsoleProcess) -> None:
        """Give the console what comes from the page, until that is closed or says what no page says."""
        with suppress(ValueError, TypeError, LookupError, AttributeError, AssertionError, ConnectionError):
            await self._process_messages(page, console)

    async def _close_pages(self, _app: web.Application) -> None:
        await asyncio.gather(*(page.close() for page in list(self._pages)), return_exceptions=True)


def is_of_this_machine(host: str) -> bool:
    """Whether a Host header names this machine; the port may be another one, as that of a tunnel is."""
    name, _, port = host.partition(":")
    return name in NAMES and (not port or port.isdecimal())


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, "")
    return _size(int(text)) if text.isascii() and text.isdecimal() else default


def _size(number: int) -> int:
    return min(max(number, 1), _SIZE_MAX)
