"""How much of each partition the peer has that reduces it: what it has fetched, and what lies on its host."""

from __future__ import annotations

from pathlib import Path

from pymr.control.follower.shuffle_progress import ShuffleProgress
from pymr.engine.disk.blocks import SortedRun
from pymr.engine.segments import RUNS_NAME, write_index
from pymr.engine.tasks import MapOutput
from pymr.peer.output.partition_sizes import measure_segments
from pymr.wire.protocol import ShuffleReport, Source
from pymr.wire.requests import PARTITIONS_SHOWN_MAX

FAR, NEAR = Source(0, "1.1", "far"), Source(1, "1.1", "near")
FAR_AGAIN, NEAR_AGAIN = Source(0, "1.2", "far"), Source(1, "1.2", "near")


class Bench:
    """One Gathering. measured: what it wanted to have measured."""

    def __init__(self, *homes: int, partitions: int = 4) -> None:
        self.measured: list[tuple[tuple[int, ...], tuple[Source, ...]]] = []
        self.gathering = ShuffleProgress(
            "run",
            lambda peer: peer == "near",
            lambda partitions, sources: self.measured.append((partitions, sources)),
        )
        self.gathering.settle(homes, partitions)

    def sizes(self) -> dict[int, int]:
        return dict(self.gathering.report().partitions)


def test_what_was_fetched_and_what_lies_here_counts() -> None:
    bench = Bench(0, 2)
    bench.gathering.announce(0, [FAR, NEAR], 2)

    assert bench.measured == [((0, 2), (NEAR,))]
    assert bench.sizes() == {}

    bench.gathering.fetched(FAR, 0, 5)
    bench.gathering.sizes.measured(NEAR, ((0, 10), (2, 0)))
    bench.gathering.sizes.measured(NEAR, ((0, 10), (2, 0)))

    assert bench.sizes() == {0: 15, 2: 0}


def test_a_partition_that_comes_later_is_measured_for_itself() -> None:
    bench = Bench(0)
    bench.gathering.announce(0, [NEAR], 1)
    bench.gathering.settle([0, 3], 4)
    bench.gathering.sizes.measured(NEAR, ((0, 1),))
    bench.gathering.sizes.measured(NEAR, ((3, 2),))

    assert bench.measured == [((0,), (NEAR,)), ((3,), (NEAR,))]
    assert bench.sizes() == {0: 1, 3: 2}


def test_a_partition_that_is_reduced_elsewhere_is_not_told_of() -> None:
    bench = Bench(0, 1)
    bench.gathering.announce(0, [NEAR], 1)
    bench.gathering.sizes.measured(NEAR, ((0, 1), (1, 2)))
    bench.gathering.settle([1], 4)

    assert bench.sizes() == {1: 2}


def test_an_output_that_is_made_again_is_not_counted_twice() -> None:
    bench = Bench(0, 1)
    bench.gathering.announce(0, [FAR, NEAR], 2)
    bench.gathering.fetched(FAR, 0, 5)
    bench.gathering.sizes.measured(NEAR, ((0, 10), (1, 20)))
    bench.gathering.announce(2, [FAR_AGAIN, NEAR_AGAIN], 2)
    bench.gathering.fetched(FAR_AGAIN, 0, 5)
    bench.gathering.fetched(FAR_AGAIN, 1, 7)  # which had not come of the first one
    bench.gathering.sizes.measured(NEAR_AGAIN, ((0, 10), (1, 20)))

    assert bench.sizes() == {0: 15, 1: 27}


def test_what_is_measured_of_an_output_that_was_replaced_does_not_count() -> None:
    bench = Bench(0)
    bench.gathering.announce(0, [NEAR], 2)
    bench.gathering.announce(1, [NEAR_AGAIN], 2)
    bench.gathering.sizes.measured(NEAR, ((0, 10),))
    bench.gathering.sizes.measured(NEAR_AGAIN, ((0, 10),))

    assert bench.sizes() == {0: 10}


def test_of_two_announcements_in_one_message_the_later_is_counted() -> None:
    bench = Bench(0)
    bench.gathering.announce(0, [FAR, FAR_AGAIN, NEAR, NEAR_AGAIN], 2)
    bench.gathering.fetched(FAR_AGAIN, 0, 5)
    bench.gathering.sizes.measured(NEAR_AGAIN, ((0, 10),))

    assert bench.measured == [((0,), (NEAR_AGAIN,))]
    assert bench.sizes() == {0: 15}


def test_sizes_stay_when_another_leader_announces_all_anew() -> None:
    bench = Bench(0)
    bench.gathering.announce(0, [FAR, NEAR], 2)
    bench.gathering.fetched(FAR, 0, 5)
    bench.gathering.sizes.measured(NEAR, ((0, 10),))
    bench.gathering.begin_epoch()
    bench.gathering.announce(0, [NEAR, FAR], 2)

    assert bench.sizes() == {0: 15}
    assert len(bench.measured) == 1


def test_of_too_many_partitions_nothing_is_measured_or_told() -> None:
    bench = Bench(0, partitions=PARTITIONS_SHOWN_MAX + 1)
    bench.gathering.announce(0, [FAR, NEAR], 2)
    bench.gathering.fetched(FAR, 0, 5)

    assert bench.measured == []
    assert bench.gathering.report() == ShuffleReport("run", 2, 1, 1, 5)


def test_segments_are_measured_where_they_can_be_read(tmp_path: Path) -> None:
    whole, gone = tmp_path / "map-00000-1.1", tmp_path / "map-00001-1.1"
    whole.mkdir()
    path = str(whole / RUNS_NAME)
    runs = [
        SortedRun(path, 0, 0, 30, 1, 1),
        SortedRun(path, 2, 30, 10, 1, 1),
        SortedRun(path, 0, 40, 5, 1, 1),
    ]
    Path(path).write_bytes(bytes(45))
    write_index(str(whole), MapOutput(tuple(runs), 1, 1, {}))
    measured = measure_segments({NEAR: str(whole), FAR: str(gone)}, (0, 1, 2))

    assert measured == {NEAR: ((0, 35), (1, 0), (2, 10))}
