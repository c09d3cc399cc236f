"""Parameters of the task `export`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, LEVEL, OUT, TABLE_ID_FIELD, TABLE_LAYER, Probability, ReadingPolygons

Direction = Literal["high", "low"]
Comparison = Literal["none", "mean", "neighbours"]
BenchmarkMethod = Literal["ratio", "difference", "weighted_difference"]
BenchmarkKind = Literal["mean", "total"]


class Export(ReadingPolygons):
    """Make exceedance maps, ranks, comparisons and benchmarked estimates from posterior draws."""

    posterior: str = Field(
        description="Posterior draws: the NetCDF file that 'fit' writes with its output posterior.",
        json_schema_extra=IN,
    )
    areas: str | None = Field(
        None,
        description="Polygon layer to join the results to: the path of any vector file that GDAL reads. A map needs "
        "one; tables do not.",
        json_schema_extra=IN,
    )
    thresholds: list[str | float] = Field(
        default_factory=list,
        description="Thresholds in the units of the direct estimates, for the probability that an area lies beyond. "
        "With several responses, response=3.5 is for one of them and 3.5 for all.",
        json_schema_extra={"metavar": "NUMBER"},
    )
    direction: Direction = Field(
        "high",
        description="Which end is of interest. high: probability above the thresholds, rank 1 for the largest. low: "
        "below, rank 1 for the smallest.",
    )
    ranks: bool = Field(True, description="Rank the areas, with intervals of their ranks.")
    top_share: Probability = Field(0.1, description="Share of the areas that counts as the top of the ranking.")
    pairs: list[str] = Field(
        default_factory=list,
        description="Pairs of areas to compare, as FIRST=SECOND with their ids.",
        json_schema_extra={"metavar": "FIRST=SECOND"},
    )
    reference: str | None = Field(None, description="Id of an area to compare all others with.")
    compare: Comparison = Field(
        "none",
        description="Compare every area with the mean of all areas (weighted if a weight field is given), or with the "
        "mean of its neighbours.",
    )
    graph: str | None = Field(
        None,
        description="Saved adjacency graph that says who is a neighbour; built from the polygons (queen) if not given.",
        json_schema_extra=IN,
    )
    constrained: bool = Field(
        False,
        description="Add estimates against over-shrinkage, whose spread is that of the areas: constrained Bayes and "
        "triple-goal.",
    )
    benchmark: str | None = Field(
        None,
        description="Table with targets that the estimates have to meet: a column target; group if there are groups, "
        "response if there are several, target_se if targets have standard errors.",
        json_schema_extra=IN,
    )
    benchmark_layer: str | None = Field(None, description="Layer or sheet name inside the file with the targets.")
    benchmark_method: BenchmarkMethod = Field(
        "ratio",
        description="ratio: one factor for each group. difference: one shift for each group. weighted_difference: "
        "shifts in proportion to the posterior variances, which leaves well-surveyed areas as they are.",
    )
    benchmark_kind: BenchmarkKind = Field(
        "mean", description="What the targets are: weighted means of the areas' quantities, or weighted totals."
    )
    table: str | None = Field(
        None,
        description="Table with the areas' groups and weights (CSV, Excel or any GDAL table); the polygons' own "
        "attributes if not given.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    table_id_field: str | None = TABLE_ID_FIELD
    group_field: str | None = Field(None, description="Field with the group of each area, as the targets name it.")
    weight_field: str | None = Field(
        None, description="Field with the weight of each area in its group, for example its population."
    )
    level: Probability = LEVEL
    seed: int = Field(1, ge=0, description="Seed of targets with a standard error, which are drawn.")
    output: str | None = Field(
        None, description="GeoPackage to write the results to, with its styles.", json_schema_extra=OUT
    )
    csv: str | None = Field(
        None, description="CSV file to write every number to, each in a row of its own.", json_schema_extra=OUT
    )
    excel: str | None = Field(
        None, description="Excel workbook to write, a sheet for each kind of result.", json_schema_extra=OUT
    )
