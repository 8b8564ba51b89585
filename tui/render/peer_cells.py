"""The cells of a peer and its machine in the table of peers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from textual.content import Content

from pymr.wire.protocol import MachineFigures
from pymr.wire.rows import PeerRow
from pymr.wire.wording import amount, heard_ago
from tui.model.sort_order import sorted_rows
from tui.model.state import ClusterState
from tui.render.sparkline import spark_text
from tui.render.styled_line import MUTED, Cell
from tui.render.table_columns import Column

LATE_SECONDS, SILENT_SECONDS = 2.0, 5.0
"""A peer reports more often than once in a second; its leader takes it for dead after some."""

NETWORK_TOP_MIN = 100_000.0
"""A network that carries less than this in a second is shown as idle, not as busy as it ever was."""

_SPARK = 10
_HEADROOM = 1.15
"""No block is quite as high as its line, or those of lines below each other would be one."""
_STATES = {
    "alive": ("✓", "$success"),
    "suspect": ("?", "$warning"),
    "draining": ("↓", "$warning"),
    "dead": ("✗", "$error"),
}
_OTHER_STATE = ("·", MUTED)


@dataclass(frozen=True, slots=True)
class PeerLine:
    """A peer as it is shown. samples: of its machine, the newest last. has_other_version: than most have.
    is_old: nobody tells of the peers any more, and this is how it stood."""

    row: PeerRow
    samples: tuple[MachineFigures, ...]
    has_other_version: bool
    is_old: bool = False


PEER_COLUMNS = (
    Column("name", "peer", 14, flex=2, width_max=28),
    Column("state", "state", 10),
    Column("busy", "busy", 5, align="right"),
    Column("cpu", "CPU", 4, align="right"),
    Column("cpu_spark", "", _SPARK, may_sort=False),
    Column("memory", "memory", 12, align="right"),
    Column("heard", "heard", 9, align="right"),
    Column("disk", "disk free", 10, align="right", priority=2),
    Column("load", "load", 5, align="right", priority=3),
    Column("received", "received", 10, align="right", priority=4),
    Column("received_spark", "", _SPARK, priority=9, may_sort=False),
    Column("sent", "sent", 10, align="right", priority=4),
    Column("sent_spark", "", _SPARK, priority=9, may_sort=False),
    Column("address", "address", 20, flex=1, width_max=32, priority=5),
    Column("version", "version", 11, priority=6),
    Column("epoch", "epoch", 6, align="right", priority=7),
    Column("pid", "pid", 7, align="right", priority=8),
)


def peer_lines(state: ClusterState, *, are_old: bool = False) -> list[PeerLine]:
    """A line for each peer, in the order of the configuration."""
    versions = Counter(row.version for row in state.peers if row.version)
    usual = versions.most_common(1)[0][0] if versions else ""
    return [
        PeerLine(row, state.machines.get(row.name, ()), bool(row.version) and row.version != usual, are_old)
        for row in state.peers
    ]


def sorted_lines(lines: list[PeerLine], column: str, is_reverse: bool) -> list[PeerLine]:
    """By a column, "" for the order they are in; those without a value come last either way."""
    key = _SORT_KEYS.get(column)
    return lines if key is None else sorted_rows(lines, lambda line: key(line.row), is_reverse)


def _figure(name: str) -> Callable[[PeerRow], float | None]:
    """Of a machine; None where the table shows none."""
    return lambda row: getattr(row.machine, name) if row.alive else None


_SORT_KEYS: dict[str, Callable[[PeerRow], Any]] = {
    "name": lambda row: row.name,
    "state": lambda row: row.state,
    "busy": lambda row: row.busy if row.alive else None,
    "cpu": _figure("cpu_percent"),
    "memory": _figure("memory_used_bytes"),
    "heard": lambda row: row.heard if row.heard is not None else row.unheard,
    "disk": _figure("disk_free_bytes"),
    "load": _figure("load"),
    "received": _figure("network_received_per_second"),
    "sent": _figure("network_sent_per_second"),
    "address": lambda row: row.address,
    "version": lambda row: row.version or None,
    "epoch": lambda row: row.epoch or None,
    "pid": lambda row: row.pid or None,
}


def peer_cell(line: PeerLine, column: str) -> Cell:
    cell = _cell_of(line, column)
    return Content.styled(str(cell), MUTED) if line.is_old else cell


def _cell_of(line: PeerLine, column: str) -> str | Content:
    row, machine = line.row, line.row.machine
    if column == "name":
        return name_words(row)
    if column == "state":
        return state_words(row)
    if column == "heard":
        return heard_words(row)
    if column == "version":
        return version_words(line)
    if column == "address":
        return Content.styled(row.address, MUTED)
    if column == "pid":
        return Content.styled(str(row.pid or "-"), MUTED)
    if column == "epoch":
        return str(row.epoch or "-")
    if not row.alive:
        return Content.styled("" if column.endswith("_spark") else "-", MUTED)
    if column == "busy":
        return f"{row.busy}/{row.workers}"
    if column.endswith("_spark"):
        return Content.styled(spark_of(line.samples, column.removesuffix("_spark"), _SPARK), "$primary")
    return figure_of(machine, column)


def name_words(row: PeerRow) -> Content:
    """Its name; the one that leads is marked."""
    return Content.assemble(row.name, (" ★ leads", "$primary")) if row.leader else Content(row.name)


def state_words(row: PeerRow) -> Content:
    symbol, colour = _STATES.get(row.state, _OTHER_STATE)
    return Content.styled(f"{symbol} {row.state}", colour)


def heard_words(row: PeerRow) -> Content:
    """How long ago its last report was; see `heard_ago`."""
    ago = row.heard if row.heard is not None else row.unheard
    if ago is None:
        return Content.styled(heard_ago(row), MUTED)
    is_silent = not row.alive or ago > SILENT_SECONDS
    colour = "$error" if is_silent else "$warning" if ago > LATE_SECONDS else ""
    return Content.styled(heard_ago(row), colour)


def version_words(line: PeerLine) -> Content:
    if line.has_other_version:
        return Content.styled(f"{line.row.version} ≠", "$warning")
    return Content.styled(line.row.version or "-", MUTED)


def figure_of(machine: MachineFigures, name: str) -> str:
    """A figure of a machine, for a person; `-` where it is not known."""
    if name == "cpu":
        return f"{machine.cpu_percent:.0f}%"
    if name == "memory":
        used, size = machine.memory_used_bytes / 1e9, machine.memory_bytes / 1e9
        digits = 0 if size >= 100 else 1
        return f"{used:.{digits}f}/{size:.{digits}f} GB" if size else "-"
    if name == "disk":
        return amount(machine.disk_free_bytes) if machine.disk_bytes else "-"
    if name == "load":
        return f"{machine.load:.1f}"
    per_second = (
        machine.network_received_per_second if name == "received" else machine.network_sent_per_second
    )
    return f"{amount(per_second)}/s"


def spark_of(samples: Sequence[MachineFigures], name: str, width: int) -> str:
    """The last samples of a figure, in `width` characters, the newest at the right end."""
    if name == "cpu":
        values, top = [one.cpu_percent for one in samples], 100.0
    elif name == "memory":
        values = [float(one.memory_used_bytes) for one in samples]
        top = float(max((one.memory_bytes for one in samples), default=0))
    else:
        values = [
            one.network_received_per_second if name == "received" else one.network_sent_per_second
            for one in samples
        ]
        top = max(NETWORK_TOP_MIN, *values, 0.0)
    return spark_text(values[-width:], top * _HEADROOM).rjust(width)
