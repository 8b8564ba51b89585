"""Projects as packages: a zip of the folder, and the hash of what is in it, for peers that do not have it.

The hash is that of the names and contents, not of the zip: versions of zlib compress differently.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath

from pymr.base.errors import ProjectError, disk_error
from pymr.config.byte_sizes import MIB, format_bytes
from pymr.projects.modules import project_folder

# A package is kept whole in Redis and in memory: code and small tables belong in a project, data does not.
PACKAGE_BYTES_MAX = 64 * MIB
PACKAGE_FILES_MAX = 10_000

# The earliest time that a zip can hold: the time of packing would make each package differ.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class ProjectPackage:
    """A packed project. content_hash: SHA-256 in hex, equal for equal files. data: a zip of them."""

    content_hash: str
    data: bytes


@dataclass(frozen=True, slots=True, order=True)
class _PackedFile:
    """A file of a project: its name is relative to the project's folder, with `/`."""

    name: str
    is_executable: bool
    content: bytes


def pack_project(projects_dir: Path, name: str) -> ProjectPackage:
    """Pack a project's folder, without hidden files and byte code.

    The same files give the same package, on the same version of zlib to the byte.
    Raises ProjectError for a link that leads out of the project or to a folder, for what is neither file nor
    folder, and beyond PACKAGE_BYTES_MAX or PACKAGE_FILES_MAX.
    """
    files = _read_folder(project_folder(projects_dir, name))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            entry = zipfile.ZipInfo(file.name, _ZIP_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, so that the mode counts
            entry.external_attr = (stat.S_IFREG | (0o755 if file.is_executable else 0o644)) << 16
            archive.writestr(entry, file.content)
    return ProjectPackage(_content_hash(files), buffer.getvalue())


def unpack_project(package_bytes: bytes, target_dir: Path, content_hash: str) -> None:
    """Make `target_dir` the folder of a packed project: it is there whole, or it is not there.

    A target with this content already is left alone; one with any other is replaced. That is decided by the
    files themselves, so what something else has damaged is repaired by the next call. What is new is on the
    disk when it gets its name: a power failure leaves no folder with files that are empty.
    Raises ProjectError when the package is damaged, has another content than `content_hash` says, or holds a
    name that leads out of the target; DiskError when it cannot be written.
    """
    files = _read_package(package_bytes)
    if _content_hash(files) != content_hash:
        raise ProjectError(
            f"a project package does not have the content that its hash {content_hash} says: it was damaged "
            "on its way, or it is not the one that was asked for; submit the job again"
        )
    if has_content(target_dir, content_hash):
        return
    try:
        _write_folder(files, target_dir)
    except OSError as error:
        # Another worker of this machine may have been quicker.
        if not has_content(target_dir, content_hash):
            raise disk_error("unpacking a project into", str(target_dir), error) from error


def has_content(target_dir: Path, content_hash: str) -> bool:
    """Whether a folder has the files of that package and no others, by reading all of them; hidden files and
    byte code do not count. False also for one that cannot be read."""
    try:
        return target_dir.is_dir() and _content_hash(_read_folder(target_dir)) == content_hash
    except ProjectError:  # something in it that no package has
        return False


def forget_byte_code(folder: Path) -> None:
    """Remove what Python has compiled in a folder, which no hash vouches for: a power failure may have left
    a part of it that fails to load, forever."""
    for path in list(folder.rglob("__pycache__")):
        shutil.rmtree(path, ignore_errors=True)
    for path in list(folder.rglob("*.pyc")):
        path.unlink(missing_ok=True)


def _read_folder(folder: Path) -> list[_PackedFile]:
    files: list[_PackedFile] = []
    left_bytes = PACKAGE_BYTES_MAX
    try:
        for path in _walk(folder, folder.resolve()):
            file = _read_file(path, path.relative_to(folder).as_posix(), left_bytes)
            left_bytes -= len(file.content)
            files.append(file)
            _check_size(str(folder), left_bytes, len(files))
    except OSError as error:
        raise ProjectError(f"{error.filename or folder} cannot be read: {error.strerror or error}") from error
    return sorted(files)


def _read_file(path: Path, name: str, left_bytes: int) -> _PackedFile:
    """One file, but no more of it than one byte above `left_bytes`."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ProjectError(f"{str(path)!r} has a name that is not UTF-8: rename it") from error
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        return _PackedFile(name, bool(mode & stat.S_IXUSR), file.read(left_bytes + 1))


def _walk(folder: Path, project: Path) -> Iterator[Path]:
    """The files under a folder that belong into a package. project: the resolved folder of the whole."""
    for path in sorted(folder.iterdir()):
        if is_left_out(path.name):
            continue
        if path.is_symlink():
            _check_link(path, project)
        if path.is_dir():
            yield from _walk(path, project)
        elif path.is_file():
            yield path
        else:
            raise ProjectError(f"{path} is neither a file nor a folder, so it cannot be part of a project")


def is_left_out(name: str) -> bool:
    """Whether a file or folder of this name is excluded from packages."""
    return name.startswith(".") or name == "__pycache__" or name.endswith(".pyc")


def _check_link(link: Path, project: Path) -> None:
    target = Path(os.path.realpath(link))
    if not target.is_relative_to(project):
        raise ProjectError(
            f"{link} is a link that leads out of the project, to {target}: put a copy in its place"
        )
    if target.is_dir():
        raise ProjectError(
            f"{link} is a link to a folder, which could hold itself: put the folder in its place"
        )


def _check_size(source: str, left_bytes: int, file_count: int) -> None:
    if left_bytes < 0 or file_count > PACKAGE_FILES_MAX:
        raise ProjectError(
            f"{source} is too large for a project package: at most {format_bytes(PACKAGE_BYTES_MAX)} in "
            f"{PACKAGE_FILES_MAX} files; data belongs into input_dirs or auxiliary data"
        )


def _content_hash(files: Sequence[_PackedFile]) -> str:
    digest = sha256()
    for file in files:
        name = file.name.encode()
        # Lengths first: without them, a name's end and a content's beginning could change places.
        digest.update(b"%d %d %d\n" % (len(name), file.is_executable, len(file.content)))
        digest.update(name)
        digest.update(file.content)
    return digest.hexdigest()


def _read_package(package_bytes: bytes) -> list[_PackedFile]:
    files: list[_PackedFile] = []
    left_bytes = PACKAGE_BYTES_MAX
    try:
        with zipfile.ZipFile(io.BytesIO(package_bytes)) as archive:
            for entry in archive.infolist():
                _check_entry(entry)
                with archive.open(entry) as stream:
                    content = stream.read(left_bytes + 1)
                left_bytes -= len(content)
                files.append(
                    _PackedFile(entry.filename, bool(entry.external_attr >> 16 & stat.S_IXUSR), content)
                )
                _check_size("a package", left_bytes, len(files))
    except _DAMAGED_ZIP_ERRORS as error:
        raise ProjectError(f"a project package is damaged, so submit the job again: {error}") from error
    return sorted(files)


# What zipfile raises for bytes that are not a zip, or not a whole one.
_DAMAGED_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    """Refuse what pack_project does not write; above all, names that lead out of the target."""
    path = PurePosixPath(entry.filename)
    mode = entry.external_attr >> 16
    is_plain = (
        entry.orig_filename == entry.filename == str(path)
        and path.parts
        and not path.is_absolute()
        and not any(part == ".." or is_left_out(part) for part in path.parts)
        and stat.S_ISREG(mode)
        and entry.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    )
    if not is_plain:
        raise ProjectError(
            f"a project package holds {entry.orig_filename!r}, which is not a plain file in it"
        )


def _write_folder(files: Sequence[_PackedFile], target_dir: Path) -> None:
    target_dir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target_dir.name}.", dir=target_dir.parent))
    try:
        fresh = staging / "new"
        fresh.mkdir()
        for file in files:
            path = fresh / file.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content)
            if file.is_executable:
                path.chmod(path.stat().st_mode | 0o111)
        _flush(fresh)
        _swap(fresh, target_dir, replaced=staging / "old")
        _flush_one(target_dir.parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Have everything below a folder on the disk: contents, modes and names."""
    for parent, _, names in os.walk(folder):
        for name in names:
            _flush_one(os.path.join(parent, name))
        _flush_one(parent)


def _flush_one(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _swap(fresh: Path, target_dir: Path, *, replaced: Path) -> None:
    """Rename `fresh` to `target_dir`, and what was there to `replaced`; it comes back on failure."""
    was_there = target_dir.exists()
    if was_there:
        target_dir.rename(replaced)
    try:
        fresh.rename(target_dir)
    except OSError:
        if was_there:
            with suppress(OSError):  # another worker has put its own there
                replaced.rename(target_dir)
        raise
