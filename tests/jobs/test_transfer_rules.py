"""Which paths a file_transfer job may name, judged by their words when it is submitted."""

from __future__ import annotations

import pytest

from pymr.base.errors import JobError
from pymr.jobs.job import parse_job

_FIELDS: dict[str, dict[str, str]] = {
    "upload": {"input_dir": "/srv/texts", "output_dir": "corpus"},
    "download": {"input_dir": "corpus", "output_dir": "/srv/texts"},
    "upload_auxiliary": {"input_file_name": "/srv/words.json", "auxiliary_data_name": "words"},
    "delete": {"output_dir": "corpus"},
}
_CLUSTER = {"upload": "output_dir", "download": "input_dir", "delete": "output_dir"}
_LOCAL = {"upload": "input_dir", "download": "output_dir", "upload_auxiliary": "input_file_name"}
_EVERYWHERE = [*_CLUSTER.items(), *_LOCAL.items()]


def reason_for(transfer_type: str, field: str, path: str) -> str:
    """Why a job with this path is refused; "" where it is not."""
    fields = _FIELDS[transfer_type.removesuffix("_bulk")] | {field: path}
    common = {"job_type": "file_transfer", "job_name": "move", "job_priority": 0}
    try:
        parse_job({**common, "transfer_type": transfer_type, **fields})
    except JobError as error:
        [problem] = error.problems
        assert problem.field == field
        return problem.reason
    return ""


@pytest.mark.parametrize(("transfer_type", "field"), _EVERYWHERE)
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("a\nb", "line end"),
        ("a\rb", "line end"),
        ("a\x1b[2Jb", "control characters"),
        ("a\0b", "NUL"),
        ("a\ud800b", "surrogate"),
        ("..", r"`..`"),
        ("a/../b", r"`..`"),
        ("", "empty"),
        (".", "data folder itself"),
        ("state", "state is a folder that pymr keeps itself"),
        ("./runs//x", "runs is a folder that pymr keeps itself"),
        ("panes/0", "panes is a folder that pymr keeps itself"),
        ("projects", "projects is a folder that pymr keeps itself"),
        ("bad-records", "bad-records is a folder that pymr keeps itself"),
        ("jobs", "jobs is a folder that pymr keeps itself"),
        ("jobs/name/other", "jobs is a folder that pymr keeps itself"),
        ("uploads", "uploads is a folder that pymr keeps itself"),
        (".hidden/a", "hidden"),
        (".pymr-1", "hidden"),
    ],
)
def test_no_path_leads_where_it_should_not(transfer_type: str, field: str, path: str, reason: str) -> None:
    assert reason in reason_for(transfer_type, field, path)


@pytest.mark.parametrize(("transfer_type", "field"), [*_CLUSTER.items()])
def test_folders_of_the_cluster_are_relative(transfer_type: str, field: str) -> None:
    assert "must be relative" in reason_for(transfer_type, field, "/srv/texts")
    assert "must be relative" in reason_for(transfer_type, field, "//srv")


@pytest.mark.parametrize(("transfer_type", "field"), [*_LOCAL.items()])
def test_absolute_local_paths_hold_no_way_up(transfer_type: str, field: str) -> None:
    assert "`..`" in reason_for(transfer_type, field, "/srv/texts/../../etc")
    assert reason_for(transfer_type, field, "/srv/state/a") == ""


@pytest.mark.parametrize(
    ("transfer_type", "field", "path", "is_allowed"),
    [
        ("download_bulk", "input_dir", "jobs/count/reduce", True),
        ("download", "input_dir", "jobs/count", False),
        ("download", "input_dir", "auxiliary", True),
        ("delete", "output_dir", "jobs/count", True),
        ("delete", "output_dir", "jobs/count/reduce", True),
        ("delete", "output_dir", "auxiliary/words.data", True),
        ("upload", "output_dir", "jobs/count/reduce", False),
        ("upload_bulk", "output_dir", "auxiliary", False),
        ("upload", "input_dir", "uploads/0123456789abcdef", True),
        ("upload", "input_dir", "uploads/0123456789abcdef/files", False),
        ("download", "output_dir", "uploads/0123456789abcdef", True),
        ("download", "output_dir", "jobs/count/reduce", False),
        ("delete", "output_dir", "uploads/0123456789abcdef", False),
        ("upload", "output_dir", "statement/runs", True),
    ],
)
def test_some_of_what_pymr_keeps_may_be_named(
    transfer_type: str, field: str, path: str, is_allowed: bool
) -> None:
    assert (reason_for(transfer_type, field, path) == "") is is_allowed
