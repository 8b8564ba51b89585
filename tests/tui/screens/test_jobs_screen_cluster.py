"""The jobs screen over a real cluster: a job that is held while it runs, and what stays of it."""

from __future__ import annotations

from collections.abc import Callable

from cluster.clusters import Cluster
from cluster.gated import Gates
from textual.pilot import Pilot
from waiting import screen_text, until, until_shown

from tui.app import ConsoleApp

SIZE = (120, 35)


def selected(pilot: Pilot[None]) -> str:
    assert isinstance(pilot.app, ConsoleApp)
    row = pilot.app.shown_screen.selected_job()
    return "" if row is None else str(row.fields["job_name"])


async def test_a_running_job_shows_its_phases_and_its_run_stays_in_its_history(
    lend_cluster: Callable[..., Cluster], make_console: Callable[..., ConsoleApp]
) -> None:
    cluster = lend_cluster()
    gates = Gates(cluster.folder / "gates")
    cluster.project(gates.map_source, gates.reduce_source)
    cluster.feed("alpha", "a.txt", "one two", "HOLD two")
    app = make_console(cluster)
    async with app.run_test(size=SIZE) as pilot:
        with gates.closed("map"):
            cluster.submit(run_once=False)
            app.open_job(cluster.job)
            await until(pilot, lambda: selected(pilot) == cluster.job, "the job to be selected")
            await until_shown(pilot, "PHASES")
            running = screen_text(pilot)
        cluster.succeed()
        await until_shown(pilot, "RUNS")
        await until_shown(pilot, "3 items out")
        await pilot.press("slash", *"no such job")
        await until_shown(pilot, "0 of ")
        await pilot.press("escape")
        await until(pilot, lambda: selected(pilot) == cluster.job, "the job again")

    assert "map" in running and "reduce" in running
