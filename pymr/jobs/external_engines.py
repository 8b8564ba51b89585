"""Jobs on external engines: which engine a job names, and which input the workers of one can read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

OWN_ENGINE = "pymr"
EXTERNAL_ENGINES = ("dask", "ray", "spark")
ENGINES = (OWN_ENGINE, *EXTERNAL_ENGINES)


def external_engine(fields: Mapping[str, Any]) -> str:
    """The external engine that does the tasks of a job; "" where workers of the cluster do."""
    engine = fields.get("engine")
    is_external = fields.get("job_type") == "mapreduce" and engine in EXTERNAL_ENGINES
    return str(engine) if is_external else ""


def why_out_of_reach(
    fields: Mapping[str, Any], hosts: Collection[str], shared: Collection[str]
) -> tuple[str, str]:
    """(entry of input_dirs, why) of the first that cannot be read by the workers of the external engine of a
    job, nor by the peer that drives the run; ("", "") if there is none.

    hosts: of all peers. shared: the folders of `storage.shared`. On one host all its peers' folders are read.
    """
    if not external_engine(fields) or len(hosts) < 2:
        return "", ""
    for name in _names(fields.get("input_dirs")):
        if not any(name == root or name.startswith(root.rstrip("/") + "/") for root in shared):
            where = " or ".join(shared) or "an entry of storage.shared in cluster.toml, which has none"
            return name, (
                f"lies on each of the {len(hosts)} hosts for itself, and workers of {fields.get('engine')} "
                f"cannot read it there: name a folder below {where}, which all of them see alike"
            )
    return "", ""


def _names(folders: object) -> Iterable[str]:
    return map(str, folders) if isinstance(folders, list | tuple) else ()
