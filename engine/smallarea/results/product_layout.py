"""Products of draws laid out for a map (wide) and for programs (long), and the styles of the map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea.io.style_products import probability_style, rank_style
from smallarea.io.style_qml import told_apart
from smallarea.io.styles import Style, estimate_style

if TYPE_CHECKING:
    import geopandas as gpd

KEYS = ["area", "response"]
_DIFFERENCES = {"difference": "", "se": "_se", "lower": "_lower", "upper": "_upper", "p_positive": "_p"}


def threshold_field(direction: str, threshold: float) -> str:
    """Return the name of the column with the probability of lying beyond a threshold.

    Parameters
    ----------
    direction : str
        ``above`` or ``below``.
    threshold : float
        In the units of the input.

    Returns
    -------
    str
        For example ``p_above_3.5``.
    """
    return f"p_{direction}_{threshold:.12g}"


def wide_table(
    estimates: pd.DataFrame, exceedance: pd.DataFrame, ranks: pd.DataFrame, differences: pd.DataFrame
) -> pd.DataFrame:
    """Put all that belongs to an area and response into one row.

    Parameters
    ----------
    estimates, exceedance, ranks, differences : pandas.DataFrame
        As :mod:`smallarea.results.products` makes them. Differences of pairs belong to no area and are left out.

    Returns
    -------
    pandas.DataFrame
        The rows of ``estimates`` with columns for each threshold (``p_above_3.5``), the ranks, and each comparison
        (``diff_mean``, ``diff_mean_se``, ``diff_mean_lower``, ``diff_mean_upper``, ``diff_mean_p``).
    """
    wide = estimates
    for direction, threshold, part in _by_threshold(exceedance):
        field = threshold_field(direction, threshold)
        wide = wide.merge(part[[*KEYS, "probability"]].rename(columns={"probability": field}), on=KEYS, how="left")
    if len(ranks):
        wide = wide.merge(ranks, on=KEYS, how="left")
    for comparison, part in differences.groupby("comparison", sort=False):
        if comparison != "pair":
            names = {column: f"diff_{comparison}{suffix}" for column, suffix in _DIFFERENCES.items()}
            wide = wide.merge(part[[*KEYS, *names]].rename(columns=names), on=KEYS, how="left")
    return wide


def long_table(
    estimates: pd.DataFrame, exceedance: pd.DataFrame, ranks: pd.DataFrame, differences: pd.DataFrame
) -> pd.DataFrame:
    """Put every number into a row of its own.

    Parameters
    ----------
    estimates, exceedance, ranks, differences : pandas.DataFrame
        As :mod:`smallarea.results.products` makes them.

    Returns
    -------
    pandas.DataFrame
        Columns ``area``, ``response``, ``measure``, ``argument``, ``value``. The argument is the threshold, or what an
        area is compared with (``mean``, ``neighbours``, or an area id); empty otherwise.
    """
    parts = [_melted(estimates, list(estimates.columns[2:]), "")]
    for direction, threshold, part in _by_threshold(exceedance):
        measure = f"p_{direction}"
        parts.append(_melted(part.rename(columns={"probability": measure}), [measure], f"{threshold:.12g}"))
    if len(ranks):
        parts.append(_melted(ranks, list(ranks.columns[2:]), ""))
    if len(differences):
        names = {column: f"difference{suffix}" for column, suffix in _DIFFERENCES.items()}
        against = differences["against"].where(differences["against"] != "", differences["comparison"])
        parts.append(_melted(differences.rename(columns=names), list(names.values()), against))
    return pd.concat(parts, ignore_index=True)


def drop_foreign_thresholds(
    layer: gpd.GeoDataFrame, exceedance: pd.DataFrame, responses: Sequence[str]
) -> gpd.GeoDataFrame:
    """Take out the columns of thresholds that were not asked for of a response; side by side they would be empty."""
    asked = set(exceedance[["response", "direction", "threshold"]].itertuples(index=False, name=None))
    pairs = {(direction, threshold) for _, direction, threshold in asked}
    unasked = [
        f"{threshold_field(direction, threshold)}_{response}"
        for response in responses
        for direction, threshold in pairs
        if (response, direction, threshold) not in asked
    ]
    return layer.drop(columns=[name for name in unasked if name in layer.columns])


def product_styles(
    layer: gpd.GeoDataFrame, responses: Sequence[str], exceedance: pd.DataFrame, fields: Mapping[str, str]
) -> list[Style]:
    """Return the styles of a layer of products, the default first.

    Parameters
    ----------
    layer : geopandas.GeoDataFrame
        The layer as written.
    responses : sequence of str
        The responses; with several, columns end in ``_<response>``.
    exceedance : pandas.DataFrame
        The thresholds.
    fields : mapping
        Columns of the layer before writing to their names in the file.

    Returns
    -------
    list of Style
        Probability beyond each threshold, rank, probability of being in the top, and estimate, of each response.
    """
    styles: list[Style] = []
    for response in responses:
        suffix = f"_{response}" if len(responses) > 1 else ""
        found = []
        of = exceedance.loc[exceedance["response"] == response, ["direction", "threshold"]].drop_duplicates()
        for direction, threshold in of.itertuples(index=False, name=None):
            field = _written(fields, f"{threshold_field(direction, threshold)}{suffix}")
            said = f"{direction} {threshold:.12g}"
            title = f"{response}: probability of lying {said}"
            found.append(probability_style(layer[field], field=field, name=f"Probability {said}", title=title))
        if f"p_top{suffix}" in fields or f"est_p_top{suffix}" in fields:
            field, top = _written(fields, f"rank{suffix}"), _written(fields, f"p_top{suffix}")
            found.append(rank_style(layer[field], field=field, name="Rank", title=f"{response}: rank"))
            title = f"{response}: probability of being in the top"
            found.append(probability_style(layer[top], field=top, name="Probability top", title=title))
        field = _written(fields, f"estimate{suffix}")
        found.append(estimate_style(np.asarray(layer[field], dtype=float), field=field, title=response))
        styles += [style.renamed(suffix) for style in found] if suffix else found
    return told_apart(styles)


def _by_threshold(exceedance: pd.DataFrame) -> Iterator[tuple[str, float, pd.DataFrame]]:
    asked = exceedance[["direction", "threshold"]].drop_duplicates()
    for direction, threshold in asked.itertuples(index=False, name=None):
        here = (exceedance["direction"] == direction) & (exceedance["threshold"] == threshold)
        yield str(direction), float(threshold), exceedance[here]


def _melted(frame: pd.DataFrame, measures: list[str], argument: Any) -> pd.DataFrame:
    wanted = frame[[*KEYS]].assign(argument=argument)
    found = pd.concat([wanted.assign(measure=name, value=frame[name].astype(np.float64)) for name in measures])
    return found[[*KEYS, "measure", "argument", "value"]]


def _written(fields: Mapping[str, str], name: str) -> str:
    """Find a column in the file; the prefixed one first, since the other is then the id field."""
    return fields[f"est_{name}" if f"est_{name}" in fields else name]
