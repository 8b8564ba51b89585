"""The mapper: calls the user's map function over lines and says which line a failure came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice, repeat
from typing import Any

from pymr.base.errors import Interrupted, PymrError, RecordError, UserFunctionError
from pymr.engine.disk.blocks import check_item
from pymr.engine.disk.keys import Key, show
from pymr.engine.failures import (
    CombineError,
    check_pairs,
    describe,
    is_disk_trouble,
    is_ours,
    item_failure,
    placed,
    raised_by_user,
    user_failure,
)
from pymr.engine.input.records import Location, RecordReader
from pymr.projects.debugger_quit import operator_stop

Item = tuple[Key, Any]
MapFunction = Callable[[str, Any], Iterable[Item]]

_ITEMS_LOOKED_AT = 64

_EXPECTED = "it has to return an iterable of (key, value) pairs, such as [(key, value)]"


def map_lines(function: MapFunction, lines: Iterable[str], auxiliary_data: Any) -> Iterator[Item]:
    """The items that `function` makes of `lines`: one loop, driven in C."""
    return chain.from_iterable(map(function, lines, repeat(auxiliary_data)))


def first_checked(items: Iterator[Item]) -> Iterator[Item]:
    """The first of `items`, which is left behind them, with a look at each: the loop that gathers items only
    takes them apart, for which a str of two characters would pass for a pair."""
    return map(_checked, islice(items, _ITEMS_LOOKED_AT))


def _checked(item: Item) -> Item:
    check_pairs((item,))
    return item


def map_lines_tolerantly(
    function: MapFunction,
    lines: Iterable[str],
    auxiliary_data: Any,
    on_bad_record: Callable[[Exception], None],
) -> Iterator[Item]:
    """As `map_lines`, but a line whose call raises gives no item at all, and goes to `on_bad_record`.
    A full disk is not the line's fault, and is raised.

    Slower by some 200 ns per line; used only where `max_bad_records` allows any.
    """
    for line in lines:
        try:
            items = list(function(line, auxiliary_data))
            check_pairs(items)
        except Exception as error:
            if is_disk_trouble(error) or operator_stop(error):
                raise  # it says nothing of the record
            on_bad_record(error)
        else:
            yield from items


@contextmanager
def map_failures(function: MapFunction, reader: RecordReader, auxiliary_data: Any) -> Iterator[None]:
    """Around the loop that drains `map_lines`: turns what it raises into an error that names the record."""
    try:
        yield
        if not reader.is_finished:  # map() takes a StopIteration of the function for the end of the lines
            raise StopIteration
    except (Interrupted, CombineError):
        raise
    except BaseException as error:
        if isinstance(error, PymrError) and is_ours(error):
            if isinstance(error, RecordError):
                raise _bad_item(function, reader, auxiliary_data, error) from error
            raise
        location = reader.location()
        error = placed(error, lambda: function(location.line, auxiliary_data))
        if not isinstance(error, SystemExit | StopIteration) and not raised_by_user(error):
            raise _wrong_result(function, location, auxiliary_data, error) from error
        raise user_failure("map", function, str(location), error, _EXPECTED) from error


def _wrong_result(
    function: MapFunction, location: Location, auxiliary_data: Any, error: BaseException
) -> UserFunctionError | RecordError:
    """What is wrong with the items of the line at `location`: found by asking the function once more."""
    try:
        check_items(function(location.line, auxiliary_data))
    except RecordError as found:
        return RecordError(item_failure("map", function, str(location), found))
    except Exception as again:
        error = again
    return UserFunctionError(item_failure("map", function, str(location), describe(error)))


def _bad_item(
    function: MapFunction, reader: RecordReader, auxiliary_data: Any, error: RecordError
) -> RecordError:
    """The record behind an item that was found wrong only when it was spilled, many lines later.

    Found by mapping the lines so far once more: dear, but a job with a bad item fails anyway.
    """
    again = reader.from_start()
    for line in islice(again.lines(), reader.records_read):
        try:
            check_items(function(line, auxiliary_data))
        except RecordError as found:
            return RecordError(item_failure("map", function, str(again.location()), found))
        except Exception:
            continue  # a record that max_bad_records lets pass
    return RecordError(f"an item made of the lines up to {reader.location()}: {error}")


def check_items(result: Any) -> None:
    """Raise RecordError naming the part of a map function's result that is not a valid item."""
    if result is None or isinstance(result, str | bytes) or not isinstance(result, Iterable):
        raise RecordError(f"it returned {show(result)}; {_EXPECTED}")
    for item in result:
        if not isinstance(item, tuple | list):
            raise RecordError(f"it returned {show(result)}, in which {show(item)} is not a pair; {_EXPECTED}")
        if len(item) != 2:
            raise RecordError(f"it returned the item {show(item)} of {len(item)} elements; {_EXPECTED}")
        check_item(*item)
