"""The commands: what each teaches, and how its options become a job."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from smallarea.cli import areas_group
from smallarea.cli.options import given_parameters, option_name, parameters_of
from smallarea.errors import OutputProblem, SmallareaError
from smallarea.jobs.description import check_parameters, job_document, load_job, paths_for_folder
from smallarea.jobs.events import JsonLines, Reporter, protocol_stream
from smallarea.jobs.runner import run_with
from smallarea.jobs.schema import TASKS, TaskParameters, json_schema
from smallarea.jobs.watch import end_by_force_after

_LAYER = "LAYER is the polygon layer: the path of any vector file that GDAL reads."

_FIT = f"""Fit a Fay-Herriot model and map its estimates.

{_LAYER} The direct estimates and their sampling variances are fields of LAYER, or of a table that --table
names.

The default is the exact posterior of a model whose area effects are alike among neighbours (car), with an
independent part beside it.

\b
Estimates and a report from what the polygons carry:
  smallarea fit counties.gpkg --direct rate --variance rate_var \\
      --covariates poverty --output estimates.gpkg --report report.html

\b
A survey table with standard errors, joined by id:
  smallarea fit counties.gpkg --id-field FIPS --table survey.csv \\
      --direct rate --variance rate_se --variance-type standard_error --csv estimates.csv

\b
The classic model without neighbours, by REML:
  smallarea fit counties.gpkg --direct rate --variance rate_var \\
      --random-effect iid --method reml --csv estimates.csv

\b
Two responses that inform each other, each with its variance in the same order, and their sampling covariance:
  smallarea fit counties.gpkg --direct income --direct rent --variance income_var --variance rent_var \\
      --covariance income_rent_cov --covariates poverty --output estimates.gpkg"""

_FIT_SPACE_TIME = f"""Fit a space-time Fay-Herriot model and map its estimates in time.

{_LAYER} The direct estimates and their sampling variances are in a long table, one row for each area and period.
Areas, periods and single cells without a row are predicted.

The default is the exact posterior of a model whose effects are alike among neighbours and from one period to the next
(car_ar1), with an independent part beside it.

\b
Six years of survey estimates, joined by id:
  smallarea fit-space-time counties.gpkg --id-field FIPS --table survey.csv --time year \\
      --direct rate --variance rate_var --covariates poverty --output estimates.gpkg

\b
The model of Marhuenda, Molina and Morales (2013), with bootstrap errors:
  smallarea fit-space-time counties.gpkg --id-field FIPS --table survey.csv --time year \\
      --direct rate --variance rate_var --model stfh --csv estimates.csv"""

_COMPARE = f"""Compare Fay-Herriot models by how well they predict.

{_LAYER} The data are described as for 'smallarea fit'; they are read once, and every model sees the same direct
estimates and the same folds.

A model is a short text: a random effect, a link or a method by its word, everything else as key=value. Without any
--model a ladder from independent to spatial effects is compared.

\b
Is there anything in the neighbours?
  smallarea compare counties.gpkg --direct rate --variance rate_var \\
      --covariates poverty --csv scores.csv --report comparison.html

\b
Three models of one's own, by leaving out areas and whole regions:
  smallarea compare counties.gpkg --direct rate --variance rate_var \\
      --model "iid covariates=poverty,age" --model "car covariates=poverty" --model "leroux name=smooth" \\
      --criterion cv_area --criterion cv_block --folds 10 --excel comparison.xlsx

\b
Two responses: how do they hang together?
  smallarea compare counties.gpkg --direct rate --variance rate_var --direct income --variance income_var \\
      --model "car independent" --model "car separable" --model "car chain order=rate,income" --csv scores.csv"""

_EXPORT = f"""Make exceedance maps, ranks, comparisons and benchmarked estimates from posterior draws.

{_LAYER} It may be left out where no map is asked for. The draws come from a fit:
'smallarea fit ... --posterior draws.nc'.

\b
How probable is it that a county lies above 3.5, and what is its place:
  smallarea export counties.gpkg --id-field FIPS --posterior draws.nc \\
      --threshold 3.5 --output exceedance.gpkg --excel exceedance.xlsx

\b
Differences from the mean of the neighbours, and between two counties:
  smallarea export counties.gpkg --id-field FIPS --posterior draws.nc \\
      --compare neighbours --pair 37001=37003 --csv differences.csv

\b
Estimates that meet the states' published means, weighted by population:
  smallarea export counties.gpkg --id-field FIPS --posterior draws.nc \\
      --benchmark states.csv --group-field STATE --weight-field POP --output benchmarked.gpkg"""

_CHECK = f"""Validate polygons and report what would break an adjacency graph.

{_LAYER} Reported, with the areas' names: repeated ids, missing, empty and invalid shapes, slivers, gaps and
overlaps, a missing coordinate reference system. Nothing is changed unless --repair and --repaired are given.

\b
Examples:
  smallarea areas check counties.gpkg --id-field FIPS
  smallarea areas check counties.shp --crs EPSG:4267 --output findings.gpkg
  smallarea areas check counties.gpkg --repair --repaired counties_mended.gpkg"""

_ADJACENCY = f"""Build the adjacency graph of the areas.

{_LAYER}

\b
Examples:
  smallarea areas adjacency counties.gpkg --id-field FIPS --graph graph.json
  smallarea areas adjacency counties.gpkg --contiguity rook --islands nearest --edges edges.gpkg"""

_STATUS = """Say which engine this is, what it found, and what is missing.

\b
Examples:
  smallarea status
  smallarea status --json"""

_RUN = """Run a job file; events as JSON lines.

JOB is a JSON file: {"version": 1, "task": "fit", "parameters": {...}}. Any command writes one with
--save-job; 'smallarea schema' lists the tasks and their parameters. Relative paths in it start from its own
folder.

On a terminal the progress is shown as for the other commands; otherwise standard output has one JSON object a
line: progress, info, warning, and last either result or error.

\b
Examples:
  smallarea run job.json
  smallarea run job.json | jq -r 'select(.type == "result").outputs.output'"""

_SCHEMA = """Print the JSON schema of the job files: every task, parameter, default and choice.

\b
Example:
  smallarea schema > job_schema.json"""

_DEMO = """Run the main job on real polygons, here and now.

Fits the rate of sudden infant death in the 100 counties of North Carolina, 1974 to 1978, and writes the map,
the report, the table and the job file to a folder.

\b
Example:
  smallarea demo --folder demo"""


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
    return click.Command("run", params=params, callback=callback, help=_RUN)


def _schema_command() -> click.Command:
    def callback() -> None:
        click.echo(json.dumps(json_schema(), indent=2))

    return click.Command("schema", callback=callback, help=_SCHEMA)


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
    return click.Command("demo", params=[option, _debug_option()], callback=callback, help=_DEMO)


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
    "fit": lambda: _task_command("fit", "fit", _FIT),
    "fit-space-time": lambda: _task_command("fit-space-time", "fit_space_time", _FIT_SPACE_TIME),
    "compare": lambda: _task_command("compare", "compare", _COMPARE),
    "export": lambda: _task_command("export", "export", _EXPORT),
    "areas": areas_group,
    "areas check": lambda: _task_command("check", "check_areas", _CHECK),
    "areas adjacency": lambda: _task_command("adjacency", "build_adjacency", _ADJACENCY),
    "run": _run_command,
    "status": lambda: _task_command("status", "status", _STATUS),
    "schema": _schema_command,
    "demo": _demo_command,
}
