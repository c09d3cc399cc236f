"""Published estimates become the input of a fit: what is kept, what is emptied, and what is said about it."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import pytest
import smallarea
from smallarea.errors import JobProblem, OutputProblem, TableProblem, VarianceProblem
from smallarea.jobs.summary import summarise


@pytest.fixture
def acs_table():
    """One tract for each thing that can stand in place of a number."""
    return pd.DataFrame(
        {
            "GEOID": [f"0{k}" for k in range(10)],
            "med": ["52,000", "-", "N", "250,000+", "2,500-", "61,000", "48,000", "250001", "", "0"],
            "moe": ["1,645", "**", "N", "***", "***", "*****", "0", "-333333333", "", "329"],
        }
    )


def prepared(table, **more):
    call = {"table": table, "table_id_field": "GEOID", "estimate": "med", "error": "moe", "names": "income"}
    return smallarea.prepare_published(**{**call, **more})


def test_every_annotation_has_its_rule(acs_table):
    result = prepared(acs_table)
    table = result.table.set_index("area")
    assert list(result.table.columns) == ["area", "income", "variance_income", "se_income", "cv_income", "flag_income"]
    assert table["flag_income"].tolist() == [
        "", "no_sample", "suppressed", "top_coded", "bottom_coded", "controlled", "zero_variance", "top_coded",
        "missing", "zero_estimate",
    ]  # fmt: skip
    assert table["income"].dropna().to_dict() == {"00": 52000.0, "05": 61000.0, "06": 48000.0, "09": 0.0}
    assert table["variance_income"].dropna().to_dict() == pytest.approx({"00": 1e6, "09": 4e4})
    assert np.isnan(table.loc["09", "cv_income"])
    (warning,) = result.warnings
    for said in ("3 lie in an open interval", "1 are zero", "1 are controlled", "1 have an error of zero", "'05'"):
        assert said in warning
    assert "1.645 standard errors" in result.notes[0]
    summary = summarise("prepare_published", result)
    assert summary["n_areas"] == 10
    assert summary["n_usable"] == 2
    assert summary["flags"]["income top_coded"] == 2
    assert summary["n_flagged"] == 9


def test_policies_keep_or_leave_out(acs_table):
    kept = prepared(acs_table, coded_estimates="keep").table.set_index("area")
    assert kept.loc[["03", "04", "07"], "income"].tolist() == [250000.0, 2500.0, 250001.0]
    assert kept.loc[["03", "04", "07"], "variance_income"].isna().all()
    out = prepared(acs_table, zero_estimates="missing")
    assert out.table.set_index("area").loc["09", ["income", "variance_income"]].isna().all()
    assert "set to missing, which leaves out the lowest areas" in out.warnings[0]


def test_without_annotations_a_symbol_is_an_error(acs_table):
    with pytest.raises(TableProblem, match="not numbers"):
        prepared(acs_table, annotations="none")
    codes = pd.DataFrame({"GEOID": ["a"], "med": [-666666666.0], "moe": [-222222222.0]})
    with pytest.raises(VarianceProblem, match="negative in 1 areas"):
        prepared(codes, annotations="none")


def test_the_exact_factor_is_said(acs_table):
    result = prepared(acs_table, moe_factor="exact")
    assert result.table["variance_income"][0] == pytest.approx((1645 / 1.6448536269514722) ** 2, rel=1e-12)
    assert "1.644854 standard errors" in result.notes[0]
    assert result.summary["moe_factor"] == pytest.approx(1.6448536269514722)


def test_the_layer_is_what_a_fit_takes(make_map, tmp_path):
    counties = make_map(4, 5)
    table = pd.DataFrame({"code": counties["code"], "y": counties["y"], "moe": 1.645 * np.sqrt(counties["v"])})
    table.loc[3, "moe"] = np.nan
    out = tmp_path / "prepared.gpkg"
    smallarea.prepare_published(
        counties, id_field="code", table=table, estimate="y", error="moe", output=out, csv=tmp_path / "prepared.csv"
    )
    layer = gpd.read_file(out)
    assert pyogrio.list_layers(out)[:, 0].tolist() == ["published_estimates"]
    assert {"code", "x1", "x2", "y", "variance_y", "se_y", "cv_y", "flag_y"} <= set(layer.columns)
    model = {"direct": "y", "covariates": ["x1"], "random_effect": "iid", "method": "reml"}
    ours = smallarea.fit(out, id_field="code", variance="variance_y", **model)
    truth = smallarea.fit(
        counties.assign(v=counties["v"].mask(counties.index == 3)), id_field="code", variance="v", **model
    )
    assert np.allclose(ours.estimates["estimate"], truth.estimates["estimate"], rtol=1e-9)
    written = pd.read_csv(tmp_path / "prepared.csv")
    assert written.loc[3, "flag_y"] == "no_error"
    by_table = smallarea.fit(
        counties[["code", "x1", "geometry"]], id_field="code", table=tmp_path / "prepared.csv", table_id_field="area",
        variance="variance_y", **model,
    )  # fmt: skip
    assert np.allclose(by_table.estimates["estimate"], truth.estimates["estimate"], rtol=1e-9)


def test_a_transformed_scale_comes_with_its_caution():
    table = pd.DataFrame({"id": ["a", "b"], "p": [20.0, 0.0], "se": [4.0, 1.0], "k": [50, 40], "m": [30, 20]})
    call = {"table": table, "table_id_field": "id", "estimate": "p", "error": "se", "error_type": "standard_error",
            "scale": 100.0, "n": "k"}  # fmt: skip
    for name in ("logit", "arcsin"):
        result = smallarea.prepare_published(**call, transformation=name)
        columns = list(result.table.columns)
        assert columns[-3:] == [f"{name}_p", f"variance_{name}_p", f"se_{name}_p"]
        assert "n_eff_p" in columns
        assert result.table["n_p"].tolist() == [50, 40]
        assert result.table["n_eff_p"][0] == pytest.approx(100.0)
        assert result.table["flag_p"][1] == "zero_estimate; not_transformed"
        caution = result.notes[-1]
        assert f"'{name}_p' is on the scale" in caution
        assert f"transformation={name} instead" in caution
    sized = smallarea.prepare_published(**call, transformation="arcsin", n_eff="m")
    assert sized.table["variance_arcsin_p"].tolist() == pytest.approx([1 / 120, 1 / 80])
    assert sized.table["flag_p"][1] == "zero_estimate"


def test_preparing_and_letting_the_fit_transform_agree_on_the_transformed_scale(make_map):
    areas = make_map(5, 5)
    areas["y"] = np.exp(areas["y"] / 4)
    areas["v"] = areas["v"] * areas["y"] ** 2 / 40
    prepared = smallarea.prepare_published(
        areas, id_field="code", estimate="y", error="v", error_type="variance", transformation="log"
    )
    model = {"id_field": "code", "random_effect": "iid", "method": "reml", "covariates": ["x1"]}
    ours = smallarea.fit(prepared.layer(), direct="log_y", variance="variance_log_y", **model)
    fits = smallarea.fit(areas, direct="y", variance="v", transformation="log", back_transformation="naive", **model)
    assert np.allclose(np.exp(ours.estimates["estimate"]), fits.estimates["estimate"], rtol=1e-6)


def test_counts_need_no_error_and_zero_counts_are_welcome():
    table = pd.DataFrame({"id": list("abc"), "cases": [0, 4, 9], "births": [800, 1200, 0], "moe": [3.0, 3.0, 4.0]})
    table.loc[2, "cases"] = None
    call = {"table": table, "table_id_field": "id", "estimate": "cases", "denominator": "births",
            "transformation": "freeman_tukey"}  # fmt: skip
    result = smallarea.prepare_published(**call)
    assert list(result.table.columns) == [
        "area", "cases", "denominator_cases", "flag_cases",
        "freeman_tukey_cases", "variance_freeman_tukey_cases", "se_freeman_tukey_cases",
    ]  # fmt: skip
    assert result.table["variance_freeman_tukey_cases"].tolist()[:2] == pytest.approx([1000 / 800, 1000 / 1200])
    assert result.table["freeman_tukey_cases"][0] == pytest.approx(np.sqrt(1000 / 800))
    assert result.table["flag_cases"].tolist() == ["", "", "missing"]
    assert result.warnings == ()
    with_error = smallarea.prepare_published(**call, error="moe")
    assert with_error.table["flag_cases"].tolist()[0] == "zero_estimate; not_transformed"


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        ({"error": []}, JobProblem, "error"),
        ({"error": ["moe", "moe"]}, JobProblem, "names 2 fields, but there are 1"),
        ({"estimate": []}, JobProblem, "No field with estimates"),
        ({"upper": "moe"}, JobProblem, "confidence_limits"),
        ({"error_type": "confidence_limits"}, JobProblem, "upper limits"),
        ({"error_type": "guess"}, JobProblem, "error_type 'guess'"),
        ({"transformation": "freeman_tukey"}, JobProblem, "denominator"),
        ({"denominator": "moe"}, JobProblem, "freeman_tukey"),
        ({"names": "area"}, JobProblem, "two columns"),
        ({"estimate": ["med", "moe"], "error": ["moe", "med"], "names": ["x", "x"]}, JobProblem, "Two indicators"),
        ({"estimate": ["med", "moe"], "error": ["moe", "med"], "names": ["x", "se_X"]}, JobProblem, "two columns"),
        ({"moe_level": 1.0}, JobProblem, "between 0 and 1"),
        ({"scale": 0.0}, JobProblem, "positive"),
        ({"output": "x.gpkg"}, JobProblem, "no polygons"),
        ({"csv": "x.xlsx"}, OutputProblem, "must end in .csv"),
        ({"table_id_field": None}, JobProblem, "area ids"),
        ({"estimate": "income"}, TableProblem, "no field 'income'"),
        ({"n": "moe"}, TableProblem, "not numbers"),
    ],
)
def test_what_does_not_fit_is_refused(acs_table, change, kind, said):
    with pytest.raises(kind, match=said):
        prepared(acs_table, **change)


def test_nothing_is_written_when_the_run_fails(make_map, tmp_path):
    areas = make_map(2, 2)
    with pytest.raises(VarianceProblem):
        smallarea.prepare_published(
            areas.assign(v=-areas["v"]), id_field="code", estimate="y", error="v", output=tmp_path / "a.gpkg",
            csv=tmp_path / "a.csv",
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_california_tracts(shared):
    tracts = pyogrio.read_dataframe(shared("ca_tracts_2010_acs2018.gpkg"), read_geometry=False)
    result = smallarea.prepare_published(
        table=tracts, table_id_field="GEOID", estimate=["inc_est", "EP_POV"], error=["inc_moe", "MP_POV"],
        names=["income", "poverty"],
    )  # fmt: skip
    flags = result.summary["flags"]
    assert flags["income missing"] == (tracts["inc_flag"] == "missing").sum() == 78
    assert flags["income top_coded"] == (tracts["inc_flag"] == "topcoded").sum() == 19
    assert flags["income bottom_coded"] == (tracts["inc_flag"] == "bottomcoded").sum() == 1
    assert flags["poverty zero_estimate"] == ((tracts["EP_POV"] == 0) & (tracts["MP_POV"] > 0)).sum()
    assert result.table["variance_income"].notna().sum() == 7945
    known = tracts["inc_moe"].notna().to_numpy()
    assert np.allclose(result.table["se_income"][known], tracts["inc_moe"][known] / 1.645, rtol=1e-12)


def test_north_carolina_is_the_demos(shared):
    counties = gpd.read_file(shared("nc_sids2.gpkg"))
    result = smallarea.prepare_published(
        table=pd.DataFrame(counties.drop(columns="geometry")), table_id_field="FIPS", estimate="SID74",
        denominator="BIR74", transformation="freeman_tukey",
    )  # fmt: skip
    demo = np.sqrt(1000) * (
        np.sqrt(counties["SID74"] / counties["BIR74"]) + np.sqrt((counties["SID74"] + 1) / counties["BIR74"])
    )
    assert np.allclose(result.table["freeman_tukey_SID74"], demo, rtol=1e-12)
    assert np.allclose(result.table["variance_freeman_tukey_SID74"], 1000 / counties["BIR74"], rtol=1e-12)
