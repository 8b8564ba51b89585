"""Who leads: a thread with a Redis connection of its own that holds the lease, or tries to get it.

Nothing relies on there being one leader: what a leader does is refused where its epoch has passed (store.py).
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from secrets import token_hex
from typing import Any, Literal, Protocol

import msgspec

from pymr.base.errors import disk_error
from pymr.peer.store.problems import forgotten_problem
from pymr.peer.store.redis_pulse import RedisPulse
from pymr.peer.store.scripts import LOOK_AT_LEASE, RELEASE_LEASE, RENEW_LEASE, SET_PRESENCE
from pymr.peer.store.store import RedisConnection, StoreUnavailable

TTL_SECONDS = 1.5
"""How long a lease lasts after its last renewal. Higher: a dead leader is replaced later."""

RENEW_SECONDS = 0.4
"""A leader renews its lease this often."""

STEP_DOWN_SECONDS = 1.0
"""A leader stops leading this long after it sent the last renewal that succeeded: before the lease ends."""

CALL_TIMEOUT_SECONDS = 0.3

LOOK_SECONDS = (0.05, 0.15)
"""Bounds of the time between two looks at a lease that is another's."""

PRESENCE_SECONDS = 1.0
PRESENCE_TTL_SECONDS = 3.0

TURN_SECONDS_MAX = 1.0
"""A leader whose daemon has not turned its loop for this long gives its lease up: it decides nothing, and
would keep others from it for as long as it hangs."""

REMEMBER_SECONDS_MAX = 1.0
"""How long the disk may take to keep an epoch before this peer says so; a lease that was taken meanwhile
would have run out. It tries to lead again when that is done."""

STATE_ERROR_SECONDS = 5.0
"""How long a peer that could not write down its epoch waits before it tries to lead again."""

LEADERLESS_SECONDS = 0.5
"""A lease that nobody has taken for so long is one that no peer wants that stays: see LOOK_SECONDS."""

_log = logging.getLogger("pymr")

State = Literal["leader", "follower", "candidate", "unreachable", "forgotten"]


def boot_time() -> float:
    """Seconds since the machine started, those in which it slept included (Linux)."""
    return time.clock_gettime(_BOOT_CLOCK)


_BOOT_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class LeaseMemory(Protocol):
    """What the peer remembers on its own disk; used by the thread of the lease as well."""

    @property
    def incarnation(self) -> str | None: ...

    @property
    def epoch(self) -> int: ...

    @property
    def change(self) -> int:
        """The last change of the incarnation's job table that this peer has read; 0 if it has read none."""

    def remember(self, incarnation: str, epoch: int) -> None:
        """Write down the incarnation, and the epoch where it is higher; returns when it is on disk."""


class LeaseView(msgspec.Struct, frozen=True):
    """How it stands. leader: name of the peer that leads; "" if unknown. epoch: the highest known.
    is_cut_off: Redis does not answer.

    problem: for `unreachable` and `forgotten`, what is wrong and what to do; "" otherwise.
    """

    state: State
    incarnation: str | None = None
    epoch: int = 0
    leader: str = ""
    problem: str = ""
    is_cut_off: bool = False


class Lease:
    """A peer's part in the election; `start` it once, and `stop` it.

    on_change: called from the thread of the lease whenever its view changes.
    turns: whether the daemon's loop has turned within TURN_SECONDS_MAX; asked before every renewal, and
    before this peer tries to lead.
    compete: whether to try to lead; False for a peer that drains, which does so only where nobody else has
    for LEADERLESS_SECONDS: without a leader nobody would accept its last results, and it would wait in vain.
    """

    def __init__(
        self,
        url: str,
        password: str | None,
        cluster: str,
        *,
        peer: str,
        boot: int,
        state: LeaseMemory,
        on_change: Callable[[LeaseView], None],
        clock: Callable[[], float] = boot_time,
        turns: Callable[[], bool] = lambda: True,
    ) -> None:
        self.compete = True
        self.view = LeaseView("candidate")
        self._redis = RedisConnection(url, password, CALL_TIMEOUT_SECONDS)
        self._pulse = RedisPulse(url, password, CALL_TIMEOUT_SECONDS)
        self._prefix = f"pymr:{cluster}:"
        self._peer = peer
        self._boot = boot
        self._memory = state
        self._writer = _MemoryWriter(state)
        self._on_change = on_change
        self._clock = clock
        self._turns = turns
        self._guard = threading.Lock()
        self._held = b""  # the value of the lease that is this peer's
        self._deadline = 0.0  # until when this peer leads; changed under the guard
        self._given_up: list[bytes] = []  # values of leases to be taken out of Redis
        self._no_contest_until = 0.0
        self._led_at = clock()  # when somebody was last known to lead
        self._answered_at = float("-inf")
        self._present_at = float("-inf")
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def is_leader(self, now: float | None = None) -> bool:
        """Whether this peer leads at that time of its clock, or now; safe to ask from any thread.

        Computed, not reported: true of a process that was stopped for a while, or whose thread hangs.
        """
        return (self._clock() if now is None else now) < self._deadline

    def release(self) -> None:
        """Stop leading, at once. Without `compete = False` it may lead again in moments."""
        with self._guard:
            self._give_up()
        self._wake.set()

    def cool_down(self, seconds: float) -> None:
        """Stop leading, and do not try again for so long."""
        self._no_contest_until = self._clock() + seconds
        self.release()

    def stop(self) -> None:
        """Release the lease and end the thread."""
        self._stopping.set()
        self.release()
        if self._thread.is_alive():
            self._thread.join(4 * CALL_TIMEOUT_SECONDS)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            sent = self._clock()
            self._step(sent)
            if not self._stopping.is_set():
                self._wake.wait(self._pause(sent))
        try:
            self._take_out_leases()
            self._call(SET_PRESENCE, self._peer, self._boot, 0)
        except StoreUnavailable:
            pass  # they end by themselves
        self._redis.close()

    def _pause(self, sent: float) -> float:
        """Seconds until the next step: a renewal that failed is tried again soon, while there is time."""
        now = self._clock()
        if self._held and self._answered_at == sent:
            return max(min(sent + RENEW_SECONDS, self._deadline) - now, 0.0)
        return random.uniform(*LOOK_SECONDS)

    def _step(self, sent: float) -> None:
        if self._held and sent >= self._deadline:
            self.release()
        if self._held and not self._turns():
            _log.warning("the loop of this daemon hangs, so it gives the lease up: see what held it up")
            self.release()
        try:
            self._take_out_leases()
            view = self._renew(sent) if self._held else self._look(sent)
            self._answered_at = sent
            self._pulse.note_answer()
            if sent - self._present_at >= PRESENCE_SECONDS:
                self._call(SET_PRESENCE, self._peer, self._boot, _milliseconds(PRESENCE_TTL_SECONDS))
                self._present_at = sent
        except StoreUnavailable as error:
            view = self._view_without_answer(error)
        except OSError as error:  # of the memory
            if isinstance(error, TimeoutError):
                self.release()
            else:
                self.cool_down(STATE_ERROR_SECONDS)
            reason = disk_error("writing", str(error.filename or "to its data_dir"), error)
            view = LeaseView(
                "unreachable",
                self._memory.incarnation,
                self._memory.epoch,
                problem=f"the peer {self._peer} cannot write down its state, so it cannot lead: {reason}; "
                "see that its data_dir can be written to",
            )
        self._show(view)

    def _show(self, view: LeaseView) -> None:
        if view.state == "leader" and not self.is_leader():
            view = msgspec.structs.replace(view, state="candidate", leader="")
        if view != self.view:
            self.view = view
            self._on_change(view)

    def _look(self, sent: float) -> LeaseView:
        """See who leads; take the lease where nobody does."""
        compete = self._may_lead(sent) and not self._writer.is_busy
        change_known = (
            self._memory.change
        )  # first: that of an earlier incarnation is lower than any later one
        known, epoch_known = self._memory.incarnation, self._memory.epoch
        outcome, incarnation, epoch_text, value = self._call(
            LOOK_AT_LEASE,
            known or "",
            epoch_known,
            int(compete),
            f"{self._boot} {self._peer}",
            _milliseconds(TTL_SECONDS),
            token_hex(8),
            change_known,
        )
        incarnation, epoch = incarnation.decode(), int(epoch_text)
        if outcome == b"forgot":
            problem = forgotten_problem(incarnation, epoch, known or "", epoch_known)
            return LeaseView("forgotten", known, epoch_known, problem=problem)
        if outcome == b"acquired":
            self._given_up.append(value)  # until it is known that this peer may use it
        if incarnation and (incarnation != known or epoch > epoch_known):
            self._writer.remember(incarnation, epoch, REMEMBER_SECONDS_MAX)
        if outcome == b"acquired":
            with self._guard:
                self._given_up.remove(value)
                self._held = value
                self._deadline = sent + STEP_DOWN_SECONDS
                if not self._may_lead(self._clock()):
                    self._give_up()
            return LeaseView("leader", incarnation, epoch, self._peer)
        leader = value.decode().partition(" ")[2].partition(" ")[2]
        if leader:
            self._led_at = sent
        if leader and leader != self._peer:
            return LeaseView("follower", incarnation, epoch, leader)
        return LeaseView("candidate", incarnation or None, epoch)

    def _may_lead(self, now: float) -> bool:
        is_wanted = self.compete or now - self._led_at >= LEADERLESS_SECONDS
        is_fit = self._turns() and not self._stopping.is_set()
        return is_wanted and is_fit and now >= self._no_contest_until

    def _renew(self, sent: float) -> LeaseView:
        self._led_at = sent
        held = self._held
        (is_renewed,) = self._call(RENEW_LEASE, held, _milliseconds(TTL_SECONDS))
        with self._guard:
            if is_renewed and self._held == held and self._clock() < self._deadline:
                self._deadline = sent + STEP_DOWN_SECONDS
            else:
                self._give_up()
        epoch = int(held.split(b" ", 1)[0])
        return LeaseView("leader", self._memory.incarnation, epoch, self._peer)

    def _give_up(self) -> None:
        """Lead no more. Under the guard: a renewal that is under way must not undo it."""
        self._deadline = 0.0
        if self._held:
            self._given_up.append(self._held)
        self._held = b""

    def _take_out_leases(self) -> None:
        """Let others lead without waiting for the end of a lease that was given up."""
        while self._given_up:
            self._call(RELEASE_LEASE, self._given_up[0])
            del self._given_up[0]

    def _view_without_answer(self, error: StoreUnavailable) -> LeaseView:
        """What is known when Redis does not answer: for a moment, that it stands as it did."""
        if self.is_leader() or self._clock() - self._answered_at < STEP_DOWN_SECONDS:
            return self.view
        problem = self._pulse.describe(error)
        memory = self._memory
        return LeaseView("unreachable", memory.incarnation, memory.epoch, problem=problem, is_cut_off=True)

    def _call(self, script: str, *arguments: str | bytes | int) -> list[Any]:
        return self._redis.run_script(script, [self._prefix, *arguments])


class _MemoryWriter:
    """Writes to the memory in threads of their own, one at a time: its disk may hang, the lease may not."""

    def __init__(self, memory: LeaseMemory) -> None:
        self._memory = memory
        self._thread: threading.Thread | None = None
        self._errors: list[Exception] = []

    @property
    def is_busy(self) -> bool:
        """Whether a write is under way."""
        return self._thread is not None and self._thread.is_alive()

    def remember(self, incarnation: str, epoch: int, seconds: float) -> None:
        """As `LeaseMemory.remember`. Raises TimeoutError where it is not done within `seconds`, and at once
        while an earlier one is not."""
        if not self.is_busy:
            self._errors = []
            self._thread = threading.Thread(
                target=self._write, args=(incarnation, epoch, self._errors), name="remember", daemon=True
            )
            self._thread.start()
            self._thread.join(seconds)
        if self.is_busy:
            raise TimeoutError("the disk has not taken it for a while")
        for error in self._errors:
            raise error

    def _write(self, incarnation: str, epoch: int, errors: list[Exception]) -> None:
        try:
            self._memory.remember(incarnation, epoch)
        except Exception as error:
            errors.append(error)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
