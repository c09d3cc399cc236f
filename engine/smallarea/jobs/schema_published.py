"""Parameters of the task `prepare_published`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, OUT, TABLE_ID_FIELD, TABLE_LAYER, FieldNames, Probability, ReadingPolygons

ErrorType = Literal["variance", "standard_error", "margin_of_error", "cv", "cv_percent", "confidence_limits"]
Scale = Literal["none", "log", "logit", "arcsin", "freeman_tukey"]
Policy = Literal["missing", "keep"]
Positive = Annotated[float, Field(gt=0.0)]


class PreparePublished(ReadingPolygons):
    """Turn published estimates and their errors into the input of a fit."""

    areas: str | None = Field(
        None,
        description="Polygon layer to join the estimates to: the path of any vector file that GDAL reads. Without one "
        "a table is written.",
        json_schema_extra=IN,
    )
    table: str | None = Field(
        None,
        description="Table with the published estimates (CSV, Excel or any GDAL table); the polygons' own attributes "
        "if not given.",
        json_schema_extra=IN,
    )
    table_layer: str | None = TABLE_LAYER
    table_id_field: str | None = TABLE_ID_FIELD
    estimate: FieldNames = Field(description="Field with the published estimates, or several for several indicators.")
    error: FieldNames = Field(
        default_factory=list,
        description="Fields with the errors of the estimates, one for each in the same order; with confidence_limits "
        "the lower limits. Counts for freeman_tukey may do without.",
    )
    upper: FieldNames = Field(
        default_factory=list,
        description="With confidence_limits: fields with the upper limits, one for each estimate in the same order.",
    )
    error_type: ErrorType = Field(
        "margin_of_error",
        description="What the error fields hold: variances, standard errors, margins of error, coefficients of "
        "variation as fractions (cv) or in percent (cv_percent), or lower confidence limits.",
    )
    moe_level: Probability = Field(0.90, description="Confidence level of margins of error and confidence limits.")
    moe_factor: Literal["rounded", "exact"] = Field(
        "rounded",
        description="Standard errors in a margin of error: rounded (the normal quantile with three decimals, as "
        "offices compute it: 1.645 at 0.90), or exact (1.6448536...).",
    )
    names: FieldNames = Field(
        default_factory=list,
        description="What to call the indicators, one for each estimate in the same order; the estimates' own field "
        "names if not given.",
    )
    annotations: Literal["acs", "none"] = Field(
        "acs",
        description="acs: recognise the symbols and codes of the American Community Survey ('-', 'N', '(X)', '**', "
        "'***', '*****', '250,000+', -666666666, ...). none: everything that is no number is an error.",
    )
    coded_estimates: Policy = Field(
        "missing",
        description="Top- and bottom-coded estimates, which are limits of an open interval: set them to missing, or "
        "keep the limit (flagged).",
    )
    zero_estimates: Policy = Field(
        "keep",
        description="Estimates of zero, whose published error often comes from a formula and not from the sample: keep "
        "them (flagged), or set them to missing, which leaves out the lowest areas.",
    )
    scale: Positive = Field(
        1.0,
        description="Number that stands for 1: estimates and standard errors are divided by it. 100 makes proportions "
        "of percentages.",
    )
    transformation: Scale = Field(
        "none",
        description="Add the estimates on another scale, with their sampling variances: log, logit and arcsin for "
        "quantities that a fit can also transform itself (and then brings back without bias), freeman_tukey for "
        "counts.",
    )
    n: FieldNames = Field(
        default_factory=list,
        description="Fields with the sample sizes, one for each estimate in the same order; they are passed on.",
    )
    n_eff: FieldNames = Field(
        default_factory=list,
        description="Fields with the effective sample sizes, one for each estimate in the same order. Without them "
        "arcsin takes p (1 - p) / variance.",
    )
    denominator: FieldNames = Field(
        default_factory=list,
        description="For freeman_tukey: fields with the numbers at risk that the counts came from, one for each "
        "estimate in the same order.",
    )
    multiplier: Positive = Field(
        1000.0, description="For freeman_tukey: rates are per so many of those at risk, for example per thousand."
    )
    unmatched: Literal["error", "drop"] = Field(
        "error", description="Table rows whose area is not on the map: stop, or leave them out and list them."
    )
    output: str | None = Field(
        None,
        description="GeoPackage to write the polygons, their attributes and the prepared estimates to.",
        json_schema_extra=OUT,
    )
    csv: str | None = Field(
        None, description="CSV file to write the table of prepared estimates to.", json_schema_extra=OUT
    )
