"""Benchmarking and calibration give the same from Python, from the command line and from a job file."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import smallarea as engine


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(1)
    region, urban = np.array(["n", "s"]).repeat(6), np.array(["u", "r"] * 6)
    table = pd.DataFrame(
        {
            "area": [f"{k:03d}" for k in range(12)], "estimate": rng.uniform(3, 9, 12), "se": 0.4, "region": region,
            "urban": urban, "people": np.arange(12) + 1.0,
        }
    )  # fmt: skip
    table.to_csv(tmp_path / "estimates.csv", index=False)
    truth = table["estimate"] * np.linspace(0.95, 1.1, 12) * table["people"]
    sums = pd.concat([truth.groupby(region).sum(), truth.groupby(urban).sum()])
    targets = pd.DataFrame({"margin": ["region"] * 2 + ["urban"] * 2, "group": sums.index, "target": sums.to_numpy()})
    targets.to_csv(tmp_path / "targets.csv", index=False)
    n = 60
    survey = pd.DataFrame(
        {"sex": rng.choice(["f", "m"], n), "age": rng.choice(["1", "2"], n), "pw": rng.uniform(1, 3, n)}
    )
    survey.to_csv(tmp_path / "survey.csv", index=False)
    (tmp_path / "totals.csv").write_text("sex,age,total\nf,,70\nm,,60\n,1,90\n,2,40\n")
    return tmp_path


def test_benchmark_three_ways(smallarea, files, squares):
    words = [
        "--estimates", files / "estimates.csv", "--targets", files / "targets.csv", "--group-field", "region",
        "--group-field", "urban", "--weight-field", "people", "--method", "raking", "--kind", "total",
    ]  # fmt: skip
    done, events = smallarea(
        "benchmark", squares, "--id-field", "code", *words, "--csv", files / "out.csv", "--output", files / "out.gpkg",
        "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert events[-1]["type"] == "result"
    assert events[-1]["summary"]["n_groups"] == 4
    result = engine.benchmark(
        files / "targets.csv", estimates=files / "estimates.csv", group_fields=["region", "urban"],
        weight_field="people", method="raking", kind="total",
    )  # fmt: skip
    written = pd.read_csv(files / "out.csv", dtype={"area": str})
    pd.testing.assert_frame_equal(written, result.table, check_dtype=False)
    layer = gpd.read_file(files / "out.gpkg", layer="benchmarked")
    # The island has no estimate and stays on the map.
    np.testing.assert_allclose(layer["benchmarked"][:12], result.table["benchmarked"])
    assert len(layer) == 13
    assert np.isnan(layer["benchmarked"][12])
    done, _ = smallarea("benchmark", *words, "--csv", files / "job.csv", "--save-job", files / "job.json")
    assert done.exit_code == 0
    assert json.loads((files / "job.json").read_text())["parameters"]["targets"] == "targets.csv"
    done, events = smallarea("run", files / "job.json", "--json")
    assert events[-1]["type"] == "result"
    assert (files / "job.csv").read_text() == (files / "out.csv").read_text()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--method", "ratio"], 15, "Use the method 'raking'"),
        (["--method", "raking", "--weight-field", "nobody"], 2, "read from a table or from the polygons"),
        (["--method", "raking", "--estimate", "rate"], 11, "no field 'rate'"),
        (["--method", "raking", "--output", "x.gpkg"], 2, "no polygons"),
    ],
)
def test_what_cannot_be_benchmarked_has_its_exit_code(smallarea, files, words, code, said):
    done, events = smallarea(
        "benchmark", "--estimates", files / "estimates.csv", "--targets", files / "targets.csv", "--kind", "total",
        "--group-field", "region", "--group-field", "urban", *words, "--csv", files / "out.csv", "--json",
    )  # fmt: skip
    assert done.exit_code == code
    assert said in events[-1]["text"]
    assert not (files / "out.csv").exists()


def test_calibrate_three_ways(smallarea, files):
    words = ["--table", files / "survey.csv", "--weight", "pw", "--totals", files / "totals.csv"]
    done, events = smallarea("survey", "calibrate", *words, "--csv", files / "out.csv", "--json")
    assert done.exit_code == 0, done.output
    assert events[-1]["summary"]["sum_after"] == pytest.approx(130.0)
    result = engine.calibrate_weights(files / "survey.csv", weight="pw", totals=files / "totals.csv")
    written = pd.read_csv(files / "out.csv", dtype={"age": str})
    pd.testing.assert_frame_equal(written, result.frame, check_dtype=False)
    job = {
        "version": 1, "task": "calibrate_weights",
        "parameters": {"table": "survey.csv", "weight": "pw", "totals": "totals.csv", "csv": "job.csv"},
    }  # fmt: skip
    (files / "job.json").write_text(json.dumps(job))
    done, events = smallarea("run", files / "job.json", "--json")
    assert events[-1]["type"] == "result"
    assert (files / "job.csv").read_text() == (files / "out.csv").read_text()
    done, events = smallarea("survey", "calibrate", *words, "--method", "poststratify", "--json")
    assert done.exit_code == 2
    assert "Use the method 'rake'" in events[-1]["text"]
