"""Parameters of the task `calibrate_weights`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from smallarea.jobs.schema_parts import IN, OUT, FieldNames, TaskParameters

CalibrationMethod = Literal["poststratify", "rake", "greg"]


class CalibrateWeights(TaskParameters):
    """Calibrate survey weights to known totals of the population."""

    table: str = Field(
        description="The survey: a table with one row for each respondent (CSV, Excel or any GDAL table).",
        json_schema_extra=IN,
    )
    weight: str = Field(description="Field with the design weights.")
    totals: str = Field(
        description="Table with known totals. Its columns are fields of the survey with categories, and the numbers; a "
        "number belongs to the categories that its row fills in, so rows with one column filled make the margins of a "
        "raking.",
        json_schema_extra=IN,
    )
    table_layer: str | None = Field(None, description="Layer or sheet name inside the survey's file.")
    totals_layer: str | None = Field(None, description="Layer or sheet name inside the file with the totals.")
    total_field: str = Field("total", description="Column of the totals with the numbers of people.")
    auxiliaries: FieldNames = Field(
        default_factory=list,
        description="Numeric fields of the survey whose totals are in columns of the same name (method greg).",
    )
    method: CalibrationMethod = Field(
        "rake",
        description="poststratify: one set of categories. rake: several, in turn until all are met. greg: linear "
        "regression, for categories and numeric variables; weights can become negative.",
    )
    cell_change: float | None = Field(
        None,
        gt=0.0,
        description="Stop raking when no combination of categories changes by so many people in a sweep, as R's rake "
        "does (there 1). Without it raking goes on until all totals are met.",
    )
    csv: str | None = Field(
        None,
        description="CSV file to write the survey to, with its weights before (weight_design) and after (weight).",
        json_schema_extra=OUT,
    )
    excel: str | None = Field(
        None,
        description="Excel workbook to write: totals before and after, what is to be known of the weights, settings.",
        json_schema_extra=OUT,
    )
