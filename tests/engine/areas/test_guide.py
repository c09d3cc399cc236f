"""The worked example of the guide does what the guide says."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_worked_example() -> None:
    guide = Path(__file__).parents[3] / "docs" / "areas.md"
    results = doctest.testfile(str(guide), module_relative=False)
    assert results.attempted > 10
    assert results.failed == 0
