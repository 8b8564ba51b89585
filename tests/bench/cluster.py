"""`python -m tests.bench.cluster`: how quick a cluster of real daemons is, each figure with its bar.

The exit status is 1 when a job fails or an output is wrong; a bar that is missed is told, not punished.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from cluster.clusters import Cluster  # noqa: E402  (of the tests, which are no package)
from cluster.gated import Gates  # noqa: E402
from cluster.running import processes_of  # noqa: E402

from pymr.config.cluster import EngineConfig, memory_bytes_per_worker  # noqa: E402
from pymr.engine.input.files import list_input_files  # noqa: E402
from pymr.engine.tasks import (  # noqa: E402
    JobContext,
    MapTask,
    ReduceTask,
    TaskWatch,
    plan_map_tasks,
    plan_reduce_tasks,
    run_map_task,
    run_reduce_task,
)
from pymr.jobs.job import parse_job  # noqa: E402
from pymr.peer.input.host_plan import task_bytes  # noqa: E402
from pymr.projects.project import load_functions  # noqa: E402
from tests.bench.data import Size, default_data_dir, prepare  # noqa: E402

FIRST_CALL_BAR_S = 0.5
EMPTY_JOB_BAR_S = 1.0
ENGINE_BAR = 1.15
TAKEOVER_BAR_S = 2.0
EXAMPLES = ROOT / "projects"


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(prefix="pymr-bench-") as folder:
        for name in arguments.only:
            place = Path(folder, name)
            place.mkdir()
            _MEASURES[name](place, arguments)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cluster", description=__doc__)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=list(_MEASURES), metavar="NAME,..."
    )
    parser.add_argument("--repeat", type=int, default=10, help="of the short measurements (%(default)s)")
    parser.add_argument("--megabytes", type=int, default=128, help="of the word count (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of the word count (%(default)s)")
    return parser.parse_args()


def measure_latency(folder: Path, arguments: argparse.Namespace) -> None:
    """Submit to the first call of the map function; an empty job from its submission to the end of a wait."""
    cluster = Cluster(folder, peers=3)
    gates = Gates(folder / "gates")
    cluster.project(gates.map_source, gates.reduce_source)
    cluster.start()
    first_calls, empty_jobs = [], []
    try:
        for number in range(arguments.repeat):
            cluster.feed("alpha", "a.txt", "to be or not to be")
            began = time.monotonic()
            cluster.submit(job_name=f"words-{number}")
            cluster.succeed(f"words-{number}")
            first_calls.append(gates.notes(f"words-{number}")[0][3] - began)
            (cluster.input_of("alpha") / "a.txt").unlink()
            began = time.monotonic()
            cluster.submit(job_name=f"empty-{number}")
            cluster.succeed(f"empty-{number}")
            empty_jobs.append(time.monotonic() - began)
    finally:
        _end(cluster)
    _tell("submit to first map call", first_calls, FIRST_CALL_BAR_S)
    _tell("an empty job, end to end", empty_jobs, EMPTY_JOB_BAR_S)


def measure_takeovers(folder: Path, arguments: argparse.Namespace) -> None:
    """kill -9 of the leader in the midst of short tasks, to the first one that its successor gave out."""
    cluster = Cluster(folder, peers=3, workers=1, settings={"engine": {"split_bytes": 200}})
    gates = Gates(folder / "gates")
    cluster.project(
        gates.map_source.replace('note("map")', 'note("map"); time.sleep(0.01)'), gates.reduce_source
    )
    for name in cluster.names:
        for number in range(60):
            cluster.feed(name, f"{number}.txt", *[f"{name} {number} {line}" for line in range(12)])
    cluster.start()
    took = []
    try:
        for number in range(arguments.repeat):
            took.append(takeover(cluster, gates, f"job-{number}"))
    finally:
        _end(cluster)
    _tell("kill -9 of the leader to the first task under another", took, TAKEOVER_BAR_S)


def takeover(cluster: Cluster, gates: Gates, job_name: str) -> float:
    """Kill the leader in the midst of a run; the seconds until a task runs that another leader gave out."""
    cluster.submit(job_name=job_name)
    cluster.wait_for(lambda: len(gates.attempts("map", job_name)) > 10, what="some tasks to be done")
    leader, epoch = cluster.leader(), cluster.epoch()
    killed_at = cluster.kill(leader)

    def first_under_another() -> float:
        began = [at for _, _, attempt, at in gates.notes(job_name) if int(attempt.split(".")[0]) > epoch]
        return min(began, default=0.0)

    first = cluster.wait_for(first_under_another, 20.0, "a task given out by another leader")
    cluster.restart(leader)
    cluster.succeed(job_name)
    return float(first - killed_at)


def measure_word_count(folder: Path, arguments: argparse.Namespace) -> None:
    """A word count by one peer with two workers, against the engine's own functions in two processes."""
    size = Size(arguments.megabytes, 0, None)
    data_dir = default_data_dir(size)
    data_dir.mkdir(parents=True, exist_ok=True)
    texts = prepare("text", data_dir, size)
    cluster = Cluster(folder, peers=1, workers=2)
    shutil.copytree(EXAMPLES / "wordcount", folder / "projects" / "wordcount")
    fields = cluster.job_fields(
        project_name="wordcount", input_dirs=[str(texts)], map_function_name="words", partitions=2
    )
    cluster.start()
    ratios, cpu_ratios = [], []
    try:
        for number in range(arguments.rounds):
            alone_s, alone_cpu_s = engine_alone(folder, fields, texts, workers=2)
            began, cpu_before_s = time.monotonic(), _cpu_s(cluster)
            cluster.submit(**fields | {"job_name": f"job-{number}"})
            cluster.succeed(f"job-{number}", 600.0)
            cluster_s, cpu_s = time.monotonic() - began, _cpu_s(cluster) - cpu_before_s
            ratios.append(cluster_s / alone_s)
            cpu_ratios.append(cpu_s / alone_cpu_s)
            print(
                f"  {arguments.megabytes} MB: cluster {cluster_s:.2f} s ({cpu_s:.2f} s of CPU), "
                f"engine alone {alone_s:.2f} s ({alone_cpu_s:.2f} s)",
                flush=True,
            )
    finally:
        _end(cluster)
    _tell("word count, cluster / engine alone", ratios, ENGINE_BAR, unit="x", best=True)
    _tell("the same in CPU time, for a busy machine", cpu_ratios, ENGINE_BAR, unit="x", best=True)


def _cpu_s(cluster: Cluster) -> float:
    """CPU seconds of all processes of a cluster so far, those that have ended included."""
    return sum(sum(process.cpu_times()[:4]) for process in processes_of(cluster.marker))


def engine_alone(folder: Path, fields: dict[str, Any], texts: Path, workers: int) -> tuple[float, float]:
    """(seconds, CPU seconds) of the same tasks by the same functions in so many processes, nothing else."""
    job = parse_job(fields)
    engine = EngineConfig()
    functions = load_functions(folder / "projects", job)
    context = JobContext(
        job, functions, engine, memory_bytes_per_worker(engine, workers), workers, None, None
    )
    work = folder / "alone"
    work.mkdir()
    began, cpu_before_s = time.monotonic(), _cpu_of_children_s()
    files = list_input_files([str(texts)])
    tasks = plan_map_tasks(files, task_bytes(files, workers, engine.split_bytes))
    with multiprocessing.get_context("fork").Pool(workers, _set_context, (context, str(work))) as pool:
        outputs = pool.map(_map, tasks, chunksize=1)
        pool.map(_reduce, plan_reduce_tasks(outputs), chunksize=1)
        pool.close()
        pool.join()
    took = time.monotonic() - began, _cpu_of_children_s() - cpu_before_s
    shutil.rmtree(work)
    return took


def _cpu_of_children_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


_context: list[Any] = []


def _set_context(context: JobContext, work: str) -> None:
    _context[:] = [context, work]


def _map(task: MapTask) -> Any:
    folder = os.path.join(_context[1], f"map-{task.index}")
    os.mkdir(folder)
    return run_map_task(_context[0], task, folder, TaskWatch())


def _reduce(task: ReduceTask) -> None:
    folder = os.path.join(_context[1], f"reduce-{task.partition}")
    os.mkdir(folder)
    run_reduce_task(_context[0], task, folder, TaskWatch())


def _end(cluster: Cluster) -> None:
    problems = cluster.end()
    if problems:
        print("\n".join(problems), file=sys.stderr)


def _tell(what: str, figures: Sequence[float], bar: float, *, unit: str = " s", best: bool = False) -> None:
    """One line: the figures' spread, and whether the bar is kept by 95 of 100 (`best`: by the best one)."""
    ordered = sorted(figures)
    at_95 = ordered[round(0.95 * (len(ordered) - 1))]
    judged = ordered[0] if best else at_95
    verdict = "ok" if judged <= bar else "OVER"
    print(
        f"{what}: best {ordered[0]:.2f}, median {statistics.median(ordered):.2f}, "
        f"95% {at_95:.2f}, worst {ordered[-1]:.2f}{unit} "
        f"(of {len(ordered)}; bar {bar:g}{unit}: {verdict})",
        flush=True,
    )


_MEASURES = {"latency": measure_latency, "takeovers": measure_takeovers, "wordcount": measure_word_count}

if __name__ == "__main__":
    sys.exit(main())
