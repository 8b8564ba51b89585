"""What an operator does all day, key by key, on a real cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cluster.clusters import Cluster
from cluster.held_runs import HeldRun
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from tui.app import ConsoleApp

Lend = Callable[..., Cluster]
Make = Callable[..., ConsoleApp]

SIZE = (120, 35)
COUNTING = (
    """
    def words(line, auxiliary_data):
        return [(word, 1) for word in line.split()]
    """,
    """
    def total(group, auxiliary_data):
        return [(group.key, sum(group.values))]
    """,
)
FAILING = """
    def words(line, auxiliary_data):
        print("looking at", line)
        return [(line, 1 / int(line))]
    """
ASKING = """
    def words(line, auxiliary_data):
        answer = 6
        breakpoint()
        return [("answer", answer)]
    """


def app_of(pilot: Pilot[Any]) -> ConsoleApp:
    assert isinstance(pilot.app, ConsoleApp)
    return pilot.app


async def select(pilot: Pilot[Any], job_name: str) -> None:
    """Move the cursor of the Jobs screen to a job."""

    def is_selected() -> bool:
        row = app_of(pilot).shown_screen.selected_job()
        return row is not None and row.fields["job_name"] == job_name

    app_of(pilot).open_job(job_name)
    await until(pilot, is_selected, f"{job_name} to be selected")


def job_status(cluster: Cluster, job_name: str) -> str:
    view = cluster.job_view(job_name)
    return view.row.status if view and view.row else ""


async def test_a_failing_job_leads_to_its_traceback_with_two_keys(
    make_cluster: Callable[..., Cluster], make_console: Make
) -> None:
    cluster = make_cluster(peers=1)  # in whose history no other job has failed
    cluster.project(FAILING, COUNTING[1])
    cluster.feed("alpha", "a.txt", "1", "0")
    cluster.start()
    async with make_console(cluster).run_test(size=SIZE) as pilot:
        await until_shown(pilot, "live")
        cluster.submit(max_attempts=1, run_once=False)
        cluster.finish()
        await until_shown(pilot, "✗ failed")
        await pilot.press("n")  # the next failed job: its detail has the traceback
        await until_shown(pilot, "ZeroDivisionError")
        await pilot.press("a")  # the place in the worker's output
        await until(pilot, lambda: pilot.app.current_mode == "attach", "the worker's output")
        await until_shown(pilot, "looking at 0")
        await until_shown(pilot, "ZeroDivisionError: division by zero")
        text = screen_text(pilot)

    assert "Traceback" in text
    assert "alpha/0" in text


async def test_deleting_asks_and_can_be_undone(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    cluster.project(*COUNTING)
    cluster.client.pause()
    cluster.submit(run_once=False)
    async with make_console(cluster).run_test(size=SIZE) as pilot:
        await until_shown(pilot, cluster.job)
        await select(pilot, cluster.job)
        await pilot.press("d")
        await until_shown(pilot, f"Delete {cluster.job}")
        await pilot.press("n")
        await until(pilot, lambda: len(pilot.app.screen_stack) == 1, "the question to be gone")
        kept = job_status(cluster, cluster.job)
        await pilot.press("d")
        await until_shown(pilot, f"Delete {cluster.job}")
        await pilot.press("y")
        await until(pilot, lambda: not job_status(cluster, cluster.job), "the job to be deleted")
        await until(pilot, lambda: bool(app_of(pilot).deleted), "the console to know it")
        await pilot.press("u")
        await until(pilot, lambda: job_status(cluster, cluster.job) == "queued", "the job to be back")
        await until(pilot, lambda: not app_of(pilot).deleted, "the console to know that, too")

    assert kept == "queued"


async def test_the_queue_is_paused_and_goes_on(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    async with make_console(cluster).run_test(size=SIZE) as pilot:
        await until_shown(pilot, "live")
        await pilot.press("p", "y")
        await until(pilot, lambda: cluster.client.jobs().paused, "the queue to be paused")
        await until_shown(pilot, "queue paused")
        await pilot.press("p")
        await until(pilot, lambda: not cluster.client.jobs().paused, "the queue to go on")
        await until(pilot, lambda: "queue paused" not in screen_text(pilot), "the bar to say so")


async def test_a_job_that_failed_is_retried_and_one_that_has_run_is_forced(
    lend_cluster: Lend, make_console: Make
) -> None:
    cluster = lend_cluster()
    cluster.project(FAILING, COUNTING[1])
    path = cluster.feed("alpha", "a.txt", "0")
    cluster.submit(max_attempts=1, run_once=False)
    cluster.finish()
    path.write_text("1\n")
    async with make_console(cluster).run_test(size=SIZE) as pilot:
        await until_shown(pilot, "✗ failed")
        await select(pilot, cluster.job)
        await pilot.press("r")
        await until(pilot, lambda: job_status(cluster, cluster.job) == "succeeded", "the retry to succeed")
        first = cluster.client.history(cluster.job)[0].run_id
        await pilot.press("f")
        await until(pilot, lambda: cluster.client.history(cluster.job)[0].run_id != first, "another run")


async def test_a_breakpoint_is_answered_in_the_worker_it_stopped(
    lend_cluster: Lend, make_console: Make
) -> None:
    cluster = lend_cluster()
    cluster.project(ASKING, COUNTING[1])
    cluster.feed("alpha", "a.txt", "one")
    async with make_console(cluster).run_test(size=SIZE) as pilot:
        await until_shown(pilot, "live")
        cluster.submit(run_once=False)
        await until(
            pilot,
            lambda: any(row.state == "breakpoint" for row in cluster.client.workers()),
            "the function to stop",
        )
        worker = next(row.name for row in cluster.client.workers() if row.state == "breakpoint")
        await select(pilot, cluster.job)
        await until(
            pilot, lambda: cluster.job in app_of(pilot).state.job_views, "the job's tasks to be known"
        )
        await pilot.press("a")
        await until(pilot, lambda: pilot.app.current_mode == "attach", "the worker's output")
        await until_shown(pilot, "(Pdb)")
        await until(pilot, lambda: "breakpoint" in screen_text(pilot), "the stop to be told of")
        await pilot.press("i")
        await until(
            pilot,
            lambda: any(row.holder for row in cluster.client.workers() if row.name == worker),
            "the keyboard to be held",
        )
        await pilot.press(*"answer = 42", "enter")
        await pilot.press(*"continue", "enter")
        cluster.succeed()

    assert cluster.output() == [["answer", 42]]


async def test_a_run_is_watched_while_its_leader_is_killed(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    held = HeldRun(cluster)
    held.reach("map")
    killed = cluster.leader()
    async with make_console(cluster).run_test(size=SIZE) as pilot:
        await until_shown(pilot, f"leader {killed}")
        await select(pilot, cluster.job)
        cluster.kill(killed)
        await until(
            pilot,
            lambda: app_of(pilot).state.cluster.leader not in ("", killed),  # type: ignore[union-attr]
            "another leader",
            30.0,
        )
        row = app_of(pilot).shown_screen.selected_job()
        cluster.restart(killed)
        held.let_go()
        await until(
            pilot,
            lambda: any(run.job_name == cluster.job for run in app_of(pilot).state.runs),
            "the end",
            60.0,
        )
        await until_shown(pilot, "succeeded")

    assert row is not None
    assert row.fields["job_name"] == cluster.job
    cluster.restart_dead()


def rows_shown(pilot: Pilot[None]) -> list[str]:
    """What the lines of the table begin with."""
    return [line[:20] for line in screen_text(pilot).split("\n")[2:20]]


async def test_all_peers_are_stopped_and_started_and_the_console_stays_where_it_was(
    make_cluster: Callable[..., Cluster], make_console: Make
) -> None:
    cluster = make_cluster(peers=2)
    cluster.project(*COUNTING)
    cluster.start()
    cluster.client.pause()
    for number in range(60):
        cluster.submit(job_name=f"job-{number:02d}")
    async with make_console(cluster).run_test(size=SIZE) as pilot:
        await until_shown(pilot, "job-00")
        await select(pilot, "job-40")
        before = rows_shown(pilot)
        for name in cluster.names:
            cluster.kill(name)
        await until_shown(pilot, "Lost the cluster")
        lost = screen_text(pilot)
        for name in cluster.names:
            cluster.restart(name)
        await until(pilot, lambda: "Lost the cluster" not in screen_text(pilot), "the cluster", 30.0)
        await until_shown(pilot, "live")
        await until(pilot, lambda: rows_shown(pilot) == before, "every row to be where it was", 30.0)
        row = app_of(pilot).shown_screen.selected_job()

    assert "job-40" in lost
    assert row is not None
    assert row.fields["job_name"] == "job-40"


async def test_a_read_only_console_changes_nothing_and_says_why(
    lend_cluster: Lend, make_console: Make
) -> None:
    cluster = lend_cluster()
    cluster.project(*COUNTING)
    cluster.client.pause()
    cluster.submit(run_once=False)
    async with make_console(cluster, is_read_only=True).run_test(size=SIZE) as pilot:
        await until_shown(pilot, "read only")
        await select(pilot, cluster.job)
        for key in "dsrfpu":
            await pilot.press(key)
        told = await app_of(pilot).try_to("delete it", lambda client: client.delete(cluster.job))
        text = screen_text(pilot)

    assert told is None
    assert "delete" not in text.split("\n")[-1]
    assert job_status(cluster, cluster.job) == "queued"
    assert cluster.client.jobs().paused


async def test_a_viewer_key_makes_the_console_read_only_by_itself(
    make_cluster: Callable[..., Cluster], make_console: Make
) -> None:
    from pymr.wire.keys import read_authorized, write_authorized, write_key
    from pymr.wire.sockets import make_keypair

    cluster = make_cluster(peers=1, keys=True)
    folder = cluster.folder / "keys"
    entries = {name: (role, key) for key, (role, name) in read_authorized(folder / "authorized.toml").items()}
    public, secret = make_keypair()
    write_key(folder, "watcher", public, secret)
    write_authorized(folder, entries | {"watcher": ("viewer", public)})
    cluster.project(*COUNTING)
    cluster.start()
    async with make_console(cluster, key_name="watcher").run_test(size=SIZE) as pilot:
        await until_shown(pilot, "read only")
        await until(pilot, lambda: "pause" not in screen_text(pilot).split("\n")[-1], "the keys to be gone")


async def test_each_number_shows_its_screen(lend_cluster: Lend, make_console: Make) -> None:
    cluster = lend_cluster()
    seen = []
    async with make_console(cluster).run_test(size=(80, 24)) as pilot:
        await until_shown(pilot, "live")
        for number, mode in enumerate(("workers", "attach", "peers", "events", "jobs"), start=2):
            key = {"events": "6", "jobs": "1"}.get(mode, str(number))
            await pilot.press(key)
            await until(pilot, lambda mode=mode: pilot.app.current_mode == mode, mode)  # type: ignore[misc]
            seen.append(mode)
        await pilot.press("5")
        await until(pilot, lambda: pilot.app.current_mode == "editor", "the editor")

    assert seen == ["workers", "attach", "peers", "events", "jobs"]
