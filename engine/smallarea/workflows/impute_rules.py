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


def parse_kinds(texts: Mapping[str, str]) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Read kinds such as ``nominal``, and ``ordinal: poor < fair < good`` with the order of the answers.

    Parameters
    ----------
    texts : mapping
        Variable to text.

    Returns
    -------
    kinds : dict
        Variable to kind.
    orders : dict
        Variable to its answers from the lowest to the highest, where they are given.

    Raises
    ------
    JobProblem
        If an order is given for another kind, or has fewer than two answers or one twice.
    """
    kinds, orders = {}, {}
    for name, text in texts.items():
        kind, colon, order = (part.strip() for part in text.partition(":"))
        kinds[name] = kind
        if not colon:
            continue
        answers = tuple(part.strip() for part in order.split("<" if "<" in order else ","))
        if kind != "ordinal" or len(answers) < 2 or len(set(answers)) < len(answers) or not all(answers):
            raise JobProblem(
                f"The kind {text!r} of {name!r} cannot be read. Write 'ordinal: poor < fair < good', each answer once, "
                "or one word."
            )
        orders[name] = answers
    return kinds, orders


def orders_of(table: object, names: Sequence[str]) -> dict[str, tuple[object, ...]]:
    """Return the answers of ordered columns of a data frame, from the lowest to the highest, by variable."""
    if not isinstance(table, pd.DataFrame):
        return {}
    kinds = {str(name): kind for name, kind in table.dtypes.items() if isinstance(kind, pd.CategoricalDtype)}
    return {name: tuple(kinds[name].categories) for name in names if name in kinds and kinds[name].ordered}


def with_orders(frame: pd.DataFrame, orders: Mapping[str, Sequence[object]], rules: Rules) -> pd.DataFrame:
    """Make columns ordered whose order is known.

    Parameters
    ----------
    frame : pandas.DataFrame
        The survey.
    orders : mapping
        Variable to answers, from the lowest to the highest.
    rules : Rules
        With the codes that are no answers, which keep their place in the column.

    Returns
    -------
    pandas.DataFrame
        Such columns are ordered categories.

    Raises
    ------
    TableProblem
        If the column has other answers.
    """
    changed = {}
    for name, order in orders.items():
        column = frame[name]
        if pd.api.types.is_numeric_dtype(column.dtype):
            order = [pd.to_numeric(str(answer), errors="coerce") for answer in order]
        codes = [code for code in rules.codes.get(name, ()) if code not in order]
        strange = column[column.notna() & ~column.isin([*order, *codes])]
        if len(strange):
            raise TableProblem(
                f"{name!r} has answers that its order does not have: {named(map(str, strange.unique()))} in rows "
                f"{named(strange.index + 1)}. Put them into the order, or name them as not asked or refused."
            )
        changed[name] = pd.Categorical(column, categories=[*order, *codes], ordered=True)
    return frame.assign(**changed)


def parse_deltas(given: Mapping[str, float]) -> dict[str, float]:
    """Return shifts of imputed answers as numbers.

    Parameters
    ----------
    given : mapping
        Variable to shift.

    Returns
    -------
    dict
        The same.

    Raises
    ------
    JobProblem
        If one is no number.
    """
    try:
        return {name: float(delta) for name, delta in given.items()}
    except (TypeError, ValueError):
        raise JobProblem(f"deltas are numbers, as income=0.3; got {dict(given)!r}.") from None


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
