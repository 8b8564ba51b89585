"""A widget is told of its size whatever is asked between its mounting and the layout."""

from __future__ import annotations

from textual.app import App
from textual.geometry import Region
from textual.pilot import Pilot
from waiting import until

from tui.widgets.sized import Sized


class Box(Sized):
    """Writes down what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[int, int]] = []

    def resized(self) -> None:
        self.told.append(tuple(self.outer_size))


async def told(pilot: Pilot[None], box: Box) -> list[tuple[int, int]]:
    await until(pilot, lambda: box.told, "the widget to be told of its size")
    return box.told


async def test_a_new_widget_is_told_of_its_size_once() -> None:
    app: App[None] = App()
    async with app.run_test(size=(80, 24)) as pilot:
        box = Box()
        await app.screen.mount(box)

        assert await told(pilot, box) == [(80, 24)]


async def test_also_when_its_place_was_asked_for_before_the_layout() -> None:
    app: App[None] = App()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        box = Box()
        await app.screen.mount(box)
        app.screen._compositor.update_widgets({box})  # a repaint comes first
        assert box.region == Region(0, 0, 80, 24)  # then something asks where it is, as focusing does
        assert box.told == []  # and both before the layout

        assert await told(pilot, box) == [(80, 24)]


async def test_it_is_told_when_the_terminal_has_another_size() -> None:
    app: App[None] = App()
    async with app.run_test(size=(80, 24)) as pilot:
        box = Box()
        await app.screen.mount(box)
        await told(pilot, box)
        await pilot.resize_terminal(60, 20)
        await until(pilot, lambda: len(box.told) > 1, "the widget to be told of its new size")

        assert box.told == [(80, 24), (60, 20)]
