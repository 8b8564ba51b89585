"""Transfers as a console asks for them: which job moves a folder of this machine into the cluster, or out.

Where no peer runs on this machine, its files go through a folder of a peer: sent there before the job, or
fetched from there after it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from pymr.client.errors import ClientError

if TYPE_CHECKING:
    from pymr.client.client import Client
    from pymr.config.cluster import ClusterConfig

BULK_BELOW_BYTES = 256 << 10
"""Files smaller than this on average are packed, unless it is said otherwise: each one alone costs a question
and an answer, however small it is."""

FILES_LOOKED_AT_MAX = 20_000
"""So many files tell how large they are on average."""

PRIORITY = 100
"""Of a transfer that a person waits for: before jobs of ordinary priorities."""

_NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How files are transferred. bulk: None to decide it by their size. local_peer: on whose disk the paths
    are; "" for this machine."""

    bulk: bool | None = None
    compress: bool = False
    skip_existing: bool = False
    priority: int = PRIORITY
    local_peer: str = ""


@dataclass(frozen=True, slots=True)
class Staging:
    """The folder of a peer through which the files at `path` of this machine go, or come."""

    peer: str
    upload_id: str
    path: str

    @property
    def folder(self) -> str:
        """What represents it in a job."""
        return f"uploads/{self.upload_id}"


@dataclass(frozen=True, slots=True)
class Transfer:
    """A transfer to be done. fields: of its job. sent: before it; fetched: after it has succeeded."""

    fields: dict[str, Any]
    sent: Staging | None = None
    fetched: Staging | None = None

    @property
    def job_name(self) -> str:
        return str(self.fields["job_name"])

    @property
    def staging(self) -> Staging | None:
        return self.sent or self.fetched


def upload(client: Client, folder: str, target: str, options: TransferOptions) -> Transfer:
    """Spread the files of `folder` over the peers, into `target` in their data folders.

    Raises ClientError where there is nothing to upload, and for names that no transfer takes, naming all.
    """
    bulk = options.bulk
    if not options.local_peer:
        folder = os.path.abspath(folder)
        size = _mean_size(folder)
        _check_names(folder)
        bulk = size < BULK_BELOW_BYTES if bulk is None else bulk
    peer, sent = _local_side(client, options.local_peer, folder)
    fields = _fields("upload", target, peer, options, bulk)
    return Transfer(fields | {"input_dir": sent.folder if sent else folder, "output_dir": target}, sent=sent)


def download(
    client: Client, source: str, folder: str, options: TransferOptions, *, delete: bool = False
) -> Transfer:
    """Gather the files of `source` in the peers' data folders in `folder`.

    delete: remove the cluster's copies once all have arrived. Raises ClientError if `folder` is not a
    folder, and for `delete` if no peer runs on this machine.
    """
    if not options.local_peer:
        folder = os.path.abspath(folder)
        if os.path.lexists(folder) and not os.path.isdir(folder):
            raise ClientError(f"{folder} is not a folder: name one to download into")
    peer, fetched = _local_side(client, options.local_peer, folder)
    if delete and fetched is not None:
        raise ClientError(
            "no peer of the cluster runs on this machine, so files on their way to it are not deleted on the "
            "cluster: download them, then delete them by a file_transfer job with transfer_type delete"
        )
    # How large they are is not known here, and packing costs large ones nothing.
    fields = _fields("download", source, peer, options, options.bulk is not False)
    target = fetched.folder if fetched else folder
    fields |= {"input_dir": source, "output_dir": target, "delete_files": delete}
    return Transfer(fields, fetched=fetched)


def auxiliary(client: Client, name: str, file: str, options: TransferOptions) -> Transfer:
    """Put a JSON file on every peer as the auxiliary data `name`. Raises ClientError where it is none."""
    if not options.local_peer:
        file = os.path.abspath(file)
        if not os.path.isfile(file):
            raise ClientError(f"{file} is not a file: name the JSON file that becomes auxiliary/{name}.data")
        _check_json(file)
    peer, sent = _local_side(client, options.local_peer, file)
    fields = _fields("upload_auxiliary", name, peer, options, None)
    fields |= {"input_file_name": sent.folder if sent else file, "auxiliary_data_name": name}
    return Transfer(fields, sent=sent)


def _fields(
    transfer_type: str, what: str, peer: str, options: TransferOptions, bulk: bool | None
) -> dict[str, Any]:
    return {
        "job_type": "file_transfer",
        "job_name": transfer_name(transfer_type.removeprefix("upload_"), what),
        "job_priority": options.priority,
        "run_once": True,
        "transfer_type": f"{transfer_type}_bulk" if bulk else transfer_type,
        "local_peer": peer,
        "reload_files": not options.skip_existing,
        "compress": options.compress,
    }


def transfer_name(kind: str, what: str) -> str:
    """A new name for a job, such as `upload-corpus-3f9a1c`, made of what is transferred."""
    ending = f"-{token_hex(3)}"
    words = re.sub(r"[^A-Za-z0-9_.-]+", "-", what).strip("-.")
    return f"{kind}-{words}"[: _NAME_CHARACTERS_MAX - len(ending)].rstrip("-.") + ending


def peers_here(config: ClusterConfig) -> list[str]:
    """The peers whose host is this machine."""
    from pymr.wire.addresses import is_here

    hosts = {host: is_here(host) for host in {peer.host for peer in config.peers}}
    return [peer.name for peer in config.peers if hosts[peer.host]]


def _local_side(client: Client, wanted: str, path: str) -> tuple[str, Staging | None]:
    """The peer whose disk is meant: the one that is named, else one of this machine; else any, and the folder
    of it that represents the path here. One that is alive, if any is."""
    names = [peer.name for peer in client.config.peers]
    if wanted:
        if wanted not in names:
            raise ClientError(f"there is no peer {wanted}; there are: {', '.join(names)}")
        return wanted, None
    here = peers_here(client.config)
    if len(here) == 1:
        return here[0], None
    alive = {row.name for row in client.peers() if row.alive}
    candidates = here or names
    chosen = next((name for name in candidates if name in alive), candidates[0])
    return chosen, None if here else Staging(chosen, token_hex(16), path)


def _mean_size(folder: str) -> float:
    """Of the files in a folder, in bytes, judged by the first FILES_LOOKED_AT_MAX of them.

    Raises ClientError where there are none."""
    if not os.path.isdir(folder):
        raise ClientError(f"{folder} is not a folder: name the one whose files are to be uploaded")
    count = total = 0
    for size in _sizes(folder):
        count, total = count + 1, total + size
        if count >= FILES_LOOKED_AT_MAX:
            break
    if not count:
        raise ClientError(f"{folder} has no files in it, so there is nothing to upload")
    return total / count


def _sizes(folder: str) -> Iterator[int]:
    """Of all files below a folder, links followed where they lead to files. What cannot be looked at is left
    to the peer that reads it, which says so. Raises ClientError for a folder that is too deep to be moved."""
    from pymr.peer.disk.file_lists import LEVELS_MAX

    top = folder.rstrip("/").count("/")
    for parent, _, names in os.walk(folder):
        level = parent.rstrip("/").count("/") - top
        if level > LEVELS_MAX:
            raise ClientError(f"{parent} lies more than {LEVELS_MAX} folders below {folder}: move it up")
        for name in names:
            try:
                info = os.stat(os.path.join(parent, name))
            except OSError:
                continue
            if stat.S_ISREG(info.st_mode):
                yield info.st_size


def _check_names(folder: str) -> None:
    """Raise ClientError naming everything below a folder whose name no transfer takes."""
    from pymr.peer.disk.file_lists import TEMPORARY_PREFIX, RefusedNames

    refused = RefusedNames(folder)
    for parent, folders, files in os.walk(folder):
        below = os.path.relpath(parent, folder)
        kept = []
        for name in sorted(folders + files):
            path = name if below == "." else f"{below}/{name}"
            if not name.startswith(TEMPORARY_PREFIX) and not refused.add(path):
                kept.append(name)
        folders[:] = [name for name in folders if name in kept]
    if refused:
        raise ClientError(str(refused))


def _check_json(file: str) -> None:
    """Raise ClientError where the file is no JSON: better here than in every task that reads it."""
    from pymr.jobs.auxiliary_json import parse_auxiliary

    try:
        with open(file, "rb") as opened:
            parse_auxiliary(opened.read())
    except ValueError as error:
        raise ClientError(f"{file} is no JSON, which auxiliary data has to be: {error}") from error
    except OSError as error:
        raise ClientError(f"{file} cannot be read: {error.strerror}") from error
