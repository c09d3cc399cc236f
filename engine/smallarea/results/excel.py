"""Sheets for people: a fit, or what was made of its draws, as an Excel workbook."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallarea.io.workbook import Sheet, write_workbook
from smallarea.results.product_layout import KEYS

if TYPE_CHECKING:
    from smallarea.results.fit_result import FitResult


def write_fit_workbook(result: FitResult, path: str | os.PathLike[str]) -> None:
    """Write a fit as an Excel workbook.

    Parameters
    ----------
    result : FitResult
        The fit.
    path : path
        The file to write, ending in .xlsx.

    Raises
    ------
    OutputProblem
        If there are more areas than a sheet has rows.
    EngineUnavailable
        If openpyxl is not installed.
    """
    write_workbook(path, fit_sheets(result))


def fit_sheets(result: FitResult) -> list[Sheet]:
    """Return the sheets of a fit; those without rows are left out.

    Parameters
    ----------
    result : FitResult
        The fit.

    Returns
    -------
    list of Sheet
        Estimates, coefficients, hyperparameters, fit statistics and diagnostics, diagnostics of the areas, what was
        left out, reliability classes, warnings, model and settings.
    """
    statistics = {**result.fit_statistics, **result.diagnostics}
    settings = {
        **result.model,
        **{f"call: {name}": value for name, value in result.call.items() if value is not None},
        **{f"version of {name}": value for name, value in result.versions.items()},
    }
    classes = pd.DataFrame([dict(entry) for entry in result.reliability.get("classes", ())])
    sheets = [
        Sheet("Estimates", result.estimates),
        Sheet("Coefficients", result.coefficients),
        Sheet("Hyperparameters", result.hyperparameters),
        *(Sheet(name, frame) for name, frame in result.more_sheets().items()),
        Sheet("Fit and diagnostics", settings_frame(statistics)),
        Sheet("Area diagnostics", result.area_diagnostics),
        Sheet("Left out", result.dropped),
        Sheet("Reliability classes", classes[[c for c in ("label", "meaning") if c in classes]]),
        Sheet("Warnings", pd.DataFrame({"warning": list(result.warnings)})),
        Sheet("Model and settings", settings_frame(settings)),
    ]
    return [sheet for sheet in sheets if len(sheet.frame)]


def product_sheets(
    wide: pd.DataFrame,
    exceedance: pd.DataFrame,
    ranks: pd.DataFrame,
    differences: pd.DataFrame,
    benchmark: pd.DataFrame,
    settings: Mapping[str, Any],
    estimates: Sequence[str],
) -> list[Sheet]:
    """Return the sheets of a workbook; those without rows are left out.

    Parameters
    ----------
    wide : pandas.DataFrame
        As from `wide_table`.
    exceedance, ranks, differences, benchmark : pandas.DataFrame
        The tables.
    settings : mapping
        What was asked for, and what is known of the draws.
    estimates : sequence of str
        Columns of ``wide`` that belong to the sheet of estimates.

    Returns
    -------
    list of Sheet
        Estimates, exceedance (a column for each threshold), ranks, differences, benchmark, model and settings.
    """
    beyond = [f for f in wide.columns if f.startswith(("p_above_", "p_below_"))] if len(exceedance) else []
    sheets = [
        Sheet("Estimates", wide[list(estimates)]),
        Sheet("Exceedance", wide[[*KEYS, *beyond]] if beyond else pd.DataFrame()),
        Sheet("Ranks", ranks),
        Sheet("Differences", differences),
        Sheet("Benchmark", benchmark),
        Sheet("Model and settings", settings_frame(settings)),
    ]
    return [sheet for sheet in sheets if len(sheet.frame)]


def settings_frame(settings: Mapping[str, Any]) -> pd.DataFrame:
    """Return a mapping as two columns, with lists and mappings as text.

    Parameters
    ----------
    settings : mapping
        Name to value.

    Returns
    -------
    pandas.DataFrame
        Columns ``name``, ``value``; what was not set is empty.
    """
    return pd.DataFrame({"name": list(settings), "value": [_text(value) for value in settings.values()]}, dtype=object)


def _text(value: Any) -> Any:
    if isinstance(value, Mapping):
        return "; ".join(f"{name}={_text(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return "; ".join(str(_text(item)) for item in value)
    return value
