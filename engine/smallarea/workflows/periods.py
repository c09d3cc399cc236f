"""The periods of a long table: which there are, in what order, and whether any is missing between them."""

from __future__ import annotations

import calendar
import datetime
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import id_texts

_ISO = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?(?:[T ]00:00(?::00)?)?")
# Steps between numbers are compared to this share of the smallest of them.
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Periods:
    """Equally spaced periods and the row of each in a table.

    Attributes
    ----------
    values : tuple
        Whole numbers, decimal numbers, dates or texts, in their order.
    labels : tuple of str
        The same as text.
    at : ndarray of int, shape (rows,)
        Period of each row of the table, -1 for one that is not among them.
    added : tuple of str
        Labels of the periods of which the table has no row.
    """

    values: tuple[Any, ...]
    labels: tuple[str, ...]
    at: NDArray[np.int64]
    added: tuple[str, ...]

    def column(self) -> pd.Series:
        """Values as a column for tables and layers: dates in the type that files have for them."""
        if isinstance(self.values[0], datetime.date):
            return pd.Series(pd.to_datetime(list(self.values)).as_unit("ms"))
        return pd.Series(list(self.values))


def read_periods(column: pd.Series, field: str, listed: Sequence[str | float], gaps: str) -> Periods:
    """Find the periods of a table.

    Parameters
    ----------
    column : pandas.Series
        Period of each row: numbers, dates (or texts like 2021-03 and 2021-03-01), or other texts, which are sorted
        with their numbers as numbers (wave 2 before wave 10).
    field : str
        Its name, for messages.
    listed : sequence of str or float
        All periods in their order, taken as equally spaced; if empty, those of the table.
    gaps : {'error', 'fill'}
        What to do where numbers or dates leave a period out, unless the periods are listed.

    Returns
    -------
    Periods
        The periods.

    Raises
    ------
    TableProblem
        If a row has no period, spacings differ, or periods are left out and that is an error.
    JobProblem
        If a listed period cannot be read or is listed twice.
    """
    texts = id_texts(column)
    empty = [row + 1 for row, text in enumerate(texts) if text is None]
    if empty:
        raise TableProblem(f"Field {field!r} has no period in {len(empty)} rows: {named(empty)}. Fill it in.")
    read = _reader([str(text) for text in texts], column)
    found = [read(str(text)) for text in texts]
    if listed:
        values = _listed(listed, read)
    else:
        values = sorted(set(found), key=_natural if isinstance(found[0], str) else None)
        values = _without_gaps(values, field, gaps)
    place = {value: number for number, value in enumerate(values)}
    at = np.array([place.get(value, -1) for value in found], dtype=np.int64)
    labels = tuple(label(value) for value in values)
    present = set(at.tolist())
    return Periods(tuple(values), labels, at, tuple(one for number, one in enumerate(labels) if number not in present))


def label(value: Any) -> str:
    """Write a period: whole numbers without a decimal point, dates as 2021-03-01."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value.isoformat() if isinstance(value, datetime.date) else str(value)


def _reader(texts: Sequence[str], column: pd.Series) -> Callable[[str], Any]:
    """Choose how all texts can be read: as dates, as numbers, or as they are."""
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return lambda text: pd.Timestamp(text).date()
    if all(_reads(_date, text) for text in texts):
        return _date
    if all(_reads(_number, text) for text in texts):
        return _number
    return lambda text: text.strip()


def _date(text: str) -> datetime.date:
    match = _ISO.fullmatch(text.strip())
    if match is None:
        raise ValueError(text)
    return datetime.date(int(match[1]), int(match[2]), int(match[3] or 1))


def _number(text: str) -> float | int:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return int(value) if value.is_integer() else value


def _reads(read: Callable[[str], Any], text: str) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def _natural(text: str) -> list[tuple[int, Any]]:
    """Sorting key with the numbers in a text as numbers."""
    parts = re.split(r"(\d+)", text.casefold())
    return [(0, int(part)) if part.isdigit() else (1, part) for part in parts if part]


def _listed(listed: Sequence[str | float], read: Callable[[str], Any]) -> list[Any]:
    values = []
    for item in listed:
        try:
            values.append(read(label(item)))
        except ValueError as error:
            raise JobProblem(
                f"The period {item!r} cannot be read like those of the table. Write it as there."
            ) from error
    twice = [label(value) for value in dict.fromkeys(values) if values.count(value) > 1]
    if twice:
        raise JobProblem(f"Periods are listed twice: {named(twice)}. List each once, in their order.")
    return values


def _without_gaps(values: list[Any], field: str, gaps: str) -> list[Any]:
    """Return the whole sequence of numbers or dates; texts have no sequence of their own."""
    if len(values) < 2 or isinstance(values[0], str):
        return values
    numbers, back = _on_a_line(values)
    steps = np.diff(numbers)
    step = float(np.min(steps))
    places = (numbers - numbers[0]) / step
    if np.any(np.abs(places - np.round(places)) > _ROUNDING * np.maximum(1.0, places)):
        raise TableProblem(
            f"The periods of field {field!r} are not equally spaced: {named([label(v) for v in values], 12)}. A model "
            "with effects that are correlated in time takes them as one step apart: list them in 'periods' if that "
            "is meant."
        )
    taken = set(np.round(places).astype(int).tolist())
    gone = [back(numbers[0] + step * place) for place in range(max(taken) + 1) if place not in taken]
    if gone and gaps == "error":
        raise TableProblem(
            f"The periods of field {field!r} leave {len(gone)} out: {named([label(v) for v in gone], 12)}. Set gaps to "
            "'fill' to predict them too (their covariates must be known), or list in 'periods' those that are to count "
            "as one step apart."
        )
    return sorted([*values, *gone])


def _on_a_line(values: Sequence[Any]) -> tuple[NDArray[np.float64], Callable[[float], Any]]:
    """Numbers that are equally spaced if the periods are, and the way back from such a number to a period.

    Dates on one day of the month, or all at the end of one, are counted in months, other dates in days.
    """
    if not isinstance(values[0], datetime.date):
        return np.array(values, dtype=float), lambda number: _number(repr(float(round(number, 9))))
    at_end = all(value.day == calendar.monthrange(value.year, value.month)[1] for value in values)
    if not at_end and len({value.day for value in values}) > 1:
        days = np.array([value.toordinal() for value in values], dtype=float)
        return days, lambda number: datetime.date.fromordinal(round(number))
    months = np.array([12 * value.year + value.month - 1 for value in values], dtype=float)

    def back(number: float) -> datetime.date:
        year, month = divmod(round(number), 12)
        last = calendar.monthrange(year, month + 1)[1]
        return datetime.date(year, month + 1, last if at_end else values[0].day)

    return months, back
