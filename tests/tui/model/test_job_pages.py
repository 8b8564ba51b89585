"""A long queue is read a page at a time, and is whole nevertheless."""

from __future__ import annotations

import pytest

from pymr.wire.requests import JOBS_PER_PAGE, JobsView
from pymr.wire.rows import JobRow
from tui.model import job_pages
from tui.model.job_pages import JobPages


class Queue:
    """Answers as a peer does. asked: the pages that were asked for."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.statuses: dict[str, str] = {}
        self.asked: list[int] = []

    def page(self, start: int) -> JobsView:
        self.asked.append(start)
        names = self.names[start : start + JOBS_PER_PAGE]
        rows = tuple(
            JobRow(
                fields={"job_name": name},
                status=self.statuses.get(name, "queued"),  # type: ignore[arg-type]
                version=1,
                submitted_at=0.0,
            )
            for name in names
        )
        return JobsView(id="1", rows=rows, total=len(self.names))

    def read(self, pages: JobPages) -> list[str]:
        self.asked = []
        return [row.fields["job_name"] for row in pages.read(self.page).rows]


@pytest.fixture
def queue() -> Queue:
    return Queue([f"job-{number:05d}" for number in range(3 * JOBS_PER_PAGE + 7)])


def test_the_first_time_all_of_it_is_read(queue: Queue) -> None:
    names = queue.read(JobPages())

    assert names == queue.names
    assert queue.asked == [0, 1_000, 2_000, 3_000]


def test_a_queue_in_which_nothing_has_moved_is_read_at_its_head(queue: Queue) -> None:
    pages = JobPages()
    queue.read(pages)
    queue.statuses["job-00001"] = "running"
    view = pages.read(queue.page)
    names = queue.read(pages)

    assert [row.status for row in view.rows[:3]] == ["queued", "running", "queued"]
    assert names == queue.names
    assert queue.asked == [0]


def test_what_changes_further_back_is_seen_when_its_turn_comes(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_pages, "TURN_SECONDS", 0.0)
    pages = JobPages()
    queue.read(pages)
    queue.statuses["job-02500"] = "failed"
    asked = []
    for _ in range(4):
        queue.read(pages)
        asked.append(list(queue.asked))
    view = pages.read(queue.page)

    assert asked == [[0, 1_000], [0, 2_000], [0, 3_000], [0, 1_000]]
    assert view.rows[2_500].status == "failed"
    assert [row.fields["job_name"] for row in view.rows] == queue.names


@pytest.mark.parametrize(
    "change",
    [
        lambda names: names.append("one-more"),
        lambda names: names.pop(2_000),
        lambda names: names.append(names.pop(0)),
        lambda names: names.clear(),
        lambda names: names.insert(0, names.pop()),
    ],
)
def test_a_queue_in_which_something_has_moved_is_read_whole(queue: Queue, change: object) -> None:
    pages = JobPages()
    queue.read(pages)
    change(queue.names)  # type: ignore[operator]

    assert queue.read(pages) == queue.names
    assert queue.read(pages) == queue.names


def test_a_job_that_moves_while_its_pages_are_read_is_there_once(queue: Queue) -> None:
    moved = [False]

    def page(start: int) -> JobsView:
        if start == 2_000 and not moved[0]:
            moved[0] = True
            queue.names.append(queue.names.pop(0))
        return queue.page(start)

    names = [row.fields["job_name"] for row in JobPages().read(page).rows]

    assert len(names) == len(set(names))
