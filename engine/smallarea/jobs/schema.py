"""What a job may say: one model per task, the single source of names, defaults and help texts.

The command line builds its options from these models, the QGIS algorithms read them from the JSON schema
that ``smallarea schema`` prints (kept in ``resources/job_schema.json``), and a test holds the Python
functions' signatures against them. A parameter is therefore added here, once.
"""

from __future__ import annotations

from copy import copy
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from smallarea.jobs.schema_parts import IN as _IN
from smallarea.jobs.schema_parts import OUT as _OUT
from smallarea.jobs.schema_parts import (
    Contiguity,
    IslandRule,
    Probability,
    ReadingPolygons,
    Solver,
    TaskParameters,
    VarianceType,
)
from smallarea.jobs.schema_space_time import FitSpaceTime

__all__ = ["JOB_VERSION", "TASKS", "Job", "TaskParameters", "json_schema"]

JOB_VERSION = 1

RandomEffect = Literal["iid", "car", "leroux", "bym2", "icar", "sar"]
Link = Literal["separable", "independent", "chain", "ar1", "har1"]
Method = Literal["bayes", "reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl", "robust", "ybarra_lohr"]
Transformation = Literal["none", "log", "logit", "arcsin"]
BackTransformation = Literal["bias_corrected", "naive"]
Mse = Literal["auto", "analytic", "bootstrap"]
Direction = Literal["high", "low"]
Comparison = Literal["none", "mean", "neighbours"]
BenchmarkMethod = Literal["ratio", "difference", "weighted_difference"]
BenchmarkKind = Literal["mean", "total"]
Criterion = Literal["loo", "waic", "cv_area", "cv_block", "thinning", "information"]
Unit = Literal["area", "cell"]


def _as_list(value: Any) -> Any:
    """One name stands for a list of one."""
    return [value] if isinstance(value, str) else value


_NAMES: dict[str, Any] = {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]}
FieldNames = Annotated[list[str], BeforeValidator(_as_list), WithJsonSchema(_NAMES)]
Criteria = Annotated[list[Criterion], BeforeValidator(_as_list)]


class AreasInput(ReadingPolygons):
    """A polygon layer."""

    areas: str = Field(description="Polygon layer: the path of any vector file that GDAL reads.", json_schema_extra=_IN)


class CheckAreas(AreasInput):
    """Validate polygons and report what would break an adjacency graph."""

    min_gap: float = Field(
        1.0,
        ge=0.0,
        description="Gaps between areas narrower than this, in metres, are reported; overlaps always are.",
    )
    sliver_area: float = Field(1.0, ge=0.0, description="Polygons smaller than this, in square metres, are slivers.")
    output: str | None = Field(
        None, description="GeoPackage to write: one feature for each finding.", json_schema_extra=_OUT
    )
    repaired: str | None = Field(
        None,
        description="GeoPackage to write the repaired polygons to; needs repair.",
        json_schema_extra=_OUT,
    )
    report: str | None = Field(
        None, description="JSON file to write with every finding and every area id.", json_schema_extra=_OUT
    )

    @model_validator(mode="after")
    def _repaired_needs_repair(self) -> CheckAreas:
        if self.repaired and not self.repair:
            raise ValueError("'repaired' names an output for repaired polygons, so set 'repair' too")
        return self


class BuildAdjacency(AreasInput):
    """Build the adjacency graph of the areas."""

    contiguity: Contiguity = Field(
        "queen",
        description="Queen: areas that share a point are neighbours. Rook: a boundary of some length.",
    )
    islands: IslandRule = Field(
        "own_component",
        description="Areas without a neighbour: keep each as its own component, link it to the nearest area, or stop.",
    )
    graph: str | None = Field(
        None, description="JSON file to write the graph to; 'fit' reads it back.", json_schema_extra=_OUT
    )
    edges: str | None = Field(
        None, description="GeoPackage to write the edges to, as lines between areas.", json_schema_extra=_OUT
    )


class SurveyInput(ReadingPolygons):
    """Polygons and direct estimates, as every task over a model takes them."""

    areas: str | None = Field(
        None,
        description="Polygon layer: the path of any vector file that GDAL reads. Without one the model is of a table "
        "alone, and a spatial effect needs a saved graph.",
        json_schema_extra=_IN,
    )
    table: str | None = Field(
        None,
        description="Table with the direct estimates (CSV, Excel or any GDAL table); the polygons' own "
        "attributes if not given.",
        json_schema_extra=_IN,
    )
    table_layer: str | None = Field(None, description="Layer or sheet name inside the table file.")
    table_id_field: str | None = Field(None, description="Field of the table with the area ids; id_field if not given.")
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


class FitAreaLevel(SurveyInput):
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
    intercept: bool = Field(True, description="Include an intercept.")
    random_effect: RandomEffect = Field(
        "car",
        description="Area random effect: iid (classic Fay-Herriot), car (proper CAR, neighbours alike), leroux (a "
        "mixture of the two), bym2 (intrinsic CAR and iid in one), icar (intrinsic CAR), or sar (simultaneously "
        "autoregressive, for reml and ml).",
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
        description="bayes: exact posterior. reml, ml: (restricted) maximum likelihood. For one response with iid "
        "effects also fh (moment), the adjusted likelihoods amrl, ampl (Li-Lahiri), amrl_yl, ampl_yl "
        "(Yoshimori-Lahiri), robust (Sinha-Rao: bounded influence of outlying areas) and ybarra_lohr (covariates that "
        "are themselves estimates).",
    )
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
    graph: str | None = Field(
        None,
        description="Saved adjacency graph; built from the polygons if not given.",
        json_schema_extra=_IN,
    )
    contiguity: Contiguity = Field("queen", description="Contiguity rule if the graph is built here.")
    islands: IslandRule = Field("own_component", description="Rule for areas without a neighbour.")
    priors: dict[str, str] = Field(
        default_factory=dict,
        description="Priors by hyperparameter (sd_phi, sd_delta, rho, correlation, eta0, eta1) on the standardised "
        "scale, for example sd_phi=HalfNormal(1), or sd_phi[income]=PC(1, 0.05) for one response. The report names "
        "those used.",
    )
    draws: int = Field(2000, ge=100, le=100_000, description="Posterior draws to return.")
    min_ess: int = Field(
        1000, ge=100, le=100_000, description="Effective sample size to reach for each hyperparameter."
    )
    level: Probability = Field(0.95, description="Coverage of the intervals.")
    seed: int = Field(1, ge=0, description="Seed: the same seed gives the same result.")
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
    reliability: str = Field(
        "statcan",
        description="Reliability preset (statcan, bps, bps_25_50, acs, samhsa_proportion) or the path of a JSON file "
        "with one of your own.",
        json_schema_extra={"path": "input_or_name"},
    )
    output: str | None = Field(
        None,
        description="GeoPackage to write the estimates layer to, with its styles.",
        json_schema_extra=_OUT,
    )
    report: str | None = Field(None, description="HTML report to write.", json_schema_extra=_OUT)
    csv: str | None = Field(None, description="CSV file to write the estimates table to.", json_schema_extra=_OUT)
    excel: str | None = Field(
        None,
        description="Excel workbook to write: estimates, coefficients, diagnostics, what was left out, settings.",
        json_schema_extra=_OUT,
    )
    posterior: str | None = Field(
        None,
        description="NetCDF file to write the posterior draws to (ArviZ layout).",
        json_schema_extra=_OUT,
    )
    checkpoint: str | None = Field(
        None,
        description="File to keep the sampler's progress in. A run of the same model that finds it goes on from there: "
        "after a stop, or to reach a larger min_ess.",
        json_schema_extra=_OUT,
    )


def _as_in_fit(name: str) -> Any:
    """Return the default, limits and help that a parameter has in `fit`."""
    return copy(FitAreaLevel.model_fields[name])


class Compare(SurveyInput):
    """Compare Fay-Herriot models by how well they predict."""

    covariates: list[str] = Field(
        default_factory=list, description="Covariates of the models that name none: numeric fields, as for 'fit'."
    )
    models: list[str | dict[str, Any]] = Field(
        default_factory=list,
        description="Models to compare, each a short text: a random effect, a link or a method by its word, the rest "
        "as key=value (covariates=a,b, order=a,b, iid_part=no, intercept=no, priors.rho=Uniform(0,1), name=mine), for "
        "example 'iid reml' or 'car chain'. In a job also an object with these keys. Default: a ladder from "
        "independent to spatial effects.",
        json_schema_extra={"metavar": "MODEL"},
    )
    method: Method = Field("bayes", description="Method of the models that name none, as for 'fit'.")
    criteria: Criteria = Field(
        default_factory=list,
        description="How to judge. loo: leave one out, by algebra. waic: the same by an approximation. cv_area: leave "
        "out random areas and fit again. cv_block: leave out whole regions. thinning: split the survey in two. "
        "information: AIC, BIC, KIC, conditional AIC, or the marginal likelihood. Default: loo and information.",
        json_schema_extra={"metavar": "CRITERION"},
    )
    unit: Unit = Field(
        "area",
        description="What loo and waic leave out at a time: an area with all its responses, or one cell (one response "
        "of one area).",
    )
    folds: int = Field(5, ge=2, le=1000, description="Folds of cv_area and blocks of cv_block.")
    thinning_share: Probability = Field(0.7, description="Share of the survey that thinning fits the models to.")
    repeats: int = Field(5, ge=1, le=1000, description="How often thinning splits the survey anew.")
    graph: str | None = _as_in_fit("graph")
    contiguity: Contiguity = _as_in_fit("contiguity")
    islands: IslandRule = _as_in_fit("islands")
    min_ess: int = _as_in_fit("min_ess")
    level: Probability = _as_in_fit("level")
    seed: int = Field(1, ge=0, description="Seed: the same seed gives the same folds, splits and scores.")
    solver: Solver = _as_in_fit("solver")
    workers: int = _as_in_fit("workers")
    unmatched: Literal["error", "drop"] = _as_in_fit("unmatched")
    missing_variance: Literal["out_of_sample", "error"] = _as_in_fit("missing_variance")
    missing_covariates: Literal["error", "drop"] = Field(
        "error", description="Areas without a value of some model's covariate: stop, or leave them out of all models."
    )
    report: str | None = Field(None, description="HTML report to write.", json_schema_extra=_OUT)
    csv: str | None = Field(
        None, description="CSV file to write the scores to, a row for each model.", json_schema_extra=_OUT
    )
    cells: str | None = Field(
        None,
        description="CSV file to write the predictions and scores of every direct estimate to.",
        json_schema_extra=_OUT,
    )
    excel: str | None = Field(
        None,
        description="Excel workbook to write: scores, information criteria, models, every cell, settings.",
        json_schema_extra=_OUT,
    )


class Export(ReadingPolygons):
    """Make exceedance maps, ranks, comparisons and benchmarked estimates from posterior draws."""

    posterior: str = Field(
        description="Posterior draws: the NetCDF file that 'fit' writes with its output posterior.",
        json_schema_extra=_IN,
    )
    areas: str | None = Field(
        None,
        description="Polygon layer to join the results to: the path of any vector file that GDAL reads. A map needs "
        "one; tables do not.",
        json_schema_extra=_IN,
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
        json_schema_extra=_IN,
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
        json_schema_extra=_IN,
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
        json_schema_extra=_IN,
    )
    table_layer: str | None = Field(None, description="Layer or sheet name inside the table file.")
    table_id_field: str | None = Field(None, description="Field of the table with the area ids; id_field if not given.")
    group_field: str | None = Field(None, description="Field with the group of each area, as the targets name it.")
    weight_field: str | None = Field(
        None, description="Field with the weight of each area in its group, for example its population."
    )
    level: Probability = Field(0.95, description="Coverage of the intervals.")
    seed: int = Field(1, ge=0, description="Seed of targets with a standard error, which are drawn.")
    output: str | None = Field(
        None, description="GeoPackage to write the results to, with its styles.", json_schema_extra=_OUT
    )
    csv: str | None = Field(
        None, description="CSV file to write every number to, each in a row of its own.", json_schema_extra=_OUT
    )
    excel: str | None = Field(
        None, description="Excel workbook to write, a sheet for each kind of result.", json_schema_extra=_OUT
    )


class Status(TaskParameters):
    """Say which engine this is, what it found, and what is missing."""


TASKS: dict[str, type[TaskParameters]] = {
    "check_areas": CheckAreas,
    "build_adjacency": BuildAdjacency,
    "fit": FitAreaLevel,
    "fit_space_time": FitSpaceTime,
    "compare": Compare,
    "export": Export,
    "status": Status,
}


class Job(BaseModel):
    """A versioned job description.

    Relative paths in it are relative to the folder of the job file.
    """

    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = Field(description="Version of this format.")
    task: Literal["check_areas", "build_adjacency", "fit", "fit_space_time", "compare", "export", "status"]
    parameters: dict[str, Any] = Field(default_factory=dict)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of every task, keyed by task name."""
    return {
        "job_version": JOB_VERSION,
        "tasks": {name: model.model_json_schema() for name, model in TASKS.items()},
    }
