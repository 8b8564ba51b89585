"""Conflicts: another job stands in the queue than whoever changes it has seen there."""

from __future__ import annotations

from collections.abc import Sequence

from pymr.base.errors import FatalError
from pymr.peer.store.encoding import submitter


class StoreConflict(FatalError):  # noqa: N818  # a state of the queue
    """Another job stands in the queue than was expected, or one where there was to be none; nothing was
    changed."""


def check_standing(name: str, over_version: int | None, standing: Sequence[bytes]) -> None:
    """Raise StoreConflict if a script tells of a job that stands in the way.

    over_version: as in `conflict_problem`. standing: () if there is no conflict; else the version of the job
    that stands there, b"0" for none, and its definition.
    """
    if standing:
        version, definition = standing
        raise StoreConflict(conflict_problem(name, over_version, int(version), submitter(definition)))


def conflict_problem(name: str, over_version: int | None, version: int, submitted_by: str) -> str:
    """What is wrong, and the way out.

    over_version: of the job that was expected there, 0 for none; None where a deleted one was to be put back.
    version, submitted_by: of the one that stands there; 0 for none, "" where it is not known whose it is.
    """
    if not version:
        return (
            f"there is no job {name!r} in the queue any more, and version {over_version} of it was to be "
            "replaced; nothing was changed"
        )
    standing = f"version {version}" + (f", submitted by {submitted_by}" if submitted_by else "")
    look = f"nothing was changed; `pymr show {name}` shows it"
    if over_version is None:
        return f"a job {name!r} is in the queue again ({standing}), and a deleted one replaces none: {look}"
    if not over_version:
        return f"a job {name!r} is in the queue already ({standing}), and none was to be replaced: {look}"
    return (
        f"the job {name!r} in the queue is not the one that was to be replaced: that was version "
        f"{over_version}, this is {standing}; {look}"
    )
