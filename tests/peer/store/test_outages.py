"""An outage of Redis is told of when it is over, with both its ends, by the peer that leads then."""

from __future__ import annotations

from pymr.peer.store.lease import LeaseView
from pymr.peer.store.outages import Outages

AWAY = LeaseView("unreachable", "life", 4, problem="Redis at x does not answer", is_cut_off=True)
CANDIDATE, LEADS = LeaseView("candidate", "life", 4), LeaseView("leader", "life", 5, "alpha")
FOLLOWS = LeaseView("follower", "life", 5, "beta")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def seen(*views: LeaseView) -> Outages:
    """Each view lasts 10 s."""
    clock = Clock()
    outages = Outages(clock)
    for view in views:
        outages.see(view)
        clock.now += 10.0
    return outages


def test_the_next_leader_tells_of_the_outage_with_both_its_ends_once() -> None:
    outages = seen(LEADS, AWAY, AWAY, CANDIDATE, LEADS)
    lost, back = outages.take_events()

    assert (lost.kind, lost.at, lost.text) == ("redis.lost", 109.0, "Redis at x does not answer")
    assert (back.kind, back.at) == ("redis.back", 130.0)
    assert back.text == "Redis answers again, after 21 s in which nothing was scheduled"
    assert outages.take_events() == ()


def test_a_peer_that_follows_then_tells_nothing() -> None:
    assert seen(FOLLOWS, AWAY, CANDIDATE, FOLLOWS).take_events() == ()


def test_a_redis_that_was_not_there_yet_is_no_outage() -> None:
    assert seen(AWAY, CANDIDATE, LEADS).take_events() == ()


def test_what_lasts_still_is_not_told_of() -> None:
    assert seen(LEADS, AWAY).take_events() == ()
