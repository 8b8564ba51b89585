"""Keys become bytes, and reach the worker in their order; where a failure begins; how tiles are laid out."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual import events
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

import tui.app
from pymr.client import RefusedError, UnreachableError
from pymr.wire.rows import WorkerRow
from tui.app import ConsoleApp
from tui.model.filters import parse_filter
from tui.model.pane import rows as pane_rows
from tui.model.pane import typist as pane_typist
from tui.model.pane.buffer import PaneBuffer, PaneLine
from tui.model.pane.grid import BUSY_SECONDS, WorkerOrder, grid_shape, next_of, passing
from tui.model.pane.keys import AttachedKeys, bytes_of_key, bytes_of_paste
from tui.model.pane.place import start_of_failure
from tui.model.pane.rows import PaneRows
from tui.model.pane.typist import NO_ANSWER, NOT_READ, WAITING_BYTES_MAX, Typist, holder_words
from tui.model.state import ClusterState
from tui.screens.attach import AttachScreen
from tui.settings.options import Options


@pytest.mark.parametrize(
    ("key", "character", "data"),
    [
        ("a", "a", b"a"),
        ("A", "A", b"A"),
        ("ä", "ä", "ä".encode()),
        ("colon", ":", b":"),
        ("enter", "\r", b"\r"),
        ("tab", "\t", b"\t"),
        ("backspace", "\x7f", b"\x7f"),
        ("escape", "\x1b", b"\x1b"),
        ("up", None, b"\x1b[A"),
        ("ctrl+c", "\x03", b"\x03"),
        ("ctrl+d", "\x04", b"\x04"),
        ("ctrl+@", "\x00", b"\x00"),
        ("ctrl+z", "\x1a", b"\x1a"),
        ("alt+b", None, b"\x1bb"),
        ("f5", None, b"\x1b[15~"),
        ("shift+f9", None, b""),
    ],
)
def test_the_bytes_of_a_key(key: str, character: str | None, data: bytes) -> None:
    assert bytes_of_key(key, character) == data
    assert AttachedKeys().take(key, character) == data


def test_pasted_lines_end_as_typed_ones() -> None:
    assert bytes_of_paste("a\r\nb\nc") == b"a\rb\rc"


@pytest.mark.parametrize("keys", [["ctrl+a", "d"], ["ctrl+right_square_bracket"]])
def test_two_ways_to_give_the_keyboard_back(keys: list[str]) -> None:
    attached = AttachedKeys()

    assert [attached.take(key, None) for key in keys] == [b""] * len(keys)
    assert attached.is_detached


def test_ctrl_a_can_be_sent() -> None:
    attached = AttachedKeys()

    assert [attached.take("ctrl+a", "\x01"), attached.take("a", "a")] == [b"", b"\x01"]
    assert [attached.take("ctrl+a", "\x01"), attached.take("x", "x")] == [b"", b"\x01x"]
    assert not attached.is_detached


class Keyboard:
    """The keyboard of a worker, for a typist: each call takes a turn of the loop, the first ones longest."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, ...] | bytes] = []
        self.refusal: Exception | None = None
        self._turns = 5

    async def ask(self, call: Callable[[Any], Any]) -> Any:
        self._turns = max(0, self._turns - 1)
        for _ in range(self._turns + 1):
            await asyncio.sleep(0)
        return call(self)

    def attach(self, worker: str, holder: str, columns: int = 0, rows: int = 0) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.calls.append(("attach", worker, holder))

    def type_into(self, worker: str, holder: str, data: bytes) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.calls.append(data)

    def detach(self, worker: str, holder: str) -> None:
        self.calls.append(("detach", worker, holder))

    @property
    def typed(self) -> bytes:
        return b"".join(call for call in self.calls if isinstance(call, bytes))


async def test_what_is_typed_arrives_whole_and_in_order() -> None:
    keyboard, held = Keyboard(), asyncio.Event()
    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1")
    typist.type(b"early ")
    running = asyncio.create_task(typist.run(held.set))
    await held.wait()
    for number in range(500):
        assert typist.type(b"%d " % number)
        if number % 7 == 0:
            await asyncio.sleep(0)
    typist.close()
    ended = await running

    assert ended == ""
    assert keyboard.typed == b"early " + b"".join(b"%d " % number for number in range(500))
    assert keyboard.calls[0] == ("attach", "alpha/0", "ada@host:1")
    assert keyboard.calls[-1] == ("detach", "alpha/0", "ada@host:1")


async def test_the_keyboard_is_held_on_while_nothing_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pane_typist, "RENEW_SECONDS", 0.001)
    keyboard = Keyboard()
    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1")
    running = asyncio.create_task(typist.run(lambda: None))
    while len(keyboard.calls) < 4:
        await asyncio.sleep(0.001)
    typist.close()
    await running

    assert [call[0] for call in keyboard.calls if isinstance(call, tuple)][:4] == ["attach"] * 4


async def test_another_size_is_told_while_the_keyboard_is_held() -> None:
    keyboard, held, resized = Keyboard(), asyncio.Event(), asyncio.Event()

    def attach(worker: str, holder: str, columns: int = 0, rows: int = 0) -> None:
        sizes.append((columns, rows))
        if len(sizes) == 2:
            resized.set()

    sizes: list[tuple[int, int]] = []
    keyboard.attach = attach  # type: ignore[method-assign]
    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1", (80, 20))
    running = asyncio.create_task(typist.run(held.set))
    await held.wait()
    typist.resize(80, 20)
    typist.resize(120, 40)
    await resized.wait()
    typist.close()
    await running

    assert sizes == [(80, 20), (120, 40)]


async def test_whoever_holds_the_keyboard_is_told() -> None:
    keyboard, held = Keyboard(), []
    keyboard.refusal = RefusedError("held", "bob@host is typing into alpha/0")
    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1")

    assert "bob@host" in await typist.run(lambda: held.append(1))
    assert held == []


async def test_what_was_not_sent_is_told() -> None:
    keyboard, held = Keyboard(), asyncio.Event()
    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1")
    running = asyncio.create_task(typist.run(held.set))
    await held.wait()
    keyboard.refusal = UnreachableError("alpha is away")
    typist.type(b"lost")

    assert "alpha is away; 4 bytes may not have arrived" in await running
    assert not typist.type(b"more")


async def test_an_answer_that_takes_long_is_told_of_until_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pane_typist, "SLOW_SECONDS", 0.0)
    keyboard, held, answered = Keyboard(), asyncio.Event(), asyncio.Event()
    told: list[str] = []

    async def ask(call: Callable[[Any], Any]) -> Any:
        if held.is_set():
            await answered.wait()
        return await keyboard.ask(call)

    def on_stuck(why: str) -> None:
        told.append(why)
        if why and held.is_set():
            answered.set()

    typist = Typist(ask, "alpha/0", "ada@host:1", on_stuck=on_stuck)
    running = asyncio.create_task(typist.run(held.set))
    await held.wait()
    typist.type(b"x")
    await answered.wait()
    typist.close()
    await running

    assert told[:2] == [NO_ANSWER, ""]
    assert told[-1] == ""
    assert keyboard.typed == b"x"


class DeafKeyboard(Keyboard):
    """That of a worker which reads `room` bytes each time that it has refused some."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = self.taken = room

    def type_into(self, worker: str, holder: str, data: bytes) -> None:
        if len(data) > self.taken:
            self.taken += self.room
            raise RefusedError("unavailable", "alpha/0 takes nothing of what is typed")
        self.taken -= len(data)
        super().type_into(worker, holder, data)


async def test_a_long_paste_is_sent_as_the_worker_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pane_typist, "FULL_SECONDS", 0.001)
    keyboard, told = DeafKeyboard(20_000), list[str]()
    paste = b"".join(b"%07d\r" % number for number in range(WAITING_BYTES_MAX // 8))

    def on_stuck(why: str) -> None:
        told.append(why)
        if not why:
            typist.close()

    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1", on_stuck=on_stuck)
    assert typist.type(paste)
    ended = await typist.run(lambda: None)

    assert ended == ""
    assert keyboard.typed == paste
    assert told == [NOT_READ, ""]


async def test_what_a_worker_never_reads_is_told_when_the_keyboard_is_given_back() -> None:
    keyboard, told = DeafKeyboard(0), list[str]()

    def on_stuck(why: str) -> None:
        told.append(why)
        typist.close()

    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1", on_stuck=on_stuck)
    typist.type(b"x" * 1_000)
    ended = await typist.run(lambda: None)

    assert "1,000 bytes were not sent" in ended
    assert told == [NOT_READ]
    assert keyboard.calls[-1] == ("detach", "alpha/0", "ada@host:1")


async def test_what_waits_is_not_typed_into_the_worker_of_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pane_typist, "FULL_SECONDS", 0.001)
    keyboard = DeafKeyboard(0)

    def on_stuck(why: str) -> None:
        keyboard.room = 1_000  # another worker, that takes all
        typist.drop()

    typist = Typist(keyboard.ask, "alpha/0", "ada@host:1", on_stuck=on_stuck)
    typist.type(b"for the one before")
    ended = await typist.run(lambda: None)

    assert ended == ""
    assert keyboard.typed == b""
    assert keyboard.calls[-1] == ("detach", "alpha/0", "ada@host:1")


def test_what_waits_is_bounded() -> None:
    typist = Typist(Keyboard().ask, "alpha/0", "ada@host:1")

    assert typist.type(b"x" * WAITING_BYTES_MAX)
    assert not typist.type(b"x")


def test_a_holder_is_told_without_its_process() -> None:
    assert holder_words("ada@host:123") == "ada@host"
    assert holder_words("ada@host") == "ada@host"


@pytest.mark.parametrize(
    ("before", "failure"),
    [
        (b"seen: 1\n", b'Traceback (most recent call last):\n  File "x"\nValueError: 7\n'),
        (
            b"Traceback (most recent call last):\nKeyError: old\nother line\n",
            b"Traceback (most recent call last):\nA: 1\n\nDuring handling of the above exception, another"
            b" exception occurred:\n\nTraceback (most recent call last):\nB: 2\n",
        ),
        (b"one\n", b"  + Exception Group Traceback (most recent call last):\n  | E\n"),
        (
            b"Traceback (most recent call last):\nKeyError: old\npre segv 199\n",
            b"Fatal Python error: Segmentation fault\n\nCurrent thread 0x1 (most recent call first):\n"
            b'  File "x.py", line 2 in words\n',
        ),
        (b"it said: Fatal Python error: no\n", b"the last line\n"),
        (b"one\ntwo\n", b"the last line\n"),
        (b"", b"the only line"),
    ],
)
def test_where_a_failure_begins(before: bytes, failure: bytes) -> None:
    assert start_of_failure(before + failure) == len(before)


@pytest.mark.parametrize(
    ("count", "columns", "rows", "shape"),
    [
        (1, 80, 20, (1, 1)),
        (2, 80, 20, (1, 2)),
        (4, 80, 20, (2, 2)),
        (16, 80, 20, (2, 2)),
        (16, 200, 46, (4, 4)),
        (5, 200, 46, (2, 3)),
        (100, 30, 5, (1, 1)),
    ],
)
def test_as_many_tiles_as_fit_as_large_as_they_can_be(
    count: int, columns: int, rows: int, shape: tuple[int, int]
) -> None:
    assert grid_shape(count, columns, rows) == shape


def worker(name: str, state: str = "idle", job_name: str | None = None) -> WorkerRow:
    return WorkerRow(name=name, peer=name.split("/")[0], pid=1, state=state, job_name=job_name)  # type: ignore[arg-type]


def test_busy_workers_come_first_and_stay_there_for_a_while() -> None:
    order, names = WorkerOrder(), []
    busy = [worker("alpha/0"), worker("beta/10", "map"), worker("beta/9", "map")]
    idle = [worker("alpha/0"), worker("beta/10"), worker("beta/9")]

    for rows, now in ((busy, 0.0), (idle, BUSY_SECONDS - 1), (idle, BUSY_SECONDS + 1)):
        names.append([row.name for row in order.ordered(rows, now)])

    assert names[0] == names[1] == ["beta/9", "beta/10", "alpha/0"]
    assert names[2] == ["alpha/0", "beta/9", "beta/10"]


def test_which_workers_pass() -> None:
    rows = [worker("alpha/0", "map", "count"), worker("alpha/1"), worker("beta/0", "map", "other")]

    def names(words: str = "", **info: str) -> list[str]:
        return [row.name for row in passing(rows, parse_filter(words), **info)]

    assert names() == ["alpha/0", "alpha/1", "beta/0"]
    assert names(job_name="count") == ["alpha/0"]
    assert names(peer="alpha") == ["alpha/0", "alpha/1"]
    assert names("status:map !other") == ["alpha/0"]


def test_filters_go_round() -> None:
    assert [next_of(["b", "a", "a"], name) for name in ("", "a", "b")] == ["a", "b", ""]


class TypingConsole(ConsoleApp):
    """A console that shows the pane of a worker that is at work, and passes on what is typed."""

    CSS_PATH = Path(tui.app.__file__).with_name("styles.tcss")

    def __init__(self) -> None:
        super().__init__(Options(), None)
        self.keyboard = Keyboard()
        self.state = ClusterState(workers=(worker("alpha/0", "map", "count"),), answered_at=1.0)
        self.gate = asyncio.Event()
        self.gate.set()

    def _offer_cluster(self) -> None:
        """There is none, and none is missed."""

    async def ask(self, call: Callable[[Any], Any]) -> Any:
        await self.gate.wait()
        return await self.keyboard.ask(call)

    @property
    def attach(self) -> AttachScreen:
        assert isinstance(self.shown_screen, AttachScreen)
        return self.shown_screen


async def typing(pilot: Pilot[Any], app: TypingConsole) -> AttachScreen:
    """The attach screen, with the keyboard of alpha/0."""
    app.open_pane("alpha/0")
    await until(pilot, lambda: app.current_mode == "attach" and app.attach.is_mounted, "the attach screen")
    await pilot.press("i")
    await until_shown(pilot, "Every key goes to alpha/0")
    return app.attach


async def test_keys_right_behind_i_are_typed_and_no_commands() -> None:
    app = TypingConsole()
    async with app.run_test(size=(100, 20)) as pilot:
        screen = await typing(pilot, app)
        screen.stop_typing()
        await until(pilot, lambda: not screen.is_typing, "typing to end")
        for key in ("i", "w", "1", "enter"):
            app.post_message(events.Key(key, "\r" if key == "enter" else key))
        await until(pilot, lambda: app.keyboard.typed == b"w1\r", "the keys to be typed")

        assert app.screen is screen
        assert not screen.view.is_wrapped


async def test_a_paste_that_is_too_long_is_refused_whole_and_said_so_until_the_next_key() -> None:
    app = TypingConsole()
    async with app.run_test(size=(100, 20)) as pilot:
        screen = await typing(pilot, app)
        screen.post_message(events.Paste("x" * WAITING_BYTES_MAX))
        await until(pilot, lambda: len(app.keyboard.typed) == WAITING_BYTES_MAX, "the paste to be sent")
        screen.post_message(events.Paste("y" * (WAITING_BYTES_MAX + 1)))
        await until_shown(pilot, "a paste of 1,048,577 bytes; at most 1,048,576 can be typed at once")
        await pilot.press("a")
        await until_shown(pilot, "Every key goes to alpha/0")
        await until(pilot, lambda: app.keyboard.typed.endswith(b"a"), "the key to be sent")

        assert b"y" not in app.keyboard.typed


async def test_who_types_is_told_that_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pane_typist, "SLOW_SECONDS", 0.05)
    app = TypingConsole()
    async with app.run_test(size=(100, 20)) as pilot:
        await typing(pilot, app)
        app.gate.clear()
        await pilot.press("a")
        await until_shown(pilot, "alpha/0 does not answer. Keys wait")
        app.gate.set()
        await until_shown(pilot, "Every key goes to alpha/0")

        assert app.keyboard.typed == b"a"


async def test_who_types_is_told_that_the_worker_does_not_read() -> None:
    app = TypingConsole()
    async with app.run_test(size=(100, 20), notifications=True) as pilot:
        screen = await typing(pilot, app)
        app.keyboard = DeafKeyboard(0)
        screen.post_message(events.Paste("x" * 100))
        await until_shown(pilot, "alpha/0 has not read all that was typed. Keys wait")
        await pilot.press("ctrl+a", "d")
        toasts = app._notifications
        await until(pilot, lambda: any("100 bytes were not sent" in one.message for one in toasts), "a toast")


async def test_typing_begins_also_where_nothing_of_the_pane_has_been_read_yet() -> None:
    app = TypingConsole()
    row = msgspec.structs.replace(worker("alpha/0", "map", "count"), run_id="run-1")
    app.state = ClusterState(workers=(row,), answered_at=1.0)
    async with app.run_test(size=(100, 20)) as pilot:
        screen = await typing(pilot, app)
        screen.show_state(app.state)

        assert screen.is_typing


async def test_that_another_types_is_told_only_as_long_as_it_does() -> None:
    app = TypingConsole()
    row = worker("alpha/0", "breakpoint", "count")
    held = ClusterState(workers=(msgspec.structs.replace(row, holder="ada@host:1"),), answered_at=1.0)
    async with app.run_test(size=(100, 20)) as pilot:
        app.open_pane("alpha/0")
        await until(
            pilot, lambda: app.current_mode == "attach" and app.attach.is_mounted, "the attach screen"
        )
        app.state = held
        app.attach.show_state(held)
        await pilot.press("i")
        await until_shown(pilot, "ada@host:1 is typing into alpha/0; one at a time")
        app.state = ClusterState(workers=(row,), answered_at=1.0)
        app.attach.show_state(app.state)
        await until(pilot, lambda: "is typing into" not in screen_text(pilot), "the notice to go")

        assert not app.attach.is_typing


async def test_output_that_comes_before_the_screen_is_there_is_no_fault() -> None:
    app = TypingConsole()
    async with app.run_test(size=(100, 20)) as pilot:
        app.open_pane("alpha/0")
        while app.current_mode != "attach":
            await asyncio.sleep(0)
        was_mounted = app.shown_screen.is_mounted
        app.on_panes_changed()
        app.on_state_changed()
        app.open_pane("alpha/0", "run-1")  # Enter was pressed twice
        await until(pilot, lambda: app.attach.is_mounted and app.attach.run_id, "the pane")

        assert not was_mounted
        assert app.attach.worker == "alpha/0"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (None, "alpha/0 is not there"),
        (worker("alpha/0", "map", "other"), "alpha/0 no longer works on this run"),
    ],
)
async def test_the_pane_of_another_run_says_no_more_of_it_than_is_known(
    row: WorkerRow | None, words: str
) -> None:
    app = TypingConsole()
    app.state = ClusterState(workers=() if row is None else (row,), answered_at=1.0)
    async with app.run_test(size=(100, 20)) as pilot:
        app.open_pane("alpha/0", "run-1")
        await until_shown(pilot, words)

        assert "finished" not in screen_text(pilot)


@pytest.mark.parametrize("data", [b"\x1b[31mx\x1b[32my" * 300, b"x" * 4_000], ids=["colours", "text"])
def test_lines_that_are_kept_as_they_are_shown_take_a_bounded_memory(
    data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pane_rows, "_PARSED_BYTES_MAX", 1 << 18)
    rows = PaneRows(PaneBuffer())
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(250):
            rows.text_of(PaneLine(number * len(data), data, None))
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()

    assert taken < 2 << 18
