"""Declared fields: a class says each field's type, kind, default and meaning; checks, templates, docs follow.

The classes are the job types (`jobs.job_types`) and the sections of a cluster.toml (`config`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

import msgspec

from pymr.base.errors import Problem
from pymr.config.kinds import Kind, SecretError


@dataclass(frozen=True, slots=True)
class Declared:
    """What a field's type and default do not say; part of the `Annotated[...]` of its declaration.

    kind: the values it takes, and how they are checked.
    doc: one or two lines for the user who fills it in.
    example: what a template shows if there is no default.
    section: the heading that begins at this field; the fields that follow belong under it too.
    """

    kind: Kind
    doc: str
    example: object = None
    section: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One declared field, complete. A `required` one has None for its default."""

    name: str
    kind: Kind
    doc: str
    section: str
    example: object
    default: Any
    required: bool

    @property
    def placeholder(self) -> str:
        """The placeholder in a template that the user replaces, such as "<JOB_NAME>"; "" for none."""
        example = self.example[0] if isinstance(self.example, tuple) else self.example
        is_one = self.required and isinstance(example, str) and example.startswith("<")
        return str(example) if is_one else ""


@cache
def declared_fields(declaring: type[msgspec.Struct]) -> tuple[Field, ...]:
    """The declared fields of a class, in the order of their declaration, those of its base first.

    Attributes annotated without a `Declared` are omitted.
    """
    annotations = get_type_hints(declaring, include_extras=True)
    # As msgspec.structs.fields(), which evaluates all annotations once more, for 5 ms of each start.
    names, defaults = declaring.__struct_fields__, declaring.__struct_defaults__
    required = (msgspec.NODEFAULT,) * (len(names) - len(defaults))
    fields: list[Field] = []
    section = ""
    for name, default in zip(names, (*required, *defaults), strict=True):
        declared = _declared_in(annotations[name])
        if declared is None:
            continue
        section = declared.section or section
        is_required = default is msgspec.NODEFAULT
        field = Field(
            name=name,
            kind=declared.kind,
            doc=declared.doc,
            section=section,
            example=declared.example,
            default=None if is_required else default,
            required=is_required,
        )
        fields.append(field)
    return tuple(fields)


def _declared_in(annotation: object) -> Declared | None:
    extras = getattr(annotation, "__metadata__", ())
    return next((extra for extra in extras if isinstance(extra, Declared)), None)


def check_fields(
    fields: Iterable[Field], given: Mapping[str, object], *, prefix: str = ""
) -> tuple[dict[str, Any], list[Problem]]:
    """The values of `fields` by name, as `given` has them, and everything that is wrong with those.

    A field that is absent or None gets its default. prefix: put before the names in problems.
    Names in `given` that are not in `fields` are left to the caller.
    """
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for field in fields:
        value = given.get(field.name)
        if value is None:
            values[field.name] = field.default
            if field.required:
                problems.append(Problem(prefix + field.name, None, "is required and missing"))
            continue
        try:
            _refuse_placeholder(field, value)
            values[field.name] = field.kind.check(value)
        except ValueError as error:
            shown = "(not shown)" if isinstance(error, SecretError) else value
            problems.append(Problem(prefix + field.name, shown, str(error)))
    return values, problems


def _refuse_placeholder(field: Field, value: object) -> None:
    """The placeholder of the template, alone or in a list, also with something beside it or blanks in it: no
    value that anybody means."""
    texts = value if isinstance(value, list | tuple) else (value,)
    if field.placeholder and any(
        field.placeholder in "".join(text.split()) for text in texts if isinstance(text, str)
    ):
        raise ValueError("is still the placeholder of the template: replace it")


def shown_name(name: object) -> str:
    """A field's name as an error message can show it: in quotes where it would break the line."""
    return name if isinstance(name, str) and name and name.isprintable() else repr(name)
