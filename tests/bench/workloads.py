"""What is measured and what must come out: the only place to look for a workload or a bar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "projects"
BENCH_PROJECTS = ROOT / "tests" / "bench" / "projects"
BENCH_JOBS = ROOT / "tests" / "bench" / "jobs"

# Shell lines, run with LC_ALL=C; {input} {output} {temporary} {workers} are filled in, quoted.
GNU_WORDCOUNT = (
    "cat {input}/* | tr -s '[:space:]' '\\n' "
    "| sort --parallel={workers} -T {temporary} | uniq -c > {output}/counts"
)
GNU_SORT = "sort --parallel={workers} -T {temporary} -o {output}/sorted {input}/*"


@dataclass(frozen=True, slots=True)
class Workload:
    """dataset: a key of data.GENERATORS; pool: a program of baselines.py, or none to run pymr alone.

    Bars are the largest value that is allowed: ratios of wall times, for `seconds_bar` seconds.
    """

    name: str
    dataset: str
    job: Path
    projects: Path = EXAMPLES
    pool: str | None = "group"
    gnu: str | None = None
    pool_bar: float | None = None
    gnu_bar: float | None = None
    seconds_bar: float | None = None


_WORDCOUNT = EXAMPLES / "wordcount" / "wordcount.toml"
_WORDCOUNT_NO_COMBINE = BENCH_JOBS / "wordcount_no_combine.toml"

WORKLOADS = (
    Workload("empty", "empty", _WORDCOUNT, pool=None, seconds_bar=0.5),
    Workload("wordcount", "text", _WORDCOUNT_NO_COMBINE, gnu=GNU_WORDCOUNT, pool_bar=1.15),
    Workload("wordcount_combine", "text", _WORDCOUNT, gnu=GNU_WORDCOUNT, pool_bar=1.10),
    Workload(
        "inverted_index",
        "documents",
        EXAMPLES / "inverted_index" / "inverted_index.toml",
        pool_bar=1.15,
    ),
    Workload("json_log", "json_log", BENCH_JOBS / "json_log.toml", projects=BENCH_PROJECTS, pool_bar=1.10),
    Workload(
        "sort",
        "records",
        EXAMPLES / "sort_records" / "sort_records.toml",
        pool="sort",
        gnu=GNU_SORT,
        pool_bar=1.0,
        gnu_bar=2.0,
    ),
)

# Added when a folder of real text is named.
REAL_TEXT_WORKLOADS = (
    Workload("wordcount_real", "real_text", _WORDCOUNT_NO_COMBINE, gnu=GNU_WORDCOUNT, pool_bar=1.15),
    Workload("wordcount_combine_real", "real_text", _WORDCOUNT, gnu=GNU_WORDCOUNT, pool_bar=1.10),
)
