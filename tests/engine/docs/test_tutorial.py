"""The pages of the guide with examples do what they say."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"


PAGES = [
    ("tutorial-north-carolina.md", 15),
    ("exceedance-and-ranks.md", 20),
    ("comparing-models.md", 8),
    ("benchmarking.md", 15),
    ("calibrating-weights.md", 6),
    ("survey-tables.md", 6),
    ("direct-estimates.md", 3),
    ("published-estimates.md", 8),
    ("smoothing-variances.md", 12),
    ("learned-priors.md", 15),
]


@pytest.mark.parametrize(("page", "least"), PAGES)
def test_the_examples_of_the_page(page: str, least: int) -> None:
    results = doctest.testfile(str(DOCS / page), module_relative=False)
    assert results.attempted > least
    assert results.failed == 0
