"""Parameters of the task `fit_space_time`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_hmc import CHAINS, FORM, SPATIAL_PRIOR, WARMUP, Form
from smallarea.jobs.schema_parts import (
    CONTIGUITY,
    CSV,
    DRAWS,
    EXCEL,
    GRAPH,
    IN,
    INTERCEPT,
    ISLANDS,
    LEVEL,
    OUT,
    RELIABILITY,
    SEED,
    TABLE_ID_FIELD,
    TABLE_LAYER,
    Contiguity,
    IslandRule,
    Probability,
    ReadingPolygons,
    Solver,
    VarianceType,
)

SpaceTimeModel = Literal["car_ar1", "leroux_ar1", "bym2_ar1", "icar_ar1", "stfh"]
SpaceTimeMethod = Literal["bayes", "hmc", "reml", "ml"]


class FitSpaceTime(ReadingPolygons):
    """Fit a space-time Fay-Herriot model and map its estimates in time."""

    areas: str | None = Field(
        None,
        description="Polygon layer, one polygon for each area: the path of any vector file that GDAL reads. Without "
        "one the model is of a table and a saved graph.",
        json_schema_extra=IN,
    )
    table: str = Field(
        description="Long table with the direct estimates (CSV, Excel or any GDAL table): one row for each area and "
        "period. Where there is no row the model predicts.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    table_id_field: str | None = TABLE_ID_FIELD
    time: str = Field(
        description="Field of the table with the period: numbers (2021), dates (2021-03-31 or 2021-03), or texts, "
        "which are sorted with their numbers as numbers.",
    )
    periods: list[str | float] = Field(
        default_factory=list,
        description="All periods in their order, taken as one step apart, also those without a row in the table, which "
        "are predicted. Needed if they are unevenly spaced, or texts in another order.",
        json_schema_extra={"metavar": "PERIOD"},
    )
    gaps: Literal["error", "fill"] = Field(
        "error",
        description="If numbers or dates leave a period out: stop, or predict it too (its covariates must be known).",
    )
    direct: str = Field(description="Field with the direct estimates.")
    variance: str = Field(description="Field with the sampling variances of the direct estimates.")
    variance_type: VarianceType = Field(
        "variance",
        description="What the variance field holds: variances, standard errors, or margins of error.",
    )
    moe_level: Probability = Field(0.90, description="Confidence level of the margins of error.")
    covariates: list[str] = Field(
        default_factory=list,
        description="Numeric fields used as covariates: of the table, or of the polygons if it has no such field "
        "(constant in time).",
    )
    intercept: bool = INTERCEPT
    model: SpaceTimeModel = Field(
        "car_ar1",
        description="A spatial effect (car, leroux, bym2 or icar) times an autoregressive process in time; or stfh, a "
        "simultaneously autoregressive effect of the areas plus autoregressive effects in time within each area "
        "(frequentist, with bootstrap errors).",
    )
    iid_part: bool | None = Field(
        None,
        description="Add an effect that is independent between areas and periods. Default: with car and icar yes, with "
        "leroux and bym2 no; stfh has none.",
    )
    method: SpaceTimeMethod | None = Field(
        None,
        description="bayes: exact posterior. hmc: the same by Hamiltonian Monte Carlo, for learned spatial priors. "
        "reml, ml: (restricted) maximum likelihood. By default bayes, with stfh "
        "reml.",
    )
    form: Form = FORM
    spatial_prior: str | None = SPATIAL_PRIOR
    chains: int = CHAINS
    warmup: int = WARMUP
    replicates: int = Field(200, ge=1, le=100_000, description="Replicates of the bootstrap (stfh).")
    graph: str | None = GRAPH
    contiguity: Contiguity = CONTIGUITY
    islands: IslandRule = ISLANDS
    priors: dict[str, str] = Field(
        default_factory=dict,
        description="Priors by hyperparameter (sd_phi, rho, rho_time, sd_delta) on the standardised scale, for example "
        "rho_time=Uniform(-1, 1).",
    )
    draws: int = DRAWS
    min_ess: int = Field(
        1000, ge=100, le=100_000, description="Effective sample size to reach for each hyperparameter."
    )
    level: Probability = LEVEL
    seed: int = SEED
    solver: Solver = Field("auto", description="Linear algebra: sparse (compiled, qdldl, splu) or dense; auto chooses.")
    workers: int = Field(0, ge=0, description="Threads for the sampler; 0 takes what pays on this map and machine.")
    unmatched: Literal["error", "drop"] = Field(
        "error",
        description="Table rows whose area is not on the map, or whose period is not listed: stop, or leave them out "
        "and list them.",
    )
    missing_variance: Literal["out_of_sample", "error"] = Field(
        "out_of_sample",
        description="Direct estimates without a positive sampling variance: treat them as missing and say so, or stop. "
        "Negative variances always stop.",
    )
    missing_covariates: Literal["error", "drop"] = Field(
        "error",
        description="Areas and periods without a covariate value: stop, or give them no estimate and list them.",
    )
    reliability: str = RELIABILITY
    output: str | None = Field(
        None,
        description="GeoPackage to write the estimates layer to, with its styles: one feature for each area and "
        "period, with a field time.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None, description="HTML report to write, with maps of each period.", json_schema_extra=OUT
    )
    csv: str | None = CSV
    excel: str | None = EXCEL
    posterior: str | None = Field(
        None,
        description="NetCDF file to write the posterior draws to (ArviZ layout; periods stand where responses do).",
        json_schema_extra=OUT,
    )
