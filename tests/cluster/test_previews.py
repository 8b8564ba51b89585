"""Previews in a real cluster: what a job makes of its first lines, within two seconds, and nothing left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from cluster.clusters import Cluster, ordered
from cluster.held_runs import HeldRun
from cluster.running import MAP_WORDS, REDUCE_TOTAL, lives, wait_until

from pymr.client import RefusedError
from pymr.wire.requests import PREVIEW_SECONDS, PreviewView

Lend = Callable[..., Cluster]
IDENTITY_LINE = "    return [(line, 1)]\n"


def preview(cluster: Cluster, map_source: str = MAP_WORDS, lines: int = 100, **fields: Any) -> PreviewView:
    cluster.project(map_source, REDUCE_TOTAL)
    peer = fields.pop("peer", "")
    projects = cluster.folder / "projects"
    view: PreviewView = cluster.client.preview(cluster.job_fields(**fields), projects, lines, peer)
    return view


def mapping(*statements: str) -> str:
    """A map function that does this first; `n` is the number of its call."""
    body = "".join(f"    {statement}\n" for statement in statements)
    imports = "import os, sys, time\n\nn = 0\n\n"
    return f"{imports}def words(line, auxiliary_data):\n    global n\n    n += 1\n{body}{IDENTITY_LINE}"


def is_gone(cluster: Cluster, pid: int) -> bool:
    return bool(wait_until(lambda: not psutil.pid_exists(pid), 5.0))


def test_a_word_count_equals_the_one_in_one_process_on_those_lines(
    lend_cluster: Lend, tmp_path: Path
) -> None:
    cluster = lend_cluster()
    lines = [f"all the word-{number % 13} {number}" for number in range(500)]
    path = cluster.feed("alpha", "a.txt", *lines)
    (tmp_path / "first.txt").write_text("".join(f"{line}\n" for line in lines[:20]))
    view = preview(cluster, lines=20)

    assert (view.error, view.path, view.lines) == ("", str(path), 20)
    assert ordered(list(map(json.loads, view.output))) == ordered(cluster.reference(tmp_path))
    assert view.items[0] == '["all",1]'
    assert (len(view.items), view.items_total, view.output_total) == (80, 80, 35)
    assert view.seconds < PREVIEW_SECONDS


def test_a_preview_changes_nothing_and_needs_no_queue_that_goes_on(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", "a b")
    cluster.client.pause()
    before = cluster.client.jobs(), cluster.client.history(cluster.job)
    view = preview(cluster, hold_state=True)
    again = preview(cluster, hold_state=True)
    after = cluster.client.jobs(), cluster.client.history(cluster.job)

    assert view.output == again.output == ('["a",1]', '["b",1]')
    assert [jobs.rows for jobs, _ in (before, after)] == [(), ()]
    assert before[1] == after[1] == ()
    assert not (cluster.data("alpha") / "jobs" / cluster.job).exists()


def test_a_function_that_raises_is_shown_with_its_line_and_the_record(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    path = cluster.feed("alpha", "a.txt", "one", "two", "three")
    view = preview(cluster, mapping("print('at', line)", "if n == 3: raise ValueError('three')"))

    assert "ValueError: three" in view.error
    assert f"{path}, byte 8: 'three'" in view.error
    assert 'map_functions.py", line 9, in words' in view.error
    assert view.items == ('["one",1]', '["two",1]')
    assert view.printed == "at one\nat two\nat three\n"
    assert (view.output, view.lines) == ((), 3)


@pytest.mark.parametrize(
    "end",
    ["while True: pass", "while True: print('again')", "time.sleep(60)"],
    ids=["loop", "flood", "sleep"],
)
def test_a_function_without_an_end_is_given_up_and_leaves_no_process(lend_cluster: Lend, end: str) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", *map(str, range(9)))
    pids = cluster.folder / "pid"
    began = time.monotonic()
    view = preview(
        cluster, mapping("if n < 5:", IDENTITY_LINE, f"open({str(pids)!r}, 'w').write(str(os.getpid()))", end)
    )
    seconds = time.monotonic() - began

    assert view.error.startswith("given up after 2 s: 4 lines were mapped until then")
    assert 'map_functions.py", line' in view.error
    assert view.items == tuple(f'["{number}",1]' for number in range(4))
    assert PREVIEW_SECONDS <= seconds < 5.0
    assert is_gone(cluster, int(pids.read_text()))


def test_a_worker_that_ends_itself_is_told_of_with_what_was_mapped(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", "one", "two")
    exited = preview(cluster, mapping("if n == 2: os._exit(7)"))
    killed = preview(cluster, mapping("if n == 2: os.kill(os.getpid(), 11)"))

    assert "exited with status 7" in exited.error
    assert "SIGSEGV" in killed.error
    assert exited.items == killed.items == ('["one",1]',)
    assert (exited.lines, killed.lines) == (2, 2)
    assert "line 8 in words" in killed.printed


def test_a_preview_is_answered_though_what_starts_workers_is_killed_and_its_peer_ends(
    lend_cluster: Lend,
) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", "one", "two")
    kill = "os.kill(os.getppid(), 9), time.sleep(60)"
    alpha = psutil.Process(cluster.pid("alpha"))
    of_alpha = [alpha, *alpha.children(recursive=True)]
    try:
        view = preview(cluster, mapping(f"if n == 2: {kill}"), peer="alpha")
    finally:  # what it has started as well, which has its ports
        ended = wait_until(
            lambda: cluster.processes["alpha"].poll() is not None and not any(map(lives, of_alpha))
        )
        cluster.restart_dead()
        cluster.wait_for(lambda: cluster.is_up(cluster.names), what="alpha to be there again")

    assert ended

    assert "was ended with the process that starts the workers of this peer" in view.error
    assert (view.peer, view.items) == ("alpha", ('["one",1]',))


def test_a_child_that_would_outlive_its_preview_does_not(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", "one")
    pids = cluster.folder / "child"
    child = f"os.setsid(), open({str(pids)!r}, 'w').write(str(os.getpid())), time.sleep(60)"
    view = preview(
        cluster, mapping(f"if not os.fork(): {child}", f"while not os.path.exists({str(pids)!r}): pass")
    )

    assert view.error == ""
    assert wait_until(lambda: pids.exists() and pids.read_text(), 5.0)
    assert is_gone(cluster, int(pids.read_text()))


HIDDEN = """
    global n
    n += 1
    if n == 1 and not os.fork():
        os.setsid()
        if not os.fork():
            os.closerange(0, 1_000)
            with open('{path}', 'w') as file:
                file.write(str(os.getpid()))
            os.execve('/bin/sleep', ['sleep', '60'], {{}})
        os._exit(0)
    if n == 1:
        os.wait()
    while not os.path.exists('{path}') or not open('{path}').read():
        time.sleep(0.01)
"""


def test_a_child_that_hides_is_ended_though_a_worker_lives_that_might_have_started_it(
    lend_cluster: Lend,
) -> None:
    cluster = lend_cluster()
    held = HeldRun(cluster)
    held.reach("map")
    peer = cluster.busy_workers()[0].split("/")[0]
    cluster.feed(peer, "0-first.txt", "a")
    pids = cluster.folder / "child"
    source = "import os, time\n\nn = 0\n\ndef words(line, auxiliary_data):" + HIDDEN.format(path=pids)
    try:
        view = preview(cluster, source + IDENTITY_LINE, job_name="other", peer=peer)
        ended = is_gone(cluster, int(pids.read_text()))
    finally:
        held.let_go()
    cluster.succeed()

    assert (view.error, view.output[0]) == ("", '["a",1]')
    assert ended


def test_a_child_that_goes_on_as_if_it_were_the_worker_says_nothing(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", "one", "two")
    view = preview(cluster, mapping("os.fork()", "time.sleep(0.1)"))

    assert (view.error, view.lines, view.output) == ("", 2, ('["one",1]', '["two",1]'))


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("breakpoint()", "breakpoint() does nothing in a preview"),
        ("import pdb; pdb.set_trace()", "breakpoint() does nothing in a preview"),
        ("input()", "EOFError"),
    ],
)
def test_a_function_that_asks_somebody_is_not_waited_for(
    lend_cluster: Lend, statement: str, words: str
) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", "one")
    view = preview(cluster, mapping(statement))

    assert words in view.error
    assert view.seconds < PREVIEW_SECONDS


def test_the_first_host_that_has_input_is_asked(lend_cluster: Lend) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    path = cluster.feed("beta", "b.txt", "b")
    anywhere = preview(cluster)
    nowhere = preview(cluster, peer="gamma")

    assert (anywhere.peer, anywhere.path, anywhere.output) == ("beta", str(path), ('["b",1]',))
    assert (nowhere.peer, nowhere.path, nowhere.error) == ("gamma", "", "")


def test_a_preview_goes_on_beside_a_worker_that_is_busy_and_needs_no_leader(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    held = HeldRun(cluster)
    held.reach("map")
    cluster.feed("alpha", "0-first.txt", "a")
    asked = held.followers[0]
    cluster.pause(cluster.leader())
    try:
        view = preview(cluster, job_name="other", peer=asked)
    finally:
        cluster.resume_all()
        held.let_go()
    cluster.succeed()

    assert (view.peer, view.error, view.output[0]) == (asked, "", '["a",1]')


def test_the_command_shows_what_comes_of_a_job(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    cluster.project(mapping("print('seen')", "if line == 'bad': raise ValueError(line)"), REDUCE_TOTAL)
    cluster.feed("alpha", "a.txt", "good", "bad")
    job = cluster.folder / "preview.toml"
    values = cluster.job_fields()
    job.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    good = cluster.pymr("preview", job, "--lines", "1")
    bad = cluster.pymr("preview", job)
    as_json = cluster.pymr("preview", job, "--json", "--peer", "alpha")

    assert good.status == 0, good.err
    assert 'ITEMS (1)\n["good",1]\n\nOUTPUT (1)\n["good",1]\n\nPRINTED\nseen\n' in good.out
    assert (bad.status, as_json.status) == (1, 1)
    assert "ValueError: bad" in bad.err
    assert json.loads(as_json.out)["lines"] == 2


def test_a_job_of_another_type_is_refused(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    script = {"job_type": "script", "job_name": "s", "job_priority": 1, "script_location": "/bin/true"}
    with pytest.raises(RefusedError, match="only mapreduce jobs can be previewed") as refused:
        cluster.client.preview(script, cluster.folder / "projects", 100)

    assert refused.value.code == "invalid"


def test_a_console_that_previews_too_much_is_told_to_wait(lend_cluster: Lend) -> None:
    cluster = lend_cluster()
    cluster.feed("alpha", "a.txt", "one")
    cluster.project(mapping("time.sleep(60)"), REDUCE_TOTAL)
    commands = []
    job = cluster.folder / "slow.toml"
    values = cluster.job_fields()
    job.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
    for _ in range(4):
        commands.append(cluster.start_pymr("preview", job, "--peer", "alpha"))
    told = [command.communicate(timeout=60)[1] for command in commands]

    assert sum("given up after 2 s" in text for text in told) >= 2
    assert all("given up after 2 s" in text or "previews already" in text for text in told), told
    assert os.listdir(cluster.data("alpha") / "runs") == [] or wait_until(
        lambda: not os.listdir(cluster.data("alpha") / "runs"), 5.0
    )
