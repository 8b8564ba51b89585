"""Runs by Spark Connect, where there are no RDDs: the way of Databricks and other hosted Sparks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.ports import PortBlock
from cluster.running import Place, parts_of, set_options

pytest.importorskip("pyspark")

SLOW_S = 300.0
"""A server that has just begun takes a minute for its first tasks where the machine is busy."""

KILLED_ONCE = """
    import os
    import signal

    def words(line, auxiliary_data):
        if line == "b 4" and not os.path.exists(MARK):
            open(MARK, "w").close()
            os.kill(os.getpid(), signal.SIGKILL)
        return [(word, 1) for word in line.split()]
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server of these tests."""
    ports = PortBlock()
    port = ports.take()
    log = tmp_path_factory.mktemp("connect") / "log"
    script = Path(__file__).with_name("connect_server.py")
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    with open(log, "wb") as errors:
        server = subprocess.Popen(
            [sys.executable, str(script), str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
        )
    assert server.stdout is not None and server.stdin is not None
    assert server.stdout.readline() == b"ready\n", log.read_text()
    yield f"sc://127.0.0.1:{port}"
    server.stdin.close()
    assert server.wait(60) == 0
    ports.close()


def on(address: str) -> list[str]:
    return ["--engine", "spark", "--engine-address", address, "--workers", "2"]


def test_job_gives_the_same_bytes_as_inline_with_a_worker_killed(place: Place, address: str) -> None:
    for number in range(3, 6):
        place.feed(f"a {number}", f"b {number}", name=f"{number}.txt")
    options = set_options(partitions=2, engine__split_bytes=8)
    place.succeed("--inline", *options)
    expected = parts_of(place.output)
    mark = place.folder / "mark"
    place.functions(KILLED_ONCE.replace("MARK", repr(str(mark))))
    place.succeed(*on(address), *options, timeout_s=SLOW_S)

    assert mark.exists()
    assert parts_of(place.output) == expected


def test_record_on_which_the_function_raises_is_named(place: Place, address: str) -> None:
    place.functions("def words(line, auxiliary_data):\n    return [(line, 1 // (line != 'c'))]\n")
    place.feed(*"abc")

    place.fail(
        *on(address),
        attempts=2,
        says=["map function 'words' raised ZeroDivisionError", "text.txt, byte 4: 'c'", "map_functions.py"],
    )


def test_empty_input_is_a_warning(place: Place, address: str) -> None:
    finished = place.succeed(*on(address))

    assert "the input has no records" in finished.out
    assert parts_of(place.output) == {}


def test_wrong_address_is_told(place: Place) -> None:
    place.feed("a")

    place.fail(*on("sc://127.0.0.1:9"), says=["there is no Spark at sc://127.0.0.1:9", "--engine-address"])
