"""The keys of the console: those of a screen, for `?` and the palette; and all there are, by their ids,
under which an operator gives them another place."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from textual import actions
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.screen import Screen

import tui
from pymr.spelling import did_you_mean
from pymr.toml_text import toml_value

EVERYWHERE = "app"
"""The section of the keys that do the same on every screen."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a key, or each of several, does. shown: the keys as people read them. node: whose action it is."""

    id: str
    description: str
    shown: tuple[str, ...]
    action: str
    node: DOMNode

    @property
    def section(self) -> str:
        return self.id.partition(".")[0]

    def is_possible(self) -> bool:
        """Whether it would do something now, and the operator may do that."""
        namespace, name, parameters = actions.parse(self.action)
        target = {"app": self.node.app, "screen": self.node.screen}.get(namespace, self.node)
        return bool(target.check_action(name, parameters))


def keys_of(app: App[Any], screen: Screen[Any]) -> list[Key]:
    """The keys of a screen, of the widgets on it, and of the app; after the operator's own settings."""
    found: dict[str, Key] = {}
    shown_nodes = [node for node in screen.walk_children() if _is_displayed(node)]
    for node in (screen, *shown_nodes, app):
        bindings = node._bindings.copy()
        if app._keymap:
            bindings.apply_keymap(app._keymap)
        for _, binding in bindings:
            if not binding.id or not binding.description:
                continue
            shown = app.get_key_display(binding)
            known = found.get(binding.id)
            if known is None:
                key = Key(binding.id, binding.description, (shown,), binding.action, node)
                found[binding.id] = key
            elif shown not in known.shown and known.node is node:
                found[binding.id] = replace(known, shown=(*known.shown, shown))
    return list(found.values())


def _is_displayed(node: DOMNode) -> bool:
    return all(one.display for one in node.ancestors_with_self)


def all_keys() -> dict[str, Binding]:
    """The default keys by id, with commas between them. Cost: imports all of the console."""
    found: dict[str, Binding] = {}
    for module in _modules():
        for _, kind in inspect.getmembers(module, inspect.isclass):
            if kind.__module__ != module.__name__:
                continue
            for binding in vars(kind).get("BINDINGS", ()):
                if isinstance(binding, Binding) and binding.id:
                    known = found.get(binding.id)
                    keys = binding.key if known is None else f"{known.key},{binding.key}"
                    found[binding.id] = replace(known or binding, key=keys)
    return found


def keys_toml() -> str:
    """All keys as they are without settings, as a section for the settings file."""
    found = sorted(all_keys().items())
    width = max(len(id) for id, _ in found)
    lines = []
    for id, binding in found:
        line = f"{id:{width}} = {toml_value(binding.key)}"
        lines.append(f"{line:60}  # {binding.description}" if binding.description else line)
    return "\n".join(["[keys]", *lines, ""])


def unknown_ids(ids: Iterable[str]) -> list[str]:
    """What is wrong with ids of settings, a text for each that no key has."""
    known = all_keys()
    return [f"{id}{did_you_mean(id, known)}" for id in ids if id not in known]


def _modules() -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)
