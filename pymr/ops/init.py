"""What `pymr init` writes: the configuration, keys and folders of a new cluster, and a first job."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from pymr.base.errors import ConfigError, DiskError, FatalError, Problem, disk_error
from pymr.config.cluster import ClusterConfig, PeerConfig, cluster_toml, load_config
from pymr.config.kinds import check_name
from pymr.wire.keys import AUTHORIZED_FILE, read_authorized, write_authorized, write_key
from pymr.wire.requests import Role
from pymr.wire.sockets import make_keypair

PEERS_MAX = 100
OPERATOR = "operator"

_NAMES = ("alpha", "beta", "gamma")
_FIRST_PORT, _LAST_PORT, _PORT_STEP = 7700, 65_000, 10
_KEYS_DIR = "keys"


@dataclass(frozen=True, slots=True)
class NewCluster:
    """What was made. folder: as it was named. config: as peers will read it."""

    folder: Path
    config: ClusterConfig


def init_cluster(folder: Path, *, peers: int, workers: int) -> NewCluster:
    """Make a cluster of `peers` daemons with `workers` each on this machine; nothing is started.

    folder: new, or one without a cluster.toml, which is written last. What is there already stays as it is.
    Raises FatalError where there is a cluster.toml already, or a folder of keys; DiskError.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise FatalError(f"{str(folder)!r} is not UTF-8: give the new cluster another folder") from None
    path = folder / "cluster.toml"
    for taken in (path, folder / _KEYS_DIR):
        if os.path.lexists(taken):
            raise FatalError(f"{taken} exists already: give the new cluster another folder, or remove it")
    members = _peers(peers, workers)
    settings: dict[str, dict[str, object]] = {"redis": {"managed": True}, "security": {"keys_dir": _KEYS_DIR}}
    text = cluster_toml(_cluster_name(folder), members, settings)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_example(folder)
        for peer in members:
            (folder / peer.data_dir / "input").mkdir(parents=True, exist_ok=True)
        _write_keys(folder / _KEYS_DIR, [peer.name for peer in members])
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return NewCluster(folder, load_config(str(path)))


def add_key(config: ClusterConfig, name: str, role: Role) -> Path:
    """Make a key of that name and admit it, in the folder of keys; the path of its secret half.

    Running peers admit it as soon as they see the file changed. Raises ConfigError where there is a key of
    that name, or no folder of keys.
    """
    if config.security.keys_dir is None:
        problem = Problem("security.keys_dir", None, "must be set: the cluster has no keys")
        raise ConfigError(config.source or "configuration", (problem,))
    try:
        check_name(name)
    except ValueError as error:
        raise ConfigError("pymr keys", (Problem("name", name, str(error)),)) from None
    folder = Path(config.security.keys_dir)
    admitted: dict[str, tuple[Role, bytes]] = {}
    if (folder / AUTHORIZED_FILE).exists():
        for known, (known_role, known_name) in read_authorized(folder / AUTHORIZED_FILE).items():
            admitted[known_name] = (known_role, known)
    if name in admitted:
        problem = Problem("name", name, "is admitted already: give the new key another name")
        raise ConfigError(str(folder / AUTHORIZED_FILE), (problem,))
    public, secret = make_keypair()
    path = write_key(folder, name, public, secret)
    write_authorized(folder, {**admitted, name: (role, public)})
    return path


def next_steps(cluster: NewCluster) -> list[str]:
    """What to type next: each line works as is."""
    peer = cluster.config.peers[0]
    first = os.path.relpath(os.path.join(peer.data_dir, "input"), cluster.folder)
    folder = str(cluster.folder)
    steps = [] if folder == "." else [f"cd {_quoted(folder)}"]
    steps += [
        "pymr cluster start",
        f"echo 'to be or not to be' > {first}/first.txt    # or copy texts of your own to there",
        "pymr submit wordcount.toml",
        "pymr wait wordcount",
        "pymr output wordcount",
        "pymr cluster stop",
    ]
    return steps


def _peers(count: int, workers: int) -> list[PeerConfig]:
    ports = _free_ports()
    names = [*_NAMES, *(f"peer-{number}" for number in range(len(_NAMES) + 1, count + 1))][:count]
    return [
        PeerConfig(name=name, control_port=port, data_port=port + 1, workers=workers, data_dir=f"data/{name}")
        for name, port in zip(names, ports, strict=False)
    ]


def _free_ports() -> Iterator[int]:
    """Ports that are free now, as is the next one to each."""
    for port in range(_FIRST_PORT, _LAST_PORT, _PORT_STEP):
        if _is_free(port) and _is_free(port + 1):
            yield port
    raise FatalError(f"no free ports between {_FIRST_PORT} and {_LAST_PORT} on 127.0.0.1")


def _is_free(port: int) -> bool:
    with ExitStack() as closing:
        listener = closing.enter_context(socket.socket())
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the peers' sockets have it
        with suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return True
    return False


def _cluster_name(folder: Path) -> str:
    """The name of the folder, with what no name may hold replaced."""
    valid = re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.absolute().name).lstrip("-_.")[:64].rstrip("-")
    return valid or "pymr"


def _write_keys(folder: Path, peers: list[str]) -> None:
    """A key for the console's user and one for each peer; all are admitted."""
    admitted: dict[str, tuple[Role, bytes]] = {}
    roles: list[tuple[str, Role]] = [(OPERATOR, "operator"), *((name, "peer") for name in peers)]
    for name, role in roles:
        public, secret = make_keypair()
        write_key(folder, name, public, secret)
        admitted[name] = (role, public)
    write_authorized(folder, admitted)


def _write_example(folder: Path) -> None:
    """The word count as a first job, where no file of that name is."""
    for name, text in _EXAMPLE.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), open(path, "x", encoding="utf-8") as file:
            file.write(text)


def _cannot_write(folder: Path, error: OSError) -> DiskError:
    return disk_error("making a cluster in", str(error.filename or folder), error)


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)


_EXAMPLE = {
    "wordcount.toml": """\
# Count the words of the texts in the folder `input` of every peer:  pymr submit wordcount.toml

job_type = "mapreduce"
job_name = "wordcount"
job_priority = 1                        # integer, higher runs first
run_once = true                         # leave the queue after the first success

project_name = "wordcount"              # the folder with map_functions.py and reduce_functions.py
input_dirs = ["input"]                  # below the data folder of each peer
map_function_name = "words"
reduce_function_name = "total"
combine_function_name = "total"         # sums are summed on the map side already: far less to shuffle
""",
    "projects/wordcount/map_functions.py": '''\
"""Word count, the map side: a line becomes one item for each of its words."""


def words(line, auxiliary_data):
    return [(word, 1) for word in line.split()]
''',
    "projects/wordcount/reduce_functions.py": '''\
"""Word count, the reduce side: the ones of a word become its count."""


def total(group, auxiliary_data):
    return [(group.key, sum(group.values))]
''',
}
