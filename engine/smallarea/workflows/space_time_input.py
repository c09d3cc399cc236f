"""Reading a long table, one row for each area and period, and matching it with the map."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.area_level import AreaLevelData, area_level_data
from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import check_field, id_texts, match_ids, numeric_column, read_table
from smallarea.workflows.fit_input import sampling_variance
from smallarea.workflows.periods import Periods, read_periods

if TYPE_CHECKING:
    from smallarea.areas import Areas

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class LongColumns:
    """Which fields of the table a space-time model takes; the names are those of the job."""

    id_field: str
    time: str
    direct: str
    variance: str
    covariates: tuple[str, ...]
    variance_type: str
    moe_level: float

    def check(self) -> None:
        """Refuse fields that are named for two purposes.

        Raises
        ------
        JobProblem
            If a field is used twice.
        """
        fields = [self.id_field, self.time, self.direct, self.variance, *self.covariates]
        clash = sorted({name for name in fields if fields.count(name) > 1})
        if clash:
            raise JobProblem(
                f"Field {named(clash)} is used twice among the area ids, time, direct, variance and covariates. Name "
                "each once."
            )


@dataclass(frozen=True)
class SpaceTimeInput:
    """One quantity of N areas at T periods.

    Attributes
    ----------
    ids : tuple of str, length N
        Area ids, in the order of the map (of the table if there is no map).
    areas : Areas or None
        The polygons.
    periods : Periods
        The T periods.
    cells : AreaLevelData
        All N T cells, the periods of the first area first, called ``area in period``.
    dropped : list of (what, id, reason)
        Table rows that were left out.
    """

    ids: tuple[str, ...]
    areas: Areas | None
    periods: Periods
    cells: AreaLevelData
    dropped: list[tuple[str, str, str]]

    def by_period(self) -> list[AreaLevelData]:
        """Return the data of each period, with the plain area ids."""
        cells, count = self.cells, len(self.periods.labels)
        each = [slice(period, None, count) for period in range(count)]
        return [
            AreaLevelData(
                self.ids,
                cells.direct[at],
                cells.variance[at],
                cells.covariates[at],
                cells.covariate_names,
                cells.notes[at],
            )
            for at in each
        ]


def read_space_time_input(
    table: str | os.PathLike[str] | pd.DataFrame,
    table_layer: str | None,
    areas: Areas | None,
    columns: LongColumns,
    *,
    periods: Sequence[str | float],
    gaps: str,
    unmatched: str,
    missing_variance: str,
    missing_covariates: str,
) -> SpaceTimeInput:
    """Read and match; the parameters are those of the job.

    Parameters
    ----------
    table : path or DataFrame
        The long table.
    table_layer : str or None
        Layer or sheet in it.
    areas : Areas or None
        The polygons, None for a model of a table and a saved graph.
    columns : LongColumns
        Which fields to take.
    periods, gaps, unmatched, missing_variance, missing_covariates
        As in the job ``fit_space_time``.

    Returns
    -------
    SpaceTimeInput
        The cells in the order of the map and of the periods.

    Raises
    ------
    JobProblem, TableProblem, VarianceProblem
        If fields, ids, periods or numbers cannot be used.
    """
    columns.check()
    if isinstance(table, pd.DataFrame):
        frame = table.reset_index(drop=True)
        check_field(frame, columns.id_field)
    else:
        frame = read_table(table, table_layer, text_columns=[columns.id_field])
    check_field(frame, columns.time)
    row_ids = id_texts(frame[columns.id_field])
    found = read_periods(frame[columns.time], columns.time, periods, gaps)
    ids = areas.ids if areas is not None else tuple(dict.fromkeys(i for i in row_ids if i is not None))
    strays = _strays(row_ids, ids, found, columns.time, frame, unmatched)
    number = {area: at for at, area in enumerate(ids)}
    area_at = np.array([number.get(i, -1) if i is not None else -1 for i in row_ids], dtype=np.int64)
    keep = np.flatnonzero((area_at >= 0) & (found.at >= 0))
    cell = area_at[keep] * len(found.labels) + found.at[keep]
    names = [f"{area} in {label}" for area in ids for label in found.labels]
    _check_repeated(cell, names)
    rows = frame.iloc[keep].reset_index(drop=True)
    cells = _cells(rows, cell, names, areas, columns, missing_variance, missing_covariates)
    return SpaceTimeInput(ids, areas, found, cells, strays)


def _strays(
    row_ids: Sequence[str | None],
    ids: tuple[str, ...],
    periods: Periods,
    time: str,
    frame: pd.DataFrame,
    unmatched: str,
) -> list[tuple[str, str, str]]:
    """Rows that belong to no cell, or an error if that is none of the user's wishes."""
    match = match_ids(list(dict.fromkeys(row_ids)), ids)
    if not match.matched:
        raise TableProblem(
            f"No area id of the table is on the map. {match.summary()} Check that table_id_field and id_field hold the "
            "same codes."
        )
    known = set(ids)
    off_map = [
        (f"row {row}", "it has no area id" if area is None else "its area is not on the map")
        for row, area in enumerate(row_ids, start=1)
        if area not in known
    ]
    late = [
        (f"row {row + 1}", f"its period {frame[time].iloc[row]} is not listed")
        for row in np.flatnonzero(periods.at < 0).tolist()
    ]
    if (off_map or late) and unmatched == "error":
        what = f"{len(off_map)} rows of the table have no area on the map. {match.summary()}" if off_map else ""
        when = f"{len(late)} rows have a period that is not listed in 'periods'." if late else ""
        raise TableProblem(
            f"{' '.join(part for part in (what, when) if part)} Mend them, or set unmatched to 'drop' to leave these "
            "rows out and list them in the result."
        )
    return [("table row", where, why) for where, why in [*off_map, *late]]


def _check_repeated(cell: NDArray[np.int64], names: Sequence[str]) -> None:
    values, counts = np.unique(cell, return_counts=True)
    twice = values[counts > 1].tolist()
    if twice:
        raise TableProblem(
            f"{len(twice)} areas have several rows for one period: {named([names[at] for at in twice])}. Keep one row "
            "for each area and period."
        )


def _cells(
    rows: pd.DataFrame,
    cell: NDArray[np.int64],
    names: Sequence[str],
    areas: Areas | None,
    columns: LongColumns,
    missing_variance: str,
    missing_covariates: str,
) -> AreaLevelData:
    called = [names[at] for at in cell.tolist()]

    def spread(values: Vector) -> Vector:
        out = np.full(len(names), np.nan)
        out[cell] = values
        return out

    variance = sampling_variance(
        numeric_column(rows, columns.variance, called),
        columns.variance_type,
        columns.moe_level,
        columns.variance,
        called,
    )
    covariates = []
    for name in columns.covariates:
        if areas is not None and name not in rows.columns and name in areas.frame.columns:
            constant = numeric_column(areas.frame, name, list(areas.ids))
            covariates.append(np.repeat(constant, len(names) // len(areas.ids)))
        else:
            covariates.append(spread(numeric_column(rows, name, called)))
    return area_level_data(
        names,
        spread(numeric_column(rows, columns.direct, called)),
        spread(variance),
        np.column_stack(covariates) if covariates else None,
        columns.covariates,
        missing_variance=missing_variance,
        missing_covariates=missing_covariates,
    )
