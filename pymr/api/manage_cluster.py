"""The daemons of a cluster from Python and notebooks: what `ClusterManager` does, shown as a table."""

from __future__ import annotations

from html import escape

from pymr.cli.rows import cluster_lines, cluster_table
from pymr.ops.manage_cluster import ClusterManager
from pymr.ops.status import ClusterStatus


class ShownStatus(ClusterStatus):
    """A status that shows as a table, in a terminal and in a notebook."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join([self.name, *cluster_lines(self, 0)])

    def _repr_html_(self) -> str:
        problem = f"<p>problem: {escape(self.problem)}</p>" if self.problem else ""
        return f"<p>{escape(self.name)}</p>{cluster_table(self).html()}{problem}"


class ManageCluster(ClusterManager):
    """The daemons of a cluster: start, stop and kill them, and see how they are. See docs/python-api.md."""

    status_type = ShownStatus
