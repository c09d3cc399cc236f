"""Parameters of the task `fit_counts`."""

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
    REPORT,
    SEED,
    TABLE_ID_FIELD,
    TABLE_LAYER,
    Contiguity,
    FieldNames,
    IslandRule,
    Probability,
    ReadingPolygons,
)

CountLikelihood = Literal["binomial", "poisson"]
CountEffect = Literal["iid", "car", "leroux", "bym2", "icar", "gp"]
CountLink = Literal["separable", "independent", "chain"]


class FitCounts(ReadingPolygons):
    """Fit a model of counts or shares and map its estimates."""

    areas: str | None = Field(
        None,
        description="Polygon layer: the path of any vector file that GDAL reads. Without one the model is of a table "
        "alone, and a spatial effect needs a saved graph.",
        json_schema_extra=IN,
    )
    table: str | None = Field(
        None,
        description="Table with the counts (CSV, Excel or any GDAL table); the polygons' own attributes if not given.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    table_id_field: str | None = TABLE_ID_FIELD
    likelihood: CountLikelihood = Field(
        "binomial",
        description="binomial: counts out of 'trials', estimated as a probability (logit link). poisson: counts of "
        "events, estimated as a rate for each unit of 'exposure' (log link).",
    )
    count: FieldNames = Field(
        description="Field with the counts, or several fields for a model of several responses. An area with none gets "
        "a prediction."
    )
    trials: FieldNames = Field(
        default_factory=list,
        description="For binomial: field with the numbers that the counts are out of, one for all responses or one "
        "each.",
    )
    exposure: FieldNames = Field(
        default_factory=list,
        description="For poisson: field with the exposure (population, person-years, expected events), one for all "
        "responses or one each. Without it every area counts as 1 and the estimate is the expected count.",
    )
    covariates: list[str] = Field(
        default_factory=list,
        description="Numeric fields used as covariates: of the table, or of the polygons if it has no such field.",
    )
    intercept: bool = INTERCEPT
    random_effect: CountEffect = Field(
        "car",
        description="Area random effect: iid, car (proper CAR, neighbours alike), leroux (a mixture of the two), bym2 "
        "(intrinsic CAR and iid in one), icar (intrinsic CAR), or gp (Gaussian process over the polygons, with a "
        "learned prior).",
    )
    link: CountLink = Field(
        "separable",
        description="How several responses hang together: separable (one covariance between their area effects), "
        "independent, or chain (each response's effect given the next one's, in the area and around it).",
    )
    order: FieldNames = Field(
        default_factory=list,
        description="Responses of a chain, the most conditional first; as in 'count' if not given.",
    )
    iid_part: bool | None = Field(
        None,
        description="Add an independent effect beside the spatial one, which takes up overdispersion. Default: with "
        "car and icar yes, with leroux and bym2 no.",
    )
    form: Form = FORM
    spatial_prior: str | None = SPATIAL_PRIOR
    graph: str | None = GRAPH
    contiguity: Contiguity = CONTIGUITY
    islands: IslandRule = ISLANDS
    priors: dict[str, str] = Field(
        default_factory=dict,
        description="Priors by hyperparameter (sd_phi, sd_delta, rho, correlation, eta0, eta1) on the scale of the "
        "link, for example sd_phi=HalfNormal(1), or sd_phi[deaths]=PC(1, 0.05) for one response. The report names "
        "those used.",
    )
    draws: int = DRAWS
    chains: int = CHAINS
    warmup: int = WARMUP
    level: Probability = LEVEL
    seed: int = SEED
    unmatched: Literal["error", "drop"] = Field(
        "error", description="Table rows whose area is not on the map: stop, or leave them out and list them."
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
    excel: str | None = EXCEL
    posterior: str | None = Field(
        None,
        description="NetCDF file to write the posterior draws to (ArviZ layout).",
        json_schema_extra=OUT,
    )
