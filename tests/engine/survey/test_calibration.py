"""Calibrated weights: closed forms, brute force, R's survey where its numbers are, and what is refused."""

import sys

import numpy as np
import openpyxl
import pandas as pd
import pytest
import smallarea
from scipy import optimize
from smallarea.errors import EngineUnavailable, JobProblem, ModelProblem, OutputProblem, TableProblem
from smallarea.survey.calibrated import weighting_effect
from smallarea.survey.calibration import CalibrationSpecification, Margin, calibration_matrix
from smallarea.survey.calibration_solve import raked

CELLS = pd.DataFrame({"region": ["n", "m", "s"], "total": [4000.0, 3000.0, 2000.0]})
MARGINS = pd.DataFrame(
    {"region": ["n", "m", "s", None, None], "sex": [None] * 3 + ["f", "1"], "total": [4000.0, 3000, 2000, 5000, 4000]}
)


@pytest.fixture
def survey():
    rng = np.random.default_rng(8)
    n = 400
    return pd.DataFrame(
        {
            "region": rng.choice(["n", "m", "s"], n, p=[0.5, 0.2, 0.3]),
            "sex": rng.choice(["f", "1"], n, p=[0.4, 0.6]),
            "income": rng.gamma(3.0, 10_000.0, n),
            "pw": rng.uniform(5.0, 40.0, n),
        }
    )


def calibrated(survey, totals, method="rake", **others):
    return smallarea.calibrate_weights(survey, weight="pw", totals=totals, method=method, **others)


def test_poststratification_scales_each_cell(survey):
    found = calibrated(survey, CELLS, "poststratify").frame
    factor = CELLS.set_index("region")["total"] / survey.groupby("region")["pw"].sum()
    np.testing.assert_allclose(found["weight"], survey["pw"] * survey["region"].map(factor), rtol=1e-12)
    np.testing.assert_array_equal(found["weight_design"], survey["pw"])
    np.testing.assert_allclose(found["g_factor"], survey["region"].map(factor), rtol=1e-12)
    assert found.columns.tolist() == ["region", "sex", "income", "pw", "weight_design", "weight", "g_factor"]


def test_crossed_cells(survey):
    cells = survey.groupby(["region", "sex"], as_index=False)["pw"].sum().rename(columns={"pw": "total"})
    cells["total"] *= np.arange(1.0, 7.0)
    found = calibrated(survey, cells, "poststratify")
    sums = found.frame.groupby(["region", "sex"])["weight"].sum().to_numpy()
    np.testing.assert_allclose(sums, cells["total"], rtol=1e-12)
    assert found.totals["margin"].unique().tolist() == ["region x sex"]
    assert found.totals["category"].tolist()[:2] == ["m, 1", "m, f"]


def test_raking_is_the_loop_of_deming_and_stephan(survey):
    found = calibrated(survey, MARGINS)
    w = survey["pw"].to_numpy().copy()
    for _ in range(200):
        for field, totals in (("region", {"n": 4000.0, "m": 3000.0, "s": 2000.0}), ("sex", {"f": 5000.0, "1": 4000.0})):
            for level, total in totals.items():
                here = (survey[field] == level).to_numpy()
                w[here] *= total / w[here].sum()
    np.testing.assert_allclose(found.frame["weight"], w, rtol=1e-10)
    np.testing.assert_allclose(found.totals["after"], found.totals["total"], rtol=1e-11)
    # The order of the margins does not matter once it has converged.
    other = calibrated(survey, MARGINS.iloc[::-1])
    np.testing.assert_allclose(other.frame["weight"], w, rtol=1e-10)


def test_raking_minimises_the_kullback_leibler_distance(survey):
    # The dual problem of Deville and Särndal (1992), solved by a general optimiser.
    found = calibrated(survey, MARGINS)
    x, d, t = found.calibration.matrix, survey["pw"].to_numpy(), MARGINS["total"].to_numpy()
    dual = lambda u: float(d @ np.exp(x @ u) - t @ u)  # noqa: E731
    best = optimize.minimize(dual, np.zeros(5), jac=lambda u: x.T @ (d * np.exp(x @ u)) - t, method="BFGS", tol=1e-9)
    np.testing.assert_allclose(found.frame["weight"], d * np.exp(x @ best.x), rtol=1e-5)


def test_greg_is_its_closed_form(survey):
    totals = pd.concat([CELLS, pd.DataFrame({"region": [None], "income": [2.7e8]})], ignore_index=True)
    found = calibrated(survey, totals, "greg", auxiliaries=["income"])
    x = np.column_stack([*(survey["region"] == r for r in "nms"), survey["income"]]).astype(float)
    d, t = survey["pw"].to_numpy(), np.array([4000.0, 3000.0, 2000.0, 2.7e8])
    # The normal equations at high precision: columns differ by five orders of magnitude.
    wide = np.linalg.solve((x / [1, 1, 1, 1e5]).T * d @ (x / [1, 1, 1, 1e5]), (t - x.T @ d) / [1, 1, 1, 1e5])
    np.testing.assert_allclose(found.frame["weight"], d * (1.0 + x / [1, 1, 1, 1e5] @ wide), rtol=1e-9)
    np.testing.assert_allclose(found.totals["after"], found.totals["total"], rtol=1e-10)
    assert found.totals["margin"].tolist() == ["region"] * 3 + ["income"]
    assert found.totals["category"].iloc[-1] == "everybody"


def test_greg_takes_dependent_columns(survey):
    # Two margins of dummies both add up to one; least squares of minimal norm does not care.
    found = calibrated(survey, MARGINS, "greg")
    x, d = found.calibration.matrix, survey["pw"].to_numpy()
    multiplier = np.linalg.pinv(x.T * d @ x, rcond=1e-10) @ (MARGINS["total"].to_numpy() - x.T @ d)
    np.testing.assert_allclose(found.frame["weight"], d * (1.0 + x @ multiplier), rtol=1e-9)


def test_greg_with_one_set_of_categories_is_poststratification(survey):
    one, other = calibrated(survey, CELLS, "greg"), calibrated(survey, CELLS, "poststratify")
    np.testing.assert_allclose(one.frame["weight"], other.frame["weight"], rtol=1e-11)
    three = calibrated(survey, CELLS)
    np.testing.assert_allclose(three.frame["weight"], other.frame["weight"], rtol=1e-11)


def test_numbers_by_category(survey):
    """A total of a number may belong to one category only; others are free."""
    totals = pd.DataFrame({"region": ["n", "m", "s"], "total": [4000.0, 3000, 2000], "income": [1.1e8, None, None]})
    found = calibrated(survey, totals, "greg", auxiliaries=["income"])
    here = (survey["region"] == "n").to_numpy()
    assert found.frame["weight"][here] @ survey["income"][here] == pytest.approx(1.1e8, rel=1e-10)
    assert found.totals["margin"].tolist() == ["region"] * 3 + ["income by region"]


def test_the_matrix_and_what_variances_need(survey):
    found = calibrated(survey, MARGINS).calibration
    assert found.method == "rake"
    np.testing.assert_allclose(found.matrix.T @ found.calibrated_weights, MARGINS["total"], rtol=1e-11)
    np.testing.assert_array_equal(found.base_weights, survey["pw"])
    margins = (
        Margin(("sex", "region"), None, (("f", "n"), ("1", "s")), np.ones(2)),
        Margin((), "income", ((),), np.ones(1)),
    )
    specification = CalibrationSpecification("greg", margins)
    matrix = calibration_matrix(survey, specification)
    np.testing.assert_array_equal(matrix[:, 0], (survey["sex"] == "f") & (survey["region"] == "n"))
    np.testing.assert_array_equal(matrix[:, 1], (survey["sex"] == "1") & (survey["region"] == "s"))
    np.testing.assert_array_equal(matrix[:, 2], survey["income"])
    assert specification.fields == ("sex", "region", "income")


def test_codes_are_compared_as_text(survey):
    """A category 1 of the survey is the category "1" of the totals, and 01 is another."""
    survey["code"] = np.where(survey["sex"] == "f", 1, 2)
    totals = pd.DataFrame({"code": ["1", "2"], "total": [10.0, 20.0]})
    assert calibrated(survey, totals, "poststratify").frame["weight"].sum() == pytest.approx(30.0)
    totals["code"] = ["01", "2"]
    with pytest.raises(TableProblem, match="1 categories of 'code' in the survey have no total: '1'"):
        calibrated(survey, totals, "poststratify")


def test_weighting_effect_and_summary(survey):
    w = np.array([1.0, 2.0, 3.0, 0.0])
    assert weighting_effect(w) == pytest.approx(3 * 14 / 36)
    assert weighting_effect(w) == pytest.approx(1.0 + np.var(w[:3]) / np.mean(w[:3]) ** 2)
    found = calibrated(survey, MARGINS)
    assert found.summary["n_respondents"] == 400
    assert found.summary["sum_after"] == pytest.approx(9000.0)
    assert found.summary["deff_after"] == pytest.approx(weighting_effect(found.frame["weight"].to_numpy()))
    assert found.summary["least_factor"] == pytest.approx(found.frame["g_factor"].min())
    assert found.warnings == ()


def test_warnings(survey):
    totals = pd.concat([CELLS, pd.DataFrame({"region": [None], "income": [4.6e8]})], ignore_index=True)
    found = calibrated(survey, totals, "greg", auxiliaries=["income"])
    negative = np.flatnonzero(found.frame["weight"] < 0) + 1
    assert len(negative)
    assert f"{len(negative)} calibrated weights are negative: rows {negative[0]}" in found.warnings[0]
    assert found.summary["n_negative"] == len(negative)
    few = survey.assign(region=np.where(np.arange(400) < 3, "s", "n"))
    totals = pd.DataFrame({"region": ["n", "s"], "total": [3000.0, 6000.0]})
    said = calibrated(few, totals, "poststratify").warnings
    assert len(said) == 1
    assert said[0].startswith("The weights of 3 respondents change by more than 4 times the usual factor")


def test_a_weight_field_that_is_called_weight(survey):
    found = calibrated(survey, CELLS, "poststratify")
    again = smallarea.calibrate_weights(
        survey.rename(columns={"pw": "weight"}), weight="weight", totals=CELLS, method="poststratify"
    )
    assert again.frame.columns.tolist() == ["region", "sex", "income", "weight_design", "weight", "g_factor"]
    np.testing.assert_array_equal(again.frame["weight"], found.frame["weight"])


def test_files(survey, tmp_path):
    survey["region"] = survey["region"].map({"n": "01", "m": "02", "s": "10"})
    survey.to_csv(tmp_path / "survey.csv", index=False)
    totals = CELLS.assign(region=["01", "02", "10"])
    totals.to_csv(tmp_path / "totals.csv", index=False)
    found = calibrated(
        str(tmp_path / "survey.csv"), str(tmp_path / "totals.csv"), "poststratify",
        csv=tmp_path / "out.csv", excel=tmp_path / "out.xlsx",
    )  # fmt: skip
    written = pd.read_csv(tmp_path / "out.csv", dtype={"region": str})
    pd.testing.assert_frame_equal(written, found.frame, check_dtype=False)
    book = openpyxl.load_workbook(tmp_path / "out.xlsx")
    assert book.sheetnames == ["Totals", "Weights", "Settings"]
    assert [cell.value for cell in book["Totals"][1]][:4] == ["margin", "category", "respondents", "total"]
    with pytest.raises(OutputProblem, match=r"must end in \.csv"):
        calibrated(survey, totals, "poststratify", csv=tmp_path / "out.gpkg")


@pytest.mark.parametrize(
    ("rows", "method", "error", "said"),
    [
        ([("n", 1.0), ("m", 1.0)], "rake", TableProblem, "1 categories of 'region' in the survey have no total: 's'"),
        ([*zip("nmsx", [1.0] * 4, strict=True)], "rake", TableProblem, "1 totals of 'region' have no respondent.*'x'"),
        ([("n", 1.0), ("n", 2.0)], "rake", TableProblem, "several rows for 'n' of region"),
        (
            [("n", -1.0), ("m", 1.0), ("s", 1.0)],
            "rake",
            TableProblem,
            "1 numbers of people are negative: 'n of region'",
        ),
        ([("n", 0.0), ("m", 1.0), ("s", 1.0)], "rake", TableProblem, "population of 'n' .region. is zero"),
        ([("n", None)], "rake", TableProblem, "has no number"),
        ([], "rake", TableProblem, "no rows"),
        ([("n", 1.0)], "magic", JobProblem, "no method 'magic'"),
    ],
)
def test_totals_that_cannot_be(survey, rows, method, error, said):
    with pytest.raises(error, match=said):
        calibrated(survey, pd.DataFrame(rows, columns=["region", "total"]), method)


def test_a_category_of_nobody_is_left_out(survey):
    totals = pd.concat([CELLS, pd.DataFrame({"region": ["sea"], "total": [0.0]})], ignore_index=True)
    assert len(calibrated(survey, totals).totals) == 3


def test_margins_of_different_populations(survey):
    totals = MARGINS.assign(total=[4000.0, 3000, 2000, 5000, 4001])
    with pytest.raises(TableProblem, match="'region' 9000, 'sex' 9001"):
        calibrated(survey, totals)
    with pytest.raises(TableProblem, match="The totals contradict each other"):
        calibrated(survey, totals, "greg")


def test_margins_that_empty_cells_forbid():
    # Only men in the north and only women elsewhere, but more men than people in the north.
    frame = pd.DataFrame({"region": ["n", "n", "s", "s"], "sex": ["m", "m", "f", "f"], "pw": 1.0})
    totals = pd.DataFrame(
        {"region": ["n", "s", None, None], "sex": [None, None, "m", "f"], "total": [50.0, 50.0, 60.0, 40.0]}
    )
    with pytest.raises(ModelProblem, match=r"cannot be met together.*combinations of categories have no respondent"):
        calibrated(frame, totals)
    with pytest.raises(TableProblem, match="contradict"):
        calibrated(frame, totals, "greg")


@pytest.mark.parametrize(
    ("rows", "value", "said"),
    [
        ([4, 6], -1.0, r"2 weights of the field 'pw' are negative: rows 5, 7"),
        ([0], np.nan, r"1 weights of the field 'pw' are missing: rows 1"),
        (slice(None), 0.0, "All weights of the field 'pw' are zero"),
    ],
)
def test_weights_that_cannot_be(survey, rows, value, said):
    survey.loc[rows, "pw"] = value
    with pytest.raises(TableProblem, match=said):
        calibrated(survey, CELLS)


def test_respondents_that_cannot_be(survey):
    with pytest.raises(TableProblem, match="The survey has no rows"):
        calibrated(survey.iloc[:0], CELLS)
    survey.loc[[2, 9], "region"] = None
    with pytest.raises(TableProblem, match="2 respondents have no value of 'region': rows 3, 10"):
        calibrated(survey, CELLS)
    totals = pd.DataFrame({"income": [1e8]})
    survey.loc[7, "income"] = np.nan
    with pytest.raises(TableProblem, match="1 respondents have no value of 'income', which is calibrated: rows 8"):
        calibrated(survey, totals, "greg", auxiliaries=["income"])
    with pytest.raises(TableProblem, match="fields of the names that the result needs: 'g_factor'"):
        calibrated(survey.assign(g_factor=1.0), CELLS)
    survey.loc[survey["region"] == "s", "pw"] = 0.0
    with pytest.raises(TableProblem, match="1 totals of 'region' have no respondent with a weight above zero: 's'"):
        calibrated(survey.dropna(), CELLS)


def test_what_does_not_fit_the_method(survey):
    with pytest.raises(JobProblem, match="Post-stratification takes one set of categories, and there are 2"):
        calibrated(survey, MARGINS, "poststratify")
    with pytest.raises(JobProblem, match=r"'rake' takes numbers of people by category only.*'income'"):
        calibrated(survey, pd.DataFrame({"income": [1e8]}), auxiliaries=["income"])
    with pytest.raises(TableProblem, match=r"no field 'gender' in the survey"):
        calibrated(survey, pd.DataFrame({"gender": ["f"], "total": [1.0]}))
    with pytest.raises(TableProblem, match="no field 'total' in the table of totals"):
        calibrated(survey, CELLS.rename(columns={"total": "people"}))
    with pytest.raises(JobProblem, match="cell_change"):
        calibrated(survey, CELLS, "greg", cell_change=1.0)
    with pytest.raises(JobProblem, match=r"must be a list; write \['income'\]"):
        calibrated(survey, CELLS, "greg", auxiliaries="income")
    totals = pd.DataFrame({"total": [9000.0], "zero": [5.0]})
    with pytest.raises(TableProblem, match="have a value of zero"):
        calibrated(survey.assign(zero=0.0), totals, "greg", auxiliaries=["zero"])


def test_without_svy_only_raking_works(survey, monkeypatch):
    monkeypatch.setitem(sys.modules, "svy", None)
    assert calibrated(survey, MARGINS).frame["weight"].sum() == pytest.approx(9000.0)
    for method in ("poststratify", "greg"):
        with pytest.raises(EngineUnavailable, match=r"pip install 'smallarea\[survey\]'"):
            calibrated(survey, CELLS, method)


def test_zero_weights_stay_zero(survey):
    survey.loc[:20, "pw"] = 0.0
    for totals, method in ((MARGINS, "rake"), (CELLS, "poststratify"), (MARGINS, "greg")):
        found = calibrated(survey, totals, method)
        assert (found.frame["weight"][:21] == 0.0).all()
        assert (found.frame["g_factor"][:21] == 1.0).all()
        np.testing.assert_allclose(found.totals["after"], found.totals["total"], rtol=1e-9)


def test_stopping_as_r_does():
    codes = [np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])]
    margins = [
        Margin(("a",), None, (("x",), ("y",)), np.array([60.0, 40.0])),
        Margin(("b",), None, (("u",), ("v",)), np.array([30.0, 70.0])),
    ]
    base = np.array([10.0, 30.0, 20.0, 5.0])
    tight, sweeps = raked(base, codes, margins, None)
    loose, fewer = raked(base, codes, margins, 1.0)
    assert fewer < sweeps
    # The margin that was met last holds, the other nearly.
    assert loose[codes[1] == 0].sum() == pytest.approx(30.0, rel=1e-14)
    assert 0.0 < abs(loose[codes[0] == 0].sum() - 60.0) < 1.0
    assert tight[codes[0] == 0].sum() == pytest.approx(60.0, rel=1e-11)


@pytest.fixture
def api(reference):
    folder = reference("api_survey")
    frame = pd.read_csv(folder / "apiclus1.csv")
    weights = pd.read_csv(folder / "apiclus1_calibrated_weights.csv")
    assert (frame["cds"] == weights["cds"]).all()
    return frame, weights


@pytest.mark.parametrize(("method", "column"), [("poststratify", "poststrat"), ("greg", "greg")])
def test_against_r(api, reference, method, column):
    frame, weights = api
    totals = reference("api_survey") / "apipop_stype_totals.csv"
    found = smallarea.calibrate_weights(frame, weight="pw", totals=totals, total_field="Freq", method=method)
    np.testing.assert_allclose(found.frame["weight"], weights[column], rtol=1e-12)


def test_raking_against_r(api):
    """R's rake stops when no cell changes by a person: its margins are met to six digits, and so are its weights."""
    frame, weights = api
    totals = pd.DataFrame(
        {
            "stype": ["E", "H", "M", None, None],
            "sch.wide": [None, None, None, "No", "Yes"],
            "total": [4421.0, 755.0, 1018.0, 1072.0, 5122.0],
        }
    )
    as_r = smallarea.calibrate_weights(frame, weight="pw", totals=totals, cell_change=1.0)
    np.testing.assert_allclose(as_r.frame["weight"], weights["rake"], rtol=1e-12)
    assert as_r.notes[0].startswith("Raking ended after 4 sweeps")
    met = smallarea.calibrate_weights(frame, weight="pw", totals=totals)
    np.testing.assert_allclose(met.totals["after"], met.totals["total"], rtol=1e-11)
    np.testing.assert_allclose(met.frame["weight"], weights["rake"], rtol=1e-4)
