"""Reading what benchmarking needs: groups and weights of the areas, and the targets of the groups."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import check_field, id_texts, match_ids, numeric_column, read_table, repeated
from smallarea.results.benchmark import Targets
from smallarea.results.benchmark_tables import Wanted

if TYPE_CHECKING:
    from smallarea.areas import Areas

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]

# Name of the one group if no field tells groups apart.
EVERYWHERE = "all areas"


def read_grouping(
    areas: Sequence[str],
    polygons: Areas | None,
    *,
    table: PathLike | pd.DataFrame | None,
    table_layer: str | None,
    table_id_field: str | None,
    group_fields: Sequence[str],
    weight_field: str | None,
) -> tuple[dict[str, list[str]], Vector]:
    """Read the groups and the weight of each area.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids of the estimates.
    polygons : Areas or None
        Whose attributes are used if there is no table.
    table, table_layer, table_id_field
        A table with a row for each area.
    group_fields : sequence of str
        Fields with the groups, one for each margin; without any there is one group.
    weight_field : str or None
        Without one all areas count alike.

    Returns
    -------
    groups : dict of list of str, length N
        Names of the areas' groups by field.
    weights : ndarray, shape (N,)
        Zero or more.

    Raises
    ------
    JobProblem
        If fields are named but nothing has them.
    TableProblem
        If an area is missing or repeated, has no group, or no weight.
    """
    everywhere = {EVERYWHERE: [EVERYWHERE] * len(areas)}
    if not group_fields and weight_field is None:
        return everywhere, np.ones(len(areas))
    frame, ids = _area_rows(areas, polygons, table, table_layer, table_id_field, group_fields)
    at = {area: row for row, area in enumerate(ids) if area is not None}
    rows = frame.iloc[[at[area] for area in areas]].reset_index(drop=True)
    weights = np.ones(len(areas)) if weight_field is None else numeric_column(rows, weight_field, list(areas))
    bad = [areas[i] for i in np.flatnonzero(~(weights >= 0.0)).tolist()]
    if bad:
        raise TableProblem(
            f"{len(bad)} areas have a missing or negative weight in the field {weight_field!r}: {named(bad)}. Give "
            "each area a weight of zero or more."
        )
    return {field: _groups(rows, field, areas) for field in group_fields} or everywhere, weights


def read_targets(
    targets: PathLike | pd.DataFrame,
    layer: str | None,
    groups: Mapping[str, Sequence[str]],
    weights: Vector,
    responses: Sequence[str],
    kind: Literal["mean", "total"],
) -> dict[str, Wanted]:
    """Read the targets of each response and match them with the groups of the areas.

    Parameters
    ----------
    targets : path or DataFrame
        A row for each response and group. Columns: ``target``; with groups ``group``, or a column with the name of
        the group field; with several group fields also ``margin``, the name of the field, or a column for each field
        of which a row fills in one; with several responses ``response``; ``target_se`` if there are standard errors.
    layer : str, optional
        Layer or sheet of the file.
    groups : mapping
        Groups of the areas by field, see `read_grouping`.
    weights : ndarray, shape (N,)
        Weight of each area.
    responses : sequence of str
        What the estimates are of.
    kind : {'mean', 'total'}
        What the targets are.

    Returns
    -------
    dict
        Response to what is wanted of it; responses without rows are left out. A response may have targets for some of
        the margins only.

    Raises
    ------
    TableProblem
        If a column is missing, or groups and targets do not match one to one.
    """
    fields = [field for field in groups if field != EVERYWHERE]
    frame = _read(targets, layer, fields, len(responses) > 1)
    if not len(frame):
        raise TableProblem("The table of targets has no rows.")
    of = _texts(frame, "response") if len(responses) > 1 else [responses[0]] * len(frame)
    strangers = sorted(set(of) - set(responses))
    if strangers:
        raise TableProblem(f"There are targets for {named(strangers)}, but there are estimates of {named(responses)}.")
    margins, where = _margins_and_groups(frame, fields)
    rows = [f"{group} of {response}" for group, response in zip(where, of, strict=True)]
    if len(fields) > 1:
        rows = [f"{row} ({margin})" for row, margin in zip(rows, margins, strict=True)]
    values = numeric_column(frame, "target", rows)
    errors = numeric_column(frame, "target_se", rows) if "target_se" in frame.columns else np.zeros(len(frame))
    _check_targets(values, errors, rows)
    found = {}
    for response in responses:
        mine = [row for row, r in enumerate(of) if r == response]
        if mine:
            at = {(margins[row], where[row]): row for row in mine}
            found[response] = _wanted(response, at, groups, weights, values, np.nan_to_num(errors), kind)
    return found


def _wanted(
    response: str,
    at: Mapping[tuple[str, str], int],
    groups: Mapping[str, Sequence[str]],
    weights: Vector,
    values: Vector,
    errors: Vector,
    kind: Literal["mean", "total"],
) -> Wanted:
    """Put the targets of one response into the order of its margins and groups."""
    used = [field for field in groups if any(margin == field for margin, _ in at)]
    names = [(field, group) for field in used for group in dict.fromkeys(groups[field])]
    unknown = sorted(group for margin, group in at if (margin, group) not in set(names))
    if unknown:
        raise TableProblem(f"There are targets for {len(unknown)} groups without any area: {named(unknown)}.")
    lacking = [group for field, group in names if (field, group) not in at]
    if lacking:
        raise TableProblem(f"There is no target of {response!r} for {len(lacking)} groups: {named(lacking)}.")
    position = {name: k for k, name in enumerate(names)}
    group = np.array([[position[field, name] for name in groups[field]] for field in used], dtype=np.int64)
    order = [at[name] for name in names]
    margins = tuple("" if field == EVERYWHERE else field for field, _ in names)
    targets = Targets(tuple(name for _, name in names), values[order], errors[order], kind, margins)
    return Wanted(group, weights, targets)


def _read(targets: PathLike | pd.DataFrame, layer: str | None, fields: Sequence[str], several: bool) -> pd.DataFrame:
    """Read the table of targets, with its names as text."""
    frame = targets.reset_index(drop=True) if isinstance(targets, pd.DataFrame) else read_table(targets, layer)
    own = bool(fields) and "group" not in frame.columns and any(field in frame.columns for field in fields)
    needed = ["response"] if several else []
    if own:
        needed += [field for field in fields if field in frame.columns]
    elif fields:
        needed += ["group", "margin"] if len(fields) > 1 else ["group"]
    for name in (*needed, "target"):
        check_field(frame, name, "the table of targets")
    # Names once more, as text: they keep their zeros, as the areas' groups do.
    return frame if isinstance(targets, pd.DataFrame) else read_table(targets, layer, text_columns=needed)


def _margins_and_groups(frame: pd.DataFrame, fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the margin and the group of each row."""
    if not fields:
        return [EVERYWHERE] * len(frame), [EVERYWHERE] * len(frame)
    if "group" in frame.columns:
        margins = _texts(frame, "margin") if len(fields) > 1 else [fields[0]] * len(frame)
        unknown = sorted(set(margins) - set(fields))
        if unknown:
            raise TableProblem(
                f"The table of targets has the margins {named(unknown)}, but the group fields are {named(fields)}."
            )
        return margins, _texts(frame, "group")
    texts = {field: id_texts(frame[field]) for field in fields if field in frame.columns}
    filled = [[field for field, text in texts.items() if text[row] is not None] for row in range(len(frame))]
    bad = [row + 1 for row, names in enumerate(filled) if len(names) != 1]
    if bad:
        raise TableProblem(
            f"{len(bad)} rows of the table of targets do not fill in exactly one of the columns {named(texts)}: rows "
            f"{named(bad)}."
        )
    return [names[0] for names in filled], [str(texts[names[0]][row]) for row, names in enumerate(filled)]


def _check_targets(values: Vector, errors: Vector, rows: Sequence[str]) -> None:
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
    group_fields: Sequence[str],
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
    else:
        # Names of groups keep their zeros, as those of the targets do.
        frame = read_table(str(table), layer, text_columns=list(dict.fromkeys([id_field, *group_fields])))
    ids = id_texts(frame[id_field])
    match = match_ids(ids, tuple(areas))
    if match.table_repeated:
        raise TableProblem(
            f"{len(match.table_repeated)} area ids are repeated in the table: {named(match.table_repeated)}. Keep one "
            "row an area."
        )
    gone = sorted(set(areas) - {area for area in ids if area is not None})
    if gone:
        raise TableProblem(
            f"{len(gone)} areas of the estimates have no row in the table: {named(gone)}. {match.summary()}"
        )
    return frame, ids


def _groups(rows: pd.DataFrame, field: str, areas: Sequence[str]) -> list[str]:
    check_field(rows, field)
    groups = id_texts(rows[field])
    nowhere = [area for area, group in zip(areas, groups, strict=True) if group is None]
    if nowhere:
        raise TableProblem(
            f"{len(nowhere)} areas have no group in the field {field!r}: {named(nowhere)}. Give each area a group."
        )
    return [str(group) for group in groups]


def _texts(frame: pd.DataFrame, name: str) -> list[str]:
    found = id_texts(frame[name])
    empty = [row for row, text in enumerate(found, start=1) if text is None]
    if empty:
        raise TableProblem(f"The table of targets has no {name} in {len(empty)} rows: {named(empty)}. Fill it in.")
    return [str(text) for text in found]
