"""Smoothing variances gives the same from Python, from the command line and from a job file."""

import json

import numpy as np
import pandas as pd
import pytest
import smallarea as package


@pytest.fixture
def direct(tmp_path):
    rng = np.random.default_rng(4)
    n = rng.integers(10, 200, size=40).astype(float)
    table = pd.DataFrame({"area": [f"{k:03d}" for k in range(40)], "rate": rng.normal(10, 2, size=40), "n": n})
    table["df"] = np.round(n / 6)
    table["variance_rate"] = 30 / n * rng.chisquare(table["df"]) / table["df"]
    table.loc[3, "variance_rate"] = np.nan
    path = tmp_path / "direct.csv"
    table.to_csv(path, index=False)
    return path


def test_three_ways_one_result(smallarea, direct, tmp_path):
    words = ["survey", "smooth", "--table", direct, "--table-id-field", "area", "--direct", "rate",
             "--variance", "variance_rate", "--n", "n", "--df", "df", "--combine"]  # fmt: skip
    done, events = smallarea(*words, "--csv", tmp_path / "command.csv", "--report", tmp_path / "r.html", "--json")
    assert done.exit_code == 0, done.output
    summary = events[-1]["summary"]
    assert (summary["n_areas"], summary["n_used"], summary["n_replaced"]) == (40, 39, 1)
    assert [event["type"] for event in events].count("warning") == 2
    assert (tmp_path / "r.html").stat().st_size > 10_000

    job = tmp_path / "job.json"
    smallarea(*words, "--csv", tmp_path / "job.csv", "--save-job", job)
    assert json.loads(job.read_text())["parameters"]["df"] == ["df"]
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()

    result = package.smooth_variances(
        table=direct, table_id_field="area", direct="rate", variance="variance_rate", n="n", df="df", combine=True
    )
    result.table.to_csv(tmp_path / "python.csv", index=False)
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "nothing that the variances could depend on"),
        (["--n", "size"], 11, "no field 'size'"),
        (["--covariates", "n", "--n", "n", "--group-field", "area"], 15, "too few"),
    ],
)
def test_each_mistake_has_its_exit_code(smallarea, direct, tmp_path, words, code, said):
    done, _ = smallarea("survey", "smooth", "--table", direct, "--table-id-field", "area", "--direct", "rate",
                        "--variance", "variance_rate", *words, "--csv", tmp_path / "x.csv")  # fmt: skip
    assert done.exit_code == code
    assert said in done.output + done.stderr
    assert not (tmp_path / "x.csv").exists()
