"""The report of partial dependence: which covariates matter, how the outcome goes with each, which act together."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea._version import __version__
from smallarea.report.dependence_figures import code_chart, curve_chart, joint_chart
from smallarea.report.encoding import Picture
from smallarea.report.formatting import count, fixed, level_percent, percent, plural, setting, significant
from smallarea.report.page import page_template, time_words, write_page

if TYPE_CHECKING:
    import pandas as pd

    from smallarea.workflows.dependence_tables import PartialDependenceResult

_MOST = 30
# Pixels of the line on which an interval is drawn.
_LINE = 150.0


def write_dependence_report(result: PartialDependenceResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    result : PartialDependenceResult
        The effects.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_dependence(result, written=written or datetime.now().astimezone()), path)


def render_dependence(result: PartialDependenceResult, *, written: datetime | None = None) -> str:
    """Return the report as a self-contained HTML page.

    Parameters
    ----------
    result : PartialDependenceResult
        The effects.
    written : datetime, optional
        The time to print in it; none if not given, so that the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    return page_template("dependence").render(
        title=result.outcome,
        source="",
        kicker="Effects of covariates",
        written=time_words(written),
        version=__version__,
        lead=_lead(result),
        tiles=_tiles(result),
        warnings=list(result.warnings),
        notes=list(result.notes),
        scale=result.scale,
        level=level_percent(result.settings["level"]),
        covariates=_covariates(result),
        n_covariates=len(result.covariates),
        most=_MOST,
        dependence=_charts(result, "partial_dependence"),
        accumulated=_charts(result, "accumulated"),
        interactions=_interactions(result),
        joint=[
            (one.covariate, one.other, joint_chart(one.values, one.other_values, one.estimate, one.places))
            for one in result.joint
        ],
        n_pairs=len(result.interactions),
        call=[(name, setting(value)) for name, value in result.settings.items()],
    )


def _lead(result: PartialDependenceResult) -> str:
    summary = result.summary
    found = (
        f"How the expected {result.scale} goes with {plural(summary['n_covariates'], 'covariate')}, as the trees have "
        f"it. {summary['strongest']} matters most: its partial dependence has a standard deviation of "
        f"{significant(summary['strongest_spread'])}."
    )
    if "strongest_pair" in summary:
        found += f" The pair that is furthest from acting as a sum is {summary['strongest_pair']}."
    return found


def _tiles(result: PartialDependenceResult) -> list[tuple[str, str]]:
    summary = result.summary
    found = [
        (count(summary["n_covariates"]), "covariates"),
        (significant(summary["strongest_spread"]), "standard deviation of the strongest effect"),
    ]
    if "strongest_h" in summary:
        found.append((fixed(summary["strongest_h"], 2), "H of the strongest pair (0 is a sum, 1 no sum at all)"))
    return found


def _line(lower: float, middle: float, upper: float, largest: float) -> dict[str, str]:
    """Where an interval and its middle lie on a line from 0 to the largest."""
    scale = _LINE / largest if largest > 0.0 else 0.0
    x, width = 4.0 + scale * lower, max(scale * (upper - lower), 1.0)
    return {"x": f"{x:.1f}", "width": f"{width:.1f}", "at": f"{4.0 + scale * middle:.1f}"}


def _covariates(result: PartialDependenceResult) -> list[dict[str, Any]]:
    table = result.covariates.head(_MOST)
    largest = float(table["spread_upper"].max())
    return [
        {
            "name": row["covariate"],
            "spread": significant(row["spread"]),
            "interval": f"{significant(row['spread_lower'])} to {significant(row['spread_upper'])}",
            "line": _line(row["spread_lower"], row["spread"], row["spread_upper"], largest),
            "rules": percent(row["rules"]),
            "prior": percent(row["prior"]),
            "used": percent(row["used"]),
        }
        for row in table.to_dict("records")
    ]


def _interactions(result: PartialDependenceResult) -> list[dict[str, Any]]:
    table = result.interactions.head(_MOST)
    largest = float(table["strength_upper"].max()) if len(table) else 0.0
    return [
        {
            "pair": f"{row['covariate']} and {row['other']}",
            "strength": significant(row["strength"]),
            "interval": f"{significant(row['strength_lower'])} to {significant(row['strength_upper'])}",
            "line": _line(row["strength_lower"], row["strength"], row["strength_upper"], largest),
            "h": fixed(row["h"], 2),
            "h_interval": f"{fixed(row['h_lower'], 2)} to {fixed(row['h_upper'], 2)}",
            "h_of_mean": fixed(row["h_of_mean"], 2),
            "together": percent(row["together"]),
        }
        for row in table.to_dict("records")
    ]


def _charts(result: PartialDependenceResult, effect: str) -> list[tuple[str, Picture]]:
    """Small axes of the strongest covariates, all with the same vertical scale."""
    names = result.covariates["covariate"].head(_MOST)
    every = result.curves.set_index("covariate")
    curves = every[every["effect"] == effect]
    other = every[every["effect"] == "partial_dependence"]
    shown = curves.loc[names]
    low, high = float(shown["lower"].min()), float(shown["upper"].max())
    margin = 0.07 * (high - low) or 1.0
    limits = (low - 1.5 * margin, high + margin)
    return [
        (name, _chart(result, name, curves.loc[[name]], None if effect != "accumulated" else other.loc[[name]], limits))
        for name in names
    ]


def _chart(
    result: PartialDependenceResult,
    name: str,
    rows: pd.DataFrame,
    other: pd.DataFrame | None,
    limits: tuple[float, float],
) -> Picture:
    values, share = rows["value"].to_numpy(), rows["share"].to_numpy()
    curve = (rows["estimate"].to_numpy(), rows["lower"].to_numpy(), rows["upper"].to_numpy())
    middle = 0.0 if other is not None else float(np.nansum(curve[0] * share))
    if name in result.codes:
        return code_chart(values, curve, limits, level=middle)
    beside = None
    if other is not None:
        beside = other["estimate"].to_numpy() - float(other["estimate"] @ share)
    return curve_chart(values, curve, result.deciles[name], limits, level=middle, other=beside)
