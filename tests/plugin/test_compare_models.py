"""Comparing models inside QGIS: the same scores as on the command line, checks before the run."""

import csv
import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("provider", "engine_python")


@pytest.fixture(scope="module")
def grid(make_grid):
    """Squares with a second covariate and a second response."""
    return make_grid(6, "&field=second:double&field=z:double", values=lambda i: [(i * 29 % 31) / 31, 3.0 + i % 7])


@pytest.fixture
def run(grid, feedback, tmp_path):
    import processing

    def run(**parameters):
        values = {
            "AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "v",
            "CSV": str(tmp_path / "scores.csv"), **parameters,
        }  # fmt: skip
        return processing.run("smallarea:comparemodels", values, feedback=feedback)

    return run


def rows(path):
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_models_of_ones_own(run, tmp_path):
    found = run(
        MODELS="iid reml; iid reml covariates=second 'name=on second'; car reml", COVARIATES=["x"],
        CRITERIA=["loo", "cv_block", "information"], FOLDS=3,
        REPORT=str(tmp_path / "r.html"), EXCEL=str(tmp_path / "b.xlsx"), CELLS=str(tmp_path / "c.csv"),
    )  # fmt: skip
    table = rows(found["CSV"])
    assert {row["model"] for row in table} == {"iid reml", "on second", "car reml"}
    assert {row["criterion"] for row in table} == {"loo", "cv_block"}
    assert found["N_MODELS"] == 3
    assert found["BEST_LOO"] == next(row["model"] for row in table if row["criterion"] == "loo")
    assert "on second" in Path(found["REPORT"]).read_text(encoding="utf-8")
    assert len(rows(found["CELLS"])) == 36 * 3 * 2
    assert Path(found["EXCEL"]).stat().st_size > 5000


def test_the_same_on_the_command_line(run, grid, save_layer, engine_python, tmp_path):
    here = rows(run(MODELS="iid fh; iid reml", CRITERIA=["thinning"], REPEATS=2, SEED=7)["CSV"])
    areas = save_layer(grid, tmp_path / "grid.gpkg")
    job = {
        "version": 1,
        "task": "compare",
        "parameters": {
            "areas": areas, "id_field": "code", "direct": "y", "variance": "v", "models": ["iid fh", "iid reml"],
            "criteria": ["thinning"], "repeats": 2, "seed": 7, "csv": "cli.csv",
        },
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps(job), encoding="utf-8")
    command = [engine_python, "-m", "smallarea", "run", str(tmp_path / "job.json")]
    subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    there = rows(tmp_path / "cli.csv")
    assert [row["model"] for row in here] == [row["model"] for row in there]
    # The file that QGIS writes of a memory layer has six decimals; what the plugin hands over has them all.
    for name in ("elpd", "crps", "rmse", "coverage"):
        assert [float(row[name]) for row in here] == pytest.approx([float(row[name]) for row in there], rel=1e-6)


def test_two_responses(run, grid):
    found = run(DIRECT=["y", "z"], VARIANCE=["v", "second"], MISSING_VARIANCE="out_of_sample",
                SAMPLING_CORRELATION=0.2, MODELS="iid independent reml; iid separable reml")  # fmt: skip
    assert {row["response"] for row in rows(found["CSV"])} == {"y", "z", "all"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"CSV": None}, "at least one of"),
        ({"DIRECT": ["y", "z"]}, "one variance for each"),
        ({"MODELS": "iid covariates=nothing"}, "no field 'nothing'"),
        ({"MODELS": "iid covariates=code"}, "holds no numbers"),
        ({"MODELS": "iid name='x"}, "quotation"),
        ({"THINNING_SHARE": 1.0}, "between 0 and 1"),
        ({"CRITERIA": ["dic"]}, ""),
        ({"FOLDS": 1}, ""),
        ({"DIRECT": None}, ""),
    ],
)
def test_checks_before_the_run(grid, change, said):
    from qgis.core import QgsApplication, QgsProcessingContext

    algorithm = QgsApplication.processingRegistry().createAlgorithmById("smallarea:comparemodels")
    values = {"AREAS": grid, "TABLE": grid, "ID_FIELD": "code", "DIRECT": "y", "VARIANCE": "v", "CSV": "s.csv"}
    assert algorithm.checkParameterValues(values, QgsProcessingContext()) == (True, "")
    ok, message = algorithm.checkParameterValues({**values, **change}, QgsProcessingContext())
    assert not ok
    assert said in message


def test_what_the_engine_refuses_fails_the_run(run):
    from qgis.core import QgsProcessingException

    with pytest.raises(QgsProcessingException, match="unknown word 'besag'"):
        run(MODELS="besag")
