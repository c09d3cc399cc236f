"""An export gives the same from Python, from the command line and from a job file."""

import json

import geopandas as gpd
import pandas as pd
import pytest
from smallarea.results.posterior import PosteriorDraws
from smallarea.workflows import task_function

pytest.importorskip("arviz")
pytest.importorskip("h5netcdf")


@pytest.fixture
def draws(smallarea, squares, tmp_path):
    path = tmp_path / "draws.nc"
    done, _ = smallarea(
        "fit", squares, "--id-field", "code", "--direct", "rate", "--variance", "rate_var", "--random-effect", "iid",
        "--draws", "1000", "--posterior", path,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    return path


def words(squares, draws):
    return [
        "export", squares, "--id-field", "code", "--posterior", draws, "--threshold", "10", "--threshold", "rate=11.5",
        "--pair", "000=011", "--compare", "neighbours", "--top-share", "0.2", "--level", "0.9", "--constrained",
    ]  # fmt: skip


def test_three_ways_one_result(smallarea, squares, draws, tmp_path):
    done, events = smallarea(*words(squares, draws), "--csv", tmp_path / "command.csv", "--json")
    assert done.exit_code == 0, done.output
    summary = events[-1]["summary"]
    assert events[-1]["outputs"] == {"csv": str(tmp_path / "command.csv")}
    assert (summary["n_areas"], summary["draws"], summary["responses"]) == (13, 1000, ["rate"])
    assert set(summary["areas_beyond"]) == {"rate above 10", "rate above 11.5"}
    percents = [event["percent"] for event in events if event["type"] == "progress"]
    assert percents == sorted(percents)

    job = tmp_path / "job.json"
    smallarea(*words(squares, draws), "--csv", tmp_path / "job.csv", "--save-job", job)
    parameters = json.loads(job.read_text())["parameters"]
    assert parameters["posterior"] == "draws.nc"
    assert parameters["thresholds"] == ["10", "rate=11.5"]
    assert parameters["pairs"] == ["000=011"]
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()

    result = task_function("export")(
        PosteriorDraws.load(draws), areas=gpd.read_file(squares), id_field="code", thresholds=[10, "rate=11.5"],
        pairs=[("000", "011")], compare="neighbours", top_share=0.2, level=0.9, constrained=True,
    )  # fmt: skip
    result.long().to_csv(tmp_path / "python.csv", index=False)
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()


def test_numbers_in_a_job_may_be_numbers(smallarea, draws, tmp_path):
    job = {"version": 1, "task": "export", "parameters": {"posterior": "draws.nc", "thresholds": [10, "rate=11.5"],
                                                          "excel": "w.xlsx"}}  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    done, events = smallarea("run", tmp_path / "job.json", "--json")
    assert done.exit_code == 0, done.output
    sheet = pd.read_excel(events[-1]["outputs"]["excel"], sheet_name="Exceedance")
    assert sheet.columns.tolist() == ["area", "response", "p_above_10", "p_above_11.5"]


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (["--threshold", "wage=3"], 2, "of no response"),
        (["--reference", "zzz"], 2, "no area 'zzz'"),
        (["--top-share", "2"], 2, "--top-share"),
        (["--benchmark", "none.csv"], 11, "no file none.csv"),
        (["--output", "x.shp"], 17, "must end in .gpkg"),
    ],
)
def test_what_is_wrong_has_its_exit_code(smallarea, squares, draws, change, code, said):
    done, _ = smallarea(*words(squares, draws), *change)
    assert done.exit_code == code
    assert said in done.output


def test_a_file_that_holds_no_draws(smallarea, squares, tmp_path):
    (tmp_path / "draws.nc").write_text("no draws")
    done, _ = smallarea(*words(squares, tmp_path / "draws.nc"))
    assert done.exit_code == 11
    assert "cannot be read as posterior draws" in done.output
