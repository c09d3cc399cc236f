"""Preparing published estimates gives the same from Python, from the command line and from a job file."""

import json

import pandas as pd
import pytest
import smallarea as package


@pytest.fixture
def published(tmp_path):
    path = tmp_path / "acs.csv"
    path.write_text('code,med,moe\n000,"52,000","1,645"\n001,-,**\n002,"250,000+",***\n', encoding="utf-8")
    return path


def test_three_ways_one_result(smallarea, squares, published, tmp_path):
    words = ["survey", "prepare", squares, "--id-field", "code", "--table", published, "--estimate", "med",
             "--error", "moe", "--name", "income", "--transformation", "log"]  # fmt: skip
    done, events = smallarea(*words, "--csv", tmp_path / "command.csv", "--output", tmp_path / "a.gpkg", "--json")
    assert done.exit_code == 0, done.output
    assert events[-1]["summary"]["flags"]["income top_coded"] == 1
    assert events[-1]["summary"]["n_usable"] == 1
    assert [event["type"] for event in events].count("warning") == 1
    assert set(events[-1]["outputs"]) == {"csv", "output"}

    job = tmp_path / "job.json"
    smallarea(*words, "--csv", tmp_path / "job.csv", "--save-job", job)
    assert json.loads(job.read_text())["parameters"]["names"] == ["income"]
    done, _ = smallarea("run", job)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "job.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()

    result = package.prepare_published(
        squares, id_field="code", table=published, estimate="med", error="moe", names="income", transformation="log"
    )
    result.table.to_csv(tmp_path / "python.csv", index=False)
    assert (tmp_path / "python.csv").read_bytes() == (tmp_path / "command.csv").read_bytes()
    assert pd.read_csv(tmp_path / "python.csv", dtype={"area": str})["area"].tolist()[:2] == ["000", "001"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--estimate", "med"], 2, "errors of the estimates"),
        (["--estimate", "med", "--error", "code", "--annotations", "none"], 11, "not numbers"),
        (["--estimate", "medium", "--error", "moe"], 11, "Did you mean 'med'"),
    ],
)
def test_each_mistake_has_its_exit_code(smallarea, published, tmp_path, words, code, said):
    done, _ = smallarea("survey", "prepare", "--table", published, "--table-id-field", "code", *words,
                        "--csv", tmp_path / "x.csv")  # fmt: skip
    assert done.exit_code == code
    assert said in done.output + done.stderr
    assert not (tmp_path / "x.csv").exists()
