"""A cluster that stands still at a moment, for pictures: jobs, workers, peers, events and panes."""

from __future__ import annotations

from job_samples import ANSWERED_AT, TRACEBACK

from pymr.client import PaneBytes
from pymr.wire.protocol import MachineFigures
from pymr.wire.requests import ClusterView, JobsView, JobView
from pymr.wire.rows import (
    EventRow,
    JobRow,
    PanePlace,
    PeerRow,
    PhaseRow,
    RunRow,
    RunStatus,
    TaskRow,
    WorkerRow,
)
from tui.model.pane.feed import PaneNews
from tui.model.state import ClusterState

NOW = 1_700_000_000.0
"""2023-11-14 22:13:20 UTC."""

LOOK_SECONDS = 2.0
PEERS = ("alpha", "beta", "gamma")
RUN = "nightly_wordcount-000007"


def _job(name: str, status: str = "queued", group: str | None = None, **info: object) -> JobRow:
    fields = {
        "job_name": name,
        "job_type": info.pop("job_type", "mapreduce"),
        "group_name": group,
        "job_priority": info.pop("priority", 5),
        "job_submitter": "ann@desk",
    }
    return JobRow(fields=fields, status=status, submitted_at=NOW - 7_000, version=2, **info)  # type: ignore[arg-type]


JOBS = (
    _job(
        "nightly_wordcount", "running", priority=9, current_phase="map", progress=0.46, seconds_left=187.0,
        run_id=RUN, start_time=NOW - 143, last_seconds=301.0, expected_end=NOW + 187,
    ),
    _job(
        "tide_tables", "running", priority=8, current_phase="map", progress=0.12, breakpoints=("beta/1",),
        run_id="tide_tables-000002", start_time=NOW - 65,
    ),
    _job("access_log", priority=8, expected_start=NOW + 187, last_seconds=44.0),
    _job(
        "harbour_fees", "failed", "billing", run_id="harbour_fees-000003", start_time=NOW - 900,
        end_time=NOW - 880, exception=TRACEBACK, last_seconds=20.0,
    ),
    _job("harbour_invoices", "queued", "billing", waiting_for="harbour_fees"),
    _job(
        "fetch_manifests", "succeeded", job_type="file_transfer", run_id="fetch_manifests-000012",
        start_time=NOW - 3_700, end_time=NOW - 3_600, last_seconds=100.0,
    ),
    _job(
        "rotate_archive", "skipped", job_type="script", run_id="rotate_archive-000001",
        start_time=NOW - 80_000, end_time=NOW - 79_990, last_seconds=10.0,
    ),
)  # fmt: skip

_RUNS: tuple[tuple[int, RunStatus, float], ...] = (
    (6, "succeeded", 301.0), (5, "succeeded", 288.0), (4, "failed", 31.0), (3, "succeeded", 296.0),
)  # fmt: skip
RUNS = tuple(
    RunRow(
        run_id=f"nightly_wordcount-{number:06d}",
        job_name="nightly_wordcount",
        job_version=2,
        status=status,
        start_time=NOW - 86_400 * (7 - number),
        end_time=NOW - 86_400 * (7 - number) + seconds,
        records=1_350_000,
        items=52_870,
        attempts_failed=number % 2,
    )
    for number, status, seconds in _RUNS
)


def _view(look: int) -> JobView:
    """The job that runs, at the first look or the second."""
    more = 90_000 * look
    phases = (
        PhaseRow(name="plan", done=3, total=3, seconds=0.4),
        PhaseRow(
            name="map", done=11, total=24, running=6, units=(612_000 + more, 402_000_000 + 60 * more),
            total_units=870_000_000, seconds=141.0, seconds_left=86.0,
        ),
        PhaseRow(
            name="shuffle", done=96, total=288, units=(96, 120_000_000), seconds=120.0, seconds_left=187.0
        ),
        PhaseRow(name="sort", total=12),
        PhaseRow(name="reduce", total=12),
        PhaseRow(name="publish", total=3),
    )  # fmt: skip
    tasks = tuple(
        TaskRow(
            task=f"map-{11 + number:05d}", attempt=f"map-{11 + number:05d}-1",
            worker=f"{PEERS[number % 3]}/{number // 3}", state="map", seconds=41.0 if number == 0 else 9.0,
            done=(21_000 * (6 - number), 14_000_000), usual_seconds=12.0,
        )
        for number in range(6)
    )  # fmt: skip
    sizes = (9, 11, 8, 31, 10, 9, 12, 7, 10, 14, 9, 8)
    return JobView(
        id="v", row=JOBS[0], phases=phases, tasks=tasks, runs=RUNS,
        partition_bytes=tuple(size * 1_100_000 for size in sizes),
        counters={"lines": 612_000 + more, "words": 5_130_000 + 8 * more, "blank lines": 4_117},
    )  # fmt: skip


def _machine(number: int) -> MachineFigures:
    return MachineFigures(
        cpu_percent=35.0 + 11 * (number % 5), memory_bytes=16_000_000_000,
        memory_used_bytes=5_200_000_000 + 150_000_000 * (number % 7), disk_bytes=500_000_000_000,
        disk_free_bytes=212_000_000_000, network_received_per_second=1e6 * (number % 9),
        network_sent_per_second=4e5 * (number % 4), load=1.7,
    )  # fmt: skip


def _peers() -> tuple[PeerRow, ...]:
    return tuple(
        PeerRow(
            name=name, address=f"10.0.0.{number}:7000", data_address=f"10.0.0.{number}:7001",
            pid=2_000 + number, leader=name == "beta", epoch=4, workers=2, busy=2, alive=name != "gamma",
            state="alive" if name != "gamma" else "dead", heard=0.4 if name != "gamma" else 83.0,
            version="1.4.0", machine=_machine(number),
        )
        for number, name in enumerate(PEERS, start=1)
    )  # fmt: skip


WORKERS = tuple(
    WorkerRow(
        name=f"{peer}/{slot}", peer=peer, pid=3_000 + slot, state="breakpoint" if peer == "beta" and slot else
        "map", job_name="tide_tables" if peer == "beta" and slot else "nightly_wordcount", run_id=RUN,
        task=f"map-{11 + slot:05d}", phase="map",
        done=(40_000, 14_000_000),
    )
    for peer in PEERS for slot in range(2)
)  # fmt: skip


def _events() -> tuple[EventRow, ...]:
    told = (
        ("peer.joined", "beta (10.0.0.2) is there", "", "beta"),
        ("leader.elected", "beta leads in epoch 4", "", "beta"),
        ("run.succeeded", "fetch_manifests has succeeded in 1:40", "fetch_manifests", ""),
        ("run.started", "harbour_fees has begun", "harbour_fees", ""),
        ("task.failed", "reduce-00002: KeyError: 'CHF'", "harbour_fees", "alpha"),
        ("run.failed", "harbour_fees has failed: KeyError: 'CHF'", "harbour_fees", ""),
        ("run.waiting", "harbour_invoices waits for harbour_fees", "harbour_invoices", ""),
        ("run.started", "nightly_wordcount has begun", "nightly_wordcount", ""),
        ("peer.lost", "gamma has not been heard for 10 s", "", "gamma"),
    )  # fmt: skip
    return tuple(
        EventRow(
            id=f"{number}-0", time=NOW - 4_000 + 400 * number, kind=kind, text=text, job_name=job, peer=peer,
            place=PanePlace("alpha/0", "harbour_fees-000003", 900) if "KeyError" in text else None,
        )
        for number, (kind, text, job, peer) in enumerate(told)
    )  # fmt: skip


def still_state() -> tuple[ClusterState, ClusterState]:
    """The cluster at two looks, with LOOK_SECONDS between them."""
    cluster = ClusterView(
        id="c", name="harbour", peer="alpha", incarnation="i", leader="beta", epoch=4, paused=False,
        peers_alive=2, peers=3, workers=6, workers_busy=6, jobs=len(JOBS), version="1.4.0", role="operator",
        breakpoints=("beta/1",),
    )  # fmt: skip
    first, second = (
        ClusterState(
            cluster=cluster, jobs=JobsView(id="j", rows=JOBS, total=len(JOBS)), runs=RUNS,
            job_views={"nightly_wordcount": _view(look)}, workers=WORKERS, peers=_peers(),
            machines={name: tuple(_machine(number) for number in range(60)) for name in PEERS},
            events=_events(), answered_at=ANSWERED_AT + LOOK_SECONDS * look,
        )
        for look in (0, 1)
    )  # fmt: skip
    return first, second


def pane_news(worker: str) -> PaneNews:
    """All that a worker has put out: text, colours, and the prompt of one that stands at a breakpoint."""
    lines = [f"reading harbour log {number} of 72" for number in range(30, 42)]
    lines[4] = "\x1b[33m4 lines without a date are left out\x1b[0m"
    lines[8] = "\x1b[1;31mberth 17 is occupied twice\x1b[0m"
    data = "".join(f"{line}\n" for line in lines).encode()
    if worker == "beta/1":
        data += b"> map_functions.py(12)words()\n-> for word in line.split():\n(Pdb) "
    return PaneNews(worker, "", PaneBytes(RUN, 0, data, len(data)))
