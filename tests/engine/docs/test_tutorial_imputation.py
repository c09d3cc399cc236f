"""What the tutorial on missing answers says of the data, where they are; imputations themselves take half a minute."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import smallarea
from smallarea.jobs.schema import TASKS

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "tutorial-imputation.md").read_text(encoding="utf-8")
DESIGN = {"area_field": "hracode", "weight": "rwt_llcp", "strata": "strata", "missing_design": "drop"}


def test_the_table_of_missing_answers(shared) -> None:
    names = re.findall(r"--variable (\w+)", PAGE)
    found = smallarea.impute(
        table=shared("brfss_kingcounty.csv"), variables=names, covariates=["age", "sex", "year"], imputations=2,
        method="hotdeck", **DESIGN,
    )  # fmt: skip
    for row in found.missing.itertuples():
        assert f"| {row.variable} | {row.kind} | {row.answers} | {row.imputed} |" in PAGE
    assert any(note.startswith("108 respondents have no area") for note in found.notes)


def test_a_table_like_the_one_of_the_page_goes_on_to_estimates(shared) -> None:
    # Imputed by chance, not by a model: that the columns and the cost's size come out does not depend on it.
    survey = pd.read_csv(shared("brfss_kingcounty.csv"))
    rng = np.random.default_rng(1)
    missing = survey["obese"].isna().to_numpy()
    tables = [
        survey.assign(obese=np.where(missing, rng.uniform(size=len(survey)) < 0.25, survey["obese"]), imputation=m)
        for m in range(20)
    ]
    direct = smallarea.direct_estimates(
        table=pd.concat(tables), imputation_field="imputation", indicators="obesity = proportion(obese = 1)", **DESIGN
    ).table
    assert direct["fmi_obesity"].median() == pytest.approx(0.04, abs=0.015)
    assert direct["se_obesity"].median() == pytest.approx(0.035, abs=1e-3)


def test_every_option_of_the_page_exists() -> None:
    from smallarea.cli.options import option_name

    for command, task in (("impute", "impute"), ("direct", "direct_estimates"), ("smooth", "smooth_variances")):
        block = re.search(rf"smallarea survey {command}((?:[^\n]*\\\n)*[^\n]*)", PAGE)
        assert block is not None
        known = {option_name(name) for name in TASKS[task].model_fields}
        assert set(re.findall(r"--[a-z-]+", block[1])) <= known
