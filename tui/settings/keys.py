"""The keys of the console: those of a screen, for `?` and the palette; and all there are, by their ids,
under which an operator gives them another place."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from types import ModuleType
from typing import Any

from textual import actions
from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import REPLACED_KEYS, Keys, key_to_character
from textual.screen import Screen

import tui
from pymr.base.spelling import closest_name, did_you_mean
from pymr.config.toml_text import toml_value

EVERYWHERE = "app"
"""The section of the keys that do the same on every screen."""

_TOGETHER = (
    {"jobs", "table", "detail", EVERYWHERE},
    {"workers", EVERYWHERE},
    {"attach", EVERYWHERE},
    {"peers", "table", EVERYWHERE},
    {"editor", EVERYWHERE},
    {"events", "table", EVERYWHERE},
)
"""Sections whose keys work at the same time; those of a dialog work alone."""

_MODIFIERS = frozenset(("ctrl", "shift", "alt", "super", "hyper", "meta"))
_KEY_NAMES = frozenset(key.value for key in Keys) - {"<any>", "<ignore>"}


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


def wrong_keys(settings: Mapping[str, str]) -> list[str]:
    """What is wrong with the keys of settings, by id as in `Settings`: a text for each id that no key has,
    for each key that cannot be pressed, and for two ids on one key that were not so before."""
    known = {id: _split(binding.key) for id, binding in all_keys().items()}
    chosen = {id: _split(keys) for id, keys in settings.items() if id in known}
    wrong = [f"{id}: there is no such id{_meant(id, known)}" for id in settings if id not in known]
    for id, keys in chosen.items():
        wrong += [f"{id}: there is no key {key!r}" for key in keys if not is_key(key)]
    return wrong + _clashes(known, known | chosen)


def is_key(name: str) -> bool:
    """Whether a key can be called so, such as `x`, `f5`, `ctrl+t` or `question_mark`."""
    *modifiers, key = name.split("+")
    if name in _KEY_NAMES or (key in _KEY_NAMES and _MODIFIERS.issuperset(modifiers)):
        return True
    named = key_to_character(REPLACED_KEYS.get(key, key)) is not None
    return named and _MODIFIERS.issuperset(modifiers)


def is_character(name: str) -> bool:
    """Whether the key of this name types a character, such as `x`, `slash` or `space`."""
    character = key_to_character(REPLACED_KEYS.get(name, name))
    return character is not None and character.isprintable()


def _split(keys: str) -> tuple[str, ...]:
    """Keys with commas between them, each as Textual calls it: `?` is `question_mark`."""
    names = [key.strip() for key in keys.split(",")]
    named = Binding.make_bindings([Binding(key, "") for key in names if key])
    return tuple(dict.fromkeys(binding.key for binding in named))


def _meant(id: str, known: Mapping[str, object]) -> str:
    """The id that was meant: one of the same name elsewhere, else the closest name in the same section."""
    section, _, name = id.partition(".")
    of_section = {one.partition(".")[2]: one for one in known if one.startswith(f"{section}.")}
    if not of_section:
        return did_you_mean(id, known)
    elsewhere = [one for one in known if one.endswith(f".{name}")]
    closest = closest_name(name, of_section)
    meant = elsewhere[0] if elsewhere else of_section[closest] if closest else ""
    return f"; did you mean {meant}?" if meant else ""


def _clashes(before: Mapping[str, tuple[str, ...]], now: Mapping[str, tuple[str, ...]]) -> list[str]:
    """A text for two ids that are on one key now and work at the same time, and were not on one before."""
    clashes: dict[str, None] = {}
    by_key: dict[str, list[str]] = {}
    for id, keys in now.items():
        for key in keys:
            by_key.setdefault(key, []).append(id)
    for key, ids in by_key.items():
        for one, other in combinations(sorted(ids), 2):
            is_old = key in before[one] and key in before[other]
            if not is_old and _work_together(one, other):
                clashes[f"{one} and {other} are both on {key}"] = None
    return list(clashes)


def _work_together(one: str, other: str) -> bool:
    sections = {one.partition(".")[0], other.partition(".")[0]}
    return len(sections) == 1 or any(sections <= together for together in _TOGETHER)


def _modules() -> Iterator[ModuleType]:
    for module in pkgutil.walk_packages(tui.__path__, "tui."):
        if not module.name.endswith("__main__"):
            yield importlib.import_module(module.name)
