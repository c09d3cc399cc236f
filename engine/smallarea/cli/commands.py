"""The commands: what each teaches, and how its options become a job."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from smallarea.cli import bartsimp_texts, group, prior_texts, survey_texts, texts
from smallarea.cli.options import given_parameters, option_name, parameters_of
from smallarea.errors import OutputProblem, SmallareaError
from smallarea.jobs.description import check_parameters, job_document, load_job, paths_for_folder
from smallarea.jobs.events import JsonLines, Reporter, protocol_stream
from smallarea.jobs.runner import run_with
from smallarea.jobs.schema import TASKS, TaskParameters, json_schema
from smallarea.jobs.watch import end_by_force_after


def build(name: str) -> click.Command:
    """Build a command.

    Parameters
    ----------
    name : str
        As it is typed after ``smallarea``.

    Returns
    -------
    click.Command
        With its options.
    """
    return _BUILDERS[name]()


def _task_command(name: str, task: str, text: str) -> click.Command:
    """Build the command of a task: its options are those of the job, plus three about the run."""
    model = TASKS[task]

    def callback(as_json: bool, save_job: str | None, debug: bool, **values: Any) -> None:
        parameters = _checked(task, given_parameters(values, model))
        if save_job is not None:
            _save_job(save_job, task, parameters)
            return
        _leave(_run(lambda: (task, parameters), as_json, debug))

    params = [*parameters_of(model), _json_option(), _save_option(), _debug_option()]
    return click.Command(name, params=params, callback=callback, help=text)


def _run_command() -> click.Command:
    def callback(job: str, watch_stdin: bool, as_json: bool, debug: bool) -> None:
        machine = as_json or not sys.stdout.isatty()
        _leave(_run(lambda: load_job(job), machine, debug, watch_stdin))

    watch = click.Option(
        ["--watch-stdin"],
        is_flag=True,
        help="Stop when standard input ends. For a program that starts the engine and keeps the other end "
        "open: the engine then never outlives it.",
    )
    params = [click.Argument(["job"], metavar="JOB"), watch, _json_option(), _debug_option()]
    return click.Command("run", params=params, callback=callback, help=texts.RUN)


def _schema_command() -> click.Command:
    def callback() -> None:
        click.echo(json.dumps(json_schema(), indent=2))

    return click.Command("schema", callback=callback, help=texts.SCHEMA)


def _demo_command() -> click.Command:
    def callback(folder: str, debug: bool) -> None:
        from smallarea.demo import run_demo

        try:
            exit_code = run_demo(Path(folder), debug)
        except SmallareaError as error:
            if debug:
                raise
            _fail(error)
        _leave(exit_code)

    option = click.Option(["--folder"], default="demo", show_default=True, metavar="FOLDER", help="Where the files go.")
    return click.Command("demo", params=[option, _debug_option()], callback=callback, help=texts.DEMO)


def _run(load: Callable[[], tuple[str, TaskParameters]], as_json: bool, debug: bool, watch_stdin: bool = False) -> int:
    if as_json:
        with protocol_stream() as stream:
            return run_with(JsonLines(stream), load, watch_stdin, traces="all" if debug else "internal")
    from smallarea.cli.terminal import human_reporter

    reporter: Reporter = human_reporter()
    return run_with(reporter, load, watch_stdin, traces="all" if debug else "none")


def _checked(task: str, given: dict[str, Any]) -> TaskParameters:
    try:
        return check_parameters(task, given, namer=option_name)
    except SmallareaError as error:
        _fail(error)


def _save_job(path: str, task: str, parameters: TaskParameters) -> None:
    """Write the job; paths under its folder become relative to it, so that the folder can be moved."""
    target = Path(path)
    try:
        target.write_text(job_document(task, paths_for_folder(parameters, target)), encoding="utf-8")
    except OSError as error:
        _fail(OutputProblem(f"Cannot write the job file {path}: {error.strerror or error}."))
    click.echo(f"Job written to {path}. Run it with: smallarea run {path}", err=True)


def _fail(error: SmallareaError) -> NoReturn:
    """Say an error and leave with the code of its family."""
    click.echo(f"Error: {error}", err=True)
    _leave(error.exit_code)


def _leave(exit_code: int) -> NoReturn:
    """Leave with an exit code; after a cancelled run, without waiting for threads in native code."""
    if exit_code == 130:
        end_by_force_after(1.0, exit_code)
    click.get_current_context().exit(exit_code)


def _json_option() -> click.Option:
    return click.Option(["--json", "as_json"], is_flag=True, help="Write events as JSON lines to standard output.")


def _save_option() -> click.Option:
    return click.Option(
        ["--save-job"],
        metavar="FILE",
        help="Write this as a job file and stop; run it with 'smallarea run FILE'.",
    )


def _debug_option() -> click.Option:
    return click.Option(["--debug"], is_flag=True, help="Show where in the program an error came from.")


_BUILDERS: dict[str, Callable[[], click.Command]] = {
    "fit": lambda: _task_command("fit", "fit", texts.FIT),
    "fit-counts": lambda: _task_command("fit-counts", "fit_counts", texts.FIT_COUNTS),
    "fit-space-time": lambda: _task_command("fit-space-time", "fit_space_time", texts.FIT_SPACE_TIME),
    "fit-trees": lambda: _task_command("fit-trees", "fit_trees", texts.FIT_TREES),
    "bartsimp": lambda: group("bartsimp"),
    "bartsimp fit": lambda: _task_command("fit", "fit_bartsimp", bartsimp_texts.FIT),
    "bartsimp predict": lambda: _task_command("predict", "predict_surface", bartsimp_texts.PREDICT),
    "bartsimp aggregate": lambda: _task_command("aggregate", "aggregate_surface", bartsimp_texts.AGGREGATE),
    "bartsimp dependence": lambda: _task_command("dependence", "partial_dependence", bartsimp_texts.DEPENDENCE),
    "compare": lambda: _task_command("compare", "compare", texts.COMPARE),
    "export": lambda: _task_command("export", "export", texts.EXPORT),
    "benchmark": lambda: _task_command("benchmark", "benchmark", texts.BENCHMARK),
    "areas": lambda: group("areas"),
    "survey": lambda: group("survey"),
    "survey direct": lambda: _task_command("direct", "direct_estimates", survey_texts.DIRECT),
    "areas check": lambda: _task_command("check", "check_areas", texts.CHECK),
    "areas adjacency": lambda: _task_command("adjacency", "build_adjacency", texts.ADJACENCY),
    "survey calibrate": lambda: _task_command("calibrate", "calibrate_weights", survey_texts.CALIBRATE),
    "survey latent": lambda: _task_command("latent", "latent_indicator", survey_texts.LATENT),
    "survey prepare": lambda: _task_command("prepare", "prepare_published", survey_texts.PREPARE),
    "survey impute": lambda: _task_command("impute", "impute", survey_texts.IMPUTE),
    "survey match": lambda: _task_command("match", "match_areas", survey_texts.MATCH),
    "survey smooth": lambda: _task_command("smooth", "smooth_variances", survey_texts.SMOOTH),
    "prior": lambda: group("prior"),
    "prior train": lambda: _task_command("train", "train_prior", prior_texts.TRAIN),
    "prior verify": lambda: _task_command("verify", "verify_prior", prior_texts.VERIFY),
    "prior show": lambda: _task_command("show", "show_prior", prior_texts.SHOW),
    "prior list": lambda: _task_command("list", "list_priors", prior_texts.LIST),
    "prior export": lambda: _task_command("export", "export_prior", prior_texts.EXPORT),
    "run": _run_command,
    "status": lambda: _task_command("status", "status", texts.STATUS),
    "schema": _schema_command,
    "demo": _demo_command,
}
