"""Which project a job needs: the folder that is packed at its submission, and unpacked where it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def project_of(fields: Mapping[str, Any]) -> str:
    """The name of the project; "" where the job needs none. fields: of a job that was checked."""
    if fields.get("job_type") == "script":
        return script_parts(str(fields.get("script_location", "")))[0]
    return str(fields.get("project_name") or "")


def script_parts(script_location: str) -> tuple[str, str]:
    """The project of a script, and its path in there. ("", the path) of one that is not in a project."""
    if script_location.startswith("/"):
        return "", script_location
    project, _, path = script_location.partition("/")
    return project, path
