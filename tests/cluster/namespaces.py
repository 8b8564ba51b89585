"""Machines that are network namespaces: each has an address of its own, and links that can be cut and slowed.

Every machine hangs on a router, also a namespace, which drops what a cut link would have carried, silently.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

import pytest
from cluster.clusters import Cluster
from cluster.running import MARKER, wait_until

from pymr.ops.redis_server import choose_server

_NETWORKS = 250
_HERE = "here"
"""The machine of the test itself, which is in no namespace."""


@cache
def why_no_namespaces() -> str:
    """What keeps this machine from having network namespaces; "" if nothing does."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    missing = [tool for tool in ("ip", "tc", "nsenter") if not shutil.which(tool)]
    if missing:
        return f"there is no {', '.join(missing)}: apt-get install iproute2 util-linux"
    try:
        with Network(["a", "b"]) as network, network.cut("a", "b"):
            network.slow("a", "10mbit")
    except subprocess.CalledProcessError as error:
        return f"namespaces cannot be made here: {error.stderr.strip()}"
    return ""


class Network:
    """Machines by name, each with the address 10.213.N.x; a context that removes all of them at its end.

    N is this network's alone as long as its process lives. What a killed test left of it is removed first.
    """

    def __init__(self, machines: Sequence[str]) -> None:
        self._machines = [_HERE, *machines]
        self._number, self._guard = _reserve()
        self._remove()
        try:
            self._make()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._remove()
        self._guard.close()

    def address(self, machine: str) -> str:
        return self._address(self._machines.index(machine), 2)

    def command(self, machine: str, command: Sequence[str]) -> list[str]:
        """The command line that runs a command on a machine; the process is the command's own."""
        return ["nsenter", f"--net=/run/netns/{self._namespace(machine)}", "--", *command]

    @contextmanager
    def cut(self, one: str, *others: str) -> Iterator[float]:
        """While in this context nothing goes between a machine and these (default: all) others.

        Gives the time of the cut.
        """
        with ExitStack() as stack:
            for other in others or set(self._machines) - {one}:
                stack.enter_context(self.cut_one_way(one, other))
                stack.enter_context(self.cut_one_way(other, one))
            yield time.monotonic()

    @contextmanager
    def cut_one_way(self, source: str, target: str) -> Iterator[None]:
        """While in this context nothing goes from one machine to another."""
        ends = ("from", self.address(source), "to", self.address(target), "blackhole")
        self._ip("router", "rule", "add", *ends)
        try:
            yield
        finally:
            self._ip("router", "rule", "del", *ends)

    def slow(self, machine: str, rate: str) -> None:
        """Let a machine receive no more than that, such as `10mbit`."""
        device = self._device(machine)
        shaping = ("root", "tbf", "rate", rate, "burst", "32k", "latency", "300ms")
        _run("tc", "-n", self._namespace("router"), "qdisc", "replace", "dev", device, *shaping)

    def _make(self) -> None:
        for machine in ("router", *self._machines[1:]):
            _run("ip", "netns", "add", self._namespace(machine))
            self._ip(machine, "link", "set", "lo", "up")
        router = self._namespace("router")
        # Forward, also what comes from where nothing may go back to.
        settings = "cd /proc/sys/net/ipv4 && echo 1 > ip_forward && echo 0 > conf/all/rp_filter"
        settings += " && echo 0 > conf/default/rp_filter"
        _run("nsenter", f"--net=/run/netns/{router}", "--", "sh", "-c", settings)
        for index, machine in enumerate(self._machines):
            device, own_end = self._device(machine), self._own_device(machine)
            owner = () if machine == _HERE else ("netns", self._namespace(machine))
            self._ip("router", "link", "add", device, "type", "veth", "peer", "name", own_end)
            self._ip("router", "link", "set", own_end, "netns", owner[1] if owner else str(os.getpid()))
            self._ip("router", "addr", "add", f"{self._address(index, 1)}/30", "dev", device)
            self._ip("router", "link", "set", device, "up")
            self._ip(machine, "addr", "add", f"{self._address(index, 2)}/30", "dev", own_end)
            self._ip(machine, "link", "set", own_end, "up")
            self._ip(machine, "route", "add", f"10.213.{self._number}.0/24", "via", self._address(index, 1))

    def _remove(self) -> None:
        """The links go with the namespaces."""
        listed = _run("ip", "netns", "list")
        for name in [line.split()[0] for line in listed.splitlines() if line.strip()]:
            if name.startswith(f"pymr-test-{self._number}-"):
                _run("ip", "netns", "del", name)
        wait_until(lambda: not Path("/sys/class/net", self._own_device(_HERE)).exists(), 5.0)

    def _ip(self, machine: str, *arguments: str) -> None:
        where = () if machine == _HERE else ("-n", self._namespace(machine))
        _run("ip", *where, *arguments)

    def _address(self, index: int, end: int) -> str:
        return f"10.213.{self._number}.{4 * index + end}"

    def _namespace(self, machine: str) -> str:
        return f"pymr-test-{self._number}-{machine}"

    def _device(self, machine: str) -> str:
        return f"to{self._machines.index(machine)}"

    def _own_device(self, machine: str) -> str:
        return f"pymrtest{self._number}" if machine == _HERE else "pymr0"


class NetworkCluster(Cluster):
    """Peers alpha and beta with keys, each on a machine of its own, and a Redis with a password on
    the machine `redis`. The test is on one more machine."""

    MACHINES = ("alpha", "beta", "redis")

    def __init__(self, folder: Path, network: Network, **arguments: object) -> None:
        self.network = network
        password = folder / "redis.password"
        password.touch(mode=0o600)
        password.write_text("the-password-of-redis\n")
        settings = {
            "redis": {
                "url": f"redis://{network.address('redis')}:6379/0",
                "password_file": password.name,
            }
        }
        given = arguments.pop("settings", None) or {}
        assert isinstance(given, dict)
        hosts = [network.address(machine) for machine in ("alpha", "beta")]
        super().__init__(folder, workers=2, hosts=hosts, keys=True, settings=settings | given, env={})
        self.redis = NetworkRedis(  # type: ignore[assignment]
            folder / "redis", network, password.read_text().strip(), self.environment
        )

    def command_of(self, name: str) -> list[str]:
        return self.network.command(name, super().command_of(name))

    def is_port_free(self, port: int, host: str) -> bool:
        """Nobody of another machine could listen there; nobody answers there either."""
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex((host, port)) != 0


class NetworkRedis:
    """A redis-server on TCP on the machine `redis`, with the interface of a PrivateRedis."""

    def __init__(
        self, directory: Path, network: Network, password: str, environment: Callable[[], dict[str, str]]
    ) -> None:
        self.directory = directory
        self.socket_path = directory / "none"
        self.pid: int | None = None
        self._network = network
        self._password = password
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        path = self.directory / "redis.conf"
        path.touch(mode=0o600)
        address = self._network.address("redis")
        path.write_text(
            f"bind {address}\nport 6379\nrequirepass {self._password}\n"
            f"dir {self.directory}\nlogfile redis.log\n"
            'save ""\nappendonly yes\nappendfsync always\nmaxmemory-policy noeviction\n'
        )
        environment = self._environment()
        environment.pop(MARKER)  # it ends after the processes of the cluster
        self._process = subprocess.Popen(
            self._network.command("redis", [choose_server(path.parent).path, str(path)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
        self.pid = self._process.pid
        assert wait_until(lambda: self._answers(address), 10.0), "the Redis does not answer"

    def _answers(self, address: str) -> bool:
        with suppress(OSError), socket.create_connection((address, 6379), 0.5) as connection:
            connection.sendall(b"AUTH " + self._password.encode() + b"\r\nPING\r\nQUIT\r\n")
            return b"+PONG" in b"".join(iter(lambda: connection.recv(100), b""))
        return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.pid = self._process = None

    stop = kill


@contextmanager
def network_cluster(folder: Path, node: pytest.Item, **arguments: object) -> Iterator[NetworkCluster]:
    """A NetworkCluster of a test; at the end nothing may be left of it."""
    with Network(NetworkCluster.MACHINES) as network:
        cluster = NetworkCluster(folder, network, **arguments)
        node.clusters = [cluster]  # type: ignore[attr-defined]  # whose logs are shown with a failure
        problems: list[str] = []
        try:
            yield cluster
        finally:
            problems += cluster.end()

    assert problems == []


def _reserve() -> tuple[int, socket.socket]:
    """A number that no other living process has, and what holds it."""
    for offset in range(_NETWORKS):
        number = (os.getpid() + offset) % _NETWORKS + 1
        guard = socket.socket(socket.AF_UNIX)
        try:
            guard.bind(f"\0pymr-test-network-{number}")
        except OSError:
            guard.close()
            continue
        return number, guard
    raise RuntimeError("all numbers of networks are taken")


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
