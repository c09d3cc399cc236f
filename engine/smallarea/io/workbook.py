"""Excel workbooks that are read without mending: a frozen header, widths that fit, numbers with few digits."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.errors import EngineUnavailable, OutputProblem

if TYPE_CHECKING:
    from openpyxl.worksheet._write_only import WriteOnlyWorksheet

MOST_ROWS = 1_048_576
_WIDEST = 60
_NOT_IN_TITLES = re.compile(r"[\[\]:*?/\\]")
_PROBABILITY = re.compile(r"^(p|probability)(_|$)")
_WHOLE = re.compile(r"^(rank(_lower|_upper|_median|_joint_lower|_joint_upper)?|n_.*)(?=_|$)")
# Excel's files cannot hold the other control characters.
_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f￾￿]")


@dataclass(frozen=True)
class Sheet:
    """One sheet: its title, at most 31 characters, and its rows."""

    title: str
    frame: pd.DataFrame


def write_workbook(path: str | os.PathLike[str], sheets: Sequence[Sheet]) -> None:
    """Write sheets as an Excel workbook.

    Parameters
    ----------
    path : path
        The file to write, ending in .xlsx.
    sheets : sequence of Sheet
        In their order; at least one.

    Raises
    ------
    OutputProblem
        If a table has more rows than a sheet can hold.
    EngineUnavailable
        If openpyxl is not installed.
    """
    try:
        from openpyxl import Workbook
    except ImportError as error:
        raise EngineUnavailable(
            "Writing Excel files needs openpyxl. Install it (pip install openpyxl), or ask for CSV."
        ) from error
    for sheet in sheets:
        if len(sheet.frame) >= MOST_ROWS:
            raise OutputProblem(
                f"The table '{sheet.title}' has {len(sheet.frame):,} rows and a sheet of Excel holds "
                f"{MOST_ROWS - 1:,}. Ask for CSV instead of Excel."
            )
    book = Workbook(write_only=True)
    for sheet in sheets:
        _fill(book.create_sheet(_NOT_IN_TITLES.sub(" ", sheet.title)[:31]), sheet.frame)
    book.save(path)


def number_format(name: str, values: pd.Series) -> str:
    """Choose how a column of numbers is shown.

    Parameters
    ----------
    name : str
        The column's name: probabilities, coefficients of variation and ranks have formats of their own.
    values : pandas.Series
        The numbers.

    Returns
    -------
    str
        Excel's notation. Other numbers show four digits of their median size; their full value stays in the cell.
    """
    if _PROBABILITY.match(name):
        return "0.000"
    if name == "cv" or name.startswith("cv_"):
        return "0.0%"
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    sizes = np.abs(numbers[np.isfinite(numbers) & (numbers != 0.0)])
    if pd.api.types.is_integer_dtype(values.dtype):
        return "0"
    if _WHOLE.match(name) and np.all(sizes == np.round(sizes)):
        return "0"
    if not sizes.size:
        return "General"
    typical = float(np.median(sizes))
    if not 1e-6 <= typical < 1e12:
        return "0.000E+00"
    digits = max(0, 3 - math.floor(math.log10(typical)))
    return "0" if digits == 0 else "0." + "0" * digits


def _fill(target: WriteOnlyWorksheet, frame: pd.DataFrame) -> None:
    from openpyxl.styles import Alignment, Font, PatternFill
    from openpyxl.utils import get_column_letter

    target.freeze_panes = "B2" if len(frame.columns) > 3 else "A2"
    names = [str(name) for name in frame.columns]
    formats = [_format(name, frame[column]) for name, column in zip(names, frame.columns, strict=True)]
    for k, (name, column) in enumerate(zip(names, frame.columns, strict=True), start=1):
        target.column_dimensions[get_column_letter(k)].width = _width(name, frame[column], formats[k - 1])
    font, fill = Font(bold=True), PatternFill("solid", start_color="DDE5EC")
    target.append([_cell(target, name, font=font, fill=fill) for name in names])
    wrap = Alignment(wrap_text=True, vertical="top")
    for row in _rows(frame):
        cells = []
        for value, shown in zip(row, formats, strict=True):
            cell = _cell(target, value, number_format=shown)
            if isinstance(value, str) and len(value) > _WIDEST:
                cell.alignment = wrap
            cells.append(cell)
        target.append(cells)
    if len(frame) and names:
        target.auto_filter.ref = f"A1:{get_column_letter(len(names))}{len(frame) + 1}"


def _rows(frame: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    for row in frame.itertuples(index=False, name=None):
        yield tuple(_plain(value) for value in row)


def _plain(value: Any) -> Any:
    """Return what a cell can hold: no value for what is missing, text for what Excel has no number for."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, pd.Timestamp):
        return value.to_pydatetime()
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if isinstance(value, bool | int | float):
        return value
    return _ILLEGAL.sub("�", str(value))


def _cell(target: WriteOnlyWorksheet, value: Any, **style: Any) -> Any:
    from openpyxl.cell import WriteOnlyCell

    cell = WriteOnlyCell(target, value=value)
    if isinstance(value, str):
        cell.data_type = "s"  # an area called "=A1" is a name and no formula
    for name, given in style.items():
        setattr(cell, name, given)
    return cell


def _format(name: str, values: pd.Series) -> str:
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        return number_format(name, values)
    return "yyyy-mm-dd" if pd.api.types.is_datetime64_any_dtype(values.dtype) else "General"


def _width(name: str, values: pd.Series, shown: str) -> float:
    """Return a width in characters that holds the header with its filter button and nearly every value."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
        largest = float(np.max(np.abs(numbers), where=np.isfinite(numbers), initial=1.0))
        digits = math.floor(math.log10(max(largest, 1.0))) + 2 + (len(shown) - 1 if "." in shown else 0)
    else:
        lengths = [len(str(value)) for value in values]
        digits = int(min(np.quantile(lengths, 0.98), _WIDEST)) if lengths else 0
    return float(max(len(name) + 4, digits + 2, 8))
