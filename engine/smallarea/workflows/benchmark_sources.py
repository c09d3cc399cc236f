"""Where benchmarking finds its estimates: any table with a row an area, or a row an area and response."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, VarianceProblem, named
from smallarea.io import as_area_ids, check_field, id_texts, numeric_column, read_table, repeated

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]

ESTIMATE, ERROR, RESPONSE, AREA = "estimate", "se", "response", "area"


@dataclass(frozen=True)
class Column:
    """Estimates of one response.

    Attributes
    ----------
    response : str
        Its name.
    rows : ndarray of int, shape (n,)
        Rows of the table.
    places : ndarray of int, shape (n,)
        The area of each, as a position among all areas.
    estimates : ndarray, shape (N,)
        In the order of the areas, NaN where there is none.
    variances : ndarray, shape (N,), or None
        Mean squared errors.
    """

    response: str
    rows: NDArray[np.intp]
    places: NDArray[np.intp]
    estimates: Vector
    variances: Vector | None


@dataclass(frozen=True)
class EstimatesTable:
    """A table of estimates as it was read.

    Attributes
    ----------
    frame : pandas.DataFrame
        All its columns, without shapes.
    id_field : str
        Field with the area ids.
    ids : tuple of str
        Area id of each row.
    areas : tuple of str, length N
        Each area once, in the order of the table.
    columns : tuple of Column
        One for each response.
    is_long : bool
        Whether responses are below each other, with a field ``response``, and not side by side.
    """

    frame: pd.DataFrame
    id_field: str
    ids: tuple[str, ...]
    areas: tuple[str, ...]
    columns: tuple[Column, ...]
    is_long: bool

    @property
    def responses(self) -> tuple[str, ...]:
        """Names of the responses."""
        return tuple(column.response for column in self.columns)

    def rows_with(self, fields: Sequence[str]) -> pd.DataFrame | None:
        """Return a row an area with some fields, None if the table lacks one of them."""
        if not set(fields) <= set(self.frame.columns):
            return None
        kept = self.frame[list(dict.fromkeys([self.id_field, *fields]))]
        return kept.assign(**{self.id_field: list(self.ids)}).drop_duplicates(ignore_index=True)


def read_estimates(
    estimates: PathLike | pd.DataFrame,
    layer: str | None,
    id_field: str | None,
    polygon_id_field: str | None,
    estimate: Sequence[str],
    error: Sequence[str],
    error_type: Literal["standard_error", "variance"],
    group_fields: Sequence[str],
) -> EstimatesTable:
    """Read estimates and their errors from a table.

    Parameters
    ----------
    estimates : path or DataFrame
        The table: what a fit writes, or any other.
    layer : str, optional
        Layer or sheet of the file.
    id_field : str, optional
        Field with the area ids.
    polygon_id_field : str, optional
        Taken if none is given and the table has it, else ``area``.
    estimate, error : sequence of str
        Fields with the estimates and, as many, with their errors. Without any these are ``estimate`` and ``se``, or
        with several responses ``estimate_NAME`` and ``se_NAME``.
    error_type : {'standard_error', 'variance'}
        What the errors are; a mean squared error is a variance.
    group_fields : sequence of str
        Fields of groups, which are read as text if the table has them.

    Returns
    -------
    EstimatesTable
        As read.

    Raises
    ------
    JobProblem
        If there are not as many fields of errors as of estimates.
    TableProblem
        If a field is missing, ids are missing or repeated, or values are no numbers.
    VarianceProblem
        If a standard error is negative.
    """
    frame = _frame(estimates, layer, (id_field, polygon_id_field), group_fields)
    id_field = _id_field(frame, id_field, polygon_id_field)
    check_field(frame, id_field, "the table of estimates")
    ids = as_area_ids(frame[id_field])
    fields = _fields(frame, estimate, error)
    is_long = RESPONSE in frame.columns and len(fields) == 1
    of = [text or "" for text in id_texts(frame[RESPONSE])] if is_long else []
    areas = tuple(dict.fromkeys(ids))
    at = {area: k for k, area in enumerate(areas)}
    columns = []
    for name, (estimate_field, error_field) in fields.items():
        labels = [f"{area} of {r}" for area, r in zip(ids, of, strict=True)] if is_long else list(ids)
        twice = repeated(labels)
        if twice:
            raise TableProblem(
                f"The table of estimates has several rows for {len(twice)} areas: {named(twice)}. Keep one row an area "
                "(and response); benchmark the periods of a space-time fit one by one."
            )
        values = numeric_column(frame, estimate_field, labels)
        squares = None if error_field is None else _squares(frame, error_field, error_type, labels)
        for response in dict.fromkeys(of) if is_long else [name]:
            rows = np.array([k for k in range(len(ids)) if not is_long or of[k] == response], dtype=np.intp)
            places = np.array([at[ids[k]] for k in rows], dtype=np.intp)
            spread = None if squares is None else _placed(squares[rows], places, len(areas))
            columns.append(Column(response, rows, places, _placed(values[rows], places, len(areas)), spread))
    return EstimatesTable(frame, id_field, ids, areas, tuple(columns), is_long)


def _frame(
    estimates: PathLike | pd.DataFrame,
    layer: str | None,
    id_fields: tuple[str | None, str | None],
    group_fields: Sequence[str],
) -> pd.DataFrame:
    if isinstance(estimates, pd.DataFrame):
        twice = repeated(map(str, estimates.columns))
        if twice:
            raise TableProblem(f"The table of estimates has several fields named {named(twice)}. Rename all but one.")
        shapes = [name for name, kind in estimates.dtypes.items() if str(kind) == "geometry"]
        return pd.DataFrame(estimates.drop(columns=shapes)).reset_index(drop=True)
    first = read_table(estimates, layer)
    # Ids and names of groups keep their zeros. A GeoPackage's feature id is a field only if it is asked for by name.
    texts = [_id_field(first, *id_fields)]
    texts += [name for name in (RESPONSE, *group_fields) if name in first.columns]
    return read_table(estimates, layer, text_columns=list(dict.fromkeys(texts)))


def _id_field(frame: pd.DataFrame, given: str | None, of_polygons: str | None) -> str:
    return given or (of_polygons if of_polygons is not None and of_polygons in frame.columns else AREA)


def _fields(frame: pd.DataFrame, estimate: Sequence[str], error: Sequence[str]) -> dict[str, tuple[str, str | None]]:
    """Return the fields of each response: given, or found by their names."""
    if estimate:
        if error and len(error) != len(estimate):
            raise JobProblem(
                f"There are {len(estimate)} fields of estimates and {len(error)} of errors. Name one error for each "
                "estimate, in the same order, or none."
            )
        errors: list[str | None] = list(error) or [None] * len(estimate)
        pairs = list(zip(estimate, errors, strict=True))
        for name in (*estimate, *error):
            check_field(frame, name, "the table of estimates")
        found = {name.removeprefix(f"{ESTIMATE}_"): (name, spread) for name, spread in pairs}
        if len(found) < len(pairs):
            raise JobProblem(f"A field of estimates is named twice: {named(estimate)}.")
        return found
    if ESTIMATE in frame.columns:
        spread = error[0] if error else (ERROR if ERROR in frame.columns else None)
        if spread is not None:
            check_field(frame, spread, "the table of estimates")
        return {ESTIMATE: (ESTIMATE, spread)}
    wide = [str(name).removeprefix(f"{ESTIMATE}_") for name in frame.columns if str(name).startswith(f"{ESTIMATE}_")]
    if not wide:
        check_field(frame, ESTIMATE, "the table of estimates")
    if error:
        raise JobProblem("Fields of errors were named without the fields of estimates. Name both.")
    return {name: (f"{ESTIMATE}_{name}", f"{ERROR}_{name}" if f"{ERROR}_{name}" in frame else None) for name in wide}


def _squares(frame: pd.DataFrame, field: str, error_type: str, labels: Sequence[str]) -> Vector:
    values = numeric_column(frame, field, labels)
    bad = [labels[k] for k in np.flatnonzero(values < 0.0).tolist()]
    if bad:
        raise VarianceProblem(f"{len(bad)} values of the field {field!r} are negative: {named(bad)}. Correct them.")
    squares: Vector = values**2 if error_type == "standard_error" else values
    return squares


def _placed(values: Vector, places: NDArray[np.intp], count: int) -> Vector:
    found = np.full(count, np.nan)
    found[places] = values
    return found
