"""Parameters of the task `fit_trees`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import (
    CONTIGUITY,
    CSV,
    GRAPH,
    IN,
    ISLANDS,
    LEVEL,
    OUT,
    RELIABILITY,
    REPORT,
    SEED,
    TABLE_ID_FIELD,
    TABLE_LAYER,
    Contiguity,
    IslandRule,
    Probability,
    ReadingPolygons,
    VarianceType,
)

TreesEffect = Literal["iid", "car", "leroux"]


class FitTrees(ReadingPolygons):
    """Fit a Fay-Herriot model with regression trees (area-level BART) and map its estimates."""

    areas: str | None = Field(
        None,
        description="Polygon layer: the path of any vector file that GDAL reads. Without one the model is of a table "
        "alone, and a spatial effect needs a saved graph.",
        json_schema_extra=IN,
    )
    table: str | None = Field(
        None,
        description="Table with the direct estimates (CSV, Excel or any GDAL table); the polygons' own "
        "attributes if not given.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    table_id_field: str | None = TABLE_ID_FIELD
    direct: str = Field(description="Field with the direct estimates. An area with none gets a prediction.")
    variance: str = Field(description="Field with the sampling variances of the direct estimates.")
    variance_type: VarianceType = Field(
        "variance",
        description="What the variance field holds: variances, standard errors, or margins of error.",
    )
    moe_level: Probability = Field(0.90, description="Confidence level of the margins of error.")
    covariates: list[str] = Field(
        min_length=1,
        description="Numeric fields that trees split on: of the table, or of the polygons if it has no such field.",
    )
    random_effect: TreesEffect = Field(
        "car",
        description="Area effect beside the trees: iid (independent), car (proper CAR, neighbours alike), or leroux (a "
        "mixture of the two).",
    )
    iid_part: bool | None = Field(
        None,
        description="Add an independent effect beside the spatial one. Default: with car yes, with leroux no.",
    )
    trees: int = Field(20, ge=1, le=500, description="Number of trees.")
    min_leaf: int = Field(5, ge=1, description="Fewest areas with a direct estimate in a leaf.")
    leaf_k: float = Field(
        2.0,
        gt=0.0,
        description="How tightly trees are held: their sum lies within the spread of the areas' true values at so many "
        "prior standard deviations.",
    )
    graph: str | None = GRAPH
    contiguity: Contiguity = CONTIGUITY
    islands: IslandRule = ISLANDS
    priors: dict[str, str] = Field(
        default_factory=dict,
        description="Priors by hyperparameter (sd_phi, sd_delta, rho) on the standardised scale, for example "
        "sd_phi=HalfNormal(1). The report names those used.",
    )
    chains: int = Field(4, ge=2, le=64, description="Chains; at least two, so that they can be compared.")
    warmup: int = Field(2000, ge=10, le=100_000, description="Sweeps of each chain that are thrown away.")
    draws: int = Field(8000, ge=100, le=100_000, description="Posterior draws to return, of all chains together.")
    level: Probability = LEVEL
    seed: int = SEED
    folds: int = Field(
        0,
        ge=0,
        le=100,
        description="Folds of a cross-validation against the linear model; 0 for leaving areas out one by one by "
        "importance weights, which takes no time. Each fold takes about as long as the fit.",
    )
    unmatched: Literal["error", "drop"] = Field(
        "error", description="Table rows whose area is not on the map: stop, or leave them out and list them."
    )
    missing_variance: Literal["out_of_sample", "error"] = Field(
        "out_of_sample",
        description="Direct estimates without a positive sampling variance: treat the area as not sampled "
        "and say so, or stop. Negative variances always stop.",
    )
    missing_covariates: Literal["error", "drop"] = Field(
        "error", description="Areas without a covariate value: stop, or give them no estimate and list them."
    )
    reliability: str = RELIABILITY
    output: str | None = Field(
        None,
        description="GeoPackage to write the estimates layer to, with its styles.",
        json_schema_extra=OUT,
    )
    report: str | None = REPORT
    csv: str | None = CSV
    excel: str | None = Field(
        None,
        description="Excel workbook to write: estimates, covariates in trees, comparison, diagnostics, settings.",
        json_schema_extra=OUT,
    )
    posterior: str | None = Field(
        None,
        description="NetCDF file to write the posterior draws to (ArviZ layout).",
        json_schema_extra=OUT,
    )
