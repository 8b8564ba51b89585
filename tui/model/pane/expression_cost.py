"""What an expression may cost at most, by its parsed tree: `re` goes back and tries again without a limit,
holds every other thread up while it does, and cannot be interrupted. Part of `needle`."""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from itertools import combinations, takewhile
from typing import Any, NamedTuple

STEPS_MAX = 40_000_000
"""In one line; measured: at most 10 ns each, 0.2 s in all, on texts made to be slow."""

_CHARACTERS = (4_096, 2_048, 1_024, 512, 256)
_GROUP_STEPS = 4  # for each node in a group that is repeated
_RANGES_MAX = 1 << 18
"""Characters of all ranges of an expression, each of which takes as long to compile as it is wide."""

_WITH_FORMS_BEYOND = frozenset("iks")  # such as K, the sign of Kelvin, in any case

_parse: Any = importlib.import_module("re._parser").parse  # private; a test holds what is used of its trees

_Nodes = Sequence[tuple[Any, Any]]
_CLASSES = 4  # beyond ASCII: digits, spaces, other characters of words, all others
_DIGIT, _SPACE, _WORD, _OTHER = (1 << 128 + number for number in range(_CLASSES))
_BEYOND = _DIGIT | _SPACE | _WORD | _OTHER
_ALL = (1 << 128 + _CLASSES) - 1
_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_PLAIN_NODES = _SINGLE | {"AT", "SUBPATTERN", "BRANCH", "MAX_REPEAT", "MIN_REPEAT"}


class Cost(NamedTuple):
    """ways: in which it may match from one place, of which each is tried where the rest does not. work: steps
    to try all of them."""

    ways: float
    work: float


_ONE = Cost(1, 1)
_UNBOUNDED = Cost(float("inf"), float("inf"))


def characters_max(text: str) -> int:
    """Of how many characters of a line an expression may be tried at most for STEPS_MAX; 0 for none.

    An upper bound: no harmless text of a line is taken into account. Raises what re.compile does.
    """
    tree = _parse(text)
    if (tree.state.flags | _flags_in(tree)) & re.ASCII or _range_sizes(tree) > _RANGES_MAX:
        return 0
    return next((size for size in _CHARACTERS if _Bound(size).of_search(list(tree)) <= STEPS_MAX), 0)


class _Bound:
    """Bounds of what parts of an expression cost in a line of `size` characters.

    `follow`: the characters with which what comes after a part may go on; 0 where nothing does, so that the
    first way is the last. Two ways of which the next character decides are one.
    """

    def __init__(self, size: int) -> None:
        self._size = size

    def of_search(self, nodes: _Nodes) -> float:
        """Steps from all places of a line together."""
        if nodes and str(nodes[0][1]) in ("AT_BEGINNING", "AT_BEGINNING_STRING"):
            return self._size + self._sequence(nodes, 0).work
        return self._size + self._paths(nodes) * self._sequence(nodes, 0).work

    def _paths(self, nodes: _Nodes) -> float:
        """How often the characters that stand alone in front of nodes fit into a line."""
        letters = [_letters(*node) for node in takewhile(lambda node: str(node[0]) in _SINGLE, nodes)]
        period = next(
            (
                shift
                for shift in range(1, len(letters))
                if all(one & other for one, other in zip(letters, letters[shift:], strict=False))
            ),
            max(1, len(letters)),
        )
        return self._size // period + 1

    def _sequence(self, nodes: _Nodes, follow: int) -> Cost:
        ways, work = 1.0, 1.0
        for number, (operator, argument) in enumerate(nodes):
            rest = nodes[number + 1 :]
            cost = self._node(str(operator), argument, rest, _first(rest, follow))
            work += ways * cost.work
            ways *= cost.ways
        return Cost(ways, work)

    def _node(self, operator: str, argument: Any, rest: _Nodes, follow: int) -> Cost:
        if operator in _SINGLE or operator == "AT":
            return _ONE
        if operator == "SUBPATTERN":
            return self._sequence(list(argument[-1]), follow)
        if operator == "BRANCH":
            return self._branch([list(nodes) for nodes in argument[1]], follow)
        if operator == "POSSESSIVE_REPEAT":
            return Cost(1, self._repeat(argument, rest, 0).work)
        if operator in _REPEATS:
            return self._repeat(argument, rest, follow)
        if operator in ("ASSERT", "ASSERT_NOT"):
            return Cost(1, self._sequence(list(argument[1]), 0).work)
        if operator == "ATOMIC_GROUP":
            return Cost(1, self._sequence(list(argument), 0).work)
        if operator == "GROUPREF":
            return Cost(1, self._size)
        if operator == "FAILURE":
            return _ONE
        return _UNBOUNDED

    def _branch(self, alternatives: list[_Nodes], follow: int) -> Cost:
        costs = [self._sequence(nodes, follow) for nodes in alternatives]
        heads = [_head(nodes, follow) for nodes in alternatives]
        is_decided = all(
            any(not one & other for one, other in zip(*pair, strict=False)) for pair in combinations(heads, 2)
        )
        ways = (max if is_decided else sum)(cost.ways for cost in costs)
        return Cost(ways, sum(cost.work for cost in costs))

    def _repeat(self, argument: Any, rest: _Nodes, follow: int) -> Cost:
        least, most, body = argument
        nodes, width = list(body), body.getwidth()[0]
        times = min(int(most), self._size // max(1, width))
        is_decided = times <= least or (width > 0 and not _first(nodes, 0) & follow)
        if len(nodes) == 1 and str(nodes[0][0]) in _SINGLE:
            return Cost(1 if is_decided else min(times - least + 1, self._paths(rest)), times + 1)
        again = _first(nodes, follow) if most > 1 else 0
        once = self._sequence(nodes, again | follow)
        ends = 1.0 if is_decided else times - least + 1.0
        if once.ways <= 1:  # no character is looked at by more than one time, if nothing looks ahead
            is_plain = _operators(nodes) <= _PLAIN_NODES
            size = _node_count(nodes)
            return Cost(ends, _GROUP_STEPS * size * (self._size + 1) if is_plain else (times + 1) * once.work)
        if times * once.ways > 1_000:
            return _UNBOUNDED
        ways = ends * once.ways**times
        return Cost(ways, ways * once.work)


def _first(nodes: _Nodes, follow: int) -> int:
    """With which characters nodes may begin, and what follows them where they may be empty."""
    letters = 0
    for operator, argument in nodes:
        name = str(operator)
        if name in _SINGLE:
            return letters | _letters(operator, argument)
        if name == "AT":
            continue
        if name == "SUBPATTERN":
            bodies = [argument[-1]]
        elif name == "BRANCH":
            bodies = argument[1]
        elif name in _REPEATS:
            bodies = [argument[2]]
        else:
            return _ALL
        for body in bodies:
            letters |= _first(list(body), 0)
        is_empty = name in _REPEATS and argument[0] == 0
        if not is_empty and all(body.getwidth()[0] for body in bodies):
            return letters
    return letters | follow


def _head(nodes: _Nodes, follow: int) -> list[int]:
    """The characters that may stand at each of the first places, as far as these are certain."""
    singles = list(takewhile(lambda node: str(node[0]) in _SINGLE, nodes))
    return [*(_letters(*node) for node in singles), _first(nodes[len(singles) :], follow)]


def _letters(operator: Any, argument: Any) -> int:
    """The characters that a node may match, in any case: a bit for each of ASCII, and one for each class."""
    name = str(operator)
    if name == "ANY":
        return _ALL
    if name == "LITERAL":
        return _range(argument, argument)
    if name == "NOT_LITERAL":
        return _ALL & ~(1 << argument) if argument < 128 else _ALL
    is_negated, may, must = False, 0, 0
    for kind, value in argument:
        if str(kind) == "NEGATE":
            is_negated = True
        elif str(kind) == "LITERAL":
            may |= _range(value, value)
            must |= 1 << value if value < 128 else 0
        elif str(kind) == "RANGE":
            may |= _range(*value)
            must |= sum(1 << letter for letter in range(value[0], min(value[1], 127) + 1))
        else:
            category = _CATEGORIES.get(str(value))
            may |= _ALL if category is None else category
            must |= category or 0
    return _ALL & ~must if is_negated else may


def _range(first: int, last: int) -> int:
    letters = 0 if last < 128 else _BEYOND
    for code in range(first, min(last, 127) + 1):
        cases = {chr(code), chr(code).lower(), chr(code).upper()}
        letters |= sum(1 << ord(case) for case in cases)
        letters |= _WORD if cases & _WITH_FORMS_BEYOND else 0
    return letters | (_all_letters() if last >= 128 else 0)


def _all_letters() -> int:
    return sum(1 << code for code in range(128) if chr(code).isalpha())


def _ascii(category: str) -> int:
    return sum(1 << code for code in range(128) if re.match(category, chr(code)))


_CATEGORIES = {
    "CATEGORY_DIGIT": _ascii(r"\d") | _DIGIT,
    "CATEGORY_SPACE": _ascii(r"\s") | _SPACE,
    "CATEGORY_WORD": _ascii(r"\w") | _DIGIT | _WORD,
}
_CATEGORIES |= {name.replace("_", "_NOT_"): _ALL & ~letters for name, letters in tuple(_CATEGORIES.items())}


def _walk(nodes: _Nodes) -> Any:
    """All nodes, those in others, too."""
    for operator, argument in nodes:
        yield str(operator), argument
        name = str(operator)
        if name == "SUBPATTERN":
            yield from _walk(list(argument[-1]))
        elif name == "BRANCH":
            for body in argument[1]:
                yield from _walk(list(body))
        elif name in _REPEATS:
            yield from _walk(list(argument[2]))
        elif name in ("ASSERT", "ASSERT_NOT"):
            yield from _walk(list(argument[1]))
        elif name == "ATOMIC_GROUP":
            yield from _walk(list(argument))


def _operators(nodes: _Nodes) -> set[str]:
    return {name for name, _ in _walk(nodes)}


def _node_count(nodes: _Nodes) -> int:
    return sum(1 for _ in _walk(nodes))


def _flags_in(nodes: _Nodes) -> int:
    return sum({argument[1] for name, argument in _walk(nodes) if name == "SUBPATTERN"})


def _range_sizes(nodes: _Nodes) -> int:
    ranges = [
        value
        for name, argument in _walk(nodes)
        if name == "IN"
        for kind, value in argument
        if str(kind) == "RANGE"
    ]
    return sum(min(last, 0xFFFF) - first for first, last in ranges if first < 0xFFFF)
