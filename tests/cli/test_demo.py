"""`make demo` says how many files it counts, which are those that the job reads."""

from __future__ import annotations

from pathlib import Path

from tests.demo import link_sources


def test_only_what_a_job_reads_is_linked_and_counted(tmp_path: Path) -> None:
    library, folder = tmp_path / "library", tmp_path / "linked"
    names = (
        "os.py",
        "__future__.py",
        "json/tool.py",
        "json/__init__.py",
        "_pyrepl/main.py",
        "site-packages/y.py",
    )
    for name in names:
        path = library / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (library / "notes.txt").write_text("")
    count = link_sources(library, folder)

    linked = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_symlink())
    assert linked == ["json/tool.py", "os.py"]
    assert count == 2
