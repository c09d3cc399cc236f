"""Reading what a fit needs: polygons, a table, and the two matched by area id."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, named
from smallarea.io import numeric_column
from smallarea.workflows.area_rows import home_of, read_area_rows
from smallarea.workflows.fit_scale import EXACT, known_errors
from smallarea.workflows.sampling import check_together, correlation_of, sampling_variance

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Which fields a model takes; the names are those of the job.

    Attributes
    ----------
    direct, variance : tuple of str, length K
        Direct estimates and sampling variances of each response.
    covariance : tuple of str, length K (K - 1) / 2 or 0
        Sampling covariances in the order (1, 2), (1, 3), ..., (2, 3), ...
    sampling_correlation : float or None
        Assumed sampling correlation between responses.
    covariates : tuple of str
        Covariates.
    variance_type, moe_level
        What the variance fields hold.
    n_eff : tuple of str, length K or 0
        Effective sample sizes of the direct estimates.
    covariate_variance : tuple of str, length p or 0
        Sampling variances of the covariates, ``0`` for one that is known exactly.
    """

    direct: tuple[str, ...]
    variance: tuple[str, ...]
    covariance: tuple[str, ...]
    sampling_correlation: float | None
    covariates: tuple[str, ...]
    variance_type: str
    moe_level: float
    n_eff: tuple[str, ...] = ()
    covariate_variance: tuple[str, ...] = ()

    def check(self) -> None:
        """Refuse fields that contradict each other.

        Raises
        ------
        JobProblem
            If a field is used twice, or the numbers of fields do not fit.
        """
        fields = [*self.direct, *self.variance, *self.covariance, *self.covariates, *self.n_eff]
        fields += [name for name in self.covariate_variance if name != EXACT]
        clash = sorted({name for name in fields if fields.count(name) > 1})
        if clash:
            raise JobProblem(
                f"Field {named(clash)} is used twice among direct, variance, covariance and covariates. Name each "
                "once; if two responses really share their variances, give them a copy of the field."
            )
        for fields_of, wanted, name, what in (
            (self.n_eff, self.direct, "n_eff", "direct estimate"),
            (self.covariate_variance, self.covariates, "covariate_variance", "covariate (0 if it is known exactly)"),
        ):
            if fields_of and len(fields_of) != len(wanted):
                raise JobProblem(
                    f"{name} names {len(fields_of)} fields, but {len(wanted)} are needed: one for each {what}, in the "
                    "same order."
                )
        k = len(self.direct)
        if k == 0:
            raise JobProblem("No field with direct estimates is named. Name one, or several for several responses.")
        if len(self.variance) != k:
            raise JobProblem(
                f"The numbers of fields do not agree: {k} with direct estimates ({named(self.direct)}), "
                f"{len(self.variance)} with sampling variances ({named(self.variance) or 'none'}). Name one variance "
                "for each direct estimate, in the same order."
            )
        self._check_sampling(k)

    def _check_sampling(self, k: int) -> None:
        """Refuse sampling covariances that do not fit K responses."""
        pairs = [f"({a}, {b})" for a, b in combinations(self.direct, 2)]
        if self.covariance and len(self.covariance) != len(pairs):
            raise JobProblem(
                "One response has no sampling covariances. Leave 'covariance' out."
                if k == 1
                else f"{k} responses have {len(pairs)} sampling covariances; got {len(self.covariance)} fields. Give "
                f"them in this order, or none: {', '.join(pairs)}."
            )
        assumed = self.sampling_correlation
        if assumed is None:
            return
        if self.covariance:
            raise JobProblem(
                "Sampling covariances are given (covariance) and a sampling correlation is assumed "
                "(sampling_correlation). Leave one of them out."
            )
        if k == 1:
            raise JobProblem("One response has no sampling correlation. Leave 'sampling_correlation' out.")
        least = -1.0 / (k - 1)
        if not least < assumed < 1.0:
            raise JobProblem(
                f"A sampling correlation that all {k} responses share lies between {least:.3g} and 1, both excluded; "
                f"got {assumed}."
            )


@dataclass(frozen=True)
class FitInput:
    """The columns of a model, one row an area of the map.

    Attributes
    ----------
    ids : tuple of str, length N
        Area ids, in the order of the map (of the table if there is no map).
    areas : Areas or None
        The polygons.
    direct, variance : ndarray, shape (N, K)
        Direct estimates of each response and their sampling variances, NaN where missing.
    correlation : ndarray, shape (N, K, K), or None
        Sampling correlations between responses, None if there are none.
    covariates : ndarray, shape (N, p)
        Covariate values, NaN where missing.
    dropped : list of (what, id, reason)
        Table rows that were left out.
    n_eff : ndarray, shape (N, K), or None
        Effective sample sizes, NaN where missing.
    covariate_variance : ndarray, shape (N, p), or None
        Sampling variances of the covariates, zero where they are known exactly.
    """

    ids: tuple[str, ...]
    areas: Areas | None
    direct: Vector
    variance: Vector
    correlation: Vector | None
    covariates: Vector
    dropped: list[tuple[str, str, str]]
    n_eff: Vector | None = None
    covariate_variance: Vector | None = None


def read_fit_input(
    areas: str | os.PathLike[str] | gpd.GeoDataFrame | None,
    *,
    layer: str | None,
    id_field: str | None,
    crs: str | None,
    repair: bool,
    table: str | os.PathLike[str] | pd.DataFrame | None,
    table_layer: str | None,
    table_id_field: str | None,
    columns: Columns,
    unmatched: str,
) -> FitInput:
    """Read and match; the parameters are those of the job.

    Parameters
    ----------
    areas : path, GeoDataFrame or None
        The polygons; None for a model of a table alone.
    table : path, DataFrame or None
        The table; None for the attributes of the polygons.
    columns : Columns
        Which fields to take.
    layer, id_field, crs, repair, table_layer, table_id_field, unmatched
        As in the job ``fit``.

    Returns
    -------
    FitInput
        The columns in the order of the map.

    Raises
    ------
    JobProblem
        If there is neither a map nor a table, or an id field is missing.
    GeometryProblem, TableProblem, VarianceProblem
        If the polygons, the table or its numbers cannot be used.
    """
    columns.check()
    rows = read_area_rows(
        areas,
        layer=layer,
        id_field=id_field,
        crs=crs,
        repair=repair,
        table=table,
        table_layer=table_layer,
        table_id_field=table_id_field,
        unmatched=unmatched,
        task="fit",
    )
    return _take(rows.ids, rows.areas, rows.frame, list(rows.ids), columns, rows.dropped)


def _take(
    ids: tuple[str, ...],
    areas: Areas | None,
    frame: pd.DataFrame,
    row_ids: Sequence[str | None],
    columns: Columns,
    dropped: list[tuple[str, str, str]],
) -> FitInput:
    names = [str(i) for i in row_ids]
    direct = np.column_stack([numeric_column(frame, name, names) for name in columns.direct])
    variance = np.column_stack(
        [
            sampling_variance(numeric_column(frame, name, names), columns.variance_type, columns.moe_level, name, names)
            for name in columns.variance
        ]
    )
    covariates = [numeric_column(home_of(name, frame, areas), name, names) for name in columns.covariates]
    sizes = [numeric_column(frame, name, names) for name in columns.n_eff]
    return FitInput(
        ids,
        areas,
        direct,
        variance,
        _correlation(frame, names, columns, direct, variance),
        np.column_stack(covariates) if covariates else np.empty((len(ids), 0)),
        dropped,
        np.column_stack(sizes) if sizes else None,
        _covariate_variance(frame, areas, names, columns, covariates),
    )


def _covariate_variance(
    frame: pd.DataFrame, areas: Areas | None, names: Sequence[str], columns: Columns, covariates: Sequence[Vector]
) -> Vector | None:
    """Return the sampling variances of covariates, which are of the same kind as those of the direct estimates."""
    if not columns.covariate_variance:
        return None
    found = []
    for field in columns.covariate_variance:
        if field == EXACT:
            found.append(np.zeros(len(names)))
            continue
        values = numeric_column(home_of(field, frame, areas), field, names)
        found.append(sampling_variance(values, columns.variance_type, columns.moe_level, field, names))
    return known_errors(np.column_stack(found), np.column_stack(covariates), columns.covariate_variance, names)


def _correlation(
    frame: pd.DataFrame, names: Sequence[str], columns: Columns, direct: Vector, variance: Vector
) -> Vector | None:
    """Return sampling correlations from the fields with covariances, or the one that is assumed."""
    n, k = variance.shape
    assumed = columns.sampling_correlation
    if not columns.covariance and assumed is None:
        return None
    used = np.where(np.isfinite(direct) & (variance > 0.0), variance, np.nan)
    out = np.tile(np.eye(k), (n, 1, 1))
    for place, (a, b) in enumerate(combinations(range(k), 2)):
        if assumed is not None:
            value = np.where(np.isfinite(used[:, a]) & np.isfinite(used[:, b]), assumed, 0.0)
        else:
            field = columns.covariance[place]
            value = correlation_of(numeric_column(frame, field, names), used[:, a], used[:, b], field, names)
        out[:, a, b] = out[:, b, a] = value
    if columns.covariance:
        check_together(out, columns.covariance, names)
    return out
