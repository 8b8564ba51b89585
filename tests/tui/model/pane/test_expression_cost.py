"""What an expression may cost: none that could keep the console waiting is tried, usual ones all are."""

from __future__ import annotations

import random
import re
import time

import pytest

from tui.model.pane.expression_cost import characters_max
from tui.model.pane.needle import TOO_SLOW, Needle

_SECONDS_MAX = 1.0


@pytest.mark.parametrize(
    "text",
    [
        "(a|ab|b)*c",
        "(a|aa)+$",
        "(a?){30}a{30}",
        ".*.*.*.*x",
        "(a+)+b",
        "(a*)*b",
        r"(\w+=\w+ ?)+;",
        r"(.*,)*x",
        r"(\w+|\d)*x",
        r"([^a]|b)*c",
        "(kx?|\u212a)*y",
        "(?:(?:ab|a)(?:b|))*c",
        r"(?a:\w)+",
        r"(?=(a+)+b)a",
        r"(?>(a+)+b)",
        r"(?:(a+)\1)*b",
        "[\u0100-\uffff]" * 30,
        "(|a?)bar" * 20 + "x",
    ],
)
def test_an_expression_that_could_take_forever_is_refused(text: str) -> None:
    assert Needle(text).problem == TOO_SLOW


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (r"([0-9]{1,3}\.){3}[0-9]{1,3}", "from 192.168.0.17"),
        (r"(\s*\d+,)*", "1, 22, 333,"),
        (r"\d+ms.*timeout", "after 30ms: timeout"),
        (r"(GET|POST) /\S+", "GET /index.html"),
        (r"((\w+) )*end", "this is the end"),
        (r"(\w+=\w+ )+", "a=1 bc=2 "),
        (r"(\S+\s+)*x", "a b x"),
        ("(false|foo|get)+x", "falsefoox"),
        ("(a|b)+c+", "abacc"),
        (r"(\d+)-[)+]+(a+)?", "12-)a"),
        ("error|warning|fail(ed|ure)?", "failed"),
        (r"^\[.*\] .*: .*failed", "[12:00] task 7: it failed"),
        ("foo.*bar.*baz", "foo, bar and baz"),
        (".*error.*code", "an error with a code"),
        (r"(?:\w+/)*\w+\.py:\d+", "tui/model/pane/ansi.py:12"),
        ('"[^"]*": "[^"]*"', '"key": "value"'),
        (r"[a-z.]+@[a-z]+\.(com|de)", "me@there.de"),
        (r"(?<=a)b+(?!c)", "abb"),
        (r"(\w)\1", "aa"),
        (r"\bT\d{4}\b|^$", "T1234"),
    ],
)
def test_usual_expressions_are_found(text: str, line: str) -> None:
    assert Needle(text).problem == ""
    assert Needle(text).in_text().first(line) is not None


@pytest.mark.parametrize("text", [r"\d+ms.*timeout", r"(\s*\d+,)*x", r"([0-9]{1,3}\.){3}[0-9]{1,3}", r"a\d+"])
def test_usual_lines_are_looked_at_whole(text: str) -> None:
    assert characters_max(text) >= 1_024


def _expression(chance: random.Random, depth: int) -> str:
    kind = chance.randrange(9) if depth else 0
    if kind < 2:
        return chance.choice(["a", "b", "c", ".", "[ab]", "[^a]", r"\w", r"\s", " ", "ab"])
    inner = _expression(chance, depth - 1)
    if kind < 4:
        return inner + _expression(chance, depth - 1)
    if kind == 4:
        return f"({inner}|{_expression(chance, depth - 1)})"
    return f"({inner}){chance.choice(['*', '+', '?', '{1,3}', '*?', '{2,}', '{7}'])}"


@pytest.mark.parametrize("seed", range(40))
def test_no_expression_that_is_tried_takes_long(seed: int) -> None:
    chance = random.Random(seed)
    texts = [_expression(chance, 4) + chance.choice(["", "x", "$"]) for _ in range(25)]
    units = ["a", "ab", "a ", "aab", "abc", " "]
    slowest, tried = (0.0, "", ""), 0
    for text in texts:
        if Needle(text).problem:
            continue
        matcher, tried = Needle(text).in_text(), tried + 1
        unit = chance.choice(units)
        began = time.thread_time()
        list(matcher.spans((unit * 4_096)[:4_096] + "!"))
        slowest = max(slowest, (time.thread_time() - began, text, unit))

    assert tried
    assert slowest < (_SECONDS_MAX, "", "")


def test_a_tree_of_every_kind_is_known() -> None:
    text = r"^a(?:b|cd)[^e-g\d]*?h++(?>i)(?=j)(?<!k)(l)\1(?(1)m|n)\b.{2,3}(?i:o)$"

    assert re.compile(text)
    assert characters_max(text.replace("(?(1)m|n)", "")) > 0
    assert characters_max(text) == 0
