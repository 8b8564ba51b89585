"""What pymr on an external engine is compared with: the same jobs as a user of that engine writes them.

Run as a process of its own: `python -m tests.bench.rivals spark|dask|ray JOB --input DIR --output DIR`. Each
begins the engine on this machine and ends it, as `pymr run --engine` does, and writes JSON lines.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from operator import add
from pathlib import Path
from typing import Any

import orjson

from pymr.engines.java import java_home

KEY_CHARACTERS = 10
"""Of a record to sort."""

Program = Callable[[Path, Path, Any], None]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.rivals")
    parser.add_argument("engine", choices=ENGINES)
    parser.add_argument("job", choices=sorted({job for _, job in PROGRAMS}))
    parser.add_argument("--input", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    program = PROGRAMS[arguments.engine, arguments.job]
    ENGINES[arguments.engine](arguments.workers, partial(program, arguments.input, arguments.output))


def words(line: str) -> list[tuple[str, int]]:
    """The map function of the word count."""
    return [(word, 1) for word in line.split()]


def split_record(line: str) -> tuple[str, str]:
    """The map function of the sort."""
    return line[:KEY_CHARACTERS], line[KEY_CHARACTERS:]


# ---- Spark: RDDs


def with_spark(workers: int, program: Callable[[Any], None]) -> None:
    from pyspark import SparkConf, SparkContext

    with tempfile.TemporaryDirectory() as folder:
        if home := java_home(folder):
            os.environ["JAVA_HOME"] = home
        os.environ["PYSPARK_PYTHON"] = sys.executable
        settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.local.dir": folder}
        context = SparkContext(conf=SparkConf().setMaster(f"local[{workers}]").setAll(list(settings.items())))
        gateway = SparkContext._gateway
        program(context)
        context.stop()
        if gateway is not None:
            gateway.shutdown()
            gateway.proc.stdin.close()
            gateway.proc.wait()


def spark_wordcount(input_dir: Path, output_dir: Path, context: Any) -> None:
    counts = context.textFile(str(input_dir)).flatMap(words).reduceByKey(add, context.defaultParallelism)
    counts.map(orjson.dumps).map(bytes.decode).saveAsTextFile(str(output_dir))


def spark_sort(input_dir: Path, output_dir: Path, context: Any) -> None:
    """Partitions by the hash of the key, each sorted, as pymr's; `sortByKey` reads the input twice more."""
    items = context.textFile(str(input_dir)).map(split_record)
    ordered = items.repartitionAndSortWithinPartitions(context.defaultParallelism)
    ordered.map(orjson.dumps).map(bytes.decode).saveAsTextFile(str(output_dir))


# ---- Dask: bags of lines, and data frames that it shuffles


def with_dask(workers: int, program: Callable[[Any], None]) -> None:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.ERROR,
        ) as cluster,
        Client(cluster) as client,
    ):
        program(client)


def dask_wordcount(input_dir: Path, output_dir: Path, client: Any) -> None:
    """Counts of each block, then of all. `frequencies` and `foldby` of bags take half as long again."""
    import dask.bag

    lines = dask.bag.read_text(f"{input_dir}/*")
    frame = lines.str.split().flatten().to_dataframe(meta={"word": "object"})
    counts = frame.groupby("word").size(split_out=len(client.nthreads()))
    counts.to_frame("count").reset_index().to_json(str(output_dir), orient="records", lines=True)


def dask_sort(input_dir: Path, output_dir: Path, client: Any) -> None:
    """Partitions by the hash of the key, each sorted, as pymr's."""
    import dask.bag

    lines = dask.bag.read_text(f"{input_dir}/*")
    items = lines.str.rstrip("\n").map(split_record)
    frame = items.to_dataframe(meta={"key": "object", "value": "object"})
    placed = frame.shuffle("key", npartitions=len(client.nthreads()))
    ordered = placed.map_partitions(lambda part: part.sort_values("key"), meta=frame._meta)
    ordered.to_json(str(output_dir), orient="records", lines=True)


# ---- Ray: its data sets


def with_ray(workers: int, program: Callable[[Any], None]) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    import ray.data

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    program(ray.data)
    ray.shutdown()


def ray_wordcount(input_dir: Path, output_dir: Path, data: Any) -> None:
    """Words by functions of Arrow; Python's own `split` takes a tenth more."""
    import pyarrow
    from pyarrow import compute

    def words_of(batch: Any) -> Any:
        return pyarrow.table({"word": compute.list_flatten(compute.utf8_split_whitespace(batch["text"]))})

    words_read = data.read_text(str(input_dir)).map_batches(words_of, batch_format="pyarrow")
    words_read.groupby("word").count().write_json(str(output_dir))


def ray_sort(input_dir: Path, output_dir: Path, data: Any) -> None:
    import pyarrow
    from pyarrow import compute

    def items_of(batch: Any) -> Any:
        key = compute.utf8_slice_codeunits(batch["text"], 0, KEY_CHARACTERS)
        return pyarrow.table(
            {"key": key, "value": compute.utf8_slice_codeunits(batch["text"], KEY_CHARACTERS)}
        )

    items = data.read_text(str(input_dir)).map_batches(items_of, batch_format="pyarrow")
    items.sort("key").write_json(str(output_dir))


ENGINES: dict[str, Callable[[int, Callable[[Any], None]], None]] = {
    "spark": with_spark,
    "ray": with_ray,
    "dask": with_dask,
}
PROGRAMS: dict[tuple[str, str], Program] = {
    ("spark", "wordcount"): spark_wordcount,
    ("spark", "sort"): spark_sort,
    ("dask", "wordcount"): dask_wordcount,
    ("dask", "sort"): dask_sort,
    ("ray", "wordcount"): ray_wordcount,
    ("ray", "sort"): ray_sort,
}

if __name__ == "__main__":
    main()
