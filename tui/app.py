"""The entry point of `pymr-tui`."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Say that this release has no console yet; exit with a status that is no success."""
    sys.exit("pymr-tui: the console is not part of this release; run a job on this machine with `pymr run`")
