"""Resources: bytes at any offset, and no name that leads elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from data_services import RUN_ID, make_config, peer_of, segment_of, write_attempt, write_output

from pymr.config.cluster import ClusterConfig
from pymr.data.protocol import DataRefused, Output, Pane, Plan, Resource, Segment
from pymr.peer.disk.resources import Resources


@pytest.fixture
def config(tmp_path: Path) -> ClusterConfig:
    return make_config(tmp_path)


@pytest.mark.parametrize(
    "resource",
    [
        Output("alpha", "job", "../secret"),
        Output("alpha", "job", "..\0"),
        Output("alpha", "job", ".."),
        Output("alpha", "job", "/etc/passwd"),
        Output("alpha", "job", ".hidden"),
        Output("alpha", "..", "secret"),
        Output("alpha", "job/../..", "secret"),
        Output("alpha", "job", "link"),
        Output("alpha", "job", "pipe"),
        Output("alpha", "job", "folder"),
        Output("alpha", "linked", "secret"),
        Output("beta", "job", "part-00000-0000.jsonl"),
        Plan("alpha", "../state"),
        Plan("alpha", ""),
        Segment("alpha", RUN_ID, "map-00000", "../1.1", 0),
        Segment("alpha", RUN_ID, ".map-00000", "1.1", 0),
        Segment("alpha", "../runs", "map-00000", "1.1", 0),
        Pane("alpha", 0, "../../state"),
    ],
)
def test_no_name_leads_elsewhere(config: ClusterConfig, tmp_path: Path, resource: Resource) -> None:
    folder = write_output(config, "part-00000-0000.jsonl", b"content").parent
    (tmp_path / "elsewhere" / "reduce").mkdir(parents=True)
    (tmp_path / "elsewhere" / "reduce" / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "elsewhere" / "reduce" / "secret")
    (folder.parent.parent / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")

    with pytest.raises(DataRefused) as refused:
        Resources(config, "alpha").read(resource, 0, 100)
    assert refused.value.code in ("invalid", "missing")


def test_segments_are_read_at_any_offset(config: ClusterConfig) -> None:
    contents = write_attempt(config, "alpha", "map-00000", [(0, 10), (1, 5), (0, 7), (0, 3)])
    content = contents[0] + contents[2] + contents[3]
    resources = Resources(config, "alpha")
    segment = segment_of("alpha", "map-00000", 0)

    for offset in range(23):
        for length in range(23):
            piece = resources.read(segment, offset, length)
            assert (piece.data, piece.size) == (content[offset : offset + length], 20)
            assert bool(piece.info) == (offset == 0)


def test_a_segment_that_was_removed_is_missing_although_it_was_read_before(config: ClusterConfig) -> None:
    write_attempt(config, "alpha", "map-00000", [(0, 10)])
    resources = Resources(config, "alpha")
    resources.read(segment_of("alpha", "map-00000", 0), 0, 10)
    folder = Path(peer_of(config, "alpha").data_dir, "runs", RUN_ID, "map-00000-1.1")
    os.rename(folder, folder.parent / "away")

    with pytest.raises(DataRefused) as refused:
        resources.read(segment_of("alpha", "map-00000", 0), 0, 10)
    assert refused.value.code == "missing"
