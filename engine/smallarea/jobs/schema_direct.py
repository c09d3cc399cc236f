"""Parameters of the task `direct_estimates`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, LEVEL, OUT, FieldNames, Probability, ReadingPolygons

LonelyPsu = Literal["fail", "adjust", "average", "certainty"]
ReplicateMethod = Literal["brr", "fay", "jk1", "jkn", "bootstrap", "sdr"]
VarianceMethod = Literal["auto", "linearisation", "replicates", "poisson"]
Interval = Literal["auto", "wald", "logit", "wilson", "korn_graubard"]
DeffReference = Literal["without_replacement", "with_replacement"]


class DirectEstimatesOfAreas(ReadingPolygons):
    """Estimate every area directly from survey microdata."""

    areas: str | None = Field(
        None,
        description="Polygon layer with the areas: the path of any vector file that GDAL reads. With it, areas without "
        "respondents are listed and a map can be written; without it the areas are those of the survey.",
        json_schema_extra=IN,
    )
    table: str = Field(
        description="The survey: a table with one row for each respondent (CSV, Excel, Parquet, Stata, SPSS or any "
        "GDAL table).",
        json_schema_extra=IN,
    )
    table_layer: str | None = Field(None, description="Layer or sheet name inside the survey's file.")
    encoding: str | None = Field(None, description="Encoding of the survey's text; recognised if not given.")
    decimal: Literal["point", "comma"] | None = Field(None, description="Decimal sign of numbers written as text.")
    thousands: Literal["comma", "point", "space", "apostrophe"] | None = Field(
        None, description="Thousands separator of numbers written as text; never guessed."
    )
    area_field: str = Field(
        description="Field of the survey with the area ids. Respondents without one stay in the design and count for "
        "no area."
    )
    indicators: FieldNames = Field(
        description="What to estimate: mean(FIELD), proportion(FIELD = VALUE), proportion(FIELD < 10), total(FIELD), "
        "total() for the number of units, ratio(FIELD, FIELD), quantile(FIELD, 0.25), median(FIELD); with a name of "
        "your own in front: poor = proportion(income < 12000).",
        json_schema_extra={"metavar": "INDICATOR"},
    )
    imputation_field: str | None = Field(
        None,
        description="Field that numbers the completed tables of a multiply imputed survey, one below the other as "
        "'survey impute' writes them. Each is estimated; variances, covariances and degrees of freedom follow Rubin's "
        "rules.",
    )
    group_field: str | None = Field(
        None,
        description="Field with groups of respondents, for example sex: every indicator is estimated for each group, "
        "as INDICATOR_GROUP.",
    )
    weight: str | None = Field(
        None, description="Field with the sampling weights. Without one every respondent counts the same."
    )
    strata: FieldNames = Field(default_factory=list, description="Fields with the strata, one for each stage.")
    psu: FieldNames = Field(
        default_factory=list,
        description="Fields with the sampling units: primary sampling units, then those of the second stage, and so "
        "on. Without any, respondents were drawn directly.",
    )
    fpc: FieldNames = Field(
        default_factory=list,
        description="Fields with finite populations, one for each stage: the number of units in the stratum, or the "
        "share of them in the sample. Without them sampling counts as with replacement.",
    )
    nest: bool = Field(False, description="Names of primary sampling units start anew in every stratum.")
    missing_design: Literal["error", "drop"] = Field(
        "error",
        description="Rows without a weight, stratum, sampling unit or finite population: stop, or leave them out of "
        "the survey and say so.",
    )
    lonely_psu: LonelyPsu = Field(
        "fail",
        description="Strata with a single sampling unit: stop (fail), take its deviation from the grand mean (adjust), "
        "the average of the other strata (average), or nothing (certainty).",
    )
    replicate_weights: FieldNames = Field(
        default_factory=list,
        description="Fields with replicate weights; a * stands for any letters, as in repwt*, and never takes the "
        "sampling weight itself. Variances then come from them.",
    )
    replicate_method: ReplicateMethod = Field(
        "bootstrap",
        description="How the replicates were made: brr, fay, jk1, jkn, bootstrap, or sdr (successive differences, as "
        "in the American Community Survey).",
    )
    replicate_scale: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="Factor of the squared deviations in place of the method's."
    )
    replicate_rscales: list[float] = Field(
        default_factory=list,
        description="Factors of the replicates; jkn needs them.",
        json_schema_extra={"metavar": "NUMBER"},
    )
    replicate_mse: bool | None = Field(
        None,
        description="Deviations from the full-sample estimate instead of the replicates' mean. By default only for "
        "sdr.",
    )
    replicate_combined: bool = Field(
        True, description="Replicate weights hold the sampling weight; otherwise they are factors of it."
    )
    fay_rho: float = Field(0.0, ge=0.0, lt=1.0, description="Fay's factor, for the method fay.")
    design_weight: str | None = Field(
        None,
        description="For calibrated weights: field with the weights before calibration. Together with totals, "
        "variances are those of calibrated estimates.",
    )
    totals: str | None = Field(
        None,
        description="For calibrated weights: table with the totals that they were calibrated to, as for 'survey "
        "calibrate'.",
        json_schema_extra=IN,
    )
    totals_layer: str | None = Field(None, description="Layer or sheet name inside the file with the totals.")
    total_field: str = Field("total", description="Column of the totals with the numbers of people.")
    auxiliaries: FieldNames = Field(
        default_factory=list, description="Numeric fields of the survey whose totals are in columns of the same name."
    )
    calibration_method: Literal["poststratify", "rake", "greg"] = Field(
        "rake", description="How the weights were calibrated."
    )
    population_field: str | None = Field(
        None,
        description="Field with the known number of units in each area, of the polygons or, without them, of the "
        "survey. Means and proportions are then Horvitz-Thompson estimates, otherwise Hajek's. Not for groups.",
    )
    variance_method: VarianceMethod = Field(
        "auto",
        description="linearisation (Taylor), replicates, or poisson (units drawn independently of each other, as an "
        "approximation for unequal weights without a design; weights are then 1 or more). auto: replicates if there "
        "are replicate weights.",
    )
    interval: Interval = Field(
        "auto",
        description="Confidence intervals of proportions: logit (auto), wilson, korn_graubard or wald. Quantiles have "
        "Woodruff's, everything else wald. All use the degrees of freedom of the area.",
    )
    level: Probability = LEVEL
    deff_reference: DeffReference = Field(
        "without_replacement",
        description="Simple random sampling that design effects compare with. Use with_replacement for weights that do "
        "not add up to the population.",
    )
    min_df: int = Field(8, ge=0, description="Variances with fewer degrees of freedom are flagged.")
    unmatched: Literal["error", "keep"] = Field(
        "error",
        description="Respondents whose area is not on the map: stop, or let them count for the design and for no area.",
    )
    output: str | None = Field(
        None, description="GeoPackage to write the areas with their direct estimates to.", json_schema_extra=OUT
    )
    csv: str | None = Field(
        None, description="CSV file to write the direct estimates to, one row for each area.", json_schema_extra=OUT
    )
    excel: str | None = Field(
        None,
        description="Excel workbook to write: direct estimates, covariances, what was read, settings.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None,
        description="Report to write (HTML) about an imputed survey: what missing answers cost each area. Needs "
        "imputation_field.",
        json_schema_extra=OUT,
    )
