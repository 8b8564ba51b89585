"""The entry point of `pymr-peer`: one daemon for each machine."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from pymr import __version__
from pymr.base.errors import DefinitionError, PymrError
from pymr.base.printable import keep_log_printable, printable_text
from pymr.config.cluster import ClusterConfig, PeerConfig, load_config
from pymr.peer.data_service import prepare_data_service
from pymr.peer.workers.fork_server import ForkServer

LOG_END_SECONDS_MAX = 2.0
EXIT_FAILED = 1
EXIT_USAGE = 2
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger("pymr")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="pymr-peer")
@click.option(
    "--config",
    envvar="PYMR_CONFIG",
    default="cluster.toml",
    show_default="$PYMR_CONFIG, then ./cluster.toml",
    type=click.Path(dir_okay=False),
    help="The cluster's configuration, the same on all machines.",
)
@click.option("--name", required=True, metavar="NAME", help="Which of its [[peers]] this daemon is.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    show_default=True,
)
@click.option("--until-stdin-closes", is_flag=True, hidden=True)
def command(config: str, name: str, log_level: str, until_stdin_closes: bool) -> None:
    """Run one peer of a cluster in the foreground, until SIGTERM or SIGINT.

    The first signal lets its tasks end, the second ends it at once. Start it in any order with the others,
    and under a supervisor such as systemd (docs/pymr-peer@.service). The log goes to stderr.
    """
    set_up_log(log_level)
    if until_stdin_closes:
        die_with_parent()
    try:
        cluster = load_config(config)
        me = peer_named(cluster, name)
        run_peer(cluster, me, until_stdin_closes=until_stdin_closes)
    except DefinitionError as error:
        _fail(str(error), EXIT_USAGE)
    except PymrError as error:
        _fail(str(error), EXIT_FAILED)


def run_peer(config: ClusterConfig, me: PeerConfig, *, until_stdin_closes: bool = False) -> None:
    """Be that peer, until a signal or a console ends it, or whoever holds the other end of stdin.

    Raises PymrError where it could not be started, or ended because it cannot go on.
    """
    os.makedirs(me.data_dir, exist_ok=True)
    _import_what_workers_need()
    fork_server = ForkServer.start()  # before there is any thread in this process
    try:
        prepare_data_service()  # likewise

        from pymr.peer.loop.log_thread import LogThread
        from pymr.peer.loop.loop import Loop
        from pymr.peer.peer import Peer
        from pymr.peer.store.passwords import redis_password
        from pymr.wire.keys import load_security

        if os.geteuid() == 0:
            _log.warning("running as root: functions of jobs will, too; use an account of its own")
        loop = Loop()
        security = load_security(config, me.name)
        peer = Peer(
            config, me, security=security, password=redis_password(config), fork_server=fork_server, loop=loop
        )
    except BaseException:
        fork_server.close()
        raise

    received: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        received.append(number)
        drain = len(received) == 1
        name = signal.Signals(number).name
        loop.call_soon(lambda: _log.info("%s: %s", name, "draining" if drain else "ending at once"))
        loop.call_soon(lambda: peer.stop(drain))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(
        signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT}
    )  # as it may have been inherited
    if until_stdin_closes:
        loop.watch(0, lambda: None if os.read(0, 1) else loop.stop())
    log = LogThread()  # not before the processes are forked, which would have its queue and not its thread
    try:
        peer.begin()
        loop.run()
    finally:
        peer.close()
        loop.close()
        _log.info("%s has ended", me.name)
        log.stop(LOG_END_SECONDS_MAX)
    if peer.failure:
        raise PymrError(peer.failure)


def _import_what_workers_need() -> None:
    """Before the fork server is forked, which then need not do the same: most of it is the daemon's as
    well."""
    import_module("pymr.peer.workers.fork_server_process")
    import_module("pymr.peer.attempts.attempts")


def die_with_parent() -> None:
    """Be killed when the process that started this one ends, however it does (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def peer_named(config: ClusterConfig, name: str) -> PeerConfig:
    """The peer of this name. Raises PymrError, naming those there are."""
    for peer in config.peers:
        if peer.name == name:
            return peer
    known = ", ".join(peer.name for peer in config.peers) or "none"
    raise PymrError(f"{config.source} has no peer {name!r}; its peers: {known}")


def set_up_log(level: str) -> None:
    """Log lines on stderr: time, level, event."""
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr, force=True
    )
    keep_log_printable()


def main() -> NoReturn:
    """The entry point."""
    command.main(prog_name="pymr-peer")
    sys.exit(0)


def _fail(message: str, status: int) -> NoReturn:
    print(printable_text(f"pymr-peer: {message}"), file=sys.stderr)
    sys.exit(status)
