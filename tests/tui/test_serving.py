"""The console for a browser: who is let in, what comes over the socket, and that nothing is left."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from aiohttp import web
from cluster.clusters import Cluster
from serving_process import PYMR_TUI, Serving, serving

import tui.serving as serving_module
from tui.serving import ConsoleProcess, ConsoleServer, is_of_this_machine

ANSWER_S = 30.0

Lend = Callable[[], Cluster]


@pytest.fixture
def server(lend_cluster: Lend, tmp_path: Path) -> Iterator[Serving]:
    cluster = lend_cluster()
    with serving("--config", str(cluster.path), PYMR_TUI_CONFIG=str(tmp_path / "none.toml")) as server:
        yield server


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(ANSWER_S)) as session:
        yield session


async def read_until(page: aiohttp.ClientWebSocketResponse, *words: str) -> str:
    """What a page gets, until all of these words were in it."""
    text = ""
    while not all(word in text for word in words):
        message = await page.receive(ANSWER_S)
        assert message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT), (message, text[-500:])
        if message.type is aiohttp.WSMsgType.BINARY:
            text += message.data.decode("utf-8", "replace")
    return text


async def refused(session: aiohttp.ClientSession, url: str, **headers: str) -> int:
    """The status with which a websocket is refused."""
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await session.ws_connect(url, headers=headers)
    return caught.value.status


async def test_who_comes_from_elsewhere_is_refused(server: Serving, session: aiohttp.ClientSession) -> None:
    async def status(url: str, **headers: str) -> int:
        async with session.get(url, headers=headers) as answer:
            return answer.status

    socket_url = f"{server.root}/ws/{server.token}".replace("http", "ws")

    assert await status(server.url) == 200
    assert await status(server.root) == 403
    assert await status(f"{server.root}/?token=wrong") == 403
    assert await status(f"{server.root}/?token=%ff") == 403
    assert await status(server.url, Host=f"rebound.example:{server.port}") == 403
    assert await status(server.url, Origin="http://other.example") == 403
    assert await status(server.url, Origin="null") == 403
    assert await status(f"{server.root}/static/js/textual.js", Host="rebound.example") == 403
    assert await refused(session, f"{server.root}/ws/wrong") == 403
    assert await refused(session, socket_url, Origin="http://other.example") == 403
    assert await refused(session, socket_url, Origin=f"http://127.0.0.1:{server.port + 1}") == 403
    assert await refused(session, socket_url, Host=f"rebound.example:{server.port}") == 403
    assert server.consoles() == []


async def test_a_page_loads_nothing_from_other_hosts(server: Serving, session: aiohttp.ClientSession) -> None:
    async with session.get(server.url) as answer:
        text = await answer.text()
        headers = answer.headers

    assert text.count("://") == text.count(f"ws://127.0.0.1:{server.port}/") == 1
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"


async def test_a_page_gets_a_console_of_its_own_that_ends_with_it(
    server: Serving, session: aiohttp.ClientSession
) -> None:
    origin = server.root
    async with session.ws_connect(
        f"{server.root}/ws/{server.token}?width=100&height=30", origin=origin
    ) as page:
        await read_until(page, "1 Jobs", "leader")
        (console,) = server.consoles()
        await page.send_json(["stdin", "4"])
        await read_until(page, "heard")
    _, alive = psutil.wait_procs([console], ANSWER_S)

    assert alive == []
    assert server.process.poll() is None


async def test_quitting_in_the_page_closes_it(server: Serving, session: aiohttp.ClientSession) -> None:
    async with session.ws_connect(f"{server.root}/ws/{server.token}", origin=server.root) as page:
        await read_until(page, "1 Jobs", "leader")
        await page.send_json(["stdin", "q"])
        while not (await page.receive(ANSWER_S)).type.name.startswith("CLOS"):
            pass
        _, alive = psutil.wait_procs(server.consoles(), ANSWER_S)

    assert alive == []


async def test_nonsense_from_a_page_closes_only_that_page(
    server: Serving, session: aiohttp.ClientSession
) -> None:
    url = f"{server.root}/ws/{server.token}"
    async with session.ws_connect(url, origin=server.root) as page:
        await page.send_str("{")
        while not (await page.receive(ANSWER_S)).type.name.startswith("CLOS"):
            pass
    async with session.ws_connect(f"{url}?width=x&height=-7", origin=server.root) as page:
        await read_until(page, "1 Jobs")


@pytest.mark.parametrize("size", [{"width": 1.5, "height": 9}, {"width": "9", "height": 9}])
async def test_a_size_that_is_none_closes_only_the_page_that_says_it(
    server: Serving, session: aiohttp.ClientSession, size: dict[str, object]
) -> None:
    async with session.ws_connect(f"{server.root}/ws/{server.token}", origin=server.root) as page:
        await read_until(page, "1 Jobs")
        await page.send_json(["resize", size])
        while not (await page.receive(ANSWER_S)).type.name.startswith("CLOS"):
            pass
    _, alive = psutil.wait_procs(server.consoles(), ANSWER_S)

    assert alive == []
    assert server.process.poll() is None


async def test_a_page_is_never_larger_than_any_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    console = ConsoleProcess("true", write_bytes=None, write_str=None, close=None, download_manager=None)  # type: ignore[arg-type]
    sent: list[dict[str, object]] = []

    async def send(data: dict[str, object]) -> bool:
        sent.append(data)
        return True

    monkeypatch.setattr(console, "send_meta", send)
    await console.set_terminal_size(99_999_999, -1)

    assert [(one["width"], one["height"]) for one in sent] == [(1_000, 1)]


async def test_more_pages_than_there_may_be_are_refused(
    session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving_module, "PAGES_MAX", 2)
    server = ConsoleServer(0, [])
    server.command = "exec sleep 60"  # no console is needed to be one
    runner = web.AppRunner(server.application())
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        token = server.address.partition("token=")[2]
        pages = [await session.ws_connect(f"{root}/ws/{token}") for _ in range(2)]
        status = await refused(session, f"{root}/ws/{token}")
        async with session.get(f"{root}/?token={token}") as answer:
            told = await answer.text()
        await pages[0].close()
        while (await session.get(f"{root}/?token={token}")).status != 200:
            await asyncio.sleep(0.01)
    finally:
        await runner.cleanup()

    assert status == 503
    assert "There are 2 pages of this server already" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
async def test_no_console_outlives_the_server(
    server: Serving, session: aiohttp.ClientSession, number: signal.Signals
) -> None:
    async with session.ws_connect(f"{server.root}/ws/{server.token}", origin=server.root) as page:
        await read_until(page, "1 Jobs", "leader")
        consoles = server.consoles()
        said = server.end(number)
        _, alive = psutil.wait_procs(consoles, ANSWER_S)

    assert len(consoles) == 1
    assert alive == []
    assert "Traceback" not in said
    assert server.process.returncode == (-number if number == signal.SIGKILL else 0)


def test_a_port_in_use_is_told_of() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [PYMR_TUI, f"--serve={port}"], check=False, capture_output=True, text=True, timeout=ANSWER_S
        )

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"pymr-tui: cannot serve on 127.0.0.1:{port}: ")
    assert "choose another port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_host_that_is_named_otherwise_is_not_this_machine() -> None:
    assert is_of_this_machine("127.0.0.1:8765")
    assert is_of_this_machine("localhost:1")
    assert is_of_this_machine("localhost")
    assert not is_of_this_machine("127.0.0.1.example:8765")
    assert not is_of_this_machine("localhost.example")
    assert not is_of_this_machine("example:127.0.0.1")
    assert not is_of_this_machine("127.0.0.1:80@example")
    assert not is_of_this_machine("")
