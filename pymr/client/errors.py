"""What goes wrong between a console and the cluster."""

from __future__ import annotations

from pymr.base.errors import PymrError


class ClientError(PymrError):
    """What a console wanted did not happen; the message says why, and what to do."""


class UnreachableError(ClientError):
    """No peer that could answer did; the message names those that were tried."""


class RefusedError(ClientError):
    """A peer said no. code: see `requests.Refused`."""

    def __init__(self, code: str, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)

    def __reduce__(self) -> tuple[type[RefusedError], tuple[str, str]]:
        return type(self), (self.code, self.reason)
