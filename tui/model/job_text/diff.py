"""What a submission changes in a queued job, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pymr.config.declared_fields import Field
from pymr.config.kinds import FILLED_IN
from pymr.config.toml_text import toml_value
from pymr.jobs.job_types import JOB_CLASSES, fields_of
from pymr.wire.rows import JobRow


@dataclass(frozen=True, slots=True)
class FieldChange:
    """old, new: the values as TOML; "" of a field that is added or removed, which has none there."""

    name: str
    kind: Literal["added", "removed", "changed"]
    old: str = ""
    new: str = ""


def field_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[FieldChange, ...]:
    """The fields in which two jobs differ, in the order of their declarations.

    old, new: as they travel, without fields that have no value. What the system fills in does not count, and
    tuples are the same as lists.
    """
    declared = _declared(new) | _declared(old)
    names = [*declared, *sorted({*old, *new} - {*declared})]
    changes = []
    for name in names:
        field = declared.get(name)
        if field is not None and field.kind is FILLED_IN:
            continue
        before, after = _written(old.get(name)), _written(new.get(name))
        if before == after:
            continue
        kind: Literal["added", "removed", "changed"] = "changed"
        if not before or not after:
            kind = "removed" if before else "added"
        changes.append(FieldChange(name, kind, before, after))
    return tuple(changes)


def what_happens(
    fields: Mapping[str, Any],
    standing: JobRow | None,
    *,
    is_paused: bool,
    group_failed: bool = False,
    edited_name: str = "",
) -> tuple[str, ...]:
    """What submitting a job will do, a sentence each.

    standing: the job of that name in the queue. group_failed: whether its group has.
    edited_name: of the job in the queue that the text was made from; "" for none.
    """
    told = []
    group = fields.get("group_name")
    if standing is None:
        told.append("A new job: none of this name is in the queue.")
    else:
        told.append(f"Takes the place of version {standing.version}, which stays in the history.")
        if standing.status == "running":
            told.append("It is running: that run ends, and its output is not kept.")
    if edited_name and edited_name != fields.get("job_name"):
        told.append(f"{edited_name} stays in the queue as it is.")
    if group and group_failed:
        told.append(f"Group {group} has failed: all of it is queued again, from its first job on.")
    if is_paused:
        told.append("The queue is paused: it begins when the queue goes on.")
    return tuple(told)


def _declared(fields: Mapping[str, Any]) -> dict[str, Field]:
    job_type = fields.get("job_type")
    return {field.name: field for field in fields_of(str(job_type))} if job_type in JOB_CLASSES else {}


def _written(value: object) -> str:
    if value is None:
        return ""
    try:
        return toml_value(value)
    except TypeError:  # what a newer release may have put there
        return repr(value)
