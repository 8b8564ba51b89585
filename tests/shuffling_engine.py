"""An engine that does all tasks in this process."""

from __future__ import annotations

import random
from typing import Self

from pymr.engines.core.attempts import AttemptFailedError
from pymr.engines.core.driver import EnginePlan
from pymr.engines.core.map_side import CLOSING, Piece, map_pieces
from pymr.engines.core.reduce_side import PartitionReport, reduce_pieces
from pymr.engines.core.run_watch import RunWatch

SEED = 7


class ShufflingEngine:
    """Does all tasks here. Pieces reach a partition in any order, map tasks are done again, and attempts
    whose result does not count stay where they are."""

    name = "an engine"
    slots = 2
    is_local = True

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.run_dir = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
        try:
            return self._reports(plan, watch)
        except AttemptFailedError as error:
            watch.give_up(error)
            raise

    def _reports(self, plan: EnginePlan, watch: RunWatch) -> list[PartitionReport]:
        self.run_dir = plan.run_dir
        shuffled: list[list[Piece]] = [[] for _ in range(plan.partitions)]
        watch.begin("map", plan.map_tasks, plan.input_bytes)
        for index in range(plan.map_tasks):
            lost = list(map_pieces(plan.run_dir, index))
            again = list(map_pieces(plan.run_dir, index))
            assert [piece for piece in again if piece[1][1] != CLOSING] == [
                piece for piece in lost if piece[1][1] != CLOSING
            ]
            for partition, piece in again:
                shuffled[partition].append(piece)
                self.pieces.append(piece)
        watch.end()
        watch.begin("reduce", plan.partitions)
        reports = []
        for partition, pieces in enumerate(shuffled):
            random.Random(SEED).shuffle(pieces)
            reduce_pieces(plan.run_dir, partition, iter(pieces))  # of a worker that was given up
            reports.append(reduce_pieces(plan.run_dir, partition, iter(pieces)))
            watch.look()
        watch.end()
        return reports[::-1]
