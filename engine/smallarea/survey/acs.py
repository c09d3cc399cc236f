"""Annotations of the American Community Survey: what stands in place of an estimate or of a margin of error.

The Census Bureau's programming interface gives large negative numbers, its tables and text files symbols. Sources:

- U.S. Census Bureau, *Notes on ACS Estimate and Annotation Values*,
  census.gov/data/developers/data-sets/acs-1year/notes-on-acs-estimate-and-annotation-values.html.
- U.S. Census Bureau, *ACS Summary File Technical Documentation*, "Jam values": the numbers that stand for an open end,
  and a margin of error of 0 for a controlled estimate.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem
from smallarea.io import check_field, id_texts, numeric_column

Vector = NDArray[np.float64]
Marks = NDArray[np.object_]

NO_SAMPLE = "no_sample"
SUPPRESSED = "suppressed"
NOT_APPLICABLE = "not_applicable"
NO_ERROR = "no_error"
OPEN_ENDED = "open_ended"
CONTROLLED = "controlled"
TOP_CODED = "top_coded"
BOTTOM_CODED = "bottom_coded"

MEANINGS = {
    NO_SAMPLE: "no or too few sample observations, or a ratio of medians that cannot be computed ('-', -666666666)",
    SUPPRESSED: "too few sample cases to be published ('N', -999999999)",
    NOT_APPLICABLE: "not applicable or not available ('(X)', -888888888)",
    NO_ERROR: "no margin of error: no or too few sample observations ('**', -222222222), or none given",
    OPEN_ENDED: "a median in the lowest or the highest, open interval, of which no error is published "
    "('***', -333333333)",
    CONTROLLED: "controlled to a known total, so that there is no sampling error to speak of ('*****', -555555555)",
    TOP_CODED: "top-coded, such as 250,000+",
    BOTTOM_CODED: "bottom-coded, such as 2,500-",
}
_NUMBERS = {
    -666666666.0: NO_SAMPLE,
    -999999999.0: SUPPRESSED,
    -888888888.0: NOT_APPLICABLE,
    -222222222.0: NO_ERROR,
    -333333333.0: OPEN_ENDED,
    -555555555.0: CONTROLLED,
}
_SYMBOLS = {
    "-": NO_SAMPLE,
    "n": SUPPRESSED,
    "(x)": NOT_APPLICABLE,
    "**": NO_ERROR,
    "***": OPEN_ENDED,
    "*****": CONTROLLED,
}
_EMPTY = {"", "null", "na", "n/a", "nan", "none", "."}
# Numbers that stand for the two ends of a distribution, where no margin of error comes with them.
_HIGH_JAM = frozenset({100001.0, 200001.0, 250001.0, 1000001.0, 2000001.0})
_LOW_JAM = frozenset({2499.0, 9999.0})
_NUMBER = re.compile(r"(?:±|\+/-)?\s*([+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d*)?)\s*(%?)\s*([+-]?)")


@dataclass(frozen=True)
class Annotated:
    """A field with its annotations taken out.

    Attributes
    ----------
    numbers : ndarray, shape (N,)
        The numbers, NaN where there are none.
    marks : ndarray of str, shape (N,)
        Key of `MEANINGS`, empty where there is no annotation.
    """

    numbers: Vector
    marks: Marks


def read_annotated(frame: pd.DataFrame, name: str, ids: Sequence[str]) -> Annotated:
    """Read a field of estimates or margins of error as the Census Bureau writes them.

    Commas separate thousands; a percent sign and a plus-minus sign before the number are passed over.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    name : str
        The field.
    ids : sequence of str, length N
        Area ids, for messages.

    Returns
    -------
    Annotated
        Numbers and marks.

    Raises
    ------
    TableProblem
        If there is no such field, or it has values that are neither numbers nor annotations.
    """
    check_field(frame, name)
    marks = np.full(len(frame), "", dtype=object)
    if pd.api.types.is_numeric_dtype(frame[name].dtype):
        numbers = numeric_column(frame, name, ids)
    else:
        numbers, bad = np.full(len(frame), np.nan), []
        for row, text in enumerate(id_texts(frame[name])):
            numbers[row], marks[row], fits = _read(text)
            if not fits:
                bad.append(f"{text!r} ({ids[row]})")
        if bad:
            more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
            raise TableProblem(
                f"Field {name!r} has values that are neither numbers nor annotations of the American Community "
                f"Survey: {', '.join(bad[:5])}{more}. Correct them or leave them empty."
            )
    for code, mark in _NUMBERS.items():
        here = numbers == code
        marks[here], numbers[here] = mark, np.nan
    return Annotated(numbers, marks)


def mark_open_ends(estimate: Annotated, error: Vector) -> Annotated:
    """Mark estimates that are one of the numbers the Census Bureau puts for an open end, and have no error.

    Parameters
    ----------
    estimate : Annotated
        Estimates.
    error : ndarray, shape (N,)
        Their margins of error, NaN where there are none.

    Returns
    -------
    Annotated
        The same numbers, with more marks.
    """
    marks = estimate.marks.copy()
    without = ~np.isfinite(error) & (marks == "")
    marks[without & np.isin(estimate.numbers, list(_HIGH_JAM))] = TOP_CODED
    marks[without & np.isin(estimate.numbers, list(_LOW_JAM))] = BOTTOM_CODED
    return Annotated(estimate.numbers, marks)


def _read(text: str | None) -> tuple[float, str, bool]:
    """Return number, mark, and whether the text was understood."""
    plain = (text or "").strip()
    # Excel takes a text for a formula or a number unless something stands before it.
    symbol = plain.lstrip("'").lower()
    if symbol in _EMPTY:
        return np.nan, "", True
    if symbol in _SYMBOLS:
        return np.nan, _SYMBOLS[symbol], True
    found = _NUMBER.fullmatch(plain)
    if found is None or not any(character.isdigit() for character in found[1]):
        try:
            return float(plain), "", bool(np.isfinite(float(plain)))
        except ValueError:
            return np.nan, "", False
    mark = {"+": TOP_CODED, "-": BOTTOM_CODED, "": ""}[found[3]]
    number = float(found[1].replace(",", ""))
    return number, mark, bool(np.isfinite(number))
