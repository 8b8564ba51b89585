"""The job types, field by field: the only place that declares a field's type, kind, default and meaning.

Checks, templates (dict and TOML), typed jobs and docs/jobs.md are all made from these classes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from pymr.base.errors import JobError, Problem
from pymr.base.spelling import did_you_mean
from pymr.config.declared_fields import Declared, Field, declared_fields
from pymr.config.kinds import (
    FILLED_IN,
    boolean,
    choice,
    identifier,
    integer,
    list_of,
    number,
    path,
    plain_name,
    switch,
    text,
)
from pymr.jobs.external_engines import ENGINES

JOB_TYPES = ("mapreduce", "script", "file_transfer")

# Output files carry the partition's number in five digits.
PARTITIONS_MAX = 100_000


class _CommonFields(msgspec.Struct, frozen=True, kw_only=True):
    """What every job has."""

    job_type: Annotated[
        str,
        Declared(choice(*JOB_TYPES), "The type of the job, which decides the other fields.", section="Job"),
    ]
    job_name: Annotated[
        str,
        Declared(
            plain_name(),
            "Submitting an existing name replaces that job (as a new version; the old one stays in the "
            "history).",
            example="<JOB_NAME>",
        ),
    ]
    group_name: Annotated[
        str | None,
        Declared(
            plain_name(),
            "Jobs of one group are a pipeline: they run one after another, highest priority first. When one "
            "fails, the whole group leaves the queue, and can be retried as a whole.",
            example="my_pipeline",
        ),
    ] = None
    job_priority: Annotated[int, Declared(integer(), "Higher runs first. May be negative.", example=0)]
    job_submitter: Annotated[
        str | None,
        Declared(text(), "Who submits the job; user@host when left out.", example="user@host"),
    ] = None

    run_once: Annotated[
        bool,
        Declared(
            boolean(),
            "true: the job leaves the queue after its first success. false: it runs again in every cycle.",
            section="When it runs",
        ),
    ] = False
    force_run: Annotated[
        bool, Declared(boolean(), "true: runs again even if it has already run in this cycle.")
    ] = False

    start_time: Annotated[
        float | None,
        Declared(
            FILLED_IN,
            "when its run began, in seconds since 1970",
            section="Filled in by the system; a job that sets one of these is refused",
        ),
    ] = None
    end_time: Annotated[float | None, Declared(FILLED_IN, "when its run ended, likewise")] = None
    exception: Annotated[str | None, Declared(FILLED_IN, "why its run failed")] = None
    current_phase: Annotated[str | None, Declared(FILLED_IN, "the phase its run is in")] = None


class MapReduceJob(_CommonFields, frozen=True, kw_only=True):
    """A job of map, shuffle, sort and reduce."""

    project_name: Annotated[
        str,
        Declared(
            plain_name(),
            "The folder under the projects folder that holds map_functions.py and reduce_functions.py.",
            example="<PROJECT>",
            section="Functions and data",
        ),
    ]
    input_dirs: Annotated[
        tuple[str, ...],
        Declared(
            list_of(path(), count_min=1),
            "Folders to read, relative to each peer's data folder, or absolute. jobs/NAME/reduce is another "
            "job's output.",
            example=("<FOLDER>",),
        ),
    ]
    hold_state: Annotated[
        bool,
        Declared(
            boolean(),
            "true: remember the input files that were consumed; the next run processes only new ones. A "
            "file counts as consumed only when the run succeeded.",
        ),
    ] = False
    delete_job_data: Annotated[
        bool,
        Declared(
            boolean(),
            "true: the new output replaces the old one when the run succeeds. false: it is added to it.",
        ),
    ] = True

    map_function_name: Annotated[
        str,
        Declared(
            identifier(),
            "A function of map_functions.py, called for each line. identity, which is built in, reads the "
            "output of another job and nothing else, so no plain text.",
            section="Mapper",
        ),
    ] = "identity"
    auxiliary_data_name_mapper: Annotated[
        str | None,
        Declared(
            plain_name(),
            "The JSON at auxiliary/NAME.data on every peer is passed to the map function as auxiliary_data.",
            example="stop_words",
        ),
    ] = None
    downsample: Annotated[
        float,
        Declared(number(above=0, maximum=1), "Keep each record with this probability. 1.0 keeps all."),
    ] = 1.0
    encoding_errors: Annotated[
        Literal["strict", "replace"],
        Declared(
            choice("strict", "replace"),
            "A line that is not UTF-8: strict is an error that names file and byte; replace puts U+FFFD for "
            "the bytes that are wrong.",
        ),
    ] = "strict"
    allow_empty: Annotated[
        bool,
        Declared(
            boolean(),
            "false: an input without any record fails the run, and the output stays as it is. true: the "
            "output is then empty, and the run warns of it.",
        ),
    ] = True
    max_bad_records: Annotated[
        int,
        Declared(
            integer(minimum=0),
            "Records whose map call may raise before the job fails. Each is logged with file, offset and "
            "traceback.",
        ),
    ] = 0

    combine_function_name: Annotated[
        str | None,
        Declared(
            identifier(),
            "A function of reduce_functions.py that is also applied on the map side: less to sort and to "
            "send.",
            example="sum_values",
            section="Shuffler",
        ),
    ] = None
    partitions: Annotated[
        int | None,
        Declared(
            integer(minimum=1, maximum=PARTITIONS_MAX),
            "Number of reduce partitions; as many as the cluster has workers when left out.",
            example=8,
        ),
    ] = None
    max_number_dumped_items_shuffler: Annotated[
        int,
        Declared(
            integer(minimum=1),
            "Items a mapper holds before it spills to disk. The memory bound may make it spill sooner.",
        ),
    ] = 500_000
    simultaneous_files_in_redis: Annotated[
        int,
        Declared(
            integer(minimum=1),
            "Segments in flight per reducer: more hides slow links, and takes memory. The name is "
            "historical.",
        ),
    ] = 10

    reduce_function_name: Annotated[
        str,
        Declared(
            identifier(), "A function of reduce_functions.py.", example="<REDUCE_FUNCTION>", section="Reducer"
        ),
    ]
    auxiliary_data_name_reducer: Annotated[
        str | None,
        Declared(
            plain_name(),
            "The JSON at auxiliary/NAME.data on every peer is passed to the reduce function as "
            "auxiliary_data.",
            example="weights",
        ),
    ] = None
    sort_values: Annotated[
        bool,
        Declared(boolean(), "true: the values of a group arrive sorted. false: by map task, then position."),
    ] = False
    disk_based_input: Annotated[
        bool, Declared(boolean(), "true: the group is a DiskList, for groups larger than memory.")
    ] = False
    disk_based_output: Annotated[
        bool,
        Declared(
            boolean(),
            "true: the reduce function gets (disk_list, auxiliary_data), appends its items to it and "
            "returns it.",
        ),
    ] = False
    max_number_dumped_items_reducer: Annotated[
        int, Declared(integer(minimum=1), "Items per output file.")
    ] = 500_000
    nan: Annotated[
        Literal["error", "null"],
        Declared(
            choice("error", "null"),
            "NaN and infinities in results, for which JSON has no number: error is one that names the key; "
            "null is written in their place.",
        ),
    ] = "error"
    compress: Annotated[
        bool | Literal["gzip", "zstd"],
        Declared(switch("gzip", "zstd"), 'Compress the output: false, "gzip" (also: true) or "zstd".'),
    ] = False

    engine: Annotated[
        Literal["pymr", "dask", "ray", "spark"],
        Declared(
            choice(*ENGINES),
            "Who does the tasks: pymr, the workers of the cluster; any other is an external engine, with the "
            "same result, whose run the leader's machine drives. See docs/engines.md.",
            section="Where it runs",
        ),
    ] = "pymr"

    max_attempts: Annotated[
        int,
        Declared(
            integer(minimum=1),
            "How often a task is tried before the job fails.",
            section="Limits",
        ),
    ] = 4
    task_timeout_seconds: Annotated[
        float,
        Declared(
            number(above=0), "A task that makes no progress for so many seconds is ended, and tried again."
        ),
    ] = 600.0


class ScriptJob(_CommonFields, frozen=True, kw_only=True):
    """A job that runs a script."""

    script_location: Annotated[
        str,
        Declared(
            path(),
            "A path on the machine that runs it, or PROJECT/file.py in the projects folder.",
            example="<PROJECT/file.py>",
            section="Script",
        ),
    ]
    script_arguments: Annotated[
        tuple[str, ...],
        Declared(
            list_of(text(may_be_empty=True)),
            "Arguments, one text each. No shell reads them: nothing is expanded, and nothing needs quoting.",
        ),
    ] = ()
    run_on: Annotated[
        str,
        Declared(
            plain_name(), "Where it runs: a peer's name, leader (whichever leads then) or all (every peer)."
        ),
    ] = "leader"
    timeout_seconds: Annotated[
        float | None,
        Declared(
            number(above=0),
            "After so many seconds the script and what it started are ended, and the job fails. Left out: "
            "no limit.",
            example=3600.0,
        ),
    ] = None


TransferType = Literal["upload", "upload_bulk", "download", "download_bulk", "upload_auxiliary", "delete"]
_TRANSFER_TYPES: tuple[TransferType, ...] = (
    "upload",
    "upload_bulk",
    "download",
    "download_bulk",
    "upload_auxiliary",
    "delete",
)


class FileTransferJob(_CommonFields, frozen=True, kw_only=True):
    """A job that moves files between one machine and the cluster."""

    transfer_type: Annotated[
        TransferType,
        Declared(
            choice(*_TRANSFER_TYPES),
            "upload: files of input_dir are spread over the peers by size. download: gathered from all "
            "peers. _bulk packs many small files into few streams. upload_auxiliary: one file to every "
            "peer. delete: output_dir is deleted on every peer.",
            example="<TRANSFER_TYPE>",
            section="Transfer",
        ),
    ]
    local_peer: Annotated[
        str | None,
        Declared(
            plain_name(),
            'Whose disk "local" means; the peer asked at submission when left out.',
            example="alpha",
        ),
    ] = None
    input_dir: Annotated[
        str | None,
        Declared(
            path(),
            "For upload, upload_bulk: the local folder to read. For download, download_bulk: the folder to "
            "read in every peer's data folder.",
            example="corpus",
        ),
    ] = None
    output_dir: Annotated[
        str | None,
        Declared(
            path(),
            "For upload, upload_bulk: the folder to write in every peer's data folder. For download, "
            "download_bulk: the local folder to write. For delete: the folder to delete.",
            example="corpus",
        ),
    ] = None
    input_file_name: Annotated[
        str | None,
        Declared(path(), "For upload_auxiliary: the local JSON file.", example="stop_words.json"),
    ] = None
    auxiliary_data_name: Annotated[
        str | None,
        Declared(
            plain_name(),
            "For upload_auxiliary: it becomes auxiliary/NAME.data on every peer.",
            example="stop_words",
        ),
    ] = None

    reload_files: Annotated[
        bool,
        Declared(
            boolean(),
            "true: transfer every file. false: skip those already there with the same size and checksum.",
            section="How",
        ),
    ] = True
    delete_files: Annotated[
        bool,
        Declared(
            boolean(),
            "Of a download. true: delete on the cluster once every file is verified at its destination.",
        ),
    ] = False
    compress: Annotated[bool, Declared(boolean(), "true: compress in transit.")] = False


Job = MapReduceJob | ScriptJob | FileTransferJob
JOB_CLASSES: dict[str, type[Job]] = {
    "mapreduce": MapReduceJob,
    "script": ScriptJob,
    "file_transfer": FileTransferJob,
}
COMMON_FIELDS: tuple[Field, ...] = declared_fields(_CommonFields)


def fields_of(job_type: str) -> tuple[Field, ...]:
    """The fields of a job type, those of the system last. Raises JobError for a type that does not exist."""
    if job_type not in JOB_CLASSES:
        reason = f"must be one of {', '.join(JOB_TYPES)}{did_you_mean(job_type, JOB_TYPES)}"
        raise JobError("job template", (Problem("job_type", job_type, reason),))
    fields = declared_fields(JOB_CLASSES[job_type])
    return tuple(sorted(fields, key=lambda field: field.kind is FILLED_IN))
