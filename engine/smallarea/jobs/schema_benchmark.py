"""Parameters of the task `benchmark`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import (
    IN,
    LEVEL,
    OUT,
    TABLE_ID_FIELD,
    TABLE_LAYER,
    FieldNames,
    Probability,
    ReadingPolygons,
)

BenchmarkMethod = Literal["ratio", "difference", "weighted_difference", "raking"]
BenchmarkKind = Literal["mean", "total"]
ErrorType = Literal["standard_error", "variance"]


class Benchmark(ReadingPolygons):
    """Make estimates, or posterior draws, meet targets that are known better."""

    targets: str = Field(
        description="Table with the targets: a column target; group if there are groups (or a column with the name of "
        "the group field), margin if there are several group fields, response if there are several, target_se if "
        "targets have standard errors.",
        json_schema_extra=IN,
    )
    areas: str | None = Field(
        None,
        description="Polygon layer to join the results to: the path of any vector file that GDAL reads. Not needed if "
        "the estimates are a polygon layer, or for tables.",
        json_schema_extra=IN,
    )
    targets_layer: str | None = Field(None, description="Layer or sheet name inside the file with the targets.")
    estimates: str | None = Field(
        None,
        description="Table or layer with estimates of the areas and their errors: what a fit of any method wrote, or "
        "any other (CSV, Excel, any GDAL table). Either this or posterior draws.",
        json_schema_extra=IN,
    )
    estimates_layer: str | None = Field(None, description="Layer or sheet name inside the file with the estimates.")
    estimates_id_field: str | None = Field(
        None, description="Field of the estimates with the area ids; if not given id_field, or else area."
    )
    estimate: FieldNames = Field(
        default_factory=list,
        description="Fields with the estimates, one for each response. By default estimate, or estimate_NAME of each "
        "response, as a fit writes them.",
    )
    error: FieldNames = Field(
        default_factory=list,
        description="Fields with the errors of the estimates, in the same order. By default se, or se_NAME. Without "
        "errors there are no intervals.",
    )
    error_type: ErrorType = Field(
        "standard_error",
        description="What the error fields hold: standard errors, or variances (mean squared errors).",
    )
    posterior: str | None = Field(
        None,
        description="Posterior draws: the NetCDF file that 'fit' writes with its output posterior. Every draw is made "
        "to meet the targets. Either this or estimates.",
        json_schema_extra=IN,
    )
    method: BenchmarkMethod = Field(
        "ratio",
        description="ratio: one factor for each group. raking: factors for the groups of several fields, so that all "
        "targets are met. difference: the same shift for all areas of a group. weighted_difference: shifts in "
        "proportion to the variances, which leaves well-surveyed areas as they are.",
    )
    kind: BenchmarkKind = Field(
        "mean", description="What the targets are: weighted means of the areas' quantities, or weighted totals."
    )
    table: str | None = Field(
        None,
        description="Table with the areas' groups and weights (CSV, Excel or any GDAL table). If not given they are "
        "fields of the estimates, or else of the polygons.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    table_id_field: str | None = TABLE_ID_FIELD
    group_fields: FieldNames = Field(
        default_factory=list,
        description="Fields with the group of each area, as the targets name it; several for raking by their margins.",
    )
    weight_field: str | None = Field(
        None, description="Field with the weight of each area in its groups, for example its population."
    )
    level: Probability = LEVEL
    seed: int = Field(
        1, ge=0, description="Seed of targets with a standard error, which are drawn anew for each posterior draw."
    )
    output: str | None = Field(
        None, description="GeoPackage to write the benchmarked layer to, with its styles.", json_schema_extra=OUT
    )
    csv: str | None = Field(
        None,
        description="CSV file to write the estimates to, with all their columns and the benchmarked ones.",
        json_schema_extra=OUT,
    )
    excel: str | None = Field(
        None,
        description="Excel workbook to write: estimates, what was adjusted in each group, settings.",
        json_schema_extra=OUT,
    )
    benchmarked_posterior: str | None = Field(
        None,
        description="NetCDF file to write the benchmarked draws to, for 'export' (exceedance, ranks).",
        json_schema_extra=OUT,
    )
