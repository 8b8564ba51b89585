"""`pymr run` that is interrupted: it ends soon, says so, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time

import pytest
from cluster.running import Place, finish, interrupt, set_options, wait_for_file, wait_until
from cluster.terminal import Terminal

INTERRUPTED = 130
ENDS_WITHIN_S = 30.0


def waiting_in(place: Place, phase: str, before: str = "pass") -> None:
    """A project whose functions wait for ever in a phase, once they have made the file `mark`."""
    place.feed(*"abcdefgh")
    source = f"""
        import signal
        import time

        def NAME(FIRST, auxiliary_data):
            {before}
            open({str(place.folder / "mark")!r}, "w").close()
            time.sleep(1000)
    """
    if phase == "map":
        place.functions(source.replace("NAME", "words").replace("FIRST", "line"))
    else:
        place.functions(reduce_source=source.replace("NAME", "total").replace("FIRST", "group"))


@pytest.mark.parametrize("earlier_output", [False, True], ids=["no output", "earlier output"])
@pytest.mark.parametrize("phase", ["map", "reduce"])
@pytest.mark.parametrize("mode", [("--workers", "2"), ("--inline",)], ids=["workers", "inline"])
def test_ctrl_c_on_a_terminal_ends_the_run(
    place: Place, mode: tuple[str, ...], phase: str, earlier_output: bool
) -> None:
    waiting_in(place, phase)
    if earlier_output:
        place.earlier_output()
    with Terminal(place, place.command(*mode)) as terminal:
        wait_for_file(place.folder / "mark")
        terminal.interrupt()
        status = terminal.finish(ENDS_WITHIN_S)

    assert status == INTERRUPTED, terminal.shown
    assert "pymr: job: stopped" in terminal.shown
    assert "Traceback" not in terminal.shown
    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S)
    assert place.left_files() == []
    place.assert_output_untouched(earlier_output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda one: one.name)
@pytest.mark.parametrize("phase", ["map", "reduce"])
def test_signal_to_the_process_group_ends_the_run(place: Place, phase: str, number: signal.Signals) -> None:
    waiting_in(place, phase)
    place.earlier_output()
    process = place.start("--workers", "2")
    wait_for_file(place.folder / "mark")
    interrupt(process, number)
    finished = finish(process, ENDS_WITHIN_S)

    assert finished.status == INTERRUPTED
    assert finished.err.startswith("pymr: job: stopped")
    assert f"the output folder {place.output} is as it was before" in finished.err
    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S)
    assert place.left_files() == []
    place.assert_output_untouched(True)


def test_closing_the_terminal_leaves_nothing(place: Place) -> None:
    waiting_in(place, "map")
    with Terminal(place, place.command("--workers", "2")) as terminal:
        wait_for_file(place.folder / "mark")
        terminal.hang_up()
        terminal.process.wait(ENDS_WITHIN_S)

    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S)
    assert place.left_files() == []


def test_functions_that_ignore_signals_cannot_keep_the_run_alive(place: Place) -> None:
    waiting_in(place, "map", before="[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]")
    process = place.start("--workers", "2")
    wait_for_file(place.folder / "mark")
    interrupt(process)

    assert finish(process, ENDS_WITHIN_S).status == INTERRUPTED


def test_ctrl_c_again_and_again_is_harmless(place: Place) -> None:
    waiting_in(place, "map")
    place.earlier_output()
    with Terminal(place, place.command("--workers", "4")) as terminal:
        wait_for_file(place.folder / "mark")
        for number in (signal.SIGINT, signal.SIGTERM) * 100:
            if terminal.process.poll() is None:
                terminal.process.send_signal(number)
        status = terminal.finish(ENDS_WITHIN_S)

    assert status == INTERRUPTED, terminal.shown
    assert terminal.shown.count("pymr: job: stopped") == 1
    assert "Traceback" not in terminal.shown
    assert place.left_files() == []
    place.assert_output_untouched(True)


SWALLOWED = (
    "Failed checking if argv[0] is an import path entry",
    "Exception ignored in: <function _get_module_lock",
)
"""With these words Python itself passes over an interruption, very early: before pymr takes signals."""

NOT_BEGUN = "Fatal Python error: init_import_site"
"""With these words Python itself ends, where the interruption comes earlier still."""


def test_interruption_at_any_moment_of_a_run_leaves_all_or_nothing(place: Place) -> None:
    """A run that was not stopped has its whole output. Before pymr itself is running, Python just ends."""
    place.feed("a b", "b")
    place.functions(
        "import pymr\n\ndef words(line, auxiliary_data):\n    return [(w, 1) for w in line.split()]\n"
    )
    began = time.monotonic()
    place.succeed("--workers", "2")
    whole_s = time.monotonic() - began
    statuses = set()
    for step in range(16):
        output = place.output.with_name(f"output-{step}")
        process = place.start("--workers", "2", "--output", output)
        wait_until(lambda: False, whole_s * step / 13)
        if process.poll() is None:
            interrupt(process)
        finished = finish(process, ENDS_WITHIN_S)
        statuses.add(finished.status)

        is_killed = finished.status == -signal.SIGINT and not finished.out
        if is_killed or finished.err.startswith(NOT_BEGUN):
            assert not output.parent.exists() or not output.exists()
            continue
        if finished.err.startswith(SWALLOWED):
            assert finished.status == 0 and (output / "_manifest.json").exists()
            continue
        assert "Traceback" not in finished.err + finished.out, f"step {step}: {finished.err}"
        assert finished.status in (0, INTERRUPTED), f"step {step}: {finished}"
        assert output.exists() == (finished.status == 0), f"step {step}: {finished}"
        assert finished.status != 0 or dict(place.items(output)) == {"a": 1, "b": 2}
        assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), f"step {step}"
        assert place.left_files() == [], f"step {step}: {finished}"

    assert INTERRUPTED in statuses


def test_run_started_with_interrupts_ignored_goes_on(place: Place) -> None:
    """As a shell script starts a command in the background, and nohup for hang-ups."""
    gate, mark = place.folder / "gate", place.folder / "mark"
    place.feed("a")
    place.functions(f"""
        import os
        import time

        def words(line, auxiliary_data):
            open({str(mark)!r}, "w").close()
            while not os.path.exists({str(gate)!r}):
                time.sleep(0.01)
            return [(line, 1)]
    """)
    process = place.start("--workers", "1", preexec_fn=ignore_interrupts)
    wait_for_file(mark)
    interrupt(process, signal.SIGINT)
    interrupt(process, signal.SIGHUP)
    gate.touch()

    assert finish(process).status == 0
    assert place.counts() == {"a": 1}


def ignore_interrupts() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def test_interrupted_run_with_many_scratch_files_ends_in_time(place: Place) -> None:
    waiting_in(place, "map")
    mark = place.folder / "mark"
    place.functions(f"""
        import time

        def words(line, auxiliary_data):
            for number in range(3_000_000):
                yield (line, number), "value"
                if number == 20_000:
                    open({str(mark)!r}, "w").close()
    """)
    process = place.start("--workers", "2", *set_options(max_number_dumped_items_shuffler=50, partitions=100))
    wait_for_file(mark)
    os.killpg(process.pid, signal.SIGINT)

    assert finish(process, ENDS_WITHIN_S).status == INTERRUPTED
    assert place.left_files() == []
