"""`python -m tests.tui.screenshots`: the pictures of the console for docs, of a real cluster at work.

The cluster is a harbour's: three peers of two workers each, whose jobs read its logs and reckon its fees.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "tui")]

from cluster.clusters import Cluster  # noqa: E402  (of the tests, which are no package)
from svg_screen import screen_svg  # noqa: E402
from textual.pilot import Pilot  # noqa: E402
from textual.widgets import TextArea  # noqa: E402
from waiting import until, until_shown  # noqa: E402

from pymr.config.cluster import load_config  # noqa: E402
from tui.app import ConsoleApp  # noqa: E402
from tui.model import feed  # noqa: E402
from tui.settings.options import Options  # noqa: E402

FOLDER = ROOT / "docs" / "screenshots"
SIZE = (120, 36)
BYTES_MAX = 120_000
SHOWN_FOLDER = "/srv/harbour/pymr"
"""What stands in the pictures for the folder of the cluster. That has to be as long."""

DEADLINE_S = 90.0
SETTLE_S = 1.2
HOSTS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
PEERS_SECONDS = 0.5
"""Between two figures of the machines, so that there are enough of them for a curve."""

PEERS_SAMPLES = 80

LOGS_MAP = """
    import time
    import pymr


    def log_words(line, auxiliary_data):
        clock, ship, *words = line.split()
        pymr.count("log lines")
        if "fog" in words:
            pymr.count("reports of fog")
            print(f"\\x1b[33m{clock}  {ship:<10} waits for the fog to lift\\x1b[0m")
            time.sleep(0.25)
        else:
            print(f"{clock}  {ship:<10} {len(words):>2} words")
        time.sleep(0.05)
        if ship == "unnamed":
            breakpoint()
        return [(word, ship) for word in words]
"""
LOGS_REDUCE = """
    def ships_by_word(group, auxiliary_data):
        return [(group.key, sorted(set(group.values)))]


    def total(group, auxiliary_data):
        return [(group.key, len(group.values))]
"""
FEES_MAP = """
    def berth_fees(line, auxiliary_data):
        ship, currency, amount = line.split()
        return [(ship, (currency, float(amount)))]
"""
FEES_REDUCE = """
    RATES = {"EUR": 1.0, "GBP": 1.17, "NOK": 0.086}


    def fees_in_euros(group, auxiliary_data):
        total = 0.0
        for currency, amount in group.values:
            total += amount * RATES[currency]
        return [(group.key, round(total, 2))]
"""
SHIPS = ("Albatros", "Bellona", "Cassiopeia", "Dagny", "Eendracht", "Freya", "Galatea", "Halcyon")
_MANIFEST = """
    container berth crane pilot tug anchor tide grain timber copper salt steel manifest customs harbour quay
    starboard draught ballast mooring cargo crate barrel engine fuel crew captain arrival departure
"""
WORDS = _MANIFEST.split()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the pictures go")
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="pymr", dir="/tmp"))
    assert len(str(place)) == len(SHOWN_FOLDER), place
    feed.PEERS_SECONDS = PEERS_SECONDS
    cluster = harbour(place)
    try:
        prepare(cluster)
        os.environ["PYMR_TUI_CONFIG"] = str(place / "console.toml")
        os.chdir(place)
        asyncio.run(Pictures(cluster, folder).take())
    finally:
        for row in cluster.client.jobs().rows:
            cluster.client.delete(str(row.fields["job_name"]))
        problems = cluster.end()
        shutil.rmtree(place)
    if problems:
        sys.exit("\n".join(problems))


# ---- the cluster and its jobs


def harbour(place: Path) -> Cluster:
    cluster = Cluster(place, hosts=HOSTS, workers=2, settings={"engine": {"split_bytes": 20_000}})
    cluster.path.write_text(cluster.path.read_text().replace('name = "t"', 'name = "harbour"'))
    cluster.config = load_config(str(cluster.path))
    cluster.project(LOGS_MAP, LOGS_REDUCE, "logs")
    cluster.project(FEES_MAP, FEES_REDUCE, "fees")
    return cluster.start()


def prepare(cluster: Cluster) -> None:
    """Jobs that have run, one that has failed, one that runs, and some that wait for their turn."""
    chance = random.Random(7)
    nightly = {
        "job_name": "nightly_words", "job_priority": 9, "project_name": "logs", "input_dirs": ["logs"],
        "map_function_name": "log_words", "reduce_function_name": "ships_by_word", "partitions": 24,
        "run_once": False, "job_submitter": "ann@desk",
    }  # fmt: skip
    for lines in (60, 40, 90):
        write_logs(cluster, chance, files=1, lines=lines)
        cluster.submit(**nightly)
        cluster.succeed("nightly_words")
    for peer in cluster.names:
        fees = [f"{chance.choice(SHIPS)} {chance.choice(('EUR', 'NOK'))} {chance.randint(90, 900)}"]
        write(cluster, peer, "fees/november.txt", [*fees * 20, "Halcyon CHF 412"])
    fees_job = {
        "job_priority": 6, "project_name": "fees", "input_dirs": ["fees"], "map_function_name": "berth_fees",
        "reduce_function_name": "fees_in_euros", "group_name": "billing", "max_attempts": 1,
        "run_once": False, "job_submitter": "billing@desk",
    }  # fmt: skip
    cluster.submit(**{**nightly, "job_name": "top_words", "job_priority": 3})
    cluster.succeed("top_words")
    cluster.client.pause()
    cluster.submit(job_name="berth_fees", **fees_job)
    cluster.submit(job_name="monthly_invoices", **{**fees_job, "job_priority": 5})
    cluster.client.resume()
    cluster.finish("berth_fees")
    write_logs(cluster, chance, files=8, lines=300)
    cluster.submit(**nightly)
    logs = {**nightly, "run_once": True, "reduce_function_name": "total"}
    cluster.submit(**{**logs, "job_name": "access_log", "job_priority": 8})
    cluster.submit(**{**logs, "job_name": "tide_tables", "job_priority": 4, "job_submitter": "ben@quay"})
    cluster.submit(**{**logs, "job_name": "yearly_words", "job_priority": 1})


def write_logs(cluster: Cluster, chance: random.Random, files: int, lines: int) -> None:
    """Logs for each peer: in one of them fog, in another a ship that nobody knows."""
    for peer in cluster.names:
        for number in range(files):
            told = []
            for line in range(lines):
                clock = f"{line * 24 // lines:02d}:{chance.randrange(60):02d}"
                words = chance.choices(WORDS, weights=range(len(WORDS), 0, -1), k=chance.randint(3, 9))
                is_foggy = line % (4 if files > 1 and peer == "beta" and number == 0 else 40) == 3
                is_unnamed = files > 1 and peer == "gamma" and number == 0 and line == lines // 8
                ship = "unnamed" if is_unnamed else chance.choice(SHIPS)
                told.append(" ".join([clock, ship, *words, *["fog"] * is_foggy]))
            write(cluster, peer, f"logs/quay-{number + 1}.log", told)


def write(cluster: Cluster, peer: str, name: str, lines: list[str]) -> None:
    path = cluster.data(peer) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


# ---- the pictures


class Pictures:
    """Takes one after the other with one console, while the nightly job is in its map phase."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._cluster = cluster
        self._folder = folder
        self._console = ConsoleApp(Options(projects_dir="projects"), load_config(str(cluster.path)))

    async def take(self) -> None:
        console = self._console
        async with console.run_test(size=SIZE) as pilot:
            await until_shown(pilot, "live")
            console.open_job("nightly_words")
            await until(pilot, self._is_midway, "the job to be midway", DEADLINE_S)
            await until_shown(pilot, "slow")
            self._save(pilot, "jobs")
            console.action_theme()
            await self._settle(pilot)
            self._save(pilot, "jobs-light")
            console.action_theme()
            await self._attach(pilot)
            await self._workers(pilot)
            await self._editor(pilot)
            await self._peers(pilot)
            await self._events(pilot)

    async def _workers(self, pilot: Pilot[None]) -> None:
        await pilot.press("2")
        await until_shown(pilot, "at a breakpoint")
        await until_shown(pilot, "words")
        await self._settle(pilot)
        self._save(pilot, "workers")

    async def _attach(self, pilot: Pilot[None]) -> None:
        worker = self._breakpoint()
        await pilot.press("3")
        await until(pilot, lambda: self._console.current_mode == "attach", "the attach screen")
        await pilot.press("w")  # at a breakpoint it does nothing
        self._console.open_pane(worker)
        await until_shown(pilot, "(Pdb)")
        await pilot.press("i")
        await until(pilot, self._is_held, "the keyboard to be held")
        for text, answer in (
            ("line", "unnamed "),
            ("words", "', '"),
            ("ship", "'unnamed'"),
            ("len(words)", "\n5\n"),
        ):
            await pilot.press(*text, "enter")
            await until_shown(pilot, answer)
        await self._settle(pilot)
        self._save(pilot, "attach")
        await pilot.press("ctrl+right_square_bracket", "escape")  # no digit does anything at a breakpoint

    async def _peers(self, pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await until(pilot, self._has_samples, "figures of the machines", DEADLINE_S)
        self._save(pilot, "peers")

    async def _editor(self, pilot: Pilot[None]) -> None:
        row = next(row for row in self._cluster.client.jobs().rows if row.fields["job_name"] == "access_log")
        self._console.edit_job(row)
        await until_shown(pilot, "access_log")
        text = self._console.screen.query_one(TextArea)
        line = next(row for row, one in enumerate(text.text.split("\n")) if one.startswith("map_function"))
        text.move_cursor((line, 0), center=True)
        await pilot.press("end", "left", "backspace")
        await until_shown(pilot, "did you mean")
        await self._settle(pilot)
        self._save(pilot, "editor")
        await pilot.press("escape")

    async def _events(self, pilot: Pilot[None]) -> None:
        await pilot.press("6")
        await until_shown(pilot, "run started")
        await self._settle(pilot)
        self._save(pilot, "events")

    def _breakpoint(self) -> str:
        rows = self._cluster.client.workers()
        return next((row.name for row in rows if row.state == "breakpoint"), "")

    def _is_held(self) -> bool:
        return any(row.holder for row in self._cluster.client.workers())

    def _is_midway(self) -> bool:
        """A worker stands at a breakpoint, and a task is slow."""
        tasks = self._cluster.client.job("nightly_words").tasks
        return bool(self._breakpoint()) and any(task.is_slow for task in tasks)

    def _has_samples(self) -> bool:
        return len(self._console.state.machines.get("alpha", ())) >= PEERS_SAMPLES

    async def _settle(self, pilot: Pilot[None]) -> None:
        """Give what was asked for the time to come."""
        ends = time.monotonic() + SETTLE_S
        await until(pilot, lambda: time.monotonic() > ends, "a second")

    def _save(self, pilot: Pilot[None], name: str) -> None:
        svg = screen_svg(pilot.app, name).replace(str(self._cluster.folder), SHOWN_FOLDER)
        machine = "/tmp", str(ROOT), str(Path.home()), f"@{socket.gethostname()}"
        told = [word for word in machine if word in svg]
        assert not told, f"{name}.svg tells of this machine: {told}"
        assert len(svg) < BYTES_MAX, f"{name}.svg has {len(svg):,} bytes"
        (self._folder / f"{name}.svg").write_text(svg, encoding="utf-8")
        print(f"{name}.svg: {len(svg) / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
