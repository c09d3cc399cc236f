"""Reading what a model of counts needs: polygons, a table, and the two matched by area id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData
from smallarea.area_level.data import check_covariates
from smallarea.area_level.hmc import Observations, binomial_observations, poisson_observations
from smallarea.errors import JobProblem, named
from smallarea.io import numeric_column
from smallarea.workflows.area_rows import AreaRows, home_of

if TYPE_CHECKING:
    from smallarea.areas import Areas

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class CountColumns:
    """Which fields a model of counts takes; the names are those of the job.

    Attributes
    ----------
    likelihood : {'binomial', 'poisson'}
        What the counts are.
    count : tuple of str, length K
        Counts of each response.
    trials, exposure : tuple of str, length K, 1 or 0
        Trials (binomial) or exposure (poisson).
    covariates : tuple of str
        Covariates.
    """

    likelihood: str
    count: tuple[str, ...]
    trials: tuple[str, ...]
    exposure: tuple[str, ...]
    covariates: tuple[str, ...]

    @property
    def size(self) -> tuple[str, ...]:
        """Fields with what each response is a share or rate of, one each; empty for an exposure of 1 everywhere."""
        given = self.trials if self.likelihood == "binomial" else self.exposure
        return given * len(self.count) if len(given) == 1 else given

    def check(self) -> None:
        """Refuse fields that contradict each other.

        Raises
        ------
        JobProblem
            If a field is used twice, or the numbers of fields do not fit.
        """
        if not self.count:
            raise JobProblem("No field with counts is named. Name one, or several for several responses.")
        binomial = self.likelihood == "binomial"
        if binomial and not self.trials:
            raise JobProblem("Binomial counts are out of a number of trials. Name their field (trials).")
        wrong, name = (self.exposure, "exposure") if binomial else (self.trials, "trials")
        if wrong:
            raise JobProblem(f"A {self.likelihood} likelihood has no {name}. Leave {name!r} out.")
        given, name = (self.trials, "trials") if binomial else (self.exposure, "exposure")
        if len(given) not in (0, 1, len(self.count)):
            raise JobProblem(
                f"{name} names {len(given)} fields for {len(self.count)} responses. Name one for all, or one each."
            )
        fields = [*self.count, *dict.fromkeys(given), *self.covariates]
        twice = sorted({field for field in fields if fields.count(field) > 1})
        if twice:
            raise JobProblem(f"Field {named(twice)} is used twice among count, {name} and covariates. Name each once.")


@dataclass(frozen=True)
class CountInput:
    """The columns of a model of counts, one row an area.

    Attributes
    ----------
    ids : tuple of str, length N
        Area ids, in the order of the map.
    areas : Areas or None
        The polygons.
    observations : Observations
        What is fitted.
    data : list of AreaLevelData, length K
        The responses as shares or rates, with the errors that counting gives them, for tables and figures.
    dropped : list of (what, id, reason)
        Table rows that were left out.
    """

    ids: tuple[str, ...]
    areas: Areas | None
    observations: Observations
    data: list[AreaLevelData]
    dropped: list[tuple[str, str, str]]


def take_counts(rows: AreaRows, columns: CountColumns, intercept: bool, missing_covariates: str) -> CountInput:
    """Take counts from a table.

    Parameters
    ----------
    rows : AreaRows
        A row for each area.
    columns : CountColumns
        Which fields to take.
    intercept : bool
        Whether the model has an intercept.
    missing_covariates : {'error', 'drop'}
        What to do with an area that lacks a covariate value.

    Returns
    -------
    CountInput
        The columns in the order of the map.

    Raises
    ------
    TableProblem, ModelProblem
        If the numbers cannot be used.
    """
    names = list(rows.ids)
    counts = _matrix(rows.frame, columns.count, names)
    size = _matrix(rows.frame, columns.size, names) if columns.size else np.ones_like(counts)
    table = np.column_stack(
        [np.empty((len(names), 0))]
        + [numeric_column(home_of(name, rows.frame, rows.areas), name, names) for name in columns.covariates]
    )
    complete = check_covariates(names, table, columns.covariates, missing_covariates)
    counts[~complete] = np.nan
    # Areas without an estimate keep their place in the field; any finite covariate serves there.
    filled = np.where(complete[:, None], table, table[complete].mean(axis=0) if complete.any() else 0.0)
    make = binomial_observations if columns.likelihood == "binomial" else poisson_observations
    observations = make(names, counts, size, filled, columns.covariates, intercept=intercept)
    data = [_as_data(names, observations, k, table, columns) for k in range(len(columns.count))]
    return CountInput(rows.ids, rows.areas, observations, data, rows.dropped)


def _matrix(frame: pd.DataFrame, fields: Sequence[str], names: Sequence[str]) -> Vector:
    return np.column_stack([numeric_column(frame, name, names) for name in fields])


def _as_data(
    names: Sequence[str], observations: Observations, k: int, table: Vector, columns: CountColumns
) -> AreaLevelData:
    """Return one response as a share or rate with the error of counting.

    Half a count is added where the error is worked out, so that none (or all) has one: (y + 1/2) / (n + 1) in the
    binomial formula, y + 1/2 in the Poisson one.
    """
    y, size = observations.y[:, k], observations.size[:, k]
    if columns.likelihood == "binomial":
        share = (y + 0.5) / (size + 1.0)
        variance = share * (1.0 - share) / size
    else:
        variance = (y + 0.5) / size**2
    lacks = ~np.all(np.isfinite(table), axis=1)
    notes = []
    for there, missing in zip(np.isfinite(y).tolist(), lacks.tolist(), strict=True):
        parts = [] if there else ["no count"]
        parts += ["no estimate: covariate missing"] if missing else []
        notes.append("; ".join(parts))
    return AreaLevelData(
        tuple(names), y / size, np.where(np.isfinite(y), variance, np.nan), table, columns.covariates, tuple(notes)
    )
