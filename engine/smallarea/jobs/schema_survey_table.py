"""Parameters of the task `match_areas`, and of everything that reads a survey table."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, OUT, TABLE_LAYER, FieldNames, ReadingPolygons, TaskParameters

Unmatched = Literal["error", "keep"]


class ReadingTable(TaskParameters):
    """How to read a survey table."""

    table: str = Field(
        description="Survey table, one row a respondent: CSV, Excel, Parquet, Stata (.dta), SPSS (.sav) or any table "
        "that GDAL reads.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    encoding: str | None = Field(
        None,
        description="Encoding of the text inside the table, for example latin-1. If not given, CSV is UTF-8, UTF-16 "
        "with its mark, or Windows-1252; other formats say theirs.",
    )
    decimal: Literal["point", "comma"] | None = Field(
        None,
        description="Decimal sign of numbers that are written as text. If not given it is a point; in CSV with "
        "semicolons, columns may have a comma as well.",
    )
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = Field(
        None, description="What separates thousands in numbers that are written as text. It is never guessed."
    )


class MatchAreas(ReadingTable, ReadingPolygons):
    """Join the rows of a survey table to areas, by code or by point, and report how well they fit."""

    areas: str = Field(description="Polygon layer: the path of any vector file that GDAL reads.", json_schema_extra=IN)
    columns: FieldNames = Field(default_factory=list, description="Columns of the table to keep; all if none is named.")
    table_id_field: str | None = Field(
        None, description="Field of the table with the codes of the areas; id_field if not given. Not for points."
    )
    code_labels: bool = Field(
        False, description="Match the value labels of table_id_field (Stata, SPSS) and not its codes."
    )
    crosswalk: str | None = Field(
        None,
        description="Table with the columns from (a code of the table) and to (an area id, or empty to leave the "
        "code's rows out). It overrides every other match.",
        json_schema_extra=IN,
    )
    near_misses: Literal["error", "accept"] = Field(
        "error",
        description="Codes that differ from one area's id only in case, accents, blanks, punctuation, leading zeros or "
        "a trailing .0: stop, or join them and list them.",
    )
    longitude_field: str | None = Field(
        None, description="Field of the table with longitudes (or eastings), to join its rows as points."
    )
    latitude_field: str | None = Field(
        None, description="Field of the table with latitudes (or northings), to join its rows as points."
    )
    points: bool = Field(False, description="The table is a point layer: join its rows by their points.")
    point_crs: str = Field(
        "EPSG:4326",
        description="Reference system of longitude_field and latitude_field, or of a point layer that has none.",
    )
    several: Literal["error", "first"] = Field(
        "error",
        description="Points on a common boundary, or where areas overlap: stop, or take the first area by its id and "
        "list them.",
    )
    unmatched: Unmatched = Field(
        "error",
        description="Table rows that have no area on the map: stop, or keep them without an area and list them. They "
        "still count for the sampling design.",
    )
    area_field: str = Field("area", min_length=1, description="Name of the new column with the area ids.")
    output: str | None = Field(
        None,
        description="Table to write (CSV, Parquet or GeoPackage): all rows, with the id of their area in area_field, "
        "empty for those without one.",
        json_schema_extra=OUT,
    )
    matching: str | None = Field(
        None, description="CSV file to write: every code with its status, suggestion and rows.", json_schema_extra=OUT
    )
    report: str | None = Field(
        None,
        description="Report to write (HTML, or JSON for programs): what was read and how it fits the map.",
        json_schema_extra=OUT,
    )
