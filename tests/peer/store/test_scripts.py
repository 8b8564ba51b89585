"""The Lua files: all are used, none is missing from a package, and those that have to refuse do so."""

from __future__ import annotations

import re
from importlib.resources import files

import pymr.peer.store
from pymr.peer.store import scripts

FOLDER = files(pymr.peer.store) / "lua"
FILES = sorted(
    f"{room.name}/{file.name.removesuffix('.lua')}" for room in FOLDER.iterdir() for file in room.iterdir()
)


def test_every_file_is_part_of_a_script() -> None:
    source = (files(pymr.peer.store) / "scripts.py").read_text()

    assert sorted(set(re.findall(r'"(\w+/\w+)"', source))) == FILES


def test_every_script_but_those_of_the_lease_refuses_a_redis_that_forgot() -> None:
    texts = {
        name: text for name, text in vars(scripts).items() if name.isupper() and not name.startswith("_")
    }
    unfenced = {name for name, text in texts.items() if isinstance(text, str) and "refusal()" not in text}
    of_lease = {"LOOK_AT_LEASE", "RENEW_LEASE", "RELEASE_LEASE", "SET_PRESENCE"}

    assert unfenced - of_lease == {
        "HAS_PACKAGE", "HISTORY", "INCARNATION", "PRESENT", "PUT_PACKAGE", "RECOVER",
    }  # fmt: skip
