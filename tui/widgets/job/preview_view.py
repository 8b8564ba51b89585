"""What came of a preview: items and output side by side, what was printed, or the traceback."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import DataTable, Static

from pymr.wire.requests import PreviewView
from pymr.wire.wording import count_of, span
from tui.model.printable import printable, printable_lines
from tui.render.styled_line import MUTED
from tui.widgets.sized import Sized

_ROWS_MAX = 1_000
_CELL_CHARACTERS_MAX = 200


class PreviewResult(Vertical):
    """Everything of a preview that is done. Scrolls by its parts."""

    DEFAULT_CSS = """
    PreviewResult { height: 1fr; }
    PreviewResult .facts { height: auto; margin-bottom: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    PreviewResult .tables { height: 1fr; min-height: 3; }
    PreviewResult .tables > Vertical { width: 1fr; height: 1fr; }
    PreviewResult .tables > .second { margin-left: 2; }
    PreviewResult DataTable { height: 1fr; background: transparent; scrollbar-size-vertical: 1; }
    PreviewResult .text { height: auto; max-height: 25%; margin-top: 1; scrollbar-size-vertical: 1; }
    PreviewResult .text.error { max-height: 40%; }
    PreviewResult .text Static { width: 100%; height: auto; }
    """

    def __init__(self, view: PreviewView) -> None:
        super().__init__()
        self._view = view

    def compose(self) -> ComposeResult:
        view = self._view
        yield Static(facts_line(view), classes="facts", markup=False)
        if view.items or view.output or not view.error:
            with Horizontal(classes="tables"):
                yield from _table("ITEMS", view.items, view.items_total)
                second = "OUTPUT"
                yield from _table(second, view.output, view.output_total, classes="second")
        for title, text, classes in (("ERROR", view.error, "text error"), ("PRINTED", view.printed, "text")):
            if text.strip():
                with VerticalScroll(classes=classes):
                    colour = "$error" if title == "ERROR" else MUTED
                    yield Static(Content.styled(title, f"bold {colour}"))
                    yield Static("\n".join(printable_lines(text)), markup=False)


class _Items(DataTable[Text], Sized):
    """Keys and values. A long key leaves half of the width to the values; those scroll sideways."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        super().__init__(cursor_type="row", zebra_stripes=False)
        self._pairs = [(_cell(key), _cell(value)) for key, value in pairs]
        self._key_width = 0

    def resized(self) -> None:
        whole = self.outer_size.width - 4 * self.cell_padding
        keys = max((key.cell_len for key, _ in self._pairs), default=0)
        values = max((value.cell_len for _, value in self._pairs), default=0)
        width = max(min(keys, max(whole // 2, whole - max(values, len("value")))), len("key"))
        if width == self._key_width:
            return
        self._key_width = width
        row = self.cursor_row
        self.clear(columns=True)
        self.add_column("key", width=width)
        self.add_column("value")
        for key, value in self._pairs:
            cut = key.copy()
            cut.truncate(width, overflow="ellipsis")
            self.add_row(cut, value)
        self.move_cursor(row=row)


def facts_line(view: PreviewView) -> Content:
    """What was read, where, and how long it took."""
    if not view.path and not view.error:
        return Content.styled(
            "No peer has a file in input_dirs, so there was nothing to try it on.", "$warning"
        )
    result = ("✗ failed", "$error") if view.error else ("✓ went well", "$success")
    read = f"{count_of(view.lines, 'line')} on " if view.path else "on "
    took = span(view.seconds) if view.seconds >= 1 else f"{view.seconds * 1_000:.0f} ms"
    facts = Content.assemble(result, f"   {read}{printable(view.peer)}   ", (took, MUTED))
    return Content("\n").join([facts, Content.styled(printable(view.path), MUTED)]) if view.path else facts


def _table(title: str, lines: Sequence[str], total: int, classes: str = "") -> Iterable[Vertical]:
    shown = len(lines[:_ROWS_MAX])
    count = f"{total:,}" if shown >= total else f"first {shown:,} of {total:,}"
    table = _Items([_pair(line) for line in lines[:_ROWS_MAX]])
    heading = Static(Content.assemble((title, "bold"), (f"  {count}", MUTED)), markup=False)
    yield Vertical(heading, table, classes=classes)


def _pair(line: str) -> tuple[str, str]:
    """Key and value of an item as JSON each; the whole line where it is no item, as when it was cut."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return line, ""
    if not isinstance(item, list) or len(item) != 2:
        return line, ""
    key, value = (json.dumps(one, ensure_ascii=False) for one in item)
    return key, value


def _cell(text: str) -> Text:
    shown = printable(text)
    return Text(shown if len(shown) <= _CELL_CHARACTERS_MAX else f"{shown[:_CELL_CHARACTERS_MAX]}…")
