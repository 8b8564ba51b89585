"""Jobs: what is accepted, and what is refused with which words."""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec
import pytest
from valid_jobs import MAPREDUCE, MINIMAL, SCRIPT, UPLOAD, problems_of

from pymr.base.errors import JobError
from pymr.jobs.job import (
    JOB_TYPES,
    FileTransferJob,
    MapReduceJob,
    ScriptJob,
    job_to_dict,
    parse_job,
    template,
)
from pymr.jobs.job_types import fields_of


def reason_for(field: str, value: object, job: dict[str, Any] = MAPREDUCE) -> str:
    problems = problems_of({**job, field: value})
    assert list(problems) == [field], problems
    return problems[field]


# ---- what becomes of a valid job


def test_a_minimal_job_of_each_type_gets_the_documented_defaults() -> None:
    mapreduce = parse_job(MAPREDUCE)
    script = parse_job(SCRIPT)
    transfer = parse_job(UPLOAD)

    assert isinstance(mapreduce, MapReduceJob)
    assert mapreduce.map_function_name == "identity"
    assert mapreduce.input_dirs == ("corpus",)
    assert mapreduce.partitions is None
    assert mapreduce.max_number_dumped_items_shuffler == 500_000
    assert mapreduce.max_number_dumped_items_reducer == 500_000
    assert mapreduce.simultaneous_files_in_redis == 10
    assert mapreduce.task_timeout_seconds == 600
    assert mapreduce.max_attempts == 4
    assert mapreduce.delete_job_data and not mapreduce.run_once
    assert isinstance(script, ScriptJob)
    assert (script.run_on, script.script_arguments, script.timeout_seconds) == ("leader", (), None)
    assert isinstance(transfer, FileTransferJob)
    assert (transfer.reload_files, transfer.delete_files, transfer.compress) == (True, False, False)


def test_the_submitter_is_filled_in_only_when_absent() -> None:
    assert re.fullmatch(r"[^@]+@[^@]+", parse_job(MAPREDUCE).job_submitter or "")
    assert parse_job({**MAPREDUCE, "job_submitter": "ada@engine"}).job_submitter == "ada@engine"


@pytest.mark.parametrize("job_type", JOB_TYPES)
def test_none_means_the_default(job_type: str) -> None:
    nothing_set = {field.name: None for field in fields_of(job_type)}

    assert parse_job({**nothing_set, **MINIMAL[job_type]}) == parse_job(MINIMAL[job_type])


@pytest.mark.parametrize(
    ("given", "kept"), [(False, False), (True, "gzip"), ("gzip", "gzip"), ("zstd", "zstd"), (None, False)]
)
def test_compress_true_means_gzip(given: object, kept: object) -> None:
    job = parse_job({**MAPREDUCE, "compress": given})

    assert isinstance(job, MapReduceJob)
    assert job.compress == kept


def test_a_whole_number_will_do_where_a_fraction_may_stand() -> None:
    job = parse_job({**MAPREDUCE, "downsample": 1, "task_timeout_seconds": 5})

    assert isinstance(job, MapReduceJob)
    assert isinstance(job.downsample, float)
    assert isinstance(job.task_timeout_seconds, float)


def test_a_job_is_frozen() -> None:
    job = parse_job(MAPREDUCE)

    with pytest.raises(AttributeError):
        job.job_name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("job_type", JOB_TYPES)
def test_a_job_as_a_dict_parses_to_an_equal_job(job_type: str) -> None:
    job = parse_job({**MINIMAL[job_type], "run_once": True})
    fields = job_to_dict(job)

    assert parse_job(fields) == job
    assert set(fields) == set(template(job_type))
    assert msgspec.json.decode(msgspec.json.encode(fields)) == fields


# ---- what is refused


def test_all_problems_are_reported_at_once() -> None:
    problems = problems_of(
        {
            "job_type": "mapreduce",
            "job_name": "a b",
            "input_dirs": "corpus",
            "downsample": 2,
            "reduce_function": "total",
            "script_location": "x.py",
        }
    )

    assert list(problems) == [
        "job_name",
        "job_priority",
        "project_name",
        "input_dirs",
        "downsample",
        "reduce_function_name",
        "reduce_function",
        "script_location",
    ]
    assert "required" in problems["job_priority"]
    assert "must be a list" in problems["input_dirs"]


def test_an_unknown_field_names_the_closest_one() -> None:
    assert reason_for("max_attempt", 3).endswith("did you mean max_attempts?")
    assert reason_for("Run_Once", True).endswith("did you mean run_once?")
    assert "did you mean" not in reason_for("zzzzzz", 3)


def test_a_field_of_another_type_says_so() -> None:
    assert "field of script jobs" in reason_for("script_location", "x.py")
    assert "field of mapreduce and file_transfer jobs" in reason_for("compress", True, SCRIPT)


def test_a_table_says_that_jobs_are_flat() -> None:
    assert "top level" in reason_for("job", dict(MAPREDUCE))


def test_without_a_job_type_the_shared_fields_are_still_checked() -> None:
    problems = problems_of({"job_name": "a/b", "project_name": "p", "nonsense": 1})

    assert list(problems) == ["job_type", "job_name", "job_priority", "nonsense"]


def test_a_wrong_job_type_names_the_closest_one() -> None:
    assert problems_of({**MAPREDUCE, "job_type": "map_reduce"})["job_type"].endswith(
        "did you mean mapreduce?"
    )
    assert "text" not in problems_of({**MAPREDUCE, "job_type": ["mapreduce"]})["job_type"]


@pytest.mark.parametrize("field", ["start_time", "end_time", "exception", "current_phase"])
def test_fields_of_the_system_are_refused_when_set(field: str) -> None:
    assert "filled in by the system" in reason_for(field, 1)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".hidden",
        "-dash",
        "_under",
        "../x",
        "a/b",
        "a b",
        "a\n",
        "a\0",
        "a" * 65,
        "\uff41bc",
        "naïve",
        "\u0663",
        "a\ud800",
    ],
)
@pytest.mark.parametrize("field", ["job_name", "project_name", "group_name", "auxiliary_data_name_mapper"])
def test_names_are_64_plain_characters(field: str, name: str) -> None:
    assert reason_for(field, name)


@pytest.mark.parametrize("name", ["a", "7", "a" * 64, "A.b_c-d", "2024-01-31"])
def test_names_may_hold_dots_dashes_and_underscores(name: str) -> None:
    assert parse_job({**MAPREDUCE, "job_name": name}).job_name == name


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("job_priority", True, "whole number"),
        ("job_priority", 1.0, "whole number"),
        ("job_priority", "1", "whole number, not text"),
        ("job_priority", 2**60, "at most"),
        ("run_once", 1, "true or false"),
        ("run_once", "true", "true or false"),
        ("downsample", 0, "above 0"),
        ("downsample", 1.1, "at most 1"),
        ("downsample", math.nan, "finite"),
        ("downsample", True, "a number, not true or false"),
        ("task_timeout_seconds", 0, "above 0"),
        ("task_timeout_seconds", math.inf, "finite"),
        ("task_timeout_seconds", 10**400, "finite"),
        ("partitions", 0, "at least 1"),
        ("max_attempts", 0, "at least 1"),
        ("max_bad_records", -1, "at least 0"),
        ("simultaneous_files_in_redis", 0, "at least 1"),
        ("max_number_dumped_items_shuffler", 0, "at least 1"),
        ("encoding_errors", "replce", "did you mean replace?"),
        ("compress", "gz", "true, false"),
        ("compress", 1, "true, false"),
        ("map_function_name", "module.function", "Python function"),
        ("map_function_name", "lambda", "Python function"),
        ("map_function_name", "", "empty"),
        ("combine_function_name", "a-b", "Python function"),
        ("input_dirs", [], "empty"),
        ("input_dirs", [""], "element 0"),
        ("input_dirs", ["a", 1], "element 1"),
        ("input_dirs", ["a/../../b"], "`..`"),
        ("input_dirs", ["a\0b"], "NUL"),
    ],
)
def test_a_wrong_value_is_refused_with_the_reason(field: str, value: object, word: str) -> None:
    assert word in reason_for(field, value)


def test_an_absolute_input_dir_may_go_up() -> None:
    assert problems_of({**MAPREDUCE, "input_dirs": ["/srv/../data", "jobs/other/reduce"]}) == {}


def test_script_arguments_are_texts_and_may_be_empty() -> None:
    assert problems_of({**SCRIPT, "script_arguments": ["", "a b", "$HOME"]}) == {}
    assert "must be a list" in reason_for("script_arguments", "-v", SCRIPT)
    assert "element 0" in reason_for("script_arguments", [1], SCRIPT)


def test_a_message_stays_short_whatever_the_value() -> None:
    with pytest.raises(JobError) as caught:
        parse_job({**MAPREDUCE, "job_name": "x" * 1_000_000, "y" * 5000: 1, "input_dirs": ["z" * 100_000, 1]})

    assert len(str(caught.value)) < 8000


# ---- what a transfer needs


@pytest.mark.parametrize("transfer_type", ["upload", "upload_bulk", "download", "download_bulk"])
def test_uploads_and_downloads_need_both_folders(transfer_type: str) -> None:
    problems = problems_of({**UPLOAD, "transfer_type": transfer_type, "input_dir": None, "output_dir": None})

    assert list(problems) == ["input_dir", "output_dir"]


def test_auxiliary_data_needs_a_file_and_a_name() -> None:
    job = {**UPLOAD, "transfer_type": "upload_auxiliary", "input_dir": None, "output_dir": None}
    files = {"input_file_name": "/srv/words.json", "auxiliary_data_name": "words"}

    assert list(problems_of(job)) == ["input_file_name", "auxiliary_data_name"]
    assert problems_of({**job, **files}) == {}


def test_a_deletion_needs_the_folder_and_nothing_else() -> None:
    delete = {**UPLOAD, "transfer_type": "delete"}

    assert problems_of({**delete, "input_dir": None}) == {}
    assert "not used by transfer_type delete" in problems_of(delete)["input_dir"]


@pytest.mark.parametrize("folder", ["/", "/etc", ".", "./"])
@pytest.mark.parametrize(
    ("transfer_type", "field"),
    [("delete", "output_dir"), ("upload", "output_dir"), ("download", "input_dir")],
)
def test_the_clusters_folder_lies_inside_the_data_folders(
    transfer_type: str, field: str, folder: str
) -> None:
    fields = {"input_dir": None if transfer_type == "delete" else "/srv/texts", "output_dir": "/srv/texts"}
    problems = problems_of({**UPLOAD, "transfer_type": transfer_type, **fields, field: folder})

    assert "relative" in problems[field]


def test_a_field_is_not_reported_twice() -> None:
    with pytest.raises(JobError) as caught:
        parse_job({**UPLOAD, "output_dir": 3})

    assert len(caught.value.problems) == 1
