"""The tutorial does what it says."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_north_carolina() -> None:
    page = Path(__file__).parents[3] / "docs" / "tutorial-north-carolina.md"
    results = doctest.testfile(str(page), module_relative=False)
    assert results.attempted > 15
    assert results.failed == 0
