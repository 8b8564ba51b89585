"""Peers that were taken out of cluster.toml while they had parts of outputs: told of as long as they have."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pymr.peer.disk.paths import PeerPaths
from pymr.peer.output import removed_peers
from pymr.peer.output.removed_peers import RemovedPeers


class DiskAtOnce:
    """Does in the caller's thread what a Disk does in its own."""

    def do(self, _kind: str, work: Callable[[], Any], done: Callable[[Any], object], _: object) -> None:
        done(work())


def write(folder: Path, job_name: str, **items: int) -> None:
    output = folder / "jobs" / job_name / "reduce"
    output.mkdir(parents=True, exist_ok=True)
    said = {"run_id": f"{job_name}-1", "parts": [], "run_items": {f"{job_name}-1": items}}
    (output / "_manifest.json").write_text(json.dumps(said))


def test_those_that_have_parts_are_named_with_the_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removed_peers, "LOOK_SECONDS", 0.0)
    write(tmp_path, "words", alpha=1, gamma=2)
    write(tmp_path, "other", gamma=1, delta=3)
    write(tmp_path, "mine", alpha=1, beta=1)
    (tmp_path / "jobs" / "none").mkdir()
    (tmp_path / "jobs" / "damaged" / "reduce").mkdir(parents=True)
    (tmp_path / "jobs" / "damaged" / "reduce" / "_manifest.json").write_text("{")
    removed = RemovedPeers(PeerPaths(str(tmp_path)), DiskAtOnce(), ["alpha", "beta"])  # type: ignore[arg-type]

    assert [(row.name, row.state, row.alive, row.outputs) for row in removed.rows()] == [
        ("delta", "removed", False, ("other",)),
        ("gamma", "removed", False, ("other", "words")),
    ]
    assert removed.of_job("other") == ("delta", "gamma")
    assert removed.of_job("mine") == ()

    write(tmp_path, "other", alpha=4)  # it has run again
    shutil.rmtree(tmp_path / "jobs" / "words")

    assert removed.rows() == ()


def test_a_manifest_that_has_not_changed_is_not_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removed_peers, "LOOK_SECONDS", 0.0)
    write(tmp_path, "words", gamma=2)
    removed = RemovedPeers(PeerPaths(str(tmp_path)), DiskAtOnce(), ["alpha"])  # type: ignore[arg-type]
    monkeypatch.setattr(removed_peers, "read_manifest", lambda _: pytest.fail("it is read again"))

    assert [row.name for row in removed.rows()] == ["gamma"]


def test_a_peer_without_outputs_has_nothing_to_tell(tmp_path: Path) -> None:
    assert RemovedPeers(PeerPaths(str(tmp_path)), DiskAtOnce(), []).rows() == ()  # type: ignore[arg-type]
