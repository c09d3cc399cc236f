"""The report of a match: what was read, how it fits the map, and what stands in the way."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pandas as pd

from smallarea.report.formatting import as_number, count, fixed, plural, setting
from smallarea.report.page import page_template, time_words
from smallarea.survey import matching as codes
from smallarea.survey import points

if TYPE_CHECKING:
    from smallarea.workflows.match_areas import MatchResult

_MOST = 200
# Status: title, what it means.
_SECTIONS = {
    codes.NEAR_MISS: (
        "Near misses",
        "These codes differ from an area's id only in case, accents, blanks, punctuation, leading zeros or a trailing "
        ".0. They are not joined unless near misses are accepted.",
    ),
    codes.ACCEPTED: ("Near misses that were accepted", "These codes are written differently on the map."),
    codes.AMBIGUOUS: (
        "Codes that may mean several areas",
        "Several areas, or several codes of the table, differ only in case, accents, blanks, punctuation or zeros. A "
        "crosswalk decides.",
    ),
    codes.TABLE_ONLY: ("Only in the table", "There is no area for these codes."),
    codes.LEFT_OUT: ("Left out by the crosswalk", "The crosswalk has no area for these codes."),
    codes.CROSSWALK: ("Joined by the crosswalk", "These codes have their area from the crosswalk."),
    points.SEVERAL: (
        "Points on several areas",
        "These places are on a common boundary, or where areas overlap.",
    ),
    points.FIRST: ("Points on several areas", "These places count for the first of the areas by its id."),
    points.OUTSIDE: ("Points on no area", "With the nearest area and its distance."),
    points.ZERO: ("Points at 0, 0", "Such coordinates usually stand for missing ones."),
}


def render_matching(result: MatchResult, *, written: datetime | None = None) -> str:
    """Return the report as a self-contained HTML page.

    Parameters
    ----------
    result : MatchResult
        The match, also one that was refused.
    written : datetime, optional
        The time to print in it; none if not given, so that the same match gives the same page.

    Returns
    -------
    str
        HTML without scripts, network addresses or external files.
    """
    found = result.matching
    rows_of_areas = found.codes[found.codes["area"] != ""].groupby("area", sort=False)["rows"].sum()
    context = {
        "title": result.table.source,
        "source": str(result.settings.get("areas", "")),
        "written": time_words(written),
        "version": result.versions.get("smallarea", ""),
        "lead": _lead(result),
        "refusal": found.refusal,
        "warnings": list(result.warnings),
        "notes": list(result.notes),
        "sections": [_section(found.of(status), status) for status in _SECTIONS if len(found.of(status))],
        "without": list(found.map_only[:_MOST]),
        "n_without": len(found.map_only),
        "areas": [{"area": str(area), "rows": count(rows)} for area, rows in rows_of_areas[rows_of_areas > 0].items()][
            :_MOST
        ],
        "n_areas": int((rows_of_areas > 0).sum()),
        "columns": result.table.summary.to_dict("records"),
        "call": [(name, setting(value)) for name, value in result.settings.items() if value not in (None, "", [], ())],
        "most": _MOST,
    }
    return page_template("matching").render(context)


def matching_document(result: MatchResult) -> str:
    """Return the same as JSON, every code included.

    Parameters
    ----------
    result : MatchResult
        The match, also one that was refused.

    Returns
    -------
    str
        One object: ``clean``, ``refusal``, ``warnings``, ``notes``, ``summary``, ``codes``, ``columns``, ``labels`` (of
        the coded columns), ``settings``, ``versions``.
    """
    table = result.table
    document = {
        "clean": result.matching.is_clean,
        "refusal": result.matching.refusal,
        "warnings": list(result.warnings),
        "notes": list(result.notes),
        "summary": result.summary,
        "codes": _records(result.matching.codes),
        "columns": _records(table.summary),
        "labels": {column: table.label_texts(column) for column in table.labels if table.labels[column]},
        "settings": {name: setting(value) for name, value in result.settings.items() if value is not None},
        "versions": result.versions,
    }
    return json.dumps(document, indent=1)


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows whose missing numbers are null."""
    return [
        {str(name): None if value != value else value for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _lead(result: MatchResult) -> list[str]:
    found = result.matching
    with_rows = len(found.areas) - len(found.map_only)
    said = [
        f"{count(found.n_joined)} of {plural(found.n_rows, 'row')} have an area; "
        f"{count(with_rows)} of {plural(len(found.areas), 'area')} have rows."
    ]
    if found.refusal:
        return [*said, "The table does not fit the map. Nothing can be estimated before that is mended or accepted."]
    if found.is_clean:
        return [*said, "Every row has its area without anything to accept."]
    return [*said, "What does not fit exactly was accepted."]


def _section(of: pd.DataFrame, status: str) -> dict[str, Any]:
    title, meaning = _SECTIONS[status]
    target = of["area"].where(of["suggestion"] == "", of["suggestion"])
    return {
        "title": title,
        "meaning": meaning,
        "anchor": title.lower().replace(" ", "-").replace(",", ""),
        "has_target": bool((target != "").any()),
        "has_distance": bool(of["distance_m"].notna().any()),
        "n": len(of),
        "rows": [
            {"code": str(code), "target": str(area), "distance": _metres(distance), "rows": count(rows)}
            for code, area, distance, rows in zip(
                of["code"][:_MOST], target[:_MOST], of["distance_m"][:_MOST], of["rows"][:_MOST], strict=True
            )
        ],
    }


def _metres(distance: Any) -> str:
    metres = as_number(distance)
    return f"{fixed(metres / 1000.0, 1)} km" if metres >= 1000.0 else f"{fixed(metres, 0)} m"
