"""Reading what an export needs beside the draws: thresholds, pairs, groups, weights, targets."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import check_field, id_texts, match_ids, numeric_column, read_table, repeated
from smallarea.results.benchmark import Targets
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.products import Grouping

if TYPE_CHECKING:
    from smallarea.areas import Areas

PathLike = str | os.PathLike[str]

# Name of the one group if no field tells groups apart.
EVERYWHERE = "all areas"


def read_thresholds(given: Sequence[str | float], responses: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Sort thresholds by response.

    Parameters
    ----------
    given : sequence of str or float
        Numbers for every response, or texts ``response=number`` for one.
    responses : sequence of str
        What the draws hold.

    Returns
    -------
    dict
        Response to thresholds in the order given, each once; responses without any are left out.

    Raises
    ------
    JobProblem
        If one is no number, or its response is unknown.
    """
    found: dict[str, list[float]] = {response: [] for response in responses}
    for item in given:
        number = _number(item)
        if number is not None:
            for values in found.values():
                values.append(number)
            continue
        name, equals, text = str(item).rpartition("=")
        number = _number(text)
        if not equals or number is None:
            raise JobProblem(f"The threshold {item!r} is neither a number nor of the form {responses[0]}=3.5.")
        if name.strip() not in found:
            raise JobProblem(f"The threshold {item!r} is of no response of the draws; they hold {named(responses)}.")
        found[name.strip()].append(number)
    return {response: tuple(dict.fromkeys(values)) for response, values in found.items() if values}


def read_pairs(given: Sequence[str | Sequence[str]], areas: Sequence[str]) -> list[tuple[str, str]]:
    """Find the two areas of each pair.

    Parameters
    ----------
    given : sequence of str or of two ids
        Texts ``first=second``; ids may have equals signs themselves.
    areas : sequence of str
        Area ids of the draws.

    Returns
    -------
    list of (str, str)
        First and second area.

    Raises
    ------
    JobProblem
        If one is no pair of areas.
    """
    known = set(areas)
    found = []
    for item in given:
        if isinstance(item, str):
            pieces = item.split("=")
            splits = [("=".join(pieces[:k]), "=".join(pieces[k:])) for k in range(1, len(pieces))]
        else:
            splits = [(str(item[0]), str(item[1]))] if len(item) == 2 else []
        fitting = [split for split in splits if set(split) <= known]
        if len(fitting) != 1:
            strangers = [area for split in splits[:1] for area in split if area not in known]
            why = f"The draws have no area {named(strangers)}" if strangers else "It is not of the form FIRST=SECOND"
            raise JobProblem(f"The pair {item!r} does not name two areas. {why}.")
        found.append(fitting[0])
    return found


def check_reference(area: str, draws: PosteriorDraws) -> None:
    """Make sure that all areas can be compared with one of them.

    Parameters
    ----------
    area : str
        Its id.
    draws : PosteriorDraws
        The draws.

    Raises
    ------
    JobProblem
        If there is no such area, or it has no estimate.
    """
    if area not in draws.areas:
        raise JobProblem(f"The draws have no area {area!r} to compare with. Their first are {named(draws.areas)}.")
    if np.isnan(draws.theta[:, draws.areas.index(area)]).any():
        raise JobProblem(f"Area {area!r} has no estimate, so nothing can be compared with it. Choose another area.")


def read_grouping(
    areas: Sequence[str],
    polygons: Areas | None,
    *,
    table: PathLike | pd.DataFrame | None,
    table_layer: str | None,
    table_id_field: str | None,
    group_field: str | None,
    weight_field: str | None,
) -> tuple[list[str], NDArray[np.float64]]:
    """Read the group and the weight of each area.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids of the draws.
    polygons : Areas or None
        Whose attributes are used if there is no table.
    table, table_layer, table_id_field
        A table with a row for each area.
    group_field, weight_field : str or None
        Fields; without one there is one group, and all areas count alike.

    Returns
    -------
    groups : list of str, length N
        Names of the groups.
    weights : ndarray, shape (N,)
        Zero or more.

    Raises
    ------
    JobProblem
        If fields are named but nothing has them.
    TableProblem
        If an area is missing or repeated, has no group, or no weight.
    """
    if group_field is None and weight_field is None:
        return [EVERYWHERE] * len(areas), np.ones(len(areas))
    frame, ids = _area_rows(areas, polygons, table, table_layer, table_id_field)
    at = {area: row for row, area in enumerate(ids) if area is not None}
    rows = frame.iloc[[at[area] for area in areas]].reset_index(drop=True)
    weights = np.ones(len(areas)) if weight_field is None else numeric_column(rows, weight_field, list(areas))
    bad = [areas[i] for i in np.flatnonzero(~(weights >= 0.0)).tolist()]
    if bad:
        raise TableProblem(
            f"{len(bad)} areas have a missing or negative weight in the field {weight_field!r}: {named(bad)}. Give "
            "each area a weight of zero or more."
        )
    if group_field is None:
        return [EVERYWHERE] * len(areas), weights
    check_field(rows, group_field)
    groups = id_texts(rows[group_field])
    nowhere = [area for area, group in zip(areas, groups, strict=True) if group is None]
    if nowhere:
        raise TableProblem(
            f"{len(nowhere)} areas have no group in the field {group_field!r}: {named(nowhere)}. Give each area a "
            "group."
        )
    return [str(group) for group in groups], weights


def read_targets(
    benchmark: PathLike | pd.DataFrame,
    layer: str | None,
    groups: Sequence[str],
    weights: NDArray[np.float64],
    responses: Sequence[str],
    *,
    by_group: bool,
    kind: Literal["mean", "total"],
) -> tuple[Grouping, dict[str, Targets]]:
    """Read the targets of each response and match them with the groups of the areas.

    Parameters
    ----------
    benchmark : path or DataFrame
        A row for each response and group, with the columns ``target``, with several groups ``group``, with several
        responses ``response``, and if there are standard errors ``target_se``.
    layer : str, optional
        Layer or sheet of the file.
    groups : sequence of str, length N
        Group of each area.
    weights : ndarray, shape (N,)
        Weight of each area.
    responses : sequence of str
        What the draws hold.
    by_group : bool
        Whether there are groups; if not, a response has one row.
    kind : {'mean', 'total'}
        What the targets are.

    Returns
    -------
    Grouping
        Positions of the groups, and the weights.
    dict
        Response to targets; responses without rows are left out.

    Raises
    ------
    TableProblem
        If a column is missing, or groups and targets do not match one to one.
    """
    text = [name for name, needed in (("group", by_group), ("response", len(responses) > 1)) if needed]
    if isinstance(benchmark, pd.DataFrame):
        frame = benchmark.reset_index(drop=True)
        for name in text:
            check_field(frame, name, "the table of targets")
    else:
        frame = read_table(benchmark, layer, text_columns=text)
    names = tuple(dict.fromkeys(groups))
    of = _texts(frame, "response") if len(responses) > 1 else [responses[0]] * len(frame)
    where = _texts(frame, "group") if by_group else [EVERYWHERE] * len(frame)
    strangers = sorted(set(of) - set(responses))
    if strangers:
        raise TableProblem(f"There are targets for {named(strangers)}, but the draws hold {named(responses)}.")
    rows = [f"{group} of {response}" for group, response in zip(where, of, strict=True)]
    values = numeric_column(frame, "target", rows)
    errors = numeric_column(frame, "target_se", rows) if "target_se" in frame.columns else np.zeros(len(frame))
    _check_targets(values, errors, rows, where, names)
    found = {}
    for response in responses:
        at = {group: row for row, (group, r) in enumerate(zip(where, of, strict=True)) if r == response}
        lacking = [group for group in names if group not in at]
        if at and lacking:
            raise TableProblem(f"There is no target of {response!r} for {len(lacking)} groups: {named(lacking)}.")
        if at:
            order = [at[group] for group in names]
            found[response] = Targets(names, values[order], np.nan_to_num(errors[order]), kind)
    position = {group: k for k, group in enumerate(names)}
    return Grouping(np.array([position[group] for group in groups], dtype=np.int64), weights), found


def _check_targets(
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    rows: Sequence[str],
    where: Sequence[str],
    names: Sequence[str],
) -> None:
    if not len(values):
        raise TableProblem("The table of targets has no rows.")
    unknown = sorted(set(where) - set(names))
    if unknown:
        raise TableProblem(f"There are targets for {len(unknown)} groups without any area: {named(unknown)}.")
    twice = repeated(rows)
    if twice:
        raise TableProblem(f"There are several targets for {named(twice)}. Keep one of each.")
    missing = [rows[i] for i in np.flatnonzero(np.isnan(values)).tolist()]
    if missing:
        raise TableProblem(f"{len(missing)} targets are missing: {named(missing)}. Fill them in.")
    negative = [rows[i] for i in np.flatnonzero(errors < 0.0).tolist()]
    if negative:
        raise TableProblem(f"{len(negative)} standard errors of targets are negative: {named(negative)}.")


def _area_rows(
    areas: Sequence[str],
    polygons: Areas | None,
    table: PathLike | pd.DataFrame | None,
    layer: str | None,
    id_field: str | None,
) -> tuple[pd.DataFrame, list[str | None]]:
    """Return the rows that have groups and weights, with their ids; every area has one."""
    if table is None and polygons is None:
        raise JobProblem(
            "Groups and weights of the areas (group_field, weight_field) are read from a table or from the polygons: "
            "give one of them."
        )
    if table is None and polygons is not None:
        return polygons.frame, list(polygons.ids)
    if id_field is None:
        raise JobProblem("The table needs the field with the area ids: set table_id_field (or id_field if both agree).")
    if isinstance(table, pd.DataFrame):
        frame = table.reset_index(drop=True)
        check_field(frame, id_field)
        ids = id_texts(frame[id_field])
    else:
        frame = read_table(str(table), layer, text_columns=[id_field])
        ids = id_texts(frame[id_field])
    match = match_ids(ids, tuple(areas))
    if match.table_repeated:
        raise TableProblem(
            f"{len(match.table_repeated)} area ids are repeated in the table: {named(match.table_repeated)}. Keep one "
            "row an area."
        )
    gone = sorted(set(areas) - {area for area in ids if area is not None})
    if gone:
        raise TableProblem(f"{len(gone)} areas of the draws have no row in the table: {named(gone)}. {match.summary()}")
    return frame, ids


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    found = id_texts(frame[name])
    empty = [row for row, text in enumerate(found, start=1) if text is None]
    if empty:
        raise TableProblem(f"The table of targets has no {name} in {len(empty)} rows: {named(empty)}. Fill it in.")
    return [str(text) for text in found]


def _number(value: Any) -> float | None:
    """Return a finite number, None if it is something else."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
