"""Consumed: which input a job with `hold_state` has read, as a list on each host for each run of the job.

A list says what was read if its run succeeded, and only then: `records.JobState` in Redis names the run whose
lists count. Every peer of a host keeps a copy, so that any of them can plan, and one may be lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import translate
from re import compile as compile_pattern

from pymr.base.errors import DamagedFileError, DiskError, InputError, PymrError
from pymr.base.faults import fault_point
from pymr.config.cluster import PeerConfig
from pymr.control.stored_state import JobState
from pymr.engine.input.files import InputFile
from pymr.jobs.run_ids import run_number
from pymr.peer.input.consumed_files import match_files, with_note
from pymr.peer.input.consumed_lists import ConsumedList, Fact, HostLists
from pymr.wire.rows import StateRow

ALL = "*"
"""The pattern that forgets a list as a whole, also one that cannot be read."""

ROWS_PER_PAGE = 4_000
PAGE_BYTES = 512 << 10
"""A page of consumed files ends before either is passed."""

_ROW_BYTES = 40  # of a row on the wire, beside its path


@dataclass(frozen=True, slots=True)
class Planning:
    """For which run of which job an input is listed. consumed: the run whose lists count; "" for none.

    has_list: whether that run was planned on this host, so that there has to be one.
    shared: whether of the folders that all hosts share. incarnation: of the cluster. turn, is_anew: see
    PlanOrder.
    """

    job_name: str
    run_id: str
    consumed: str = ""
    has_list: bool = False
    shared: bool = False
    incarnation: str = ""
    turn: tuple[int, int] = (0, 0)
    is_anew: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What was there of a job at a moment. lists: (run, whether shared). alive: runs that have a list, and a
    folder, which goes when they have ended."""

    lists: frozenset[tuple[str, bool]]
    alive: frozenset[str]


def new_files(
    lists: HostLists,
    planning: Planning,
    found: Mapping[str, InputFile],
    on_warning: Callable[[str], object] = lambda text: None,
) -> list[InputFile]:
    """The files that were not consumed yet; when it returns, the list of this run is on the disk, with them.

    found: the input, by real path; the order stays. Which of them was consumed, `match_files` says.
    Who plans a run again (after a kill, or for a peer that is not heard) lists what is there now, and writes
    the list of the run anew: the leader takes no plan of an earlier turn any more. One who comes too late
    for its turn gets a DiskError, and leaves the list as it is.
    Raises InputError where the list that counts is gone; DamagedFileError where no copy of it is whole;
    DiskError.
    Cost: where no file is new, a twentieth of what listing them takes, and a tenth to read and write the
    list; where all are, two thirds (200,000 files).
    """
    job_name, run_id, shared = planning.job_name, planning.run_id, planning.shared
    with lists.locked():
        _refuse_late(lists, planning)
        before = _with_contents(lists, planning, _consumed_before(lists, planning))
        left_out: frozenset[tuple[int, int]] = frozenset()
        if planning.is_anew:
            found, left_out = _without_grown(lists, planning, before, found, on_warning)
        fault_point("plan.before_state")
        files, new = match_files(before, found)
        after = ConsumedList(tuple(files), planning.incarnation, turn=planning.turn, left_out=left_out)
        lists.write(job_name, run_id, after, shared=shared)
        fault_point("plan.after_state")
        lists.remove(job_name, {planning.consumed, run_id}, shared=shared)
    return new


def _without_grown(
    lists: HostLists,
    planning: Planning,
    consumed: Sequence[Fact],
    found: Mapping[str, InputFile],
    on_warning: Callable[[str], object],
) -> tuple[dict[str, InputFile], frozenset[tuple[int, int]]]:
    """(the listing without the files that have grown since the outdated run before was to read them, and
    those which that one had left out; all of these by device and inode). They are left to a later run, as
    they are consumed whole or not at all.

    Where this run was planned before, by whom did not come to tell of it, its own list is the one before.
    """
    others = lists.runs(planning.job_name, shared=planning.shared) - {planning.consumed}
    before = max(others, key=run_number, default=None)
    listed = lists.find(planning.job_name, before, shared=planning.shared) if before else None
    if listed is None or listed.incarnation != planning.incarnation:
        return dict(found), frozenset()
    passed_over = {(fact.inode, fact.size, fact.mtime_ns) for fact in consumed}
    sizes = {
        (fact.device, fact.inode): fact.size
        for fact in listed.files
        if (fact.inode, fact.size, fact.mtime_ns) not in passed_over
    }
    kept, left_out = {}, set(listed.left_out)
    for path, file in found.items():
        of_file = file.device, file.inode
        if of_file in left_out or file.size > sizes.get(of_file, file.size):
            left_out.add(of_file)
            on_warning(
                f"{path} grew while it was being read, and was left out: it is read when it is at rest"
            )
        else:
            kept[path] = file
    return kept, frozenset(left_out)


def consumed_page(
    lists: HostLists, job_name: str, run_id: str, start: int
) -> tuple[tuple[StateRow, ...], int]:
    """(what the lists of a run on this host say, from the `start`-th file on, as much as fits into a frame;
    how many files there are). In the order of the paths. Raises DamagedFileError, DiskError.
    """
    found = [lists.find(job_name, run_id, shared=shared) for shared in (False, True)]
    files = [fact for one in found if one is not None for fact in one.files]
    roots = _roots(lists.peers)
    rows: list[StateRow] = []
    size = 0
    for fact in files[start : start + ROWS_PER_PAGE]:
        shown, peer = _shown(fact.path, roots)
        size += _ROW_BYTES + len(shown.encode()) + len(peer)
        if size > PAGE_BYTES and rows:
            break
        rows.append(StateRow(shown, peer, fact.size, fact.mtime_ns))
    return tuple(rows), len(files)


def look(lists: HostLists, job_name: str) -> Seen:
    """What there is of a job on this host, whether it counts or not. Raises DiskError."""
    found = _all_lists(lists, job_name)
    return Seen(found, frozenset(run for run, _ in found if lists.has_run(run)))


def forget(lists: HostLists, job_name: str, state: JobState, pattern: str, seen: Seen) -> int:
    """Take the files whose shown path matches a pattern out of the lists that count; returns how many.

    state: which lists those are, read from Redis together with the fact that no run of the job is running.
    seen: from before that. So a run of which there was a list, and no folder any more, had ended by then, and
    the state is what it left. A list that was not seen is of a run that has begun since, and says already
    what is to be forgotten; a run that is planned later waits for the lock, and reads what is left here.
    Either the next run reads the files again, or PymrError says that they were not forgotten.
    ALL also puts an empty list in the place of one that is damaged or gone.
    """
    run_id = state.run_id
    count = 0
    with lists.locked():
        later = {run for run in seen.alive if run_number(run) > run_number(run_id)}
        later |= {run for run, _ in _all_lists(lists, job_name) - seen.lists}
        if later:
            names = ", ".join(sorted(later))
            raise PymrError(f"{job_name} has a run that has not ended here ({names}): forget once more later")
        for shared in (False, True) if state.shared_host == lists.peer.host else (False,):
            if pattern == ALL:
                count += _forget_all(lists, job_name, run_id, shared=shared)
                continue
            present = lists.find(job_name, run_id, shared=shared)
            if present is not None:
                kept = _not_matching(present.files, pattern, _roots(lists.peers))
                if len(kept) < len(present.files):
                    count += len(present.files) - len(kept)
                    left = replace(present, files=kept, edition=present.edition + 1)
                    lists.write(job_name, run_id, left, shared=shared)
    return count


def _forget_all(lists: HostLists, job_name: str, run_id: str, *, shared: bool) -> int:
    """Put an empty list in the place of all, whatever they are; returns how many files the one that counted
    had, 0 where that cannot be told."""
    try:
        present = lists.find(job_name, run_id, shared=shared)
    except DamagedFileError:
        present = None
    lists.remove(job_name, (), shared=shared)
    lists.write(job_name, run_id, ConsumedList(), shared=shared)
    return len(present.files) if present is not None else 0


def _not_matching(files: Sequence[Fact], pattern: str, roots: Mapping[str, str]) -> tuple[Fact, ...]:
    matches = compile_pattern(translate(pattern)).match
    return tuple(fact for fact in files if not matches(_shown(fact.path, roots)[0]))


def _all_lists(lists: HostLists, job_name: str) -> frozenset[tuple[str, bool]]:
    kinds = (False, True)
    return frozenset((run, shared) for shared in kinds for run in lists.runs(job_name, shared=shared))


def _refuse_late(lists: HostLists, planning: Planning) -> None:
    """A planning that was held up must not touch the lists of a later run, or of a later turn of its own."""
    for run_id in lists.runs(planning.job_name, shared=planning.shared):
        if run_number(run_id) < run_number(planning.run_id):
            continue
        found = lists.find(planning.job_name, run_id, shared=planning.shared)
        if found is None or found.incarnation != planning.incarnation:
            continue  # the ids of runs have begun anew since
        if run_id != planning.run_id or found.turn > planning.turn:
            raise DiskError(f"{planning.run_id} is planned too late: {run_id} was planned here already")


def _consumed_before(lists: HostLists, planning: Planning) -> tuple[Fact, ...]:
    """What the list that counts says. Where this host never had one, it says nothing, from now on."""
    if not planning.consumed:
        return ()
    job_name, run_id, shared = planning.job_name, planning.consumed, planning.shared
    found = lists.find(job_name, run_id, shared=shared)
    if found is not None:
        return found.files
    others = sorted(lists.runs(job_name, shared=shared))
    if others or planning.has_list:
        raise InputError(
            f"what {job_name} has consumed on host {lists.peer.host} is not known, and files could count "
            f"twice: the list {lists.path(job_name, run_id, shared=shared)} is gone"
            f"{f' (there is only that of {others[-1]})' if others else ''}; {lists.way_out(job_name)}"
        )
    lists.write(job_name, run_id, ConsumedList(incarnation=planning.incarnation), shared=shared)
    return ()


def _with_contents(lists: HostLists, planning: Planning, before: Sequence[Fact]) -> Sequence[Fact]:
    """The facts with the fingerprints of what was compressed already when it was consumed."""
    if all(fact.digest for fact in before):
        return before
    notes = lists.notes(planning.job_name, planning.consumed)
    return [fact if fact.digest else with_note(fact, notes) for fact in before]


def _roots(peers: Sequence[PeerConfig]) -> dict[str, str]:
    """The peers by their data folders, as real paths with a slash at the end."""
    return {os.path.join(os.path.realpath(peer.data_dir), ""): peer.name for peer in peers}


def _shown(path: bytes, roots: Mapping[str, str]) -> tuple[str, str]:
    """(path below a peer's data folder, that peer), or (the path as it is, "")."""
    name = path.decode("utf-8", "backslashreplace")
    for root, peer in roots.items():
        if name.startswith(root):
            return name[len(root) :], peer
    return name, ""
