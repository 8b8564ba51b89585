"""Functions that raise, or return what cannot be carried: the record or key is named.

What `pymr run` makes of one error of each kind is in tests/local/test_function_errors.
"""

from __future__ import annotations

import json

import pytest
from cluster.shared import SharedPlace


@pytest.fixture
def place(shared_place: SharedPlace) -> SharedPlace:
    return shared_place


BAD_RESULTS = {
    "None": "None",
    "a number": "5",
    "a string": "'ab'",
    "bytes": "b'ab'",
    "a triple in a list": "[('a', 1, 2)]",
    "a pair instead of a list of pairs": "('key', 1)",
    "a list of numbers": "[1, 2]",
    "a list with None": "[None]",
}


BAD_KEYS = {
    "NaN": ("float('nan')", "NaN"),
    "NaN in a tuple": "('a', float('nan'))",
    "a list": "['a']",
    "a dict": "{}",
    "a list in a tuple": "('a', ['b'])",
    "an integer of 70 bits": "2 ** 70",
    "a lone surrogate": "'\\ud800'",
    "a set": "frozenset('a')",
    "an object": "object()",
}


BAD_VALUES = {
    "a set": "{1}",
    "an object": "object()",
    "an integer of 70 bits": "-2 ** 70",
    "a lone surrogate": "'\\udfff'",
    "a function": "print",
    "a date": "__import__('datetime').date(2024, 1, 1)",
    "a set deep inside": "[{'a': (1, {2})}]",
    "a list too deep": "functools.reduce(lambda inner, _: [inner], range(3_000), 1)",
}


def map_with(place: SharedPlace, expression: str) -> None:
    """Three records, of which the second gets the expression for its result."""
    place.feed("first record", "second record", "third record")
    place.functions(f"""
        import functools

        def words(line, auxiliary_data):
            if line.startswith("second"):
                return {expression}
            return [(line, 1)]
    """)


@pytest.mark.parametrize("result", BAD_RESULTS.values(), ids=BAD_RESULTS)
def test_map_function_that_returns_no_pairs_is_named_with_its_record(place: SharedPlace, result: str) -> None:
    map_with(place, result)

    place.fail_everywhere(says=["map function 'words'", "text.txt, byte 13: 'second record'", "(key, value)"])


@pytest.mark.parametrize("partitions", [1, 3])
@pytest.mark.parametrize("key", list(BAD_KEYS.values()), ids=BAD_KEYS)
def test_key_that_cannot_be_used_is_named_with_its_record(
    place: SharedPlace, key: str, partitions: int
) -> None:
    map_with(place, f"[({key[0] if isinstance(key, tuple) else key}, 1)]")
    place.job(partitions=partitions)

    place.fail_everywhere(says=["map function 'words'", "text.txt, byte 13: 'second record'", "the key "])


@pytest.mark.parametrize("value", list(BAD_VALUES.values()), ids=BAD_VALUES)
def test_value_that_cannot_be_carried_is_named_with_its_record(place: SharedPlace, value: str) -> None:
    map_with(place, f"[('the-key', {value})]")

    place.fail_everywhere(
        says=["map function 'words'", "text.txt, byte 13: 'second record'", "the value ", "'the-key'"]
    )


def test_generator_function_that_raises_halfway_is_named_with_its_record(place: SharedPlace) -> None:
    place.feed("a", "b")
    place.functions("""
        def words(line, auxiliary_data):
            yield line, 1
            if line == "b":
                raise KeyError("no such thing")
    """)

    place.fail_everywhere(says=["KeyError: 'no such thing'", "text.txt, byte 2: 'b'"])


@pytest.mark.parametrize("result", ["None", "5", "print"])
def test_reduce_function_that_returns_no_iterable_is_named_with_its_key(
    place: SharedPlace, result: str
) -> None:
    place.feed("a b c d e")
    place.functions(
        reduce_source=f"""
        def total(group, auxiliary_data):
            return {result} if group.key == "c" else [(group.key, 1)]
    """
    )

    place.fail_everywhere(says=["reduce function 'total'", "the key 'c'", "(key, value)"])


@pytest.mark.parametrize(
    "result",
    [
        *("'ab'", "[1]", "[('a', 1, 2)]", "[('c', {1})]", "[('c', b'x')]", "[(b'c', object())]", "['cd']"),
        "[('c', functools.reduce(lambda inner, _: [inner], range(3_000), 1))]",
    ],
)
def test_output_item_that_cannot_be_written_is_named_with_function_and_key(
    place: SharedPlace, result: str
) -> None:
    place.feed("a b c d e")
    place.functions(
        reduce_source=f"""
        import functools

        def total(group, auxiliary_data):
            return {result} if group.key == "c" else [(group.key, 1)]
    """
    )

    place.fail_everywhere(says=["reduce function 'total'", "the key 'c'"])


def test_item_that_a_disk_list_cannot_carry_is_named_with_function_and_key(place: SharedPlace) -> None:
    place.feed("a b c d e")
    place.job(disk_based_output=True)
    place.functions(
        reduce_source="""
        def total(group, auxiliary):
            disk_list, _ = auxiliary
            disk_list.append((group.key, {1} if group.key == "c" else 1))
            return disk_list
    """
    )

    place.fail_everywhere(says=["reduce function 'total'", "the key 'c'", "{1}"])


@pytest.mark.parametrize("result", ["None", "5", "[(1, 2, 3)]", "[('c', {1})]", "[([], 1)]"])
def test_combine_function_with_a_bad_result_is_named_with_its_key(place: SharedPlace, result: str) -> None:
    place.feed("a b c c d e")
    place.job(combine_function_name="combine")
    place.functions(
        reduce_source=f"""
        def combine(group, auxiliary_data):
            return {result} if group.key == "c" else [(group.key, 1)]

        def total(group, auxiliary_data):
            return [(group.key, sum(group.values))]
    """
    )

    place.fail_everywhere(says=["combine function 'combine'", "'c'"])


def test_combine_function_that_raises_is_named_with_its_key(place: SharedPlace) -> None:
    place.feed("a b c c d e")
    place.job(combine_function_name="combine")
    place.functions(
        reduce_source="""
        def combine(group, auxiliary_data):
            raise ZeroDivisionError("by hand")

        def total(group, auxiliary_data):
            return [(group.key, sum(group.values))]
    """
    )

    place.fail_everywhere(says=["combine function 'combine' raised ZeroDivisionError: by hand", "'c'"])


def test_values_that_have_no_order_are_named_with_their_key_when_sorted(place: SharedPlace) -> None:
    place.feed("a a")
    place.job(sort_values=True)
    place.functions("""
        def words(line, auxiliary_data):
            return [("some-key", {"n": 1}), ("some-key", {"n": 2})]
    """)

    place.fail_everywhere(says=["'some-key'", "sort_values"])


RAISED = {
    "KeyboardInterrupt": "KeyboardInterrupt",
    "GeneratorExit": "GeneratorExit",
    "an exception that is no Exception": "type('Stop', (BaseException,), {})('stop here')",
    "a cancellation": "__import__('asyncio').CancelledError('stop here')",
    "StopIteration": "StopIteration('stop here')",
    "an exception whose text cannot be made": (
        "type('Odd', (Exception,), {'__str__': lambda self: 1 / 0, '__repr__': lambda self: 1 / 0})()"
    ),
    "an exception with a lone surrogate": "ValueError('\\ud800')",
    "an exception of megabytes": "ValueError('x' * 5_000_000)",
    "an exception that cannot be pickled": "type('Local', (Exception,), {'lock': open('/dev/null')})('x')",
    "RecursionError": "RecursionError",
    "MemoryError": "MemoryError",
    "EOFError": "EOFError",
    "BrokenPipeError": "BrokenPipeError",
    "a kind of pymr's errors": "Mine('made', 'up')",
    "TypeError": "TypeError('made up')",
}


RAISING_HEAD = """
import pymr.base.errors

class Mine(pymr.base.errors.RecordError):
    def __init__(self, one, other):
        super().__init__(one + other)
"""


@pytest.mark.parametrize("raised", RAISED.values(), ids=RAISED)
def test_whatever_a_map_function_raises_is_told_with_its_record(place: SharedPlace, raised: str) -> None:
    place.feed("a", "b")
    place.functions(
        RAISING_HEAD + f"def words(line, auxiliary_data):\n    if line == 'b':\n        raise {raised}\n"
        "    return [(line, 1)]\n"
    )
    finished = place.fail("--workers", "2", says=["map function 'words'", "text.txt, byte 2: 'b'"])

    assert len(finished.err) < 20_000


@pytest.mark.parametrize("raised", RAISED.values(), ids=RAISED)
def test_whatever_a_map_function_raises_inline_is_told_with_its_record(
    place: SharedPlace, raised: str
) -> None:
    place.feed("a", "b")
    place.functions(
        RAISING_HEAD + f"def words(line, auxiliary_data):\n    if line == 'b':\n        raise {raised}\n"
        "    return [(line, 1)]\n"
    )
    place.fail("--inline", says=["map function 'words'", "text.txt, byte 2: 'b'"])


@pytest.mark.parametrize("raised", RAISED.values(), ids=RAISED)
def test_whatever_a_reduce_function_raises_is_told_with_its_key(place: SharedPlace, raised: str) -> None:
    place.feed("a", "b")
    place.functions(
        reduce_source=RAISING_HEAD + "def total(group, auxiliary_data):\n    if group.key == 'b':\n"
        f"        raise {raised}\n    return [(group.key, 1)]\n"
    )

    place.fail("--workers", "2", says=["reduce function 'total'", "the key 'b'"])


@pytest.mark.parametrize("code", ["", "0", "3", "'enough'"])
def test_sys_exit_in_a_map_function_is_an_error_that_names_the_record(place: SharedPlace, code: str) -> None:
    place.feed("a", "b")
    place.functions(f"""
        import sys

        def words(line, auxiliary_data):
            if line == "b":
                sys.exit({code})
            return [(line, 1)]
    """)

    place.fail_everywhere(says=["sys.exit", "text.txt, byte 2: 'b'"])


def test_sys_exit_in_a_reduce_function_is_an_error_that_names_the_key(place: SharedPlace) -> None:
    place.feed("a b c")
    place.functions(
        reduce_source="""
        import sys

        def total(group, auxiliary_data):
            if group.key == "b":
                sys.exit(0)
            return [(group.key, 1)]
    """
    )

    place.fail_everywhere(says=["sys.exit", "the key 'b'"])


def test_function_that_does_not_exist_is_named_with_those_that_do(place: SharedPlace) -> None:
    place.job(map_function_name="word")

    place.fail_everywhere(says=["'word'", "it has words", "did you mean words"])


def test_reduce_function_that_does_not_exist_is_named_also_without_input(place: SharedPlace) -> None:
    place.job(reduce_function_name="totals")

    place.fail_everywhere(says=["'totals'", "it has total"])


IMPORT_FAILURES = {
    "it raises": ("raise RuntimeError('not today')", "not today"),
    "it imports what is not there": ("import absent_module", "absent_module"),
    "it ends the process": ("import sys; sys.exit(0)", "SystemExit"),
}


@pytest.mark.parametrize(("source", "said"), IMPORT_FAILURES.values(), ids=IMPORT_FAILURES)
def test_module_that_cannot_be_loaded_is_named_with_its_line(
    place: SharedPlace, source: str, said: str
) -> None:
    place.feed("a")
    place.functions(f"def words(line, auxiliary_data): ...\n{source}")

    place.fail_everywhere(says=["map_functions.py:2", said])


def test_module_that_is_no_python_is_named(place: SharedPlace) -> None:
    place.functions("def words(:")

    place.fail_everywhere(says=["map_functions.py", "invalid syntax"])


@pytest.mark.parametrize("lines", [0, 1])
def test_module_that_never_ends_loading_is_a_timeout(place: SharedPlace, lines: int) -> None:
    place.feed(*["a"] * lines)
    place.functions("def words(line, auxiliary_data): ...\nwhile True: pass\n")

    place.fail(
        "--workers",
        "2",
        *("--set", "task_timeout_seconds=0.5"),
        says=["task_timeout_seconds"],
    )


def test_auxiliary_data_that_is_no_json_is_named(place: SharedPlace) -> None:
    place.job(auxiliary_data_name_reducer="weights")
    (place.folder / "auxiliary").mkdir()
    (place.folder / "auxiliary" / "weights.data").write_text("{not json")

    place.fail_everywhere(says=["auxiliary/weights.data", "JSON"])


COUNTS = {
    "a number as name": "5",
    "no name": "None",
    "a tuple as name": "('a', 1)",
    "a fraction": "'n', fractions.Fraction(1, 3)",
    "a list": "'n', [1]",
}


@pytest.mark.parametrize("arguments", COUNTS.values(), ids=COUNTS)
def test_counter_that_cannot_be_written_is_an_error_that_names_the_call(
    place: SharedPlace, arguments: str
) -> None:
    place.feed("a")
    place.functions(f"""
        import fractions

        import pymr

        def words(line, auxiliary_data):
            pymr.count("fine")
            pymr.count({arguments})
            return [(line, 1)]
    """)

    place.fail_everywhere(says=["count"])


def test_items_out_may_be_pairs_of_any_tuple_type(place: SharedPlace) -> None:
    place.feed("a b")
    place.functions(
        reduce_source="""
        from typing import NamedTuple

        class Total(NamedTuple):
            key: str
            number: int

        def total(group, auxiliary_data):
            return [Total(group.key, 1)]
    """
    )
    place.succeed()

    assert place.counts() == {"a": 1, "b": 1}


def test_values_out_are_treated_alike_beside_none_and_without_it(place: SharedPlace) -> None:
    place.feed("a")
    for value in ("datetime.date(2024, 1, 1)", "(datetime.date(2024, 1, 1), None)"):
        place.functions(
            reduce_source=f"""
            import datetime

            def total(group, auxiliary_data):
                return [(group.key, {value})]
        """
        )
        place.succeed("--workers", "1")


def test_numbers_that_few_readers_of_json_hold_are_written_and_read_back(place: SharedPlace) -> None:
    place.feed("a")
    place.functions(
        reduce_source="""
        def total(group, auxiliary_data):
            yield "big", 2 ** 80
            yield "none", [None, "null", 1e16, 0.1]
            yield None, 1e308
            yield 2 ** 70, -0.0
    """
    )
    place.succeed()

    assert json.dumps(sorted(place.items(), key=str)) == json.dumps(
        sorted(
            [
                ["big", 2**80],
                ["none", [None, "null", 1e16, 0.1]],
                [None, 1e308],
                [2**70, -0.0],
            ],
            key=str,
        )
    )
