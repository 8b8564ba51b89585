"""Paths: where everything lies below a peer's data folder, and what a name in a job may lead to.

Names that come from elsewhere (of runs, jobs, attempts) are checked before they become part of a path.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pymr.base.errors import FatalError, InputError
from pymr.config.cluster import ClusterConfig
from pymr.wire.outcomes import DRIVER, AttemptId
from pymr.wire.protocol import STEPS

HIDDEN_PREFIX = "."
"""Begins the names of what is not finished; a daemon that starts clears it away."""

NOTES_SUFFIX = ".contents"
"""Ends the names of the notes beside the lists of what was consumed."""

FETCHED = "fetched"
"""The folder of a run in which copies of other hosts' segments are."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}")
_ATTEMPT_FOLDER = re.compile(rf"((?:map|reduce|{DRIVER}|{'|'.join(STEPS)})-[0-9]{{5,}})-([0-9]+\.[0-9]+)")


@dataclass(frozen=True, slots=True)
class PeerPaths:
    """The paths below the data folder of one peer. Raises FatalError for a name that would lead elsewhere."""

    data_dir: str

    @property
    def state(self) -> str:
        return self._at("state")

    @property
    def epoch(self) -> str:
        return self._at("state", "epoch")

    @property
    def boot(self) -> str:
        return self._at("state", "boot")

    @property
    def job_table(self) -> str:
        return self._at("state", "jobs")

    @property
    def state_reserve(self) -> str:
        """Space that is kept for the state on a disk that is full."""
        return self._at("state", "reserve")

    @property
    def lock(self) -> str:
        return self._at("state", "lock")

    def consumed_of(self, job_name: str) -> str:
        """The folder of the lists of what a job with `hold_state` has consumed."""
        return self._at("state", "consumed", plain(job_name))

    def consumed(self, job_name: str, run_id: str, *, shared: bool = False) -> str:
        """The list that counts if this run is the last that succeeded."""
        return os.path.join(self.consumed_of(job_name), plain(run_id) + ("-shared" if shared else ""))

    def content_notes(self, job_name: str, run_id: str) -> str:
        """What the map tasks of a run on this peer have found in compressed files, see `content_notes`."""
        return os.path.join(self.consumed_of(job_name), plain(run_id) + NOTES_SUFFIX)

    @property
    def bad_records_of_runs(self) -> str:
        return self._at("bad-records")

    def bad_records(self, run_id: str) -> str:
        """The bad records of a run that has ended."""
        return os.path.join(self.bad_records_of_runs, f"{plain(run_id)}.jsonl")

    @property
    def projects(self) -> str:
        return self._at("projects")

    def project(self, content_hash: str) -> str:
        """The folder in which the package of this hash is unpacked; the project is a folder in it."""
        return self._at("projects", plain(content_hash))

    def auxiliary(self, name: str) -> str:
        return self._at("auxiliary", f"{plain(name)}.data")

    @property
    def panes(self) -> str:
        return self._at("panes")

    def pane(self, slot: int, run_id: str) -> str:
        return self._at("panes", str(int(slot)), plain(run_id))

    @property
    def runs(self) -> str:
        return self._at("runs")

    def run(self, run_id: str) -> str:
        return self._at("runs", plain(run_id))

    def abandoned(self, run_id: str) -> str:
        """What a run is called while it is being removed."""
        return self._at("runs", f"{HIDDEN_PREFIX}{plain(run_id)}")

    def preview(self, name: str) -> str:
        """Where a preview works; nothing in there is kept."""
        return self._at("runs", f"{HIDDEN_PREFIX}preview-{plain(name)}")

    def plan(self, run_id: str, *, shared: bool = False) -> str:
        """The map tasks of this host, or those of the folders that all hosts share."""
        return os.path.join(self.run(run_id), "plan-shared" if shared else "plan")

    def plan_copy(self, run_id: str) -> str:
        """The plan of the shared folders, as it was fetched from the host that made it."""
        return os.path.join(self.run(run_id), "plan-shared-copy")

    def inputs(self, run_id: str, *, shared: bool = False) -> str:
        """The list of the input files that the plan was made of."""
        return os.path.join(self.run(run_id), "inputs-shared" if shared else "inputs")

    def attempt(self, id: AttemptId) -> str:
        """The folder of a finished attempt."""
        return self.attempt_folder(id.run_id, id.folder)

    def attempt_folder(self, run_id: str, folder: str) -> str:
        """The same, by its name."""
        return os.path.join(self.run(run_id), checked_folder(folder))

    def unfinished(self, id: AttemptId) -> str:
        """The folder of an attempt that is being done."""
        return os.path.join(self.run(id.run_id), f"{HIDDEN_PREFIX}{checked_folder(id.folder)}")

    def sources(self, id: AttemptId) -> str:
        """The list of what a reduce attempt is to read."""
        return os.path.join(self.run(id.run_id), f"{HIDDEN_PREFIX}sources-{checked_folder(id.folder)}")

    def fetched(self, run_id: str) -> str:
        return os.path.join(self.run(run_id), FETCHED)

    def segment(self, id: AttemptId, partition: int) -> str:
        """A copy of a partition's part of another host's map output."""
        return os.path.join(self.fetched(id.run_id), f"{checked_folder(id.folder)}.{partition:05d}")

    @property
    def jobs(self) -> str:
        return self._at("jobs")

    def job(self, job_name: str) -> str:
        return self._at("jobs", plain(job_name))

    def output(self, job_name: str) -> str:
        """Where a job's output is published."""
        return os.path.join(self.job(job_name), "reduce")

    def staged_output(self, job_name: str, run_id: str) -> str:
        """Where the output of a run is put together."""
        return os.path.join(self.job(job_name), f"{HIDDEN_PREFIX}publish-{plain(run_id)}")

    def previous_output(self, job_name: str) -> str:
        """What the present output is called in the middle of an exchange that takes two steps."""
        return os.path.join(self.job(job_name), f"{HIDDEN_PREFIX}previous")

    def _at(self, *names: str) -> str:
        return os.path.join(self.data_dir, *names)


def plain(name: str) -> str:
    """The name, if it can be that of a file or folder of ours. Raises FatalError."""
    if not _PLAIN_NAME.fullmatch(name):
        raise FatalError(f"{name!r:.200} cannot be the name of a run, job or project: it was refused")
    return name


def checked_folder(folder: str) -> str:
    """The name of an attempt's folder, if it is one. Raises FatalError."""
    if not _ATTEMPT_FOLDER.fullmatch(folder):
        raise FatalError(f"{folder!r:.200} is not the name of an attempt's folder: it was refused")
    return folder


def attempt_of(run_id: str, folder: str) -> AttemptId | None:
    """The attempt whose folder is called so; None where the name is of something else."""
    match = _ATTEMPT_FOLDER.fullmatch(folder)
    return AttemptId(run_id, match[1], match[2]) if match else None


def resolve_input(data_dir: str, name: str, config: ClusterConfig, field: str = "input_dirs") -> str:
    """The path that an entry of `input_dirs`, or another field, means on the peer whose data folder this is.

    A relative one stays below the data folder, an absolute one below `security.local_roots` if there are any,
    whatever links are on the way. Raises InputError; not for what does not exist, which nobody has read yet.
    """
    if "\0" in name or "\n" in name or "\r" in name:
        raise _refused(field, name, "contains a NUL or a line end")
    if os.path.isabs(name):
        path = os.path.normpath(name)
        if _leads_out(path, config.security.local_roots):
            allowed = " or ".join(config.security.local_roots)
            raise _refused(field, name, f"is not below {allowed} (security.local_roots)")
        return path
    if ".." in name.split("/"):
        raise _refused(field, name, "contains `..`: a relative path stays below the data folder")
    path = os.path.normpath(os.path.join(data_dir, name))
    for component in _components(data_dir, name):
        if _leads_out(component, (data_dir,)):
            raise _refused(
                field,
                name,
                f"leads out of the data folder {data_dir}: {component} is a link to "
                f"{os.path.realpath(component)}; name that folder by its absolute path instead",
            )
    return path


def roots_of(data_dir: str, name: str, config: ClusterConfig) -> tuple[str, ...]:
    """The real folders that everything below an entry of `input_dirs` has to lie in; none: anywhere."""
    roots = config.security.local_roots if os.path.isabs(name) else (data_dir,)
    return tuple(map(os.path.realpath, roots))


def is_below(path: str, roots: Iterable[str]) -> bool:
    """Whether a path is one of `roots`, or lies in one of them, by its words alone."""
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _leads_out(path: str, roots: Sequence[str]) -> bool:
    real_roots = [os.path.realpath(root) for root in roots]
    return bool(real_roots) and not is_below(os.path.realpath(path), real_roots)


def _components(data_dir: str, name: str) -> list[str]:
    """Every folder on the way from the data folder to the named one, and that itself."""
    found = []
    path = data_dir
    for part in name.split("/"):
        path = os.path.join(path, part)
        found.append(path)
    return found


def _refused(field: str, name: str, reason: str) -> InputError:
    return InputError(f"{field}: {name!r:.200} {reason}")
