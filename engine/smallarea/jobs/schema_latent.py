"""Parameters of the task `latent_indicator`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, LEVEL, OUT, FieldNames, Probability, TaskParameters


class LatentIndicator(TaskParameters):
    """Fit a factor or structural equation model to survey items, and score every respondent."""

    table: str = Field(
        description="The survey: a table with one row for each respondent (CSV, Excel, Parquet, Stata, SPSS or any "
        "GDAL table).",
        json_schema_extra=IN,
    )
    model: str | None = Field(
        None,
        description="The model, in the notation of lavaan: F =~ x1 + x2 + x3 (the factor F is measured by the items), "
        "y ~ x (x is a cause of y), x1 ~~ x2 (covariance), 1*x1 (fixed), a*x1 (label), ab := a*b (defined). Lines or "
        "semicolons separate statements.",
    )
    model_file: str | None = Field(
        None, description="Text file with the model, instead of the model itself.", json_schema_extra=IN
    )
    table_layer: str | None = Field(None, description="Layer or sheet name inside the survey's file.")
    encoding: str | None = Field(None, description="Encoding of the survey's text; recognised if not given.")
    decimal: Literal["point", "comma"] | None = Field(None, description="Decimal sign of numbers written as text.")
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = Field(
        None, description="Thousands separator of numbers written as text; never guessed."
    )
    method: Literal["ml", "bayes"] = Field(
        "ml",
        description="ml: maximum likelihood, with every answer of respondents who left some out. bayes: the posterior, "
        "by Hamiltonian Monte Carlo with the factors integrated out.",
    )
    ordinal: FieldNames = Field(
        default_factory=list,
        description="Items that are categories in order, or yes and no: a normal variable behind each is drawn (its "
        "correlations are polychoric), the model is fitted to several draws by ml, and Rubin's rules put them "
        "together. Without it items are taken as numbers.",
    )
    area_field: str | None = Field(
        None,
        description="Field with the area ids. With it factors vary between areas, and a respondent is pulled towards "
        "the own area; without it the means of areas are pulled towards each other.",
    )
    weight: str | None = Field(
        None, description="Field with the sampling weights. Without one every respondent counts the same."
    )
    strata: FieldNames = Field(
        default_factory=list, description="Fields with the strata, one for each stage, for the standard errors of ml."
    )
    psu: FieldNames = Field(
        default_factory=list, description="Fields with the sampling units, one for each stage; for ml."
    )
    fpc: FieldNames = Field(
        default_factory=list, description="Fields with finite populations, one for each stage; for ml."
    )
    nest: bool = Field(False, description="Names of primary sampling units start anew in every stratum.")
    lonely_psu: Literal["fail", "adjust", "average", "certainty"] = Field(
        "fail", description="What strata with a single sampling unit contribute; as for direct estimates."
    )
    imputations: int = Field(
        10, ge=2, le=1000, description="Number of plausible values of every respondent, each a completed table."
    )
    level: Probability = LEVEL
    loading_mean: float = Field(
        1.0, description="For bayes: mean of the normal prior of loadings, for standardised items."
    )
    loading_sd: float = Field(
        0.5,
        gt=0.0,
        description="For bayes: standard deviation of the normal prior of loadings, for standardised items.",
    )
    path_sd: float = Field(
        1.0, gt=0.0, description="For bayes: standard deviation of the prior of regressions, which is about zero."
    )
    lkj: float = Field(
        2.0, gt=0.0, description="For bayes: concentration of the LKJ prior of the correlations of factors."
    )
    residual_prior: Literal["half_normal", "inverse_gamma"] = Field(
        "half_normal",
        description="For bayes: prior of the items' residual standard deviations, half-normal(1) or inverse gamma(3, "
        "4), for standardised items.",
    )
    chains: int = Field(2, ge=1, le=16, description="For bayes: chains, run side by side.")
    warmup: int = Field(
        500, ge=50, le=100_000, description="For bayes: warm-up steps of each chain, which are thrown away."
    )
    draws: int = Field(500, ge=100, le=100_000, description="For bayes: draws of each chain.")
    seed: int = Field(1, ge=0, lt=2**32, description="Seed of all draws: the same seed, the same result.")
    output: str | None = Field(
        None,
        description="Table to write (.csv, .parquet, .gpkg): the survey once for each plausible value, numbered by the "
        "column imputation, with a column for each factor. 'survey direct' takes it with "
        "--imputation-field imputation.",
        json_schema_extra=OUT,
    )
    scores: str | None = Field(
        None,
        description="Table to write (.csv, .parquet, .gpkg): the survey with score_F and se_F for each factor F.",
        json_schema_extra=OUT,
    )
    csv: str | None = Field(None, description="CSV file to write the model's parameters to.", json_schema_extra=OUT)
    excel: str | None = Field(
        None,
        description="Excel workbook to write: parameters, effects, fit, residual correlations, areas, settings.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None,
        description="Report to write (HTML): loadings with intervals, effects, fit, residual correlations, what the "
        "scores are worth, means of areas.",
        json_schema_extra=OUT,
    )
