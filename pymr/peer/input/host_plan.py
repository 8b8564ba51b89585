"""Planning: what a run reads on this host becomes its map tasks, in a file beside their future outputs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import msgpack

from pymr.base.durable import make_folders, replace_file
from pymr.base.errors import DiskError, FatalError, InputError, OutputError, PymrError, disk_error
from pymr.config.cluster import ClusterConfig, PeerConfig, memory_bytes_per_worker
from pymr.engine.input.files import InputFile, OnWarning, no_warning, walk_input_files
from pymr.engine.plans import write_plan
from pymr.engine.staged_output import read_manifest, refuse_foreign_files
from pymr.engine.tasks import plan_map_tasks
from pymr.jobs.job import MapReduceJob, parse_job
from pymr.peer.disk.paths import PeerPaths, is_below, resolve_input, roots_of
from pymr.peer.input.consumed import Planning, new_files
from pymr.peer.input.consumed_lists import HostLists
from pymr.peer.output.reading import outputs_read
from pymr.wire.protocol import AbsentInput, PlanOrder, PlanReport, RunOrder, cut_text
from pymr.wire.run_warnings import ABSENT_WAY_OUT, WarningCollector

TASK_BYTES_MIN = 1 << 20
"""Input is not cut into smaller tasks than this for the sake of giving every worker one."""

_Absent = list[tuple[str, PeerConfig, str]]
"""Entries of input_dirs that a peer does not have, and where they would lie."""


@dataclass(frozen=True, slots=True)
class _Source:
    """An entry of input_dirs as one peer has it.

    roots: real folders that its files have to lie in; none: any. foreign: real folders that they must not.
    """

    path: str
    peer: PeerConfig
    roots: tuple[str, ...]
    foreign: tuple[str, ...]


def plan_host(
    order: RunOrder, plan: PlanOrder, config: ClusterConfig, peer_name: str, incarnation: str = ""
) -> PlanReport:
    """List the input of a run on the host of `peer_name`, and write the plan of it below that peer's folder.

    plan.shared: of the absolute entries of input_dirs that lie in a folder of `storage.shared`; otherwise of
    all others: relative ones in the data folder of every peer of the host, absolute ones once.
    With `hold_state`, only files that were not consumed before (see `consumed`). incarnation: of the cluster.
    What fails stands in the report.
    """
    try:
        return _plan(order, plan, config, peer_name, incarnation)
    except PymrError as error:
        return _failed(plan, error)
    except OSError as error:
        return _failed(plan, disk_error("planning", order.run_id, error))


def first_input_files(
    job: MapReduceJob,
    config: ClusterConfig,
    peer_name: str,
    files_max: int,
    on_file: Callable[[], object] = lambda: None,
    on_absent: Callable[[str], object] = lambda name: None,
) -> list[InputFile]:
    """The first files of a job's input on the host of a peer, also of shared folders; none that is empty.

    on_file: called for each that is looked at, empty ones too. Looks at no more of the folders than it needs.
    on_absent: called for each entry of input_dirs that no peer of this host has, and another host may.
    Raises InputError as planning does.
    """
    own = _peer_named(config, peer_name)
    found: dict[str, InputFile] = {}
    peers = peers_of(config, own.host)
    absent: _Absent = []
    sources = list(_sources(job, None, config, own, peers, absent))
    for name, peer, place in absent:
        if peer != peers[0] or len([one for one in absent if one[0] == name]) < len(peers):
            continue
        if len(peers) == len(config.peers):
            raise _not_readable(place, peer, os.strerror(errno.ENOENT))
        on_absent(name)
    for real, file in _found_files(sources, no_warning):
        on_file()
        if file.size:
            found.setdefault(real, file)
        if len(found) == files_max:
            break
    return list(found.values())


def task_bytes(files: Sequence[InputFile], workers: int, split_bytes: int) -> int:
    """How much input a map task gets: at most a split, and the same number of tasks for each worker.

    Larger tasks are better: a key that recurs is sorted and written once in each of them.
    """
    total = sum(file.size for file in files)
    workers = max(workers, 1)
    rounds = -(-total // (workers * split_bytes)) or 1
    share = -(-total // (workers * rounds))
    return min(split_bytes, max(share, TASK_BYTES_MIN))


def workers_memory_bytes(config: ClusterConfig, host: str) -> int:
    """The memory bound of each worker on a host, whose peers share its memory."""
    return memory_bytes_per_worker(config.engine, sum(peer.workers for peer in peers_of(config, host)) or 1)


def peers_of(config: ClusterConfig, host: str) -> list[PeerConfig]:
    """The peers of a host, in the order of the configuration."""
    return [peer for peer in config.peers if peer.host == host]


def _plan(
    order: RunOrder, plan: PlanOrder, config: ClusterConfig, peer_name: str, incarnation: str
) -> PlanReport:
    job = parse_job(order.fields, f"job {order.job_name}")
    if not isinstance(job, MapReduceJob):
        raise InputError(f"the job {order.job_name} is no mapreduce job: there is nothing to plan")
    own = _peer_named(config, peer_name)
    peers = peers_of(config, own.host)
    absent: _Absent = []
    warnings = WarningCollector()
    sources = list(_sources(job, plan.shared, config, own, peers, absent))
    _refuse_unfit_output(job, sources, peers)
    relative = () if plan.shared else [name for name in job.input_dirs if not os.path.isabs(name)]
    outputs = outputs_read(relative, peers)  # before its files are listed, as what comes then is newer
    found = _list_files(sources, warnings.add)
    paths = PeerPaths(own.data_dir)
    if job.hold_state:
        has_list = bool(plan.consumed_peer)
        planning = Planning(
            job.job_name,
            order.run_id,
            plan.consumed,
            has_list,
            plan.shared,
            incarnation,
            plan.turn,
            plan.is_anew,
        )
        files = new_files(HostLists(own, peers), planning, found, warnings.add)
    else:
        files = list(found.values())
    try:
        tasks = plan_map_tasks(files, task_bytes(files, plan.workers, config.engine.split_bytes))
    except InputError as error:
        raise InputError(f"input_dirs, on host {own.host}: {error}") from error
    _write_inputs(paths.inputs(order.run_id, shared=plan.shared), files)
    write_plan(paths.plan(order.run_id, shared=plan.shared), tasks)
    total_bytes = sum(file.size for file in files)
    return PlanReport(
        order.run_id,
        len(tasks),
        total_bytes,
        len(files),
        shared=plan.shared,
        turn=plan.turn,
        absent=tuple(AbsentInput(name, peer.name, _place(path, peer)) for name, peer, path in absent),
        warnings=warnings.result(),
        outputs=outputs,
    )


def _peer_named(config: ClusterConfig, name: str) -> PeerConfig:
    for peer in config.peers:
        if peer.name == name:
            return peer
    raise FatalError(f"there is no peer {name} in cluster.toml: give all machines the same one")


def _sources(
    job: MapReduceJob,
    shared: bool | None,
    config: ClusterConfig,
    own: PeerConfig,
    peers: Sequence[PeerConfig],
    absent: _Absent,
) -> Iterator[_Source]:
    """What is to be listed, in order, each after a look at whether it is there.

    shared: see plan_host; None for both. absent: takes the relative entries that a peer does not have.
    """
    for name in job.input_dirs:
        # By the words alone, as the leader tells which plans there are.
        is_shared = is_below(name, config.storage.shared)
        if shared is not None and is_shared != shared:
            continue
        for peer in [own] if os.path.isabs(name) else peers:
            path = resolve_input(peer.data_dir, name, config)
            if not os.path.isabs(name) and _is_absent(path):
                absent.append((name, peer, path))
                continue
            _check_readable(path, peer)
            foreign = _shared_by_all(config) if os.path.isabs(name) and not is_shared else ()
            yield _Source(path, peer, roots_of(peer.data_dir, name, config), foreign)


def _shared_by_all(config: ClusterConfig) -> tuple[str, ...]:
    return tuple(map(os.path.realpath, config.storage.shared))


def _is_absent(path: str) -> bool:
    """Whether nothing has that name; a link that leads nowhere may be to a disk that is not mounted."""
    try:
        os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError:
        pass
    return False


def _check_readable(path: str, peer: PeerConfig) -> None:
    try:
        if os.path.isdir(path):
            os.scandir(path).close()
        else:
            os.stat(path)
    except OSError as error:
        raise _not_readable(path, peer, error.strerror) from error


def _not_readable(path: str, peer: PeerConfig, reason: str | None) -> InputError:
    return InputError(f"input_dirs: {_place(path, peer)} cannot be read: {reason}; {ABSENT_WAY_OUT}")


def _place(path: str, peer: PeerConfig) -> str:
    return f"{path} on peer {peer.name} (host {peer.host})"


def _refuse_unfit_output(job: MapReduceJob, sources: Sequence[_Source], peers: Sequence[PeerConfig]) -> None:
    """Refuse now what could not be published at the end, or would be read by the next run."""
    absolute = [name for name in job.input_dirs if os.path.isabs(name)]  # also those that others list
    inputs = [*dict.fromkeys([*(source.path for source in sources), *absolute])]
    for peer in peers:
        output = PeerPaths(peer.data_dir).output(job.job_name)
        for path in inputs:
            if is_below(os.path.realpath(output), [os.path.realpath(path)]):
                raise OutputError(
                    f"input_dirs: the output folder {output} of the job lies in its input {path}, where the "
                    "next run would read it; name another input, or give the job another name"
                )
        refuse_foreign_files(output, f"move them away on peer {peer.name} (host {peer.host})")
        read_manifest(output)


def _list_files(sources: Sequence[_Source], on_warning: OnWarning) -> dict[str, InputFile]:
    """The files of all sources in order, by their real paths; the same real file counts once."""
    found: dict[str, InputFile] = {}
    for real, file in _found_files(sources, on_warning):
        found.setdefault(real, file)
    return found


def _found_files(sources: Iterable[_Source], on_warning: OnWarning) -> Iterator[tuple[str, InputFile]]:
    """The files of all sources in order, each with its real path, after a look at whether it may be read."""
    real_folders: dict[str, str] = {}
    for source in sources:
        where = f"peer {source.peer.name} (host {source.peer.host})"
        for file in _files_of(source, where, on_warning):
            real = _real_path(file.path, real_folders)
            if source.roots and not is_below(real, source.roots):
                raise InputError(
                    f"input_dirs, on {where}: {file.path} is a link to {real}, which is not below "
                    f"{' or '.join(source.roots)}; name its folder by its absolute path instead"
                )
            if is_below(real, source.foreign):
                raise InputError(
                    f"input_dirs, on {where}: {source.path} leads to {real}, which all machines share, and "
                    "would be read by each of them; name it by its path in storage.shared"
                )
            yield real, file


def _files_of(source: _Source, where: str, on_warning: OnWarning) -> Iterator[InputFile]:
    try:
        yield from walk_input_files(source.path, lambda text: on_warning(f"input_dirs, on {where}: {text}"))
    except InputError as error:
        raise InputError(f"input_dirs, on {where}: {error}") from error


def _real_path(path: str, real_folders: dict[str, str]) -> str:
    """As os.path.realpath, which for thousands of files in a folder would look at that each time."""
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    if folder not in real_folders:
        real_folders[folder] = os.path.realpath(folder)
    return os.path.join(real_folders[folder], name)


def _write_inputs(path: str, files: Sequence[InputFile]) -> None:
    """Write down which files were found, as they were then; paths as bytes, which need not be UTF-8."""
    info = [(os.fsencode(file.path), file.size, file.mtime_ns, file.inode) for file in files]
    try:
        make_folders(os.path.dirname(path))
        replace_file(path, msgpack.packb(info))
    except OSError as error:
        raise disk_error("writing", path, error) from error


def _failed(plan: PlanOrder, error: PymrError) -> PlanReport:
    shown = cut_text(str(error).encode("utf-8", "backslashreplace").decode())
    disk = error if isinstance(error, DiskError) else None
    return PlanReport(
        plan.run_id,
        0,
        0,
        0,
        shown,
        is_final=disk is None,
        shared=plan.shared,
        turn=plan.turn,
        is_of_disk=disk is not None and disk.is_unwritable,
    )
