"""A survey table in numbers, as the methods of imputation want it, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named
from smallarea.survey.imputation.context import Context, area_effects, make_context
from smallarea.survey.imputation.margins import (
    Margin,
    Thresholds,
    linear_margin,
    quantile_margin,
    threshold_margin,
)
from smallarea.survey.imputation.rules import Rules
from smallarea.survey.imputation.skips import Skips, structural_cells, work_out
from smallarea.survey.imputation.variables import Variable, answers_of, numbered

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Column:
    """A column on the working scale.

    Attributes
    ----------
    name : str
        For tables and messages: the variable, with the category for a nominal one.
    variable : int
        Place of its variable.
    margin : Margin
        Between the numbers of the variable and the working scale.
    category : int or None
        For a nominal variable the category about which the column decides.
    """

    name: str
    variable: int
    margin: Margin
    category: int | None = None

    @property
    def latent(self) -> bool:
        """Whether the column is a normal variable of which only an interval is observed."""
        return isinstance(self.margin, Thresholds)


@dataclass(frozen=True)
class EncodedTable:
    """Answers on their working scales, V variables in p columns.

    Continuous columns are standardised, skewed and bounded ones have the normal scores of their ranks, ordinal and
    binary ones the mean score of their category. A nominal variable of K categories is a chain of K - 1 yes/no
    questions, the most frequent category first: "is it a?", "if not, is it b?", and so on. Questions after the first
    yes are not put: their cells are structural.

    Attributes
    ----------
    variables : tuple of Variable, length V
        What the answers are.
    columns : tuple of Column, length p
        The working columns, in the order of the variables.
    numbers : ndarray, shape (n, V)
        Answers as numbers, categories as their places; NaN where there is none.
    values : ndarray, shape (n, p)
        Answers on the working scale, NaN where there is none.
    missing : ndarray of bool, shape (n, p)
        Cells to impute.
    structural : ndarray of bool, shape (n, p)
        Cells that stay empty: not asked, or of no meaning in a chain.
    lost : ndarray of bool, shape (n, V)
        `missing` by variables.
    unsure : ndarray of bool, shape (n, V)
        Cells to impute of which it depends on another missing answer whether the question was put.
    context : Context
        Areas, covariates, weights and strata.
    skips : Skips
        Skip patterns.
    """

    variables: tuple[Variable, ...]
    columns: tuple[Column, ...]
    numbers: Vector
    values: Vector
    missing: Mask
    structural: Mask
    lost: Mask
    unsure: Mask
    context: Context
    skips: Skips

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and working columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def unasked(self) -> Mask:
        """Cells without an answer because the question was not put, by variables, shape (n, V)."""
        return np.asarray(np.isnan(self.numbers) & ~self.lost)

    @property
    def latent(self) -> NDArray[np.int64]:
        """Places of the columns of which only intervals are observed."""
        return np.flatnonzero([column.latent for column in self.columns])

    @property
    def free_scale(self) -> NDArray[np.int64]:
        """Places of the latent columns with two categories: the data say nothing of their variance."""
        return np.flatnonzero([isinstance(c.margin, Thresholds) and c.margin.binary for c in self.columns])

    @cached_property
    def surroundings(self) -> Vector:
        """Fully observed columns for methods without areas of their own, shape (n, c): covariates, area effects."""
        return np.column_stack([self.context.covariates, area_effects(self.values, self.context)])

    def intervals(self) -> tuple[Vector, Vector]:
        """Return the ends between which the latent columns lie, two arrays of shape (n, len(latent))."""
        pairs = [self.columns[place].margin.interval(self.values[:, place]) for place in self.latent]
        if not pairs:
            return np.empty((len(self.values), 0)), np.empty((len(self.values), 0))
        return np.column_stack([low for low, _ in pairs]), np.column_stack([high for _, high in pairs])

    def to_numbers(self, working: Vector) -> Vector:
        """Return a completed table in numbers, whether or not it obeys the skip patterns.

        Parameters
        ----------
        working : ndarray, shape (n, p)
            Completed on the working scale; only the cells to impute are read.

        Returns
        -------
        ndarray, shape (n, V)
            Observed answers as they were, imputed ones on the scale of `numbers`; NaN where a question was not put.
        """
        completed = self.numbers.copy()
        for place, variable in enumerate(self.variables):
            rows = np.flatnonzero(self.lost[:, place])
            if len(rows):
                columns = np.flatnonzero([column.variable == place for column in self.columns])
                completed[rows, place] = self._decoded(working[np.ix_(rows, columns)], columns, variable)
        return completed

    def rows(self, which: NDArray[np.int64]) -> EncodedTable:
        """Return some of the rows, on the same scales."""
        parts = ("numbers", "values", "missing", "structural", "lost", "unsure")
        return replace(
            self,
            **{name: getattr(self, name)[which] for name in parts},
            context=self.context.rows(which),
            skips=self.skips.rows(which),
        )

    def _decoded(self, working: Vector, columns: NDArray[np.int64], variable: Variable) -> Vector:
        if variable.kind != "nominal":
            return self.columns[columns[0]].margin.decode(working[:, 0])
        answered = np.column_stack(
            [self.columns[k].margin.decode(working[:, place]) == 0.0 for place, k in enumerate(columns)]
        )
        categories = [self.columns[k].category for k in columns]
        last = (set(range(len(variable.categories))) - set(categories)).pop()
        first = np.argmax(answered, axis=1)
        found = np.where(answered.any(axis=1), np.array([*categories], dtype=float)[first], float(last))
        return np.where(np.isnan(working[:, 0]), np.nan, found)


def encode_table(
    frame: pd.DataFrame,
    variables: Sequence[Variable],
    *,
    area: str | None = None,
    covariates: Sequence[str] = (),
    weight: str | None = None,
    strata: str | None = None,
    rules: Rules | None = None,
) -> EncodedTable:
    """Put a table on its working scale.

    Parameters
    ----------
    frame : pandas.DataFrame, shape (n, ...)
        One row a respondent.
    variables : sequence of Variable
        From `describe_variables`.
    area, weight, strata : str, optional
        Columns with the area, the weight and the stratum of each row.
    covariates : sequence of str
        Fully observed columns that tell something of the answers: coordinates, figures of the area, age.
    rules : Rules, optional
        Codes that are no answers, and skip patterns.

    Returns
    -------
    EncodedTable

    Raises
    ------
    TableProblem
        If a column is missing or has gaps where it must not, weights are not positive, or an answer contradicts a
        rule.
    JobProblem
        If rules contradict each other.
    """
    rules = rules or Rules()
    rules.check([variable.name for variable in variables], [str(column) for column in frame.columns])
    frame = numbered(frame)
    numbers = np.column_stack([_numbers(frame[v.name], v, rules) for v in variables])
    coded = np.column_stack([frame[v.name].isin(list(rules.not_asked.get(v.name, ()))) for v in variables])
    skips = work_out(rules, frame, variables)
    structural, unsure = structural_cells(skips, numbers, variables, coded)
    lost = np.isnan(numbers) & ~structural
    columns: list[Column] = []
    parts: list[Vector] = []
    for place, variable in enumerate(variables):
        made, values = _working(variable, place, numbers[:, place])
        columns += made
        parts.append(values)
    values = np.column_stack(parts)
    owner = np.array([column.variable for column in columns])
    missing = lost[:, owner]
    return EncodedTable(
        tuple(variables),
        tuple(columns),
        numbers,
        values,
        missing,
        np.isnan(values) & ~missing,
        lost,
        unsure & lost,
        make_context(frame, area=area, covariates=covariates, weight=weight, strata=strata),
        skips,
    )


def _numbers(column: pd.Series, variable: Variable, rules: Rules) -> Vector:
    answers = answers_of(column, rules.codes.get(variable.name, ()))
    if not variable.categorical:
        return answers.to_numpy(dtype=float, na_value=np.nan)
    places = {category: float(place) for place, category in enumerate(variable.categories)}
    numbers = answers.astype(object).map(places).to_numpy(dtype=float)
    strange = np.isnan(numbers) & answers.notna().to_numpy()
    if strange.any():
        raise TableProblem(
            f"{variable.name!r} has answers that are none of its categories: {named(answers[strange].unique())} in "
            f"rows {named(column.index[strange])}. Add them to the categories, or name them as not asked or refused."
        )
    return numbers


def _working(variable: Variable, place: int, numbers: Vector) -> tuple[list[Column], Vector]:
    present = numbers[~np.isnan(numbers)]
    if variable.kind == "nominal":
        return _chain(variable, place, numbers)
    margin: Margin
    if variable.categorical:
        margin = threshold_margin(np.bincount(present.astype(int), minlength=len(variable.categories)))
    elif variable.kind == "continuous" and variable.lower is None and variable.upper is None:
        margin = linear_margin(present)
    else:
        margin = quantile_margin(present, variable.lower, variable.upper)
    return [Column(variable.name, place, margin)], margin.encode(numbers)[:, None]


def _chain(variable: Variable, place: int, numbers: Vector) -> tuple[list[Column], Vector]:
    """Return the yes/no questions of a nominal variable; code 0 is yes, so that a large working value is no."""
    known = ~np.isnan(numbers)
    counts = np.bincount(numbers[known].astype(int), minlength=len(variable.categories))
    ranks = np.argsort(-counts, kind="stable")
    columns, values = [], []
    left = known.copy()
    for category in ranks[:-1]:
        codes = np.where(left, (numbers != category).astype(float), np.nan)
        margin = threshold_margin(np.bincount(codes[left].astype(int), minlength=2))
        columns.append(Column(f"{variable.name}: {variable.categories[category]}", place, margin, int(category)))
        values.append(margin.encode(codes))
        left &= numbers != category
    return columns, np.column_stack(values)
