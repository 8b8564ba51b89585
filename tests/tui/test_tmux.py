"""The console as an operator has it: `pymr-tui` in a real terminal, which tmux is."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from cluster.clusters import Cluster
from tmux_window import PROMPT, Window, window

Lend = Callable[..., Cluster]

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="there is no tmux on this machine")

TALKING = """
    import os, time

    def words(line, auxiliary_data):
        number = 0
        while not os.path.exists({gate!r}):
            number += 1
            print(f"weighing parcel {{number}}", flush=True)
            time.sleep(0.05)
        weight = 6
        breakpoint()
        return [("weight", weight)]
    """
TOTAL = """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
    """
JOBS = ("night_words", "night_links", "access_log", "backup")


def environment(cluster: Cluster, tmp_path: Path) -> Mapping[str, str]:
    """Of the shell: which cluster is meant, and that nobody's settings count."""
    return cluster.environment() | {
        "PYMR_CONFIG": str(cluster.path),
        "PYMR_TUI_CONFIG": str(tmp_path / "console.toml"),
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }


def queue_jobs(cluster: Cluster) -> None:
    cluster.project(TALKING.format(gate="/"), TOTAL)
    cluster.client.pause()
    for name in JOBS:
        cluster.submit(job_name=name)


def reversed_text(drawn: str) -> str:
    """What of a line with control sequences stands in reverse."""
    is_reverse, found = False, ""
    for codes, text in re.findall(r"(?:\x1b\[([\d;:]*)m)?([^\x1b]*)", drawn):
        for code in codes.split(";"):
            is_reverse = code == "7" or (is_reverse and code not in ("", "0", "27"))
        found += text if is_reverse else ""
    return found


def marked_jobs(drawn: list[str]) -> list[str]:
    """The jobs whose names stand in reverse, line by line."""
    return [name for line in map(reversed_text, drawn) for name in JOBS if name in line]


def leave(shell: Window) -> None:
    """Quit, and see that the terminal is the shell's again."""
    shell.press("q")
    shell.until_shown("left with 0", "same tty")
    shell.until(lambda _: shell.modes == "1 0 0", "the terminal to be as it was")
    shell.type("echo still $((40 + 2))")
    shell.press("Enter")
    shell.until_shown("still 42")


def test_jobs_are_seen_filtered_and_opened_and_leaving_restores_the_terminal(
    lend_cluster: Lend, tmp_path: Path
) -> None:
    cluster = lend_cluster()
    queue_jobs(cluster)
    with window(tmp_path, environment(cluster, tmp_path)) as shell:
        shell.open_console()
        shell.until_shown("live", "queue paused", *JOBS)
        shell.press("/")
        shell.until_shown("words, !without")
        shell.type("night")
        filtered = shell.until(
            lambda text: "2 of " in text and "access_log" not in text and "a attach" not in text,
            "the filter to take effect",
        )
        shell.press("Enter")
        shell.until_shown("a attach")  # the keys are the table's again
        shell.press("Down", "Enter")
        detail = shell.until(lambda text: "submitted" in text and "STATUS" not in text, "the detail alone")
        shell.press("Escape")
        shell.until_shown("2 of ", "STATUS")
        shell.press("Escape")
        shell.until_shown(*JOBS)
        shell.type("?")
        shell.until_shown("jobs.filter")
        shell.press("Escape")
        shell.until_shown(*JOBS)
        leave(shell)
        after = shell.text

    assert "night_words" in filtered and "night_links" in filtered
    assert "night_" in detail
    assert "Traceback" not in after


@pytest.mark.parametrize("size", [(80, 24), (200, 50)])
def test_a_worker_is_watched_and_its_breakpoint_answered(
    lend_cluster: Lend, tmp_path: Path, size: tuple[int, int]
) -> None:
    cluster = lend_cluster()
    gate = tmp_path / "gate"
    cluster.project(TALKING.format(gate=str(gate)), TOTAL)
    cluster.feed("alpha", "parcels.txt", "one")
    cluster.submit(run_once=False)
    with window(tmp_path, environment(cluster, tmp_path), *size) as shell:
        shell.open_console()
        shell.until_shown("live", cluster.job, "running")
        shell.press("2")
        first = shell.until_shown("weighing parcel", "1 busy")
        seen = max(map(int, re.findall(r"weighing parcel (\d+)", first)))
        shell.until_shown(f"weighing parcel {seen + 20}")
        shell.press("Enter")
        shell.until_shown("weighing parcel", "follow")
        gate.touch()
        shell.until_shown("(Pdb)", "breakpoint")
        shell.press("i")
        shell.until(lambda _: holders(cluster), "the keyboard to be held")
        shell.type("weight = 42")
        shell.press("Enter")
        shell.type("continue")
        shell.press("Enter")
        outcome = cluster.finish()
        shell.press("C-]")
        shell.until_shown("ended: succeeded")  # until the console knows, q is a command of the debugger
        leave(shell)

    assert outcome.is_success
    assert cluster.output() == [["weight", 42]]


def holders(cluster: Cluster) -> list[str]:
    return [row.holder for row in cluster.client.workers() if row.holder]


def test_a_window_may_become_small_and_large_again(lend_cluster: Lend, tmp_path: Path) -> None:
    cluster = lend_cluster()
    queue_jobs(cluster)
    with window(tmp_path, environment(cluster, tmp_path)) as shell:
        shell.open_console()
        shell.until_shown("live", *JOBS)
        shell.press("Down", "Down")
        shell.until(lambda text: text.count("access_log") == 2, "the detail of the third job")
        before = steady(shell)
        shell.resize(60, 20)
        small = shell.until(
            lambda text: text.count("access_log") == 2 and len(text.split("\n")) == 21, "the small window"
        )
        shell.resize(80, 24)
        shell.until(lambda _: steady(shell) == before, f"the window as it was:\n{before}")
        leave(shell)

    assert all(name in small for name in JOBS)
    assert max(map(len, small.split("\n"))) <= 60


def steady(shell: Window) -> str:
    """What it shows, but for what changes by itself."""
    return re.sub(r" *(\d+ (s|min) ago|just now|live|[\d.]+ s old)", "", shell.text)


def test_without_a_cluster_one_is_offered(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYMR_TUI_CONFIG": str(tmp_path / "console.toml")}
    with window(folder, env) as shell:
        shell.open_console()
        text = shell.until_shown("There is no cluster yet", "start a demo cluster")
        leave(shell)

    assert "There is no cluster.toml in" in text
    assert list(folder.iterdir()) == []


def test_what_is_selected_is_seen_without_colours(lend_cluster: Lend, tmp_path: Path) -> None:
    cluster = lend_cluster()
    queue_jobs(cluster)
    env = environment(cluster, tmp_path) | {"NO_COLOR": "1"}
    with window(tmp_path, env, term="screen") as shell:
        shell.open_console()
        shell.until_shown("live", *JOBS)
        shell.press("/")
        shell.until_shown("words, !without")
        shell.type("night")  # so that these two are the first rows, whatever else is in the queue
        shell.until_shown("2 of ")
        shell.press("Enter")
        shell.until_shown("a attach")
        shell.press("Home", "Down")
        shell.until(lambda text: text.count(JOBS[1]) == 2, "the second job to be selected")
        drawn: list[str] = []  # at one moment: another may lie between two paints

        def is_marked(_: str) -> bool:
            drawn[:] = shell.drawn
            return marked_jobs(drawn) == [JOBS[1]] and "1 Jobs" in reversed_text(drawn[1])

        shell.until(is_marked, "its row, and its screen, to be what is marked")
        leave(shell)

    assert not re.search(r"\x1b\[[34][1-6]m|\x1b\[[34]8;", "\n".join(drawn))  # black, white and greys only


def test_ctrl_c_does_not_end_the_console(lend_cluster: Lend, tmp_path: Path) -> None:
    cluster = lend_cluster()
    with window(tmp_path, environment(cluster, tmp_path)) as shell:
        shell.open_console()
        shell.until_shown("live")
        shell.press("C-c")
        text = shell.until(lambda text: "quit" in text.replace("q quit", ""), "a hint how to quit")
        shell.press("4")
        shell.until_shown("alpha", "gamma")
        leave(shell)

    assert "Traceback" not in text
    assert PROMPT not in text
