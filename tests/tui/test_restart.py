"""A fault of the console's own on a real terminal: no traceback, a console that begins anew, and a log."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cluster.running import Place, processes_of
from cluster.terminal import Terminal

FAULTY = """
from tui.screens.dialogs.no_cluster import NoCluster

def fail(self):
    raise RuntimeError("a fault of the console")

NoCluster.action_retry = fail
from tui.cli import main
main()
"""
WAIT_S = 30.0


def test_a_console_with_a_fault_begins_anew_without_a_traceback(tmp_path: Path) -> None:
    place = Place(tmp_path)
    environment = {
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }
    with Terminal(place, [sys.executable, "-c", FAULTY], environment) as terminal:
        terminal.wait_for("There is no cluster yet", WAIT_S)
        terminal.press("r")
        terminal.wait_for("its log tells of it", WAIT_S)
        shown = terminal.shown
        terminal.press("q")
        status = terminal.finish(WAIT_S)
    log = (tmp_path / "state" / "pymr" / "console.log").read_text()

    assert status == 0
    assert "Traceback" not in shown
    assert "RuntimeError: a fault of the console" in log
    assert re.search(r"^\d{4}-.* ERROR the console failed$", log, re.MULTILINE)
    assert processes_of(place.marker) == []
