"""What every key does here, and all of that in the palette."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult, SystemCommand
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import Static

from tui.render.styled_line import MUTED
from tui.screens.dialogs.dialog import Dialog
from tui.settings.keys import EVERYWHERE, Key, keys_of
from tui.settings.settings import settings_path
from tui.settings.themes import THEMES

if TYPE_CHECKING:
    from tui.console.console import Console

_SECTIONS = {EVERYWHERE: "Everywhere", "table": "In a list"}
_NOT_COMMANDS = ("table", "help", "confirm")
"""Keys that only move something; they are of no use in the palette."""


class Help(Dialog[None]):
    """The keys of the shown screen, then those of the whole console, in columns."""

    DEFAULT_CSS = """
    Help VerticalScroll { scrollbar-size-vertical: 1; }
    Help #remap { margin-top: 1; height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,f1,enter", "dismiss", "close", id="help.close"),
    ]

    def compose(self) -> ComposeResult:
        console = cast("Console", self.app)
        keys = keys_of(console, console.shown_screen)
        path = console.settings.path or settings_path()
        with VerticalScroll(classes="dialog wide"):
            yield Static("Keys", classes="title")
            yield Static(key_table(keys))
            yield Static(
                f'Another key for something: a line such as  jobs.delete = "x"  below [keys] in {path}; '
                "the last column has the ids, and `pymr-tui --keys` prints them all.",
                classes="muted",
                id="remap",
                markup=False,
            )

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).focus()


def key_table(keys: Iterable[Key]) -> Content:
    """Keys, what they do, and their ids, aligned: the first section, what works everywhere, the others."""
    sections: dict[str, list[Key]] = {}
    for key in keys:
        sections.setdefault(key.section, []).append(key)
    screen, *_ = sections
    ordered = sorted(sections, key=lambda one: (one != screen, one != EVERYWHERE, one == "table"))
    shown = {key.id: " ".join(key.shown) for section in ordered for key in sections[section]}
    wide = max(map(len, shown.values()), default=0)
    described = max((len(key.description) for keys in sections.values() for key in keys), default=0)
    lines: list[Content] = []
    for section in ordered:
        title = _SECTIONS.get(section, section.replace("_", " ").capitalize())
        lines += [Content("")] * bool(lines) + [Content.styled(title, "bold")]
        for key in sections[section]:
            is_possible = key.is_possible()
            lines.append(
                Content.assemble(
                    "  ",
                    (f"{shown[key.id]:{wide}}", "bold $primary" if is_possible else MUTED),
                    "  ",
                    (f"{key.description:{described}}", "" if is_possible else MUTED),
                    "  ",
                    (key.id, MUTED),
                )
            )
    return Content("\n").join(lines)


def commands_of(app: Console, screen: Screen[Any]) -> Iterator[SystemCommand]:
    """What the keys of a screen do, by name, as far as it can be done now; and the themes."""
    titles = set()
    for key in keys_of(app, screen):
        if key.section in _NOT_COMMANDS or key.id == "app.palette" or not key.is_possible():
            continue
        title = _title(key)
        if title not in titles:
            titles.add(title)
            run = partial(app.run_action, key.action, key.node)
            yield SystemCommand(title, f"key {' or '.join(key.shown)}", run)
    job = app.shown_screen.selected_job()
    if job is not None:
        name = str(job.fields["job_name"])
        copy = partial(app.copy_to_clipboard, name)
        yield SystemCommand("Copy the name of the selected job", name, copy)
    own = [theme.name for theme in THEMES]
    for name in [*own, *sorted(set(app.available_themes) - set(own))]:
        choose = partial(setattr, app, "theme", name)
        yield SystemCommand(f"Theme: {name}", "for now; in the settings file for good", choose, name in own)


def _title(key: Key) -> str:
    if key.action.startswith("show("):
        return f"Show {key.description}"
    if key.section == EVERYWHERE:
        return f"{key.description[:1].upper()}{key.description[1:]}"
    return f"{key.section.replace('_', ' ').capitalize()}: {key.description}"
