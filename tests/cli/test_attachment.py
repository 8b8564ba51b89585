"""Keys of an attached terminal: all go to the worker, but for Ctrl-a and what follows it."""

from __future__ import annotations

from typing import cast

import pytest

from pymr.cli.attachment import Attachment, Keys
from pymr.client import Client, RefusedError
from pymr.wire.requests import TYPED_BYTES_MAX


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


class DeafWorker:
    """A client of a worker that reads nothing until `is_deaf` is over."""

    def __init__(self) -> None:
        self.is_deaf = True
        self.typed = b""

    def type_into(self, worker: str, holder: str, data: bytes) -> None:
        if self.is_deaf:
            raise RefusedError("unavailable", "it takes nothing")
        self.typed += data


def test_what_a_worker_does_not_take_waits_for_it() -> None:
    worker = DeafWorker()
    attachment = Attachment(cast(Client, worker), "alpha/0", "run-1")
    typed = b"x" * TYPED_BYTES_MAX
    attachment._type(typed)
    attachment._type(b"too much")
    worker.is_deaf = False
    attachment._send()

    assert worker.typed == typed
    assert attachment._left_out == len(b"too much")
