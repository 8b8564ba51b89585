"""What each type of transfer needs of a file_transfer job, what it has no use for, and where it may lead.

The words of a path are judged here, when a job is submitted; what they lead to on a disk, when it runs.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from pathlib import PurePosixPath
from typing import Any

from pymr.base.errors import Problem

# The fields that each type of transfer needs; of all the fields named here, it takes no others.
TRANSFER_FIELDS: dict[str, tuple[str, ...]] = {
    "upload": ("input_dir", "output_dir"),
    "upload_bulk": ("input_dir", "output_dir"),
    "download": ("input_dir", "output_dir"),
    "download_bulk": ("input_dir", "output_dir"),
    "upload_auxiliary": ("input_file_name", "auxiliary_data_name"),
    "delete": ("output_dir",),
}
_ALL_FIELDS = tuple(dict.fromkeys(name for names in TRANSFER_FIELDS.values() for name in names))
_PATH_FIELDS = ("input_dir", "output_dir", "input_file_name")

# Which of them is a folder of the cluster, and so lies inside every peer's data folder.
CLUSTER_FOLDER: dict[str, str] = {
    "upload": "output_dir",
    "upload_bulk": "output_dir",
    "download": "input_dir",
    "download_bulk": "input_dir",
    "delete": "output_dir",
}

OWN_FOLDERS = ("state", "runs", "panes", "projects", "bad-records", "uploads", "jobs", "auxiliary")
"""At the top of a data folder, what pymr keeps there itself."""

STAGED = re.compile(r"uploads/[A-Za-z0-9][A-Za-z0-9_-]{7,63}")
"""A folder that holds a console's files temporarily and may be named in place of a local one."""

_OUTPUT = re.compile(r"jobs/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}/reduce")
_JOB = re.compile(r"jobs/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(?:/reduce)?")
_AUXILIARY = re.compile(r"auxiliary(?:/.*)?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_OUTPUTS_HINT = "; what a job has put out is in jobs/NAME/reduce"


def transfer_problems(values: Mapping[str, Any], *, refused: Container[str]) -> list[Problem]:
    """The fields of a file_transfer job that its transfer_type lacks, does not use, or cannot work with.

    refused: fields that have a problem already; they are not judged again.
    """
    transfer_type = values.get("transfer_type")
    if transfer_type not in TRANSFER_FIELDS:
        return []
    problems = []
    for name in _ALL_FIELDS:
        reason = None if name in refused else _reason(transfer_type, name, values.get(name))
        if reason:
            problems.append(Problem(name, values.get(name), reason))
    if not problems and not any(name in refused for name in _PATH_FIELDS):
        problems += _overlaps(values)
    return problems


def _overlaps(values: Mapping[str, Any]) -> list[Problem]:
    """The problem of a transfer between a folder of a data folder and itself, or one that lies in the other:
    a file would be moved onto itself, and deleted as the one that was moved."""
    source, target = values.get("input_dir"), values.get("output_dir")
    if source is None or target is None:
        return []
    one, other = PurePosixPath(source), PurePosixPath(target)
    if (
        one.is_absolute()
        or other.is_absolute()
        or not (one.is_relative_to(other) or other.is_relative_to(one))
    ):
        return []
    reason = f"lies in input_dir, {source!r}, or that in it, in the data folder of local_peer: name another"
    return [Problem("output_dir", target, reason)]


def _reason(transfer_type: str, name: str, value: str | None) -> str | None:
    needed = TRANSFER_FIELDS[transfer_type]
    if value is None:
        return f"is required for transfer_type {transfer_type}, and missing" if name in needed else None
    if name not in needed:
        return f"is not used by transfer_type {transfer_type}, which takes {' and '.join(needed)}"
    if name not in _PATH_FIELDS:
        return None
    if name == CLUSTER_FOLDER.get(transfer_type):
        return _reason_of_words(value) or _reason_on_cluster(transfer_type, value)
    return _reason_of_words(value) or _reason_on_local_peer(transfer_type, value)


def _reason_of_words(path: str) -> str | None:
    if _CONTROL.search(path):
        return "must not contain line ends, NUL or other control characters"
    if ".." in PurePosixPath(path).parts:
        return "must not contain `..`: write where it leads to"
    return None


def _reason_on_cluster(transfer_type: str, path: str) -> str | None:
    parts = PurePosixPath(path)
    if not parts.parts or parts.is_absolute():
        return "is a folder in every peer's data folder: it must be relative, and not the data folder itself"
    allowed = {"download": (_OUTPUT, _AUXILIARY), "delete": (_JOB, _AUXILIARY)}
    return _reason_of_own(str(parts), allowed.get(transfer_type.removesuffix("_bulk"), ()))


def _reason_on_local_peer(transfer_type: str, path: str) -> str | None:
    parts = PurePosixPath(path)
    if parts.is_absolute():
        return None
    if not parts.parts:
        return "must not be the data folder itself: name a folder in it, or one by its absolute path"
    reads = transfer_type.startswith("upload")
    return _reason_of_own(str(parts), (_OUTPUT, _AUXILIARY, STAGED) if reads else (STAGED,))


def _reason_of_own(path: str, allowed: tuple[re.Pattern[str], ...]) -> str | None:
    """Why a path below a data folder cannot be used; allowed: which of those that are pymr's own can."""
    top = path.partition("/")[0]
    if top.startswith("."):
        return "must not be hidden: what begins with a dot is passed over when jobs read it"
    if top not in OWN_FOLDERS or any(pattern.fullmatch(path) for pattern in allowed):
        return None
    if top == "auxiliary":
        return "auxiliary is the same on every peer: write it by transfer_type upload_auxiliary"
    hint = _OUTPUTS_HINT if top == "jobs" and _OUTPUT in allowed else ""
    return f"{top} is a folder that pymr keeps itself, which no transfer of this type touches{hint}"
