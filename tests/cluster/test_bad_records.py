"""Records that were passed over: counted in the history, and read back when their run is gone."""

from __future__ import annotations

import json
from collections.abc import Callable

from cluster.clusters import Cluster
from cluster.running import REDUCE_TOTAL

MakeCluster = Callable[..., Cluster]
MAP_SOME = """
    import pymr

    def words(line, auxiliary_data):
        pymr.count("lines seen")
        if "BAD" in line:
            raise ValueError(f"cannot read {line}")
        return [(word, 1) for word in line.split()]
"""


def test_bad_records_and_counters_are_shown_and_read_back(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(hosts=["127.0.0.1", "127.0.0.1", "127.0.0.2"])
    cluster.project(MAP_SOME, REDUCE_TOTAL)
    for name in cluster.names:
        cluster.feed(name, "a.txt", "one two", f"BAD {name}", "three")
    cluster.start()
    cluster.submit(max_bad_records=3)
    cluster.succeed()
    run_id = cluster.client.history("job")[0].run_id
    cluster.wait_for(lambda: not cluster.left_runs(), what="the run to be gone from every disk")
    printed, traced = (cluster.pymr("bad-records", run_id, *more) for more in ((), ("--traceback",)))
    entries = json.loads(cluster.pymr("bad-records", run_id, "--json").out)
    shown = cluster.pymr("show", "job").out
    in_json = json.loads(cluster.pymr("show", "job", "--json").out)
    history = json.loads(cluster.pymr("history", "--json").out)

    assert {(entry["file"], entry["offset"], entry["line"]) for entry in entries} == {
        (str(cluster.input_of(name) / "a.txt"), 8, f"BAD {name}") for name in cluster.names
    }
    assert {entry["host"] for entry in entries} == {"127.0.0.1", "127.0.0.2"}
    assert all(
        "cannot read BAD" in entry["error"] and "map_functions.py" in entry["traceback"] for entry in entries
    )
    assert (
        f"{cluster.input_of('gamma') / 'a.txt'}:8" in printed.out and "cannot read BAD gamma" in printed.out
    )
    assert "Traceback" in traced.out and "Traceback" not in printed.out
    assert f"pymr bad-records {run_id}" in shown and "lines seen" in shown
    assert (in_json["bad_records"], in_json["counters"]) == (3, {"lines seen": 9})
    assert (history[0]["bad_records"], history[0]["counters"]) == (3, {"lines seen": 9})

    # A run that fails for its bad records keeps those of the tasks that were done.
    cluster.submit(max_bad_records=2)  # the tasks of both hosts taken together have more
    failed = cluster.finish()
    cluster.wait_for(lambda: not cluster.left_runs(), what="the run to be gone from every disk")
    of_failed = json.loads(cluster.pymr("bad-records", failed.run_id, "--json").out)
    assert failed.status == "failed" and "max_bad_records = 2" in failed.exception
    assert {entry["line"] for entry in of_failed} == {f"BAD {name}" for name in cluster.names}

    # And one that fails for those of a single task keeps these.
    cluster.feed("gamma", "a.txt", "BAD 1", "BAD 2")
    cluster.submit(max_bad_records=1)
    failed = cluster.finish()
    cluster.wait_for(lambda: not cluster.left_runs(), what="the run to be gone from every disk")
    of_failed = json.loads(cluster.pymr("bad-records", failed.run_id, "--json").out)
    assert "more than max_bad_records = 1" in failed.exception
    assert len(of_failed) >= 2

    cluster.submit(input_dirs=["none"])
    for name in cluster.names:
        (cluster.data(name) / "none").mkdir()
    without = cluster.finish()
    none = cluster.pymr("bad-records", without.run_id or "")
    unknown = cluster.pymr("bad-records", "job-999999")
    assert unknown.status == 1 and "there is no run job-999999" in unknown.err
    assert (none.status, "had no bad records" in none.out) == (0, True), none
    kept = cluster.data("gamma") / "bad-records" / f"{run_id}.jsonl"
    for name in cluster.names:
        (cluster.data(name) / "bad-records" / kept.name).unlink(missing_ok=True)
    gone = cluster.pymr("bad-records", run_id)
    assert (gone.status, "3 bad records, which are not kept any more" in gone.err) == (1, True)
