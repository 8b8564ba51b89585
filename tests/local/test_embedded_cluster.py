"""The cluster of one `pymr run`: a debugger in its workers, the deaths of its parts, what is left of it."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from cluster.running import ENDS_WITHIN_S, PYMR, Place, finish, wait_for_file, wait_until
from cluster.terminal import Terminal

from pymr.ops.redis_server import choose_server

ATTACH = re.compile(r"pymr (attach --config \S+ local/0)")


def attach_command(process: subprocess.Popen[str]) -> list[str]:
    """The command that a run shows for going to its worker."""
    assert process.stdout is not None
    while not (found := ATTACH.search(line := process.stdout.readline())):
        assert line, "the run has ended"
    return [str(PYMR), *found[1].split()]


def test_breakpoint_in_a_worker_shows_the_command_that_leads_there(place: Place) -> None:
    place.feed("a", "b")
    place.functions("""
        def words(line, auxiliary_data):
            if line == "b":
                breakpoint()
            return [(line, 1)]
    """)
    process = place.start("--workers", "1")
    with Terminal(place, attach_command(process)) as terminal:
        terminal.wait_for(r"\(Pdb\) ")
        terminal.press("p line * 3\n")
        terminal.wait_for("'bbb'")
        terminal.press("c\n")
        finished = finish(process)

    assert finished.status == 0, finished.err
    assert place.counts() == {"a": 1, "b": 1}


def test_function_that_reads_its_terminal_gets_what_is_typed_there(place: Place) -> None:
    place.feed("a")
    place.functions("""
        def words(line, auxiliary_data):
            return [(input("Which key? "), 1)]
    """)
    process = place.start("--workers", "1")
    assert process.stdout is not None
    while "local/0 │ Which key? " not in (line := process.stdout.readline()):
        assert line, "the run has ended"
    config = config_of(process)
    with Terminal(place, [str(PYMR), "attach", "--config", str(config), "local/0"]) as terminal:
        terminal.wait_for(r"Which key\? ")
        terminal.press("typed\n")
        finished = finish(process)

    assert finished.status == 0, finished.err
    assert place.counts() == {"typed": 1}


SERVER = Path(choose_server("/nonexistent").path).name
"""How the Redis of a run is called among the processes."""


def config_of(run: subprocess.Popen[str]) -> Path:
    """The configuration of the cluster of a run that goes on, by the command line of its peer."""
    words = parts_of(run)["pymr-peer"].cmdline()
    return Path(words[words.index("--config") + 1])


def parts_of(run: subprocess.Popen[str]) -> dict[str, psutil.Process]:
    """The processes of a run by their names."""
    return {process.name(): process for process in psutil.Process(run.pid).children(recursive=True)}


def waiting_for_ever(place: Place) -> Path:
    mark = place.folder / "mark"
    place.feed("a")
    place.functions(f"""
        import time

        def words(line, auxiliary_data):
            open({str(mark)!r}, "w").close()
            time.sleep(1000)
    """)
    return mark


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("pymr-peer", "the peer of this run was ended by SIGKILL"),
        ("pymr-forkserver", "the peer of this run has ended"),
        (SERVER, "the Redis of this run has ended"),
    ],
)
def test_death_of_a_part_of_the_cluster_is_a_clear_error(place: Place, part: str, said: str) -> None:
    mark = waiting_for_ever(place)
    place.earlier_output()
    process = place.start("--workers", "1")
    wait_for_file(mark)
    parts_of(process)[part].kill()
    finished = finish(process, 10.0)

    assert finished.status == 1
    finished.says(said)
    place.assert_output_untouched(True)
    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), place.left_processes()
    assert place.left_files() == []


def test_what_a_killed_run_leaves_among_temporary_files_is_cleared_by_the_next(
    place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mark = waiting_for_ever(place)
    temporary = tmp_path_factory.getbasetemp() / "short"
    temporary.mkdir()
    process = place.start("--workers", "1", env={"TMPDIR": str(temporary)})
    wait_for_file(mark)
    (control,) = temporary.iterdir()
    assert control.stat().st_mode & 0o077 == 0
    process.send_signal(signal.SIGKILL)
    finish(process)
    assert wait_until(lambda: not place.left_processes(), ENDS_WITHIN_S), place.left_processes()

    place.functions("def words(line, auxiliary_data):\n    return [(line, 1)]\n")
    place.succeed("--workers", "1", env={"TMPDIR": str(temporary)})

    assert list(temporary.iterdir()) == []
    assert place.left_files() == []
