"""What is wrong with a Redis, in words: what it has forgotten, how it is set, why it refuses a call."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

SAFE_SETTINGS = {
    "appendonly": ("yes", "a restart of Redis loses all jobs"),
    "appendfsync": (
        "always",
        "a crash of its machine loses what was written last",
    ),
    "maxmemory-policy": ("noeviction", "Redis may drop jobs when its memory is full"),
}

ADVICE = {
    "MISCONF": "its disk is full or failing: put that right, it then goes on by itself",
    "OOM": "its memory is full: raise its maxmemory, or delete jobs",
    "READONLY": "it is a replica: let redis.url name its master",
    "NOAUTH": "it wants a password: put that into a file, and the file into redis.password_file",
    "WRONGPASS": "put the right password into the file that redis.password_file names",
    "NOPERM": "give its user the commands and the keys pymr:*",
}
"""What to do, by the word with which Redis says what it lacks."""


def unanswered_problem(url: str, error: Exception, timeout_s: float | None) -> str:
    """What is wrong with a Redis from which no answer has come. timeout_s: within which; None where that was
    not what ended the wait."""
    what = f"does not answer ({error})" if timeout_s is None else f"has not answered within {timeout_s:g} s"
    return (
        f"Redis at {url} {what}: see that it runs, and that redis.url and redis.password_file in "
        "cluster.toml are right"
    )


def settings_problems(found: Mapping[str, str]) -> list[str]:
    """What of the settings of a Redis puts jobs at risk, each with what to set."""
    return [
        f"Redis has `{name} {found[name]}`, so that {risk}: set `{name} {wanted}`"
        for name, (wanted, risk) in SAFE_SETTINGS.items()
        if found[name] != wanted
    ]


def unreadable_settings(reason: object) -> str:
    """What to see to where Redis does not tell its settings."""
    wishes = ", ".join(f"{name} {wanted}" for name, (wanted, _) in SAFE_SETTINGS.items())
    return f"the settings of Redis cannot be read ({reason}): see that it has {wishes}"


def forgotten_problem(stored: str, stored_epoch: int, incarnation: str, epoch: int) -> str:
    """What is wrong with what Redis has, and the way out."""
    if not stored:
        found = "it holds nothing of this cluster"
    elif incarnation and stored != incarnation:
        found = f"it holds incarnation {stored} of it, and this peer knows {incarnation}"
    else:
        found = "it was restored from an old backup: " + (
            f"its epoch is {stored_epoch}, and there was {epoch} already"
            if stored_epoch < epoch
            else "jobs have changed since"
        )
    return (
        f"Redis has forgotten this cluster: {found}. Nothing is scheduled or published until its data is put "
        "back, or `pymr cluster recover` gives it the jobs that the peers remember"
    )


def shown_url(url: str) -> str:
    """An address of Redis without who logs in there."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
