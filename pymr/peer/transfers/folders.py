"""Which folder a path in a file_transfer job means on a peer, opened so that nothing leads out of it."""

from __future__ import annotations

import os

from pymr.base.durable import make_folders
from pymr.base.errors import InputError, disk_error
from pymr.config.cluster import ClusterConfig
from pymr.jobs.transfer_rules import OWN_FOLDERS, STAGED
from pymr.peer.disk.paths import is_below, resolve_input
from pymr.peer.disk.rooted_files import PathRefusedError, RootedFiles

STAGED_FILES = "files"
"""In a folder that stands for one of a console: what was downloaded into it."""


def cluster_folder(data_dir: str, name: str, config: ClusterConfig, field: str) -> RootedFiles:
    """A folder of the cluster in the data folder of this peer, which need not exist."""
    refuse_private(os.path.join(data_dir, name), config, field)
    return RootedFiles(data_dir, os.path.normpath(name))


def is_there(folder: RootedFiles) -> bool:
    """Whether a folder exists. Raises PathRefusedError where something else has its name."""
    try:
        folder.folder("")
    except FileNotFoundError:
        return False
    return True


def local_source(data_dir: str, name: str, config: ClusterConfig, field: str) -> RootedFiles:
    """A folder that is read on local_peer. Raises InputError where it is none, or not to be read."""
    path = resolve_input(data_dir, name, config, field)
    real = os.path.realpath(path)
    refuse_private(real, config, field)
    if os.path.lexists(real) and not os.path.isdir(real):
        raise InputError(f"{field}: {path} is no folder; name the folder in which the files lie")
    try:
        folder = RootedFiles(real)
    except OSError as error:
        raise InputError(f"{field}: the folder {path} cannot be read: {error.strerror or error}") from error
    return folder


def local_file(data_dir: str, name: str, config: ClusterConfig, field: str) -> tuple[RootedFiles, str]:
    """A file that is read on local_peer, as the folder in which it really is and its name there."""
    real = os.path.realpath(resolve_input(data_dir, name, config, field))
    refuse_private(real, config, field)
    try:
        return RootedFiles(os.path.dirname(real)), os.path.basename(real)
    except OSError as error:
        raise InputError(f"{field}: {real} cannot be read: {error.strerror or error}") from error


def local_target(data_dir: str, name: str, config: ClusterConfig, field: str) -> RootedFiles:
    """A folder that is written on local_peer, and made if it is missing."""
    if STAGED.fullmatch(name):
        return RootedFiles(data_dir, f"{name}/{STAGED_FILES}")
    if not os.path.isabs(name):
        refuse_private(os.path.join(data_dir, name), config, field)
        return RootedFiles(data_dir, os.path.normpath(name))
    path = resolve_input(data_dir, name, config, field)
    if os.path.lexists(path) and not os.path.isdir(path):
        raise PathRefusedError(f"{field}: {path} is no folder; name a folder to write to")
    _refuse_own(path, config, field)
    try:
        make_folders(path)
        return RootedFiles(os.path.realpath(path))
    except OSError as error:
        raise disk_error("making the folder", path, error) from error


def _refuse_own(path: str, config: ClusterConfig, field: str) -> None:
    """Refuse to write where a peer keeps its own affairs."""
    real = os.path.realpath(path)
    for peer in config.peers:
        data_dir = os.path.realpath(peer.data_dir)
        own = [os.path.join(data_dir, name) for name in OWN_FOLDERS]
        if real == data_dir or is_below(real, own):
            raise PathRefusedError(f"{field}: {path} is where peer {peer.name} keeps its own files")
    refuse_private(real, config, field)


def refuse_private(path: str, config: ClusterConfig, field: str) -> None:
    """Refuse to read or write the cluster's keys and its own Redis, or a folder that holds them."""
    real = os.path.realpath(path)
    private = {
        "the cluster's keys (security.keys_dir)": config.security.keys_dir,
        "the cluster's Redis (redis.directory)": config.redis.directory if config.redis.managed else None,
    }
    for what, folder in private.items():
        own = os.path.realpath(folder) if folder else ""
        if own and (is_below(real, (own,)) or is_below(own, (real,))):
            raise PathRefusedError(
                f"{field}: {real} lies in or holds {own}, the folder of {what}: name another"
            )


def refuse_overlap(local: RootedFiles, name: str, config: ClusterConfig, host: str, field: str) -> None:
    """Raise InputError where a local folder is, holds, or lies in the folder `name` of a peer of its host.

    A file would be moved onto itself, and deleted as the one that was moved. (A machine of several names is
    seen through when such a file is found to be there already.)
    """
    real = os.path.realpath(local.root)
    for peer in config.peers:
        other = os.path.realpath(os.path.join(peer.data_dir, name))
        if peer.host == host and (is_below(real, (other,)) or is_below(other, (real,))):
            raise InputError(
                f"{field}: {local.root} and {other}, the folder of peer {peer.name} in this transfer, lie in "
                "each other; name another folder"
            )
