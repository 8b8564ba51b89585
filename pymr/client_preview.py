"""Preview: a job is tried on the first lines of its input, on the first host that has some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymr.client_errors import UnreachableError
from pymr.requests import PreviewView

if TYPE_CHECKING:
    from pymr.client import Client


def preview_on(
    client: Client, fields: dict[str, Any], project_hash: str, lines: int, peer: str = ""
) -> PreviewView:
    """What comes of a job on the first lines of its input. peer: on whose host; "" for the first that has
    any. One that does not answer is passed over. Raises UnreachableError when none does."""
    hosts = {one.host: one.name for one in reversed(client.config.peers)}
    views, unreachable = [], None
    for name in [peer] if peer else reversed(hosts.values()):
        try:
            views.append(client.preview_on(fields, project_hash, lines, name))
        except UnreachableError as error:
            unreachable = error
            continue
        if views[-1].path or views[-1].error:
            return views[-1]
    if not views and unreachable:
        raise unreachable
    return views[0]
