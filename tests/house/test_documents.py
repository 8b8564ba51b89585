"""What docs/architecture.md says of the code holds: its files, rooms and tests exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.house.test_layers import FLOORS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
INVARIANTS = re.findall(r"`([\w/]+\.py)::(\w+)`", TEXT)


def test_there_are_enough_invariants_to_speak_of() -> None:
    assert len(INVARIANTS) >= 15


@pytest.mark.parametrize(("file", "test"), INVARIANTS)
def test_the_test_of_an_invariant_exists(file: str, test: str) -> None:
    assert re.search(rf"^(async )?def {test}\b", (ROOT / "tests" / file).read_text(), re.MULTILINE)


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`((?:pymr|tui|tests)/[\w/]+\.py)`", TEXT))))
def test_a_file_that_is_named_exists(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("floor", FLOORS)
def test_every_room_is_on_the_map(floor: str) -> None:
    rooms = set(re.findall(r"`((?:pymr|tui)(?:/\w+)*)`", TEXT)) | {"tui"}

    assert any(floor == room or floor.startswith(f"{room}/") for room in rooms)
