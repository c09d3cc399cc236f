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

from smallarea.errors import JobProblem, TableProblem, VarianceProblem, named
from smallarea.io import as_area_ids, check_field, id_texts, match_ids, numeric_column, read_table
from smallarea.workflows.fit_scale import EXACT, known_errors

if TYPE_CHECKING:
    import geopandas as gpd

    from smallarea.areas import Areas

Vector = NDArray[np.float64]
Source = "str | os.PathLike[str] | pd.DataFrame"

# Offices publish margins of error with these rounded factors (U.S. Census Bureau: 1.645 at 90 percent).
Z_DIGITS = 3


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
                f"Field {named(clash)} is used twice among direct, variance, covariance and covariates. Name each once."
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
        if k == 0 or len(self.variance) != k:
            raise JobProblem(
                f"There are {k} fields with direct estimates and {len(self.variance)} with sampling variances. Name "
                f"one "
                "variance for each direct estimate, in the same order."
            )
        pairs = k * (k - 1) // 2
        if self.covariance and len(self.covariance) != pairs:
            raise JobProblem(
                f"{k} responses have {pairs} sampling covariances; got {len(self.covariance)} fields. Give them in the "
                "order (1, 2), (1, 3), ..., (2, 3), ..., or none."
            )
        if self.sampling_correlation is not None and (self.covariance or k == 1):
            raise JobProblem(
                "A sampling correlation is assumed only for several responses whose sampling covariances are not "
                "known. "
                "Leave out sampling_correlation or covariance."
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
    read = _read_areas(areas, layer, id_field, crs, repair)
    if table is None:
        if read is None:
            raise JobProblem("There is nothing to fit: give a polygon layer (areas), a table, or both.")
        return _take(read.ids, read, read.frame, list(read.ids), columns, [])
    frame, row_ids = _read_rows(table, table_layer, table_id_field or id_field)
    dropped: list[tuple[str, str, str]] = []
    if read is not None:
        frame, row_ids, dropped = _match(frame, row_ids, read, unmatched)
        ids = read.ids
    else:
        ids = as_area_ids(row_ids)
        twice = match_ids(row_ids, ids).table_repeated
        if twice:
            raise TableProblem(
                f"{len(twice)} area ids are repeated in the table: {named(twice)}. One row an area is needed."
            )
    return _take(ids, read, frame, row_ids, columns, dropped)


def _read_areas(
    areas: str | os.PathLike[str] | gpd.GeoDataFrame | None,
    layer: str | None,
    id_field: str | None,
    crs: str | None,
    repair: bool,
) -> Areas | None:
    if areas is None:
        return None
    from smallarea.areas import read_areas

    return read_areas(areas, layer, id_field, crs, repair)


def _read_rows(
    table: str | os.PathLike[str] | pd.DataFrame, layer: str | None, id_field: str | None
) -> tuple[pd.DataFrame, list[str | None]]:
    if id_field is None:
        raise JobProblem("A table needs the field with the area ids: set table_id_field (or id_field if both agree).")
    if isinstance(table, pd.DataFrame):
        frame = table.reset_index(drop=True)
        check_field(frame, id_field)
    else:
        frame = read_table(table, layer, text_columns=[id_field])
    return frame, id_texts(frame[id_field])


def _match(
    frame: pd.DataFrame, row_ids: list[str | None], areas: Areas, unmatched: str
) -> tuple[pd.DataFrame, list[str | None], list[tuple[str, str, str]]]:
    """Bring the table into the order of the map, one row an area, empty where the table has none."""
    match = match_ids(row_ids, areas.ids)
    if match.table_repeated:
        raise TableProblem(
            f"{len(match.table_repeated)} area ids are repeated in the table: {named(match.table_repeated)}. "
            "Keep one row an area."
        )
    strays = [("table row", i, "its area is not on the map") for i in match.table_only]
    strays += [("table row", f"row {row + 1}", "it has no area id") for row, i in enumerate(row_ids) if i is None]
    if not match.matched:
        raise TableProblem(
            f"No area id of the table is on the map. {match.summary()} Check that table_id_field and id_field hold the "
            "same codes."
        )
    if strays and unmatched == "error":
        raise TableProblem(
            f"{len(strays)} rows of the table have no area on the map. {match.summary()} Mend the ids, or set "
            "unmatched to 'drop' to leave these rows out and list them in the report."
        )
    at = {area: row for row, area in enumerate(row_ids) if area is not None}
    ordered = frame.reindex([at.get(area, -1) for area in areas.ids])
    return ordered.reset_index(drop=True), list(areas.ids), strays


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
    covariates = [numeric_column(_home(name, frame, areas), name, names) for name in columns.covariates]
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
        values = numeric_column(_home(field, frame, areas), field, names)
        found.append(sampling_variance(values, columns.variance_type, columns.moe_level, field, names))
    return known_errors(np.column_stack(found), np.column_stack(covariates), columns.covariate_variance, names)


def _correlation(
    frame: pd.DataFrame, names: Sequence[str], columns: Columns, direct: Vector, variance: Vector
) -> Vector | None:
    """Return sampling correlations from the fields with covariances, or the one that is assumed."""
    n, k = variance.shape
    if k == 1 or (not columns.covariance and columns.sampling_correlation is None):
        return None
    out = np.zeros((n, k, k))
    both = np.isfinite(direct) & (variance > 0.0)
    for place, (a, b) in enumerate(combinations(range(k), 2)):
        used = both[:, a] & both[:, b]
        if columns.sampling_correlation is not None:
            value = np.where(used, columns.sampling_correlation, 0.0)
        else:
            field = columns.covariance[place]
            covariance = numeric_column(frame, field, names)
            missing = np.flatnonzero(used & ~np.isfinite(covariance))
            if len(missing):
                raise VarianceProblem(
                    f"Field {field!r} has no sampling covariance in {len(missing)} areas where both responses have "
                    f"direct "
                    f"estimates: {named([names[i] for i in missing.tolist()])}. Fill them in (0 if the errors are "
                    "independent), or leave 'covariance' out."
                )
            value = np.zeros(n)
            value[used] = covariance[used] / np.sqrt(variance[used, a] * variance[used, b])
            wrong = np.flatnonzero(np.abs(value) >= 1.0)
            if len(wrong):
                raise VarianceProblem(
                    f"Field {field!r} is not smaller than the product of the standard errors in {len(wrong)} areas: "
                    f"{named([names[i] for i in wrong.tolist()])}. Covariances have the units of the two direct "
                    f"estimates "
                    "multiplied; check that they are not correlations or standard errors."
                )
        out[:, a, b] = out[:, b, a] = value
    return out


def _home(name: str, frame: pd.DataFrame, areas: Areas | None) -> pd.DataFrame:
    """Return the frame that has a covariate: the table, else the polygons, whose values cover unsampled areas too."""
    if areas is not None and name not in frame.columns and name in areas.frame.columns:
        return areas.frame
    return frame


def sampling_variance(values: Vector, variance_type: str, moe_level: float, field: str, ids: Sequence[str]) -> Vector:
    """Turn standard errors or margins of error into sampling variances.

    Parameters
    ----------
    values : ndarray, shape (N,)
        As in the table, NaN where missing.
    variance_type : {'variance', 'standard_error', 'margin_of_error'}
        What they are.
    moe_level : float
        Confidence level of margins of error; the normal factor is rounded to three digits, as offices do
        (1.645 at 0.90).
    field : str
        The field's name, for messages.
    ids : sequence of str
        Area ids, for messages.

    Returns
    -------
    ndarray, shape (N,)
        Sampling variances.

    Raises
    ------
    VarianceProblem
        If a value is negative: squaring would hide a missing-value code such as -555555555.
    """
    negative = values < 0.0
    if negative.any():
        where = np.flatnonzero(negative)
        raise VarianceProblem(
            f"Field {field!r} is negative in {len(where)} areas: {named([ids[i] for i in where.tolist()])} (values "
            f"{named(values[where].tolist())}). Negative numbers are often codes for a missing value; set them to "
            "missing (NULL)."
        )
    if variance_type == "variance":
        return values
    if variance_type == "standard_error":
        return values**2
    from scipy import special

    return (values / round(float(special.ndtri(0.5 + 0.5 * moe_level)), Z_DIGITS)) ** 2
