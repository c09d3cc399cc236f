"""Estimates of areas that come from draws of a surface, as both pages of surfaces show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea.io.style_classes import same_sign
from smallarea.report import maps
from smallarea.report.classes import classes_by_breaks, classes_of_probabilities
from smallarea.report.figures import direct_and_model, errors_before_after, ranked_intervals
from smallarea.report.formatting import MISSING, Scale, count, fixed, percent, plural, scale_for, significant
from smallarea.report.tables import BAR_WIDTH, FULL_TABLE_LIMIT

if TYPE_CHECKING:
    import pandas as pd

    from smallarea.areas import Areas

# Areas from which on, and up to which, a picture of their order says something.
RANKED = (4, 400)
MOST_THRESHOLDS = 4
_PROBABILITY = "p_above_"


def area_block(name: str, table: pd.DataFrame, areas: Areas) -> dict[str, Any]:
    """Return everything about the areas of one level that a template prints.

    Parameters
    ----------
    name : str
        The level.
    table : pandas.DataFrame
        One row an area, in the order of the polygons; see `smallarea.workflows.surface_run.area_table`.
    areas : Areas
        Their polygons.

    Returns
    -------
    dict
    """
    texts = ("layer", "area", "response")
    a = {str(column): table[column].to_numpy(dtype=float) for column in table if column not in texts}
    known = np.isfinite(a["estimate"])
    # A coefficient of variation says nothing where estimates differ in sign.
    relative = bool(known.any() and same_sign(a["estimate"]))
    scale = scale_for(a["se"], a["estimate"])
    direct = a.get("direct", np.full(len(table), np.nan))
    has_direct = bool(np.isfinite(direct).any())
    thresholds = [column.removeprefix(_PROBABILITY) for column in a if column.startswith(_PROBABILITY)]
    return {
        "name": name,
        "words": _words(name, a, known, relative),
        "relative": relative,
        "maps": _maps(a, areas, relative, scale, thresholds[:MOST_THRESHOLDS]),
        "thresholds": thresholds[:MOST_THRESHOLDS],
        "has_direct": has_direct,
        "scatter": direct_and_model(direct, a["estimate"], []) if has_direct else None,
        "errors": errors_before_after(a["direct_se"], a["se"]) if has_direct and "direct_se" in a else None,
        "ranked": ranked_intervals(a["estimate"], a["lower"], a["upper"], direct)
        if RANKED[0] <= len(table) <= RANKED[1]
        else None,
        "rows": _rows(table, a, scale, thresholds[:MOST_THRESHOLDS]) if len(table) <= FULL_TABLE_LIMIT else [],
        "n": count(len(table)),
    }


def chance(probability: float) -> str:
    """Write a probability that is a share of some hundreds of draws: never 0 or 100%, which they cannot tell."""
    if not np.isfinite(probability):
        return MISSING
    if probability < 0.01:
        return "< 1%"
    return "> 99%" if probability > 0.99 else f"{fixed(100.0 * probability, 0)}%"


def _words(name: str, a: dict[str, Any], known: Any, relative: bool) -> str:
    n, some = len(known), int(known.sum())
    text = f"{plural(n, 'area')} of {name}" + ("" if some == n else f", {count(some)} of them with an estimate")
    if not some:
        return f"{text}."
    e, se = a["estimate"][known], a["se"][known]
    spread = f"{text}: estimates from {significant(e.min())} to {significant(e.max())}"
    middle = f"half of them with a standard error below {significant(np.median(se))}"
    if relative:
        middle += f" (a coefficient of variation below {percent(np.median(a['cv'][known]))})"
    return f"{spread}, {middle}."


def _maps(
    a: dict[str, Any], areas: Areas, relative: bool, scale: Scale, thresholds: Sequence[str]
) -> dict[str, Any] | None:
    shapes = maps.prepare_shapes(areas)
    if shapes is None or len(shapes.paths) != len(a["estimate"]):
        return None
    estimate = classes_by_breaks(a["estimate"], "estimate", scale)
    error = classes_by_breaks(a["cv" if relative else "se"], "uncertainty", scale, as_percent=relative)
    above = []
    for threshold in thresholds:
        found = classes_of_probabilities(a[f"{_PROBABILITY}{threshold}"])
        above.append((threshold, (maps.draw_map(shapes, found), found.legend)))
    return {
        "estimate": (maps.draw_map(shapes, estimate), estimate.legend),
        "error": (maps.draw_map(shapes, error), error.legend),
        "above": above,
    }


def _rows(table: pd.DataFrame, a: dict[str, Any], scale: Scale, thresholds: Sequence[str]) -> list[dict[str, Any]]:
    ends = np.concatenate([a["lower"], a["upper"]])
    ends = ends[np.isfinite(ends)]
    low, high = (float(ends.min()), float(ends.max())) if ends.size else (0.0, 1.0)
    width = (high - low) or 1.0

    direct = {name: a.get(name, np.full(len(table), np.nan)) for name in ("direct", "direct_se")}

    def place(x: float) -> str:
        # Direct estimates outside the range of the intervals sit on the rim.
        inside = min(1.0, max(0.0, (x - low) / width))
        return f"{4.0 + inside * (BAR_WIDTH - 8.0):.1f}" if np.isfinite(x) else ""

    return [
        {
            "area": str(table["area"].iat[i]),
            "direct": scale(direct["direct"][i]),
            "direct_se": scale(direct["direct_se"][i]),
            "estimate": scale(a["estimate"][i]),
            "se": scale(a["se"][i]),
            "cv": percent(a["cv"][i]),
            "lower": scale(a["lower"][i]),
            "upper": scale(a["upper"][i]),
            "above": [chance(a[f"{_PROBABILITY}{threshold}"][i]) for threshold in thresholds],
            "weight": count(round(a["weight"][i])) if a["weight"][i] >= 100.0 else significant(a["weight"][i]),
            "predicted": percent(a["predicted"][i]),
            "x_lower": place(a["lower"][i]),
            "x_upper": place(a["upper"][i]),
            "x_estimate": place(a["estimate"][i]),
            "x_direct": place(direct["direct"][i]),
        }
        for i in range(len(table))
    ]
