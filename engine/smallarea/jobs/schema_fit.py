"""Parameters of the task `fit`, and of the data that every task over a model takes."""

from __future__ import annotations

from typing import Annotated, Literal

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
    Solver,
    VarianceType,
)

RandomEffect = Literal["iid", "car", "leroux", "bym2", "icar", "sar", "gp"]
Link = Literal["separable", "independent", "chain", "ar1", "har1"]
Method = Literal["bayes", "hmc", "reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl", "robust", "ybarra_lohr"]
Transformation = Literal["none", "log", "logit", "arcsin"]
Likelihood = Literal["normal", "beta"]
BackTransformation = Literal["bias_corrected", "naive"]
Mse = Literal["auto", "analytic", "bootstrap"]


class ModelInput(ReadingPolygons):
    """Polygons and direct estimates, as every task over a model takes them."""

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
    direct: FieldNames = Field(
        description="Field with the direct estimates, or several fields for a model of several responses. An area with "
        "none gets a prediction."
    )
    variance: FieldNames = Field(
        description="Field with the sampling variances of the direct estimates; for several responses one each, in the "
        "same order."
    )
    covariance: FieldNames = Field(
        default_factory=list,
        description="Fields with the sampling covariances between responses, in the order (1, 2), (1, 3), ..., "
        "(2, 3), ..., whatever the variance fields hold; without them sampling errors count as uncorrelated.",
    )
    sampling_correlation: Annotated[float, Field(gt=-1.0, lt=1.0)] | None = Field(
        None,
        description="Sampling correlation between responses to assume where no covariances are known; the report "
        "says so.",
    )
    variance_type: VarianceType = Field(
        "variance",
        description="What the variance field holds: variances, standard errors, or margins of error.",
    )
    moe_level: Probability = Field(0.90, description="Confidence level of the margins of error.")
    covariates: list[str] = Field(
        default_factory=list,
        description="Numeric fields used as covariates: of the table, or of the polygons if it has no such field.",
    )


class FitAreaLevel(ModelInput):
    """Fit a Fay-Herriot model and map its estimates."""

    covariate_variance: FieldNames = Field(
        default_factory=list,
        description="For the method ybarra_lohr: fields with the sampling variances of the covariates, one for each in "
        "the same order, 0 in place of a field for a covariate that is known exactly. They are read as variance_type "
        "says.",
    )
    n_eff: FieldNames = Field(
        default_factory=list,
        description="For the transformation arcsin: field with the effective sample sizes, for several responses one "
        "each. Sampling variances on the arcsine scale are then 1 / (4 n_eff); without it they follow from the "
        "variance field, and 0 and 1 cannot be used.",
    )
    transformation: Transformation = Field(
        "none",
        description="Model the direct estimates as they are (none), their logarithms (log, for positive quantities), "
        "or for proportions their log odds (logit) or the arcsine of their square roots (arcsin, which can take 0 and "
        "1). Results come back in the units of the direct estimates.",
    )
    back_transformation: BackTransformation = Field(
        "bias_corrected",
        description="How transformed estimates come back: bias_corrected (the mean of the back-transformed quantity), "
        "or naive (the back-transformed estimate, which is near its median).",
    )
    intercept: bool = INTERCEPT
    random_effect: RandomEffect = Field(
        "car",
        description="Area random effect: iid (classic Fay-Herriot), car (proper CAR, neighbours alike), leroux (a "
        "mixture of the two), bym2 (intrinsic CAR and iid in one), icar (intrinsic CAR), sar (simultaneously "
        "autoregressive, for reml and ml), or gp (Gaussian process over the polygons, for hmc with a learned prior).",
    )
    link: Link = Field(
        "separable",
        description="How several responses hang together: separable (one covariance between their area effects), "
        "independent, or chain (GMCAR: each response's effect given the next one's, in the area and around it). With "
        "iid effects and reml or ml also ar1 and har1: correlation rho^|k - l| in the order of the responses, with one "
        "variance or one for each.",
    )
    order: FieldNames = Field(
        default_factory=list,
        description="Responses of a chain, the most conditional first; as in 'direct' if not given. 'auto' tries all "
        "orders and keeps the one with the highest likelihood (marginal, restricted or full, as the method has it).",
    )
    iid_part: bool | None = Field(
        None,
        description="Add an independent effect beside the spatial one. Default: with car and icar yes, with leroux and "
        "bym2 no.",
    )
    method: Method = Field(
        "bayes",
        description="bayes: exact posterior. hmc: the same by Hamiltonian Monte Carlo, for learned spatial priors and "
        "the beta likelihood. reml, ml: (restricted) maximum likelihood. For one response with iid "
        "effects also fh (moment), the adjusted likelihoods amrl, ampl (Li-Lahiri), amrl_yl, ampl_yl "
        "(Yoshimori-Lahiri), robust (Sinha-Rao: bounded influence of outlying areas) and ybarra_lohr (covariates that "
        "are themselves estimates).",
    )
    likelihood: Likelihood = Field(
        "normal",
        description="normal: direct estimates are normal around the true values. beta, for method hmc: they are shares "
        "between 0 and 1 with a beta distribution, and the model is of their logits.",
    )
    form: Form = FORM
    spatial_prior: str | None = SPATIAL_PRIOR
    chains: int = CHAINS
    warmup: int = WARMUP
    tuning: float = Field(
        1.345,
        gt=0.0,
        description="For the method robust: residuals beyond so many standard deviations are outlying.",
    )
    mse: Mse = Field(
        "auto",
        description="Mean squared errors of a frequentist fit: analytic, or bootstrap (for sar and robust). auto is "
        "bootstrap for robust, which has no other, and analytic for the rest.",
    )
    replicates: int = Field(200, ge=1, le=100_000, description="Replicates of the bootstrap.")
    graph: str | None = GRAPH
    contiguity: Contiguity = CONTIGUITY
    islands: IslandRule = ISLANDS
    priors: dict[str, str] = Field(
        default_factory=dict,
        description="Priors by hyperparameter (sd_phi, sd_delta, rho, correlation, eta0, eta1) on the standardised "
        "scale, for example sd_phi=HalfNormal(1), or sd_phi[income]=PC(1, 0.05) for one response. The report names "
        "those used.",
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
    excel: str | None = EXCEL
    posterior: str | None = Field(
        None,
        description="NetCDF file to write the posterior draws to (ArviZ layout).",
        json_schema_extra=OUT,
    )
    checkpoint: str | None = Field(
        None,
        description="File to keep the sampler's progress in. A run of the same model that finds it goes on from there: "
        "after a stop, or to reach a larger min_ess.",
        json_schema_extra=OUT,
    )
