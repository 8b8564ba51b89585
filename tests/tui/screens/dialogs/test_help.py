"""The keys: under `?`, in the palette, in the settings file."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster
from textual.containers import VerticalScroll
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from tui.app import ConsoleApp
from tui.model.state import ClusterState
from tui.screens.dialogs.confirm import Confirm
from tui.screens.dialogs.help import Help, commands_of, key_table
from tui.settings.keys import all_keys, keys_of, keys_toml, wrong_keys
from tui.settings.options import Options
from tui.settings.settings import Settings, load_settings

MakeConsole = Callable[..., ConsoleApp]
Lend = Callable[[], Cluster]


@pytest.fixture
def make_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeConsole:
    """Makes consoles without a cluster, with keys of the operator's own."""
    monkeypatch.setenv("PYMR_TUI_CONFIG", str(tmp_path / "console.toml"))

    def make(keys: dict[str, str] | None = None, **options: Any) -> ConsoleApp:
        settings = Settings(keys=keys or {}, path=str(tmp_path / "console.toml"))
        return ConsoleApp(Options(**options), None, "There is none.", settings)

    return make


async def without_dialog(pilot: Pilot[Any]) -> None:
    await until_shown(pilot, "There is no cluster yet")
    pilot.app.pop_screen()
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
async def test_every_screen_tells_its_keys(make_offline: MakeConsole, size: tuple[int, int]) -> None:
    app = make_offline()
    async with app.run_test(size=size) as pilot:
        await without_dialog(pilot)
        for mode in ("jobs", "workers", "attach", "peers", "editor", "events"):
            await app.action_show(mode)
            app.shown_screen.set_focus(None)
            await pilot.press("f1")
            await until(pilot, lambda: isinstance(app.screen, Help), f"the help of {mode}")
            keys = keys_of(app, app.shown_screen)
            text = await all_text(pilot, app.screen.query_one(VerticalScroll))
            await pilot.press("escape")
            await until(pilot, lambda: not isinstance(app.screen, Help), "the help to be gone")

            assert len([key for key in keys if key.section not in ("app", "table")]) >= 1
            assert [key.id for key in keys if f" {key.id} " not in text] == [], mode
            assert "[keys]" in text


async def all_text(pilot: Pilot[Any], scroll: VerticalScroll) -> str:
    """What is seen on the way from its top to its end."""
    text = ""
    for y in range(0, int(scroll.max_scroll_y) + 5, 5):
        scroll.scroll_to(y=y, animate=False, immediate=True)
        await pilot.pause()
        text += screen_text(pilot)
    return text


async def test_what_works_everywhere_stands_second(make_offline: MakeConsole) -> None:
    app = make_offline()
    async with app.run_test(size=(80, 24)) as pilot:
        await without_dialog(pilot)
        lines = key_table(keys_of(app, app.shown_screen)).plain.split("\n")
        sections = [line for line in lines if line and not line.startswith(" ")]

        assert sections[:2] == ["Jobs", "Everywhere"]
        assert sections[-1] == "In a list"


@pytest.mark.parametrize("key", ["escape", "question_mark", "q"])
async def test_help_opens_and_closes(make_offline: MakeConsole, key: str) -> None:
    app = make_offline()
    async with app.run_test(size=(80, 24)) as pilot:
        await without_dialog(pilot)
        await pilot.press("question_mark")
        await until_shown(pilot, "Keys")
        await pilot.press(key)
        await until(pilot, lambda: not isinstance(app.screen, Help), "the help to be gone")

        assert app.is_running


async def test_keys_of_the_settings_work_and_are_told(make_offline: MakeConsole) -> None:
    app = make_offline({"app.help": "h", "app.events": "e,ctrl+e"})
    async with app.run_test(size=(100, 50)) as pilot:
        await without_dialog(pilot)
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, Help), "the help")
        shown = {key.id: key.shown for key in keys_of(app, app.shown_screen)}
        await pilot.press("escape", "ctrl+e")
        await until(pilot, lambda: app.current_mode == "events", "the events")

        assert shown["app.help"] == ("h",)
        assert shown["app.events"] == ("e", "^e")


async def test_ids_that_no_key_has_are_told_with_what_was_meant(make_offline: MakeConsole) -> None:
    app = make_offline({"jobs.delet": "x", "jobs.filter": "f3"})
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await until(pilot, lambda: list(app._notifications), "a toast")
        (toast,) = app._notifications

        assert toast.message.startswith(
            "Settings: jobs.delet: there is no such id; did you mean jobs.delete? (in "
        )
        assert toast.severity == "warning"


async def test_the_palette_does_what_a_key_does(lend_cluster: Lend, make_console: MakeConsole) -> None:
    cluster = lend_cluster()
    app = make_console(cluster)
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: app.state.cluster, "the cluster")
        await pilot.press("colon")
        await pilot.press(*"pause")
        await until_shown(pilot, "key p")
        await pilot.press("down", "enter")
        await until_shown(pilot, "Pause the queue?")
        await pilot.press("y")
        await until_shown(pilot, "queue paused")
        await pilot.press("ctrl+p", *"show peers")
        await until_shown(pilot, "key 4")
        await pilot.press("down", "enter")
        await until(pilot, lambda: app.current_mode == "peers", "the peers")
        await pilot.press("1", "p")
        await until(pilot, lambda: "queue paused" not in screen_text(pilot), "the queue to go on")


async def test_the_palette_has_all_keys_once_and_none_that_may_not_be_pressed(
    make_offline: MakeConsole,
) -> None:
    app = make_offline()
    async with app.run_test(size=(80, 24)) as pilot:
        await without_dialog(pilot)
        titles = [command.title for command in commands_of(app, app.shown_screen)]
        app.state = ClusterState(is_read_only=True)
        allowed = [command.title for command in commands_of(app, app.shown_screen)]

    assert len(titles) == len(set(titles))
    assert {"Show Events", "Jobs: submit", "Jobs: pause", "Quit", "Jobs: filter"} <= set(titles)
    assert "Theme: light" in titles
    assert {"Show Events", "Quit"} <= set(allowed)
    assert not {f"Jobs: {name}" for name in ("submit", "delete", "retry", "force", "pause")} & set(allowed)


def test_all_keys_are_printed_as_settings_that_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "console.toml"
    path.write_text(keys_toml())
    defaults = {id: binding.key for id, binding in all_keys().items()}

    assert load_settings(path).keys == defaults
    assert {"app.quit", "jobs.filter", "peers.workers", "events.failures", "table.up"} <= set(defaults)
    assert {binding.id for binding in Confirm.BINDINGS if getattr(binding, "id", None)} <= set(defaults)


def test_every_id_says_where_its_key_works() -> None:
    for id in all_keys():
        place, _, action = id.partition(".")

        assert place.replace("_", "").isalpha() and action.replace("_", "").isalnum(), id


@pytest.mark.parametrize(
    ("id", "meant"),
    [
        ("zzz", ""),
        ("jobs.nope", ""),  # nothing is like it but its section
        ("jobs.filtr", "; did you mean jobs.filter?"),
        ("jbs.filter", "; did you mean jobs.filter?"),
        ("app.sort", "; did you mean jobs.sort?"),
    ],
)
def test_ids_that_there_are_not_are_named_with_what_was_meant(id: str, meant: str) -> None:
    assert wrong_keys({id: "x"}) == [f"{id}: there is no such id{meant}"]


def test_the_keys_as_they_are_are_right() -> None:
    assert wrong_keys({id: binding.key for id, binding in all_keys().items()}) == []
    assert wrong_keys({"jobs.filter": "?", "app.help": "f12, ctrl+g", "jobs.pause": "X,shift+f3"}) == [
        "app.help and editor.help are both on ctrl+g"
    ]


def test_a_key_that_cannot_be_pressed_is_named() -> None:
    assert wrong_keys({"jobs.force": "nosuchkey,strg+x,ctrl+shift+up"}) == [
        "jobs.force: there is no key 'nosuchkey'",
        "jobs.force: there is no key 'strg+x'",
    ]


def test_a_key_that_takes_another_away_is_named() -> None:
    assert wrong_keys({"jobs.delete": "q"}) == ["app.quit and jobs.delete are both on q"]
    assert wrong_keys({"jobs.delete": "q", "app.quit": "Q"}) == []
    assert wrong_keys({"jobs.pause": "z"}) == ["jobs.fold_all and jobs.pause are both on z"]
    assert wrong_keys({"confirm.yes": "d"}) == []  # a dialog's keys work alone


def test_the_command_prints_the_keys_without_a_terminal() -> None:
    ended = subprocess.run(
        [Path(sys.executable).with_name("pymr-tui"), "--keys"], check=True, capture_output=True, text=True
    )

    assert ended.stdout == keys_toml()
