"""Direct estimates give the same from Python, from the command line and from a job file; mistakes have exit codes."""

import json

import numpy as np
import pandas as pd
import pytest
import smallarea as package


@pytest.fixture
def survey():
    """Respondents on the twelve squares: two strata of six units."""
    rng = np.random.default_rng(3)
    n = 360
    unit = rng.integers(0, 12, n)
    return pd.DataFrame(
        {
            "code": [f"{k:03d}" for k in (unit + rng.integers(0, 3, n)) % 12],
            "w": rng.uniform(5.0, 15.0, n).round(2),
            "stratum": np.where(unit < 6, "north", "south"),
            "psu": [f"u{k}" for k in unit],
            "y": rng.normal(100.0, 20.0, n).round(3),
            "z": rng.integers(0, 2, n),
        }
    )


@pytest.fixture
def survey_file(survey, tmp_path):
    survey.to_csv(tmp_path / "survey.csv", index=False)
    return tmp_path / "survey.csv"


def words(squares, table, *more):
    return ["survey", "direct", squares, "--id-field", "code", "--table", table, "--area-field", "code",
            "--weight", "w", "--stratum", "stratum", "--psu", "psu", "--indicator", "mean(y)",
            "--indicator", "poor = proportion(z = 1)", *more]  # fmt: skip


def test_three_ways_one_result(smallarea, squares, survey_file, tmp_path):
    said = words(squares, survey_file)
    files = ["--csv", tmp_path / "command.csv", "--output", tmp_path / "a.gpkg", "--excel", tmp_path / "a.xlsx"]
    done, events = smallarea(*said, *files, "--json")
    assert done.exit_code == 0, done.output
    summary = events[-1]["summary"]
    assert (summary["n_areas"], summary["n_sampled"], summary["n_strata"], summary["n_psu"]) == (13, 12, 2, 12)
    assert set(summary["responses"]) == {"y", "poor"}
    assert set(events[-1]["outputs"]) == {"csv", "output", "excel"}

    job = tmp_path / "job.json"
    smallarea(*said, "--csv", tmp_path / "job.csv", "--save-job", job)
    parameters = json.loads(job.read_text())["parameters"]
    assert parameters["indicators"] == ["mean(y)", "poor = proportion(z = 1)"]
    assert (parameters["strata"], parameters["psu"]) == (["stratum"], ["psu"])
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()

    result = package.direct_estimates(
        squares, id_field="code", table=survey_file, area_field="code", weight="w", strata="stratum", psu="psu",
        indicators=["mean(y)", "poor = proportion(z = 1)"],
    )  # fmt: skip
    result.table.to_csv(tmp_path / "python.csv", index=False)
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()


def test_what_is_written_is_the_input_of_a_fit(smallarea, squares, survey_file, tmp_path):
    done, _ = smallarea(*words(squares, survey_file, "--csv", tmp_path / "direct.csv"))
    assert done.exit_code == 0, done.output
    done, events = smallarea(
        "fit", squares, "--id-field", "code", "--table", tmp_path / "direct.csv", "--table-id-field", "area",
        "--direct", "y", "--direct", "poor", "--variance", "variance_y", "--variance", "variance_poor",
        "--covariance", "covariance_y_poor", "--random-effect", "iid", "--method", "reml", "--csv",
        tmp_path / "estimates.csv", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert events[-1]["summary"]["n_sampled"] == 12


def changed(name):
    """Return a function that spoils a survey."""

    def spoil(frame):
        frame = frame.copy()
        if name == "text":
            frame["y"] = frame["y"].astype(object)
            frame.loc[4, "y"] = "about 90"
        elif name == "negative":
            frame.loc[[2, 7], "w"] = -1.0
        elif name == "infinite":
            frame.loc[3, "w"] = np.inf
        elif name == "no weight":
            frame.loc[3, "w"] = np.nan
        elif name == "zero":
            frame.loc[frame["code"] == "004", "w"] = 0.0
        elif name == "all zero":
            frame["w"] = 0.0
        elif name == "split":
            frame.loc[frame.index[frame["psu"] == "u2"][0], "stratum"] = "south"
        elif name == "lonely":
            frame.loc[frame["psu"] == "u2", "stratum"] = "west"
        elif name == "no stratum":
            frame.loc[[5, 6], "stratum"] = None
        elif name == "elsewhere":
            frame.loc[frame["code"] == "004", "code"] = "404"
        elif name == "nowhere":
            frame["code"] = "X" + frame["code"]
        elif name == "no area":
            frame["code"] = None
        elif name == "empty":
            frame = frame.head(0)
        return frame

    return spoil


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("text", 11, ["'y'", "'about 90' (5)", "Correct them"]),
        ("negative", 11, ["negative", "3", "8"]),
        ("infinite", 11, ["'w' is infinite for '4'"]),
        ("no weight", 11, ["'w' in 1", "rows 4", "missing_design"]),
        ("zero", 11, ["zero in 1 areas: '004'"]),
        ("all zero", 11, ["zero"]),
        ("split", 11, ["1 sampling units occur in more than one stratum: 'u2'", "nest"]),
        ("lonely", 12, ["1 strata have a single sampling unit: 'west'", "lonely_psu"]),
        ("no stratum", 11, ["rows 6, 7", "'stratum' in 2", "missing_design"]),
        ("elsewhere", 11, ["1 areas of the survey are not on the map: '404'", "unmatched"]),
        ("nowhere", 11, ["No area of the survey is on the map", "survey match"]),
        ("no area", 11, ["'code' has no values"]),
        ("empty", 11, ["no rows"]),
    ],
)
def test_bad_surveys(smallarea, squares, survey, tmp_path, name, code, said):
    changed(name)(survey).to_csv(tmp_path / "bad.csv", index=False)
    before = set(tmp_path.iterdir())
    done, _ = smallarea(
        *words(squares, tmp_path / "bad.csv", "--csv", tmp_path / "o.csv", "--output", tmp_path / "o.gpkg")
    )
    assert done.exit_code == code, done.output
    text = " ".join(done.output.replace("│", " ").split())
    for words_ in said:
        assert words_ in text
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--weight", "weights"], 11, "no field 'weights'"),
        (["--stratum", "nothing"], 11, "no field 'nothing'"),
        (["--stratum", "psu"], 2, "1 stages of sampling units, but 2 of strata"),
        (["--indicator", "mean(y)"], 2, "Several indicators are called 'y'"),
        (["--indicator", "Y = median(y)"], 2, "several columns named"),
        (["--indicator", "variance_y = median(y)"], 2, "several columns named"),
        (["--indicator", "area = mean(z)"], 2, "'area'"),
        (["--indicator", "code = mean(z)"], 2, "for their ids or shapes"),
        (["--indicator", "geometry = mean(z)"], 2, "for their ids or shapes"),
        (["--indicator", "mode(y)"], 2, "'mode', which is not known"),
        (["--indicator", "mean(y, z)"], 2, "has 2 fields"),
        (["--indicator", "mean(nothing)"], 11, "'nothing'"),
        (["--indicator", "proportion(z = 7)"], 11, "No row has z = '7'. The field holds '0', '1'"),
        (["--indicator", "share = proportion(y)"], 11, "neither 0 nor 1"),
        (["--indicator", "proportion(y < nan)"], 2, "no number"),
        (["--indicator", "quantile(y, 1)"], 2, "between 0 and 1"),
        (["--group-field", "z", "--population-field", "x"], 2, "sizes of areas, not of groups"),
        (["--population-field", "x"], 11, "positive known size"),
        (["--replicate-weight", "rep*"], 11, "matches 'rep*'"),
        (["--fay-rho", "0.5"], 2, "fay_rho says nothing without replicate_weights"),
        (["--auxiliary", "y"], 2, "auxiliaries says nothing without totals"),
        (["--design-weight", "w"], 2, "both the weights before calibration"),
        (["--variance-method", "replicates"], 2, "needs the fields with the replicate weights"),
        (["--fpc", "z"], 11, "no positive finite population"),
        (["--fpc", "w"], 11, "differs within 2 strata"),
    ],
)
def test_parameters_that_do_not_fit(smallarea, squares, survey_file, tmp_path, more, code, said):
    done, _ = smallarea(*words(squares, survey_file, *more, "--csv", tmp_path / "o.csv"))
    assert done.exit_code == code, done.output
    assert said in " ".join(done.output.split())
    assert not (tmp_path / "o.csv").exists()


def test_a_binary_file_called_csv(smallarea, squares, tmp_path):
    (tmp_path / "bad.csv").write_bytes(bytes(range(256)) * 40)
    done, _ = smallarea(*words(squares, tmp_path / "bad.csv", "--csv", tmp_path / "o.csv"))
    assert done.exit_code == 11, done.output
    assert "bad.csv" in done.output


def test_what_is_wrong_may_be_accepted(smallarea, squares, survey, tmp_path):
    bad = changed("lonely")(changed("no stratum")(changed("elsewhere")(survey)))
    bad.to_csv(tmp_path / "bad.csv", index=False)
    done, events = smallarea(
        *words(squares, tmp_path / "bad.csv", "--csv", tmp_path / "o.csv", "--unmatched", "keep"),
        "--missing-design", "drop", "--lonely-psu", "adjust", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = " ".join(event["text"] for event in events if event["type"] in ("info", "warning"))
    for words_ in ("2 rows of the survey", "1 areas of the survey are not on the map", "lonely_psu is 'adjust'"):
        assert words_ in said
    assert len(pd.read_csv(tmp_path / "o.csv")) == 13


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lonely_psu": "ignore"}, "lonely_psu 'ignore'"),
        ({"missing_design": "keep"}, "missing_design 'keep'"),
        ({"interval": "exact"}, "interval 'exact'"),
        ({"deff_reference": "with"}, "deff_reference 'with'"),
        ({"level": 95}, "level"),
        ({"min_df": -1}, "min_df"),
        ({"output": "out.gpkg"}, "no polygons"),
        ({"id_field": "code"}, "id_field says nothing without areas"),
        ({"psu": (), "nest": True}, "nest says nothing without psu"),
        ({"replicate_weights": "y", "replicate_scale": 0.0}, "replicate_scale"),
    ],
)
def test_python_refuses_what_a_job_cannot_say(survey, change, said):
    call = {"table": survey, "area_field": "code", "indicators": "y", "weight": "w", **change}
    with pytest.raises(package.errors.JobProblem, match=said):
        package.direct_estimates(**call)


def test_a_file_of_another_format_is_refused_before_the_work(tmp_path):
    with pytest.raises(package.errors.OutputProblem, match=r"\.xlsx"):
        package.direct_estimates(
            table=tmp_path / "none.csv", area_field="a", indicators="y", excel=tmp_path / "out.csv"
        )  # fmt: skip


def test_weights_that_were_not_calibrated_to_the_totals(survey):
    totals = pd.DataFrame({"stratum": ["north", "south"], "total": [2000.0, 2000.0]})
    call = {
        "table": survey.assign(b=survey["w"]), "area_field": "code", "indicators": "y", "weight": "w",
        "design_weight": "b", "totals": totals, "calibration_method": "poststratify",
    }  # fmt: skip
    with pytest.raises(package.errors.TableProblem, match="miss 2 of 2 totals by more than 1%"):
        package.direct_estimates(**call)
    sums = survey.groupby("stratum")["w"].sum()
    right = survey.assign(c=survey["w"] * 2000.0 / survey["stratum"].map(sums), b=survey["w"])
    assert package.direct_estimates(**{**call, "table": right, "weight": "c"}).table["variance_y"].notna().all()
    lost = right.assign(b=right["b"].where(right.index > 2, 0.0))
    with pytest.raises(package.errors.TableProblem, match="3 rows have a weight, but none before calibration"):
        package.direct_estimates(**{**call, "table": lost, "weight": "c"})


def test_groups_that_would_have_the_same_name(survey):
    frame = survey.assign(g=np.where(survey["z"] == 1, "a-b", "a b"))
    with pytest.raises(package.errors.JobProblem, match=r"several columns named .*y_a_b"):
        package.direct_estimates(table=frame, area_field="code", indicators="y", weight="w", group_field="g")


def test_poisson_needs_weights_that_are_inverse_probabilities(survey):
    frame = survey.assign(w=survey["w"] / 10.0)
    result = package.direct_estimates(
        table=frame, area_field="code", indicators="y", weight="w", variance_method="poisson"
    )
    below = int((frame["w"] < 1.0).sum())
    assert any(f"{below} respondents have a weight below 1" in one for one in result.warnings)


def test_fields_of_the_polygons_that_are_replaced_are_said(squares, survey):
    result = package.direct_estimates(
        squares, id_field="code", table=survey, area_field="code", indicators="rate = mean(y)", weight="w"
    )
    assert any("take the place of the polygons' fields 'rate'" in one for one in result.notes)
    assert result.layer()["rate"].iloc[0] == result.table["rate"].iloc[0]
