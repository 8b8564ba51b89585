"""What can stand where the cursor is. A `|` in a text stands for the cursor."""

from __future__ import annotations

import pytest

from pymr.jobs.job import template_toml
from tui.model.folder_names import FolderNames
from tui.model.job_text.completion import CANDIDATES_MAX, Completion, KnownNames, complete, path_begun
from tui.model.job_text.problems import check_text
from tui.model.job_text.projects import LocalProjects, ModuleNames, ProjectNames

PROJECTS = LocalProjects(
    "/projects",
    {
        "words": ProjectNames(
            {"map": ModuleNames(("by_letter", "split")), "reduce": ModuleNames(("largest", "total"))},
            ("tidy.py",),
        ),
        "other": ProjectNames({"map": ModuleNames(("else_where",))}),
    },
    is_known=True,
)
KNOWN = KnownNames(["count", "fetch"], ["nightly"], ["alpha", "beta"], ["count"])
HEAD = 'job_type = "mapreduce"\nproject_name = "words"\n'


def completed(text: str, known: KnownNames = KNOWN) -> Completion | None:
    before, _, after = text.partition("|")
    checked = check_text(before + after, PROJECTS)
    return complete(checked, before.count("\n"), len(before.rpartition("\n")[2]), PROJECTS, known)


def in_folder(text: str, folder: str, *names: str) -> Completion | None:
    """Where a folder of this machine has been read. names: of what lies in it."""
    known = FolderNames(folder, tuple(f"{folder}{name}" for name in names))
    return completed(text, KnownNames(outputs=["count"], folder=known))


def shown(text: str) -> list[str]:
    completion = completed(text)
    return [candidate.shown for candidate in completion.candidates] if completion else []


def put(text: str, index: int = 0) -> str:
    """The line of the cursor with a candidate in its place."""
    completion = completed(text)
    assert completion is not None
    line = text.replace("|", "").split("\n")[completion.line]
    return line[: completion.start] + completion.candidates[index].text + line[completion.end :]


def test_names_of_fields_that_are_not_set_yet_are_offered() -> None:
    names = shown(HEAD + "|")

    assert "reduce_function_name" in names
    assert "project_name" not in names
    assert "exception" not in names


def test_typing_narrows_those_that_begin_so_first() -> None:
    assert shown(HEAD + "red|")[0] == "reduce_function_name"
    assert "auxiliary_data_name_reducer" in shown(HEAD + "red|")
    assert shown(HEAD + "zzz|") == []


def test_a_name_is_put_with_its_sign_but_not_twice() -> None:
    assert put(HEAD + "partit|") == "partitions = "
    assert put(HEAD + "partit| = 3") == "partitions = 3"


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("project_name = |", ["other", "words"]),
        ('map_function_name = "|', ["by_letter", "split", "identity"]),
        ("combine_function_name = |", ["largest", "total"]),
        ('reduce_function_name = "to|"', ["total"]),
        ("run_once = |", ["true", "false"]),
        ("compress = |", ["true", "false", "gzip", "zstd"]),
        ("encoding_errors = |", ["strict", "replace"]),
        ("group_name = |", ["nightly"]),
        ("input_dirs = [|]", ["jobs/count/reduce"]),
        ("max_attempts = |", ["4"]),
        ('job_name = "f|', ["fetch"]),
    ],
)
def test_values_are_offered_by_what_their_field_takes(line: str, names: list[str]) -> None:
    head = "\n".join(one for one in HEAD.split("\n") if one.split(" ")[0] != line.split(" ")[0])

    assert shown(head + line) == names


def test_job_types_come_first_of_all() -> None:
    assert shown("job_type = |") == ["mapreduce", "script", "file_transfer"]


def test_scripts_peers_and_transfers_are_offered() -> None:
    assert shown('job_type = "script"\nscript_location = |') == ["words/tidy.py"]
    assert shown('job_type = "script"\nrun_on = |') == ["leader", "all", "alpha", "beta"]
    assert "upload_auxiliary" in shown('job_type = "file_transfer"\ntransfer_type = |')
    assert shown('job_type = "file_transfer"\nlocal_peer = |') == ["alpha", "beta"]


def test_a_value_takes_the_place_of_the_whole_one_around_the_cursor() -> None:
    assert put(HEAD + 'reduce_function_name = "lar|gest"  # so') == 'reduce_function_name = "largest"  # so'
    assert put(HEAD + "run_once = tr|ue", 1) == "run_once = false"
    assert put(HEAD + 'input_dirs = ["a", "jobs|"]') == 'input_dirs = ["a", "jobs/count/reduce"]'


def test_what_stands_there_already_is_chosen_among_all() -> None:
    completion = completed(HEAD + 'map_function_name = "split|"')

    assert completion is not None
    assert completion.candidates[completion.chosen].shown == "split"
    assert len(completion.candidates) == 3


def test_the_placeholder_of_a_template_narrows_nothing() -> None:
    text = template_toml("mapreduce").replace('"<PROJECT>"', '"<PRO|JECT>"')

    assert shown(text) == ["other", "words"]
    assert put(text, 1) == 'project_name = "words"'


def test_folders_are_offered_where_a_path_leads_before_outputs() -> None:
    names = ("corpus/", "words.txt", ".git/")
    text = HEAD + 'input_dirs = ["|'
    completion = in_folder(text, "", *names)

    assert completion is not None
    assert [one.shown for one in completion.candidates] == ["corpus/", "jobs/count/reduce"]
    assert completion.candidates[0].text == '"corpus"'
    assert completion.candidates[0].leads_on
    assert in_folder(HEAD + 'input_dirs = ["/data/|', "/data/", *names) is not None
    assert in_folder(HEAD + 'input_dirs = ["else/|', "corpus/", *names) is None


@pytest.mark.parametrize(
    ("line", "begun"),
    [
        ('input_dirs = ["<FOL|DER>"]', ""),
        ('input_dirs = ["a", "b/c|d"]', "b/c"),
        ("input_dirs = [|]", ""),
        ('input_dirs| = ["a"]', None),
        ('# input_dirs = ["a|"]', None),
        ('project_name = "wo|"', None),
    ],
)
def test_where_a_path_stands_it_is_known_how_far_it_has_come(line: str, begun: str | None) -> None:
    before, _, after = f'job_type = "mapreduce"\n{line}'.partition("|")

    assert path_begun(check_text(before + after, PROJECTS), 1, len(before.rpartition("\n")[2])) == begun


def test_scripts_and_files_are_offered_beside_folders_where_a_field_takes_them() -> None:
    script = in_folder('job_type = "script"\nscript_location = "/opt/|"', "/opt/", "bin/", "tidy.sh")
    upload = in_folder('job_type = "file_transfer"\ninput_file_name = "|"', "", "stop.json")

    assert script is not None and upload is not None
    assert [one.shown for one in script.candidates] == ["/opt/bin/", "/opt/tidy.sh"]
    assert [(one.shown, one.leads_on) for one in upload.candidates] == [("stop.json", False)]


def test_a_folder_of_many_names_is_narrowed_before_it_is_cut() -> None:
    names = [f"a{number:05}/" for number in range(CANDIDATES_MAX + 10)]
    last = in_folder(HEAD + f'input_dirs = ["a{CANDIDATES_MAX + 9:05}|"]', "", *names)
    some = in_folder(HEAD + 'input_dirs = ["|"]', "", *names)

    assert last is not None and some is not None
    assert last.candidates[last.chosen].shown == f"a{CANDIDATES_MAX + 9:05}/"
    assert len(last.candidates) == len(some.candidates) == CANDIDATES_MAX


def test_a_list_of_several_lines_is_completed_too() -> None:
    assert shown(HEAD + 'input_dirs = [\n  "jo|\n]\n') == ["jobs/count/reduce"]


def test_a_field_that_is_commented_out_can_be_set() -> None:
    assert put(HEAD + '# group_name = "my_pipe|line"') == 'group_name = "my_pipeline"'


def test_nothing_is_offered_in_prose_and_for_free_text() -> None:
    assert completed(HEAD + "# a comm|ent") is None
    assert completed(HEAD + 'job_submitter = "|"') is None
    assert completed(HEAD + "no_such_field = |") is None


@pytest.mark.parametrize("job_type", ["mapreduce", "script", "file_transfer"])
def test_at_every_place_of_a_half_written_text_a_completion_stays_on_its_line(job_type: str) -> None:
    text = template_toml(job_type)
    for end in range(1, len(text), 61):
        checked = check_text(text[:end] + '"', PROJECTS)
        for line in range(max(len(checked.scan.lines) - 3, 0), len(checked.scan.lines)):
            length = len(checked.scan.lines[line])
            for column in {0, length // 2, length}:
                completion = complete(checked, line, column, PROJECTS, KNOWN)

                assert completion is None or (
                    completion.line == line
                    and 0 <= completion.start <= column <= completion.end <= length
                    and completion.candidates
                )
