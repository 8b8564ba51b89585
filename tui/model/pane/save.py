"""Saving a whole pane: all that is kept of it, as text without colours, into a file, in a thread."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from stat import S_IMODE, S_ISDIR, S_ISREG

from pymr.base.errors import PymrError
from pymr.base.terminal_text import TerminalText
from tui.model.pane.search import PIECE_BYTES, ReadPiece


def may_replace(path: Path) -> bool:
    """Whether there is a file, which could be replaced; False for nothing.

    Raises PymrError if it is not a regular file, or if that cannot be determined.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _problem(path, error) from error
    if not S_ISREG(mode):
        raise PymrError(f"{'a folder' if S_ISDIR(mode) else 'no regular file'} has that name: {path}")
    return True


def save_pane(
    read: ReadPiece,
    path: Path,
    *,
    over: bool,
    on_progress: Callable[[int, int], object] = lambda _done, _total: None,
) -> int:
    """Write all that is kept of a pane to a file, whole or not at all; the size of the file.

    Lines end in LF, escape sequences are left out, and a line tells where something is not kept. over:
    replace a regular file that is there, the one that a link leads to. Raises PymrError where it cannot be
    written, and what `read` does.
    """
    path = Path(os.path.realpath(path))
    is_there = may_replace(path)
    if is_there and not over:
        raise PymrError(f"there is a file already: {path}")
    temporary = path.with_name(f".pymr-{secrets.token_hex(8)}")
    try:
        size = _write(read, temporary, on_progress)
        if is_there:
            temporary.chmod(S_IMODE(path.stat().st_mode))
        if over:
            temporary.replace(path)
        else:
            os.link(temporary, path)  # unlike a rename it fails where a file has come meanwhile
        return size
    except OSError as error:
        raise _problem(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def _write(read: ReadPiece, path: Path, on_progress: Callable[[int, int], object]) -> int:
    end, offset, text = read(0, 1).end, 0, TerminalText(is_plain=True)
    with path.open("xb") as file:
        while offset < end:
            piece = read(offset, min(PIECE_BYTES, end - offset))
            if not piece.data:
                break
            if piece.skipped:
                note = f"\n[pymr: {piece.skipped:,} bytes of output are not kept here]\n"
                file.write(text.end() + note.encode())
            file.write(text.feed(piece.data))
            offset = piece.next
            on_progress(offset, end)
        file.write(text.end())
        return file.tell()


def _problem(path: Path, error: OSError) -> PymrError:
    """The reason first: of a long path the end is not seen."""
    return PymrError(f"{error.strerror or error}: {path}")
