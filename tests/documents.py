"""`python -m tests.documents`: makes the reference of job fields in docs/jobs.md from their declarations."""

from __future__ import annotations

from pathlib import Path

from pymr.jobs.reference import job_fields_markdown
from tests.field_tests import FIELD_TESTS

REFERENCE = Path(__file__).parents[1] / "docs" / "jobs.md"
_MARK = "A test compares. -->\n\n"


def main() -> None:
    """Write the part of docs/jobs.md below its mark."""
    written = REFERENCE.read_text()
    before, mark, _ = written.partition(_MARK)
    assert mark, f"{REFERENCE} has no line that ends in {_MARK.strip()!r}"
    made = f"{before}{mark}{job_fields_markdown(FIELD_TESTS)}"
    if made != written:
        REFERENCE.write_text(made)
        print(f"{REFERENCE} was made anew")


if __name__ == "__main__":
    main()
