"""Which files of a listing were consumed before, also under another name, or compressed since.

A consumed file stands for at most one file of the listing. It is known again by what the file system says of
it, else by the fingerprint of its content and the second of its last change, which gzip, logrotate and
`cp -p` keep.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence

from pymr.engine.input.files import InputFile
from pymr.engine.input.fingerprints import UNKNOWN, Fingerprint, fingerprint_of
from pymr.peer.disk.content_notes import NoteKey, note_key
from pymr.peer.input.consumed_lists import Fact

_NS = 1_000_000_000

_Left = dict[bytes, InputFile]
"""Files of the listing for which nothing consumed stands so far, by real path, in their order."""


def match_files(
    consumed: Sequence[Fact], found: Mapping[str, InputFile]
) -> tuple[list[Fact], list[InputFile]]:
    """(all that is consumed when these files are, sorted; the files not consumed yet, in their order).

    found: the listing, by real path. A consumed file stands for the file of the listing that has its path,
    inode, size and time; else for one with its device, inode, size and time, whatever its name; else for one
    whose content has its fingerprint and whose time is of the same second, best of all the very same time.
    What is consumed and stands for none stays, as it may come back.
    Cost: two small reads for each file that is new; a compressed one is read whole where something consumed
    that has its second is missing, as far as the longest of those goes. Memory: all facts, once or twice.
    """
    left: _Left = {os.fsencode(path): file for path, file in found.items()}
    kept: list[Fact] = []
    missing = _match_by_path(consumed, left, kept)
    if missing and left:
        missing = _match_by_inode(missing, left, kept)
    looked_at: dict[bytes, Fingerprint] = {}
    if missing and left:
        missing = _match_by_content(missing, left, kept, looked_at)
    kept += missing
    for path, file in left.items():
        kept.append(_fact(path, file, looked_at.get(path) or fingerprint_of(file.path, file.size)))
    kept.sort()
    return kept, list(left.values())


def with_note(fact: Fact, notes: Mapping[NoteKey, Fingerprint]) -> Fact:
    """The fact with the fingerprint that was noted when the file was read, if it was."""
    noted = notes.get(note_key(fact.path, fact.inode, fact.size, fact.mtime_ns))
    return fact if noted is None else fact._replace(length=noted.length, digest=noted.digest)


def _match_by_path(consumed: Iterable[Fact], left: _Left, kept: list[Fact]) -> list[Fact]:
    missing = []
    for fact in consumed:
        file = left.get(fact.path)
        if file is not None and _facts_of(file) == (fact.inode, fact.size, fact.mtime_ns):
            del left[fact.path]
            kept.append(_known_again(fact, fact.path, file))
        else:
            missing.append(fact)
    return missing


def _match_by_inode(consumed: Iterable[Fact], left: _Left, kept: list[Fact]) -> list[Fact]:
    """Of an earlier release the device is not known; then the others have to do."""
    paths: dict[tuple[int, int, int], list[bytes]] = {}
    for path, file in left.items():
        paths.setdefault(_facts_of(file), []).append(path)
    missing = []
    for fact in consumed:
        candidates = paths.get((fact.inode, fact.size, fact.mtime_ns), [])
        same = [path for path in candidates if fact.device in (0, left[path].device)]
        if same:
            candidates.remove(same[0])
            kept.append(_known_again(fact, same[0], left.pop(same[0])))
        else:
            missing.append(fact)
    return missing


def _match_by_content(
    consumed: Sequence[Fact], left: _Left, kept: list[Fact], looked_at: dict[bytes, Fingerprint]
) -> list[Fact]:
    """looked_at: takes the fingerprints of files that nothing consumed has."""
    by_second: dict[int, dict[Fingerprint, list[Fact]]] = {}
    for fact in consumed:
        if fact.digest:
            alike = by_second.setdefault(fact.mtime_ns // _NS, {})
            alike.setdefault(Fingerprint(fact.length, fact.digest), []).append(fact)
    lengths = {second: frozenset(one.length for one in alike) for second, alike in by_second.items()}
    times = {fact.mtime_ns for fact in consumed if fact.digest}
    matched: set[int] = set()
    # Of several alike, each is to be the one whose time it has to the nanosecond.
    for path, file in sorted(left.items(), key=lambda one: one[1].mtime_ns not in times):
        second = file.mtime_ns // _NS
        if second not in by_second:
            continue
        found = fingerprint_of(file.path, file.size, lengths=lengths[second])
        info = by_second[second].get(found)
        if info:
            fact = next((one for one in info if one.mtime_ns == file.mtime_ns), info[0])
            info.remove(fact)
            matched.add(id(fact))
            kept.append(_fact(path, left.pop(path), found))
        elif found != UNKNOWN:
            looked_at[path] = found
    return [fact for fact in consumed if id(fact) not in matched]


def _facts_of(file: InputFile) -> tuple[int, int, int]:
    return file.inode, file.size, file.mtime_ns


def _known_again(fact: Fact, path: bytes, file: InputFile) -> Fact:
    """The fact as it is now. One of an earlier release gets its fingerprint here."""
    if fact.digest:
        if (fact.path, fact.device) == (path, file.device):
            return fact
        return _fact(path, file, Fingerprint(fact.length, fact.digest))
    return _fact(path, file, fingerprint_of(file.path, file.size))


def _fact(path: bytes, file: InputFile, fingerprint: Fingerprint) -> Fact:
    return Fact(path, file.size, file.mtime_ns, file.inode, file.device, *fingerprint)
