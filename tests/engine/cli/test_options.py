"""Job schema, command line and Python functions: one set of names and defaults."""

import inspect
import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner
from smallarea.cli import cli
from smallarea.cli.commands import build
from smallarea.cli.options import option_name
from smallarea.jobs.schema import TASKS
from smallarea.workflows import task_function

COMMANDS = {
    "check_areas": "areas check",
    "build_adjacency": "areas adjacency",
    "fit": "fit",
    "fit_bartsimp": "bartsimp fit",
    "predict_surface": "bartsimp predict",
    "aggregate_surface": "bartsimp aggregate",
    "partial_dependence": "bartsimp dependence",
    "fit_counts": "fit-counts",
    "fit_space_time": "fit-space-time",
    "fit_trees": "fit-trees",
    "compare": "compare",
    "export": "export",
    "benchmark": "benchmark",
    "calibrate_weights": "survey calibrate",
    "prepare_published": "survey prepare",
    "direct_estimates": "survey direct",
    "match_areas": "survey match",
    "impute": "survey impute",
    "latent_indicator": "survey latent",
    "smooth_variances": "survey smooth",
    "train_prior": "prior train",
    "verify_prior": "prior verify",
    "show_prior": "prior show",
    "list_priors": "prior list",
    "export_prior": "prior export",
    "status": "status",
}
# Required parameters that are arguments of the command.
ARGUMENTS = ("prior", "areas")
ABOUT_THE_RUN = {"as_json", "save_job", "debug"}


def plain_default(field):
    return field.get_default(call_default_factory=True)


@pytest.mark.parametrize("task", TASKS)
def test_the_options_are_the_schemas(task):
    fields = TASKS[task].model_fields
    params = {param.name: param for param in build(COMMANDS[task]).params if param.name not in ABOUT_THE_RUN}
    assert set(params) == set(fields)
    for name, field in fields.items():
        param = params[name]
        assert param.required == field.is_required(), name
        if isinstance(param, click.Argument):
            continue
        assert option_name(name) in param.opts, name
        assert param.help.startswith(field.description), name
        if not field.is_required() and not param.multiple:
            context = click.Context(click.Command("x"))
            assert param.get_default(context) == plain_default(field), name


@pytest.mark.parametrize("task", TASKS)
def test_nothing_given_means_the_schemas_defaults(task, tmp_path):
    fields = TASKS[task].model_fields
    required = {name: "x" for name, field in fields.items() if field.is_required()}
    words = [word for name, value in required.items() if name not in ARGUMENTS for word in (option_name(name), value)]
    words += ["x" for name in ARGUMENTS if name in required]
    done = CliRunner().invoke(cli, [*COMMANDS[task].split(), *words, "--save-job", str(tmp_path / "job.json")])
    assert done.exit_code == 0, done.output
    written = json.loads((tmp_path / "job.json").read_text())["parameters"]
    assert set(written) == set(required)


@pytest.mark.parametrize("task", TASKS)
def test_the_python_function_has_the_schemas_names_and_defaults(task):
    parameters = dict(inspect.signature(task_function(task)).parameters)
    assert parameters.pop("progress").default is None
    fields = TASKS[task].model_fields
    assert set(parameters) == set(fields)
    for name, field in fields.items():
        default = parameters[name].default
        if field.is_required():
            assert default is inspect.Parameter.empty, name
        elif isinstance(plain_default(field), list | dict):
            assert default is None or list(default) == [], name
        else:
            assert default == plain_default(field), name
            assert type(default) is type(plain_default(field)), name


def saved(tmp_path, *words):
    job = tmp_path / "job.json"
    done = CliRunner().invoke(
        cli, ["fit", "a.gpkg", "--direct", "y", "--variance", "v", *words, "--save-job", str(job)]
    )
    return done, json.loads(job.read_text())["parameters"] if job.exists() else None


def test_lists_dictionaries_and_switches_reach_the_job(tmp_path):
    words = [
        "--covariates", "a, with comma", "--covariates", "b",
        "--prior", "sd_phi=HalfNormal(1)", "--prior", "rho=Beta(a=1, b=1)",
        "--no-intercept", "--no-iid-part", "--repair", "--level", "0.9", "--min-ess", "200",
    ]  # fmt: skip
    done, parameters = saved(tmp_path, *words)
    assert done.exit_code == 0, done.output
    assert parameters["covariates"] == ["a, with comma", "b"]
    assert parameters["priors"] == {"sd_phi": "HalfNormal(1)", "rho": "Beta(a=1, b=1)"}
    assert (parameters["intercept"], parameters["iid_part"], parameters["repair"]) == (False, False, True)
    assert (parameters["level"], parameters["min_ess"]) == (0.9, 200)


def test_several_responses_reach_the_job_in_their_order(tmp_path):
    words = ["--direct", "z, too", "--variance", "w", "--covariance", "c", "--link", "chain"]
    done, parameters = saved(tmp_path, *words, "--order", "z, too", "--order", "y", "--sampling-correlation", "-0.2")
    assert done.exit_code == 0, done.output
    assert parameters["direct"] == ["y", "z, too"]
    assert parameters["variance"] == ["v", "w"]
    assert parameters["covariance"] == ["c"]
    assert parameters["order"] == ["z, too", "y"]
    assert parameters["sampling_correlation"] == -0.2
    done, parameters = saved(tmp_path, "--link", "chain", "--order", "auto")
    assert parameters["order"] == ["auto"]


def test_the_help_says_what_is_repeated_and_what_kind_of_number_is_meant():
    text = CliRunner().invoke(cli, ["fit", "--help"], terminal_width=100).output
    for option in ("--direct FIELD", "--variance FIELD", "--covariance FIELD", "--order FIELD"):
        assert "Repeat for several." in " ".join(text.partition(option)[2].partition("\n  --")[0].split()), option
    assert "--sampling-correlation FLOAT" in text
    assert "--direct income --direct rent --variance income_var --variance rent_var" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sampling-correlation", "1"], "--sampling-correlation: input should be less than 1"),
        (["--sampling-correlation", "high"], "--sampling-correlation"),
        (["--link", "gmcar"], "'chain'"),
        (["--prior", "HalfNormal(1)"], "is not NAME=VALUE"),
        (["--prior", "rho=a", "--prior", "rho=b"], "given twice"),
        (["--level", "95"], "--level: input should be less than 1"),
        (["--draws", "many"], "--draws"),
        (["--random-effect", "bym"], "'car'"),
        (["--levle", "0.9"], "--level"),
    ],
)
def test_wrong_options_are_named_and_exit_with_2(tmp_path, words, said):
    done, parameters = saved(tmp_path, *words)
    assert done.exit_code == 2
    assert said in done.output
    assert parameters is None
    assert "Traceback" not in done.output


def test_a_job_file_that_cannot_be_written_is_an_output_problem(smallarea, tmp_path):
    done, _ = smallarea("status", "--save-job", tmp_path / "none" / "job.json")
    assert done.exit_code == 17
    assert "Cannot write the job file" in done.stderr


def test_the_schema_command_prints_the_schema():
    done = CliRunner().invoke(cli, ["schema"])
    assert set(json.loads(done.output)["tasks"]) == set(TASKS)


@pytest.mark.parametrize("words", [["--draws", "abc"], ["--prior", "foo"], []])
def test_a_wrong_command_line_is_an_event_too(words):
    command = [sys.executable, "-m", "smallarea", "fit", "a.gpkg", "--json", "--direct", "y", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    event = json.loads(done.stdout)
    assert event["type"] == "error"
    assert event["family"] == "JobProblem"
    assert event["exit_code"] == 2
    assert event["text"]
