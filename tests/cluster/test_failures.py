"""From a failure to the place in a worker's output where it stands, by the history and the events."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from cluster.clusters import Cluster
from cluster.held_runs import HeldRun
from cluster.running import REDUCE_TOTAL

from pymr.wire.rows import EventRow, FailedAttempt, PanePlace, RunRow

Lend = Callable[..., Cluster]

MAP_FAILING = """
    import os, time

    def words(line, auxiliary_data):
        print("looking at", line)
        if line == "odd":
            {fault}
        return [(word, 1) for word in line.split()]
"""

FAULTS = {
    "an exception": ("raise ValueError('so odd')", r"ValueError: so odd\s*"),
    "a kill": ("os.kill(os.getpid(), 9)", r"\[pymr: alpha/0 was ended by SIGKILL: .*\]\r\n"),
    "an exit": ("os._exit(3)", r"\[pymr: alpha/0 exited with status 3 .*\]\r\n"),
    "a hang": ("time.sleep(600)", r"\[pymr: alpha/0 made no progress on map-00000 for 1 s .*\]\r\n"),
}


def failed_run(cluster: Cluster) -> RunRow:
    """The run of the job, once it has ended."""
    assert cluster.finish().status == "failed"
    return cluster.client.history(cluster.job)[0]


def end_event(cluster: Cluster, run: RunRow) -> EventRow:
    """Told of a moment after the end."""

    def told() -> EventRow | None:
        rows = [row for row in cluster.client.events() if row.run_id == run.run_id]
        return next((row for row in rows if row.kind == "run.failed"), None)

    row: EventRow = cluster.wait_for(told, what=f"the event of the end of {run.run_id}")
    return row


def said_before(cluster: Cluster, place: PanePlace | None) -> str:
    """The output of a worker up to a place."""
    assert place is not None
    piece = cluster.client.read_pane(place.worker, place.run_id, 0, place.offset)
    assert piece.run_id == place.run_id
    assert len(piece.data) == place.offset
    return piece.data.decode()


@pytest.mark.parametrize(("fault", "last_line"), FAULTS.values(), ids=FAULTS)
def test_a_failed_run_leads_to_the_end_of_its_traceback(
    lend_cluster: Lend, fault: str, last_line: str
) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    cluster.project(MAP_FAILING.format(fault=fault), REDUCE_TOTAL)
    cluster.feed("alpha", "a.txt", "even", "odd", "even")
    cluster.submit(max_attempts=2, task_timeout_seconds=1)
    run = failed_run(cluster)
    said = said_before(cluster, run.failed_at)
    told = [row for row in cluster.client.events() if row.run_id == run.run_id and row.kind == "task.failed"]
    shown = cluster.pymr("show", cluster.job).out

    assert run.failed_at is not None and run.failed_at.worker == "alpha/0"
    # What comes again is shown once, and its place is where that stands.
    assert said.count("looking at odd\r\n") == (1 if "raise" in fault else 2)
    assert re.search(f"{last_line}$", said), said
    assert end_event(cluster, run).place == run.failed_at
    assert len(told) == 1
    first = said_before(cluster, told[0].place)
    assert first.count("looking at odd\r\n") == 1
    assert re.search(f"{last_line}$", first), first
    assert f"pymr logs alpha/0 --run {run.run_id}\n" in shown


def test_a_failed_attempt_of_a_run_that_goes_on_leads_there_too(lend_cluster: Lend) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    gate = cluster.folder / "odd-gate"
    fault = f"x = 1 / 0 if not os.path.exists({str(gate)!r}) else 0"
    cluster.project(MAP_FAILING.format(fault=fault), REDUCE_TOTAL)
    cluster.feed("alpha", "a.txt", "odd")
    cluster.submit(max_attempts=1_000)

    def tried() -> FailedAttempt | None:
        view = cluster.job_view()
        return view.failed_attempts[0] if view and view.failed_attempts else None

    attempt: FailedAttempt = cluster.wait_for(tried, what="a failed attempt")
    run_id = cluster.client.newest_run(attempt.worker)
    gate.touch()
    cluster.succeed()
    gate.unlink()
    assert attempt.pane_offset is not None
    said = said_before(cluster, PanePlace(attempt.worker, run_id, attempt.pane_offset))

    assert said.rstrip().endswith("ZeroDivisionError: division by zero")
    assert cluster.client.history(cluster.job)[0].failed_at is None


def test_a_failed_script_leads_to_its_last_words(lend_cluster: Lend) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    script = cluster.folder / "projects" / "failing" / "steps" / "fail.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text("#!/bin/sh\nseq 2000\necho the reason >&2\nexit 3\n")
    script.chmod(0o755)
    fields = {"job_type": "script", "job_name": cluster.job, "job_priority": 1, "run_once": True}
    location = "failing/steps/fail.sh"
    cluster.client.submit(
        {**fields, "script_location": location, "run_on": "beta"}, cluster.folder / "projects"
    )
    run = failed_run(cluster)
    said = said_before(cluster, run.failed_at)
    shown = cluster.pymr("show", cluster.job).out
    command = re.search(r"pymr (logs beta/0 --run \S+ --from \d+)\n", shown)

    assert run.exit_status == 3
    assert "2000\r\nthe reason\r\n" in said
    assert said.endswith("ended with exit status 3\r\n")
    assert end_event(cluster, run).place == run.failed_at
    assert command is not None, shown
    assert cluster.pymr(*command[1].split()).out == said[-4096:].replace("\r\n", "\n")


def test_lines_of_output_are_told_with_their_times(lend_cluster: Lend) -> None:
    cluster = lend_cluster(HeldRun.HOSTS)
    cluster.project(MAP_FAILING.format(fault="time.sleep(0.3)"), REDUCE_TOTAL)
    cluster.feed("alpha", "a.txt", "even", "odd", "later")
    cluster.submit()
    run_id = cluster.succeed().run_id
    piece = cluster.client.read_pane("alpha/0", run_id, 0)
    lines = cluster.pymr("logs", "alpha/0", "--run", run_id, "-t").out.splitlines()
    later = piece.data.index(b"looking at later")
    (when,) = [when for offset, when in piece.times if offset == later]

    assert when - piece.times[0][1] >= 0.25
    assert [re.sub(r"^\d\d:\d\d:\d\d\.\d{3} ", "", line) for line in lines] == [
        "looking at even",
        "looking at odd",
        "looking at later",
    ]
    assert lines[0][:12] < lines[2][:12] or lines[0][:2] == "23"
