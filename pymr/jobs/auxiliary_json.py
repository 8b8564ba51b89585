"""Auxiliary data: what a file of them has to hold, as consoles and peers check it and tasks read it."""

from __future__ import annotations

import codecs
from typing import Any

import orjson


def parse_auxiliary(data: bytes) -> Any:
    """The JSON that a file of auxiliary data holds, in UTF-8 with or without a byte order mark.

    Raises ValueError saying what is wrong with it.
    """
    return orjson.loads(data.removeprefix(codecs.BOM_UTF8))
