"""From a checked text to a job in the queue: what it changes, the question, and somebody else's change."""

from __future__ import annotations

from typing import Any

from pymr.base.errors import PymrError
from pymr.client import Client, RefusedError
from pymr.wire.requests import JobsView, Submitted
from pymr.wire.rows import JobRow
from tui.console.console import Console
from tui.model.job_text.diff import field_changes, what_happens
from tui.model.job_text.draft import Draft
from tui.model.job_text.problems import CheckedText
from tui.screens.dialogs.submit import ConflictDialog, SubmitDialog


async def submit(console: Console, checked: CheckedText, draft: Draft) -> Submitted | JobRow | None:
    """Ask and submit a job without errors. Runs in a worker of Textual, as it waits for dialogs.

    Returns the answer of the cluster; the row of the job in the queue, where that is to be edited instead; or
    None if nothing was submitted, as the user has seen.
    """
    fields = checked.fields
    assert fields is not None, "a text with errors cannot be submitted"
    name = str(fields["job_name"])
    queue = await _queue(console, name)
    if queue is None:
        return None
    standing = _standing(queue, name)
    version = standing.version if standing else 0
    is_same_job = draft.job_name == name and draft.version is not None
    if standing is not None and is_same_job and version != draft.version:
        return await _settle(console, fields, draft, standing)
    if not await console.push_screen_wait(_dialog(checked, draft, standing, queue)):
        return None
    return await _put(console, fields, draft, version)


def _dialog(checked: CheckedText, draft: Draft, standing: JobRow | None, queue: JobsView) -> SubmitDialog:
    fields = checked.fields or {}
    group = fields.get("group_name")
    group_failed = any(row.status == "failed" and row.fields.get("group_name") == group for row in queue.rows)
    edited_name = draft.job_name if _standing(queue, draft.job_name) else ""
    told = what_happens(
        fields, standing, is_paused=queue.paused, group_failed=group_failed, edited_name=edited_name
    )
    changes = field_changes(standing.fields, fields) if standing else None
    warnings = [problem for problem in checked.problems if problem.is_warning]
    return SubmitDialog(str(fields["job_name"]), told, changes, warnings)


async def _queue(console: Console, name: str) -> JobsView | None:
    """All of the queue as it is now, not as it was last shown."""
    try:
        return await console.ask(lambda client: client.jobs())
    except PymrError as error:
        console.notify(str(error), title=f"Cannot submit {name}", severity="error", markup=False)
        return None


async def _put(
    console: Console, fields: dict[str, Any], draft: Draft, over_version: int
) -> Submitted | JobRow | None:
    projects_dir = console.projects_dir

    def call(client: Client) -> Submitted | RefusedError:
        try:
            return client.submit(fields, projects_dir, over_version)
        except RefusedError as error:
            if error.code != "conflict":
                raise
            return error

    name = str(fields["job_name"])
    answer = await console.try_to(f"submit {name}", call)
    if not isinstance(answer, RefusedError):
        return answer
    # Somebody was quicker. Where their job has gone again, there is nothing to compare with.
    queue = await _queue(console, name)
    theirs = _standing(queue, name) if queue is not None else None
    if theirs is not None:
        return await _settle(console, fields, draft, theirs)
    if queue is not None:
        console.notify(str(answer), title=f"Cannot submit {name}", severity="warning", markup=False)
    return None


async def _settle(
    console: Console, fields: dict[str, Any], draft: Draft, theirs: JobRow
) -> Submitted | JobRow | None:
    """Let the user decide between the other job and the text."""
    edited_version = draft.version or 0
    changes = field_changes(theirs.fields, fields)
    answer = await console.push_screen_wait(ConflictDialog(theirs, edited_version, changes))
    if answer == "over":
        return await _put(console, fields, draft, theirs.version)
    return theirs if answer == "reload" else None


def _standing(queue: JobsView, name: str) -> JobRow | None:
    return next((row for row in queue.rows if row.fields["job_name"] == name), None)
