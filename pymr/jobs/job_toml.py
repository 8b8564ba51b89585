"""Jobs as TOML text: templates with a comment for each field, jobs written out, edits that keep comments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pymr.base.errors import JobError, Problem
from pymr.config.toml_text import LINE_COLUMNS, field_lines, parse_toml, toml_value
from pymr.jobs.job_types import fields_of

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Item


def template_toml(job_type: str, columns: int = LINE_COLUMNS) -> str:
    """A commented TOML template with every field of a job type.

    Required fields have a placeholder such as "<JOB_NAME>", which parse_job refuses; fields that may be left
    out are commented out. columns: how wide comments may be. Raises JobError for a type that does not exist.
    """
    fields = fields_of(job_type)
    values = {field.name: field.example if field.required else field.default for field in fields}
    return job_toml({**values, "job_type": job_type}, columns)


def job_toml(values: Mapping[str, Any], columns: int = LINE_COLUMNS) -> str:
    """The fields of a job, by name, as TOML with the comments of the template."""
    job_type = values["job_type"]
    lines = field_lines(fields_of(job_type), values, columns)
    return "\n".join([f"# A {job_type} job of pymr.", *lines, ""])


def edit_job_text(text: str, changes: Mapping[str, Any]) -> str:
    """The TOML `text` of a job with some fields changed; its comments, order and spacing stay.

    changes: by field name, values as parse_job takes them. A field that the text has commented out appears in
    that place. None comments a field out, so that its default counts.
    The values are not judged: that is parse_job's part. Raises JobError when the text is not TOML.
    """
    import tomlkit  # here, since only editors need it and it takes long to load

    parse_toml(text, "job", JobError)
    document = tomlkit.parse(text)
    for name, value in changes.items():
        if value is None:
            document = _comment_out(document, name)
        elif name in document:
            document[name] = _item(name, value)
        else:
            document = _add(document, name, _item(name, value))
    return tomlkit.dumps(document)


def _item(name: str, value: object) -> Item:
    import tomlkit

    try:
        return tomlkit.value(toml_value(value))
    except TypeError as error:
        raise JobError("job", (Problem(name, value, str(error)),)) from error


def _comment_out(document: TOMLDocument, name: str) -> TOMLDocument:
    """The document with a comment in the place of the field `name`: what it was, on one line."""
    import tomlkit

    edited = tomlkit.document()
    for key, item in document.body:
        if key is None or key.key != name:
            edited.append(key, item)
            continue
        try:
            was = toml_value(item.unwrap())
        except TypeError:  # a date or a table: no field takes one, so it is only in the way
            continue
        edited.add(tomlkit.comment(f"{name} = {was} {item.trivia.comment}".rstrip()))
    return edited


def _add(document: TOMLDocument, name: str, value: Item) -> TOMLDocument:
    """The document with the field `name` where it stood commented out; else after all other fields."""
    import tomlkit

    edited = tomlkit.document()
    for key, item in document.body:
        commented_out = None if key or name in edited else _commented_out_field(item, name)
        if commented_out is None:
            edited.append(key, item)
            continue
        commented_out[name] = value
        for written_key, written in commented_out.body:
            edited.append(written_key, written)
    if name not in edited:
        edited.add(name, value)
    return edited


def _commented_out_field(item: Item, name: str) -> TOMLDocument | None:
    """The field `name` and its value when a comment holds them; None for prose, whatever it begins with."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    comment = item.as_string().lstrip("# \t")
    if not comment.startswith(name):
        return None
    try:
        field = tomlkit.parse(comment)
    except TOMLKitError:
        return None
    return field if set(field) == {name} else None
