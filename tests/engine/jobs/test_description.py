import json
from pathlib import Path

import pytest
from smallarea.errors import JobProblem, OutputProblem
from smallarea.jobs.description import (
    check_job,
    check_outputs,
    check_parameters,
    job_document,
    load_job,
    path_kind,
    paths_for_folder,
)
from smallarea.jobs.schema import TASKS, FitAreaLevel, json_schema

FIT = {"areas": "a.gpkg", "direct": "y", "variance": "v"}


def job(**parameters):
    return {"version": 1, "task": "fit", "parameters": {**FIT, **parameters}}


def test_every_wrong_parameter_is_named_and_a_near_name_suggested():
    with pytest.raises(JobProblem) as caught:
        check_job(job(covariate=["x"], level=95, random_effect="bym", Direct="y"))
    text = str(caught.value)
    assert "4 problems" in text
    assert "'covariate' is not a parameter. Did you mean 'covariates'?" in text
    assert "'level'" in text
    assert "95" in text
    assert "'car'" in text
    assert "bym" in text


def test_a_name_near_to_none_gets_the_list_of_all():
    with pytest.raises(JobProblem, match=r"'zzz' is not a parameter. Known: .*'areas'.*'posterior'"):
        check_job(job(zzz=1))


def test_missing_parameters_are_named_with_their_meaning():
    with pytest.raises(JobProblem, match=r"'variance' is missing\. Field with the sampling variances"):
        check_job({"version": 1, "task": "fit", "parameters": {"areas": "a.gpkg", "direct": "y"}})


def test_a_wrong_item_of_a_list_or_dictionary_is_pointed_at():
    with pytest.raises(JobProblem, match=r"'covariates'\[1\]"):
        check_job(job(covariates=["x", 3]))
    with pytest.raises(JobProblem, match=r"'priors'\[rho\]"):
        check_job(job(priors={"rho": 1}))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "JSON object"),
        ({"version": 1, "task": "fti"}, "'task'.*'fit'.*'fti'"),
        ({"task": "status"}, "'version' is missing"),
        ({"version": 2, "task": "status"}, "version 2.*Update"),
        ({"version": 1, "task": "status", "parameter": {}}, "Did you mean 'parameters'"),
        ({"version": 1, "task": "status", "parameters": []}, "'parameters'"),
    ],
)
def test_a_wrong_document_is_explained(data, words):
    with pytest.raises(JobProblem, match=words):
        check_job(data)


def test_unreadable_files_are_explained(tmp_path):
    with pytest.raises(JobProblem, match=r"none\.json"):
        load_job(tmp_path / "none.json")
    file = tmp_path / "job.json"
    file.write_bytes(b"{")
    with pytest.raises(JobProblem, match="not valid JSON"):
        load_job(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobProblem, match="not valid JSON"):
        load_job(file)


def test_a_byte_order_mark_is_no_obstacle(tmp_path):
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"version": 1, "task": "status"}), encoding="utf-8-sig")
    assert load_job(file)[0] == "status"


def test_relative_paths_start_from_the_jobs_folder(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    file = tmp_path / "job.json"
    file.write_text(json.dumps(job(areas="in/a.gpkg", table="/data/t.csv", output="out.gpkg")))
    _, parameters = load_job(file)
    assert parameters.areas == str(tmp_path / "in" / "a.gpkg")
    assert parameters.table == "/data/t.csv"
    assert parameters.output == str(tmp_path / "out.gpkg")
    assert parameters.reliability == "statcan"


@pytest.mark.parametrize("source", ["/vsizip/a.zip/a.shp", "PG:dbname=x", "https://example.org/a.gpkg"])
def test_sources_that_are_no_files_stay_as_they_are(tmp_path, source):
    _, parameters = check_job(job(areas=source), folder=tmp_path)
    assert parameters.areas == source


def test_a_reliability_file_is_found_beside_the_job(tmp_path):
    (tmp_path / "mine.json").write_text("{}")
    _, parameters = check_job(job(reliability="mine.json"), folder=tmp_path)
    assert parameters.reliability == str(tmp_path / "mine.json")


def test_an_output_must_not_overwrite_an_input_or_another_output(tmp_path):
    (tmp_path / "link.gpkg").symlink_to(tmp_path / "a.gpkg")
    for output in ("a.gpkg", "link.gpkg", "./x/../a.gpkg"):
        (tmp_path / "x").mkdir(exist_ok=True)
        with pytest.raises(JobProblem, match="'output' and 'areas' are the same file"):
            check_outputs(check_job(job(output=output), folder=tmp_path)[1])
    with pytest.raises(JobProblem, match="same file"):
        check_outputs(check_job(job(csv="x.csv", report="x.csv"), folder=tmp_path)[1])


def test_outputs_that_cannot_be_written_are_found_before_the_work(tmp_path):
    with pytest.raises(OutputProblem, match=r"'csv'.*does not exist"):
        check_outputs(check_job(job(csv="none/x.csv"), folder=tmp_path)[1])
    with pytest.raises(OutputProblem, match=r"'csv'.*is a folder"):
        check_outputs(check_job(job(csv=str(tmp_path)))[1])


def test_a_saved_job_says_the_same_and_only_what_was_chosen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parameters = check_parameters("fit", {**FIT, "seed": 4, "table": "/data/t.csv", "csv": "sub/x.csv"})
    file = tmp_path / "job.json"
    file.write_text(job_document("fit", paths_for_folder(parameters, file)))
    written = json.loads(file.read_text())["parameters"]
    lists = {name: [FIT[name]] for name in ("direct", "variance")}  # one name stands for a list of one
    assert written == {**FIT, **lists, "seed": 4, "table": "/data/t.csv", "csv": str(Path("sub/x.csv"))}
    task, loaded = load_job(file)
    assert task == "fit"
    assert loaded.csv == str(tmp_path / "sub" / "x.csv")


@pytest.mark.parametrize("task", TASKS)
def test_every_path_says_that_it_is_one(task):
    model = TASKS[task]
    for name, field in model.model_fields.items():
        sounds_like_a_path = any(word in (field.description or "") for word in ("file", "File", "to write"))
        assert (path_kind(model, name) is not None) >= (sounds_like_a_path and "inside" not in field.description)


def test_the_json_schema_covers_every_task_and_says_what_is_a_path():
    schema = json_schema()
    assert set(schema["tasks"]) == set(TASKS)
    assert schema["tasks"]["fit"]["properties"]["output"]["path"] == "output"
    assert schema["tasks"]["fit"]["properties"]["graph"]["path"] == "input"
    assert schema["tasks"]["build_adjacency"]["properties"]["graph"]["path"] == "output"


def test_defaults_are_valid():
    assert FitAreaLevel(**FIT).method == "bayes"


def test_a_preset_of_ones_own_is_an_input(tmp_path):
    preset = tmp_path / "mine.json"
    preset.write_text("{}")
    parameters = check_parameters(
        "fit", {**FIT, "reliability": str(preset), "report": str(preset), "areas": str(tmp_path / "a.gpkg")}
    )
    with pytest.raises(JobProblem, match="'report' and 'reliability' are the same file"):
        check_outputs(parameters)


def test_brackets_without_end_are_no_crash(tmp_path):
    file = tmp_path / "deep.json"
    file.write_text("[" * 100_000)
    with pytest.raises(JobProblem, match="not valid JSON"):
        load_job(file)
