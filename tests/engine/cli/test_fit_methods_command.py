"""Transformations and the frequentist methods from the command line give what Python gives."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from smallarea.workflows import fit

FIELDS = {"id_field": "code", "direct": "rate", "variance": "rate_var", "covariates": ["x"]}
PAIR = {"direct": ["rate", "other"], "variance": ["rate_var", "other_var"], "random_effect": "iid"}
MODELS = {
    "log": {"random_effect": "iid", "method": "reml", "transformation": "log"},
    "arcsin": {
        "direct": "share",
        "random_effect": "iid",
        "method": "reml",
        "transformation": "arcsin",
        "n_eff": ["n"],
        "back_transformation": "naive",
    },
    "posterior": {"random_effect": "car", "transformation": "log", "draws": 200, "min_ess": 200},
    "robust": {"random_effect": "iid", "method": "robust", "tuning": 1.5, "replicates": 10, "seed": 2},
    "errors": {"random_effect": "iid", "method": "ybarra_lohr", "covariate_variance": ["x_var"]},
    "sar": {"random_effect": "sar", "method": "reml", "mse": "bootstrap", "replicates": 5},
    "ar1": {**PAIR, "method": "reml", "link": "ar1"},
    "har1": {**PAIR, "method": "ml", "link": "har1"},
}


@pytest.fixture
def layer(squares):
    frame = gpd.read_file(squares)
    rng = np.random.default_rng(1)
    frame["x_var"], frame["n"] = 0.05, rng.integers(20, 60, size=len(frame))
    frame["share"] = rng.uniform(0.0, 0.5, size=len(frame))
    frame.loc[0, "share"] = 0.0
    frame["other"] = frame["rate"] + rng.normal(size=len(frame))
    frame["other_var"] = 0.8 * frame["rate_var"]
    frame.to_file(squares, layer="squares")
    return squares


def words(parameters):
    for name, value in parameters.items():
        for one in value if isinstance(value, list) else [value]:
            yield from (f"--{name.replace('_', '-')}", str(one))


@pytest.mark.parametrize("name", MODELS)
def test_command_job_and_python(smallarea, layer, tmp_path, name):
    parameters = {**FIELDS, **MODELS[name]}
    done, events = smallarea("fit", layer, *words(parameters), "--csv", tmp_path / "command.csv", "--json")
    assert done.exit_code == 0, done.output
    assert events[-1]["summary"]["n_estimated"] == events[-1]["summary"]["n_areas"]
    job = tmp_path / "job.json"
    smallarea("fit", layer, *words(parameters), "--csv", tmp_path / "job.csv", "--save-job", job)
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()
    result = fit(gpd.read_file(layer), **parameters, report=tmp_path / "r.html", excel=tmp_path / "b.xlsx")
    written = pd.read_csv(tmp_path / "command.csv")
    for column in ("direct", "estimate", "se", "lower", "upper", "shrinkage"):
        np.testing.assert_allclose(written[column], result.estimates[column], rtol=1e-12, err_msg=column)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert ("The model is of" in page) == ("transformation" in parameters)


def test_a_contradiction_is_a_job_problem(smallarea, layer):
    done, events = smallarea("fit", layer, *words(FIELDS), "--n-eff", "n", "--json")
    assert done.exit_code == 2
    assert "arcsin" in events[-1]["text"]


def test_areas_that_cannot_be_transformed_are_named(smallarea, layer):
    parameters = {**FIELDS, "direct": "share", "transformation": "log"}
    done, events = smallarea("fit", layer, *words(parameters), "--json")
    assert done.exit_code == 11
    assert "'000'" in events[-1]["text"]
