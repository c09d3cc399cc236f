"""The report of areas that are means of a surface: their estimates by level, and how cells were weighted."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smallarea._version import __version__
from smallarea.report.area_means import area_block
from smallarea.report.formatting import count, level_percent, listed, percent, plural, scale_for, setting
from smallarea.report.page import page_template, time_words, write_page

if TYPE_CHECKING:
    from smallarea.workflows.aggregate_surface import AggregateSurfaceResult


def write_levels_report(result: AggregateSurfaceResult, path: str, *, written: datetime | None = None) -> None:
    """Write the report of areas.

    Parameters
    ----------
    result : AggregateSurfaceResult
        The areas of all levels.
    path : str
        HTML file to write; it appears whole or not at all.
    written : datetime, optional
        The time to print in it; now if not given.

    Raises
    ------
    OutputProblem
        If it cannot be written there.
    """
    write_page(render_levels(result, written=written or datetime.now().astimezone()), path)


def render_levels(result: AggregateSurfaceResult, *, written: datetime | None = None) -> str:
    """Return the report of areas as a self-contained HTML page.

    Parameters
    ----------
    result : AggregateSurfaceResult
        The areas of all levels.
    written : datetime, optional
        The time to print in it; without it the same result gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    blocks = [
        area_block(name, result.table[result.table["layer"] == name].reset_index(drop=True), areas)
        for name, areas in result.areas.items()
    ]
    shown = {name: value for name, value in result.settings.items() if value not in (None, [], "")}
    return page_template("levels").render(
        title=result.outcome,
        source="",
        written=time_words(written),
        version=__version__,
        quantity=result.quantity,
        lead=_lead(result),
        tiles=_tiles(result),
        warnings=list(result.warnings),
        notes=list(result.notes),
        blocks=blocks,
        level=level_percent(result.settings["level"]),
        weights="People" if _has_people(result) else "Cells",
        weighting=_weighting(result),
        strata=_strata(result),
        call=[(name, setting(value)) for name, value in shown.items()],
    )


def _has_people(result: AggregateSurfaceResult) -> bool:
    counted = result.settings.get("strata_raster") is not None and result.settings["total_kind"] == "people"
    return result.settings.get("population") is not None or counted


def _lead(result: AggregateSurfaceResult) -> str:
    levels = [f"{plural(len(areas.ids), 'area')} of {name}" for name, areas in result.areas.items()]
    draws = len(next(iter(result.draws.values())).values)
    text = f"The {result.quantity} in {listed(levels)}, from {plural(draws, 'draw')} of a surface of "
    text += f"{plural(result.predicted, 'cell')}."
    if len(levels) > 1:
        text += " All levels have the same draws, so where borders nest their estimates agree with each other."
    return text


def _tiles(result: AggregateSurfaceResult) -> list[tuple[str, str]]:
    summary = result.summary
    return [
        (count(summary["n_estimated"]), f"areas with an estimate, of {count(summary['n_areas'])}"),
        (count(result.predicted), "cells with a prediction"),
        (percent(result.missing / (result.predicted + result.missing)), "of the cells lack a covariate and have none"),
    ]


def _weighting(result: AggregateSurfaceResult) -> list[tuple[str, str]]:
    """Say how cells were weighted, in the order in which it happens."""
    call = result.settings
    band = f", band {call['population_band']}" if call.get("population_band") else ""
    population = (
        f"people of {_name(call['population'])}{band}" if call.get("population") else "their size on the ground"
    )
    borders = {
        "coverage": "shared out by the part of them that lies in an area",
        "centre": "given to the area that holds their centre",
    }
    rows = [("Cells are weighted by", population), ("Cells on a border are", borders[call["split"]])]
    if call.get("strata_raster"):
        source = _name(call["totals"]) if "totals" in call else "a table"
        kind = "shares of the people of an area" if call["total_kind"] == "shares" else "numbers of people"
        first = next(iter(result.areas))
        rows += [
            ("Strata of the cells", _name(call["strata_raster"])),
            ("Weights of strata meet", f"{call['total_field']} of {source}: {kind}, by area of {first}"),
        ]
    return rows


def _strata(result: AggregateSurfaceResult) -> list[dict[str, str]]:
    """Rows of the strata: people before and after, and their means."""
    table = result.strata
    scale = scale_for(table["se"], table["estimate"])
    before, after = table["raster"].sum(), table["people"].sum()
    return [
        {
            "code": f"{row['stratum']:g}",
            "raster": count(row["raster"]),
            "raster_share": percent(row["raster"] / before),
            "people": count(row["people"]),
            "share": percent(row["people"] / after),
            "estimate": scale(row["estimate"]),
            "se": scale(row["se"]),
            "interval": f"{scale(row['lower'])} to {scale(row['upper'])}",
        }
        for row in table.to_dict("records")
    ]


def _name(path: Any) -> str:
    return Path(path).name
