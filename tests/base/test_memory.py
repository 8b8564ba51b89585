"""The memory budget: when it is used up, and how often it has to be asked."""

from __future__ import annotations

import os

import pytest

from pymr.base.memory import MEMORY_BYTES_MIN, MemoryBudget, resident_bytes_reader

MIB = 1 << 20


class Process:
    """Something whose resident set is what a test says."""

    def __init__(self, resident_bytes: int = 0) -> None:
        self.resident_bytes = resident_bytes

    def __call__(self) -> int:
        return self.resident_bytes


def test_a_budget_is_used_up_before_its_bound_is_reached() -> None:
    process = Process()
    memory = MemoryBudget(1000 * MIB, process)
    answers = []
    for resident_mib in (100, 600, 990):
        process.resident_bytes = resident_mib * MIB
        answers.append(memory.is_full())

    assert answers == [False, False, True]


def test_a_budget_is_never_below_the_least_that_is_supported() -> None:
    process = Process(MEMORY_BYTES_MIN // 2)
    memory = MemoryBudget(1, process)

    assert memory.limit_bytes == MEMORY_BYTES_MIN
    assert not memory.is_full()


def test_memory_that_cannot_be_given_back_is_not_asked_for_again_and_again() -> None:
    process = Process(900 * MIB)
    memory = MemoryBudget(1000 * MIB, process)
    memory.give_back()
    after_giving_back = memory.is_full()
    process.resident_bytes = 1100 * MIB

    assert not after_giving_back
    assert memory.is_full()


def test_memory_that_was_given_back_restores_the_first_bound() -> None:
    process = Process(900 * MIB)
    memory = MemoryBudget(1000 * MIB, process)
    memory.give_back()
    process.resident_bytes = 100 * MIB
    memory.give_back()
    process.resident_bytes = 800 * MIB

    assert memory.is_full()


def test_steps_grow_while_the_process_does_not() -> None:
    memory = MemoryBudget(1000 * MIB, Process())
    steps = []
    for _ in range(20):
        memory.is_full()
        steps.append(memory.step_items)

    assert steps == sorted(steps)
    assert steps[0] < 100
    assert steps[-1] == steps[-2] > 1000


def test_steps_shrink_to_one_where_each_grows_the_process_much() -> None:
    process = Process()
    memory = MemoryBudget(1000 * MIB, process)
    for _ in range(20):
        memory.is_full()
    for _ in range(10):
        process.resident_bytes += 30 * MIB
        memory.is_full()

    assert memory.step_items == 1


@pytest.mark.parametrize("limit_bytes", [64 * MIB, 1 << 40])
def test_this_process_is_measured(limit_bytes: int) -> None:
    measured = resident_bytes_reader()()
    memory = MemoryBudget(limit_bytes)

    assert 5 * MIB < measured < 100 << 30
    assert memory.is_full() is (measured > 0.7 * limit_bytes)


def test_a_budget_that_is_gone_has_left_no_open_file() -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        MemoryBudget(MEMORY_BYTES_MIN).is_full()

    assert len(os.listdir("/proc/self/fd")) == before
