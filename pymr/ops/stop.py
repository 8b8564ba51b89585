"""Ending the daemons of a cluster: in order, or at once. A peer that refuses is not ended by other means."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence

from pymr.base.errors import FatalError
from pymr.client import Client, ClientError, RefusedError
from pymr.config.cluster import PeerConfig
from pymr.ops.peers import ANSWER_SECONDS, ClusterPeers
from pymr.ops.processes import find_processes, send, wait_gone
from pymr.ops.remote_peers import signal_remote
from pymr.wire.keys import load_security
from pymr.wire.requests import ClusterView, only_looks

END_SECONDS = 10.0
"""How long a daemon may take to end when killed."""

KILL_SECONDS = 5.0

_POLL_SECONDS = 0.1


class Stop:
    """One `pymr cluster stop`. A peer that refuses is left alone and reported: only one that cannot answer is
    ended by a signal, and only by somebody whom it would obey."""

    def __init__(self, peers: ClusterPeers) -> None:
        self._peers = peers
        self._processes = peers.daemons()
        self._refused: dict[str, RefusedError] = {}
        self._failures: list[str] = []

    def run(self, timeout_s: float) -> None:
        """Returns when the last peer has ended.

        Raises RefusedError where nothing was done, as all that run refuse; FatalError naming what runs on.
        """
        is_listed = _is_operator(self._peers)
        running = self._running()
        asked = self._peers.each(running, self._ask_to_drain)
        self._refused = {name: error for name, error in asked.items() if isinstance(error, RefusedError)}
        if self._refused and len(self._refused) == len(running):
            raise next(iter(self._refused.values()))
        left = [peer for peer in running if peer.name not in self._refused]
        for peer in left:
            if asked[peer.name] is None:
                self._peers.report(f"{peer.name}: stopping")
            elif not is_listed:
                raise _not_listed(self._peers, "stop")
            else:
                self._peers.report(f"{peer.name}: does not take the request, and is ended by a signal")
                self._signal(peer)
        left = self._wait(left, timeout_s)
        for peer in left:
            self._peers.report(f"{peer.name}: is still busy after {timeout_s:g} s, ending it now")
        left = self._end_at_once(left)
        if left or self._refused:
            raise FatalError(self._why_not(left))

    def _running(self) -> list[PeerConfig]:
        """The running peers; unknown for machines out of reach."""
        listening = self._peers.listening(self._peers.elsewhere)
        for peer in self._peers.elsewhere:
            if listening[peer.name] is None:
                self._peers.report(f"{peer.name}: {peer.host} is out of reach, so it may be running there")
        here = [peer for peer in self._peers.here if peer.name in self._processes]
        return here + [peer for peer in self._peers.elsewhere if listening[peer.name]]

    def _ask_to_drain(self, peer: PeerConfig) -> ClientError | None:
        return self._ask(peer, drain=True)

    def _ask(self, peer: PeerConfig, *, drain: bool) -> ClientError | None:
        """Why a peer does not take it; None if it does."""
        try:
            with Client(self._peers.config) as client:
                client.stop_peer(peer.name, drain=drain, timeout_s=ANSWER_SECONDS)
        except ClientError as error:
            return error
        return None

    def _wait(self, left: Sequence[PeerConfig], timeout_s: float) -> list[PeerConfig]:
        """Those that have not ended; of each that has, that is reported."""
        deadline = time.monotonic() + timeout_s
        left = list(left)
        while True:
            here = {peer.name for peer in left if peer.name in self._processes}
            gone = here - {name for name in here if wait_gone([self._processes[name]], 0)}
            elsewhere = [peer for peer in left if peer.name not in here]
            gone |= {name for name, is_there in self._peers.listening(elsewhere).items() if not is_there}
            for name in sorted(gone):
                self._peers.report(f"{name}: stopped")
            left = [peer for peer in left if peer.name not in gone]
            if not left or time.monotonic() >= deadline:
                return left
            time.sleep(_POLL_SECONDS)

    def _end_at_once(self, left: list[PeerConfig]) -> list[PeerConfig]:
        """End daemons that would go on for longer; those that do not even so."""
        self._peers.each(left, lambda peer: self._ask(peer, drain=False))
        left = self._wait(left, END_SECONDS / 3)
        for _ in range(2):  # to a daemon the first signal means to drain, the second to end
            for peer in left:
                self._signal(peer)
            left = self._wait(left, END_SECONDS / 3)
        return left

    def _signal(self, peer: PeerConfig) -> None:
        if peer.name in self._processes:
            send([self._processes[peer.name]], signal.SIGTERM)
            return
        try:
            signal_remote(self._peers.config, peer, signal.SIGTERM)
        except FatalError as error:
            if str(error) not in self._failures:
                self._failures.append(str(error))

    def _why_not(self, left: Sequence[PeerConfig]) -> str:
        texts = [f"{name} keeps running, as it refuses: {error}" for name, error in self._refused.items()]
        if left:
            still = ", ".join(f"{peer.name} ({self._place(peer)})" for peer in left)
            texts.append(f"did not end: {still}; `pymr cluster kill` ends them at once")
        return "\n".join([*texts, *self._failures])

    def _place(self, peer: PeerConfig) -> str:
        process = self._processes.get(peer.name)
        return f"pid {process.pid}" if process else f"on {peer.host}"


def kill_peers(peers: ClusterPeers) -> list[str]:
    """Kill all daemons; what could not be done on other machines. Raises RefusedError, before anything is
    killed, for somebody who may only look."""
    _check_may_kill(peers)
    daemons = peers.daemons()
    names = [peer.name for peer in peers.here]
    send(daemons.values(), signal.SIGKILL)
    wait_gone(list(daemons.values()), KILL_SECONDS)
    left = wait_gone(find_processes(peers.source, names), KILL_SECONDS)
    send(left, signal.SIGKILL)
    for name in daemons:
        peers.report(f"{name}: killed")
    failures = peers.each(peers.elsewhere, lambda peer: _kill_remote(peers, peer))
    for peer in peers.elsewhere:
        if not failures[peer.name]:
            peers.report(f"{peer.name}: killed, if it was running on {peer.host}")
    return [failure for failure in failures.values() if failure]


def _kill_remote(peers: ClusterPeers, peer: PeerConfig) -> str:
    """Why it could not be done; "" if it was."""
    try:
        signal_remote(peers.config, peer, signal.SIGKILL)
    except FatalError as error:
        return str(error)
    return ""


def _check_may_kill(peers: ClusterPeers) -> None:
    """Raise RefusedError where the peers would not let this key stop them: they are asked, as it is their
    list of keys that counts; where none answers, the list that lies here."""
    if peers.config.security.keys_dir is None:
        return
    is_listed = _is_operator(peers)
    listening = peers.listening(peers.config.peers)
    answers = peers.ask_all([peer for peer in peers.config.peers if listening[peer.name]])
    roles = {answer.role for answer in answers.values() if isinstance(answer, ClusterView)}
    if "viewer" in roles:
        raise _only_looks("by the word of the peers, this key")
    if not roles and not is_listed:
        raise _not_listed(peers, "kill")


def _is_operator(peers: ClusterPeers) -> bool:
    """Whether the key in use may change things, by the authorized.toml that lies here; False where it is not
    listed. Raises RefusedError where it may only look."""
    security = load_security(peers.config)
    if not security.has_keys:
        return True
    role, _ = security.authorized.get(security.public or b"", ("", ""))
    if role == "viewer":
        raise _only_looks(security.name)
    return bool(role)


def _only_looks(who: str) -> RefusedError:
    return RefusedError("denied", only_looks(who))


def _not_listed(peers: ClusterPeers, action: str) -> RefusedError:
    security = load_security(peers.config)
    return RefusedError(
        "denied",
        f"no peer answers to the key {security.name}, which {security.authorized_path} does not list, so it "
        f"may not {action} the cluster: have an operator list it, or take another ($PYMR_KEY names it)",
    )
