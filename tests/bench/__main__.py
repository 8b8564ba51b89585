"""`python -m tests.bench`: pymr against the floor, hand-written programs and GNU tools, as a table of ratios.

The exit status is 1 when an output is wrong or a command fails; a bar that is missed is told, not punished.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.compare import BenchmarkError, Comparison, compare
from tests.bench.data import DataError, Size, default_data_dir, prepare
from tests.bench.workloads import REAL_TEXT_WORKLOADS, WORKLOADS, Workload

HEADER = (
    "workload",
    "pymr s",
    "floor s",
    "pool s",
    "GNU s",
    "/floor",
    "/pool",
    "/GNU",
    "peak RSS MB",
    "bar",
    "output",
)
NOTHING = "-"
DISTURBED = " (*)"


def main() -> int:
    arguments = _arguments()
    size = Size(arguments.megabytes, arguments.records, arguments.text)
    data_dir = arguments.data or default_data_dir(size)
    data_dir.mkdir(parents=True, exist_ok=True)
    _report(f"data in {data_dir}, {arguments.workers} workers, best of {arguments.repeat}")

    comparisons: list[Comparison] = []
    failed = False
    with tempfile.TemporaryDirectory(prefix="runs-", dir=data_dir) as work_dir:
        for workload in arguments.workloads:
            try:
                input_dir = prepare(workload.dataset, data_dir, size)
                comparison = compare(
                    workload,
                    input_dir,
                    Path(work_dir),
                    workers=arguments.workers,
                    repeat=arguments.repeat,
                    report=_report,
                )
            except (BenchmarkError, DataError) as error:
                _report(str(error))
                failed = True
            else:
                comparisons.append(comparison)
    if comparisons:
        _print_table([_row(comparison) for comparison in comparisons], markdown=arguments.markdown)
    if any(comparison.is_disturbed for comparison in comparisons):
        print(f"\n{DISTURBED.strip()} The machine was busy with something else; measure these again.")
    return 1 if failed or any(comparison.same_output is False for comparison in comparisons) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "--text", type=Path, metavar="DIR", help="also count the words of this folder's text files"
    )
    parser.add_argument(
        "--megabytes", type=int, default=128, help="input of each text workload (%(default)s)"
    )
    parser.add_argument("--records", type=int, default=5_000_000, help="records to sort (%(default)s)")
    parser.add_argument("--workers", type=int, default=2, help="processes of every way (%(default)s)")
    parser.add_argument(
        "--repeat", type=int, default=1, help="runs of every way; the best counts (%(default)s)"
    )
    parser.add_argument("--only", default="", metavar="NAME,...", help="run these workloads only")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder for the generated data (kept)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    for name in ("megabytes", "records", "workers", "repeat"):
        if getattr(arguments, name) < 1:
            parser.error(f"--{name} has to be at least 1")
    if arguments.text is not None and not arguments.text.is_dir():
        parser.error(f"--text {arguments.text}: no such folder")

    offered: dict[str, Workload] = {workload.name: workload for workload in WORKLOADS}
    if arguments.text is not None:
        offered |= {workload.name: workload for workload in REAL_TEXT_WORKLOADS}
    wanted = arguments.only.split(",") if arguments.only else list(offered)
    unknown = [name for name in wanted if name not in offered]
    if unknown:
        parser.error(f"--only: no workload {', '.join(unknown)}; there are {', '.join(offered)}")
    arguments.workloads = [offered[name] for name in wanted]
    return arguments


def _row(comparison: Comparison) -> tuple[str, ...]:
    measured = comparison.measurements
    seconds = [
        f"{measured[way].wall_s:.2f}" if way in measured else NOTHING
        for way in ("pymr", "floor", "pool", "gnu")
    ]
    ratios = [_number(comparison.ratio_to(way)) for way in ("floor", "pool", "gnu")]
    peak_rss = f"{measured['pymr'].peak_rss_bytes / 1_000_000:.0f}"
    output = {True: "same", False: "DIFFERS", None: NOTHING}[comparison.same_output]
    name = comparison.workload.name + (DISTURBED if comparison.is_disturbed else "")
    return (name, *seconds, *ratios, peak_rss, ", ".join(_verdicts(comparison)), output)


def _verdicts(comparison: Comparison) -> Iterable[str]:
    workload = comparison.workload
    bars = (
        ("pool", workload.pool_bar, comparison.ratio_to("pool"), "x"),
        ("GNU", workload.gnu_bar, comparison.ratio_to("gnu"), "x"),
        ("wall", workload.seconds_bar, comparison.measurements["pymr"].wall_s, " s"),
    )
    for name, bar, value, unit in bars:
        if bar is not None:
            verdict = "not measured" if value is None else "ok" if value <= bar else "over"
            yield f"{name} <= {bar:.2f}{unit} {verdict}"


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.2f}"


def _print_table(rows: Sequence[tuple[str, ...]], *, markdown: bool) -> None:
    if markdown:
        separator = ("---", *("---:" for _ in HEADER[1:-2]), "---", "---")
        for row in (HEADER, separator, *rows):
            print("| " + " | ".join(row) + " |")
        return
    table = Table()
    for name in HEADER:
        table.add_column(name, justify="left" if name in ("workload", "bar", "output") else "right")
    for row in rows:
        style = "red" if "over" in row[-2] or row[-1] == "DIFFERS" else None
        table.add_row(*row, style=style)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _report(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
