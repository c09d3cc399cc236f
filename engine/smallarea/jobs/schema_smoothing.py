"""Parameters of the task `smooth_variances`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, OUT, TABLE_ID_FIELD, TABLE_LAYER, FieldNames, ReadingPolygons


class SmoothVariances(ReadingPolygons):
    """Smooth sampling variances by a generalised variance function."""

    areas: str | None = Field(
        None,
        description="Polygon layer to join the result to: the path of any vector file that GDAL reads. Without one a "
        "table is written.",
        json_schema_extra=IN,
    )
    table: str | None = Field(
        None,
        description="Table with the direct estimates (CSV, Excel or any GDAL table); the polygons' own attributes if "
        "not given.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    table_id_field: str | None = TABLE_ID_FIELD
    direct: FieldNames = Field(description="Field with the direct estimates, or several fields for several responses.")
    variance: FieldNames = Field(
        description="Field with the raw sampling variances; for several responses one each, in the same order."
    )
    covariance: FieldNames = Field(
        default_factory=list,
        description="Fields with the sampling covariances between responses, in the order (1, 2), (1, 3), ..., "
        "(2, 3), ...; they are rescaled so that correlations stay.",
    )
    method: Literal["gamma", "log_linear", "n_eff"] = Field(
        "gamma",
        description="gamma: gamma regression with logarithmic link, weighted by degrees of freedom if they are known. "
        "log_linear: least squares of the log variances, biased where degrees of freedom differ and are not given "
        "(df). n_eff: a pooled variance of one observation (or design effect) divided by the sample size.",
    )
    n: FieldNames = Field(
        default_factory=list,
        description="Field with the sample sizes, one for all responses or one for each; their logarithm is a term. "
        "n_eff needs it.",
    )
    df: FieldNames = Field(
        default_factory=list,
        description="Field with the degrees of freedom of the raw variances (or the numbers of PSUs), one for all "
        "responses or one for each.",
    )
    estimate_term: Literal["none", "log", "binomial"] = Field(
        "none",
        description="How variances depend on the estimate itself: none; log (on the logarithm of its size, for "
        "quantities with a stable coefficient of variation); binomial (on estimate (1 - estimate), for proportions).",
    )
    covariates: list[str] = Field(
        default_factory=list, description="Numeric fields that log variances may depend on, as they are."
    )
    group_field: str | None = Field(
        None,
        description="Field with the group of each area, for example urban and rural: an intercept, or a pooled value, "
        "for each.",
    )
    bias_correction: Literal["ratio", "lognormal", "smearing", "none"] = Field(
        "ratio",
        description="For log_linear, what makes up for the mean of logarithms: ratio (smoothed variances add up to the "
        "raw ones), lognormal (exp(s^2 / 2)), smearing (the mean of the residuals' exponentials), or none.",
    )
    combine: bool = Field(
        False,
        description="Let raw variances keep a say according to their degrees of freedom (df), against prior degrees "
        "of freedom that are estimated.",
    )
    min_df: float = Field(
        8.0, ge=0.0, description="Warn of raw variances with fewer degrees of freedom (or PSUs) than this."
    )
    unmatched: Literal["error", "drop"] = Field(
        "error", description="Table rows whose area is not on the map: stop, or leave them out and list them."
    )
    output: str | None = Field(
        None,
        description="GeoPackage to write the polygons, their attributes and the smoothed variances to.",
        json_schema_extra=OUT,
    )
    csv: str | None = Field(
        None,
        description="CSV file to write the table with the smoothed variances to.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None, description="HTML report to write: the function, raw against smoothed, outliers.", json_schema_extra=OUT
    )
