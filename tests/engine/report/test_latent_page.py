"""The page of a latent indicator: its numbers, its parts, and text that stays text."""

import numpy as np
import pandas as pd
import pytest
import smallarea
from smallarea.errors import OutputProblem
from smallarea.report.latent_page import render_latent


@pytest.fixture(scope="module")
def survey():
    rng = np.random.default_rng(4)
    district = np.repeat(np.arange(10), 40)
    age = rng.normal(size=400)
    hardship = 0.5 * age + 0.4 * rng.normal(size=10)[district] + rng.normal(size=400)
    items = hardship[:, None] * [1.0, 0.8, 1.2, 0.6] + rng.normal(size=(400, 4))
    frame = pd.DataFrame(items, columns=["heating", "meals", "arrears", "holiday"])
    return frame.mask(rng.random(frame.shape) < 0.1).assign(
        age=age, district=[f"D{d}" for d in district], w=rng.uniform(1, 3, 400)
    )


def run(survey, **more):
    model = "hardship =~ heating + meals + arrears + holiday\nhardship ~ age"
    return smallarea.latent_indicator(survey, model=model, imputations=4, **more)


def test_the_page_holds_every_part(survey, tmp_path):
    result = run(survey, area_field="district", weight="w", report=tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    for said in ("Standardised loadings", "Residual correlations", "Means of 10 areas", "Scores: hardship",
                 "Reliability", f"{result.fit.srmr:.3f}", f"{result.fit.cfi:.3f}", "has the cause"):  # fmt: skip
        assert said in page, said
    assert page.count("<img ") == 4
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert render_latent(result) == render_latent(result)


def test_without_areas_and_causes(survey):
    result = smallarea.latent_indicator(survey, model="f =~ heating + meals + arrears", imputations=2)
    page = render_latent(result)
    assert "Means of" not in page
    assert "Causes" not in page


def test_markup_in_names_stays_text(survey):
    frame = survey.rename(columns={"district": "<b>district</b>"})
    page = render_latent(run(frame, area_field="<b>district</b>"))
    assert "<b>district" not in page
    assert "&lt;b&gt;district" in page


def test_a_report_is_html(survey):
    with pytest.raises(OutputProblem, match="report"):
        run(survey, report="report.pdf")
