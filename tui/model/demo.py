"""A cluster to try the console with: three peers on this machine, texts to count, and some jobs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pymr.base.errors import disk_error
from pymr.client import Client
from pymr.config.cluster import ClusterConfig, PeerConfig, load_config
from pymr.ops.init import init_cluster
from pymr.ops.manage_cluster import ClusterManager
from pymr.wire.rows import JobStatus

PEERS, WORKERS = 3, 2
TEXT_BYTES = 8_000_000
"""Of input on each peer: some seconds of work for each job."""

STOP_SECONDS = 10.0
"""When the demo is stopped, what runs in it is waited for no longer than this."""

_LINES_PER_PIECE = 2_000
_WORDS_PER_LINE = 12
_ANSWER_SECONDS = 20.0
_WAITING: tuple[JobStatus, ...] = ("queued", "running")

Say = Callable[[str], None]


def demo_folder() -> Path:
    """Where the demo lies: its configuration, keys, texts and output."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.expanduser("~/.local/share")
    return Path(home) / "pymr" / "demo"


def start_demo(say: Say, begins: Callable[[ClusterConfig], object] = lambda config: None) -> ClusterConfig:
    """Start the demo cluster, which is made where there is none yet, and give it jobs. Takes some seconds.

    say: is given a line on each step. begins: is given the cluster before its first process is started.
    Raises PymrError for what cannot be made or started; what did start keeps running.
    """
    folder = demo_folder()
    path = folder / "cluster.toml"
    if path.exists():
        say(f"the demo cluster is in {folder}")
        config = load_config(str(path))
    else:
        say(f"making a cluster in {folder}")
        init_cluster(folder, peers=PEERS, workers=WORKERS)
        config = load_config(str(path))
    try:
        _write_projects(folder / "projects")
        for number, peer in enumerate(config.peers):
            _write_text(peer, number, say)
    except OSError as error:
        raise disk_error("writing the texts of the demo to", str(folder), error) from error
    begins(config)
    ClusterManager(config, say).start_cluster()
    with Client(config, timeout_s=_ANSWER_SECONDS) as client:
        waiting = {row.fields["job_name"] for row in client.jobs().rows if row.status in _WAITING}
        for fields in demo_jobs():
            if fields["job_name"] not in waiting:
                client.submit(fields, folder / "projects")
                say(f"{fields['job_name']}: submitted")
    return config


def stop_demo(config: ClusterConfig, say: Say) -> None:
    """Stop the demo cluster. Its files stay. Raises PymrError for what does not end."""
    ClusterManager(config, say).stop_cluster(STOP_SECONDS)


def demo_jobs() -> Iterator[dict[str, Any]]:
    """Jobs as different as an operator meets them; one of them fails, to show what that looks like."""
    counting = {
        "job_type": "mapreduce", "run_once": True, "project_name": "texts", "input_dirs": ["input"],
        "reduce_function_name": "total", "combine_function_name": "total",
    }  # fmt: skip
    yield {**counting, "job_name": "count-words", "job_priority": 5, "map_function_name": "words"}
    yield {**counting, "job_name": "count-pairs", "job_priority": 3, "map_function_name": "pairs"}
    yield {**counting, "job_name": "read-slowly", "job_priority": 2, "map_function_name": "slowly"}
    yield {
        "job_type": "mapreduce", "run_once": True, "project_name": "texts", "input_dirs": ["input"],
        "job_name": "fails-on-purpose", "job_priority": 4, "map_function_name": "numbers",
        "reduce_function_name": "total",
    }  # fmt: skip


def _write_projects(folder: Path) -> None:
    for name, text in _PROJECT.items():
        path = folder / "texts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _write_text(peer: PeerConfig, number: int, say: Say) -> None:
    """A text of TEXT_BYTES, always the same, below the data folder of a peer."""
    path = Path(peer.data_dir) / "input" / "text.txt"
    if path.exists():
        return
    say(f"writing {TEXT_BYTES // 1_000_000} MB of text for {peer.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(".text.unfinished")
    with open(unfinished, "w", encoding="utf-8") as file:
        for piece in _pieces(number):
            file.write(piece)
    unfinished.rename(path)


def _pieces(number: int) -> Iterator[str]:
    chance = random.Random(number)
    syllables = [a + b for a in "bdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "in")]
    words = ["".join(chance.choices(syllables, k=chance.randint(1, 3))) for _ in range(20_000)]
    often = [1.0 / rank for rank in range(1, len(words) + 1)]  # as words of a language are distributed
    written = 0
    while written < TEXT_BYTES:
        chosen = chance.choices(words, often, k=_LINES_PER_PIECE * _WORDS_PER_LINE)
        lines = (chosen[start : start + _WORDS_PER_LINE] for start in range(0, len(chosen), _WORDS_PER_LINE))
        piece = "".join(f"{' '.join(line)}\n" for line in lines)
        written += len(piece)
        yield piece


_PROJECT = {
    "map_functions.py": '''\
"""The map side of the demo: what is counted in a line. What they print is seen in the panes."""

import time

lines = 0


def words(line, auxiliary_data):
    _tell(line)
    return [(word, 1) for word in line.split()]


def pairs(line, auxiliary_data):
    _tell(line)
    found = line.split()
    return [(f"{one} {other}", 1) for one, other in zip(found, found[1:])]


def slowly(line, auxiliary_data):
    _tell(line)
    if lines % 200 == 0:
        time.sleep(0.1)
    return [(len(word), 1) for word in line.split()]


def numbers(line, auxiliary_data):
    return [(int(word), 1) for word in line.split()]  # fails: the texts have no numbers


def _tell(line):
    global lines
    lines += 1
    if lines % 2_000 == 0:
        print(f"\\x1b[36m{lines:>9,}\\x1b[0m lines read; now: {line[:60]}")
''',
    "reduce_functions.py": '''\
"""The reduce side of the demo."""


def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]
''',
}
