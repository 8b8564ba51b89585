"""All that a console may do with a cluster."""

from pymr.client.client import (
    Client,
    ClientError,
    Listing,
    Outcome,
    PaneBytes,
    RefusedError,
    RunPanes,
    UnreachableError,
    decompressed,
    ended_run,
    may_still_end,
    split_worker,
)

__all__ = [
    "Client", "ClientError", "Listing", "Outcome", "PaneBytes", "RefusedError", "RunPanes",
    "UnreachableError", "decompressed", "ended_run", "may_still_end", "split_worker",
]  # fmt: skip
