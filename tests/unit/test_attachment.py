"""Keys of an attached terminal: all go to the worker, but for Ctrl-a and what follows it."""

from __future__ import annotations

import pytest

from pymr.attachment import Keys


@pytest.mark.parametrize(
    ("typed", "passed"),
    [
        (b"next\r\x03\x04\x1b[A", b"next\r\x03\x04\x1b[A"),
        (b"a\x01ab", b"a\x01b"),
        (b"\x01x", b"\x01x"),
        (b"\x01\x01", b"\x01\x01"),
        ("ä€".encode(), "ä€".encode()),
    ],
)
def test_what_is_typed_is_passed_on(typed: bytes, passed: bytes) -> None:
    keys = Keys()

    assert keys.take(typed) == passed
    assert not keys.is_detached


def test_ctrl_a_d_detaches_and_what_follows_is_dropped() -> None:
    keys = Keys()

    assert keys.take(b"c\x01drest") == b"c"
    assert keys.is_detached


def test_the_two_keys_may_come_one_after_the_other() -> None:
    keys = Keys()

    assert (keys.take(b"\x01"), keys.is_detached) == (b"", False)
    assert (keys.take(b"d"), keys.is_detached) == (b"", True)
