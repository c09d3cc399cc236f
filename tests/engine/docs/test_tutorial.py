"""The pages of the guide with examples do what they say."""

from __future__ import annotations

import doctest
import re
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
    ("imputation.md", 12),
    ("latent-indicators.md", 8),
    ("bartsimp.md", 15),
    ("area-trees.md", 15),
    ("published-estimates.md", 8),
    ("smoothing-variances.md", 12),
    ("counts.md", 6),
    ("learned-priors.md", 15),
    ("tutorial-learned-prior.md", 10),
]


@pytest.mark.parametrize(("page", "least"), PAGES)
def test_the_examples_of_the_page(page: str, least: int) -> None:
    results = doctest.testfile(str(DOCS / page), module_relative=False)
    assert results.attempted > least
    assert results.failed == 0


@pytest.mark.parametrize("page", ["learned-priors.md", "tutorial-learned-prior.md"])
def test_every_option_of_the_commands_of_the_page_exists(page: str) -> None:
    from smallarea.jobs.schema import TASKS

    text = re.sub("```python\n.*?```\n", "", (DOCS / page).read_text(encoding="utf-8"), flags=re.S)
    blocks = " ".join(re.findall(r"```\n(.*?)```", text, flags=re.S))
    tasks = {"prior train": "train_prior", "prior verify": "verify_prior", "fit": "fit", "prior list": "list_priors"}
    commands = re.findall(r"smallarea (prior train|prior verify|prior list|fit) ((?:[^\n]*\\\n)*[^\n]*)", blocks)
    assert commands
    for command, words in commands:
        known = {f"--{name.replace('_', '-')}" for name in TASKS[tasks[command]].model_fields}
        assert set(re.findall(r"--[a-z][a-z-]+", words)) <= known
