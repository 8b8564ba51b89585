"""Transfers: the steps of a file_transfer run, each done by a worker of one peer, in the attempt's folder.

list: what there is to move. spread: which peer gets what of an upload. copy: pull it, and write it so that
it counts. delete: what a download has moved away, or a folder. See `peer.disk.file_lists` for what they
leave.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from functools import partial

from pymr.base.errors import FatalError, InputChangedError, InputError, disk_error
from pymr.engine.input.files import IGNORED_NAMES
from pymr.jobs.auxiliary_json import parse_auxiliary
from pymr.jobs.job_types import FileTransferJob
from pymr.jobs.transfer_rules import STAGED
from pymr.peer.attempts.steps import StepContext
from pymr.peer.attempts.worker_protocol import StepOrder
from pymr.peer.disk.file_lists import FILES, PACK_NAME, THERE, Entry, ListWriter, destination_list
from pymr.peer.disk.leftovers import noted
from pymr.peer.disk.paths import PeerPaths, is_below
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles
from pymr.peer.disk.step_journal import Journal
from pymr.peer.output.reading import outputs_read
from pymr.peer.transfers.copy import Copied, Copy, CopyRules, Portion
from pymr.peer.transfers.delete import delete_folder, delete_listed, job_of
from pymr.peer.transfers.folders import (
    cluster_folder,
    is_there,
    local_file,
    local_source,
    local_target,
    refuse_overlap,
    refuse_private,
)
from pymr.peer.transfers.placement import DownloadMerge, Listed, Spreading
from pymr.peer.transfers.progress import TransferProgress, TransferWatch
from pymr.peer.transfers.sources import Sources
from pymr.peer.transfers.staged import list_staged, write_staged_lists
from pymr.peer.transfers.walk import examine_file, walk_files, walk_names
from pymr.wire.outcomes import StepOutcome
from pymr.wire.output_shares import OutputRead, why_not_read
from pymr.wire.protocol import StepInput

AUXILIARY_BYTES_MAX = 1 << 30
"""A larger JSON is no auxiliary data: every worker has it in memory."""


@dataclass(frozen=True, slots=True)
class _Step:
    """What a step has to do with. folder: of the attempt."""

    context: StepContext
    job: FileTransferJob
    order: StepOrder
    folder: str
    watch: TransferWatch

    @property
    def paths(self) -> PeerPaths:
        return PeerPaths(self.context.data_dir)

    @property
    def is_local(self) -> bool:
        return self.job.local_peer == self.context.peer

    @property
    def is_upload(self) -> bool:
        return self.job.transfer_type.startswith("upload")

    def inputs(self, kind: str) -> list[StepInput]:
        return [step for step in self.order.inputs if step.task.rpartition("-")[0] == kind]


def do_transfer_step(
    context: StepContext, order: StepOrder, folder: str, watch: TransferWatch
) -> StepOutcome:
    """Do a step of a transfer; `folder` gets what later steps need of it.

    May be ended at any instant and be done again by another attempt. Raises InputError, OutputError and
    other FatalErrors for what does not get better; RetryableErrors; DiskError.
    """
    job = context.job
    if not isinstance(job, FileTransferJob):
        raise FatalError(f"the job {job.job_name} is no file_transfer job")
    step = _Step(context, job, order, folder, watch)
    work = {"list": _list, "spread": _spread, "copy": _copy, "delete": _delete}.get(order.id.kind)
    if work is None:
        raise FatalError(f"{order.id.task!r} is no step of a transfer")
    try:
        return work(step)
    except OSError as error:
        raise disk_error(f"the {order.id.kind} step of {job.job_name} on", context.data_dir, error) from error


# ---- list


def _list(step: _Step) -> StepOutcome:
    progress = TransferProgress(step.watch, "listed")
    if step.job.transfer_type == "upload_auxiliary":
        writer = _list_auxiliary(step, progress)
    elif step.is_upload:
        writer = _list_upload(step, progress)
    else:
        writer = _list_download(step, progress)
    progress.end()
    return StepOutcome(files=writer.files, bytes=writer.bytes)


def _list_auxiliary(step: _Step, progress: TransferProgress) -> ListWriter:
    if STAGED.fullmatch(step.job.input_file_name or ""):
        return _list_staged_auxiliary(step, progress)
    folder, file = local_file(
        step.context.data_dir, step.job.input_file_name or "", step.context.config, "input_file_name"
    )
    with folder:
        with _naming("input_file_name"):
            entry = examine_file(folder, file, "", progress.add_bytes)
        _check_json(os.path.join(folder.root, file), entry.size)
        progress.add(1, 0)
        writer = ListWriter(step.folder, folder.root)
        writer.write(FILES, [entry])
    writer.finish()
    return writer


def _list_staged_auxiliary(step: _Step, progress: TransferProgress) -> ListWriter:
    with _local_folder(step, step.job.input_file_name or "", "input_file_name") as folder:
        entries = list(_named(list_staged(folder.root, progress.add_bytes), "input_file_name"))
        if len(entries) != 1:
            raise InputError(f"input_file_name: {len(entries):,} files were uploaded, where one is right")
        _check_json(os.path.join(folder.root, PACK_NAME), entries[0].size)
        progress.add(1, 0)
        writer = ListWriter(step.folder, folder.root, is_packed=True)
        writer.write(FILES, entries)
    writer.finish()
    return writer


def _check_json(path: str, size: int) -> None:
    if size > AUXILIARY_BYTES_MAX:
        raise InputError(
            f"input_file_name: {path} has {size:,} bytes, and auxiliary data at most "
            f"{AUXILIARY_BYTES_MAX:,}, as every worker has it in memory"
        )
    try:
        with open(path, "rb") as file:
            parse_auxiliary(file.read())
    except ValueError as error:
        raise InputError(f"input_file_name: {path} is no JSON: {error}") from error


def _list_upload(step: _Step, progress: TransferProgress) -> ListWriter:
    """What is at the destination on this peer; on local_peer also what is to be uploaded."""
    target = _cluster_folder(step, "output_dir")
    with target, _naming("output_dir"):
        present = list(walk_names(target)) if is_there(target) else []
    if not step.is_local:
        writer = ListWriter(step.folder, "")
    else:
        name = step.job.input_dir or ""
        with _local_folder(step, name, "input_dir") as source:
            _refuse_overlap(step, source, step.job.output_dir or "", "input_dir")
            is_packed = STAGED.fullmatch(name) is not None
            writer = ListWriter(step.folder, source.root, is_packed=is_packed)
            if is_packed:
                files = list_staged(source.root, progress.add_bytes)
            else:
                ignored = _ignored_in(step, source.root)
                files = walk_files(source, ignored, progress.add_bytes)
            writer.write(FILES, _counted(_named(files, "input_dir"), progress))
    writer.write(THERE, present, is_counted=False)
    writer.finish()
    return writer


def _list_download(step: _Step, progress: TransferProgress) -> ListWriter:
    with _cluster_folder(step, "input_dir") as source:
        writer = ListWriter(step.folder, source.root)
        with _naming("input_dir"):
            is_found = is_there(source)
            outputs = _outputs_read(step)
        if is_found:
            files = walk_files(source, _ignored_in(step, source.root), progress.add_bytes)
            writer.write(FILES, _counted(_named(files, "input_dir"), progress))
        writer.finish(is_found=is_found, outputs=outputs)
    return writer


def _outputs_read(step: _Step) -> tuple[OutputRead, ...]:
    """What this peer has of the outputs that are downloaded, so that none is taken for whole that is not."""
    own = next(peer for peer in step.context.config.peers if peer.name == step.context.peer)
    return outputs_read([step.job.input_dir or ""], [own])


def _cluster_folder(step: _Step, field: str) -> RootedFiles:
    name: str = getattr(step.job, field) or ""
    return cluster_folder(os.path.realpath(step.context.data_dir), name, step.context.config, field)


def _local_folder(step: _Step, name: str, field: str) -> RootedFiles:
    return local_source(step.context.data_dir, name, step.context.config, field)


def _refuse_overlap(step: _Step, local: RootedFiles, name: str, field: str) -> None:
    config = step.context.config
    host = next(peer.host for peer in config.peers if peer.name == step.context.peer)
    refuse_overlap(local, name, config, host, field)


def _ignored_in(step: _Step, folder: str) -> Container[str]:
    """Names that are passed over in a folder: what pymr writes beside the parts of an output."""
    real = os.path.realpath(folder)
    for peer in step.context.config.peers:
        data_dir = os.path.realpath(peer.data_dir)
        if is_below(real, (data_dir,)) and job_of(os.path.relpath(real, data_dir)):
            return IGNORED_NAMES
    return ()


def _counted(entries: Iterable[Entry], progress: TransferProgress) -> Iterator[Entry]:
    for entry in entries:
        progress.add(1, 0)
        yield entry


def _named(entries: Iterator[Entry], field: str) -> Iterator[Entry]:
    with _naming(field):
        yield from entries


@contextmanager
def _naming(field: str) -> Iterator[None]:
    """Let what is wrong with a folder or file begin with the field that names it."""
    try:
        yield
    except (InputError, InputChangedError, PathRefusedError) as error:
        raise type(error)(f"{field}: {error}") from error


# ---- spread


def _spread(step: _Step) -> StepOutcome:
    peers = [peer.name for peer in step.context.config.peers]
    spreading = Spreading(peers)
    files: list[Entry] = []
    root, is_packed = "", False
    with _sources(step) as sources:
        for listed in step.inputs("list"):
            for _, piece in sources.pieces(listed, THERE):
                spreading.add_present(peers.index(listed.peer), piece.entries)
                step.watch.tick()
            for _, piece in sources.pieces(listed, FILES):
                files += piece.entries
                root, is_packed = piece.root, piece.is_packed
    writer = ListWriter(step.folder, root, is_packed=is_packed)
    for number, entries in enumerate(spreading.spread(files)):
        writer.write(destination_list(number), entries)
        size = sum(entry.size for entry in entries)
        print(f"{peers[number]} gets {len(entries):,} files with {size / 1e6:,.1f} MB", flush=True)
    writer.finish()
    return StepOutcome(files=writer.files, bytes=writer.bytes)


# ---- copy


def _copy(step: _Step) -> StepOutcome:
    job = step.job
    with _sources(step) as sources:
        if job.transfer_type == "upload_auxiliary":
            target = RootedFiles(step.context.data_dir, "auxiliary")
            portions = partial(_auxiliary_portions, step, sources)
        elif step.is_upload:
            target = _cluster_folder(step, "output_dir")
            portions = partial(_upload_portions, step, sources)
        else:
            _refuse_missing(step, sources)
            merge = DownloadMerge(lambda: [_listed(sources, one) for one in step.inputs("list")])
            target = local_target(
                step.context.data_dir, job.output_dir or "", step.context.config, "output_dir"
            )
            _refuse_overlap(step, target, job.input_dir or "", "output_dir")
            portions = partial(_download_portions, step, sources, merge)
        with target, _noted(step, target.place):
            copied = _copy_into(step, sources, target, portions)
            if STAGED.fullmatch(job.output_dir or ""):
                write_staged_lists(os.path.dirname(target.root), target, lambda _: step.watch.tick())
    return StepOutcome(files=copied.files, bytes=copied.bytes, skipped=copied.skipped)


def _copy_into(
    step: _Step, sources: Sources, target: RootedFiles, portions: Callable[[], Iterable[Portion]]
) -> Copied:
    context, paths = step.context, step.paths
    journal_path = os.path.join(paths.run(context.run_id), f"copied-{step.order.id.task}")
    about = " ".join(f"{one.task}-{one.attempt}@{one.peer}" for one in step.order.inputs)
    rules = CopyRules(
        run_id=context.run_id,
        peer=context.peer,
        is_bulk=step.job.transfer_type.endswith("_bulk"),
        reload_files=step.job.reload_files,
        compress=step.job.compress,
        own_sources=() if step.is_upload else _own_sources(step),
        is_alive=lambda run_id: os.path.isdir(os.path.join(paths.runs, os.path.basename(run_id))),
    )
    with Journal(journal_path, f"{about} > {target.root}", step.watch.tick) as journal:
        return Copy(target, sources, journal, rules, TransferProgress(step.watch, "copied")).run(portions)


def _own_sources(step: _Step) -> list[str]:
    """Where the peers of this host have what is downloaded."""
    config, name = step.context.config, step.job.input_dir or ""
    host = next(peer.host for peer in config.peers if peer.name == step.context.peer)
    return [os.path.join(peer.data_dir, name) for peer in config.peers if peer.host == host]


def _auxiliary_portions(step: _Step, sources: Sources) -> Iterator[Portion]:
    for listed in step.inputs("list"):
        for name, piece in sources.pieces(listed, FILES):
            path = f"{step.job.auxiliary_data_name}.data"
            yield Portion(listed, name, piece.entries, [(0, piece.entries[0], path)])


def _upload_portions(step: _Step, sources: Sources) -> Iterator[Portion]:
    """What the spreading has given to this peer."""
    number = [peer.name for peer in step.context.config.peers].index(step.context.peer)
    for spread in step.inputs("spread"):
        for name, piece in sources.pieces(spread, destination_list(number)):
            wanted = [(index, entry, entry.path) for index, entry in enumerate(piece.entries)]
            yield Portion(spread, name, piece.entries, wanted, "" if piece.is_packed else piece.root)


def _download_portions(step: _Step, sources: Sources, merge: DownloadMerge) -> Iterator[Portion]:
    """All that all peers have."""
    for listed in step.inputs("list"):
        for name, piece in sources.pieces(listed, FILES):
            wanted = []
            for index, entry in enumerate(piece.entries):
                path = merge.path_of(listed.peer, entry)
                if path is not None:
                    wanted.append((index, entry, path))
            yield Portion(listed, name, piece.entries, wanted, piece.root)


def _refuse_missing(step: _Step, sources: Sources) -> None:
    summaries = [sources.summary(listed) for listed in step.inputs("list")]
    if not any(summary.is_found for summary in summaries):
        raise InputError(f"input_dir: no peer has a folder {step.job.input_dir} in its data folder")
    reads = [read for summary in summaries for read in summary.outputs]
    why_not, _ = why_not_read(reads, [peer.name for peer in step.context.config.peers])
    if why_not:
        raise InputError(f"input_dir: {why_not}")


def _listed(sources: Sources, listed: StepInput) -> Iterator[Listed]:
    for _, piece in sources.pieces(listed, FILES):
        for entry in piece.entries:
            yield listed.peer, entry


# ---- delete


def _delete(step: _Step) -> StepOutcome:
    progress = TransferProgress(step.watch, "deleted")
    context = step.context
    if step.job.transfer_type == "delete":
        path = step.job.output_dir or ""
        refuse_private(os.path.join(context.data_dir, path), context.config, "output_dir")
        above = os.path.dirname(os.path.normpath(path))
        with _noted(step, (context.data_dir, above)):
            files, size = delete_folder(step.paths, path, context.run_id, context.peer, progress)
    else:
        path = step.job.input_dir or ""
        with _sources(step) as sources:
            mine = [one for one in step.inputs("list") if one.peer == context.peer]
            entries = [entry for one in mine for _, entry in _listed(sources, one)]
        files, size = delete_listed(step.paths, path, entries, context.run_id, progress)
    progress.end()
    return StepOutcome(files=files, bytes=size)


def _noted(step: _Step, place: tuple[str, str]) -> AbstractContextManager[None]:
    """Note where the step may leave what it has not finished."""
    context = step.context
    tag = f"{context.run_id}@{context.peer}"
    return noted(step.paths.run(context.run_id), step.order.id.task, place, tag, step.watch.tick)


@contextmanager
def _sources(step: _Step) -> Iterator[Sources]:
    context = step.context
    with closing(Sources(context.config, context.peer, context.run_id, step.watch.tick)) as sources:
        yield sources
