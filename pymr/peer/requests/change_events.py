"""Events of what consoles change, with who asked for it: of the key; "" where there are no keys."""

from __future__ import annotations

from pymr.control.stored_state import Event


def deleted(job_name: str, user: str) -> Event:
    return _event("job.deleted", f"{job_name} was deleted", user, job_name)


def undeleted(job_name: str, user: str) -> Event:
    return _event("job.undeleted", f"{job_name} was brought back", user, job_name)


def paused_or_resumed(is_paused: bool, user: str) -> Event:
    if is_paused:
        return _event("queue.paused", "the queue was paused: no more runs begin", user)
    return _event("queue.resumed", "the queue was resumed", user)


def _event(kind: str, text: str, user: str, job_name: str = "") -> Event:
    return Event(kind=kind, text=f"{text}, by {user}" if user else text, job_name=job_name, user=user)
