"""Without a cluster: what the console says, the demo that it starts, and a silent cluster that it starts."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import zmq
from cluster.clusters import Cluster
from cluster.ports import PortBlock
from textual.pilot import Pilot
from textual.widgets import Input, OptionList
from waiting import screen_text, until, until_shown

import tui.model.demo
from pymr.base.errors import FatalError
from pymr.config.cluster import ClusterConfig, PeerConfig, cluster_toml, load_config
from pymr.ops.init import init_cluster
from pymr.ops.manage_cluster import ClusterManager
from pymr.ops.private_redis import running_pid
from pymr.ops.processes import find_processes
from pymr.wire.keys import write_key
from tui.app import ConsoleApp
from tui.model.demo import demo_folder, demo_jobs, start_demo
from tui.screens.dialogs.leave_demo import LeaveDemo
from tui.screens.dialogs.no_cluster import NoCluster
from tui.settings.options import Options

MakeConsole = Callable[..., ConsoleApp]
START_S = 60.0
TEXT_BYTES = 20_000


class Home:
    """A home of a test's own, in which clusters are made on ports of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._block = PortBlock()

    def free_ports(self) -> Iterator[int]:
        while True:
            port = self._block.take()
            self._block.take()
            yield port

    def configs(self) -> list[ClusterConfig]:
        """Of the clusters of this machine that were made here."""
        walked = os.walk(self.folder)  # which passes over folders that go meanwhile, as those of runs do
        found = [f"{path}/cluster.toml" for path, _, names in walked if "cluster.toml" in names]
        configs = [load_config(path) for path in found]
        return [config for config in configs if ClusterManager(config).is_all_here]

    def processes(self) -> list[psutil.Process]:
        """What runs of the clusters that were made here."""
        found = []
        for config in self.configs():
            assert config.source is not None
            found += find_processes(config.source, [peer.name for peer in config.peers])
            if pid := running_pid(config.redis.directory):
                found.append(psutil.Process(pid))
        return found

    def end(self) -> None:
        for config in self.configs():
            ClusterManager(config).kill_cluster()
        self._block.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    home = Home(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    monkeypatch.setenv("PYMR_TUI_CONFIG", str(tmp_path / "none.toml"))
    monkeypatch.delenv("PYMR_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pymr.ops.init._free_ports", home.free_ports)
    monkeypatch.setattr(tui.model.demo, "TEXT_BYTES", TEXT_BYTES)
    yield home
    home.end()

    assert home.processes() == []


async def until_choosable(pilot: Pilot[None]) -> None:
    """An offer that nobody has asked for takes no key at first."""
    await until(pilot, lambda: pilot.app.screen.query(OptionList).first().has_focus, "the choices")


async def test_it_says_what_was_tried_and_opens_another_configuration(
    home: Home, lend_cluster: Callable[[], Cluster]
) -> None:
    cluster = lend_cluster()
    app = ConsoleApp(Options(), None, "There is no cluster.toml in /here, and no --config was given.")
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "There is no cluster.toml in /here")
        text = screen_text(pilot)
        await pilot.press("r")
        await until_shown(pilot, "does not exist: make a cluster with")
        await pilot.press("o", *"nowhere", "enter")
        await until_shown(pilot, "nowhere: 1 problem")
        await pilot.press("escape", "o")
        app.screen.query_one(Input).value = str(cluster.folder)
        await pilot.press("enter")
        await until_shown(pilot, f"leader {cluster.leader()}")

        assert "pymr init DIR" in text and "start a demo cluster" in text
        assert not isinstance(app.screen, NoCluster)


async def test_it_can_be_hidden_and_quit(home: Home) -> None:
    app = ConsoleApp(Options(), None, "There is none.")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, NoCluster), "the offer")
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, NoCluster), "the screens")
        await pilot.press("1")
        hidden = screen_text(pilot)
        app._offer_cluster()
        await until(pilot, lambda: isinstance(app.screen, NoCluster), "the offer again")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "the end")

    assert "1 Jobs" in hidden


async def test_a_demo_is_started_shown_and_stopped(home: Home) -> None:
    app = ConsoleApp(Options(), None, "There is none.")
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, NoCluster), "the offer")
        await pilot.press("d")
        await until_shown(pilot, "making a cluster in", START_S)
        await pilot.press("q")
        await until_shown(pilot, "The demo is being started")
        await until_shown(pilot, "pymr demo   leader", START_S)
        await until_shown(pilot, "fails-on-purpose", START_S)
        running = home.processes()
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, LeaveDemo), "the question")
        question = screen_text(pilot)
        await pilot.press("escape", "q", "s")
        await until(pilot, lambda: not app.is_running, "the end", START_S)

    assert len(running) > 3
    assert "pymr cluster stop --config" in question
    assert home.processes() == []


async def test_a_demo_may_be_left_running(home: Home) -> None:
    config = start_demo(lambda line: None)
    app = ConsoleApp(Options(), config)
    app.demo = config
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.state.cluster, "the cluster")
        await pilot.press("q", "l")
        await until(pilot, lambda: not app.is_running, "the end")

    assert len(home.processes()) > 3


def test_a_demo_is_made_once_and_runs_again(home: Home) -> None:
    said: list[str] = []
    config = start_demo(said.append)
    texts = [Path(peer.data_dir, "input", "text.txt") for peer in config.peers]
    first = [text.read_bytes() for text in texts]
    again: list[str] = []
    start_demo(again.append)

    assert config.source == str(demo_folder() / "cluster.toml")
    assert all(TEXT_BYTES <= len(text) < 50 * TEXT_BYTES for text in first)
    assert len(set(first)) == len(first)
    assert [text.read_bytes() for text in texts] == first
    assert said[0] == f"making a cluster in {demo_folder()}"
    assert again[0] == f"the demo cluster is in {demo_folder()}"
    assert not any("writing" in line for line in again)
    assert sum("is running already" in line for line in again) == 4
    assert [line for line in said if "submitted" in line] == [
        f"{fields['job_name']}: submitted" for fields in demo_jobs()
    ]


async def test_a_demo_that_cannot_be_made_says_why(home: Home) -> None:
    demo_folder().parent.mkdir(parents=True)
    demo_folder().write_text("in the way")
    app = ConsoleApp(Options(), None, "There is none.")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, NoCluster), "the offer")
        await pilot.press("d")
        await until_shown(pilot, "failed: ")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "the end")

    assert app.demo is None


async def test_a_silent_cluster_of_this_machine_is_started(home: Home) -> None:
    config = init_cluster(home.folder / "own", peers=2, workers=1).config
    app = ConsoleApp(Options(), config)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No peer of own has answered")
        await until_shown(pilot, "cannot be reached")
        await until_choosable(pilot)
        await pilot.press("s")
        await until_shown(pilot, "pymr own   leader", START_S)
        await until(pilot, lambda: not isinstance(app.screen, NoCluster), "the screens")
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "the end")

    assert app.demo is None
    assert len(home.processes()) > 2


async def test_why_a_cluster_does_not_start_is_shown(home: Home) -> None:
    config = init_cluster(home.folder / "own", peers=1, workers=1).config
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", config.peers[0].control_port))
        taken.listen()
        app = ConsoleApp(Options(), config)
        async with app.run_test(size=(100, 30)) as pilot:
            await until_shown(pilot, "No peer of own has answered")
            await until_choosable(pilot)
            await pilot.press("s")
            await until_shown(pilot, "alpha ended with status", START_S)

            assert isinstance(app.screen, NoCluster)


async def test_it_does_not_come_over_somebody_who_writes(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui.app.SILENT_SECONDS", 3_600.0)
    config = init_cluster(home.folder / "own", peers=1, workers=1).config
    app = ConsoleApp(Options(), config)
    async with app.run_test(size=(80, 24)) as pilot:
        app.edit_job(None, "script")
        await until(pilot, lambda: app.current_mode == "editor", "the editor")
        app._offer_if_silent(config)
        over_editor = isinstance(app.screen, NoCluster)
        await pilot.press("escape", "1")
        await until_shown(pilot, "Waiting for the first answer")
        await pilot.press("slash")
        await until(pilot, lambda: isinstance(app.focused, Input), "the filter")
        monkeypatch.setattr("tui.app.SILENT_SECONDS", 0.1)
        app._offer_if_silent(config)
        over_filter = isinstance(app.screen, NoCluster)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, NoCluster), "the offer")

    assert not over_editor
    assert not over_filter


async def test_keys_that_are_on_their_way_when_it_comes_do_nothing(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.app.OFFER_QUIET_SECONDS", 3_600.0)
    begun: list[object] = []
    monkeypatch.setattr(NoCluster, "_begin", lambda self, doing: begun.append(doing))
    app = ConsoleApp(Options(), init_cluster(home.folder / "own", peers=1, workers=1).config)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No peer of own has answered")
        await pilot.press("d", "s", "q", "enter", "escape")
        is_there = isinstance(app.screen, NoCluster)

    assert is_there
    assert begun == []


async def test_a_cluster_that_runs_is_not_offered_to_be_started(home: Home) -> None:
    config = init_cluster(home.folder / "own", peers=3, workers=1).config
    ClusterManager(config).start_cluster()
    app = ConsoleApp(Options(key_name="stranger"), load_config(str(config.source)))
    assert config.security.keys_dir is not None
    write_key(Path(config.security.keys_dir), "stranger", *zmq.curve_keypair())  # which no peer admits
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "Its peers run on this machine")
        await until_shown(pilot, "does not admit")
        await until_choosable(pilot)
        text = screen_text(pilot)
        await pilot.press("s")
        still_there = isinstance(app.screen, NoCluster)
        await pilot.press("escape")
        await until_shown(pilot, "No answer yet.")
        banner = re.sub(r"\s+", " ", screen_text(pilot))

    assert still_there
    assert "No peer of own has answered" in text  # the title is not scrolled away
    assert "start this cluster" not in text
    assert "q  quit" in text
    assert re.search(r"No answer yet\. No peer .* asked were: alpha: .* does not admit the key", banner)


@pytest.mark.parametrize("typed", ["~no-such-user/x", "a\0b", "/tmp/" + "x" * 300, "/dev/zero"])
async def test_a_path_that_cannot_be_is_told(home: Home, typed: str) -> None:
    app = ConsoleApp(Options(), None, "There is none.")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, NoCluster), "the offer")
        await pilot.press("o")
        app.screen.query_one(Input).value = typed
        await pilot.press("enter")
        wrong = app.screen.query_one("#wrong")
        await until(pilot, lambda: wrong.display, "what is wrong")

        assert isinstance(app.screen, NoCluster)


async def test_a_demo_that_is_being_started_is_not_left(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def fail(manage: ClusterManager) -> None:
        go_on.wait(START_S)
        raise FatalError("beta did not start")

    monkeypatch.setattr(ClusterManager, "start_cluster", fail)
    app = ConsoleApp(Options(), None, "There is none.")
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: isinstance(app.screen, NoCluster), "the offer")
        await pilot.press("d")
        await until(pilot, lambda: app.demo is not None, "the demo to be made")
        for key in ("q", "ctrl+q"):
            await pilot.press(key)
            await until_shown(pilot, "The demo is being started")
            app.clear_notifications()
            await until(pilot, lambda: "is being started" not in screen_text(pilot), "the toast to be gone")
        go_on.set()
        await until_shown(pilot, "beta did not start")  # and others did
        await pilot.press("ctrl+q", "ctrl+q")
        await until(pilot, lambda: isinstance(app.screen, LeaveDemo), "the question")
        questions = [screen for screen in app.screen_stack if isinstance(screen, LeaveDemo)]
        await pilot.press("l")
        await until(pilot, lambda: not app.is_running, "the end")

    assert len(questions) == 1


async def test_it_goes_by_itself_when_a_peer_answers(home: Home) -> None:
    config = init_cluster(home.folder / "own", peers=1, workers=1).config
    app = ConsoleApp(Options(), config)
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No peer of own has answered")
        ClusterManager(config).start_cluster()
        await until(pilot, lambda: not isinstance(app.screen, NoCluster), "the screens")
        await until_shown(pilot, "pymr own   leader")


async def test_a_cluster_of_other_machines_is_not_offered_to_be_started(home: Home) -> None:
    init_cluster(home.folder / "far", peers=1, workers=1)  # for its keys
    path = home.folder / "far" / "cluster.toml"
    peer = PeerConfig(
        name="alpha", host="192.0.2.1", control_port=9, data_port=10, workers=1, data_dir="data"
    )
    sections = {"redis": {"url": "redis://192.0.2.1:6379/0"}, "security": {"keys_dir": "keys"}}
    path.write_text(cluster_toml("far", [peer], sections))
    app = ConsoleApp(Options(), load_config(str(path)))
    async with app.run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "No peer of far has answered", START_S)
        await until_choosable(pilot)
        await pilot.press("s")

        assert "start this cluster" not in screen_text(pilot)
        assert "start a demo cluster" in screen_text(pilot)
        assert isinstance(app.screen, NoCluster)
