"""What each type of transfer needs of a file_transfer job, and what it has no use for."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import PurePosixPath
from typing import Any

from pymr.errors import Problem

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

# Which of them is a folder of the cluster, and so lies inside every peer's data folder.
CLUSTER_FOLDER: dict[str, str] = {
    "upload": "output_dir",
    "upload_bulk": "output_dir",
    "download": "input_dir",
    "download_bulk": "input_dir",
    "delete": "output_dir",
}


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
    return problems


def _reason(transfer_type: str, name: str, value: str | None) -> str | None:
    needed = TRANSFER_FIELDS[transfer_type]
    if value is None:
        return f"is required for transfer_type {transfer_type}, and missing" if name in needed else None
    if name not in needed:
        return f"is not used by transfer_type {transfer_type}, which takes {' and '.join(needed)}"
    if name == CLUSTER_FOLDER.get(transfer_type) and not _is_inside(value):
        return "is a folder in every peer's data folder: it must be relative, and not the data folder itself"
    return None


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path)
    return bool(parts.parts) and not parts.is_absolute()
