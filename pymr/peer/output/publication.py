"""Publication: a run's part of the output becomes what its job shows, on one peer; and what runs leave there.

May be ended at any instant and be asked for again: before the exchange of folders nothing has changed, after
it all has.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from pymr.base.durable import link_or_copy, make_folders, sync_folder
from pymr.base.errors import DamagedFileError, OutputError, disk_error, is_unwritable
from pymr.control.counted_runs import stays
from pymr.engine.input.files import BAD_RECORDS_NAME
from pymr.engine.outputs import Part
from pymr.engine.segments import BAD_RECORDS_FILE, read_index, read_reduce_index
from pymr.engine.staged_output import (
    complete,
    keep_parts,
    locked,
    number_parts,
    read_manifest,
    refuse_foreign_files,
    swap,
    undo_half_swap,
)
from pymr.jobs.run_ids import run_number
from pymr.peer.attempts.steps import step_outcome
from pymr.peer.disk.bad_records import keep_bad_records
from pymr.peer.disk.driver_outcomes import driver_outcome
from pymr.peer.disk.leftovers import clear_noted
from pymr.peer.disk.paths import HIDDEN_PREFIX, PeerPaths, attempt_of
from pymr.wire.outcomes import DRIVER, AttemptId
from pymr.wire.protocol import STEPS, HeldRun, PublishOrder

_log = logging.getLogger("pymr")


def publish(paths: PeerPaths, order: PublishOrder, incarnation: str = "") -> None:
    """Make the parts of a run visible as its job's output below `paths`, instead of the present ones.

    order.add: beside those of runs that count. Done at most once for a run; again it does nothing.
    incarnation: of the cluster; ids of runs are unique in one and those it goes on from, and begin anew in
    another that remembers nothing.
    Raises OutputInTheWayError, other OutputError (what is there is not whole, or parts of the run are gone),
    DiskError.
    """
    output = paths.output(order.job_name)
    with _disk_errors("publishing", output):
        make_folders(paths.job(order.job_name))
        with locked(paths.job(order.job_name)):  # a peer that stands in for another, and that one
            undo_half_swap(output, paths.previous_output(order.job_name))
            present = read_manifest(output)
            staged = paths.staged_output(order.job_name, order.run_id)
            shown = _run_ids(present, (incarnation, *order.replaces))
            if order.run_id not in shown and not _is_late(order, shown):
                advice = f"move them away on peer {order.peer}: {order.run_id} is published then"
                refuse_foreign_files(output, advice)
                shutil.rmtree(staged, ignore_errors=True)
                try:
                    os.mkdir(staged)
                    _stage(paths, order, staged, present, incarnation)
                    swap(staged, output, paths.previous_output(order.job_name))
                finally:
                    shutil.rmtree(staged, ignore_errors=True)
            sync_folder(paths.job(order.job_name))  # also for one who was killed before it


def list_output(
    paths: PeerPaths, job_name: str, counts: Callable[[str], bool] = lambda _run_id: True
) -> tuple[str, list[Part]]:
    """The newest run in a job's output, and the parts of it; "" and none where nothing was published.

    counts: whether a run does; what others have added is passed over, also if this peer shows it already.
    Raises OutputError where it is not whole, DiskError.
    """
    return listed_output(output_manifest(paths, job_name), counts)


def output_manifest(paths: PeerPaths, job_name: str) -> dict[str, Any] | None:
    """What a job's output says of itself; None where nothing was published. Raises as `list_output`."""
    output = paths.output(job_name)
    with _disk_errors("reading", output):
        return read_manifest(output)


def listed_output(manifest: dict[str, Any] | None, counts: Callable[[str], bool]) -> tuple[str, list[Part]]:
    """As `list_output`, of a manifest."""
    if manifest is None:
        return "", []
    run_id, runs = str(manifest.get("run_id", "")), manifest.get("runs", [])
    noted: dict[str, str] = manifest.get("part_runs") or {}
    is_added_to = noted or ("part_runs" in manifest and len(runs) > 1)
    if counts(run_id) or not is_added_to:
        return run_id, manifest["parts"]
    parts = [part for part in manifest["parts"] if part.name not in noted or counts(noted[part.name])]
    return next((run for run in reversed(runs) if counts(run)), ""), parts


def make_run_folder(paths: PeerPaths, run_id: str, *below: str) -> None:
    """Make the folder of a run, or one below it. Raises DiskError."""
    folder = os.path.join(paths.run(run_id), *below)
    with _disk_errors("preparing", folder):
        os.makedirs(folder, exist_ok=True)


def forget_run(paths: PeerPaths, run_id: str) -> None:
    """Remove all that a run has left below `runs`, and what its transfers have not finished elsewhere.

    Its bad records are kept (see `bad_records`). Waits for a worker of it that is being killed, for a bounded
    time. Raises DiskError.
    """
    folder, abandoned = paths.run(run_id), paths.abandoned(run_id)
    try:
        keep_bad_records(paths, run_id)
    except OSError as error:  # as of a full disk, in which this makes room
        _log.warning("the bad records of %s are lost: %s", run_id, error)
    with _disk_errors("removing", folder):
        clear_noted(abandoned)
        shutil.rmtree(abandoned, ignore_errors=True)
        try:
            os.rename(folder, abandoned)  # at once, so that nobody finds half of an attempt
        except FileNotFoundError:
            return
        except OSError as error:
            if not is_unwritable(error):
                raise
            abandoned = folder  # no room for the name: what makes room goes piece by piece
        clear_noted(abandoned)
        shutil.rmtree(abandoned)


def forget_attempt(paths: PeerPaths, id: AttemptId) -> None:
    """Remove a finished attempt that was not committed, or what a worker that died left of one."""
    for folder in (paths.attempt(id), paths.unfinished(id)):
        shutil.rmtree(folder, ignore_errors=True)


def finished_attempts(paths: PeerPaths) -> list[HeldRun]:
    """Every finished attempt that is whole, by run. Cost: one small file read for each."""
    held = []
    for run_id in runs_on_disk(paths):
        found = []
        for folder in _visible_names(paths.run(run_id)):
            id = attempt_of(run_id, folder)
            digest = _digest(paths.attempt(id), id) if id is not None else None
            if id is not None and digest is not None:
                found.append((id.task, id.attempt, digest))
        if found:
            held.append(HeldRun(run_id, tuple(found)))
    return held


def runs_on_disk(paths: PeerPaths) -> list[str]:
    """The runs that have left anything below `runs`, finished or not."""
    return _visible_names(paths.runs)


def abandoned_folders(paths: PeerPaths) -> list[str]:
    """Folders of runs, and of previews, that an earlier life of the daemon was about to remove."""
    return [os.path.join(paths.runs, name) for name in _hidden_names(paths.runs)]


def clear_abandoned(folder: str) -> None:
    """Remove such a folder; of a run of very many tasks it takes long."""
    clear_noted(folder)
    _remove(folder)


def clear_unfinished(paths: PeerPaths) -> None:
    """Remove what an earlier life of the daemon has begun and not finished, of runs that may still go on.
    Before any worker is started."""
    for run_id in runs_on_disk(paths):
        for name in _hidden_names(paths.run(run_id)):
            _remove(os.path.join(paths.run(run_id), name))
    for job_name in _visible_names(paths.jobs):
        _clear_job(paths, job_name)


def _stage(
    paths: PeerPaths, order: PublishOrder, staged: str, present: dict[str, Any] | None, incarnation: str
) -> None:
    """Put together what the output is going to be.

    Of the parts that a run has added, `part_runs` names that run: it may turn out not to count. Those of
    which it says nothing are of `base_run`, which has replaced all others; where there is none they stay, as
    they are of an earlier release, or of an incarnation that this one does not go on from.
    """
    output = paths.output(order.job_name)
    shown = _run_ids(present, (incarnation, *order.replaces))
    kept, part_runs = _counted_parts(order, present, shown)
    parts = keep_parts(output, staged, kept)
    for source, part in number_parts(_parts_of_run(paths, order), list(parts)):
        link_or_copy(source, os.path.join(staged, part.name))
        parts.append(part)
        if order.add:
            part_runs[part.name] = order.run_id
    gone = set(present.get("part_runs", {}).values()) - set(part_runs.values()) if present else set()
    runs = [run_id for run_id in shown if order.add and run_id not in gone]
    manifest: dict[str, Any] = {
        "run_id": order.run_id,
        "incarnation": incarnation,
        "job_name": order.job_name,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "runs": [*runs, order.run_id],
        "summary": order.summary,
        "parts": parts,
        "part_runs": part_runs,
        "base_run": _base_run(present, shown) if order.add else order.run_id,
        "run_items": _by_run(order, present, shown, "run_items") | _items_of_run(order),
        "taken": _by_run(order, present, shown, "taken"),
    }
    before = [os.path.join(output, BAD_RECORDS_NAME)] if order.add else []
    complete(staged, manifest, [*before, *_bad_records(paths, order)])


def _counted_parts(
    order: PublishOrder, present: dict[str, Any] | None, shown: list[str]
) -> tuple[list[Part], dict[str, str]]:
    """The parts that stay in an output that is added to, and which runs have added them."""
    if present is None or not order.add:
        return [], {}
    noted: dict[str, str] = present.get("part_runs", {}) if shown else {}
    base = _base_run(present, shown)
    kept = [part for part in present["parts"] if stays(noted.get(part.name, ""), base, order.counting)]
    return kept, {part.name: noted[part.name] for part in kept if part.name in noted}


def _items_of_run(order: PublishOrder) -> dict[str, Any]:
    """What every peer has of a run's output, also those that are not there: a reader misses it then."""
    return {} if order.items is None else {order.run_id: order.items}


def _by_run(
    order: PublishOrder, present: dict[str, Any] | None, shown: list[str], field: str
) -> dict[str, Any]:
    """What a field of the present manifest says of the runs whose parts stay."""
    if present is None or not order.add or not shown:
        return {}
    base = _base_run(present, shown)
    return {
        run_id: value
        for run_id, value in present.get(field, {}).items()
        if stays("" if run_id == base else run_id, base, order.counting)
    }


def _base_run(present: dict[str, Any] | None, shown: list[str]) -> str:
    """The run whose parts are those that no run has added; "" where that is not known."""
    return str(present.get("base_run", "")) if present is not None and shown else ""


def _parts_of_run(paths: PeerPaths, order: PublishOrder) -> Iterator[tuple[str, tuple[Part, ...]]]:
    for name in order.attempts:
        folder = paths.attempt_folder(order.run_id, name)
        try:
            yield folder, read_reduce_index(folder).parts
        except (FileNotFoundError, DamagedFileError) as error:
            raise OutputError(
                f"the output of {name} of run {order.run_id} is not whole any more: {error}; the run has to "
                "be done again"
            ) from error


def _bad_records(paths: PeerPaths, order: PublishOrder) -> Iterator[str]:
    for name in order.maps:
        folder = paths.attempt_folder(order.run_id, name)
        if not os.path.isdir(folder):
            raise OutputError(
                f"the list of bad records of {name} of run {order.run_id} is gone with its folder {folder}; "
                "the run has to be done again"
            )
        yield os.path.join(folder, BAD_RECORDS_FILE)


def _is_late(order: PublishOrder, shown: list[str]) -> bool:
    """Whether a later run of the job is shown already, which an order long on its way must not undo."""
    if not shown or (order.add and order.attempts):
        return False
    return run_number(shown[-1]) > run_number(order.run_id)


def _run_ids(manifest: dict[str, Any] | None, incarnations: tuple[str, ...]) -> list[str]:
    """The runs of these incarnations whose parts are in an output, in the order of their publication."""
    if manifest is None or manifest.get("incarnation", "") not in incarnations:
        return []
    return list(manifest.get("runs", ()))


def _digest(folder: str, id: AttemptId) -> str | None:
    """The digest of a finished attempt, "" of a step; None where it is not whole."""
    try:
        if id.kind in STEPS:
            step_outcome(folder)
            return ""
        if id.kind == DRIVER:
            driver_outcome(folder)
            return ""
        if id.is_map:
            return read_index(folder).info.digest
        return read_reduce_index(folder).info.digest
    except (OSError, DamagedFileError):
        return None


def _clear_job(paths: PeerPaths, job_name: str) -> None:
    try:
        with locked(paths.job(job_name), wait=False):
            undo_half_swap(paths.output(job_name), paths.previous_output(job_name))
            for name in _hidden_names(paths.job(job_name)):
                _remove(os.path.join(paths.job(job_name), name))
    except OSError:  # one who stands in for this peer is publishing; or it is no folder
        return


def _visible_names(folder: str) -> list[str]:
    return [name for name in _names(folder) if not name.startswith(HIDDEN_PREFIX)]


def _hidden_names(folder: str) -> list[str]:
    return [name for name in _names(folder) if name.startswith(HIDDEN_PREFIX)]


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)


@contextmanager
def _disk_errors(action: str, path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(action, path, error) from error
