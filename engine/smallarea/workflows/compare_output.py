"""Writing what a comparison was asked for: tables and a report."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd

from smallarea.results.excel import settings_frame

if TYPE_CHECKING:
    from smallarea.io.workbook import Sheet
    from smallarea.results.compare_result import CompareResult

PathLike = str | os.PathLike[str]


def write_comparison(
    result: CompareResult,
    report: PathLike | None,
    csv: PathLike | None,
    cells: PathLike | None,
    excel: PathLike | None,
    tell: Callable[[float, str], None],
) -> None:
    """Write what was asked for, all files or none.

    Parameters
    ----------
    result : CompareResult
        The comparison.
    report, csv, cells, excel : path or None
        Where to write; None leaves it out.
    tell : callable
        ``tell(percent, text)``; it may raise to cancel, and then nothing has been written.

    Raises
    ------
    OutputProblem
        If a file cannot be written.
    """
    from smallarea.io import AtomicOutputs
    from smallarea.io.workbook import write_workbook

    with AtomicOutputs() as outputs:
        if csv is not None:
            score_sheet(result).to_csv(outputs.path(csv), index=False)
        if cells is not None:
            result.cells.to_csv(outputs.path(cells), index=False)
        if excel is not None:
            tell(20.0, "writing the workbook")
            write_workbook(outputs.path(excel), comparison_sheets(result))
        if report is not None:
            tell(50.0, "writing the report")
            from smallarea.report.comparison import write_comparison_report

            write_comparison_report(result, str(outputs.path(report)))
        tell(100.0, "done")


def score_sheet(result: CompareResult) -> pd.DataFrame:
    """Return the scores; where nothing was predicted, the information criteria."""
    return result.scores if len(result.scores) else result.information


def comparison_sheets(result: CompareResult) -> list[Sheet]:
    """Return the sheets of the workbook; those without rows are left out.

    Parameters
    ----------
    result : CompareResult
        The comparison.

    Returns
    -------
    list of Sheet
        Scores, information criteria, models, every cell, warnings, settings.
    """
    from smallarea.io.workbook import Sheet

    settings = {**result.settings, **{f"version of {name}": value for name, value in result.versions.items()}}
    sheets = [
        Sheet("Scores", result.scores),
        Sheet("Information criteria", result.information.dropna(axis=1, how="all")),
        Sheet("Models", result.models),
        Sheet("Cells", result.cells),
        Sheet("Warnings", pd.DataFrame({"warning": list(result.warnings)})),
        Sheet("Settings", settings_frame({name: value for name, value in settings.items() if value is not None})),
    ]
    return [sheet for sheet in sheets if len(sheet.frame)]
