"""Planning: what a run consists of, from what the peers of each host find as its input."""

from __future__ import annotations

from collections.abc import Iterable

from pymr.control.counted_runs import UNCOUNTED_MAX
from pymr.control.liveness import PeerState
from pymr.control.placement import place_partitions
from pymr.control.runs.ending import end, outdated_before
from pymr.control.runs.engine_runs import EngineRun
from pymr.control.runs.leader_state import LeaderState
from pymr.control.runs.mapreduce_run import MapReduceRun
from pymr.control.runs.recovery import wait_for_machines
from pymr.control.runs.tasks import is_refused
from pymr.control.stored_state import HostPlan, RunPlan, SavePlan
from pymr.jobs.external_engines import why_out_of_reach
from pymr.wire.output_shares import why_not_read
from pymr.wire.protocol import PlanOrder, PlanReport
from pymr.wire.run_warnings import ABSENT_WAY_OUT, RunWarnings, joined
from pymr.wire.wording import count_of

ANY_HOST = ""
"""Stands for whichever host plans the folders that all of them share."""

TROUBLE_SECONDS_MAX = 60.0
"""An input that cannot be listed, by an error that may go by itself, is tried again for this long."""

_NAMES_SHOWN = 5
REPLAN_SECONDS = 1.0
"""After so long an input is planned again where an output in it was being replaced."""

_LIST_GONE = (
    "has the list of what this job has consumed of the shared folders, and is no longer in cluster.toml: put "
    "it back there, or give the job another name, under which it begins anew"
)

_TORN = (
    "failed while its output took the place of what the job had shown, so that machines may differ in what "
    "they show: nothing can be added to that"
)


_TOO_MANY = (
    f"{UNCOUNTED_MAX:,} times runs of this job have failed while their output was being added, and machines "
    "that may show parts of them have not been there since"
)

_REPLACE = "Run the job once with delete_job_data = true, to replace all"


def advance(leader: LeaderState, run: MapReduceRun) -> None:
    """When every host has planned its part, put the plan together and have it saved."""
    if (why_not := _why_not_added(run)) is not None:
        end(leader, run, "failed", why_not)
        return
    entry, why_not = why_out_of_reach(run.record.fields, leader.hosts, leader.settings.shared)
    if why_not:  # the cluster has changed since the job was submitted
        end(leader, run, "failed", f"input_dirs: {entry} {why_not}")
        return
    wanted = _wanted(leader, run)
    shared_host = _shared_host(run)
    if shared_host and shared_host not in leader.hosts and (ANY_HOST, True) in wanted:
        end(leader, run, "failed", f"{shared_host} {_LIST_GONE}")
        return
    missing = [host for host, shared in wanted if (host, shared) not in run.plans]
    if missing:
        needed = [host or shared_host for host in missing]
        gone = [host for host in needed if host and leader.is_gone(host)]
        wait_for_machines(leader, run, gone, "its input cannot be listed")
        return
    wait_for_machines(leader, run, [], "")
    if not _check_absent(leader, run) or not _check_outputs(leader, run):
        return
    # The first run of a job has to leave an output, be it an empty one, for those who read it.
    if run.consumed is not None and not any(report.files for _, report in run.plans.values()):
        end(leader, run, "skipped", None)
        return
    working = [peer for peer in leader.peers.values() if peer.takes_work]
    homes = [peer.info for peer in working if not peer.has_disk_problem] or [peer.info for peer in working]
    if not homes or any(peer.state == "unknown" for peer in leader.peers.values()):
        return
    hosts, first = [], 0
    for host, shared in wanted:
        peer, report = run.plans[host, shared]
        hosts.append(HostPlan(host, peer, first, report.tasks, report.bytes, report.files, shared))
        first += report.tasks
    partitions = run.record.fields.get("partitions")
    if not isinstance(partitions, int):
        partitions = sum(peer.info.workers for peer in leader.peers.values())
    homes_placed = () if isinstance(run, EngineRun) else place_partitions(partitions, homes)
    run.begin_tasks(RunPlan(tuple(hosts), partitions, homes_placed, warnings=run.input_warnings))
    run.stage = "saving"
    assert run.plan is not None
    leader.write(SavePlan(run.run_id, run.plan))


def _check_outputs(leader: LeaderState, run: MapReduceRun) -> bool:
    """Whether all is there of every output that is read. False, and the input is planned again, while one is
    being replaced; if it stays so, or some of it was made by a machine that is no more, the run ends."""
    reads = [one for _, report in run.plans.values() for one in report.outputs]
    why_not, is_final = why_not_read(reads, leader.peers)
    if not why_not:
        run.unread_since = None
        return True
    run.waiting_for = why_not
    if run.unread_since is None:
        run.unread_since = run.replanned_at = leader.now
    if is_final or leader.now - run.unread_since > TROUBLE_SECONDS_MAX:
        end(leader, run, "failed", f"input_dirs: {why_not}")
    elif leader.now - run.replanned_at >= REPLAN_SECONDS:
        run.replanned_at = leader.now
        for key in [key for key in run.plans if not key[1]]:  # shared folders hold no outputs
            del run.plans[key]
            run.planners[key] = ("", 0), run.planners[key][1]  # so that whoever is asked has a new turn
        run.plan_orders = None
        leader.all_need_orders()
    return False


def _check_absent(leader: LeaderState, run: MapReduceRun) -> bool:
    """Collect what planning warns of; False, and the end of the run, if no peer has an entry of input_dirs.

    An entry that some peers have is empty on the others, as on a machine that has just joined.
    """
    reports = [report for _, report in run.plans.values()]
    found = [report.warnings for report in reports]
    absent: dict[str, dict[str, str]] = {}
    for one in (one for report in reports for one in report.absent):
        absent.setdefault(one.name, {})[one.peer] = one.place
    for name, found_absent in absent.items():
        places = {peer: found_absent[peer] for peer in leader.peers if peer in found_absent}
        if not leader.peers.keys() - places.keys():
            text = f"input_dirs: {_some(places.values(), 'peer')} cannot be read: No such file or directory"
            end(leader, run, "failed", f"{text}; {ABSENT_WAY_OUT}")
            return False
        found.append(
            RunWarnings((f"{name} is not there, and so taken as empty, on {_some(places, 'peer')}",))
        )
    run.input_warnings = joined(found)
    return True


def _some(names: Iterable[str], noun: str) -> str:
    """The first few names, and how many others there are."""
    listed = list(names)
    more = len(listed) - _NAMES_SHOWN
    return ", ".join(listed[:_NAMES_SHOWN]) + (f" and {count_of(more, f'more {noun}')}" if more > 0 else "")


def saved(leader: LeaderState, run: MapReduceRun) -> None:
    """The plan is in Redis: its tasks may be given out."""
    run.stage = "tasks"
    if not run.maps_left and is_refused(leader, run):
        return
    run.enter_phase(run.first_phase, leader.now)
    leader.all_need_orders()


def orders(leader: LeaderState, peer: PeerState) -> tuple[PlanOrder, ...]:
    """The plans that a peer has to make: the first one alive of a host does it for all of them."""
    found: list[PlanOrder] = []
    for run in leader.mapreduce_runs():
        if run.stage == "planning":
            found += _orders_of(leader, run).get(peer.name, ())
    return tuple(found)


def _orders_of(leader: LeaderState, run: MapReduceRun) -> dict[str, list[PlanOrder]]:
    if run.plan_orders is None:
        run.plan_orders = _plan_orders(leader, run)
    return run.plan_orders


def _plan_orders(leader: LeaderState, run: MapReduceRun) -> dict[str, list[PlanOrder]]:
    found: dict[str, list[PlanOrder]] = {}
    for host, shared in _wanted(leader, run):
        where = host or _shared_host(run)
        if (host, shared) in run.plans:
            continue
        planner = _planner(leader, where)
        turn = _turn(leader, run, (host, shared), planner)
        if planner is not None:
            workers = sum(one.info.workers for one in leader.alive(None if shared else host))
            consumed, owner = _consumed(leader, run, where, is_shared=shared)
            is_anew = any(outdated_before(leader, run))
            order = PlanOrder(run.run_id, workers, shared, consumed, owner, turn, is_anew)
            found.setdefault(planner.name, []).append(order)
    return found


def _turn(
    leader: LeaderState, run: MapReduceRun, key: tuple[str, bool], planner: PeerState | None
) -> tuple[int, int]:
    """The turn of a plan: a new one whenever somebody else is asked, or the same peer after a restart.

    Whoever has a later turn lists the input anew, in place of the list of an earlier one (see
    `peer.input.consumed`): so nothing that answers an earlier one may be taken any more. No leader saves a
    plan once there is one of a later epoch, and that one asks for nothing where a plan was saved.
    """
    who = (planner.name, planner.report.boot if planner.report else 0) if planner else ("", 0)
    asked, number = run.planners.get(key, (None, 0))
    if asked != who:
        number += 1
        run.planners[key] = who, number
    return leader.epoch, number


def _consumed(leader: LeaderState, run: MapReduceRun, host: str, *, is_shared: bool) -> tuple[str, str]:
    """The run whose lists tell what a job has consumed, and the peer of a host that has the list; "" for
    none."""
    state = run.consumed
    if state is None:
        return "", ""
    if is_shared:
        return state.run_id, state.shared_peer
    names = (name for name in state.peers if name in leader.peers and leader.peers[name].host == host)
    return state.run_id, next(names, "")


def _shared_host(run: MapReduceRun) -> str:
    """The host that has to plan the folders which all of them share, as it alone has the list of what was
    consumed there; "" where any may."""
    return run.consumed.shared_host if run.consumed is not None else ""


def replan(leader: LeaderState) -> None:
    """It has changed who is there to plan."""
    for run in leader.mapreduce_runs():
        run.plan_orders = None


def on_plan(leader: LeaderState, peer: PeerState, report: PlanReport) -> None:
    """A peer has planned its host's part of a run, or has tried to."""
    run = leader.runs.get(report.run_id)
    if not isinstance(run, MapReduceRun) or run.stage != "planning":
        return
    key = (ANY_HOST if report.shared else peer.host, report.shared)
    if key in run.plans or key not in _wanted(leader, run):
        return
    _orders_of(leader, run)  # before which it is not known whose turn it is
    if report.turn != (leader.epoch, run.planners[key][1]):
        leader.needs_orders(peer)
        return
    if not report.error:
        run.plans[key] = (peer.name, report)
        run.plan_orders = None
        run.is_touched = True
        run.trouble = ""
        leader.needs_orders(peer)
        return
    if not run.trouble or report.is_of_disk:
        run.trouble_since = leader.now
    run.trouble = f"{peer.shown}: {report.error}" if report.is_of_disk else report.error
    if report.is_of_disk:  # which is waited for; another peer of the host may have a disk of its own
        run.plan_orders = None
        return
    if report.is_final or leader.now - run.trouble_since > TROUBLE_SECONDS_MAX:
        end(leader, run, "failed", report.error)


def _planner(leader: LeaderState, host: str) -> PeerState | None:
    peers = leader.hosts.get(host, []) if host else leader.peers.values()
    able = [one for one in peers if one.is_alive and one.has_inventory]
    return next((one for one in able if not one.has_disk_problem), able[0] if able else None)


def _why_not_added(run: MapReduceRun) -> str | None:
    """Why nothing can be added to the output of a job; None where something can, or it is replaced."""
    if not run.adds or run.before is None:
        return None
    if run.before.torn:
        why_not = f"{run.before.torn} {_TORN}"
    elif len(run.before.uncounted) >= UNCOUNTED_MAX:
        peers = sorted({peer for runs in run.before.uncounted for peer in runs.peers})
        why_not = f"{_TOO_MANY}: {', '.join(peers)}. Start these again"
    else:
        return None
    anew = f", after `pymr state {run.job_name} --forget '*'` to count all input again"
    return f"{why_not}. {_REPLACE}{anew if run.holds_state else ''}"


def _wanted(leader: LeaderState, run: MapReduceRun) -> dict[tuple[str, bool], None]:
    """(host, shared) of every plan that a run consists of, in the order of its map tasks."""
    if run.plans_wanted is None:
        folders = run.record.fields.get("input_dirs")
        names = [str(name) for name in folders] if isinstance(folders, list | tuple) else []
        shared = [name for name in names if _is_shared(leader, name)]
        own = [(host, False) for host in leader.hosts] if len(shared) < len(names) else []
        run.plans_wanted = dict.fromkeys([*own, *([(ANY_HOST, True)] if shared else [])])
    return run.plans_wanted


def _is_shared(leader: LeaderState, folder: str) -> bool:
    roots = leader.settings.shared
    return any(folder == root or folder.startswith(root.rstrip("/") + "/") for root in roots)
