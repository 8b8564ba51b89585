"""What `pymr run` shows: phases, prints of workers, a summary; on a terminal and elsewhere."""

from __future__ import annotations

import os
import time

import pytest
from cluster.misbehaving import PRINTS, last_print
from cluster.running import PYMR, Place, finish, plain, wait_for_file
from cluster.terminal import COLUMNS, Terminal

SUMMARY = ("records in", "items shuffled", "groups", "items out", "time", "output")


def test_terminal_shows_phases_and_ends_with_the_summary(place: Place) -> None:
    place.feed(*["a b c"] * 100)
    with Terminal(place, place.command("--workers", "2")) as terminal:
        status = terminal.finish()

    rows = [line.split() for line in terminal.screen]
    began = next(number for number, row in enumerate(rows) if row[:2] == ["job:", "success"])
    live, summary = rows[:began], rows[began + 1 :]
    assert status == 0
    assert [row[0] for row in live if row] == ["map", "reduce"]
    assert "1/1" in terminal.screen[0] and "━" in terminal.screen[0]
    # A row that is too long for the terminal goes on at the margin.
    summary = [
        row for row, line in zip(summary, terminal.screen[began + 1 :], strict=True) if line[:2] == "  "
    ]
    names = [" ".join(row[: len(name.split())]) for row, name in zip(summary, SUMMARY, strict=False)]
    assert names == list(SUMMARY)


def test_terminal_has_its_cursor_back_after_success_failure_and_interruption(place: Place) -> None:
    mark = place.folder / "mark"
    place.feed("a")
    endings = {
        0: "return [(line, 1)]",
        1: "raise ValueError(line)",
        130: f"open({str(mark)!r}, 'w').close(); __import__('time').sleep(1000)",
    }
    for wanted, statement in endings.items():
        place.functions(f"def words(line, auxiliary_data):\n    {statement}\n")
        with Terminal(place, place.command("--workers", "1", "--set", "max_attempts=1")) as terminal:
            if wanted == 130:
                wait_for_file(mark)
                terminal.wait_for("map")
                terminal.interrupt()
            status = terminal.finish()

        assert status == wanted
        assert terminal.raw.count(b"\x1b[?25l") == terminal.raw.count(b"\x1b[?25h") > 0


@pytest.mark.parametrize("columns", [20, 40, COLUMNS, 200])
def test_live_display_fits_into_the_width_of_the_terminal(place: Place, columns: int) -> None:
    place.feed(*["a b c"] * 100)
    place.functions("""
        import time

        def words(line, auxiliary_data):
            time.sleep(0.005)
            return [(line, 1)]
    """)
    with Terminal(place, place.command("--workers", "2"), columns=columns) as terminal:
        status = terminal.finish()

    shown = [line.split()[0] for line in terminal.screen if line]
    assert status == 0
    assert shown[: shown.index("job:")] == ["map", "reduce"], "a row that wraps leaves pieces of itself"


def test_terminal_shows_progress_while_a_task_runs(place: Place) -> None:
    gate = place.folder / "gate"
    place.feed(*["line"] * 100)
    place.functions(f"""
        import os
        import time

        def words(line, auxiliary_data):
            words.calls = getattr(words, "calls", 0) + 1
            while words.calls > 50 and not os.path.exists({str(gate)!r}):
                time.sleep(0.01)
            return [(line, 1)]
    """)
    with Terminal(place, place.command("--workers", "1")) as terminal:
        terminal.wait_for(r"0/1  [1-9][0-9,]* records/s")
        gate.touch()
        status = terminal.finish()

    assert status == 0


def test_prints_of_workers_scroll_above_the_live_display(place: Place) -> None:
    place.feed(*[f"line {number}" for number in range(50)])
    place.functions("""
        def words(line, auxiliary_data):
            print("seen [bold]", line)
            return [(line, 1)]
    """)
    with Terminal(place, place.command("--workers", "1")) as terminal:
        status = terminal.finish()

    assert status == 0
    assert [f"local/0 │ seen [bold] line {number}" in terminal.shown for number in range(50)] == [True] * 50


def test_terminal_without_abilities_gets_no_control_sequences(place: Place) -> None:
    place.feed("a")
    with Terminal(place, place.command("--workers", "1"), env={"TERM": "dumb"}) as terminal:
        status = terminal.finish()

    assert status == 0
    assert b"\x1b" not in terminal.raw
    assert "job: success" in terminal.shown


def test_output_that_is_no_terminal_gets_plain_lines(place: Place) -> None:
    place.feed("a b", "c")
    finished = place.succeed("--workers", "2")

    lines = finished.out.splitlines()
    assert lines[0].startswith("job: map: 0 of 1 tasks")
    assert lines[1].startswith("job: map: 1 of 1 tasks, 2 records")
    assert lines[3].startswith("job: reduce: 3 of 3 tasks, 3 groups")
    assert lines[4].startswith("job: success in ")
    assert [name for name in SUMMARY if not any(line.startswith(f"  {name}") for line in lines[5:])] == []
    assert "\x1b" not in finished.out and "\r" not in finished.out
    assert finished.err == ""


def test_prints_appear_under_the_name_of_their_worker(place: Place) -> None:
    place.feed("a", "b")
    place.functions(
        """
        import sys

        print("while loading")

        def words(line, auxiliary_data):
            print("mapping", line)
            print("to stderr", line, file=sys.stderr)
            return [(line, 1)]
    """,
        """
        import os

        def total(group, auxiliary_data):
            os.write(1, b"reducing " + group.key.encode() + b"\\n")
            return [(group.key, sum(group.values))]
    """,
    )
    finished = place.succeed("--workers", "1")

    shown = [line for line in finished.out.splitlines() if "│" in line]
    assert shown == [
        "local/0 │ while loading",
        "local/0 │ mapping a",
        "local/0 │ to stderr a",
        "local/0 │ mapping b",
        "local/0 │ to stderr b",
        *sorted(["local/0 │ reducing a", "local/0 │ reducing b"], key=shown.index),
    ]


@pytest.mark.parametrize("statement", ["print('dots...', end='')", "sys.stderr.write('dots...')"])
def test_print_without_a_line_end_appears_at_the_end_of_the_task(place: Place, statement: str) -> None:
    place.feed("a")
    place.functions(f"""
        import sys

        def words(line, auxiliary_data):
            {statement}
            return [(line, 1)]
    """)
    finished = place.succeed("--workers", "1")

    assert "local/0 │ dots...\n" in finished.out


@pytest.mark.parametrize(
    "after", ["pass", "os._exit(3)", "ctypes.string_at(0)"], ids=["done", "exit", "crash"]
)
def test_last_print_of_a_worker_appears_however_it_ends(place: Place, after: str) -> None:
    last_print(place, PRINTS["a line of C code"], after)
    finished = place.run("--workers", "1", "--set", "max_attempts=1")

    assert (finished.status == 0) == (after == "pass")
    assert "local/0 │ dots...\n" in finished.out


def test_print_appears_at_once_while_the_function_goes_on(place: Place) -> None:
    gate, mark = place.folder / "gate", place.folder / "mark"
    place.feed("a")
    place.functions(f"""
        import os
        import time

        def words(line, auxiliary_data):
            print("now waiting")
            open({str(mark)!r}, "w").close()
            while not os.path.exists({str(gate)!r}):
                time.sleep(0.01)
            return [(line, 1)]
    """)
    process = place.start("--workers", "1")
    assert process.stdout is not None
    wait_for_file(mark)
    began = time.monotonic()
    while "now waiting" not in (line := process.stdout.readline()):
        assert line, "the output ended"
    waited_s = time.monotonic() - began
    gate.touch()

    assert finish(process).status == 0
    assert waited_s < 20.0  # and not at the end of the task, for which it has to come first


def test_megabytes_of_prints_all_appear_in_order(place: Place) -> None:
    place.feed("a")
    place.functions("""
        def words(line, auxiliary_data):
            for number in range(40_000):
                print(number, "x" * 90)
            return [(line, 1)]
    """)
    finished = place.succeed("--workers", "2")

    shown = [line.split()[2] for line in finished.out.splitlines() if "│" in line]
    assert shown == [str(number) for number in range(40_000)]


def test_print_of_one_line_of_megabytes_appears_whole(place: Place) -> None:
    place.feed("a")
    place.functions("""
        def words(line, auxiliary_data):
            print("é" * 1_000_000)
            return [(line, 1)]
    """)
    finished = place.succeed("--workers", "1")

    assert finished.out.count("é") == 1_000_000
    assert "\ufffd" not in finished.out


def test_megabytes_of_prints_do_not_slow_a_terminal_down_much(place: Place) -> None:
    place.feed("a")
    place.functions("""
        def words(line, auxiliary_data):
            for number in range(20_000):
                print(number, "x" * 50)
            return [(line, 1)]
    """)
    with Terminal(place, place.command("--workers", "1")) as terminal:
        began = time.monotonic()
        status = terminal.finish()
        took_s = time.monotonic() - began

    assert status == 0
    assert "local/0 │ 19999 x" in terminal.shown
    assert took_s < 60.0


def test_prints_of_any_bytes_are_shown_without_harm(place: Place) -> None:
    place.feed("a")
    place.functions(r"""
        import os

        def words(line, auxiliary_data):
            os.write(1, b"\xff\xfe\x00 raw\n")
            print("\ud800 surrogate")
            return [(line, 1)]
    """)
    finished = place.succeed("--workers", "1")

    assert " raw\n" in finished.out
    assert "\\ud800 surrogate\n" in finished.out


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_output_of_another_encoding_does_not_stop_the_run(place: Place, encoding: str) -> None:
    place.feed("a")
    place.functions("def words(line, auxiliary_data):\n    print('café ☃')\n    return [(line, 1)]\n")
    place.succeed("--workers", "1", env={"PYTHONIOENCODING": encoding})

    assert place.counts() == {"a": 1}


def test_control_sequences_in_a_print_do_not_reach_the_terminal(place: Place) -> None:
    place.feed("a")
    place.functions(r"""
        def words(line, auxiliary_data):
            print("\x1b[2J\x1b]0;title\x07hello\x1b[31mred")
            return [(line, 1)]
    """)
    with Terminal(place, place.command("--workers", "1")) as terminal:
        status = terminal.finish()

    assert status == 0
    assert "hello" in terminal.shown
    assert b"\x1b[2J" not in terminal.raw
    assert b"\x1b]0;title" not in terminal.raw


def test_reader_of_the_output_that_goes_away_is_a_clear_end(place: Place) -> None:
    place.feed("a", "b")
    place.functions("def words(line, auxiliary_data):\n    print('x' * 100_000)\n    return [(line, 1)]\n")
    process = place.start("--workers", "1")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    _, err = process.communicate(timeout=60.0)

    assert "Traceback" not in err
    assert place.left_files() == []
    if process.returncode == 0:
        assert place.counts() == {"a": 1, "b": 1}
    else:
        assert err.startswith("pymr: job: ")


def test_output_that_cannot_be_written_is_a_clear_end(place: Place) -> None:
    place.feed("a")
    with open("/dev/full", "w") as full:
        finished = place.run("--workers", "1", stdout=full)

    assert finished.status == 1
    assert finished.err == (
        "pymr: /dev/full could not be written to: No space left on device; only the first 0 bytes of the "
        "output are there\n"
    )
    assert place.left_files() == []
    assert place.counts() == {"a": 1}  # the run goes on


@pytest.mark.parametrize("redirection", [">&-", "<&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_do_not_stop_the_run(place: Place, redirection: str) -> None:
    place.feed("a")
    command = " ".join(place.command("--workers", "2"))
    finished = finish(place.start_command(["sh", "-c", f"exec {command} {redirection}"]))

    assert finished.status == 0, finished.err
    assert place.counts() == {"a": 1}


def test_counters_of_the_user_stand_in_the_summary_and_the_manifest(place: Place) -> None:
    place.feed("a", "b", "a")
    place.functions(
        """
        import pymr

        def words(line, auxiliary_data):
            pymr.count("lines")
            pymr.count("weight", 2.5)
            return [(line, 1)]
    """,
        """
        import pymr

        def total(group, auxiliary_data):
            pymr.count("keys", 10)
            return [(group.key, sum(group.values))]
    """,
    )
    finished = place.succeed("--workers", "2")

    assert "counter         keys = 20\n" in finished.out
    assert "counter         lines = 3\n" in finished.out
    assert "counter         weight = 7.5\n" in finished.out
    assert '"lines": 3' in (place.output / "_manifest.json").read_text()


def test_breakpoint_works_inline_on_a_terminal(place: Place) -> None:
    place.feed("a", "b")
    place.functions("""
        def words(line, auxiliary_data):
            if line == "b":
                breakpoint()
            return [(line, 1)]
    """)
    with Terminal(place, place.command("--inline")) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        terminal.press("p line * 3\n")
        terminal.wait_for("'bbb'")
        terminal.press("c\n")
        status = terminal.finish()

    assert status == 0
    assert "job: success" in terminal.shown
    assert place.counts() == {"a": 1, "b": 1}


def test_leaving_the_debugger_ends_the_run_and_leaves_nothing(place: Place) -> None:
    place.feed("a")
    place.functions("def words(line, auxiliary_data):\n    breakpoint()\n    return [(line, 1)]\n")
    with Terminal(place, place.command("--inline")) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        terminal.press("q\n")
        status = terminal.finish()

    assert status in (1, 130)
    assert "stopped by the operator, who quit the debugger, at p/map_functions.py:" in terminal.shown
    assert "BdbQuit" not in terminal.shown
    assert str(PYMR.parent.parent / "lib") not in terminal.shown, "frames of the debugger or of pymr"
    assert place.left_files() == []


def test_print_goes_straight_to_the_terminal_inline(place: Place) -> None:
    place.feed("a")
    place.functions("def words(line, auxiliary_data):\n    print('hello')\n    return [(line, 1)]\n")
    finished = place.succeed("--inline")

    assert "hello\n" in plain(finished.out)


def test_prints_without_a_reader_of_the_pipe_do_not_block_the_end(place: Place) -> None:
    """The parent reads a worker's pipe also while another worker is ended."""
    place.feed(*"abcd")
    place.functions("""
        import os

        def words(line, auxiliary_data):
            if line == "d":
                os._exit(1)
            print("y" * 300_000)
            return [(line, 1)]
    """)
    finished = place.run("--workers", "2", *("--set", "engine.split_bytes=1"))

    assert finished.status == 1
    assert finished.out.count("y") >= 300_000
    assert os.path.exists(place.output) is False
