"""The task `match_areas`: the rows of a survey table, each with its area."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from smallarea.areas import Areas, read_areas
from smallarea.areas.changes import first_few
from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import AtomicOutputs, SurveyTable, as_area_ids, check_suffix, read_survey, repeated
from smallarea.io.ids import id_texts
from smallarea.io.table_output import check_table_output, write_table
from smallarea.survey.area_matching import AreaMatching
from smallarea.survey.matching import match_codes
from smallarea.survey.points import match_points, points_of_columns
from smallarea.workflows.record import silent, versions

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class MatchResult:
    """What `match_areas` found and wrote.

    Attributes
    ----------
    matching : AreaMatching
        How the rows fit the areas.
    table : SurveyTable
        What was read.
    frame : pandas.DataFrame
        The rows that have an area, its id in the first column.
    repairs : tuple of str
        What was mended on the polygons.
    settings : dict
        The call.
    versions : dict
        Of the engine and the libraries.
    points : geopandas.GeoSeries or None
        The point of each row of `frame`, where rows were joined by point.
    """

    matching: AreaMatching
    table: SurveyTable
    frame: pd.DataFrame
    repairs: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    points: gpd.GeoSeries | None = None

    @property
    def summary(self) -> dict[str, Any]:
        """Rows, areas, and how many codes have each status."""
        return {**self.matching.summary, "n_columns": len(self.table.frame.columns)}

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was accepted although it is not clean, and rows that are probably copies."""
        return (*self.matching.warnings, *self.table.warnings)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out on reading, mended on the map, and which areas have no rows."""
        without = self.matching.map_only
        empty = (f"{len(without)} of {len(self.matching.areas)} areas have no rows: {named(without)}.",)
        return (*self.table.notes, *first_few(self.repairs), *(empty if without else ()))


def match_areas(
    areas: PathLike | gpd.GeoDataFrame,
    table: PathLike | pd.DataFrame,
    *,
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    table_layer: str | None = None,
    encoding: str | None = None,
    decimal: Literal["point", "comma"] | None = None,
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = None,
    columns: Sequence[str] = (),
    table_id_field: str | None = None,
    code_labels: bool = False,
    crosswalk: PathLike | pd.DataFrame | Mapping[str, str | None] | None = None,
    near_misses: Literal["error", "accept"] = "error",
    longitude_field: str | None = None,
    latitude_field: str | None = None,
    points: bool = False,
    point_crs: str = "EPSG:4326",
    several: Literal["error", "first"] = "error",
    unmatched: Literal["error", "keep"] = "error",
    area_field: str = "area",
    output: PathLike | None = None,
    matching: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> MatchResult:
    """Join the rows of a survey table to areas, by code or by point, and report how well they fit.

    If something does not fit and was not accepted, `matching` and `report` are still written, complete, before the
    error is raised; `output` is not.

    Parameters
    ----------
    areas : path or geopandas.GeoDataFrame
        The polygon layer.
    table : path or pandas.DataFrame
        The survey table, one row a respondent: any file that `smallarea.io.read_survey` reads.
    layer : str, optional
        Layer name inside the polygon file; needed only if there are several.
    id_field : str, optional
        Field of the polygons with the area ids; the row number if not given.
    crs : str, optional
        Reference system to assume where the polygons have none.
    repair : bool
        Repair polygons where that needs no guessing.
    table_layer : str, optional
        Layer or sheet name inside the table file.
    encoding : str, optional
        Encoding of the table's text.
    decimal : {"point", "comma"}, optional
        Decimal sign of numbers that are written as text.
    thousands : {"comma", "point", "space", "apostrophe"}, optional
        What separates thousands in numbers that are written as text; never guessed.
    columns : sequence of str
        Columns of the table to keep; all if none is named.
    table_id_field : str, optional
        Field of the table with the codes of the areas; `id_field` if not given.
    code_labels : bool
        Match the value labels of `table_id_field` and not its codes.
    crosswalk : path, pandas.DataFrame or mapping, optional
        Table with the columns ``from`` (a code) and ``to`` (an area id; empty: the rows stay without an
        area). It overrides every other match.
    near_misses : {"error", "accept"}
        See `smallarea.survey.matching.match_codes`.
    longitude_field, latitude_field : str, optional
        Fields of the table with coordinates, to join its rows as points.
    points : bool
        The table is a point layer: join its rows by their points.
    point_crs : str
        Reference system of the coordinate fields, or of a point layer that has none.
    several : {"error", "first"}
        See `smallarea.survey.points.match_points`.
    unmatched : {"error", "keep"}
        Rows that have no area: stop, or keep them with an empty area and list them: a sampling design is of all rows.
    area_field : str
        Name of the new column with the area ids.
    output : path, optional
        Table to write (.csv, .parquet, .gpkg): all rows with their area, empty for those without one.
    matching : path, optional
        CSV file to write: every code with its status, suggestion and rows.
    report : path, optional
        Report to write (.html, .json).
    progress : callable, optional
        ``progress(percent, text)``; it may raise `Cancelled`.

    Returns
    -------
    MatchResult
        The rows with their areas.

    Raises
    ------
    TableProblem
        If the table or the crosswalk cannot be read, or rows do not fit and that is not accepted.
    GeometryProblem
        If the polygons cannot be read, or reference systems are missing.
    JobProblem
        If settings contradict each other.
    OutputProblem
        If an output cannot be written.
    EngineUnavailable
        If a file needs a library that is not installed.
    """
    settings = {name: value for name, value in locals().items() if name not in ("areas", "table", "progress")}
    tell = progress or silent
    by_point = points or longitude_field is not None or latitude_field is not None
    code_field = table_id_field or id_field
    _check_settings(settings, by_point)
    _check_outputs(output, matching, report)
    tell(2.0, "reading the polygons")
    polygons = read_areas(areas, layer=layer, id_field=id_field, crs=crs, repair=repair)
    tell(15.0, "reading the table")
    needed = [longitude_field, latitude_field] if by_point else [code_field]
    survey = read_survey(
        table,
        table_layer,
        columns=list(dict.fromkeys([*columns, *filter(None, needed)])) if columns else None,
        text_columns=[] if by_point or code_labels or code_field is None else [code_field],
        encoding=encoding,
        decimal=decimal,
        thousands=thousands,
        points=points,
    )
    if area_field in survey.frame.columns:
        raise TableProblem(
            f"The table {survey.source} has a column {area_field!r} already. Name the new one with area_field."
        )
    tell(50.0, "matching")
    shapes = _points(survey, longitude_field, latitude_field, point_crs) if by_point else None
    if shapes is not None:
        found = match_points(shapes, polygons, unmatched=unmatched, several=several)
    else:
        codes = survey.texts(str(code_field), labels=code_labels)
        found = match_codes(
            codes, polygons.ids, unmatched=unmatched, near_misses=near_misses, crosswalk=_crosswalk(crosswalk)
        )
    result = _result(found, survey, polygons, area_field, shapes, settings)
    tell(60.0, "writing")
    _write(result, output, matching, report, tell)
    tell(100.0, "done")
    return result


def _result(
    found: AreaMatching,
    survey: SurveyTable,
    polygons: Areas,
    area_field: str,
    shapes: gpd.GeoSeries | None,
    settings: dict[str, Any],
) -> MatchResult:
    frame = survey.frame.copy()
    frame.insert(0, area_field, found.area_of_rows())
    named_settings = {"table": survey.source, "areas": polygons.source, **settings}
    return MatchResult(
        found,
        survey,
        frame,
        polygons.repairs,
        {name: _said(value) for name, value in named_settings.items()},
        versions(),
        shapes,
    )


def _said(value: Any) -> Any:
    """Return a setting as the report prints it."""
    if isinstance(value, pd.DataFrame | Mapping):
        return f"{len(value)} entries"
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _check_settings(given: Mapping[str, Any], by_point: bool) -> None:
    if (given["longitude_field"] is None) != (given["latitude_field"] is None):
        raise JobProblem("'longitude_field' and 'latitude_field' belong together: give both or none.")
    if given["points"] and given["longitude_field"] is not None:
        raise JobProblem("'points' joins by the layer's own points, so leave 'longitude_field' out.")
    of_codes = [
        name
        for name in ("table_id_field", "code_labels", "crosswalk")
        if given[name] is not None and given[name] is not False
    ]
    if by_point and of_codes:
        raise JobProblem(f"Rows are joined by point or by code: leave out the coordinates, or {named(of_codes)}.")
    if not by_point and not given["table_id_field"] and not given["id_field"]:
        raise JobProblem(
            "It has to be said how rows find their area: by code (table_id_field), by coordinates (longitude_field and "
            "latitude_field), or by the points of a layer (points)."
        )


def _check_outputs(output: PathLike | None, matching: PathLike | None, report: PathLike | None) -> None:
    if output is not None:
        check_table_output(output)
    if matching is not None:
        check_suffix(matching, (".csv",), "CSV")
    if report is not None:
        check_suffix(report, (".html", ".htm", ".json"), "a report")


def _points(survey: SurveyTable, longitude: str | None, latitude: str | None, crs: str) -> gpd.GeoSeries:
    if longitude is not None and latitude is not None:
        return points_of_columns(survey.frame, longitude, latitude, crs)
    if survey.points is None:
        raise TableProblem(f"There are no points in {survey.source}. Choose a point layer.")
    return survey.points if survey.points.crs is not None else survey.points.set_crs(crs)


def _crosswalk(source: PathLike | pd.DataFrame | Mapping[str, str | None] | None) -> dict[str, str | None]:
    """Return the crosswalk as a dictionary; a code must not lead to two areas."""
    if source is None:
        return {}
    if isinstance(source, Mapping):
        codes, targets = as_area_ids(source, "crosswalk"), id_texts(source.values())
    else:
        frame = read_survey(source, columns=["from", "to"], text_columns=["from", "to"]).frame
        codes, targets = as_area_ids(frame["from"], "column 'from' of the crosswalk"), id_texts(frame["to"])
    twice = repeated(codes)
    if twice:
        raise TableProblem(f"The crosswalk has several rows for {named(twice)}. Keep one for each code.")
    return dict(zip(codes, targets, strict=True))


def _write(
    result: MatchResult,
    output: PathLike | None,
    matching: PathLike | None,
    report: PathLike | None,
    tell: Progress,
) -> None:
    """Write what was asked for; of a refusal, what explains it."""
    from smallarea.report.matching import matching_document, render_matching

    refusal = result.matching.refusal
    with AtomicOutputs() as outputs:
        if matching is not None:
            result.matching.codes.to_csv(outputs.path(matching), index=False)
        if report is not None:
            target = outputs.path(report)
            html = Path(report).suffix.lower() != ".json"
            target.write_text(
                render_matching(result, written=datetime.now().astimezone()) if html else matching_document(result),
                encoding="utf-8",
                newline="\n",
            )
        if output is not None and not refusal:
            tell(70.0, "writing the table")
            write_table(result.frame, outputs.path(output), "matched", result.points)
    if refusal:
        written = [os.fspath(path) for path in (report, matching) if path is not None]
        where = f" Every code is listed in {' and '.join(written)}." if written else ""
        raise TableProblem(refusal + where)
