"""Failures of user functions, reported so that the author can fix them. Used by the stages."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from typing import Any

from pymr.base.errors import (
    DiskError,
    PymrError,
    RecordError,
    RetryableError,
    UserFunctionError,
    is_unwritable,
)
from pymr.engine.disk.keys import show
from pymr.projects.debugger_quit import operator_stop
from pymr.projects.paths import shown_traceback

TRACEBACK_CHARACTERS_MAX = 8_000
"""A traceback in a message is cut in its middle to this: an exception may hold a record of megabytes."""

_PACKAGE_FOLDER = __file__.rpartition("engine")[0]


def user_failure(
    kind: str, function: Callable[..., Any], where: str, error: BaseException, expected: str
) -> PymrError:
    """The error for what came out of calling a function of the project: UserFunctionError or RecordError;
    StoppedByOperatorError where a person ended it.

    kind: "map", "combine" or "reduce". where: the record or key. expected: what it has to return, for a
    function that did not raise but returned something else.
    """
    if stop := operator_stop(error):
        return stop
    name = f"{kind} function {name_of(function)}"
    error = _out_of_generator(error)
    if isinstance(error, SystemExit | StopIteration) or raised_by_user(error):
        return UserFunctionError(f"{name} raised {describe(error)}\n  at {where}\n{short_traceback(error)}")
    reason = str(error) if isinstance(error, PymrError) else f"{describe(error)}; {expected}"
    return RecordError(item_failure(kind, function, where, reason))


def item_failure(kind: str, function: Callable[..., Any], where: str, reason: object) -> str:
    """The problem with a result, in one line; then its record or key."""
    return f"{kind} function {name_of(function)}: {reason}\n  at {where}"


def placed(error: BaseException, call: Callable[[], object]) -> BaseException:
    """A StopIteration with its traceback, which is lost where map() takes one for the end of its input: it is
    raised again by `call`, which does what raised it. Any other error, and one that does not come again, as
    it is."""
    error = _out_of_generator(error)
    if not isinstance(error, StopIteration) or raised_by_user(error):
        return error
    try:
        call()
    except StopIteration as again:
        return again
    except Exception:  # a function that does another thing each time it is called
        return error
    return error


def _out_of_generator(error: BaseException) -> BaseException:
    """The StopIteration that a generator of the user let out, of which Python makes a RuntimeError without a
    place; any other error as it is."""
    if isinstance(error, RuntimeError) and isinstance(error.__cause__, StopIteration):
        return error if raised_by_user(error) else error.__cause__
    return error


class CombineError(RecordError):
    """What a combine function made cannot be carried."""


def check_pairs(items: Iterable[Any]) -> None:
    """Raise TypeError, showing the item, where one is no (key, value) pair."""
    for item in items:
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise TypeError(f"the item {show(item)} is not a (key, value) pair")


def name_of(function: Callable[..., Any]) -> str:
    """The function's name as its author wrote it, quoted."""
    return repr(getattr(function, "__name__", None) or show(function))


def raised_by_user(error: BaseException) -> bool:
    """Whether the exception comes out of a function that is not pymr's."""
    return bool(_user_frames(error))


def is_ours(error: PymrError) -> bool:
    """Whether it tells of pymr's own work: raised outside of the user's function, or by a disk that is full
    when the function adds to a DiskList."""
    return not raised_by_user(error) or (isinstance(error, DiskError) and error.is_unwritable)


def is_disk_trouble(error: BaseException) -> bool:
    """Whether it says that a disk is full, over its quota or read-only."""
    if isinstance(error, DiskError):
        return error.is_unwritable
    return isinstance(error, OSError) and is_unwritable(error)


def describe(error: BaseException) -> str:
    """Type and message of an exception, cut to a readable length."""
    if isinstance(error, SystemExit):
        return f"SystemExit: it called sys.exit({show(error.code)}), which ends no job; raise an exception"
    if isinstance(error, StopIteration):
        return "StopIteration, which only an iterator may raise (a next() without a default, perhaps)"
    try:
        text = str(error)
    except Exception as another:
        text = f"(its str() raises {type(another).__name__})"
    return f"{type(error).__name__}: {show_text(text)}" if text else type(error).__name__


def reason_line(error: BaseException) -> str:
    """Type and message of an exception in one line: the first of the message."""
    return describe(error).partition("\n")[0]


def whole_traceback(error: BaseException) -> str:
    """An exception that nothing expected: what it is in the first line, then where it comes from."""
    return f"unexpected: {reason_line(error)}\n" + shown_traceback("".join(traceback.format_exception(error)))


def kind_and_text(error: BaseException) -> tuple[type[PymrError], str]:
    """The error as it travels: the nearest of our own types, as a user may have derived one from it, and what
    it says. Any other error may pass."""
    error = operator_stop(error) or error
    for kind in type(error).__mro__:
        if issubclass(kind, PymrError) and kind.__module__.startswith("pymr."):
            return kind, str(error)
    return RetryableError, whole_traceback(error)


def short_traceback(error: BaseException) -> str:
    """The traceback from the user's first frame on, without pymr's own."""
    frames = traceback.StackSummary.from_list(_user_frames(error))
    text = shown_traceback("".join(["Traceback (most recent call last):\n", *frames.format()]))
    return show_text(text + describe(error), TRACEBACK_CHARACTERS_MAX)


def show_text(text: str, characters_max: int = 1_000) -> str:
    """`text`, cut in its middle to `characters_max`."""
    if len(text) <= characters_max:
        return text
    half = characters_max // 2
    return f"{text[:half]}\n... ({len(text) - 2 * half:,} characters left out) ...\n{text[-half:]}"


def _user_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The frames from the user's function on, without those of this package and its callers."""
    frames = list(traceback.extract_tb(error.__traceback__))
    if frames and frames[0].name.endswith("_failures"):  # our own `with`, around a call from anywhere
        del frames[0]
    ours = [frame.filename.startswith(_PACKAGE_FOLDER) for frame in frames]
    if isinstance(error, StopIteration) and not any(ours):  # it went no further than its generator
        return frames
    first_of_ours = ours.index(True) if True in ours else 0
    for index in range(first_of_ours + 1, len(frames)):
        if not ours[index]:
            end = len(frames) - ours[::-1].index(False)  # a call into pymr ends with the user's line
            return frames[index:end]
    return []
