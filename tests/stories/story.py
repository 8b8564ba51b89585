"""Stories: the leader's decisions as text, one line per event, the commands that come out indented below it.

`#` begins a comment. `python -m tests.stories.story` rewrites the output of every story.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path

from pymr.control.messages import Abdicate, Announce, DoWrite, Ended, LeaderCommand, SendOrders
from pymr.control.stored_state import (
    ActiveRun,
    BeginRun,
    Committed,
    EndRun,
    HostPlan,
    JobRecord,
    ReleaseTasks,
    RunPlan,
    SavePlan,
)
from pymr.wire.outcomes import AttemptId, Failure
from pymr.wire.protocol import HeldRun, Orders, PlanReport, PublishReport
from tests.leader_desk import FIELDS, MAPPED, REDUCED, RUN, Desk, job, run_record

FOLDER = Path(__file__).parent
INDENT = "    "


class Story:
    """Plays one story on a desk; `play` gives its text with the output that the leader gives now."""

    def __init__(self) -> None:
        self._desk = Desk(("a", "a", 1))
        self._events: dict[str, Callable[[list[str]], None]] = {
            "peers": self._elect,
            "given": lambda words: self._desk.begin(*words),
            "load": lambda words: self._desk.load(_jobs(words)),
            "table": lambda words: self._desk.change(_jobs(words)),
            "take-over": self._take_over,
            "drain": lambda words: self._desk.report(
                words[0], running=self._desk.given(words[0]), is_draining=True
            ),
            "report": lambda words: self._desk.report(words[0], running=self._desk.given(words[0])),
            "inventory": self._inventory,
            "begin-run": lambda words: self._answer_begin(),
            "planned": lambda words: self._plan(words[0], int(words[1])),
            "save-plan": lambda words: self._save_plan(),
            "done": lambda words: self._done(words[0], words[1]),
            "fail": lambda words: self._fail(words[0], words[1], " ".join(words[2:])),
            "released": lambda words: self._desk.answer(ReleaseTasks),
            "commit": lambda words: self._desk.commit(),
            "publish": lambda words: self._desk.publish(*words),
            "published": lambda words: self._published(words[0]),
            "end-run": lambda words: self._end(),
            "pass": lambda words: self._desk.pass_time(float(words[0]), *words[1:]),
        }

    def play(self, text: str) -> str:
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith(INDENT):
                continue
            lines.append(line)
            words = line.split()
            if words and not line.startswith("#"):
                self._events[words[0]](words[1:])
                shown = [one for command in self._desk.commands for one in _show(command)]
                shown = [one.replace("\n", " / ") for one in shown]
                lines += [INDENT + one for one in _fold(shown) if words[0] != "given"]
                self._desk.commands.clear()
        return "\n".join(lines) + "\n"

    def _elect(self, words: list[str]) -> None:
        self._desk = Desk(*((name, name, 1) for name in words))

    def _take_over(self, words: list[str]) -> None:
        """Another leader, after one that had given each peer a map task. words: tasks that were committed,
        as `TASK@PEER`; `publishing` where the publication had begun."""
        peers = list(self._desk.leader.peers)
        self._desk = Desk(*((name, name, 1) for name in peers), epoch=self._desk.leader.epoch + 1)
        hosts = tuple(HostPlan(name, name, index, 1, bytes=1, files=1) for index, name in enumerate(peers))
        done = [word.split("@") for word in words if "@" in word]
        status = "publishing" if "publishing" in words else "running"
        record = run_record(plan=RunPlan(hosts, 1, (peers[0],)), status=status)
        committed = tuple(
            Committed(AttemptId(RUN, task, "5.1"), peer, MAPPED if task.startswith("map") else REDUCED)
            for task, peer in done
        )
        self._desk.load([job(status="running", run_id=RUN)], [ActiveRun(record, committed, {})])

    def _inventory(self, words: list[str]) -> None:
        """A peer says what finished attempts of before lie on its disk: the first attempt of each task."""
        held = HeldRun(RUN, tuple((task, "5.1", "digest") for task in words[1:]))
        self._desk.report(words[0], inventory=(held,))

    def _answer_begin(self) -> None:
        self._desk.answer(BeginRun, run_record())

    def _plan(self, peer: str, tasks: int) -> None:
        self._desk.report(peer, plans=(PlanReport(RUN, tasks, tasks, 1),))

    def _save_plan(self) -> None:
        self._desk.answer(SavePlan)

    def _published(self, peer: str) -> None:
        self._desk.report(peer, published=(PublishReport(RUN, peer),))

    def _done(self, peer: str, task: str) -> None:
        self._desk.result(peer, task)

    def _fail(self, peer: str, task: str, error: str) -> None:
        self._desk.result(peer, task, Failure("ValueError", error))

    def _end(self) -> None:
        self._desk.end()


def _jobs(words: list[str]) -> list[JobRecord]:
    """Jobs as `NAME FIELD=VALUE …, NAME …`; `status` and `cycle` are of the record, the others of the job."""
    jobs = []
    for number, text in enumerate(filter(None, " ".join(words).split(",")), 1):
        name, *pairs = text.split()
        values = {key: int(value) if value.isdigit() else value for key, _, value in map(_pair, pairs)}
        own = {key: values.pop(key) for key in ("status", "cycle") if key in values}
        fields = FIELDS | {"job_name": name, "job_priority": 0} | values
        jobs.append(job(number, number, name=name, fields=fields, **own))
    return jobs


def _pair(text: str) -> tuple[str, str, str]:
    return text.partition("=")


def _fold(shown: list[str]) -> Iterator[str]:
    """The same line several times in a row becomes one, with their number."""
    for line, same in groupby(shown):
        number = len(list(same))
        yield line if number == 1 else f"{line} ({number} times)"


def _show(command: LeaderCommand) -> Iterator[str]:
    match command:
        case SendOrders(orders):
            said = " ".join(_show_orders(orders))
            if said:
                yield f"orders to {orders.peer}: {said}"
        case DoWrite(_, EndRun(record=record)):
            because = f": {record.exception}" if record.exception else ""
            yield f"write EndRun {record.status}{because}"
        case DoWrite(_, BeginRun(job_name=name)):
            yield f"write BeginRun {name}"
        case DoWrite(_, write):
            yield f"write {type(write).__name__}"
        case Announce(event):
            yield f"announce {event.kind}: {event.text}"
        case Ended(record):
            yield f"ended {record.run_id} {record.status}"
        case Abdicate(seconds, reason):
            yield f"abdicate for {seconds:g} s: {reason}"


def _show_orders(orders: Orders) -> Iterator[str]:
    if orders.wants_inventory:
        yield "send-inventory"
    for plan in orders.plans:
        yield f"plan({plan.run_id})"
    for one in orders.assignments:
        yield f"do({one.id.folder} in slot {one.slot})"
    for id in orders.cancelled:
        yield f"cancel({id.folder})"
    for order in orders.publish:
        yield f"publish({order.run_id})"
    for one_known in orders.acknowledged:
        yield f"{'keep' if one_known.keep else 'discard'}({one_known.id.folder})"


def stories() -> list[Path]:
    """All stories, by name."""
    return sorted(FOLDER.glob("*.txt"))


if __name__ == "__main__":
    for path in stories():
        path.write_text(Story().play(path.read_text()))
    sys.exit()
