"""From a survey's respondents to the input of a fit: designs, known populations, replicates, calibration, groups."""

import fnmatch
import sqlite3
from contextlib import closing

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import smallarea
from dense_design import hajek_influence, variance
from smallarea.errors import TableProblem
from smallarea.jobs.summary import summarise

AREAS = [f"A{i:03d}" for i in range(12)]


@pytest.fixture
def survey():
    """Respondents of 12 areas in 3 strata of 8 villages each; area A011 has nobody, some have no area."""
    rng = np.random.default_rng(5)
    n = 600
    stratum = rng.integers(0, 3, n)
    village = rng.integers(0, 8, n)
    area = (stratum * 8 + village + rng.integers(0, 2, n)) % 11
    level = 1000.0 + 40.0 * area + 30.0 * village
    income = level + rng.gamma(4.0, 80.0, n)
    frame = pd.DataFrame(
        {
            "dist": [AREAS[a] for a in area],
            "w": np.round(rng.uniform(5.0, 25.0, n), 3),
            "region": [f"r{s}" for s in stratum],
            "village": [f"v{s}-{v}" for s, v in zip(stratum, village, strict=True)],
            "income": np.round(income, 2),
            "rent": np.round(0.3 * income + rng.normal(0.0, 30.0, n), 2),
            "smokes": rng.integers(0, 2, n),
            "sex": rng.integers(1, 3, n),
        }
    )
    frame.loc[rng.choice(n, 15, replace=False), "dist"] = None
    frame.loc[rng.choice(n, 10, replace=False), "rent"] = np.nan
    return frame


def direct(table, indicators="income", **more):
    call = {"table": table, "area_field": "dist", "indicators": indicators, "weight": "w", **more}
    return smallarea.direct_estimates(**call)


def by_area(result):
    return result.table.set_index("area")


def inside(survey, area):
    return np.asarray(survey["dist"] == area)


def test_every_column_against_one_area_at_a_time(survey):
    result = direct(survey, ["income", "smoker = proportion(smokes = 1)"], strata="region", psu="village")
    table = by_area(result)
    w, y = survey["w"].to_numpy(), survey[["income", "smokes"]].to_numpy(float)
    stages = [(survey["region"].tolist(), survey["village"].tolist(), None)]
    for area in ("A000", "A007"):
        here = inside(survey, area)
        z = np.column_stack([hajek_influence(y[:, k], w, here) for k in range(2)])
        wanted = variance(z, stages)
        row = table.loc[area]
        assert row["income"] == pytest.approx(np.average(y[here, 0], weights=w[here]), rel=1e-12)
        assert row["variance_income"] == pytest.approx(wanted[0, 0], rel=1e-9)
        assert row["variance_smoker"] == pytest.approx(wanted[1, 1], rel=1e-9)
        assert row["covariance_income_smoker"] == pytest.approx(wanted[0, 1], rel=1e-9)
        assert row["se_income"] == pytest.approx(np.sqrt(wanted[0, 0]))
        assert row["cv_income"] == pytest.approx(row["se_income"] / row["income"])
        assert row["n_income"] == here.sum()
        assert row["n_psu_income"] == survey["village"][here].nunique()
        assert row["df_income"] == survey["village"][here].nunique() - survey["region"][here].nunique()
        assert row["population_income"] == pytest.approx(w[here].sum())
        n, total = here.sum(), w[here].sum()
        spread = n / (n - 1) * np.average((y[here, 0] - row["income"]) ** 2, weights=w[here])
        assert row["deff_income"] == pytest.approx(wanted[0, 0] / (spread * (1 - n / total) / n), rel=1e-9)
        assert row["n_eff_income"] == pytest.approx(n / row["deff_income"])
        assert row["lower_income"] < row["income"] < row["upper_income"]


def test_the_whole_design_counts_not_the_rows_of_an_area(survey):
    whole = by_area(direct(survey, strata="region", psu="village")).loc["A003", "variance_income"]
    part = survey[survey["dist"] == "A003"]
    alone = direct(part, strata="region", psu="village", lonely_psu="adjust").table["variance_income"][0]
    assert whole != pytest.approx(alone, rel=1e-3)
    absent = survey.assign(dist=survey["dist"].where(survey["dist"] == "A003"))
    assert direct(absent, strata="region", psu="village").table["variance_income"][0] == pytest.approx(whole, rel=1e-12)


def test_from_files_to_a_fit(survey, make_map, tmp_path):
    areas = make_map(3, 4)
    survey.to_csv(tmp_path / "survey.csv", index=False)
    survey.to_stata(tmp_path / "survey.dta", write_index=False, version=118)
    call = {
        "areas": areas, "id_field": "code", "area_field": "dist", "weight": "w", "strata": "region", "psu": "village",
        "indicators": ["income", "rent"], "min_df": 4,
    }  # fmt: skip
    result = smallarea.direct_estimates(
        **call, table=tmp_path / "survey.csv", output=tmp_path / "direct.gpkg", csv=tmp_path / "direct.csv",
        excel=tmp_path / "direct.xlsx",
    )  # fmt: skip
    stata = smallarea.direct_estimates(**call, table=tmp_path / "survey.dta")
    pd.testing.assert_frame_equal(stata.table, result.table, rtol=1e-12)
    summary = summarise("direct_estimates", result)
    assert (summary["n_areas"], summary["n_sampled"], summary["n_usable"]) == (12, 11, 11)
    assert (summary["n_strata"], summary["n_psu"], summary["df"]) == (3, 24, 21)
    layer = gpd.read_file(tmp_path / "direct.gpkg", layer="direct_estimates")
    assert {"code", "x1", "income", "variance_income", "covariance_income_rent"} <= set(layer.columns)
    model = {"covariates": ["x1"], "random_effect": "iid", "method": "reml"}
    one = smallarea.fit(tmp_path / "direct.gpkg", id_field="code", direct="income", variance="variance_income", **model)
    table = smallarea.fit(
        areas, id_field="code", table=tmp_path / "direct.csv", table_id_field="area", direct="income",
        variance="variance_income", **model,
    )  # fmt: skip
    assert one.estimates["estimate"].notna().all()
    np.testing.assert_allclose(one.estimates["estimate"], table.estimates["estimate"], rtol=1e-9)
    pair = {"direct": ["income", "rent"], "variance": ["variance_income", "variance_rent"]}
    both = smallarea.fit(
        tmp_path / "direct.gpkg", id_field="code", **pair, covariance=["covariance_income_rent"], **model
    )
    apart = smallarea.fit(tmp_path / "direct.gpkg", id_field="code", **pair, **model)
    assert both.estimates["estimate"].notna().all()
    assert not np.allclose(both.estimates["estimate"], apart.estimates["estimate"], rtol=1e-6)
    sheets = pd.read_excel(tmp_path / "direct.xlsx", sheet_name=None)
    assert set(sheets) == {"Direct estimates", "Covariances", "Columns read", "Settings"}
    assert len(sheets["Direct estimates"]) == 24


def test_an_area_without_a_variance_is_not_sampled_for_a_model(survey, make_map, tmp_path):
    alike = survey["dist"] == "A003"
    frame = survey.assign(income=survey["income"].where(~alike, 900.0))
    direct(frame, ["income", "rent"], areas=make_map(3, 4), id_field="code", output=tmp_path / "direct.gpkg")
    fitted = smallarea.fit(
        tmp_path / "direct.gpkg", id_field="code", direct=["income", "rent"],
        variance=["variance_income", "variance_rent"], covariance=["covariance_income_rent"], random_effect="iid",
        method="reml",
    )  # fmt: skip
    rows = fitted.estimates.set_index(["area", "response"])
    assert not rows.loc[("A003", "income"), "sampled"]
    assert rows.loc[("A003", "rent"), "sampled"]
    assert rows["estimate"].notna().all()
    assert any("'A003'" in one for one in fitted.warnings)


def test_covariances_of_three_indicators_are_a_covariance_matrix(survey):
    result = direct(survey, ["income", "rent", "proportion(smokes)"], strata="region", psu="village")
    matrices = result.estimates.covariances
    assert matrices.shape == (11, 3, 3)
    np.testing.assert_array_equal(matrices, matrices.transpose(0, 2, 1))
    scaled = matrices / np.sqrt(np.einsum("daa->da", matrices)[:, :, None] * np.einsum("daa->da", matrices)[:, None])
    assert np.linalg.eigvalsh(scaled).min() > -1e-12


def test_groups_are_domains_of_their_own(survey):
    result = by_area(direct(survey, group_field="sex", strata="region", psu="village"))
    for sex in (1, 2):
        alone = survey.assign(dist=survey["dist"].where(survey["sex"] == sex))
        wanted = by_area(direct(alone, strata="region", psu="village"))
        np.testing.assert_allclose(result[f"income_{sex}"], wanted["income"], rtol=1e-12)
        np.testing.assert_allclose(result[f"variance_income_{sex}"], wanted["variance_income"], rtol=1e-9)
    assert "covariance_income_1_income_2" in result


class TestVariantsOfSae:
    """The four direct estimators of R's sae::direct, from its documentation."""

    @pytest.fixture
    def sizes(self, survey, make_map):
        areas = make_map(3, 4)
        areas["people"] = 3000.0 + 10.0 * np.arange(12)
        return areas

    def rows(self, survey, area):
        here = inside(survey, area)
        return survey["w"].to_numpy()[here], survey["income"].to_numpy()[here]

    def test_without_replacement_with_weights(self, survey, sizes):
        result = by_area(
            direct(survey, areas=sizes, id_field="code", population_field="people", variance_method="poisson")
        )
        for k in (0, 5, 10):
            w, y = self.rows(survey, AREAS[k])
            size = 3000.0 + 10.0 * k
            assert result.loc[AREAS[k], "income"] == pytest.approx((w * y).sum() / size, rel=1e-12)
            wanted = (w * (w - 1.0) * y**2).sum() / size**2
            assert result.loc[AREAS[k], "variance_income"] == pytest.approx(wanted, rel=1e-10)

    def test_without_replacement_without_weights(self, survey, sizes):
        size = sizes.set_index("code")["people"]
        given = survey.dropna(subset="dist").assign(N=lambda f: f["dist"].map(size))
        result = by_area(direct(given, weight=None, strata="dist", fpc="N"))
        for area in ("A000", "A005"):
            y = self.rows(survey, area)[1]
            wanted = (1.0 - len(y) / size[area]) * y.var(ddof=1) / len(y)
            assert result.loc[area, "income"] == pytest.approx(y.mean(), rel=1e-12)
            assert result.loc[area, "variance_income"] == pytest.approx(wanted, rel=1e-10)

    def test_with_replacement_with_weights(self, survey, sizes):
        given = survey.dropna(subset="dist")
        result = by_area(direct(given, areas=sizes, id_field="code", population_field="people", strata="dist"))
        for k in (0, 5):
            w, y = self.rows(survey, AREAS[k])
            size, n = 3000.0 + 10.0 * k, len(w)
            wanted = n / (n - 1.0) * ((w * y - (w * y).mean()) ** 2).sum() / size**2
            assert result.loc[AREAS[k], "variance_income"] == pytest.approx(wanted, rel=1e-10)

    def test_with_replacement_without_weights(self, survey):
        result = by_area(direct(survey.dropna(subset="dist"), weight=None, strata="dist"))
        for area in ("A000", "A005"):
            y = self.rows(survey, area)[1]
            assert result.loc[area, "variance_income"] == pytest.approx(y.var(ddof=1) / len(y), rel=1e-10)


def test_known_sizes_may_be_a_field_of_the_survey(survey):
    given = survey.dropna(subset="dist").assign(N=lambda f: 2000.0 + f["dist"].str[1:].astype(int))
    result = by_area(direct(given, population_field="N"))
    here = given["dist"] == "A004"
    assert result.loc["A004", "income"] == pytest.approx((given["w"] * given["income"])[here].sum() / 2004.0, rel=1e-12)


def test_missing_values_of_horvitz_thompson_estimates_are_said(survey):
    given = survey.dropna(subset="dist").assign(N=3000.0)
    (warning, *_) = direct(given, ["rent", "total(rent)"], population_field="N").warnings
    missing = int(given["rent"].isna().sum())
    assert f"'rent' ({missing}), 'total_rent' ({missing})" in warning
    assert "count as zero" in warning
    assert not any("count as zero" in one for one in direct(given, "rent").warnings)


def with_replicates(survey, count=80, seed=2, lowest=0.3):
    rng = np.random.default_rng(seed)
    factors = rng.uniform(lowest, 1.7, size=(len(survey), count))
    columns = {f"w{r + 1}": survey["w"].to_numpy() * factors[:, r] for r in range(count)}
    return pd.concat([survey, pd.DataFrame(columns, index=survey.index)], axis=1)


def means(frame, area, weights):
    here = inside(frame, area) & frame["rent"].notna().to_numpy()
    return np.average(frame["rent"][here], weights=weights[here])


def test_successive_differences_as_of_the_american_community_survey(survey):
    frame = with_replicates(survey)
    # A few replicate weights of that survey are negative, and count.
    frame.loc[frame.index[:40], "w7"] *= -1.0
    result = direct(frame, "rent", replicate_weights="w*", replicate_method="sdr", strata="region", psu="village")
    assert summarise("direct_estimates", result)["n_replicates"] == 80
    for area in ("A001", "A009"):
        full = means(frame, area, frame["w"].to_numpy())
        replicates = [means(frame, area, frame[f"w{r + 1}"].to_numpy()) for r in range(80)]
        wanted = 4.0 / 80.0 * ((np.array(replicates) - full) ** 2).sum()
        assert by_area(result).loc[area, "rent"] == pytest.approx(full, rel=1e-12)
        assert by_area(result).loc[area, "variance_rent"] == pytest.approx(wanted, rel=1e-10)


def test_a_pattern_never_takes_the_sampling_weight(survey):
    frame = with_replicates(survey, 6)
    listed = [name for name in frame.columns if fnmatch.fnmatchcase(name, "w?")]
    by_pattern = direct(frame, "rent", replicate_weights="w*", replicate_method="jk1")
    by_list = direct(frame, "rent", replicate_weights=listed, replicate_method="jk1")
    assert len(listed) == 6
    pd.testing.assert_frame_equal(by_pattern.table, by_list.table)


def test_replicates_that_are_factors(survey):
    frame = with_replicates(survey, 10)
    factors = frame.assign(**{f"w{r + 1}": frame[f"w{r + 1}"] / frame["w"] for r in range(10)})
    one = direct(frame, replicate_weights="w*", replicate_method="brr")
    other = direct(factors, replicate_weights="w*", replicate_method="brr", replicate_combined=False)
    pd.testing.assert_frame_equal(one.table, other.table, rtol=1e-9)


def test_linearisation_beside_replicates_has_the_degrees_of_freedom_of_the_design(survey):
    frame = with_replicates(survey, 6)
    design = {"strata": "region", "psu": "village"}
    plain = direct(survey, **design)
    asked = direct(frame, **design, replicate_weights="w*", variance_method="linearisation")
    pd.testing.assert_frame_equal(plain.table, asked.table)


def test_calibrated_weights_end_to_end(survey, tmp_path):
    totals = pd.DataFrame({"region": ["r0", "r1", "r2"], "total": [3000.0, 4000.0, 2500.0]})
    totals.to_csv(tmp_path / "totals.csv", index=False)
    smallarea.calibrate_weights(
        survey, weight="w", totals=tmp_path / "totals.csv", method="poststratify", csv=tmp_path / "calibrated.csv"
    )
    call = {"area_field": "dist", "indicators": ["income", "share = proportion(region = r1)"], "weight": "weight"}
    given = {"design_weight": "weight_design", "totals": tmp_path / "totals.csv", "calibration_method": "poststratify"}
    result = smallarea.direct_estimates(table=tmp_path / "calibrated.csv", **call, **given)
    plain = smallarea.direct_estimates(table=tmp_path / "calibrated.csv", **call)
    np.testing.assert_allclose(result.table["income"], plain.table["income"], rtol=1e-12)
    # Residuals from the means of regions over the whole sample, by hand.
    frame = pd.read_csv(tmp_path / "calibrated.csv")
    w, base = frame["weight"].to_numpy(), frame["weight_design"].to_numpy()
    z = hajek_influence(frame["income"].to_numpy(), w, inside(frame, "A002"))
    g = w / base
    fitted = np.zeros(len(z))
    for region in ("r0", "r1", "r2"):
        here = (frame["region"] == region).to_numpy()
        fitted[here] = w[here] * (z[here] / g[here]).sum() / base[here].sum()
    e = z - fitted
    wanted = len(e) / (len(e) - 1.0) * ((e - e.mean()) ** 2).sum()
    assert by_area(result).loc["A002", "variance_income"] == pytest.approx(wanted, rel=1e-9)
    everybody = smallarea.direct_estimates(
        table=frame.assign(dist="all"), **{**call, "indicators": "proportion(region = r1)"}, **given
    )
    assert everybody.table["flag_region_r1"].tolist() == ["zero variance"]


def test_categories_of_totals_keep_their_zeros_in_front(survey, tmp_path):
    numbered = survey.assign(region=survey["region"].str.replace("r", "0"))
    totals = pd.DataFrame({"region": ["00", "01", "02"], "total": [3000.0, 4000.0, 2500.0]})
    totals.to_csv(tmp_path / "totals.csv", index=False)
    smallarea.calibrate_weights(
        numbered, weight="w", totals=tmp_path / "totals.csv", method="poststratify", csv=tmp_path / "calibrated.csv"
    )
    result = smallarea.direct_estimates(
        table=tmp_path / "calibrated.csv", area_field="dist", indicators="income", weight="weight",
        design_weight="weight_design", totals=tmp_path / "totals.csv", calibration_method="poststratify",
    )  # fmt: skip
    assert result.table["variance_income"].notna().all()


def test_value_labels_say_what_counts(survey, tmp_path):
    labels = {"sex": {1: "male", 2: "female"}}
    survey.to_stata(tmp_path / "survey.dta", write_index=False, version=118, value_labels=labels)
    by_label = direct(tmp_path / "survey.dta", "women = proportion(sex = female)")
    by_code = direct(survey, "women = proportion(sex = 2)")
    pd.testing.assert_frame_equal(by_label.table, by_code.table, rtol=1e-12)


def test_relative_weights_are_said(survey):
    relative = survey.assign(w=survey["w"] / survey["w"].mean())
    assert any("with_replacement" in one for one in direct(relative).warnings)
    assert not any("with_replacement" in one for one in direct(survey).warnings)
    quiet = direct(relative, deff_reference="with_replacement")
    assert not any("relative weights" in one for one in quiet.warnings)
    assert quiet.table["n_eff_income"].notna().all()


def test_what_no_model_may_use_is_empty_and_said():
    frame = pd.DataFrame(
        {
            "dist": ["one", "same", "same", "same", "unit", "unit", "fine", "fine", "fine", None],
            "w": 10.0,
            "psu": ["a", "a", "b", "c", "d", "d", "a", "b", "c", "d"],
            "y": [1.0, 5.0, 5.0, 5.0, 1.0, 2.0, 1.0, 3.0, 7.0, 0.0],
        }
    )
    result = direct(frame, ["y", "total(y)"], psu="psu", min_df=0)
    table = by_area(result)
    flags = table["flag_y"].to_dict()
    assert flags == {"one": "one respondent", "same": "zero variance", "unit": "one PSU", "fine": ""}
    assert table["variance_y"].notna().to_dict() == {"one": False, "same": False, "unit": False, "fine": True}
    # A total of one respondent has a variance, on which nothing but the weight has a say.
    assert table.loc["one", "flag_total_y"] == "one respondent"
    assert np.isnan(table.loc["one", "variance_total_y"])
    assert table.loc["unit", "variance_total_y"] > 0.0
    assert table[["covariance_y_total_y"]].notna()["covariance_y_total_y"].to_dict() == {
        "one": False, "same": False, "unit": False, "fine": True
    }  # fmt: skip
    said = " ".join(result.warnings)
    for words in ("a single respondent: 'one'", "everybody was asked): 'same'", "unit: 'unit'"):
        assert words in said


def test_a_million_copies_of_a_thousand_rows(survey):
    many = pd.concat([survey.head(500)] * 2000, ignore_index=True)
    result = direct(many, strata="region", psu="village")
    assert any("the same as an earlier row" in one for one in result.warnings)


def test_a_ratio_without_a_denominator_is_said(survey):
    result = direct(survey.assign(cars=np.where(survey["dist"] == "A002", 0.0, 1.0)), "ratio(rent, cars)")
    row = by_area(result).loc["A002"]
    assert np.isnan(row["rent_per_cars"])
    assert (row["flag_rent_per_cars"], by_area(result).loc["A003", "flag_rent_per_cars"]) == ("no estimate", "")
    assert any("denominator is zero: 'A002'" in one for one in result.warnings)


def test_an_indicator_without_any_value_is_an_error(survey):
    with pytest.raises(TableProblem, match="No respondent of any area has a value for 'rent'"):
        direct(survey.assign(rent=np.nan), ["income", "rent"])
    only = survey.assign(rent=survey["rent"].where(survey["sex"] == 1))
    assert by_area(direct(only, "rent", group_field="sex"))["flag_rent_2"].eq("no respondents").all()


def test_yes_and_no_are_also_one_and_zero(survey):
    yes_no = survey.assign(smokes=survey["smokes"] == 1)
    wanted = direct(survey, "smoker = proportion(smokes = 1)").table
    for said in ("smokes", "smokes = 1", "smokes = True"):
        pd.testing.assert_frame_equal(direct(yes_no, f"smoker = proportion({said})").table, wanted)


def styles_of(path):
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT styleName, useAsDefault, description, styleQML FROM layer_styles ORDER BY id")
        return {name: (default, description, qml) for name, default, description, qml in rows}


def test_the_layer_brings_its_maps(survey, make_map, tmp_path):
    alike = survey["dist"] == "A006"
    frame = survey.assign(smokes=survey["smokes"].where(~alike, 0), change=survey["income"] - survey["income"].mean())
    direct(
        frame, ["smoker = proportion(smokes)", "income", "change"], areas=make_map(3, 4), id_field="code",
        output=tmp_path / "direct.gpkg",
    )  # fmt: skip
    found = styles_of(tmp_path / "direct.gpkg")
    assert list(found) == ["Direct smoker", "Direct income", "Direct change", "CV smoker", "CV income", "SE change"]
    assert [default for default, _, _ in found.values()] == [1, 0, 0, 0, 0, 0]
    assert found["CV income"][1] == "income: coefficient of variation of the direct estimates"
    assert "hatched: no variance" in found["Direct smoker"][2]
    assert "hatched" not in found["Direct income"][2]
    assert "se_change" in found["SE change"][2]


def test_maps_of_nothing(make_map, tmp_path):
    frame = pd.DataFrame({"dist": ["A000", "A001"], "w": [2.0, 3.0], "y": [1.0, 2.0]})
    direct(frame, "y", areas=make_map(3, 4), id_field="code", output=tmp_path / "direct.gpkg")
    assert list(styles_of(tmp_path / "direct.gpkg")) == ["Direct y", "CV y"]
