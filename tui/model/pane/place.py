"""Where a failure begins in a pane, of which is known where it ends."""

from __future__ import annotations

import re

_BEGINNING = re.compile(rb"^(?:.*Traceback \(most recent call last\)|Fatal Python error: )", re.MULTILINE)
_CHAINED = (b"During handling of the above exception", b"was the direct cause of the following exception")
LOOKED_BACK_BYTES = 128 << 10
LOOKED_AHEAD_BYTES = 64 << 10


def start_of_failure(data: bytes) -> int:
    """Where the traceback begins with which these bytes end, those chained to it included, or what
    faulthandler says of a crash; without one, the last line."""
    starts = [match.start() for match in _BEGINNING.finditer(data)]
    if not starts:
        return data.rstrip().rfind(b"\n") + 1
    start = starts.pop()
    while starts and any(words in data[starts[-1] : start] for words in _CHAINED):
        start = starts.pop()
    return start
