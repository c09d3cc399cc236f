"""Direct estimates of a multiply imputed survey: each table by itself, Rubin's rules over them, on to a fit."""

import numpy as np
import pandas as pd
import pytest
import smallarea
from smallarea.errors import JobProblem, TableProblem
from smallarea.survey.imputation.rubin import combine

TABLES = 6


@pytest.fixture
def tables():
    """Six completed tables of 360 respondents in 9 areas of 3 strata; area A8 answered everything."""
    rng = np.random.default_rng(12)
    n = 360
    village = rng.integers(0, 72, n)
    area = (village + rng.integers(0, 2, n)) % 9
    base = pd.DataFrame(
        {
            "dist": [f"A{a}" for a in area],
            "w": rng.uniform(5.0, 25.0, n).round(3),
            "region": [f"r{v // 24}" for v in village],
            "village": [f"v{v}" for v in village],
            "income": (1000.0 + 40.0 * area + rng.gamma(4.0, 80.0, n)).round(2),
            "smokes": rng.integers(0, 2, n).astype(float),
        }
    )
    missing = (rng.uniform(size=n) < 0.3) & (area != 8)
    parts = []
    for m in range(TABLES):
        one = base.copy()
        one.loc[missing, "income"] = base["income"].sample(missing.sum(), random_state=m, replace=True).to_numpy()
        one.loc[missing, "smokes"] = rng.integers(0, 2, missing.sum())
        parts.append(one.assign(imputation=m))
    return parts


def direct(table, **more):
    call = {
        "table": table, "area_field": "dist", "weight": "w", "strata": "region", "psu": "village", "min_df": 2,
        "indicators": ["income", "smoker = proportion(smokes = 1)"],
    }  # fmt: skip
    return smallarea.direct_estimates(**(call | more))


def test_every_number_follows_rubins_rules(tables):
    singles = [direct(one) for one in tables]
    found = direct(pd.concat(tables), imputation_field="imputation")
    estimates = np.array([one.table[["income", "smoker"]].to_numpy() for one in singles])
    covariances = np.array([one.estimates.covariances for one in singles])
    wanted = combine(estimates, covariances, singles[0].table[["df_income", "df_smoker"]].to_numpy())
    table = found.table
    np.testing.assert_allclose(table[["income", "smoker"]], wanted.estimate, rtol=1e-12)
    np.testing.assert_allclose(table["variance_income"], wanted.variance[:, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(table["variance_smoker"], wanted.variance[:, 1, 1], rtol=1e-12)
    np.testing.assert_allclose(table["covariance_income_smoker"], wanted.variance[:, 0, 1], rtol=1e-12)
    np.testing.assert_allclose(table["variance_within_income"], wanted.within[:, 0, 0], rtol=1e-12)
    np.testing.assert_allclose(table["fmi_smoker"][:8], wanted.fraction_missing[:8, 1], rtol=1e-12)
    assert table["fmi_smoker"][8] == 0.0
    np.testing.assert_allclose(table["se_income"] ** 2, table["variance_income"], rtol=1e-12)
    np.testing.assert_allclose(table["df_income"][:8], wanted.df[:8, 0], rtol=1e-12)
    assert (table["variance_income"][:8] > table["variance_within_income"][:8]).all()
    # respondents are respondents once, and effective ones are fewer by what is not known of them
    assert table["n_income"].tolist() == singles[0].table["n_income"].tolist()
    simple = [one.table["variance_income"] / one.table["deff_income"] for one in singles]
    np.testing.assert_allclose(table["deff_income"], table["variance_income"] / np.mean(simple, axis=0), rtol=1e-12)
    np.testing.assert_allclose(table["n_eff_income"], table["n_income"] / table["deff_income"], rtol=1e-12)
    assert (table["lower_smoker"] > 0.0).all()
    assert (table["upper_smoker"] < 1.0).all()


def test_an_area_that_answered_everything_has_what_its_answers_say(tables):
    one, found = direct(tables[0]).table.loc[8], direct(pd.concat(tables), imputation_field="imputation").table.loc[8]
    shared = [name for name in one.index if name != "area"]
    for name in shared:
        assert found[name] == (one[name] if isinstance(one[name], str) else pytest.approx(one[name], rel=1e-12))
    assert found["variance_within_income"] == pytest.approx(one["variance_income"], rel=1e-12)


def test_the_order_of_tables_and_of_rows_between_them_is_free(tables):
    stacked = pd.concat(tables)
    mixed = pd.concat([one for _, one in stacked.groupby(stacked["village"].str[-1], sort=False)])
    numbers = {m: 10 * (TABLES - m) for m in range(TABLES)}
    found = direct(stacked, imputation_field="imputation").table
    again = direct(mixed.assign(imputation=mixed["imputation"].map(numbers)), imputation_field="imputation").table
    pd.testing.assert_frame_equal(found, again, rtol=1e-11)


def test_goes_on_to_a_fit_without_renaming(tables, make_map, tmp_path):
    areas = make_map(3, 3)
    stacked = pd.concat(tables)
    stacked["dist"] = "A00" + stacked["dist"].str[1:]
    stacked.to_csv(tmp_path / "imputed.csv", index=False)
    result = direct(
        tmp_path / "imputed.csv", areas=areas, id_field="code", imputation_field="imputation",
        output=tmp_path / "direct.gpkg", csv=tmp_path / "direct.csv", excel=tmp_path / "direct.xlsx",
        report=tmp_path / "missing.html",
    )  # fmt: skip
    assert result.summary["n_imputations"] == TABLES
    assert 0.0 < result.summary["responses"]["income"]["median_fmi"] < 1.0
    fit = smallarea.fit(
        tmp_path / "direct.gpkg", id_field="code", direct=["income", "smoker"],
        variance=["variance_income", "variance_smoker"], covariance="covariance_income_smoker", random_effect="iid",
        method="reml",
    )  # fmt: skip
    assert fit.estimates.filter(like="estimate").notna().all().all()
    page = (tmp_path / "missing.html").read_text()
    assert "What missing answers cost" in page
    assert "A008" in page
    assert pd.read_csv(tmp_path / "direct.csv").columns.tolist() == result.table.columns.tolist()


def test_groups_may_be_imputed_and_an_area_may_lack_one_in_some_tables(tables):
    rng = np.random.default_rng(4)
    sex = rng.integers(1, 3, len(tables[0]))
    alone = np.flatnonzero(tables[0]["dist"] == "A1")
    parts = []
    for m, one in enumerate(tables):
        coded = sex.copy()
        coded[alone] = 1
        if m:
            coded[alone[:4]] = 2  # imputed: in the first table nobody of A1 is in group 2
        parts.append(one.assign(sex=coded))
    found = direct(pd.concat(parts), indicators="income", imputation_field="imputation", group_field="sex")
    table = found.table.set_index("area")
    assert np.isnan(table.loc["A1", "income_2"])
    assert table.loc["A1", "flag_income_2"] == "no estimate in some tables"
    assert any("in some completed tables only" in text for text in found.warnings)
    assert 3.0 < table.loc["A1", "n_income_2"] < 4.0
    assert np.isfinite(table.loc["A2", "income_2"])


def test_no_variance_within_stays_without_a_variance(tables):
    alike = [one.assign(smokes=np.where(one["dist"] == "A1", m % 2, one["smokes"])) for m, one in enumerate(tables)]
    found = direct(pd.concat(alike), imputation_field="imputation").table.set_index("area")
    assert np.isnan(found.loc["A1", "variance_smoker"])
    assert found.loc["A1", "flag_smoker"] == "zero variance"
    assert np.isnan(found.loc["A1", ["fmi_smoker", "covariance_income_smoker"]].astype(float)).all()


def test_quantiles_and_replicates(tables):
    rng = np.random.default_rng(9)
    weights = tables[0]["w"].to_numpy()[:, None] * rng.exponential(size=(len(tables[0]), 20))
    parts = [
        one.assign(**{f"rep{r}": weights[:, r] for r in range(20)}).drop(columns=["region", "village"])
        for one in tables
    ]
    more = {"indicators": "income = median(income)", "strata": (), "psu": (), "replicate_weights": "rep*"}
    singles = [direct(one, **more).table for one in parts]
    found = direct(pd.concat(parts), imputation_field="imputation", **more).table
    wanted = combine([one["income"] for one in singles], [one["variance_income"] for one in singles], 19)
    np.testing.assert_allclose(found["variance_income"], wanted.variance, rtol=1e-12)
    linear = direct(pd.concat(tables), imputation_field="imputation", indicators="income = median(income)").table
    t = (linear["upper_income"] - linear["income"]) / linear["se_income"]
    assert (t > 1.95).all()


def test_mistakes_are_named(tables):
    stacked = pd.concat(tables)
    with pytest.raises(TableProblem, match="a single completed table"):
        direct(tables[0], imputation_field="imputation")
    with pytest.raises(TableProblem, match=r"have 359 to 360 rows"):
        direct(stacked.iloc[1:], imputation_field="imputation")
    with pytest.raises(TableProblem, match=r"1 rows have no value in 'imputation'.*rows 3"):
        direct(stacked.assign(imputation=stacked["imputation"].astype(float).mask(np.arange(2160) == 2)),
               imputation_field="imputation")  # fmt: skip
    shuffled = pd.concat([tables[0], tables[1].iloc[::-1]])
    with pytest.raises(TableProblem, match=r"'dist' of .* respondents differs .* one in place 2"):
        direct(shuffled, imputation_field="imputation")
    heavier = pd.concat([tables[0], tables[1].assign(w=tables[1]["w"] + (np.arange(360) == 4))])
    with pytest.raises(TableProblem, match=r"'w' of 1 respondents differs.*respondents 5"):
        direct(heavier, imputation_field="imputation")
    varies = (stacked.groupby(level=0)["income"].transform("nunique") > 1).to_numpy()
    original = stacked.assign(income=stacked["income"].mask(varies & (stacked["imputation"] == 0)))
    with pytest.raises(TableProblem, match="It is the survey before it was imputed"):
        direct(original, imputation_field="imputation")
    with pytest.raises(TableProblem, match="imputed_no"):
        direct(stacked, imputation_field="imputed_no")
    with pytest.raises(JobProblem, match="report says nothing without imputation_field"):
        direct(tables[0], report="missing.html")
