"""The entry point of `pymr-peer`."""

from __future__ import annotations

import sys
from typing import NoReturn


def main() -> NoReturn:
    """Say that this release has no cluster yet; exit with a status that is no success."""
    sys.exit("pymr-peer: the cluster is not part of this release; run a job on this machine with `pymr run`")
