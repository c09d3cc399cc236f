"""What kind of answer a column holds: detected, or as the user declares it."""

from __future__ import annotations

import numbers
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named

Kind = Literal["continuous", "ordinal", "binary", "nominal", "bounded", "skewed"]
Range = tuple[float | None, float | None]
KINDS: tuple[str, ...] = get_args(Kind)
CATEGORICAL = ("ordinal", "binary", "nominal")

# Whole numbers with no more different values than this are answers on a scale (1 to 5, 0 to 10).
_SCALE_STEPS = 11
_MOST_CATEGORIES = 50
_SKEWED = 1.5
_FEWEST_ANSWERS = 5
_NEARLY_ALL_MISSING = 0.9
_YES_NO = 2
_NUMBER = "number of the row"


@dataclass(frozen=True)
class Variable:
    """A column of answers.

    Attributes
    ----------
    name : str
        The column.
    kind : {'continuous', 'ordinal', 'binary', 'nominal', 'bounded', 'skewed'}
        How its answers are modelled.
    lower, upper : float or None
        No answer lies below or above; None where there is no bound.
    categories : tuple
        Answers of an ordinal (in order), binary or nominal column, as they stand in the table.
    """

    name: str
    kind: Kind
    lower: float | None = None
    upper: float | None = None
    categories: tuple[Any, ...] = ()

    @property
    def categorical(self) -> bool:
        """Whether the answers are categories."""
        return self.kind in CATEGORICAL

    @property
    def numeric(self) -> bool:
        """Whether the answers are numbers, be it codes of categories."""
        return not self.categorical or all(is_number(category) for category in self.categories)


def describe_variables(
    frame: pd.DataFrame,
    names: Sequence[str],
    *,
    kinds: Mapping[str, str] | None = None,
    ranges: Mapping[str, Range] | None = None,
    structural: Mapping[str, Collection[object]] | None = None,
) -> tuple[Variable, ...]:
    """Tell the kinds of columns.

    Text, yes/no and ordered columns are nominal, binary and ordinal; so are numbers with two values (binary) and
    whole numbers with 3 to 11 different values (ordinal), unless they reach further than 10 and most answers have a
    value of their own. Other numbers are bounded where a range is given, skewed where the coefficient of skewness
    exceeds 1.5 either way, and continuous otherwise. Codes whose order means nothing (regions as 1, 2, 3) have to be
    declared nominal. Text declared ordinal is a column of ordered categories: letters are no order.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, ...)
        One row a respondent.
    names : sequence of str
        The columns to describe.
    kinds : mapping, optional
        Column to kind, where it is not the detected one.
    ranges : mapping, optional
        Column to its lowest and highest possible answer; either may be None. A continuous column with a range is
        bounded.
    structural : mapping, optional
        Column to the codes that are no answers, as "not asked" or "refused".

    Returns
    -------
    tuple of Variable
        In the order of `names`.

    Raises
    ------
    JobProblem
        If there is no column, a column is named twice, a kind is unknown, a range is empty or given for text.
    TableProblem
        If a column is not in the table, has no answer or fewer than five, only one answer, more than 50
        categories, infinite numbers, numbers mixed with text, or an answer outside its range.
    """
    kinds, ranges, structural = kinds or {}, ranges or {}, structural or {}
    frame = numbered(frame)
    _check_names(frame, names, (kinds, ranges))
    unknown = {name: kind for name, kind in kinds.items() if kind not in KINDS}
    if unknown:
        raise JobProblem(f"Unknown kinds of variables: {named(f'{n}={k}' for n, k in unknown.items())}. Use {KINDS}.")
    return tuple(
        _describe(answers_of(frame[name], structural.get(name, ())), name, kinds.get(name), ranges.get(name))
        for name in names
    )


def numbered(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose index is the number of each row as a user sees it in the file: the first is 1.

    An index of whole numbers in ascending order is that of the rows which were kept of a longer file; any other is
    replaced by the place.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, ...)
        The table; not changed.
    """
    index = frame.index
    if index.name == _NUMBER:
        return frame
    ordered = pd.api.types.is_integer_dtype(index.dtype) and index.is_unique and index.is_monotonic_increasing
    places = index.to_numpy() if ordered and len(index) and index[0] >= 0 else np.arange(len(index))
    return frame.set_axis(pd.Index(places + 1, name=_NUMBER), axis=0)


def answers_of(column: pd.Series, codes: Collection[object] = ()) -> pd.Series:
    """Return a column whose codes for "not asked" or "refused" are missing."""
    return column.mask(column.isin(list(codes))) if codes else column


def notes_on(frame: pd.DataFrame, variables: Sequence[Variable]) -> tuple[str, ...]:
    """Say what in the columns makes imputations doubtful, one sentence each: categories seen once, few answers.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, ...)
        With codes that are no answers made missing.
    variables : sequence of Variable
        From `describe_variables`.
    """
    notes = []
    for variable in variables:
        column = frame[variable.name]
        share = float(column.isna().mean())
        if share >= _NEARLY_ALL_MISSING:
            notes.append(
                f"{share:.1%} of {variable.name!r} are missing: its imputations rest on {int(column.notna().sum())} "
                "answers and on the model."
            )
        if variable.categorical:
            counts = column.value_counts()
            once = [category for category in variable.categories if counts.get(category, 0) == 1]
            if once:
                notes.append(
                    f"Seen once in {variable.name!r}: {named(once)}. One answer says little about who would give it; "
                    "consider merging it with another category."
                )
    return tuple(notes)


def is_number(value: object) -> bool:
    """Whether a value is a number, yes and no included."""
    return isinstance(value, numbers.Real | np.bool_)


def _check_names(frame: pd.DataFrame, names: Sequence[str], options: Sequence[Mapping[str, object]]) -> None:
    if not names:
        raise JobProblem("No variable to impute. Name at least one column.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise JobProblem(f"Variables named twice: {named(twice)}. Name each once.")
    absent = [name for name in names if name not in frame.columns]
    if absent:
        raise TableProblem(f"Not in the table: {named(absent)}. Its columns are {named(map(str, frame.columns), 12)}.")
    strangers = sorted({name for option in options for name in option} - set(names))
    if strangers:
        raise JobProblem(f"A kind or range is given for {named(strangers)}, which are not among the variables.")


def _describe(answers: pd.Series, name: str, declared: str | None, bounds: Range | None) -> Variable:
    present = answers.dropna()
    if pd.api.types.is_datetime64_any_dtype(present.dtype):
        raise TableProblem(f"{name!r} holds dates. Turn them into numbers (years, days since a date), or leave it out.")
    _check_enough(present, name, len(answers))
    _check_finite(present, name)
    lower, upper = bounds or (None, None)
    kind = declared or _detect(present, name, bounds)
    if kind in CATEGORICAL:
        categories = _categories(present, name, kind)
        if bounds is not None and not all(is_number(category) for category in categories):
            raise JobProblem(f"A range is given for {name!r}, which holds text. Leave the range out.")
        _check_range(present, name, bounds)
        return Variable(name, kind, lower, upper, categories)  # type: ignore[arg-type]
    values = _as_numbers(present, name, kind)
    _check_range(values, name, bounds)
    if kind == "continuous" and bounds is not None and bounds != (None, None):
        kind = "bounded"
    return Variable(name, kind, lower, upper)  # type: ignore[arg-type]


def _check_finite(present: pd.Series, name: str) -> None:
    if not _holds_numbers(present):
        return
    infinite = present.index[~np.isfinite(present.to_numpy(dtype=float))]
    if len(infinite):
        raise TableProblem(f"Infinite numbers in {name!r}, rows {named(infinite)}. Correct them or leave them empty.")


def _check_enough(present: pd.Series, name: str, rows: int) -> None:
    if not len(present):
        raise TableProblem(f"All {rows} answers of {name!r} are missing: nothing can be learnt of it. Leave it out.")
    if len(present) < _FEWEST_ANSWERS:
        raise TableProblem(
            f"{name!r} has only {len(present)} answers among {rows} rows (rows {named(present.index)}). "
            f"At least {_FEWEST_ANSWERS} are needed; leave it out."
        )
    if present.nunique() == 1:
        raise TableProblem(
            f"Every answer of {name!r} is {str(present.iloc[0])!r}: a constant column tells nothing and needs no "
            "model. Leave it out."
        )


def _detect(present: pd.Series, name: str, bounds: Range | None) -> str:
    distinct = present.nunique()
    if isinstance(present.dtype, pd.CategoricalDtype) and present.dtype.ordered and distinct > _YES_NO:
        return "ordinal"
    if not _holds_numbers(present):
        _check_text(present, name)
        return "binary" if distinct == _YES_NO else "nominal"
    values = present.to_numpy(dtype=float)
    if distinct == _YES_NO:
        return "binary"
    steps = distinct <= _SCALE_STEPS and np.all(values == np.round(values))
    # Ten incomes among many gaps are no scale.
    if steps and (np.ptp(values) < _SCALE_STEPS or 2 * distinct <= len(values)):
        return "ordinal"
    if bounds is not None and bounds != (None, None):
        return "bounded"
    return "skewed" if abs(_skewness(values)) > _SKEWED else "continuous"


def _skewness(values: NDArray[np.float64]) -> float:
    deviations = values - values.mean()
    return float(np.mean(deviations**3) / np.mean(deviations**2) ** 1.5)


def _holds_numbers(present: pd.Series) -> bool:
    if isinstance(present.dtype, pd.CategoricalDtype):
        return False
    return pd.api.types.is_numeric_dtype(present) or all(is_number(value) for value in present)


def _parsed(present: pd.Series) -> pd.Series:
    return pd.to_numeric(present.astype(object).astype(str), errors="coerce")


def _check_text(present: pd.Series, name: str) -> None:
    """Refuse numbers with text among them, and numbers written as text: which is meant is for the user to say."""
    if isinstance(present.dtype, pd.CategoricalDtype):
        return
    readable = _parsed(present).notna()
    if readable.all():
        raise TableProblem(
            f"{name!r} holds numbers written as text. Read the column as numbers, or declare it nominal."
        )
    if readable.mean() > 0.5:
        strange = present[~readable]
        raise TableProblem(
            f"Text among the numbers of {name!r}: {named(map(str, strange.unique()))} in rows {named(strange.index)}. "
            "Name these codes as not asked or refused, correct them, or declare the column nominal."
        )


def _as_numbers(present: pd.Series, name: str, kind: str) -> pd.Series:
    if isinstance(present.dtype, pd.CategoricalDtype) or not _holds_numbers(present):
        strange = present[_parsed(present).isna()]
        what = f"holds text: {named(map(str, strange.unique()))}" if len(strange) else "holds numbers written as text"
        raise TableProblem(f"{name!r} is declared {kind} but {what}. Mend the column or declare it nominal.")
    return present.astype(float)


def _categories(present: pd.Series, name: str, kind: str) -> tuple[Any, ...]:
    """Return the categories in their order: that of the column where it has one, else sorted."""
    seen = present.unique()
    if isinstance(present.dtype, pd.CategoricalDtype):
        found = [category for category in present.dtype.categories if category in set(seen)]
    elif kind == "ordinal" and not _holds_numbers(present):
        raise TableProblem(
            f"{name!r} is declared ordinal, but text has no order of its own. Say it, from the lowest to the highest: "
            f"{name}='ordinal: {' < '.join(sorted(map(str, seen))[:_SCALE_STEPS])}', put into the right order."
        )
    else:
        try:
            found = sorted(seen)
        except TypeError:
            raise TableProblem(
                f"{name!r} mixes text and numbers: {named(map(str, seen))}. Make them one kind."
            ) from None
    if kind == "binary" and len(found) != _YES_NO:
        raise TableProblem(f"{name!r} is declared binary but has {len(found)} different answers: {named(found)}.")
    if len(found) > _MOST_CATEGORIES:
        raise TableProblem(
            f"{name!r} is {kind} with {len(found)} categories, more than {_MOST_CATEGORIES}: {named(found)}. "
            "Group them, or declare a column of numbers continuous."
        )
    return tuple(value.item() if isinstance(value, np.generic) else value for value in found)


def _check_range(values: pd.Series, name: str, bounds: Range | None) -> None:
    lower, upper = bounds or (None, None)
    if lower is not None and upper is not None and not lower < upper:
        raise JobProblem(f"The range of {name!r}, {lower} to {upper}, is empty. Its lower end must be below the upper.")
    outside = np.zeros(len(values), dtype=bool)
    if lower is not None:
        outside |= values.to_numpy() < lower
    if upper is not None:
        outside |= values.to_numpy() > upper
    if outside.any():
        strange = values[outside]
        raise TableProblem(
            f"{len(strange)} answers of {name!r} lie outside its range {lower} to {upper}: {named(strange)} in rows "
            f"{named(strange.index)}. Correct them, widen the range, or name their codes as not asked or refused."
        )
