"""What holds for runs on every external engine that is installed here, each on one of this machine."""

from __future__ import annotations

import json
import signal
from importlib.util import find_spec

import pytest
from cluster.running import (
    PROJECTS,
    Place,
    finish,
    interrupt,
    parts_of,
    set_options,
    wait_for_file,
    wait_until,
)

from pymr.engines.core.backends import LIBRARIES

ENGINES = [name for name, library in LIBRARIES.items() if find_spec(library)]
INTERRUPTED = 130
ENDS_WITHIN_S = 60.0

pytestmark = pytest.mark.parametrize("engine", ENGINES)

KILLED_ONCE = """
    import os
    import signal

    def NAME(FIRST, auxiliary_data):
        if "last" in MARKED and not os.path.exists(MARK):
            open(MARK, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return RESULT
"""


def on(engine: str, *arguments: object) -> list[object]:
    return ["--engine", engine, "--workers", 2, *arguments]


def inline_parts(place: Place, *arguments: object) -> dict[str, bytes]:
    output = place.folder / "inline"
    place.succeed("--inline", *arguments, "--output", output)
    return parts_of(output)


def feed_numbered(place: Place, files: int = 4) -> None:
    """Files with lines `NUMBER word ...`, the last of which says `last`; each is a map task."""
    for number in range(files):
        lines = [f"{number} {'abcdefghij'[one % 10]} x{one}" for one in range(50)]
        place.feed(*lines, *["last"] * (number == files - 1), name=f"{number}.txt")


SMALL_SPLITS = set_options(engine__split_bytes=300)


def test_examples_give_the_same_bytes_as_inline(place: Place, engine: str) -> None:
    """With a combine function and auxiliary data, sorted values and compressed output."""
    job = PROJECTS / "join" / "join.toml"
    options = set_options(partitions=3, sort_values="true", compress="gzip")
    place.succeed("--inline", *options, "--output", place.folder / "inline", job=job)
    expected = parts_of(place.folder / "inline")
    place.succeed(*on(engine), *options, job=job)

    assert sum(map(len, expected.values())) > 100
    assert parts_of(place.output) == expected


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_worker_that_is_killed_costs_nothing(place: Place, engine: str, phase: str) -> None:
    feed_numbered(place)
    expected = inline_parts(place, *SMALL_SPLITS)
    mark = place.folder / "mark"
    source = KILLED_ONCE.replace("MARK)", f"{str(mark)!r})").replace("open(MARK,", f"open({str(mark)!r},")
    if phase == "map":
        source = source.replace("NAME", "words").replace("FIRST", "line").replace("MARKED", "line")
        place.functions(source.replace("RESULT", "[(word, 1) for word in line.split()]"))
    else:
        source = source.replace("NAME", "total").replace("FIRST", "group").replace("MARKED", "str(group.key)")
        place.functions(reduce_source=source.replace("RESULT", "[(group.key, sum(group.values))]"))
    place.succeed(*on(engine), *SMALL_SPLITS)

    assert mark.exists()
    assert parts_of(place.output) == expected


def test_record_on_which_the_function_raises_is_named(place: Place, engine: str) -> None:
    place.functions("""
        def words(line, auxiliary_data):
            return [(line, 1 // (line != "c"))]
    """)
    place.feed(*"abc")
    finished = place.fail(
        *on(engine), attempts=2, earlier_output=True, says=["map function 'words' raised ZeroDivisionError"]
    )

    finished.says("text.txt, byte 4: 'c'", 'File "p/map_functions.py", line 3, in words', "line != ")
    finished.says("(task map-00000: 2 attempts, the same each time)")


def test_error_that_cannot_pass_is_not_tried_again(place: Place, engine: str) -> None:
    place.functions(
        reduce_source="""
        def total(group, auxiliary_data):
            print("tried", group.key)
            return [(group.key, {1})]
    """
    )
    place.feed("a")
    finished = place.fail(*on(engine), attempts=3, says=["reduce function 'total'", "the key 'a'"])

    assert finished.out.count("tried a") == 2  # the second time to find which key it is


HANGS_ONCE = """
    import os
    import time

    def NAME(first, auxiliary_data):
        if not os.path.exists(MARK):
            open(MARK, "w").close()
            time.sleep(1000)
        return RESULT
"""


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_task_without_progress_is_ended_and_tried_again(place: Place, engine: str, phase: str) -> None:
    feed_numbered(place)
    expected = inline_parts(place)
    source = HANGS_ONCE.replace("MARK", repr(str(place.folder / "mark")))
    if phase == "map":
        place.functions(source.replace("NAME", "words").replace("RESULT", "[(w, 1) for w in first.split()]"))
    else:
        result = "[(first.key, sum(first.values))]"
        place.functions(reduce_source=source.replace("NAME", "total").replace("RESULT", result))
    out = place.succeed(*on(engine), *set_options(task_timeout_seconds=2, max_attempts=2)).out

    assert f"attempt 1 of 2 of {phase}-0000" in out
    assert "made no progress on" in out and "for 2 s (task_timeout_seconds)" in out
    assert parts_of(place.output) == expected


def test_task_that_never_moves_fails_the_run(place: Place, engine: str) -> None:
    place.functions("import time\n\ndef words(line, auxiliary_data):\n    time.sleep(1000)\n")
    place.feed("a")
    options = set_options(task_timeout_seconds=1)

    place.fail(
        *on(engine), *options, attempts=2, says=["made no progress on map-00000 for 1 s", "failed 2 times"]
    )


def test_project_that_does_not_import_is_told(place: Place, engine: str) -> None:
    place.functions("import nowhere_at_all\n")
    place.feed("a")

    place.fail(*on(engine), status=2, says=["map_functions.py:1", "nowhere_at_all"])


def test_what_functions_print_is_shown(place: Place, engine: str) -> None:
    place.functions("""
        import sys

        def words(line, auxiliary_data):
            print("mapped", line)
            print("beside", file=sys.stderr)
            return [(line, 1)]
    """)
    place.feed("a", "b")
    out = place.succeed(*on(engine)).out.splitlines()
    shown = [line.partition(" │ ")[2] for line in out if " │ " in line]

    assert sorted(set(shown)) == ["beside", "mapped a", "mapped b"]


def test_counters_and_bad_records_count_once(place: Place, engine: str) -> None:
    """Also those of attempts that failed, or whose output was lost, do not."""
    mark = place.folder / "mark"
    place.functions(
        """
        import os
        import pymr

        def words(line, auxiliary_data):
            pymr.count("lines")
            if line == "bad":
                raise ValueError("this one is bad")
            return [(word, 1) for word in line.split()]
    """,
        f"""
        import os
        import pymr

        def total(group, auxiliary_data):
            pymr.count("groups", 2)
            if group.key == "b" and not os.path.exists({str(mark)!r}):
                open({str(mark)!r}, "w").close()
                raise OSError("only once")
            return [(group.key, sum(group.values))]
    """,
    )
    place.feed("a b", "bad", "b c")
    finished = place.succeed(*on(engine), *set_options(max_bad_records=1))
    listed = (place.output / "_bad_records.jsonl").read_text().splitlines()
    manifest = json.loads((place.output / "_manifest.json").read_text())

    assert place.counts() == {"a": 1, "b": 2, "c": 1}
    assert manifest["counters"] == {"groups": 6, "lines": 3}
    assert [json.loads(line)["line"] for line in listed] == ["bad"]
    assert "attempt 1 of 4 of reduce-0000" in finished.out and "trying again: " in finished.out


def test_too_many_bad_records_fail_the_run(place: Place, engine: str) -> None:
    place.functions("""
        def words(line, auxiliary_data):
            raise ValueError(f"{line} is bad")
    """)
    place.feed("a", name="1.txt")
    place.feed("b", name="2.txt")
    options = set_options(max_bad_records=1, engine__split_bytes=2)

    place.fail(*on(engine), *options, says=["raised on 2 records", "a is bad", "1.txt, byte 0"])


@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_interruption_leaves_nothing(place: Place, engine: str, phase: str) -> None:
    mark = place.folder / "mark"
    source = f"""
        import time

        def NAME(first, auxiliary_data):
            open({str(mark)!r}, "w").close()
            time.sleep(1000)
    """
    if phase == "map":
        place.functions(source.replace("NAME", "words"))
    else:
        place.functions(reduce_source=source.replace("NAME", "total"))
    place.feed("a")
    place.earlier_output()
    process = place.start(*on(engine))
    wait_for_file(mark)
    interrupt(process, signal.SIGINT)
    finished = finish(process, ENDS_WITHIN_S)

    assert finished.status == INTERRUPTED, finished
    assert finished.err.startswith("pymr: job: stopped"), finished.err
    assert "Traceback" not in finished.err + finished.out, finished
    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), place.left_processes()
    assert place.left_files() == []
    place.assert_output_untouched(True)


def test_interruption_while_the_engine_starts_leaves_nothing(place: Place, engine: str) -> None:
    place.feed("a")
    process = place.start(*on(engine))
    assert wait_until(lambda: len(place.left_processes()) > 1, ENDS_WITHIN_S)
    interrupt(process, signal.SIGINT)
    finished = finish(process, ENDS_WITHIN_S)

    assert finished.status == INTERRUPTED, finished
    assert "Traceback" not in finished.err + finished.out, finished
    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), place.left_processes()
    assert place.left_files() == []


def test_breakpoint_is_refused(place: Place, engine: str) -> None:
    place.functions("""
        def words(line, auxiliary_data):
            breakpoint()
            return [(line, 1)]
    """)
    place.feed("a")

    place.fail(*on(engine), attempts=3, says=["breakpoint()", "--inline"])


def test_empty_input_is_a_warning(place: Place, engine: str) -> None:
    finished = place.succeed(*on(engine))

    assert "the input has no records" in finished.out
    assert parts_of(place.output) == {}


def test_wrong_address_is_told(place: Place, engine: str) -> None:
    place.feed("a")

    place.fail(
        *("--engine", engine, "--engine-address", WRONG_ADDRESSES[engine][0]),
        *(word for option in WRONG_ADDRESSES[engine][1] for word in ("--engine-option", option)),
        says=[f"there is no {engine.capitalize()} at {WRONG_ADDRESSES[engine][0]}", "--engine-address"],
    )


def test_wrong_option_is_told(place: Place, engine: str) -> None:
    place.feed("a")
    option, says = {
        "dask": ("nonsense=1", "'nonsense'"),
        "ray": ("nonsense=1", "nonsense"),
        "spark": ("spark.executor.memory=lots", "Executor memory must be a positive number"),
    }[engine]

    place.fail(
        *on(engine, "--engine-option", option),
        says=[f"{engine.capitalize()} does not start on this machine: ", says, "--engine-option"],
    )


WRONG_ADDRESSES: dict[str, tuple[str, list[str]]] = {
    "dask": ("tcp://127.0.0.1:9", ["timeout=1"]),
    "ray": ("127.0.0.1:9", []),
    "spark": ("spark://127.0.0.1:9", []),
}
"""Addresses at which nobody listens, and options with which that is found soon."""
