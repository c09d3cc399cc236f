"""The report of an imputed survey's direct estimates: what missing answers cost each area."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from smallarea._version import __version__
from smallarea.report import maps
from smallarea.report.classes import classes_by_breaks
from smallarea.report.drawing import cloud, diagonal, labels, square
from smallarea.report.encoding import Picture, as_svg
from smallarea.report.formatting import count, fixed, percent, plural, setting, significant
from smallarea.report.page import page_template, time_words, write_page

if TYPE_CHECKING:
    from smallarea.workflows.direct_result import DirectEstimatesResult

_MOST = 200


def write_missing_cost(result: DirectEstimatesResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    result : DirectEstimatesResult
        Direct estimates of an imputed survey.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_missing_cost(result, written=written or datetime.now().astimezone()), path)


def render_missing_cost(result: DirectEstimatesResult, *, written: datetime | None = None) -> str:
    """Return the report as a self-contained HTML page.

    Parameters
    ----------
    result : DirectEstimatesResult
        Direct estimates of an imputed survey.
    written : datetime, optional
        The time to print in it; none if not given, so that the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    shapes = maps.prepare_shapes(result.areas) if result.areas is not None else None
    return page_template("missing_cost").render(
        title=", ".join(result.estimates.responses),
        source=str(result.areas.source) if result.areas is not None else "",
        written=time_words(written),
        version=__version__,
        tables=int(result.design["n_imputations"]),
        warnings=list(result.warnings),
        notes=list(result.notes),
        responses=[_response(result, name, shapes) for name in result.estimates.responses],
        most=_MOST,
        call=[(name, setting(value)) for name, value in result.settings.items() if value not in (None, "", [], ())],
    )


def cost_by_area(result: DirectEstimatesResult, response: str) -> pd.DataFrame:
    """Return what missing answers cost the estimates of a response, the dearest area first.

    Parameters
    ----------
    result : DirectEstimatesResult
        Direct estimates of an imputed survey.
    response : str
        The response.

    Returns
    -------
    pandas.DataFrame
        Areas with a variance: ``area``, ``direct``, ``n``, ``se``, ``se_within`` (the standard error if nothing were
        missing), ``share`` of the variance that is due to missing answers, ``fmi``, ``n_eff``, and ``lost``: effective
        respondents that the missing answers are worth.
    """
    rows = result.estimates.table
    rows = rows[(rows["response"] == response) & rows["variance"].notna()]
    share = 1.0 - rows["variance_within"] / rows["variance"]
    found = pd.DataFrame(
        {
            "area": rows["area"],
            "direct": rows["direct"],
            "n": rows["n"],
            "se": rows["se"],
            "se_within": np.sqrt(rows["variance_within"]),
            "share": share,
            "fmi": rows["fmi"],
            "n_eff": rows["n_eff"],
            "lost": rows["n_eff"] * share / (1.0 - share),
        }
    )
    return found.sort_values("share", ascending=False, kind="stable").reset_index(drop=True)


def _response(result: DirectEstimatesResult, name: str, shapes: maps.MapShapes | None) -> dict[str, Any]:
    cost = cost_by_area(result, name)
    drawn = None
    if shapes is not None and len(shapes.paths) == len(result.table):
        classes = classes_by_breaks(result.table[f"fmi_{name}"], "uncertainty", as_percent=True)
        drawn = (maps.draw_map(shapes, classes), classes.legend)
    return {
        "name": name,
        "lead": _lead(cost),
        "map": drawn,
        "chart": _errors(cost) if len(cost) > 1 else None,
        "n": len(cost),
        "rows": [
            {
                "area": str(row.area),
                "direct": significant(row.direct, 4),
                "n": count(row.n),
                "se": significant(row.se),
                "se_within": significant(row.se_within),
                "share": percent(row.share),
                "fmi": percent(row.fmi),
                "lost": fixed(row.lost, 1),
            }
            for row in cost[:_MOST].itertuples()
        ],
    }


def _lead(cost: pd.DataFrame) -> list[str]:
    """Say the whole in a few sentences."""
    if not len(cost):
        return ["No area has a variance, so nothing can be said about what missing answers cost."]
    untouched = int((cost["share"] <= 0.0).sum())
    said = [
        f"In the median of {plural(len(cost), 'area')} missing answers make {percent(cost['share'].median())} of the "
        f"variance, and {percent(cost['fmi'].median())} of the information is missing. Standard errors are "
        f"{percent((cost['se'] / cost['se_within']).median() - 1.0)} larger than if everybody had answered."
    ]
    worst = cost.iloc[0]
    if worst["share"] > 0.0:
        said.append(f"The most they cost is {percent(worst['share'])} of the variance, in {worst['area']}.")
    if untouched:
        said.append(f"In {plural(untouched, 'area')} nothing differs between the completed tables.")
    return said


def _errors(cost: pd.DataFrame) -> Picture:
    """Draw standard errors with against those without missing answers, with the line of no cost."""
    without, whole = cost["se_within"].to_numpy(dtype=np.float64), cost["se"].to_numpy(dtype=np.float64)
    figure, axes = square()
    diagonal(axes, np.concatenate([without, whole]))
    cloud(axes, without, whole)
    labels(axes, "Standard error if nothing were missing", "Standard error")
    return as_svg(figure)
