"""Parameters of the task `partial_dependence`."""

from __future__ import annotations

from pydantic import Field

from smallarea.jobs.schema_parts import IN, LEVEL, OUT, REPORT, SEED, FieldNames, Probability, TaskParameters


class PartialDependence(TaskParameters):
    """Show what trees of BARTSIMP say of each covariate, and which act together."""

    posterior: str = Field(description="Posterior that fit_bartsimp has written (.npz).", json_schema_extra=IN)
    covariates: FieldNames = Field(
        default_factory=list,
        description="Covariates to look at, by the names of the bands and fields of the fit; all if none is named.",
        json_schema_extra={"metavar": "NAME"},
    )
    interactions: bool = Field(True, description="Look at pairs of covariates: how far they are from acting as a sum.")
    grid: int = Field(
        30,
        ge=2,
        le=200,
        description="Intervals that hold equally many clusters, at whose ends a covariate is looked at; all its values "
        "where these are not more.",
    )
    rasters: FieldNames = Field(
        default_factory=list,
        description="Covariate raster; together they must have all bands that the model was fitted with. Effects are "
        "then averaged over their cells, not over the clusters.",
        json_schema_extra={"path": "input", "metavar": "FILE"},
    )
    population: str | None = Field(
        None,
        description="Raster of people, whose cells weight the average over rasters; cells count by their size if not "
        "given.",
        json_schema_extra=IN,
    )
    population_band: str | None = Field(
        None, description="Name of the population's band, where its raster has several."
    )
    cells: int = Field(
        2000,
        ge=100,
        le=100_000,
        description="Cells of the rasters to average over at most; a systematic sample by people or size where there "
        "are more.",
    )
    draws: int = Field(500, ge=10, description="Draws to use at most, evenly chosen.")
    seed: int = SEED
    level: Probability = LEVEL
    output: str | None = Field(
        None,
        description="Table to write (.csv, .parquet or .gpkg): the curves, one row for each covariate, effect and "
        "value.",
        json_schema_extra=OUT,
    )
    excel: str | None = Field(
        None,
        description="Excel workbook to write: curves, covariates, interactions, settings.",
        json_schema_extra=OUT,
    )
    report: str | None = REPORT
