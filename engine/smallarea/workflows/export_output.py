"""What an export says and writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea._version import __version__
from smallarea.area_level.summaries import normal_width
from smallarea.errors import named
from smallarea.results import product_layout as layout
from smallarea.results.excel import product_sheets
from smallarea.results.posterior import PosteriorDraws
from smallarea.workflows.benchmark_notes import benchmark_warnings
from smallarea.workflows.export_result import ExportResult

if TYPE_CHECKING:
    from smallarea.areas import Areas

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

LAYER = "exceedance_and_ranks"
_FEW_DRAWS = 1000
# A standard deviation of so many times the interval's width in normal units comes from a few far draws.
_HEAVY_TAIL = 2.0


def export_settings(draws: PosteriorDraws, call: Mapping[str, Any]) -> dict[str, Any]:
    """Say what is known of the draws and what was asked for, printable.

    Parameters
    ----------
    draws : PosteriorDraws
        As read.
    call : mapping
        Parameters of the call.

    Returns
    -------
    dict
        Name to text, number or list.
    """
    known = {f"draws: {name}": value for name, value in draws.attributes.items()}
    about = {"responses": draws.responses, "areas of the draws": len(draws.areas), "draws": len(draws)}
    asked = {name: _printable(value) for name, value in call.items() if value is not None}
    return {**about, **known, "smallarea": __version__, **asked}


def export_warnings(
    draws: PosteriorDraws,
    polygons: Areas | None,
    estimates: pd.DataFrame,
    level: float,
    benchmark: pd.DataFrame,
    method: str,
    weight_field: str | None,
) -> tuple[str, ...]:
    """Say what a user should know before using the numbers.

    Parameters
    ----------
    draws : PosteriorDraws
        As read.
    polygons : Areas or None
        The polygons.
    estimates : pandas.DataFrame
        The table of estimates.
    level : float
        Coverage of its intervals.
    benchmark : pandas.DataFrame
        The table of adjustments.
    method : str
        Of benchmarking.
    weight_field : str or None
        Where the weights came from.

    Returns
    -------
    tuple of str
        May be empty.
    """
    found = []
    if len(draws) < _FEW_DRAWS:
        found.append(
            f"There are {len(draws)} draws: a probability near one half has a Monte Carlo error of "
            f"{0.5 / np.sqrt(len(draws)):.3f}. Fit with more draws for finer differences."
        )
    width = normal_width(estimates["lower"].to_numpy(), estimates["upper"].to_numpy(), level)
    heavy = list(dict.fromkeys(estimates.loc[estimates["se"].to_numpy() > _HEAVY_TAIL * width, "area"]))
    if heavy:
        found.append(
            f"The draws of {len(heavy)} areas have very long tails, as where nothing near was sampled: {named(heavy)}. "
            "Their means and standard errors, and what adds them up (means, benchmarks, constrained estimates), are "
            "unstable; rely on probabilities, ranks and intervals."
        )
    extra = [] if polygons is None else sorted(set(polygons.ids) - set(draws.areas))
    if extra:
        found.append(f"{len(extra)} polygons have no draws and stay empty: {named(extra)}.")
    found += benchmark_warnings(benchmark, method, weight_field)
    return tuple(found)


def write_products(
    result: ExportResult, output: PathLike | None, csv: PathLike | None, excel: PathLike | None, tell: Progress
) -> None:
    """Write what was asked for, all files or none.

    Parameters
    ----------
    result : ExportResult
        The tables.
    output, csv, excel : path or None
        Where to write; None leaves it out.
    tell : callable
        ``tell(percent, text)``; it may raise to cancel, and then nothing has been written.

    Raises
    ------
    OutputProblem
        If a file cannot be written.
    """
    from smallarea.io import AtomicOutputs, add_layer
    from smallarea.io.styles import store_styles
    from smallarea.io.workbook import write_workbook

    with AtomicOutputs() as outputs:
        if output is not None:
            tell(85.0, "writing the map")
            path, frame = outputs.path(output), result.layer()
            renamed = add_layer(frame, path, LAYER)
            fields = {str(name): renamed.get(str(name), str(name)) for name in frame.columns}
            written = frame.rename(columns=fields)
            store_styles(path, LAYER, layout.product_styles(written, result.draws.responses, result.exceedance, fields))
        if csv is not None:
            tell(90.0, "writing the table")
            result.long().to_csv(outputs.path(csv), index=False)
        if excel is not None:
            tell(93.0, "writing the workbook")
            sheets = product_sheets(
                result.wide(),
                result.exceedance,
                result.ranks,
                result.differences,
                result.benchmark,
                {**result.settings, **{f"factor of {r}": f for r, f in result.factors.itertuples(index=False)}},
                list(result.estimates.columns),
            )
            write_workbook(outputs.path(excel), sheets)
        tell(100.0, "done")


def _printable(value: Any) -> Any:
    if isinstance(value, str | bool | int | float | list | tuple):
        return value
    return os.fspath(value) if isinstance(value, os.PathLike) else f"<{type(value).__name__}>"
