"""All stages together equal a dict, for every input and every way of cutting it."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import Item, job_context, lines_of, scratch_folder

from pymr.engine.input.files import list_input_files
from pymr.engine.pipeline import map_all, reduce_all
from pymr.engine.tasks import plan_map_tasks, plan_reduce_tasks

words = st.sampled_from(["a", "b", "apple", "é", "漢字", "\u2028x", "x" * 50, "7"])
texts = st.lists(st.lists(words, max_size=5).map(" ".join), max_size=30)
line_ends = st.sampled_from(["\n", "\r\n"])


def run(
    files: list[str], task_bytes: int, map_function: Any, reduce_function: Any, **options: Any
) -> list[Any]:
    with scratch_folder() as folder:
        os.mkdir(os.path.join(folder, "input"))
        for number, text in enumerate(files):
            with open(os.path.join(folder, "input", f"{number:03d}"), "wb") as file:
                file.write(text.encode())
        context = job_context(map_function, reduce_function, **options)
        tasks = plan_map_tasks(list_input_files([os.path.join(folder, "input")]), task_bytes)
        outputs = reduce_all(context, plan_reduce_tasks(map_all(context, tasks, folder)), folder)
        return [line for output in outputs for line in lines_of(output)]


def count_words(line: str, auxiliary_data: Any) -> list[Item]:
    return [(word, 1) for word in line.split(" ") if word]


def total(group: Any, auxiliary_data: Any) -> list[Item]:
    return [(group.key, sum(group.values))]


@settings(max_examples=40)
@given(
    st.lists(texts, max_size=3),
    line_ends,
    st.booleans(),
    st.integers(1, 200),
    st.integers(1, 5),
    st.integers(1, 20),
    st.booleans(),
)
def test_words_are_counted_as_a_counter_counts_them(
    files: list[list[str]],
    line_end: str,
    ends_with_line_end: bool,
    task_bytes: int,
    partitions: int,
    max_items: int,
    combines: bool,
) -> None:
    contents = [line_end.join(lines) + line_end * ends_with_line_end for lines in files]

    found = run(
        contents,
        task_bytes,
        count_words,
        total,
        combine=total if combines else None,
        partitions=partitions,
        max_number_dumped_items_shuffler=max_items,
        engine={"merge_fan_in_max": 2, "block_bytes": 64},
    )

    assert dict(found) == Counter(
        word for lines in files for line in lines for word in line.split(" ") if word
    )
    assert len(found) == len(dict(found))


@settings(max_examples=30)
@given(st.lists(texts, max_size=3), st.integers(1, 200), st.integers(1, 20), st.booleans())
def test_values_arrive_in_the_order_of_files_and_lines(
    files: list[list[str]], task_bytes: int, max_items: int, disk_based: bool
) -> None:
    def place(line: str, auxiliary_data: Any) -> list[Item]:
        number, _, text = line.partition(" ")
        return [(word, int(number)) for word in text.split(" ") if word]

    def listed(group: Any, auxiliary_data: Any) -> list[Item]:
        return [(group.key, list(group.values))]

    numbered = iter(range(10**6))
    contents = ["".join(f"{next(numbered)} {line}\n" for line in lines) for lines in files]

    found = run(
        contents,
        task_bytes,
        place,
        listed,
        partitions=2,
        max_number_dumped_items_shuffler=max_items,
        disk_based_input=disk_based,
        engine={"merge_fan_in_max": 3, "block_bytes": 64},
    )

    assert all(places == sorted(places) for _, places in found)
    assert sum(len(places) for _, places in found) == sum(
        bool(word) for lines in files for line in lines for word in line.split(" ")
    )
