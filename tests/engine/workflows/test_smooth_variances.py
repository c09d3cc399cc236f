"""Raw variances become smoothed ones: who gets which, what is said, and what a fit makes of it."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import smallarea
from smallarea.errors import JobProblem, ModelProblem, OutputProblem, TableProblem, VarianceProblem
from smallarea.jobs.summary import summarise


@pytest.fixture
def direct():
    """Two responses in sixty areas: a proportion and an income, with their sampling covariance."""
    rng = np.random.default_rng(2)
    n = np.round(np.exp(rng.uniform(np.log(10), np.log(200), size=60)))
    df = np.maximum(np.round(n / 5) - 1, 1.0)
    p = rng.uniform(0.1, 0.4, size=60)
    table = pd.DataFrame({"area": [f"d{k:02d}" for k in range(60)], "n": n, "df": df})
    table["rate"] = p
    table["variance_rate"] = 1.5 * p * (1 - p) / n * rng.chisquare(df) / df
    table["income"] = 50_000 + 5_000 * rng.normal(size=60)
    table["variance_income"] = 8e7 / n * rng.chisquare(df) / df
    table["covariance_rate_income"] = -0.3 * np.sqrt(table["variance_rate"] * table["variance_income"])
    table["kind"] = ["town" if k % 3 else "country" for k in range(60)]
    table.loc[0, "variance_rate"] = 0.0
    table.loc[1, "variance_rate"] = np.nan
    table.loc[2, "n"] = 1.0
    table.loc[3, ["rate", "variance_rate"]] = np.nan
    table.loc[4, ["rate", "variance_rate"]] = 0.0
    return table


def smoothed(table, **more):
    call = {"table": table, "table_id_field": "area", "direct": "rate", "variance": "variance_rate", "n": "n"}
    return smallarea.smooth_variances(**{**call, **more})


@pytest.mark.parametrize("method", ["gamma", "log_linear", "n_eff"])
def test_areas_without_a_usable_variance_get_the_functions_and_a_flag(direct, method):
    result = smoothed(direct, method=method, df="df")
    table = result.table.set_index("area")
    assert table["flag_rate"].tolist()[:6] == ["smoothed", "smoothed", "smoothed", "", "smoothed", ""]
    assert table["variance_smoothed_rate"].isna().tolist() == [k == 3 for k in range(60)]
    assert (table["variance_smoothed_rate"].dropna() > 0).all()
    assert np.allclose(table["se_smoothed_rate"] ** 2, table["variance_smoothed_rate"], equal_nan=True)
    assert list(table.columns)[: len(direct.columns) - 1] == list(direct.columns)[1:]
    few, none = result.warnings
    assert "fewer than 8 degrees of freedom" in few
    assert "4 areas of 'rate' ('d00', 'd01', 'd02' and 1 more)" in none
    summary = summarise("smooth_variances", result)
    assert (summary["n_areas"], summary["n_used"], summary["n_smoothed"], summary["n_replaced"]) == (60, 55, 59, 4)
    assert 0 < summary["r_squared"] < 1


def test_several_responses_keep_their_correlations(direct):
    result = smoothed(
        direct, direct=["rate", "income"], variance=["variance_rate", "variance_income"], df="df",
        covariance="covariance_rate_income",
    )  # fmt: skip
    table = result.table
    both = np.sqrt(table["variance_smoothed_rate"] * table["variance_smoothed_income"])
    correlation = (table["covariance_smoothed_rate_income"] / both).to_numpy()
    assert np.allclose(correlation[[k for k in range(60) if k != 3]], -0.3, rtol=1e-9)
    assert np.isnan(correlation[3])
    assert "the mean of the others, -0.3, stands in" in result.notes[-1]
    assert set(result.summary["responses"]) == {"rate", "income"}
    assert result.table["flag_income"].tolist()[2] == "smoothed"


def test_a_fit_takes_the_result_without_renaming(direct, tmp_path):
    smoothed(
        direct, direct=["rate", "income"], variance=["variance_rate", "variance_income"], df="df",
        covariance="covariance_rate_income", estimate_term="none", csv=tmp_path / "s.csv",
    )  # fmt: skip
    fit = smallarea.fit(
        table=tmp_path / "s.csv", table_id_field="area", direct=["rate", "income"],
        variance=["variance_smoothed_rate", "variance_smoothed_income"],
        covariance=["covariance_smoothed_rate_income"], random_effect="iid", method="reml",
    )  # fmt: skip
    assert fit.estimates["estimate"].notna().all()
    assert fit.estimates["sampled"].sum() == 59 + 60


def test_proportions_have_effective_sample_sizes(direct):
    result = smoothed(direct, method="n_eff", estimate_term="binomial", group_field="kind")
    table = result.table.set_index("area")
    p, n = direct["rate"].to_numpy(), direct["n"].to_numpy()
    deff = dict(zip(result.coefficients["term"], result.coefficients["estimate"], strict=True))
    assert set(deff) == {"town", "country"}
    used = direct.index >= 5
    expected = n[used] / [deff[kind] for kind in direct["kind"][used]]
    assert np.allclose(table["n_eff_smoothed_rate"][used], expected, rtol=1e-12)
    # A proportion of zero takes the shape of its group's mean.
    member = ((direct["kind"] == "town") & direct["rate"].notna()).to_numpy()
    mean = (n[member] @ p[member]) / n[member].sum()
    assert table["variance_smoothed_rate"].iloc[4] == pytest.approx(deff["town"] * mean * (1 - mean) / n[4])


def test_covariates_groups_and_missing_terms(direct):
    table = direct.assign(poverty=np.linspace(0, 1, 60))
    table.loc[9, "poverty"] = np.nan
    result = smoothed(table, covariates=["poverty"], group_field="kind", method="log_linear", df="df")
    assert result.coefficients["term"].tolist() == ["intercept", "log n", "poverty", "group town"]
    assert result.table["flag_rate"][9] == "not_smoothed"
    assert "'d09'" in result.warnings[-1]


def test_combined_variances_lie_between(direct):
    result = smoothed(direct, direct="income", variance="variance_income", df="df", combine=True)
    raw, function = direct["variance_income"], result.responses[0].function.fitted
    found = result.table["variance_smoothed_income"]
    prior = result.summary["prior_df"]
    if prior == "infinite":
        assert np.allclose(found, function)
    else:
        inside = (found >= np.minimum(raw, function) - 1e-9) & (found <= np.maximum(raw, function) + 1e-9)
        assert inside[direct["n"] > 1].all()


def test_units_do_not_matter(direct):
    one = smoothed(direct, direct="income", variance="variance_income", df="df").table
    thousands = direct.assign(income=direct["income"] / 1000, variance_income=direct["variance_income"] / 1e6)
    two = smoothed(thousands, direct="income", variance="variance_income", df="df").table
    assert np.allclose(one["variance_smoothed_income"], 1e6 * two["variance_smoothed_income"], rtol=1e-9)


def test_the_layer_keeps_the_attributes_and_the_report_is_whole(make_map, tmp_path):
    areas = make_map(6, 6)
    areas["n"] = np.arange(36) + 5.0
    areas.loc[2, "v"] = 0.0
    out, report = tmp_path / "s.gpkg", tmp_path / "s.html"
    smallarea.smooth_variances(areas, id_field="code", direct="y", variance="v", n="n", output=out, report=report)
    layer = gpd.read_file(out)
    assert pyogrio.list_layers(out)[:, 0].tolist() == ["smoothed_variances"]
    assert {"code", "x1", "v", "variance_smoothed_y", "flag_y"} <= set(layer.columns)
    assert layer["flag_y"].fillna("").tolist()[2] == "smoothed"
    page = report.read_text(encoding="utf-8")
    assert page.count("<img ") == 3
    assert "1 area had no usable raw variance" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"n": []}, JobProblem, "nothing that the variances could depend on"),
        ({"n": [], "method": "n_eff"}, JobProblem, "divides by the sample size"),
        ({"method": "n_eff", "covariates": ["df"]}, JobProblem, "no covariates"),
        ({"bias_correction": "lognormal"}, JobProblem, "belongs to log_linear"),
        ({"combine": True}, JobProblem, "degrees of freedom"),
        ({"method": "guess"}, JobProblem, "method 'guess'"),
        ({"variance": ["variance_rate", "df"]}, JobProblem, "do not agree"),
        ({"covariance": "df"}, JobProblem, "have 0 sampling covariances"),
        ({"min_df": -1.0}, JobProblem, "zero or more"),
        ({"output": "x.gpkg"}, JobProblem, "no polygons"),
        ({"report": "x.pdf"}, OutputProblem, "must end in .html"),
        ({"direct": "income", "variance": "variance_income", "estimate_term": "binomial"}, TableProblem, "proportions"),
        ({"covariates": ["kind"]}, TableProblem, "not numbers"),
        ({"covariates": ["n_again"]}, ModelProblem, "cannot be told apart"),
    ],
)
def test_what_does_not_fit_is_refused(direct, change, kind, said):
    with pytest.raises(kind, match=said):
        smoothed(direct.assign(n_again=np.log(direct["n"]) * 2), **change)


def test_wrong_numbers_name_their_areas(direct):
    with pytest.raises(VarianceProblem, match=r"negative in 1 areas: 'd07'"):
        smoothed(direct.assign(variance_rate=direct["variance_rate"].mask(direct.index == 7, -1.0)))
    with pytest.raises(TableProblem, match=r"sample size of zero or less: 'd07'"):
        smoothed(direct.assign(n=direct["n"].mask(direct.index == 7, 0.0)))
    with pytest.raises(TableProblem, match=r"no group .*'d07'"):
        smoothed(direct.assign(kind=direct["kind"].mask(direct.index == 7)), group_field="kind")
    with pytest.raises(ModelProblem, match="too few"):
        smoothed(direct.head(8))


def test_nothing_is_written_when_the_run_fails(make_map, tmp_path):
    with pytest.raises(JobProblem):
        smallarea.smooth_variances(
            make_map(2, 2), id_field="code", direct="y", variance="v", csv=tmp_path / "a.csv",
            report=tmp_path / "a.html",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
