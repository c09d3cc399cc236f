"""The command line.

This module needs click only: the help must be there at once. The commands, whose options come from the job
schema, are built when one of them is asked for.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from typing import Any

import click

from smallarea._version import __version__
from smallarea.errors import SmallareaError

_HELP = """Small area estimation: an estimate, and how sure it is, for every polygon of a map.

\b
A first fit, from polygons that carry the direct estimates and their sampling variances:
  smallarea fit counties.gpkg --direct rate --variance rate_var \\
      --output estimates.gpkg --report report.html

\b
The same steps one by one:
  smallarea areas check counties.gpkg --id-field FIPS
  smallarea areas adjacency counties.gpkg --id-field FIPS --graph graph.json
  smallarea fit counties.gpkg --id-field FIPS --graph graph.json --table survey.csv ...

'smallarea COMMAND --help' explains each command; 'smallarea demo' runs one on real polygons."""

_COMMANDS = {
    "fit": "Fit a Fay-Herriot model and map its estimates.",
    "fit-counts": "Fit a model of counts or shares and map its estimates.",
    "fit-space-time": "Fit a space-time Fay-Herriot model and map its estimates in time.",
    "fit-trees": "Fit a Fay-Herriot model with regression trees and map its estimates.",
    "bartsimp": "Fit trees plus a field to survey clusters, predict surfaces and areas.",
    "compare": "Compare Fay-Herriot models by how well they predict.",
    "export": "Make exceedance maps, ranks, comparisons and benchmarked estimates from posterior draws.",
    "benchmark": "Make estimates, or posterior draws, meet targets that are known better.",
    "areas": "Check polygons, build their adjacency graph.",
    "survey": "From survey microdata or published estimates to the input of a fit.",
    "prior": "Train, prove and keep learned spatial priors.",
    "run": "Run a job file; events as JSON lines.",
    "status": "Say which engine this is, what it found, and what is missing.",
    "schema": "Print the JSON schema of the job files.",
    "demo": "Run the main job on real polygons, here and now.",
}

# Name of a group: what it is for, and its commands.
_GROUPS = {
    "areas": (
        "Check polygons and build their adjacency graph, before a fit or without one.",
        {
            "check": "Validate polygons and report what would break an adjacency graph.",
            "adjacency": "Build the adjacency graph of the areas.",
        },
    ),
    "survey": (
        "From a survey's table of respondents, or from published estimates, to the input of a fit.",
        {
            "direct": "Estimate every area directly from survey microdata.",
            "calibrate": "Calibrate survey weights to known totals.",
            "latent": "Score respondents on what several survey items have in common.",
            "prepare": "Turn published estimates and their errors into the input of a fit.",
            "impute": "Impute the missing answers of a survey several times.",
            "match": "Join the rows of a survey table to areas and report how well they fit.",
            "smooth": "Smooth sampling variances by a generalised variance function.",
        },
    ),
    "bartsimp": (
        "From survey clusters and covariate rasters to a surface and areas (BARTSIMP).",
        {
            "fit": "Fit regression trees plus a field in space to survey clusters (BARTSIMP).",
            "predict": "Predict a surface from a posterior of BARTSIMP, and average its draws over areas.",
            "aggregate": "Average draws of a surface over areas of one or several levels.",
            "dependence": "Show what trees of BARTSIMP say of each covariate, and which act together.",
        },
    ),
    "prior": (
        "Train spatial priors for a geography, prove how good they are, and keep them.",
        {
            "train": "Train a spatial prior for a geography and certify it.",
            "verify": "Compute the fidelity certificate of a prior on a geography.",
            "show": "Say what a prior file holds, and whether its certificate passed.",
            "list": "List the priors in the library; with a geography, those that serve it.",
            "export": "Copy a prior out of the library, checked byte by byte.",
        },
    ),
}


class LazyGroup(click.Group):
    """A group that lists its commands without importing them.

    Parameters
    ----------
    listing : dict
        Command name to one line of help.
    prefix : str
        Put before a name to find its builder in `smallarea.cli.commands`.
    **attrs
        As for `click.Group`.
    """

    def __init__(self, *, listing: dict[str, str], prefix: str = "", **attrs: Any) -> None:
        super().__init__(**attrs)
        self._listing = listing
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names in the order of use."""
        return list(self._listing)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Build a command."""
        if cmd_name not in self._listing:
            return None
        commands = importlib.import_module("smallarea.cli.commands")
        command: click.Command = commands.build(self._prefix + cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands with their line of help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._listing.items()))


def exit_codes() -> str:
    """Return the exit codes by error family, one a line.

    Returns
    -------
    str
        Families in the order of their codes.
    """
    families = sorted(SmallareaError.__subclasses__(), key=lambda family: family.exit_code)
    listed = [(0, "success"), *((family.exit_code, family.__name__) for family in families)]
    listed.insert(-1, (70, "InternalError: a fault of smallarea"))
    return "\n".join(f"  {code:>3}  {text}" for code, text in listed)


def group(name: str) -> click.Group:
    """Build a group of commands.

    Parameters
    ----------
    name : str
        ``areas``, ``survey``, ``bartsimp`` or ``prior``.

    Returns
    -------
    click.Group
        With its commands.
    """
    purpose, listing = _GROUPS[name]
    return LazyGroup(listing=listing, prefix=f"{name} ", name=name, help=purpose)


@click.group(
    cls=LazyGroup,
    listing=_COMMANDS,
    help=_HELP,
    epilog=f"\b\nExit codes:\n{exit_codes()}",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="smallarea")
def cli() -> None:
    """Hold the commands; the help text is the constant above."""


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Warnings of libraries are for programmers; what users should know is in the results.
    if not sys.warnoptions and "--debug" not in sys.argv:
        warnings.simplefilter("ignore")
    if "--json" not in sys.argv:
        cli(prog_name="smallarea")
    try:
        # Who reads JSON lines reads a wrong command line there too.
        sys.exit(cli(prog_name="smallarea", standalone_mode=False))
    except click.ClickException as error:
        event = {"type": "error", "family": "JobProblem", "text": error.format_message(), "exit_code": error.exit_code}
        print(json.dumps(event, ensure_ascii=False))
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
