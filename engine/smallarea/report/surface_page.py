"""The report of a predicted surface: maps, what is known far from clusters, and the areas."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea._version import __version__
from smallarea.io.planar import as_crs
from smallarea.report.area_means import area_block
from smallarea.report.encoding import Picture
from smallarea.report.formatting import count, level_percent, percent, plural, setting, significant
from smallarea.report.page import page_template, time_words, write_page
from smallarea.report.surface_figures import (
    SurfaceFrame,
    beyond_map,
    borders_of,
    distance_chart,
    in_thousands,
    length,
    probability_map,
    value_map,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from smallarea.workflows.predict_surface import PredictSurfaceResult
    from smallarea.workflows.surface_overview import SurfaceOverview

_PROBABILITY = "p_above_"
_MOST_THRESHOLDS = 4
_MOST_COLUMNS = 40


def write_surface_report(
    result: PredictSurfaceResult, overview: SurfaceOverview, path: str, *, written: datetime | None = None
) -> None:
    """Write the report of a surface.

    Parameters
    ----------
    result : PredictSurfaceResult
        What was predicted.
    overview : SurfaceOverview
        The surface at a picture's resolution.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_surface(result, overview, written=written or datetime.now().astimezone()), path)


def render_surface(result: PredictSurfaceResult, overview: SurfaceOverview, *, written: datetime | None = None) -> str:
    """Return the report of a surface as a self-contained HTML page.

    Parameters
    ----------
    result : PredictSurfaceResult
        What was predicted.
    overview : SurfaceOverview
        The surface at a picture's resolution.
    written : datetime, optional
        The time to print in it; without it the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    bands = overview.reduced.values
    frame = _frame(result, overview)
    shown = {name: value for name, value in result.settings.items() if value not in (None, [], (), "")}
    return page_template("surface").render(
        title=result.outcome,
        source="",
        written=time_words(written),
        version=__version__,
        quantity=result.quantity,
        lead=_lead(result, overview),
        tiles=_tiles(result, overview),
        warnings=list(result.warnings),
        notes=list(result.notes),
        mean=value_map(frame, bands["mean"], "estimate"),
        sd=value_map(frame, bands["sd"], "uncertainty", clusters=True),
        above=_exceedance(frame, bands),
        block=round(overview.reduced.block),
        borders=bool(frame.borders),
        level=level_percent(result.settings["level"]),
        distance=_distance(overview),
        beyond_map=beyond_map(frame, overview.beyond) if np.nansum(overview.beyond) > 0.0 else None,
        beyond=_beyond(overview),
        beyond_any=percent(overview.share_beyond_any),
        areas=area_block("the polygon layer", result.table, result.areas) if result.areas is not None else None,
        weights="People" if "population" in result.settings else "Cells",
        call=[(name, setting(value)) for name, value in shown.items()],
    )


def _frame(result: PredictSurfaceResult, overview: SurfaceOverview) -> SurfaceFrame:
    crs = as_crs(overview.reduced.crs)
    bare = SurfaceFrame(overview.reduced, (), overview.clusters, crs.is_geographic)
    if result.areas is None:
        return bare
    shapes = result.areas.frame.geometry.to_crs(crs)
    return SurfaceFrame(overview.reduced, borders_of(shapes, bare.box), overview.clusters, crs.is_geographic)


def _exceedance(frame: SurfaceFrame, bands: dict[str, Any]) -> list[tuple[str, Picture]]:
    names = [name for name in bands if name.startswith(_PROBABILITY)][:_MOST_THRESHOLDS]
    return [(name.removeprefix(_PROBABILITY), probability_map(frame, bands[name])) for name in names]


def _known(values: Any) -> Any:
    return values[np.isfinite(values)]


def _lead(result: PredictSurfaceResult, overview: SurfaceOverview) -> str:
    mean, sd = (_known(overview.reduced.values[name]) for name in ("mean", "sd"))
    low, high = np.quantile(mean, [0.05, 0.95])
    divisor, unit = in_thousands(np.array([overview.cell]), overview.cell_unit)
    return (
        f"The {result.quantity} at {plural(result.predicted, 'cell')} of {length(overview.cell, divisor, unit)}, from "
        f"{plural(overview.draws, 'draw')} of a fit to {plural(len(overview.clusters), 'cluster')}. Nine cells of ten "
        f"have a mean between {significant(low)} and {significant(high)}; half of the cells have a standard deviation "
        f"below {significant(np.median(sd))}."
    )


def _tiles(result: PredictSurfaceResult, overview: SurfaceOverview) -> list[tuple[str, str]]:
    cells = result.predicted + result.missing
    distance = _known(overview.distance)
    divisor, unit = in_thousands(distance, overview.unit)
    return [
        (count(result.predicted), "cells with a prediction"),
        (percent(result.missing / cells), f"of the cells {_where(result)} lack a covariate and have none"),
        (length(float(np.median(distance)), divisor, unit), "median distance of a cell to the nearest cluster"),
        (percent(overview.share_beyond_any), "of the cells have a covariate beyond its values at the clusters"),
    ]


def _where(result: PredictSurfaceResult) -> str:
    return "of the grid" if result.areas is None else "in the polygons"


def _distance(overview: SurfaceOverview) -> dict[str, Any]:
    known = np.isfinite(overview.distance)
    distance, sd = overview.distance[known], overview.reduced.values["sd"][known]
    divisor, unit = in_thousands(distance, overview.unit)
    rows = [
        (text, length(float(np.quantile(distance, q)), divisor, unit))
        for text, q in (
            ("Half of the cells are within", 0.5),
            ("Nine of ten are within", 0.9),
            ("The farthest is at", 1.0),
        )
    ]
    found: dict[str, Any] = {"unit": unit, "displaced": overview.displaced}
    if overview.range is not None:
        rows.append(("Median range of the field", length(overview.range, divisor, unit)))
        rows.append(("Cells farther away than that", percent(float(np.mean(distance > overview.range)))))
    spatial_range = None if overview.range is None else overview.range / divisor
    return found | {"rows": rows, "picture": distance_chart(distance / divisor, sd, spatial_range)}


def _beyond(overview: SurfaceOverview) -> Sequence[dict[str, str]]:
    ordered = sorted(overview.share_beyond.items(), key=lambda item: (-overview.without[item[0]], -item[1]))
    return [
        {
            "name": name,
            "low": significant(overview.limits[name][0]),
            "high": significant(overview.limits[name][1]),
            "without": percent(overview.without[name]),
            "share": percent(share),
        }
        for name, share in ordered[:_MOST_COLUMNS]
    ]
