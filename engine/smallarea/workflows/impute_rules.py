"""What a job says of a questionnaire, as rules: ranges, codes that are no answers, who was asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.survey.imputation.rules import Rules, parse_skip

Range = tuple[float | None, float | None]

_RANGE = re.compile(r"^\s*(?P<lower>\S*?)\s*\.\.\s*(?P<upper>\S*?)\s*$")


def parse_ranges(texts: Mapping[str, str]) -> dict[str, Range]:
    """Read ranges such as ``18..110`` or ``0..``.

    Parameters
    ----------
    texts : mapping
        Variable to text.

    Returns
    -------
    dict
        Variable to lowest and highest answer, None where there is no limit.

    Raises
    ------
    JobProblem
        If one cannot be read, or has no end at all.
    """
    found = {}
    for name, text in texts.items():
        match = _RANGE.match(text)
        ends = [match["lower"], match["upper"]] if match else []
        try:
            lower, upper = (float(end) if end else None for end in ends)
        except ValueError:
            lower = upper = None
        numbers = [end for end in (lower, upper) if end is not None]
        if not numbers or not np.isfinite(numbers).all():
            raise JobProblem(f"The range {text!r} of {name!r} cannot be read. Write 18..110, or 0.. with one end open.")
        found[name] = (lower, upper)
    return found


def make_rules(
    frame: pd.DataFrame, not_asked: Mapping[str, str], refused: Mapping[str, str], skips: Sequence[str]
) -> Rules:
    """Make rules of what a job says.

    Parameters
    ----------
    frame : pandas.DataFrame
        The survey: codes are numbers where its column holds numbers.
    not_asked, refused : mapping
        Variable to codes, separated by commas.
    skips : sequence of str
        Skip patterns.

    Returns
    -------
    Rules
        Not yet checked against each other.

    Raises
    ------
    JobProblem
        If a skip pattern cannot be read, or a code of a column of numbers is none.
    TableProblem
        If a code occurs nowhere in its column.
    """
    return Rules(
        {name: _codes(frame, name, text, "not_asked") for name, text in not_asked.items()},
        {name: _codes(frame, name, text, "refused") for name, text in refused.items()},
        tuple(parse_skip(text) for text in skips),
    )


def _codes(frame: pd.DataFrame, name: str, text: str, what: str) -> tuple[object, ...]:
    if name not in frame.columns:
        raise JobProblem(f"{what} names {name!r}, which is not among the variables. Name it there.")
    column = frame[name]
    written = [part.strip() for part in text.split(",") if part.strip()]
    codes: list[object] = list(written)
    if pd.api.types.is_numeric_dtype(column.dtype):
        try:
            codes = [float(part) for part in written]
        except ValueError:
            raise JobProblem(
                f"{what}: the codes {text!r} of {name!r} are not all numbers, but the column holds numbers. Separate "
                "several codes by commas."
            ) from None
    lost = [part for part, code in zip(written, codes, strict=True) if not (column == code).any()]
    if lost or not codes:
        raise TableProblem(
            f"{what}: no row has the code {named(lost)} in {name!r}. Leave it out, or correct it: a code that is not "
            "recognised would be taken for an answer."
        )
    return tuple(codes)


def with_numbers(frame: pd.DataFrame, rules: Rules) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Turn columns of text into numbers where nothing but the named codes is text.

    Parameters
    ----------
    frame : pandas.DataFrame
        The survey.
    rules : Rules
        With the codes.

    Returns
    -------
    frame : pandas.DataFrame
        Such columns hold numbers beside the codes.
    changed : tuple of str
        Their names.
    """
    changed = {}
    for name, codes in rules.codes.items():
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
            continue
        coded = column.isin(list(codes)).to_numpy()
        numbers = pd.to_numeric(column.mask(coded).astype(object), errors="coerce")
        if numbers.notna().any() and (numbers.notna() | coded | column.isna()).all():
            changed[name] = column.where(coded, numbers).astype(object)
    return frame.assign(**changed), tuple(changed)
