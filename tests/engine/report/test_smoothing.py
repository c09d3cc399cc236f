"""The report of smoothed variances: whole, the same each time, and safe whatever areas are called."""

import numpy as np
import pandas as pd
import pytest
import smallarea
from smallarea.report.smoothing import render_smoothing
from smallarea.survey.smoothed import outliers

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def smoothed():
    rng = np.random.default_rng(3)
    n = np.round(np.exp(rng.uniform(np.log(10), np.log(200), size=80)))
    df = np.maximum(np.round(n / 6), 1.0)
    table = pd.DataFrame({"area": [f"d{k}" for k in range(80)], "n": n, "df": df, "y": rng.normal(20, 3, size=80)})
    table["v"] = 50 / n * rng.chisquare(df) / df
    table["kind"] = np.where(np.arange(80) % 2 == 0, HOSTILE, "other")
    largest = int(n.argmax())
    table.loc[largest, "area"] = HOSTILE
    table.loc[largest, "v"] *= 20
    table.loc[1, "v"] = 0.0

    def run(**more):
        call = {"table": table, "table_id_field": "area", "direct": "y", "variance": "v", "n": "n", "df": "df"}
        return smallarea.smooth_variances(**{**call, **more})

    return run


def test_the_page_is_the_same_each_time_and_needs_nothing_from_outside(smoothed):
    one, two = render_smoothing(smoothed()), render_smoothing(smoothed())
    assert one == two
    assert one.count("<img ") == 3
    for stranger in ("<script", "http://", "https://", "url("):
        assert stranger not in one


def test_an_area_that_stands_out_is_first_in_the_list_and_escaped(smoothed):
    result = smoothed()
    (response,) = result.responses
    assert response.raw.ids[outliers(response)[0]] == HOSTILE
    page = render_smoothing(result)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "Outliers" in page


def test_without_degrees_of_freedom_the_figure_has_its_lines(smoothed):
    assert "Broken lines: 3 standard deviations" in render_smoothing(smoothed(df=[], method="log_linear"))
    assert "given the degrees of freedom" in render_smoothing(smoothed())


@pytest.mark.parametrize(
    ("options", "said", "figures"),
    [
        ({"method": "n_eff", "group_field": "kind"}, "Pooled values", 3),
        ({"method": "log_linear", "bias_correction": "lognormal"}, "exp(s²/2)", 3),
        ({"combine": True}, "keep", 3),
        ({"n": [], "estimate_term": "log"}, "log |estimate|", 2),
    ],
)
def test_it_says_what_was_done(smoothed, options, said, figures):
    page = render_smoothing(smoothed(**options))
    assert said in page
    assert page.count("<img ") == figures
