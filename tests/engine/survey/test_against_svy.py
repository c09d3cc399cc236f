"""Two routes to the same numbers: our estimates by area and those of svy, on random designs."""

import numpy as np
import pytest
from smallarea.survey.design import survey_design
from smallarea.survey.direct import area_estimates
from smallarea.survey.estimators import Variable

svy = pytest.importorskip("svy")
pl = pytest.importorskip("polars")

RELATIVE = 1e-9


@pytest.fixture(params=[1, 2, 3])
def survey(request):
    rng = np.random.default_rng(request.param)
    n = 400
    stratum = rng.integers(0, 5, n)
    psu = stratum * 10 + rng.integers(0, 4, n)
    area = rng.integers(0, 6, n)
    y = rng.normal(10.0, 3.0, n) + psu / 5
    return {
        "stratum": stratum,
        "psu": psu,
        "area": area,
        "weight": rng.gamma(4.0, 10.0, n),
        "population": 20.0 + 5.0 * stratum,
        "y": y,
        "x": y + rng.normal(0.0, 1.0, n) + 5.0,
        "b": (rng.random(n) < 0.3).astype(float),
    }


def ours(survey, finite, lonely="fail"):
    design = survey_design(
        survey["weight"],
        strata=[survey["stratum"]],
        psu=[survey["psu"]],
        fpc=[survey["population"]] if finite else [],
        lonely_psu=lonely,
    )
    variables = [
        Variable("mean", "mean", survey["y"]),
        Variable("total", "total", survey["y"]),
        Variable("ratio", "ratio", survey["y"], survey["x"]),
        Variable("share", "proportion", survey["b"]),
        Variable("median", "quantile", survey["y"]),
    ]
    table = area_estimates(variables, survey["area"], tuple("012345"), design).table
    return {name: rows.set_index("area") for name, rows in table.groupby("response")}


def theirs(survey, finite, singleton=None):
    frame = pl.DataFrame(survey)
    parts = {"pop_size": "population"} if finite else {}
    design = svy.Design(stratum="stratum", psu="psu", wgt="weight", singleton=singleton, **parts)
    estimation = svy.Sample(frame, design).estimation
    return {
        "mean": estimation.mean("y", by="area"),
        "total": estimation.total("y", by="area"),
        "ratio": estimation.ratio("y", "x", by="area"),
        "share": estimation.mean("b", by="area"),
        "median": estimation.median("y", by="area"),
    }


def by_area(estimate):
    return {str(row.by_level[0]): row for row in estimate.estimates}


@pytest.mark.parametrize("finite", [False, True])
def test_estimates_and_standard_errors_by_area(survey, finite):
    mine, other = ours(survey, finite), theirs(survey, finite)
    for statistic in ("mean", "total", "ratio", "share"):
        rows = by_area(other[statistic])
        assert len(rows) == 6
        for area, row in rows.items():
            assert mine[statistic].loc[area, "direct"] == pytest.approx(row.est, rel=RELATIVE)
            assert mine[statistic].loc[area, "se"] == pytest.approx(row.se, rel=RELATIVE)
    for area, row in by_area(other["median"]).items():
        for column, value in (("direct", row.est), ("se", row.se), ("lower", row.lci), ("upper", row.uci)):
            assert mine["median"].loc[area, column] == pytest.approx(value, rel=RELATIVE)


@pytest.mark.parametrize(("policy", "singleton"), [("adjust", "center"), ("certainty", "skip"), ("average", "scale")])
def test_lonely_units_by_area(survey, policy, singleton):
    first = np.flatnonzero(survey["stratum"] == 0)
    survey["psu"][first] = 0
    mine, other = ours(survey, False, policy), theirs(survey, False, singleton)
    for area, row in by_area(other["mean"]).items():
        assert mine["mean"].loc[area, "se"] == pytest.approx(row.se, rel=RELATIVE)
