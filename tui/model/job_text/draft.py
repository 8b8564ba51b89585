"""What the editor was opened with: a job of the queue, a template, or a file; and writing a file."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pymr.base.errors import DiskError, JobError, Problem, disk_error
from pymr.config.toml_text import decode_text
from pymr.jobs.job_toml import job_toml, template_toml
from pymr.jobs.job_types import JOB_CLASSES
from pymr.wire.rows import JobRow
from tui.model.printable import printable
from tui.model.regular_file import NotRegularError, read_regular

TEXT_BYTES_MAX = 1 << 20
_NAME_CHARACTERS_MAX = 40

COMMENT_COLUMNS = 70
"""As wide as a text is in a terminal of 80 columns, or beside the help in one of 120."""


@dataclass(frozen=True, slots=True)
class Draft:
    """text: as it was opened. title: what it is, for a person. job_name, version: of the job of the queue;
    "" and None where it is none. path: of the file; "" where it is none."""

    text: str
    title: str
    job_name: str = ""
    version: int | None = None
    path: str = ""


@dataclass(frozen=True, slots=True)
class DraftText:
    """text: the current text of the draft."""

    draft: Draft
    text: str

    @property
    def is_changed(self) -> bool:
        return self.text != self.draft.text


def draft_of_job(row: JobRow) -> Draft:
    """A job of the queue as text, without what the system fills in."""
    name = str(row.fields["job_name"])
    known = row.fields.get("job_type") in JOB_CLASSES
    text = (
        job_toml(row.fields, COMMENT_COLUMNS)
        if known
        else f"# {name} has a type that this release does not know.\n"
    )
    return Draft(text, name, name, row.version)


def draft_of_type(job_type: str) -> Draft:
    return Draft(template_toml(job_type, COMMENT_COLUMNS), f"new {job_type} job")


def draft_of_file(path: Path) -> Draft:
    """Raises JobError for a file that cannot be read, is not text, or is larger than TEXT_BYTES_MAX.

    May wait for a slow disk; for nothing else, as a pipe or a device is not text.
    """
    try:
        data = read_regular(path, TEXT_BYTES_MAX + 1)
    except NotRegularError as error:
        raise _unreadable(path, "is not a regular file, so it is not a job") from error
    except OSError as error:
        raise _unreadable(path, f"cannot be read: {error.strerror or error}") from error
    if len(data) > TEXT_BYTES_MAX:
        raise _unreadable(path, f"is larger than {TEXT_BYTES_MAX} bytes, so it is not a job")
    return Draft(decode_text(data, str(path), JobError), printable(path.name), path=str(path))


def _unreadable(path: Path, reason: str) -> JobError:
    return JobError(str(path), (Problem("file", str(path), reason),))


def write_text(path: Path, text: str) -> None:
    """Write a file whole, or leave what was there; through a link, the file that it leads to.

    Raises DiskError, also if the path is not a regular file, such as a folder or a device.
    """
    path = Path(os.path.realpath(path))
    if os.path.lexists(path) and not os.path.isfile(path):
        raise DiskError(f"writing {path} failed: it exists and is not a regular file", str(path))
    try:
        prefix = f".{path.name[:_NAME_CHARACTERS_MAX]}."  # so that it is a name when the path has one
        handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                file.write(text)
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
            os.chmod(name, mode)
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        raise disk_error("writing", str(path), error) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
