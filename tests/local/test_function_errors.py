"""`pymr run` with functions that raise, or return what cannot be carried: the record or key is named.

One error of each kind; all others, which only the engine decides on, stand in test_function_errors.
"""

from __future__ import annotations

import subprocess

import pytest
from cluster.running import Place
from cluster.terminal import Terminal

MAP = """
    import sys

    def words(line, auxiliary_data):
        return RESULT if line == "c" else [(line, 1)]
"""
REDUCE = """
    def total(group, auxiliary_data):
        return RESULT if group.key == "c" else [(group.key, sum(group.values))]
"""
COMBINE = """
    def combine(group, auxiliary_data):
        return RESULT if group.key == "c" else [(group.key, sum(group.values))]

    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
"""
AT_RECORD = ["map function 'words'", "text.txt, byte 4: 'c'"]
AT_KEY = ["reduce function 'total'", "the key 'c'"]
KINDS = {
    "no pairs": (MAP, "5", [*AT_RECORD, "(key, value)"]),
    "a key": (MAP, "[(float('nan'), 1)]", [*AT_RECORD, "the key ", "NaN"]),
    "a value": (MAP, "[('the-key', {1})]", [*AT_RECORD, "the value ", "'the-key'"]),
    "an exit": (MAP, "sys.exit(0)", [*AT_RECORD, "sys.exit"]),
    "no items": (REDUCE, "5", [*AT_KEY, "(key, value)"]),
    "an item": (REDUCE, "[('c', {1})]", AT_KEY),
    "a combined item": (COMBINE, "[('c', {1})]", ["combine function 'combine'", "'c'"]),
}


@pytest.mark.parametrize(("source", "result", "says"), KINDS.values(), ids=KINDS)
def test_each_kind_of_bad_result_is_named_with_its_record_or_key(
    place: Place, source: str, result: str, says: list[str]
) -> None:
    place.feed(*"abcc")
    place.job(combine_function_name="combine" if source is COMBINE else None)
    text = source.replace("RESULT", result)
    if source is MAP:
        place.functions(text)
    else:
        place.functions(reduce_source=text)

    place.fail_everywhere(says=says)


def test_bad_key_is_found_in_its_split_among_many(place: Place) -> None:
    place.feed(*["good record"] * 50, "bad record", *["good record"] * 50)
    place.functions("""
        def words(line, auxiliary_data):
            return [(float("nan") if line.startswith("bad") else line, 1)]
    """)

    place.fail("--set", "engine.split_bytes=100", says=["text.txt, byte 600: 'bad record'", "NaN"])


def test_map_function_that_raises_is_told_with_file_byte_line_and_traceback(place: Place) -> None:
    place.feed("1", "2", name="numbers/a.txt")
    place.feed("3", "x" * 500, name="numbers/b.txt")
    place.functions("""
        def words(line, auxiliary_data):
            return [parse(line)]

        def parse(line):
            return (int(line), 1)  # the line that fails
    """)
    finished = place.fail_everywhere(
        says=[
            "map function 'words' raised ValueError: invalid literal",
            f"numbers/b.txt, byte 2: '{'x' * 100}",
            '"p/map_functions.py", line 6, in parse',
            "# the line that fails",
        ]
    )

    assert "x" * 400 not in finished.err.partition("byte 2")[2].partition("\n")[0], "the line is cut"


def test_map_function_that_raises_is_tried_as_often_as_the_job_says(place: Place) -> None:
    place.feed("a")
    place.functions("""
        def words(line, auxiliary_data):
            print("called")
            raise RuntimeError("never works")
    """)
    finished = place.fail(
        "--workers", "2", attempts=3, says=["never works", "3 attempts, the same each time"]
    )

    assert finished.out.count("│ called") == 3
    assert finished.out.count("Traceback (most recent call last)") == 1
    assert finished.err.count("Traceback (most recent call last)") == 1
    assert finished.out.count(" did on local/0: map function 'words' raised RuntimeError: never works") == 2


PRINTED_TOGETHER = """
    import os, time

    def words(line, auxiliary_data):
        if line in "ab":  # both fail at about the same time, so that each may be next in the other's worker
            mine, other = (os.path.join(FOLDER, one) for one in (line, "ab".replace(line, "")))
            number = sum(name.startswith(line) for name in os.listdir(FOLDER))
            open(f"{mine}{number}", "w").close()
            deadline = time.monotonic() + 1
            while not os.path.exists(f"{other}{number}") and time.monotonic() < deadline:
                time.sleep(0.001)
            raise RuntimeError(f"never works with {line}")
        return [(line, 1)]
"""


def test_an_error_is_shown_once_whichever_worker_makes_the_next_attempt(place: Place) -> None:
    marks = place.folder / "marks"
    marks.mkdir()
    place.feed("a", "x" * 100, "b", "x" * 100)
    place.functions(PRINTED_TOGETHER.replace("FOLDER", repr(str(marks))))
    finished = place.fail("--workers", "2", "--set", "engine.split_bytes=100", attempts=6)

    for line in "ab":
        shown = f"│ RuntimeError: never works with {line}\n"
        assert finished.out.count(shown) == 1, finished.out
    assert finished.out.count(" did on local/") >= 5, finished.out


@pytest.mark.parametrize("arguments", [(), ("--inline",)])
def test_on_a_terminal_a_traceback_is_shown_once_and_the_end_says_the_rest(
    place: Place, arguments: tuple[str, ...]
) -> None:
    place.feed("good", "bad")
    place.functions("""
        def words(line, auxiliary_data):
            return [(line, 1 / (line != "bad"))]
    """)
    with Terminal(place, place.command("--workers", "2", *arguments)) as terminal:
        status = terminal.finish()
    text = " ".join(terminal.shown.split())
    end = text[
        text.index("pymr: job: failed: map function 'words' raised ZeroDivisionError: division by zero") :
    ]

    assert status == 1
    assert text.count("Traceback (most recent call last)") == 1
    assert "text.txt, byte 5: 'bad'" in end
    if arguments:
        assert "Traceback (most recent call last)" in end and "line 3, in words" in end
    else:
        assert "(task map-00000: 4 attempts, the same each time)" in end
        assert "(its traceback is above, among the lines of local/0)" in end


def test_where_both_streams_go_to_one_file_a_traceback_is_there_once(place: Place) -> None:
    place.feed("bad")
    place.functions("def words(line, auxiliary_data):\n    return [(1 / 0, line)]\n")
    finished = place.run("--workers", "1", stderr=subprocess.STDOUT)

    assert finished.status == 1
    assert finished.out.count("Traceback (most recent call last)") == 1
    assert "4 attempts, the same each time" in finished.out


def test_where_nobody_sees_what_workers_print_the_end_has_the_traceback(place: Place) -> None:
    place.feed("bad")
    place.functions("def words(line, auxiliary_data):\n    return [(1 / 0, line)]\n")
    finished = place.run("--workers", "1", stdout=subprocess.DEVNULL)

    assert finished.status == 1
    assert finished.err.count("Traceback (most recent call last)") == 1


def test_reduce_function_that_raises_is_told_with_its_key_and_traceback(place: Place) -> None:
    place.feed("a b c d e")
    place.functions(
        reduce_source="""
        def total(group, auxiliary_data):
            if group.key == "c":
                raise LookupError("no total for this")
            return [(group.key, 1)]
    """
    )

    place.fail_everywhere(
        says=["reduce function 'total' raised LookupError: no total", "the key 'c'", "reduce_functions.py"]
    )


def test_reading_from_stdin_inline_without_any_is_an_error_and_no_wait(place: Place) -> None:
    place.feed("a")
    place.functions("""
        def words(line, auxiliary_data):
            return [(input("Which key? "), 1)]
    """)

    place.fail("--inline", says=["EOFError", "byte 0: 'a'"])


def test_project_that_does_not_exist_is_named_with_those_that_do(place: Place) -> None:
    place.job(project_name="q")

    place.fail_everywhere(says=["'q'", "p"], status=2)


def test_module_that_kills_its_process_is_an_error_and_no_endless_loop(place: Place) -> None:
    place.feed("a")
    place.functions("import os\ndef words(line, auxiliary_data): ...\nos._exit(5)\n")

    place.fail("--workers", "2", says=["status 5"])


def test_module_that_cannot_be_loaded_is_named_with_its_line(place: Place) -> None:
    place.feed("a")
    place.functions("def words(line, auxiliary_data): ...\nraise RuntimeError('not today')")

    says = ["p/map_functions.py cannot be loaded, p/map_functions.py:2", "not today"]
    place.fail_everywhere(says=says, status=2)


def test_missing_auxiliary_data_is_named(place: Place) -> None:
    place.job(auxiliary_data_name_mapper="stop_words")

    place.fail_everywhere(says=["auxiliary/stop_words.data", "No such file"])
