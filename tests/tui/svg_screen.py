"""What a console shows as an SVG: made to be kept in the repository, and read back for comparison."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import groupby
from typing import Any
from xml.etree import ElementTree

from textual.app import App

_CELL_WIDTH, _CELL_HEIGHT = 12.2, 24.4
"""Of the SVG that Rich draws."""

_FONTS = '"Fira Code", "DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace'
_SPACE = "{http://www.w3.org/2000/svg}"


def screen_svg(app: App[Any], name: str) -> str:
    """The screen as it is. It loads nothing from elsewhere; an element stands in a line. name: begins the
    ids in it."""
    svg = app.export_screenshot(title=" ", simplify=True)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code, monospace", _FONTS)
    svg = re.sub(r"terminal-\d+", name, svg)
    svg = svg.replace(' shape-rendering="crispEdges"', "")
    frame = str(app.theme_variables["panel"])
    svg = re.sub(r'<rect fill="#\w+" stroke="[^"]*"', f'<rect fill="{frame}" stroke="{frame}"', svg, count=1)
    svg = svg.replace(f'<g class="{name}-matrix">', f'</g>\n<g class="{name}-matrix">')
    svg = re.sub(
        rf'(<g transform="[^"]*" clip-path="url\(#{name}-clip-terminal\)">)',
        r'\1\n<g shape-rendering="crispEdges">',
        svg,
    )
    svg = re.sub(r"(/>|</text>)(?=<)", r"\1\n", svg)
    return "\n".join(line.strip() for line in svg.splitlines() if line.strip()) + "\n"


@dataclass(frozen=True, slots=True)
class DrawnLine:
    """A line of a screen. styles: `0-11 bold #d7dde4 on #14171c` for each stretch that is drawn alike; blanks
    have a background only."""

    text: str
    styles: tuple[str, ...]


def drawn_lines(svg: str) -> list[DrawnLine]:
    """The lines of what `screen_svg` or Textual has made: what is seen, and not how the file says it."""
    root = ElementTree.fromstring(svg)
    rules = dict(re.findall(r"\.[\w-]+-(r\d+) \{\s*(.*?)\s*\}", "".join(root.itertext())))
    background: dict[tuple[int, int], str] = {}
    cells: dict[tuple[int, int], tuple[str, str]] = {}
    terminal = next(group for group in root.iter(f"{_SPACE}g") if "clip-path" in group.attrib)
    for rect in terminal.iter(f"{_SPACE}rect"):
        row, column = _place(rect, offset=1.5)
        for place in range(column, column + round(float(rect.get("width", "0")) / _CELL_WIDTH)):
            background[row, place] = rect.get("fill", "")
    for text in terminal.iter(f"{_SPACE}text"):
        row, column = _place(text, offset=20.0)
        style = _style(rules[text.get("class", "").rpartition("-")[2]])
        for place, character in enumerate((text.text or "").replace("\xa0", " "), start=column):
            cells[row, place] = character, style
    rows = max((row for row, _ in background | cells), default=-1) + 1
    columns = max((column for _, column in background | cells), default=-1) + 1
    return [
        DrawnLine(
            "".join(cells.get((row, column), " ")[0] for column in range(columns)).rstrip(),
            tuple(_stretches([_look(cells, background, row, column) for column in range(columns)])),
        )
        for row in range(rows)
    ]


def difference(expected: list[DrawnLine], found: list[DrawnLine]) -> str:
    """How two screens differ, for a person; "" where they do not."""
    texts = [[line.text for line in lines] for lines in (expected, found)]
    told = list(unified_diff(*texts, "expected", "found", lineterm="", n=1))
    for number, (before, after) in enumerate(zip(expected, found, strict=False)):
        if before.text == after.text and before.styles != after.styles:
            told += [f"line {number} is drawn otherwise: {after.text}"]
            told += [f"  - {style}" for style in before.styles if style not in after.styles]
            told += [f"  + {style}" for style in after.styles if style not in before.styles]
    return "\n".join(told)


def _place(element: ElementTree.Element, offset: float) -> tuple[int, int]:
    """(row, column) of an element that lies `offset` below the top of its line."""
    x, y = float(element.get("x", "0")), float(element.get("y", "0"))
    return round((y - offset) / _CELL_HEIGHT), round(x / _CELL_WIDTH)


def _style(css: str) -> str:
    """`bold #d7dde4` of a rule such as `fill: #d7dde4;font-weight: bold`."""
    rules = dict(rule.split(": ") for rule in css.split(";") if rule)
    colour = rules.pop("fill", "")
    return " ".join([*rules.values(), colour])


def _look(
    cells: dict[tuple[int, int], tuple[str, str]],
    background: dict[tuple[int, int], str],
    row: int,
    column: int,
) -> str:
    character, style = cells.get((row, column), (" ", ""))
    on = f"on {background[row, column]}" if (row, column) in background else ""
    is_ink = character != " " or "underline" in style
    return f"{style} {on}".strip() if is_ink else on


def _stretches(looks: list[str]) -> Iterator[str]:
    start = 0
    for look, group in groupby(looks):
        stop = start + len(list(group))
        yield f"{start}-{stop - 1} {look}"
        start = stop
