"""Sheets of Excel workbooks as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from smallarea.errors import EngineUnavailable, TableProblem, named
from smallarea.io.fields import check_names
from smallarea.io.ids import repeated


def read_sheet(name: str, sheet: str | None, columns: Sequence[str] | None) -> pd.DataFrame:
    """Read one sheet.

    Parameters
    ----------
    name : str
        The workbook.
    sheet : str or None
        The sheet; needed only if several have content.
    columns : sequence of str or None
        Columns to keep; None for all.

    Returns
    -------
    pandas.DataFrame
        One row a record; the first row that is not empty is the header.

    Raises
    ------
    TableProblem
        If it is no workbook, is damaged, or the sheet is unknown, empty or has to be chosen.
    EngineUnavailable
        If openpyxl is not installed.
    """
    try:
        import openpyxl
    except ImportError as error:
        raise EngineUnavailable(
            "Reading Excel files needs openpyxl. Install it (pip install openpyxl), or save the sheet as CSV."
        ) from error
    try:
        book = openpyxl.load_workbook(name, read_only=True, data_only=True)
        try:
            sheets = {one.title: one for one in book.worksheets}
            rows = list(sheets[_choose_sheet(name, sheets, sheet)].iter_rows(values_only=True))
        finally:
            book.close()
    except TableProblem:
        raise
    except Exception as error:  # openpyxl lets zip, XML and key errors through, at the sheet's rows as well
        raise TableProblem(f"Cannot read {name} as an Excel workbook: {error}") from error
    rows = [row for row in rows if any(value is not None for value in row)]
    if not rows:
        raise TableProblem(f"The sheet of {name} is empty.")
    width = max(i + 1 for row in rows for i, value in enumerate(row) if value is not None)
    header = [str(value).strip() if value is not None else f"column_{i + 1}" for i, value in enumerate(rows[0][:width])]
    header += [f"column_{i + 1}" for i in range(len(header), width)]
    if columns is None:
        return _frame([list(row[:width]) for row in rows[1:]], header, width)
    check_names(header, columns, f"the table {Path(name).name}")
    twice = [column for column in repeated(header) if column in columns]
    if twice:
        raise TableProblem(f"The table {name} has several columns named {named(twice)}. Rename all but one of each.")
    places = [i for i, column in enumerate(header) if column in set(columns)]
    chosen = [[row[i] if i < len(row) else None for i in places] for row in rows[1:]]
    return _frame(chosen, [header[i] for i in places], len(places))


def _frame(rows: list[list[Any]], header: list[str], width: int) -> pd.DataFrame:
    padded = [row + [None] * (width - len(row)) for row in rows]
    return pd.DataFrame(padded, columns=pd.Index(header)).infer_objects()


def _choose_sheet(name: str, sheets: dict[str, Any], sheet: str | None) -> str:
    if sheet is not None:
        if sheet not in sheets:
            raise TableProblem(f"{name} has no sheet {sheet!r}. It has {named(list(sheets), 20)}.")
        return sheet
    filled = [title for title, one in sheets.items() if one.max_row is None or one.max_row > 1] or list(sheets)
    if len(filled) > 1:
        raise TableProblem(f"{name} has {len(filled)} sheets: {named(filled, 20)}. Say which one to use.")
    if not filled:
        raise TableProblem(f"{name} has no sheet with cells.")
    return filled[0]
