"""Reading how many people live in each stratum of each area."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from smallarea.errors import TableProblem, named
from smallarea.io import check_field, id_texts, numeric_column, read_table
from smallarea.io.ids import match_ids
from smallarea.unit_level.poststrata import StratumTotals

PathLike = str | os.PathLike[str]
TotalKind = Literal["people", "shares"]

# Shares of an area may miss one by so much: they are often printed with two decimals.
_ROUNDED = 0.011


def read_stratum_totals(
    source: PathLike | pd.DataFrame,
    layer: str | None,
    id_field: str,
    stratum_field: str,
    total_field: str,
    kind: TotalKind,
    ids: Sequence[str],
) -> StratumTotals:
    """Read totals of strata.

    Parameters
    ----------
    source : path or DataFrame
        One row for each area and stratum.
    layer : str or None
        Layer or sheet of a file.
    id_field, stratum_field, total_field : str
        Fields with the area, the stratum's code in the raster, and the people who live there.
    kind : {'people', 'shares'}
        Whether these are numbers, or shares of the people of the area.
    ids : sequence of str
        The areas.

    Returns
    -------
    StratumTotals

    Raises
    ------
    TableProblem
        If ids are unknown or missing, a pair of area and stratum comes twice, or totals are missing, negative, or
        shares that do not add up to one.
    """
    frame = source if isinstance(source, pd.DataFrame) else read_table(source, layer, text_columns=[id_field])
    for name in (id_field, stratum_field, total_field):
        check_field(frame, name)
    texts = id_texts(frame[id_field])
    matched = match_ids(texts, ids)
    if matched.table_only or matched.table_missing:
        raise TableProblem(f"The totals do not fit the areas of the first layer.\n{matched.summary()}")
    stratum, total = numeric_column(frame, stratum_field), numeric_column(frame, total_field)
    wrong = np.flatnonzero(~np.isfinite(stratum) | ~(total >= 0.0))
    if len(wrong):
        raise TableProblem(
            f"Totals need a stratum and a number of at least 0; rows {named((wrong + 1).tolist())} (counted from 1) "
            "have none. Correct or remove them."
        )
    codes, column = np.unique(stratum, return_inverse=True)
    place = {area: i for i, area in enumerate(ids)}
    row = np.array([place[str(text)] for text in texts], dtype=np.int64)
    people = np.full((len(ids), len(codes)), np.nan)
    pairs, count = np.unique(np.column_stack([row, column.ravel()]), axis=0, return_counts=True)
    if (count > 1).any():
        twice = [f"{ids[a]} (stratum {codes[s]:g})" for a, s in pairs[count > 1].tolist()]
        raise TableProblem(f"Totals come more than once for {named(twice)}. Keep one row for each area and stratum.")
    people[row, column.ravel()] = total
    if kind == "shares":
        _check_shares(people, ids)
    return StratumTotals(codes, people, kind == "shares")


def _check_shares(people: np.ndarray, ids: Sequence[str]) -> None:
    sums = np.nansum(people, axis=1)
    wrong = ~np.isnan(people).all(axis=1) & (np.abs(sums - 1.0) > _ROUNDED)
    if wrong.any():
        areas = [f"{ids[a]} ({sums[a]:.3g})" for a in np.flatnonzero(wrong).tolist()]
        raise TableProblem(
            f"Shares of strata do not add up to 1 in {named(areas)}. Correct them, or say that they are people."
        )
