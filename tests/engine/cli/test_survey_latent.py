"""Latent indicators give the same from Python, from the command line and from a job file, and refuse bad input."""

import inspect
import json

import numpy as np
import pandas as pd
import pytest
import smallarea as package
from smallarea.errors import JobProblem, ModelProblem, TableProblem

MODEL = "hardship =~ heating + meals + arrears + holiday\nhardship ~ age"


@pytest.fixture(scope="module")
def survey():
    """600 respondents of 12 districts whose hardship differs; a tenth of the answers are missing."""
    rng = np.random.default_rng(4)
    district = np.repeat(np.arange(12), 50)
    age = rng.integers(18, 80, 600)
    hardship = np.linspace(-1, 1, 12)[district] + 0.02 * (age - 45) + rng.standard_normal(600)
    items = hardship[:, None] * [1.0, 0.8, 1.2, 0.6] + rng.standard_normal((600, 4)) + 3.0
    items[rng.random(items.shape) < 0.1] = np.nan
    frame = pd.DataFrame(items.round(2), columns=["heating", "meals", "arrears", "holiday"])
    frame.insert(0, "district", [f"0{d}" if d < 10 else str(d) for d in district])
    frame = frame.assign(age=age, wt=rng.uniform(1, 3, 600), stratum=district % 3, village=np.arange(600) // 5)
    return frame.assign(remark="none")


def run(survey, **others):
    return package.latent_indicator(survey, **{"model": MODEL, "area_field": "district", **others})


def test_three_ways(smallarea, survey, tmp_path):
    survey.to_csv(tmp_path / "survey.csv", index=False)
    files = {"--output": "pv.csv", "--scores": "scores.csv", "--csv": "parameters.csv", "--excel": "model.xlsx"}
    words = [part for option, name in files.items() for part in (option, tmp_path / name)]
    done, events = smallarea(
        "survey", "latent", "--table", tmp_path / "survey.csv", "--model", MODEL.replace("\n", "; "),
        "--area-field", "district", "--weight", "wt", "--stratum", "stratum", "--psu", "village",
        "--imputations", "3", *words, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    design = {"weight": "wt", "strata": ["stratum"], "psu": ["village"], "imputations": 3}
    result = run(survey, **design)
    summary = events[-1]["summary"]
    assert summary["chi2"] == pytest.approx(result.fit.chi2)
    written = pd.read_csv(tmp_path / "pv.csv", dtype={"district": str})
    pd.testing.assert_frame_equal(written, result.plausible_values, check_dtype=False)
    scores = pd.read_csv(tmp_path / "scores.csv", dtype={"district": str})
    pd.testing.assert_frame_equal(scores, result.scores, check_dtype=False)
    assert list(written["imputation"].unique()) == [1, 2, 3]
    assert (tmp_path / "model.xlsx").stat().st_size > 5000
    (tmp_path / "model.txt").write_text(MODEL, encoding="utf-8")
    job = {
        "version": 1, "task": "latent_indicator",
        "parameters": {"table": "survey.csv", "model_file": "model.txt", "area_field": "district", **design,
                       "csv": "again.csv"},
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    done, _ = smallarea("run", tmp_path / "job.json")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "parameters.csv").read_bytes()


def test_what_the_result_holds(survey):
    result = run(survey, imputations=2)
    table = result.estimates.parameters.set_index(["left", "operator", "right"])
    assert table.loc[("hardship", "~", "age"), "estimate"] == pytest.approx(0.02, abs=0.012)
    effects = result.estimates.effects
    assert list(effects["kind"]) == ["direct", "total"]
    assert 0.1 < result.areas["share_between"].iloc[0] < 0.5
    assert np.isfinite(result.scores[["score_hardship", "se_hardship"]].to_numpy()).all()
    means = result.scores.groupby("district")["score_hardship"].mean()
    assert np.corrcoef(means, np.arange(12))[0, 1] > 0.9
    same = run(survey, imputations=2)
    pd.testing.assert_frame_equal(same.plausible_values, result.plausible_values)
    assert not run(survey, imputations=2, seed=2).plausible_values["hardship"].equals(same.plausible_values["hardship"])


def test_scores_are_the_input_of_direct_estimates(survey):
    result = run(survey, weight="wt", imputations=2)
    direct = package.direct_estimates(
        table=result.scores, area_field="district", indicators="mean(score_hardship)", weight="wt"
    )
    assert direct.table["variance_score_hardship"].gt(0).all()


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model": None}, JobProblem, "one of them"),
        ({"model_file": "m.txt"}, JobProblem, "one of them"),
        ({"model": None, "model_file": "nowhere.txt"}, JobProblem, "cannot be read"),
        ({"model": "f =~ heating + meals + rent"}, TableProblem, "rent"),
        ({"model": "f =~ heating + meals + remark"}, TableProblem, "remark"),
        ({"model": "age =~ heating + meals + arrears"}, TableProblem, "'age' already"),
        ({"method": "guess"}, JobProblem, "no method 'guess'"),
        ({"loading_sd": 1.0}, JobProblem, "belong to the method bayes"),
        ({"method": "bayes", "psu": "village"}, JobProblem, "belong to the method ml"),
        ({"imputations": 1}, JobProblem, "2 or more"),
        ({"nest": True}, JobProblem, "nest"),
        ({"weight": "heating"}, TableProblem, "no weight"),
        ({"area_field": "nowhere"}, TableProblem, "nowhere"),
        ({"model": "f =~ heating + meals + arrears\nf ~~ 0*f"}, ModelProblem, ""),
    ],
)
def test_what_is_refused(survey, change, error, said):
    with pytest.raises(error) as raised:
        run(survey, **change)
    assert said in str(raised.value)


def test_warnings_and_notes(survey):
    coarse = survey.assign(heating=(survey["heating"] > 3).where(survey["heating"].notna()).astype(float))
    coarse.loc[0, ["heating", "meals", "arrears", "holiday", "age"]] = np.nan
    coarse.loc[1, "district"] = None
    result = run(coarse, imputations=2)
    assert any("'heating'" in text and "taken as numbers" in text for text in result.warnings)
    assert any("answered no item" in text for text in result.notes)
    assert any("have no area" in text for text in result.notes)
    assert np.isfinite(result.scores["score_hardship"]).all()
    assert any("No areas were named" in text for text in run(survey, area_field=None, imputations=2).notes)


def test_a_failed_run_leaves_nothing(survey, tmp_path):
    with pytest.raises(package.errors.SmallareaError):
        run(survey, model="f =~ heating + meals", output=tmp_path / "pv.csv")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(
    "imputation_field" not in inspect.signature(package.direct_estimates).parameters,
    reason="direct estimates do not take completed tables yet",
)
def test_plausible_values_are_the_input_of_direct_estimates(survey):
    """Intervals of areas' means know what the items do not say: they are wider than those of scores."""
    result = run(survey, weight="wt", imputations=10)
    asked = {"area_field": "district", "weight": "wt"}
    combined = package.direct_estimates(
        table=result.plausible_values, indicators="mean(hardship)", imputation_field="imputation", **asked
    ).table
    scores = package.direct_estimates(table=result.scores, indicators="mean(score_hardship)", **asked).table
    assert (combined["variance_hardship"] > scores["variance_score_hardship"]).mean() > 0.9
    np.testing.assert_allclose(combined["hardship"], scores["score_hardship"], atol=0.15)
