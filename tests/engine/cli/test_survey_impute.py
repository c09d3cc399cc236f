"""Imputation gives the same from Python, from the command line and from a job file; mistakes have exit codes."""

import json

import numpy as np
import pandas as pd
import pytest
import smallarea as package


@pytest.fixture
def survey(tmp_path):
    """Respondents of three areas; a tenth of the incomes and hours is missing."""
    rng = np.random.default_rng(3)
    n = 90
    works = rng.integers(0, 2, n)
    frame = pd.DataFrame(
        {
            "code": [f"{k:03d}" for k in rng.integers(0, 3, n)],
            "w": rng.uniform(5.0, 15.0, n).round(2),
            "stratum": rng.choice(["north", "south"], n),
            "age": rng.integers(18, 80, n),
            "income": rng.normal(100.0, 20.0, n).round(3),
            "works": works,
            "hours": np.where(works == 1, rng.normal(38.0, 5.0, n).round(1), np.nan),
        }
    )
    frame.loc[rng.uniform(size=n) < 0.1, "income"] = np.nan
    frame.loc[(rng.uniform(size=n) < 0.2) & (works == 1), "hours"] = 99.0
    frame.to_csv(tmp_path / "survey.csv", index=False)
    return tmp_path / "survey.csv"


def words(table, *more):
    return ["survey", "impute", "--table", table, "--variable", "income", "--variable", "works", "--variable", "hours",
            "--refused", "hours=99", "--skip", "hours asked if works = 1", "--range", "income=0..",
            "--kind", "hours=continuous", "--area-field", "code", "--covariates", "age", "--weight", "w",
            "--stratum", "stratum", "--imputations", 2, "--method", "hotdeck", *more]  # fmt: skip


def test_three_ways_one_result(smallarea, survey, tmp_path):
    call = words(survey, "--delta", "income=0.25")
    done, events = smallarea(*call, "--output", tmp_path / "command.csv", "--single", tmp_path / "one.csv",
                             "--report", tmp_path / "report.html", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    summary = events[-1]["summary"]
    assert (summary["n_respondents"], summary["n_imputations"], summary["method"]) == (90, 2, "hotdeck")
    assert set(events[-1]["outputs"]) == {"output", "single", "report"}
    job = tmp_path / "job.json"
    smallarea(*call, "--output", tmp_path / "job.csv", "--save-job", job)
    parameters = json.loads(job.read_text())["parameters"]
    assert parameters["refused"] == {"hours": "99"}
    assert parameters["skips"] == ["hours asked if works = 1"]
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()
    result = package.impute(
        table=survey, variables=["income", "works", "hours"], refused={"hours": "99"}, ranges={"income": "0.."},
        skips="hours asked if works = 1", kinds={"hours": "continuous"}, area_field="code", covariates="age",
        weight="w", strata="stratum", imputations=2, method="hotdeck", deltas={"income": 0.25},
    )  # fmt: skip
    again = pd.read_csv(tmp_path / "command.csv", dtype={"code": str})
    pd.testing.assert_frame_equal(again, result.table, check_dtype=False, rtol=1e-12)


def test_a_number_in_a_job_is_a_code(smallarea, survey, tmp_path):
    parameters = {"table": str(survey), "variables": ["income", "hours"], "refused": {"hours": 99}, "method": "hotdeck",
                  "imputations": 2, "output": str(tmp_path / "out.csv")}  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps({"version": 1, "task": "impute", "parameters": parameters}))
    done, _ = smallarea("run", tmp_path / "job.json")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--range", "works=2..3"], 11, "outside its range"),
        (["--skip", "income asked if hours > 1", "--skip", "works asked if income > 0"], 2, "in a circle"),
        (["--variable", "nothing"], 11, "nothing"),
        (["--output", "out.xlsx"], 17, "out.xlsx"),
        (["--method", "magic"], 2, "magic"),
    ],
)
def test_mistakes_have_exit_codes(smallarea, survey, tmp_path, more, code, said):
    done, _ = smallarea(*words(survey), "--output", tmp_path / "out.csv", *more)
    assert done.exit_code == code, done.output
    assert said in done.output
    assert not (tmp_path / "out.csv").exists()
