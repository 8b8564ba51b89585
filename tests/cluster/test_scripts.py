"""Scripts on a cluster: where they run, what is kept of them, and that nothing of them stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cluster.clusters import Cluster
from cluster.running import wait_until

from pymr.base.errors import JobError
from pymr.client.errors import RefusedError
from pymr.wire.rows import RunRow

MakeCluster = Callable[..., Cluster]

STARTED = """#!/bin/sh
echo "$PYMR_PEER $PYMR_ATTEMPT $PYMR_RUN $PYMR_JOB" >> {folder}/ran
setsid sleep 1000 &
echo "$$ $!" >> {folder}/pids
echo waiting
while test -e {folder}/gate; do sleep 0.02; done
echo finished
"""
"""Tells who it is and what it has started, and waits while there is a gate."""


class Scripts:
    """A cluster that runs scripts, in whose folder these leave what they have done."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.ran_path, self.gate = cluster.folder / "ran", cluster.folder / "gate"
        cluster.start()

    def write(self, text: str, name: str = "script.sh") -> Path:
        path = self.cluster.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("{folder}", str(self.cluster.folder)))
        path.chmod(0o755)
        return path

    def submit(self, script: Path | str, name: str = "job", **fields: Any) -> None:
        values = {"job_type": "script", "job_name": name, "job_priority": 1, "run_once": True}
        projects = self.cluster.folder / "projects"
        self.cluster.client.submit({**values, "script_location": str(script), **fields}, projects)

    def begin(self, name: str = "job", **fields: Any) -> list[int]:
        """Submit the script that waits; the process ids of it and what it has started."""
        self.gate.touch()
        (self.cluster.folder / "pids").unlink(missing_ok=True)
        self.submit(self.write(STARTED), name, **fields)
        return self.pids()

    def pids(self, runs: int = 1) -> list[int]:
        """Of the last of so many runs."""
        path = self.cluster.folder / "pids"
        lines = self.cluster.wait_for(
            lambda: path.exists() and len(lines := path.read_text().splitlines()) >= runs and lines,
            what="the script to run",
        )
        return [int(word) for word in lines[-1].split()]

    def ran(self) -> list[list[str]]:
        """(peer, attempt, run, job) of every time a script ran."""
        return [line.split() for line in self.ran_path.read_text().splitlines()]

    def last(self, name: str = "job") -> RunRow:
        return self.cluster.client.history(name)[0]

    def states(self, peer: str) -> set[str]:
        return {row.state for row in self.cluster.client.workers() if row.peer == peer}


def are_gone(pids: list[int], seconds: float) -> bool:
    return bool(wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), seconds))


def test_scripts_run_where_they_are_to_and_their_output_is_kept(
    make_cluster: MakeCluster, tmp_path: Path
) -> None:
    scripts = Scripts(make_cluster(peers=3, settings={"security": {"local_roots": [str(tmp_path)]}}))
    cluster = scripts.cluster
    follower = cluster.followers()[0]
    show = scripts.write(
        'import os, sys\nfrom words import WORD\nopen(os.environ["PYMR_DATA_DIR"] + "/here", "w").close()\n'
        'print(WORD, sys.argv[1:], os.getcwd() == os.environ["PYMR_DATA_DIR"])\n'
        'print(os.environ["PYMR_PEER"], os.environ["PYMR_ATTEMPT"])\n',
        "projects/cleaning/steps/show.py",
    )
    scripts.write('WORD = "beside it"\n', "projects/cleaning/steps/words.py")
    location = str(show.relative_to(cluster.folder / "projects"))
    expected = {"named": [follower], "led": [cluster.leader()], "all": cluster.names}
    for name, run_on in (("named", follower), ("led", "leader"), ("all", "all")):
        scripts.submit(location, name, run_on=run_on, script_arguments=["$HOME", "a b", ""])
        cluster.succeed(name)
        row = scripts.last(name)

        assert [peer for peer in cluster.names if (cluster.data(peer) / "here").exists()] == expected[name]
        assert (row.status, row.exit_status) == ("succeeded", 0)
        assert "beside it ['$HOME', 'a b', ''] True" in row.output
        assert list(row.phase_seconds) == ["script"]
        assert name not in {job.name for job in cluster.client.jobs().rows}  # run_once
        for peer in expected[name]:
            (cluster.data(peer) / "here").unlink()
            logged = cluster.pymr("logs", f"{peer}/0", "--run", row.run_id).out
            assert logged.endswith(f"True\n{peer} 1\n"), logged

    scripts.submit(scripts.write("#!/bin/sh\nseq 99\necho the reason >&2\nexit 7\n"), "fails")
    outcome = cluster.finish("fails")
    numbers = "\n".join(str(number) for number in range(51, 100))
    assert outcome.status == "failed"
    assert "script.sh on" in outcome.exception and "ended with exit status 7" in outcome.exception
    assert outcome.exception.endswith(f"{numbers}\nthe reason")
    row = scripts.last("fails")
    assert (row.exception, row.exit_status) == (outcome.exception, 7)
    assert row.output == f"{numbers}\nthe reason"

    pids = scripts.begin("late", timeout_seconds=0.5)
    assert "timeout_seconds = 0.5" in cluster.finish("late").exception
    assert are_gone(pids, 0.1)

    pids = scripts.begin("deleted", run_on=follower)
    assert cluster.phase("deleted") == "script"
    cluster.wait_for(lambda: scripts.states(follower) == {"script"}, what="the state of the worker")
    cluster.client.delete("deleted")
    assert are_gone(pids, 2.0)
    cluster.wait_for(lambda: scripts.last("deleted").status == "deleted", what="the end of the run")

    with pytest.raises(RefusedError, match=r"run_on = 'nobody': is no peer of this cluster"):
        scripts.submit(location, "refused", run_on="nobody")
    with pytest.raises(JobError, match=r"script_location = 'cleaning/none\.py': there is no"):
        scripts.submit("cleaning/none.py", "refused")
    (tmp_path / "way-out").symlink_to("/bin/ls")
    os.mkfifo(tmp_path / "pipe.py")
    for path, reason in (
        ("/bin/ls", "security.local_roots"),
        (f"{tmp_path}/way-out", "security.local_roots"),
        (f"{tmp_path}/pipe.py", "is a pipe"),
        (str(tmp_path), "is a folder"),
        (f"{tmp_path}/none", "No such file"),
        (str(cluster.path), "chmod +x"),
    ):
        scripts.submit(path, "refused")
        exception = cluster.finish("refused").exception
        assert f"script_location = {path!r} cannot be run" in exception and reason in exception


def test_scripts_outlive_their_leader_and_are_run_again_where_a_daemon_was_lost(
    make_cluster: MakeCluster,
) -> None:
    scripts = Scripts(make_cluster(peers=3))
    cluster = scripts.cluster

    # The leader is killed while a follower runs one: it goes on.
    leader, follower = cluster.leader(), cluster.followers()[0]
    scripts.begin("outlives", run_on=follower)
    cluster.kill(leader)
    cluster.wait_for_other_leader(leader)
    cluster.restart(leader)
    scripts.gate.unlink()
    cluster.succeed("outlives")
    assert [(peer, attempt) for peer, attempt, *_ in scripts.ran()] == [(follower, "1")]

    # The daemon that runs one is killed: it is run again there, as a second attempt.
    scripts.ran_path.unlink()
    follower = cluster.followers()[0]
    pids = scripts.begin("again", run_on=follower)
    cluster.kill(follower)
    assert are_gone(pids, 2.0)
    cluster.restart(follower)
    scripts.pids(runs=2)
    scripts.gate.unlink()
    cluster.succeed("again")
    first, second = scripts.ran()
    assert (first[:2], second[:2]) == ([follower, "1"], [follower, "2"])
    assert first[2:] == second[2:]

    # The leader that runs one itself is killed: the next leader runs it.
    scripts.ran_path.unlink()
    leader = cluster.leader()
    pids = scripts.begin("moves", run_on="leader")
    killed_at = cluster.kill(leader)
    assert are_gone(pids, 2.0)
    scripts.pids(runs=2)
    print(f"run again {time.monotonic() - killed_at:.1f} s after the leader was killed")
    scripts.gate.unlink()
    cluster.succeed("moves")
    first, second = scripts.ran()
    assert (first[:2], second[1]) == ([leader, "1"], "2")
    assert second[0] != leader
    cluster.restart(leader)
