"""The console in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from chromium import chromium, open_page
from cluster.clusters import Cluster
from serving_process import serving

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium on this machine")

DRAWN_BYTES_MIN = 5_000
"""A picture with text compresses to more than a blank one by at least this."""


async def test_a_browser_shows_the_console_and_types_into_it(
    lend_cluster: Callable[[], Cluster], tmp_path: Path
) -> None:
    cluster = lend_cluster()
    settings = str(tmp_path / "none.toml")
    with serving("--config", str(cluster.path), PYMR_TUI_CONFIG=settings) as server:
        async with open_page(tmp_path / "profile") as page:
            blank = await page.screenshot()
            await page.open(server.url)
            await page.until(lambda text: "1 Jobs" in text and "leader" in text, "the jobs")
            await page.press("4")
            await page.until(lambda text: "heard" in text and "alpha" in text, "the peers")
            drawn = await page.screenshot()
            requests, complaints = page.requests, page.complaints
            classes = await page.value("document.body.className")

    assert len(drawn) > len(blank) + DRAWN_BYTES_MIN
    assert "-first-byte" in classes and "-closed" not in classes
    assert {url.split("/")[2] for url in requests if "://" in url} == {f"127.0.0.1:{server.port}"}
    assert [text for text in complaints if "WebGL" not in text] == []  # drawn in software is as good
