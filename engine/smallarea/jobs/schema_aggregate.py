"""Parameters of the task `aggregate_surface`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, LEVEL, OUT, SEED, FieldNames, Probability, ReadingPolygons


class AggregateSurface(ReadingPolygons):
    """Average draws of a surface over areas of one or several levels, with people and strata as weights."""

    areas: str = Field(
        description="Polygon layer of the first level: the path of any vector file that GDAL reads.",
        json_schema_extra=IN,
    )
    posterior: str = Field(description="Posterior that fit_bartsimp has written (.npz).", json_schema_extra=IN)
    rasters: FieldNames = Field(
        min_length=1,
        description="Covariate raster; together they must have all bands that the model was fitted with.",
        json_schema_extra={"path": "input", "metavar": "FILE"},
    )
    more_areas: FieldNames = Field(
        default_factory=list,
        description="Polygon layer of a further level, such as regions beside districts. The same draws serve all "
        "levels, so estimates of nested levels agree.",
        json_schema_extra={"path": "input", "metavar": "FILE"},
    )
    more_layers: FieldNames = Field(
        default_factory=list,
        description="Layer names inside the files of more_areas, one for each; needed only if a file has several.",
        json_schema_extra={"metavar": "TEXT"},
    )
    more_id_fields: FieldNames = Field(
        default_factory=list,
        description="Fields with the area ids of more_areas, one for each; the row numbers if none is named.",
    )
    names: FieldNames = Field(
        default_factory=list,
        description="What the levels are called, the first one first; as their layers if not given.",
        json_schema_extra={"metavar": "TEXT"},
    )
    population: str | None = Field(
        None,
        description="Raster of people, whose cells weight the mean of an area; cells count by their size if not given.",
        json_schema_extra=IN,
    )
    population_band: str | None = Field(
        None, description="Name of the population's band, where its raster has several."
    )
    strata_raster: str | None = Field(
        None,
        description="Raster with the code of each cell's stratum, such as urban and rural. Weights of cells are then "
        "made to meet totals.",
        json_schema_extra=IN,
    )
    strata_band: str | None = Field(None, description="Name of the strata's band, where their raster has several.")
    totals: str | None = Field(
        None,
        description="Table with how many people live in each stratum of each area of the first level, a row for each.",
        json_schema_extra=IN,
    )
    totals_layer: str | None = Field(None, description="Layer or sheet name inside the totals' file.")
    totals_id_field: str | None = Field(
        None, description="Field of the totals with the area ids; id_field if not given."
    )
    stratum_field: str = Field("stratum", description="Field of the totals with the stratum's code in the raster.")
    total_field: str = Field("total", description="Field of the totals with the people of the stratum.")
    total_kind: Literal["people", "shares"] = Field(
        "people", description="Totals are numbers of people, or shares of the people of their area."
    )
    direct_field: str | None = Field(
        None, description="Field of the first layer with direct estimates, to be shown beside those of the surface."
    )
    direct_se_field: str | None = Field(None, description="Field of the first layer with their standard errors.")
    cell: float | None = Field(
        None,
        gt=0.0,
        description="Side of the cells, in the unit of the first raster, for a model fitted without rasters; else the "
        "grid is that of the fit.",
    )
    split: Literal["coverage", "centre"] = Field(
        "coverage", description="Cells on a border: shared by the covered part, or given to the area of their centre."
    )
    draws: int = Field(500, ge=10, description="Draws to use at most, evenly chosen.")
    seed: int = SEED
    level: Probability = LEVEL
    thresholds: list[float] = Field(
        default_factory=list,
        description="Values whose probability of being exceeded is given.",
        json_schema_extra={"metavar": "NUMBER"},
    )
    output: str | None = Field(
        None,
        description="GeoPackage to write: a layer of areas with their estimates, and styles, for each level.",
        json_schema_extra=OUT,
    )
    csv: str | None = Field(
        None, description="CSV file to write the estimates of all levels to.", json_schema_extra=OUT
    )
    area_draws: str | None = Field(
        None,
        description="Draws of the areas to write, for exceedance probabilities, ranks and benchmarking. With several "
        "levels each has a file of its own, with the level's name before the ending.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None,
        description="HTML report to write: maps and tables of the areas of each level, and how they were weighted.",
        json_schema_extra=OUT,
    )
