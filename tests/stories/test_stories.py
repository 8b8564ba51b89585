"""Every story shows what the leader decides now."""

from pathlib import Path

import pytest

from tests.stories.story import Story, stories


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    written = path.read_text()
    assert Story().play(written).splitlines() == written.splitlines()
