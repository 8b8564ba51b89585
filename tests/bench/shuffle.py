"""`python -m tests.bench.shuffle`: bytes per second from one data service to another over loopback.

Segments are read from the page cache, checked, and written into files, which are removed as they come. The
baseline, in the same run, is ZeroMQ alone: the same chunk again and again, neither read, checked nor written.
"""

from __future__ import annotations

import argparse
import multiprocessing
import multiprocessing.connection
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil
import zmq

from pymr.config.cluster import ClusterConfig
from pymr.data.fetching import FetchLimits
from tests.data_services import RUN_ID, Service, make_config, owner_of, segment_of, write_attempt

SEGMENT_BYTES = 16 << 20
SEGMENTS_PER_ATTEMPT = 4
ATTEMPTS_ON_DISK = 16  # of 64 MiB; larger amounts fetch them again
TINY_SEGMENTS = 10_000
TINY_BYTES = 200
BARE_BYTES = 1 << 30


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.shuffle", description=__doc__)
    parser.add_argument("--curve", action="store_true", help="encrypt")
    parser.add_argument("--gigabytes", type=float, default=4.0, help="how much to fetch (%(default)s)")
    parser.add_argument("--in-flight", type=int, default=10, help="segments in flight (%(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pymr-shuffle-") as folder:
        config = make_config(Path(folder), curve=arguments.curve)
        count = max(1, round(arguments.gigabytes * 1e9 / SEGMENT_BYTES))
        for number in range(min(ATTEMPTS_ON_DISK, -(-count // SEGMENTS_PER_ATTEMPT))):
            runs = [(partition, SEGMENT_BYTES) for partition in range(SEGMENTS_PER_ATTEMPT)]
            write_attempt(config, "alpha", f"map-{number:05d}", runs, seed=number)
        bare = bare_megabytes_per_second(curve=arguments.curve)
        rate, cpu_s, elsewhere, peaks = fetch_all(config, count, arguments.in_flight)
        per_second = fetch_tiny(config, arguments.in_flight)
    how = "with CURVE" if arguments.curve else "plain"
    print(f"segments, {how}: {rate:.0f} MB/s, {rate / bare:.2f} of bare ZeroMQ ({bare:.0f} MB/s)")
    print(
        f"CPU of both data services: {cpu_s:.2f} s per GB; {elsewhere:.0%} of the machine was busy otherwise"
    )
    for name, peak in peaks.items():
        print(f"peak RSS of the data service that {name}: {peak / 1e6:.0f} MB")
    print(f"segments of {TINY_BYTES} bytes: {per_second:,.0f} per second")


def fetch_all(
    config: ClusterConfig, count: int, in_flight: int
) -> tuple[float, float, float, dict[str, int]]:
    """Of fetching `count` segments: MB/s, CPU s per GB, what else the machine did (0 to 1), peak RSS."""
    on_disk = len(list(Path(config.peers[0].data_dir, "runs", RUN_ID).iterdir())) * SEGMENTS_PER_ATTEMPT
    with Service(config, "alpha") as server, Service(config, "beta") as fetcher:
        server.await_serving()
        fetcher.await_serving()
        processes = [psutil.Process(pid) for pid in (server.service.pid, fetcher.service.pid)]
        ours_before_s, machine_before_s = sum(map(cpu_seconds, processes)), machine_busy_s()
        driver_before_s = time.process_time()
        start = time.perf_counter()
        for number in range(count):
            attempt, partition = divmod(number % on_disk, SEGMENTS_PER_ATTEMPT)
            segment = segment_of("alpha", f"map-{attempt:05d}", partition)
            fetcher.fetch(segment, owner_of(config, "alpha"), key=f"{number}", in_flight=in_flight)
        removed = 0
        while removed < count:
            fetcher.pump(1.0)
            if fetcher.lost:
                sys.exit(str(fetcher.lost[0]))
            for notice in fetcher.fetched[removed:]:
                os.unlink(fetcher.folder / notice.key)
                removed += 1
        seconds = time.perf_counter() - start
        ours_s = sum(map(cpu_seconds, processes)) - ours_before_s
        machine_s = machine_busy_s() - machine_before_s - (time.process_time() - driver_before_s)
        elsewhere = max(0.0, (machine_s - ours_s) / (seconds * (os.cpu_count() or 1)))
        peaks = {"serves": peak_bytes(server.service.pid), "fetches": peak_bytes(fetcher.service.pid)}
    gigabytes = count * SEGMENT_BYTES / 1e9
    return gigabytes * 1e3 / seconds, ours_s / gigabytes, elsewhere, peaks


def cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def machine_busy_s() -> float:
    """CPU seconds of all processors, also those that a host took away from this machine."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + getattr(times, "steal", 0.0))


def fetch_tiny(config: ClusterConfig, in_flight: int) -> float:
    """Segments per second, where each is very small."""
    write_attempt(config, "alpha", "map-90000", [(number, TINY_BYTES) for number in range(TINY_SEGMENTS)])
    with Service(config, "alpha") as server, Service(config, "beta") as fetcher:
        server.await_serving()
        fetcher.await_serving()
        start = time.perf_counter()
        for partition in range(TINY_SEGMENTS):
            segment = segment_of("alpha", "map-90000", partition)
            fetcher.fetch(segment, owner_of(config, "alpha"), key=f"tiny-{partition}", in_flight=in_flight)
        fetcher.await_fetched(TINY_SEGMENTS, 120.0)
        return TINY_SEGMENTS / (time.perf_counter() - start)


def peak_bytes(pid: int) -> int:
    """The most memory a process has ever had resident (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def bare_megabytes_per_second(*, curve: bool) -> float:
    """ZeroMQ alone, from another process: chunks of the same size, as many under way."""
    limits = FetchLimits()
    window = limits.bytes_per_link // limits.chunk_bytes
    public, secret = zmq.curve_keypair()
    receiving, sending = multiprocessing.get_context("spawn").Pipe(duplex=False)
    keys = (public, secret) if curve else None
    process = multiprocessing.get_context("spawn").Process(target=_bare_server, args=(sending, keys))
    process.start()
    try:
        with zmq.Context() as context, context.socket(zmq.DEALER) as client:
            if curve:
                client.curve_serverkey = public
                client.curve_publickey, client.curve_secretkey = zmq.curve_keypair()
            client.connect(f"tcp://127.0.0.1:{receiving.recv()}")
            client.send(b"")
            client.recv(copy=False)
            count, asked = BARE_BYTES // limits.chunk_bytes, 0
            start = time.perf_counter()
            for answered in range(count):
                while asked < min(count, answered + window):
                    client.send(b"")
                    asked += 1
                client.recv(copy=False)
            return count * limits.chunk_bytes / (time.perf_counter() - start) / 1e6
    finally:
        process.kill()
        process.join()


def _bare_server(sending: multiprocessing.connection.Connection, keys: tuple[bytes, bytes] | None) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as server:
        server.router_mandatory = True
        if keys is not None:
            server.curve_server = True
            server.curve_publickey, server.curve_secretkey = keys
        sending.send(server.bind_to_random_port("tcp://127.0.0.1"))
        chunk = os.urandom(FetchLimits().chunk_bytes)
        while True:
            identity, _ = server.recv_multipart()
            server.send_multipart((identity, chunk), copy=False)


if __name__ == "__main__":
    main()
