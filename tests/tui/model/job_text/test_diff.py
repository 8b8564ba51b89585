"""What a submission changes, and what it will do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pymr.base.errors import DiskError, JobError
from pymr.wire.rows import JobRow
from tui.model.job_text.diff import FieldChange, field_changes, what_happens
from tui.model.job_text.draft import TEXT_BYTES_MAX, draft_of_file, draft_of_job, write_text
from tui.model.job_text.problems import check_text
from tui.model.job_text.projects import LocalProjects

FIELDS = {
    "job_type": "mapreduce", "job_name": "count", "job_priority": 1, "project_name": "words",
    "input_dirs": ("a",), "reduce_function_name": "total", "job_submitter": "me@here",
}  # fmt: skip


def row(**changes: object) -> JobRow:
    return JobRow(fields=FIELDS | changes, status="queued", version=4, submitted_at=1.0)


def test_changes_are_told_by_field_in_the_order_of_the_template() -> None:
    new = FIELDS | {"partitions": 8, "job_priority": 2, "input_dirs": ["a"]}
    del new["job_submitter"]

    assert field_changes(FIELDS, new) == (
        FieldChange("job_priority", "changed", "1", "2"),
        FieldChange("job_submitter", "removed", '"me@here"', ""),
        FieldChange("partitions", "added", "", "8"),
    )


def test_what_the_system_fills_in_is_no_change() -> None:
    assert field_changes({**FIELDS, "exception": "boom"}, FIELDS) == ()


def test_fields_of_another_type_are_removed() -> None:
    changes = field_changes(
        FIELDS, {"job_type": "script", "job_name": "count", "script_location": "/bin/true"}
    )

    assert {change.name: change.kind for change in changes}["project_name"] == "removed"


def test_a_running_job_is_said_to_end() -> None:
    running = JobRow(fields=FIELDS, status="running", version=4, submitted_at=1.0)
    told = " ".join(what_happens(FIELDS, running, is_paused=True))

    assert "version 4" in told
    assert "that run ends" in told
    assert "paused" in told


def test_a_new_job_in_a_failed_group_queues_all_of_it() -> None:
    told = " ".join(what_happens(FIELDS | {"group_name": "g"}, None, is_paused=False, group_failed=True))

    assert "new job" in told
    assert "Group g has failed" in told


def test_a_job_that_got_another_name_leaves_the_one_it_was_made_from() -> None:
    told = " ".join(what_happens(FIELDS, None, is_paused=False, edited_name="old"))

    assert "old stays in the queue" in told


def test_a_job_of_the_queue_as_text_gives_its_fields_again() -> None:
    draft = draft_of_job(row(max_attempts=7, start_time=3.0))
    checked = check_text(draft.text, LocalProjects())

    assert (draft.job_name, draft.version) == ("count", 4)
    assert checked.fields is not None
    assert field_changes(row(max_attempts=7).fields, checked.fields)[0].kind == "added"
    assert {change.kind for change in field_changes(row(max_attempts=7).fields, checked.fields)} == {"added"}
    assert max(map(len, draft.text.split("\n"))) <= 80


def test_a_file_is_written_whole_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    write_text(path, "first\n")
    path.chmod(0o640)
    write_text(path, 'job_name = "é"\n')

    assert draft_of_file(path).text == 'job_name = "é"\n'
    assert path.stat().st_mode & 0o777 == 0o640
    assert [entry.name for entry in tmp_path.iterdir()] == ["job.toml"]


def test_the_mark_that_some_editors_put_before_a_text_is_no_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(b'\xef\xbb\xbfjob_name = "a"\n')

    assert draft_of_file(path).text == 'job_name = "a"\n'


@pytest.mark.parametrize("data", [b"\xef\xbb\xbfab\xff", b"12345\xff"])
def test_what_is_no_text_is_named_with_its_first_bad_byte(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "job.toml"
    path.write_bytes(data)
    with pytest.raises(JobError, match=r"is not UTF-8 text, from byte 5 on"):
        draft_of_file(path)


def test_only_a_regular_file_is_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(JobError, match="is not a regular file"):
            draft_of_file(path)
    with pytest.raises(JobError, match="cannot be read: No such file"):
        draft_of_file(tmp_path / "none.toml")


def test_a_file_that_is_too_large_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.toml"
    with path.open("wb") as file:
        file.truncate(TEXT_BYTES_MAX + 1)
    with pytest.raises(JobError, match="is larger than"):
        draft_of_file(path)


def test_nothing_but_a_regular_file_is_written_over(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.toml"
    os.mkfifo(pipe)
    (tmp_path / "round.toml").symlink_to(tmp_path / "round.toml")
    for path in (pipe, Path("/dev/null"), tmp_path, tmp_path / "round.toml"):
        with pytest.raises(DiskError, match="is not a regular file"):
            write_text(path, "text")

    assert pipe.is_fifo()
    assert Path("/dev/null").is_char_device()


def test_through_a_link_the_file_is_written_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "job.toml", tmp_path / "link.toml"
    link.symlink_to(target)
    write_text(link, "first")
    write_text(link, "second")

    assert link.is_symlink()
    assert target.read_text() == "second"


def test_a_name_may_be_as_long_as_the_system_has_them(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250 + ".toml")
    write_text(path, "text")

    assert path.read_text() == "text"
    with pytest.raises(DiskError, match="File name too long"):
        write_text(tmp_path / ("x" * 300), "text")
