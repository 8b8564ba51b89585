"""Starting the daemons of a cluster, and waiting until all of them take part and one leads."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pymr.base.errors import FatalError, PymrError
from pymr.client import Client, ClientError
from pymr.config.cluster import PeerConfig
from pymr.ops.peers import ANSWER_SECONDS, ClusterPeers
from pymr.ops.processes import log_path, log_size, log_tail, start_process
from pymr.ops.remote_peers import (
    RemoteStart,
    remote_end,
    remote_log_path,
    remote_log_tail,
    start_remote,
)
from pymr.wire.requests import ClusterView

ENDING_SECONDS = 75.0
"""A peer that is about to end has done so by then: see peer.DRAIN_SECONDS_MAX."""

ROUND_SECONDS = 1.3
"""How long an answer is waited for before the processes are looked at. More than relays.RELAY_SECONDS."""

REMOTE_LOOK_SECONDS = 3.0
"""A daemon of another machine that is silent is looked for there this often."""

VERDICT_SECONDS = 5.0
"""Where one peer has failed, the others have this long to show how they are."""

_POLL_SECONDS = 0.1


@dataclass(slots=True)
class _Member:
    """A peer on its way up. process, remote: of one that was started here. state: `ending` (another process
    of it has to end first), `waiting` (for its answer), `up` or `failed`."""

    peer: PeerConfig
    state: str = "waiting"
    process: subprocess.Popen[bytes] | None = None
    remote: RemoteStart | None = None
    log_begin: int = 0
    looked_at: float = 0.0
    failure: str = ""

    @property
    def is_ours(self) -> bool:
        return self.process is not None or self.remote is not None


@dataclass(slots=True)
class Start:
    """One `pymr cluster start`. prepare: called before a daemon is started: starts a managed Redis."""

    peers: ClusterPeers
    prepare: Callable[[], None]
    timeout_s: float
    _members: list[_Member] = field(default_factory=list)
    _leader: str = ""
    _deadline: float = 0.0

    def run(self) -> str:
        """Start what does not run; returns when all peers answer and one leads: which.

        Raises FatalError with all that went wrong, and the ends of the logs; what did start keeps running.
        """
        self._members = [_Member(peer) for peer in self.peers.config.peers]
        self._deadline = time.monotonic() + self.timeout_s
        self._look_what_runs()
        while not self._is_over():
            self._start_after_ending()
            self._ask([one for one in self._members if one.state == "waiting"])
            for one in self._members:
                if one.state == "waiting":
                    self._look_at_process(one)
        failures = [one.failure for one in self._members if one.state == "failed"]
        if failures or not self._leader or any(one.state != "up" for one in self._members):
            raise FatalError("\n".join([*failures, *self._why_not_up()]))
        if problem := self._foreign_processes():
            raise FatalError(problem)
        return self._leader

    def _is_over(self) -> bool:
        states = {one.state for one in self._members}
        if "ending" in states and "failed" not in states:
            return False  # which has a deadline of its own
        if states == {"up"}:
            return bool(self._leader) or time.monotonic() >= self._deadline
        return "waiting" not in states or time.monotonic() >= self._deadline

    # ---- processes

    def _look_what_runs(self) -> None:
        """Start those peers of which nothing runs; those that are about to end have to do so first."""
        daemons = self.peers.daemons()
        listening = self.peers.listening(self.peers.elsewhere)
        running = [one for one in self._members if one.peer.name in daemons or listening.get(one.peer.name)]
        answers = self.peers.ask_all([one.peer for one in running], ROUND_SECONDS)
        missing = []
        for one in self._members:
            answer = answers.get(one.peer.name)
            if isinstance(answer, ClusterView) and answer.is_draining:
                self._wait_for_end(one)
            elif answer is not None:
                process = daemons.get(one.peer.name)
                where = f"(pid {process.pid})" if process else f"on {one.peer.host}"
                self.peers.report(f"{one.peer.name}: is running already {where}")
                if isinstance(answer, ClusterView):
                    self._note(one, answer)
            else:
                missing.append(one)
        self._launch(missing)

    def _launch(self, members: Sequence[_Member]) -> None:
        """Start daemons, those of other machines at the same time; a failure of one is kept with it."""
        if not members:
            return
        self.prepare()
        here = [one for one in members if one.peer in self.peers.here]
        for one in here:
            one.log_begin = log_size(one.peer)
            one.process = start_process(self.peers.source, one.peer)
        elsewhere = {one.peer.name: one for one in members if one not in here}
        outcomes = self.peers.each([one.peer for one in elsewhere.values()], self._start_remote)
        for name, outcome in outcomes.items():
            one = elsewhere[name]
            if isinstance(outcome, RemoteStart):
                one.remote = outcome
            else:
                self._fail(one, str(outcome))
        for one in members:
            one.looked_at = time.monotonic()
            if one.state != "failed":
                one.state = "waiting"
        self._deadline = max(self._deadline, time.monotonic() + self.timeout_s)

    def _start_remote(self, peer: PeerConfig) -> RemoteStart | FatalError:
        try:
            return start_remote(self.peers.config, peer)
        except FatalError as error:
            return error

    def _wait_for_end(self, one: _Member) -> None:
        """What is about to end does not count as running."""
        if one.is_ours:
            self._fail(one, f"{one.peer.name} was stopped by somebody else as it started")
            return
        self.peers.report(f"{one.peer.name}: is still stopping; it is started again when it has ended")
        one.state, one.looked_at = "ending", time.monotonic()

    def _start_after_ending(self) -> None:
        """Start those again that were about to end, and have."""
        ending = [one for one in self._members if one.state == "ending"]
        if not ending:
            return
        daemons = self.peers.daemons()
        listening = self.peers.listening([one.peer for one in ending if one.peer in self.peers.elsewhere])
        gone = []
        for one in ending:
            if one.peer.name not in daemons and not listening.get(one.peer.name):
                gone.append(one)
            elif time.monotonic() - one.looked_at >= ENDING_SECONDS:
                text = f"{one.peer.name} was asked to stop and has not ended after {ENDING_SECONDS:g} s"
                self._fail(one, f"{text}: `pymr cluster kill` ends it at once")
        self._launch(gone)
        if not gone:
            time.sleep(_POLL_SECONDS)

    def _look_at_process(self, one: _Member) -> None:
        """Whether the daemon of a peer that does not answer is there at all."""
        if one.process is not None and one.process.poll() is not None:
            tail = log_tail(one.peer, one.log_begin)
            status = f" with status {one.process.returncode}"
            self._fail(one, _ended(one.peer, status, str(log_path(one.peer)), tail))
        elif one.remote is not None and time.monotonic() - one.looked_at >= REMOTE_LOOK_SECONDS:
            one.looked_at = time.monotonic()
            with suppress(FatalError):  # its machine cannot be asked now: it may answer yet
                tail_of_ended = remote_end(self.peers.config, one.peer, one.remote)
                if tail_of_ended is not None:
                    self._fail(one, _ended(one.peer, "", self._remote_log(one.peer), tail_of_ended))
        elif not one.is_ours and not self._runs(one.peer):
            self._launch([one])  # it was about to end when this began, and too busy to say so

    def _runs(self, peer: PeerConfig) -> bool:
        if peer in self.peers.here:
            return peer.name in self.peers.daemons()
        return self.peers.listening([peer])[peer.name] is not False

    def _fail(self, one: _Member, failure: str) -> None:
        one.state, one.failure = "failed", failure
        self._deadline = min(self._deadline, time.monotonic() + VERDICT_SECONDS)

    def _remote_log(self, peer: PeerConfig) -> str:
        return f"{peer.host}:{remote_log_path(self.peers.config, peer)}"

    # ---- answers

    def _ask(self, waiting: Sequence[_Member]) -> None:
        if waiting:
            answers = self.peers.ask_all([one.peer for one in waiting], ROUND_SECONDS)
            for one in waiting:
                answer = answers[one.peer.name]
                if isinstance(answer, ClusterView):
                    self._note(one, answer)
        elif not self._leader and any(one.state == "up" for one in self._members):
            time.sleep(_POLL_SECONDS)
            with suppress(ClientError), Client(self.peers.config, timeout_s=ANSWER_SECONDS) as client:
                self._leader = client.cluster().leader

    def _note(self, one: _Member, answer: ClusterView) -> None:
        if answer.is_draining:
            self._wait_for_end(one)
            return
        one.state = "up"
        self._leader = answer.leader or self._leader
        if one.is_ours:
            self.peers.report(
                f"{one.peer.name}: started" + (f" (pid {one.process.pid})" if one.process else "")
            )

    def _foreign_processes(self) -> str:
        """What is wrong where the peer that leads does not know all peers of this configuration."""
        with suppress(PymrError), Client(self.peers.config, timeout_s=ANSWER_SECONDS) as client:
            known = {row.name for row in client.peers()}
            unknown = [one.peer.name for one in self._members if one.peer.name not in known]
            if unknown and self._leader in known:
                return (
                    f"{self._leader} leads, but does not know {', '.join(unknown)}: it was started with a "
                    f"cluster.toml that has not got a section [[peers]] for each. Give all machines the same "
                    "file; then `pymr cluster stop`, and `pymr cluster start`"
                )
        return ""

    def _why_not_up(self) -> list[str]:
        """Of those that have not failed, but are not up; or why none leads."""
        silent = [one for one in self._members if one.state == "waiting"]
        if not silent and any(one.state == "failed" for one in self._members):
            return []
        problem = ""
        if len(silent) < len(self._members):
            with suppress(ClientError), Client(self.peers.config, timeout_s=ANSWER_SECONDS) as client:
                problem = client.cluster().problem
        if not silent:
            why = problem or "no peer says why"
            return [f"all peers run, but none leads after {self.timeout_s:g} s: {why}"]
        names = ", ".join(one.peer.name for one in silent)
        texts = [f"after {self.timeout_s:g} s there is no answer from {names}"]
        texts += [f"the others say: {problem}"] * bool(problem)
        return [*texts, *map(self._end_of_log, silent)]

    def _end_of_log(self, one: _Member) -> str:
        if one.peer in self.peers.here:
            return f"the end of {log_path(one.peer)}:\n{log_tail(one.peer, one.log_begin)}"
        started = one.remote or RemoteStart(0, 0)
        tail = remote_log_tail(self.peers.config, one.peer, started)
        return f"the end of {self._remote_log(one.peer)}:\n{tail}"


def _ended(peer: PeerConfig, how: str, log: str, tail: str) -> str:
    return f"{peer.name} ended{how} as it started; the end of {log}:\n{tail}"
