"""A headless Chromium, driven over its DevTools protocol, to see what a browser makes of the console."""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

START_S = 30.0
ANSWER_S = 20.0
PAUSE_S = 0.1

RECORDER = """
window.received = "";
const decoder = new TextDecoder();
window.WebSocket = class extends WebSocket {
  constructor(...options) {
    super(...options);
    this.addEventListener("message", (event) => {
      const data = event.data;
      window.received += typeof data === "string" ? data : decoder.decode(data, {stream: true});
    });
  }
};
"""
"""What comes over websockets is kept: the terminal draws on a canvas, from which no text can be read."""


def chromium() -> str | None:
    """The browser of this machine; None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome", "headless_shell")
    return next((path for name in names if (path := shutil.which(name))), None)


class Page:
    """A page of the browser. requests: all addresses it has asked for. complaints: what it logged."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._socket = socket
        self._number = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def read(self) -> None:
        """Take what the browser says, until it is gone."""
        async for message in self._socket:
            said = message.json()
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
            elif said["method"] == "Network.requestWillBeSent":
                self.requests.append(said["params"]["request"]["url"])
            elif said["method"] == "Network.webSocketCreated":
                self.requests.append(said["params"]["url"])
            elif said["method"] == "Log.entryAdded":
                self.complaints.append(said["params"]["entry"]["text"])

    async def do(self, method: str, **params: object) -> dict[str, Any]:
        self._number += 1
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        said = await asyncio.wait_for(answer, ANSWER_S)
        assert "error" not in said, f"{method}: {said}"
        result: dict[str, Any] = said["result"]
        return result

    async def open(self, url: str) -> None:
        for domain in ("Page", "Network", "Log"):
            await self.do(f"{domain}.enable")
        await self.do("Page.addScriptToEvaluateOnNewDocument", source=RECORDER)
        await self.do("Page.navigate", url=url)

    async def value(self, expression: str) -> Any:
        result = await self.do("Runtime.evaluate", expression=expression)
        return result["result"].get("value")

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" else {}
            await self.do("Input.dispatchKeyEvent", type=kind, key=key, **text)

    async def screenshot(self) -> bytes:
        """As PNG."""
        return base64.b64decode((await self.do("Page.captureScreenshot"))["data"])

    async def until(self, condition: Callable[[str], object], what: str) -> None:
        """Until what the page has received fulfils the condition."""
        deadline = time.monotonic() + START_S
        while not condition(received := str(await self.value("window.received"))):
            assert time.monotonic() < deadline, f"waited for {what}; received: {received[-2_000:]!r}"
            await asyncio.sleep(PAUSE_S)


@asynccontextmanager
async def open_page(folder: Path) -> AsyncIterator[Page]:
    """A blank page in a browser of its own, that is ended with all its processes. folder: for its profile."""
    browser = subprocess.Popen(
        [
            str(chromium()), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--remote-debugging-port=0", "--window-size=1000,700", f"--user-data-dir={folder}", "about:blank",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    try:
        port = await _port_of(browser, folder)
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new") as answer:
                address = (await answer.json())["webSocketDebuggerUrl"]
            async with session.ws_connect(address, max_msg_size=0) as socket:
                page = Page(socket)
                reading = asyncio.create_task(page.read())
                yield page
                reading.cancel()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(browser.pid, signal.SIGKILL)
        browser.wait()


async def _port_of(browser: subprocess.Popen[bytes], folder: Path) -> int:
    """The port of its DevTools, which it writes into its profile."""
    path = folder / "DevToolsActivePort"
    deadline = time.monotonic() + START_S
    while not (path.exists() and "\n" in path.read_text()):
        assert browser.poll() is None, f"the browser ended with status {browser.returncode}"
        assert time.monotonic() < deadline, "the browser does not begin"
        await asyncio.sleep(PAUSE_S)
    return int(path.read_text().splitlines()[0])
