"""A fit gives the same numbers from Python, from the command line and from a job file."""

import json
import sqlite3
import subprocess
import sys

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from smallarea.workflows import task_function

NUMBERS = ["direct", "direct_se", "estimate", "se", "cv", "lower", "upper", "shrinkage"]
MODELS = {
    "reml": {"random_effect": "iid", "method": "reml"},
    "exact": {"random_effect": "car", "method": "bayes", "draws": 200, "min_ess": 200, "seed": 5},
}


@pytest.fixture(params=MODELS, ids=str)
def model(request):
    return MODELS[request.param]


def options(model):
    return [word for name, value in model.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def test_three_ways_one_result(smallarea, squares, tmp_path, model):
    common = ["--id-field", "code", "--direct", "rate", "--variance", "rate_var", "--covariates", "x"]
    done, events = smallarea("fit", squares, *common, *options(model), "--csv", tmp_path / "command.csv", "--json")
    assert done.exit_code == 0, done.output
    assert events[-1]["outputs"] == {"csv": str(tmp_path / "command.csv")}
    assert events[-1]["summary"]["n_areas"] == 13

    job = tmp_path / "job.json"
    smallarea("fit", squares, *common, *options(model), "--csv", tmp_path / "job.csv", "--save-job", job)
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()

    frame = gpd.read_file(squares)
    result = task_function("fit")(frame, id_field="code", direct="rate", variance="rate_var", covariates=["x"], **model)
    written = pd.read_csv(tmp_path / "command.csv")
    for name in NUMBERS:
        np.testing.assert_allclose(written[name], result.estimates[name], rtol=1e-12, err_msg=name)


def test_several_responses_from_the_command_line_and_from_jobs(smallarea, squares, tmp_path):
    words = ["--id-field", "code", "--direct", "rate", "--direct", "rent", "--variance", "rate_var", "--variance",
             "rent_var", "--covariance", "rate_rent", "--random-effect", "leroux", "--link", "chain", "--order", "rent",
             "--order", "rate", "--draws", "200", "--min-ess", "200"]  # fmt: skip
    done, events = smallarea("fit", squares, *words, "--csv", tmp_path / "command.csv", "--json")
    assert done.exit_code == 0, done.output
    summary = events[-1]["summary"]
    assert (summary["n_areas"], summary["n_sampled"], summary["n_estimated"]) == (13, 13, 13)
    assert set(summary["responses"]) == {"rate", "rent"}
    assert summary["order"] == ["rent", "rate"]
    table = pd.read_csv(tmp_path / "command.csv")
    assert table["response"].tolist() == ["rate"] * 13 + ["rent"] * 13
    parameters = {
        "areas": str(squares), "id_field": "code", "direct": ["rate", "rent"], "variance": ["rate_var", "rent_var"],
        "covariance": "rate_rent", "random_effect": "leroux", "link": "chain", "order": ["rent", "rate"],
        "draws": 200, "min_ess": 200, "csv": "job.csv",
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps({"version": 1, "task": "fit", "parameters": parameters}))
    done, _ = smallarea("run", tmp_path / "job.json")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()


def test_people_read_a_line_for_each_response(smallarea, squares):
    done, _ = smallarea(
        "fit", squares, "--direct", "rate", "--direct", "rent", "--variance", "rate_var", "--variance", "rent_var",
        "--random-effect", "iid", "--method", "reml",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (rate,) = [line for line in done.stdout.splitlines() if line.startswith("responses")]
    (rent,) = [line for line in done.stdout.splitlines() if line.strip().startswith("rent: ")]
    assert "rate: median cv direct 0." in rate
    assert "median cv 0." in rent
    assert "_" not in rent


def test_wrong_numbers_of_fields_exit_with_2_and_are_named(smallarea, squares):
    done, events = smallarea("fit", squares, "--direct", "rate", "--direct", "rent", "--variance", "rate_var", "--json")
    assert done.exit_code == 2
    assert "2 with direct estimates ('rate', 'rent'), 1 with sampling variances ('rate_var')" in events[-1]["text"]


def test_the_layer_the_report_and_the_table_are_written(smallarea, squares, tmp_path):
    layer, report, table = (tmp_path / name for name in ("e.gpkg", "e.html", "e.csv"))
    done, events = smallarea(
        "fit", squares, "--id-field", "code", "--direct", "rate", "--variance", "rate_se",
        "--variance-type", "standard_error", *options(MODELS["reml"]),
        "--output", layer, "--report", report, "--csv", table, "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert set(events[-1]["outputs"]) == {"output", "report", "csv"}
    estimates = gpd.read_file(layer, layer="estimates")
    assert estimates["code"].tolist() == [f"{k:03d}" for k in range(13)]
    assert estimates.crs == "EPSG:32617"
    assert {"estimate", "se", "lower", "upper", "flag"} <= set(estimates.columns)
    with sqlite3.connect(layer) as database:
        assert database.execute("select count(*) from layer_styles").fetchone()[0] >= 1
    database.close()
    assert report.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_failed_fit_leaves_existing_outputs_alone(smallarea, squares, tmp_path):
    output = tmp_path / "e.gpkg"
    output.write_text("old")
    done, events = smallarea(
        "fit", squares, "--direct", "rate", "--variance", "rate_var", "--covariates", "none",
        "--output", output, "--json",
    )  # fmt: skip
    assert done.exit_code == 11
    assert "'none'" in events[-1]["text"]
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["e.gpkg", "squares.gpkg"]


def test_the_input_is_never_overwritten(smallarea, squares):
    before = squares.read_bytes()
    done, _ = smallarea("fit", squares, "--direct", "rate", "--variance", "rate_var", "--output", squares)
    assert done.exit_code == 2
    assert squares.read_bytes() == before


def test_a_fit_imports_neither_torch_nor_jax(squares, tmp_path):
    job = {"areas": str(squares), "direct": "rate", "variance": "rate_var", "csv": "e.csv", "draws": 200}
    (tmp_path / "job.json").write_text(json.dumps({"version": 1, "task": "fit", "parameters": job}))
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        "sys.argv = ['smallarea', 'run', sys.argv[1]]\n"
        "from smallarea.cli import main; main()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "job.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert not {"torch", "jax", "numpyro"} & set(json.loads(done.stderr.splitlines()[-1]))
    assert json.loads(done.stdout.splitlines()[-1])["type"] == "result"
