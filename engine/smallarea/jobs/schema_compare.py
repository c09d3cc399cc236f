"""Parameters of the task `compare`."""

from __future__ import annotations

from copy import copy
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from smallarea.jobs.schema_fit import FitAreaLevel, ModelInput
from smallarea.jobs.schema_parts import OUT, REPORT, Contiguity, IslandRule, Probability, Solver, as_list

ComparedMethod = Literal["bayes", "reml", "ml", "fh", "amrl", "ampl", "amrl_yl", "ampl_yl"]
Criterion = Literal["loo", "waic", "cv_area", "cv_block", "thinning", "information"]
Unit = Literal["area", "cell"]
Criteria = Annotated[list[Criterion], BeforeValidator(as_list)]


def _as_in_fit(name: str) -> Any:
    """Return the default, limits and help that a parameter has in `fit`."""
    return copy(FitAreaLevel.model_fields[name])


class Compare(ModelInput):
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
    method: ComparedMethod = Field("bayes", description="Method of the models that name none, as for 'fit'.")
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
    report: str | None = REPORT
    csv: str | None = Field(
        None, description="CSV file to write the scores to, a row for each model.", json_schema_extra=OUT
    )
    cells: str | None = Field(
        None,
        description="CSV file to write the predictions and scores of every direct estimate to.",
        json_schema_extra=OUT,
    )
    excel: str | None = Field(
        None,
        description="Excel workbook to write: scores, information criteria, models, every cell, settings.",
        json_schema_extra=OUT,
    )
