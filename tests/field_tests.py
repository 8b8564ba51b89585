"""Which test shows what a field of a job does on a cluster, by job type and field; `all`: of all types.

Each is FILE::TEST below tests/. docs/jobs.md names them beside the fields.
"""

from __future__ import annotations

_ALL = "cluster/test_queue_fields.py::test_fields_of_all_jobs"
_SCRIPTS = "cluster/test_scripts.py::test_scripts_run_where_they_are_to_and_their_output_is_kept"
_TRANSFERS = "cluster/test_transfers.py::test_every_type_of_transfer_does_its_work"
_PIPELINE = "cluster/test_pipeline.py::test_a_pipeline"
_WORDS = "cluster/test_words.py::test_a_word_count_equals_the_one_in_one_process"
_SHUFFLE = "cluster/test_queue_fields.py::test_fields_that_bound_the_memory_of_a_shuffle"

FIELD_TESTS: dict[str, dict[str, str]] = {
    "all": {
        "job_type": f"{_PIPELINE}_that_recurs_runs_once_in_each_cycle",
        "job_name": "cluster/test_queue.py::test_replacing_a_running_job_ends_its_run_and_begins_another",
        "group_name": f"{_PIPELINE}_fails_as_a_whole_and_is_brought_back_as_a_whole",
        "job_priority": "cluster/test_queue.py::test_jobs_run_by_priority_then_by_age",
        "job_submitter": _ALL,
        "run_once": _ALL,
        "force_run": _ALL,
        "start_time": _ALL,
        "end_time": _ALL,
        "exception": _ALL,
        "current_phase": "cluster/test_queue.py::test_deleting_a_running_job_stops_it_and_cleans_up",
    },
    "mapreduce": {
        "project_name": _WORDS,
        "input_dirs": "cluster/test_inputs.py"
        "::test_a_folder_that_all_machines_share_counts_once_beside_those_of_each",
        "hold_state": "cluster/test_incremental.py::test_the_example_reads_each_batch_once_and_adds_up",
        "delete_job_data": "cluster/test_inputs.py::test_a_new_output_replaces_or_joins_the_one_before",
        "map_function_name": _WORDS,
        "auxiliary_data_name_mapper": "cluster/test_fields.py"
        "::test_auxiliary_data_reach_mapper_combiner_and_reducer",
        "downsample": "local/test_equality.py::test_downsample_keeps_the_same_records_in_every_way",
        "encoding_errors": "cluster/test_fields.py::test_bytes_that_are_no_utf8_are_replaced_if_asked",
        "allow_empty": "cluster/test_inputs.py"
        "::test_an_empty_input_fails_where_it_is_not_allowed_and_the_output_stays",
        "max_bad_records": "cluster/test_functions.py::test_bad_records_are_passed_over_and_listed",
        "combine_function_name": "local/test_fields.py::test_combine_function_is_called_on_the_map_side",
        "partitions": "cluster/test_fields.py::test_partitions_are_as_many_as_asked",
        "max_number_dumped_items_shuffler": _SHUFFLE,
        "simultaneous_files_in_redis": _SHUFFLE,
        "reduce_function_name": _WORDS,
        "auxiliary_data_name_reducer": "cluster/test_fields.py"
        "::test_auxiliary_data_reach_mapper_combiner_and_reducer",
        "sort_values": "local/test_fields.py::test_sorted_values_arrive_in_the_order_of_keys",
        "disk_based_input": "cluster/test_fields.py::test_disk_based_input_is_a_disk_list_of_items",
        "disk_based_output": "cluster/test_fields.py::test_disk_based_output_is_appended_to_a_disk_list",
        "max_number_dumped_items_reducer": "cluster/test_fields.py"
        "::test_each_output_file_has_at_most_the_items_asked_for",
        "nan": "cluster/test_fields.py::test_what_is_no_number_fails_the_job_or_becomes_null",
        "compress": "cluster/test_fields.py::test_output_is_compressed_as_asked_and_the_same_each_time",
        "engine": "cluster/test_engines.py::test_driver_that_is_killed_costs_an_attempt_and_nothing_else",
        "max_attempts": "cluster/test_functions.py"
        "::test_a_function_that_always_raises_fails_the_job_after_max_attempts",
        "task_timeout_seconds": "cluster/test_functions.py"
        "::test_a_task_without_progress_is_ended_and_tried_again",
    },
    "script": {
        "script_location": _SCRIPTS,
        "script_arguments": _SCRIPTS,
        "run_on": _SCRIPTS,
        "timeout_seconds": _SCRIPTS,
    },
    "file_transfer": {
        "transfer_type": _TRANSFERS,
        "local_peer": f"{_PIPELINE}_fails_as_a_whole_and_is_brought_back_as_a_whole",
        "input_dir": _TRANSFERS,
        "output_dir": _TRANSFERS,
        "input_file_name": _TRANSFERS,
        "auxiliary_data_name": _TRANSFERS,
        "reload_files": _TRANSFERS,
        "delete_files": _TRANSFERS,
        "compress": _TRANSFERS,
    },
}
