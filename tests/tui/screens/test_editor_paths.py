"""Paths in the text of a job: folders of this machine are offered where its peers would look for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from asked_console import AskedConsole, asked_console
from textual.pilot import Pilot
from waiting import until, until_shown

from pymr.config.cluster import load_config
from tui.widgets.job.editor import JobEditor


@asynccontextmanager
async def editing(folder: Path, text: str) -> AsyncIterator[tuple[AskedConsole, Pilot[None], JobEditor]]:
    """The editor of a console whose peer has its data in a folder. A `|` in the text is the cursor."""
    toml = folder / "cluster.toml"
    toml.write_text('[[peers]]\nname = "alpha"\nworkers = 1\ndata_dir = "data"\n')
    for name in ("corpus/2023", "corpus/2024", "logs", "state", ".hidden"):
        (folder / "data" / name).mkdir(parents=True)
    async with asked_console(size=(100, 30), projects_dir=str(folder / "projects")) as (app, pilot):
        app.config = load_config(str(toml))
        app.edit_job(None, "mapreduce")
        await until(pilot, lambda: app.current_mode == "editor" and app.screen.query(JobEditor), "the editor")
        editor = app.screen.query_one(JobEditor)
        await until(pilot, lambda: editor.area.has_focus, "the template")
        before, _, after = text.partition("|")
        editor.load(before + after)
        editor.area.move_cursor((before.count("\n"), len(before.rpartition("\n")[2])))
        yield app, pilot, editor


HEAD = 'job_type = "mapreduce"\n'


async def test_tab_inside_the_quotes_offers_the_folders_of_the_data_folder(tmp_path: Path) -> None:
    async with editing(tmp_path, HEAD + 'input_dirs = ["<FOL|DER>"]') as (_, pilot, editor):
        await pilot.press("tab")
        await until_shown(pilot, "corpus/")
        await until_shown(pilot, "logs/")
        await pilot.press("enter")

        assert editor.text == HEAD + 'input_dirs = ["corpus"]'


async def test_a_path_goes_on_into_the_folder_that_was_chosen(tmp_path: Path) -> None:
    async with editing(tmp_path, HEAD + 'input_dirs = ["cor|"]') as (_, pilot, editor):
        await pilot.press("ctrl+space")
        await until_shown(pilot, "corpus/")
        await pilot.press("enter", "slash", "tab")
        await until_shown(pilot, "corpus/2024/")
        await pilot.press("down", "enter")

        assert editor.text == HEAD + 'input_dirs = ["corpus/2024"]'


async def test_a_slash_into_an_open_list_shows_what_lies_in_there(tmp_path: Path) -> None:
    async with editing(tmp_path, HEAD + 'input_dirs = ["corpu|"]') as (_, pilot, editor):
        await pilot.press("tab")
        await until_shown(pilot, "corpus/")
        await pilot.press("s", "slash")
        await until_shown(pilot, "corpus/2023/")
        await pilot.press("enter")

        assert editor.text == HEAD + 'input_dirs = ["corpus/2023"]'


async def test_an_absolute_path_is_of_this_machine(tmp_path: Path) -> None:
    begun = f'input_dirs = ["{tmp_path}/data/lo|"]'
    async with editing(tmp_path, HEAD + begun) as (_, pilot, editor):
        await pilot.press("tab")
        await until_shown(pilot, "data/logs/")
        await pilot.press("tab")

        assert editor.text == HEAD + f'input_dirs = ["{tmp_path}/data/logs"]'
