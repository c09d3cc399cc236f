"""Parameters of the task `impute`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from smallarea.jobs.schema_parts import IN, OUT, FieldNames, ReadingPolygons
from smallarea.jobs.schema_survey_table import ReadingTable

ImputationMethod = Literal["mvn", "vae", "vae-masked", "vae-mean", "chained", "hotdeck"]


def _texts(value: Any) -> Any:
    """Numbers in a dictionary stand for the text that a command line would have."""
    if not isinstance(value, dict):
        return value
    return {name: str(one) if isinstance(one, int | float) else one for name, one in value.items()}


Texts = Annotated[dict[str, str], BeforeValidator(_texts)]


class Impute(ReadingTable, ReadingPolygons):
    """Impute the missing answers of a survey several times."""

    areas: str | None = Field(
        None,
        description="Polygon layer with the areas: the path of any vector file that GDAL reads. For area_covariates, "
        "and for the map of missing answers in the report.",
        json_schema_extra=IN,
    )
    variables: FieldNames = Field(
        description="Fields with the answers to impute, and with other answers that tell about them. Gaps in any of "
        "them are imputed.",
    )
    kinds: Texts = Field(
        default_factory=dict,
        description="Kind of a variable where it is not the detected one: continuous, ordinal, binary, nominal, "
        "bounded or skewed, for example region=nominal. Text in an order: 'health=ordinal: poor < fair < good'.",
    )
    ranges: Texts = Field(
        default_factory=dict,
        description="Lowest and highest possible answer of a variable, for example age=18..110 or income=0.. with one "
        "end open. Imputed answers keep to it, and answers outside are an error.",
    )
    not_asked: Texts = Field(
        default_factory=dict,
        description="Codes of a variable which say that the question was not put, separated by commas, for example "
        "hours=-7,-8. Such cells stay empty.",
    )
    refused: Texts = Field(
        default_factory=dict,
        description="Codes of a variable which say that no answer was given (refused, don't know), separated by "
        "commas, for example income=77,99. Such cells are imputed.",
    )
    skips: FieldNames = Field(
        default_factory=list,
        description="Who was asked: 'hours asked if works = 1', with =, !=, <, <=, >, >= or 'in 1, 2', and 'and' "
        "between conditions. Others stay empty, and imputed answers obey.",
        json_schema_extra={"metavar": "RULE"},
    )
    method: ImputationMethod = Field(
        "mvn",
        description="mvn: Bayesian multivariate normal, with latent normal variables for categories. chained: chained "
        "equations with predictive mean matching. hotdeck: answers of a random respondent of the same cell. vae, "
        "vae-masked, vae-mean: neural networks.",
    )
    settings: Texts = Field(
        default_factory=dict, description="Settings of the method by name, see the documentation of imputation."
    )
    imputations: int = Field(
        10,
        ge=1,
        le=1000,
        description="How many completed tables. About one for each per cent of missing answers makes results that "
        "hardly depend on the seed; one alone has no standard errors.",
    )
    area_field: str | None = Field(
        None,
        description="Field of the survey with the area ids. Areas enter the model, so that imputed answers differ "
        "between areas as the observed ones do.",
    )
    covariates: FieldNames = Field(
        default_factory=list,
        description="Fields of the survey without gaps that tell about the answers, for example age or coordinates.",
    )
    area_covariates: FieldNames = Field(
        default_factory=list, description="Numeric fields of the polygons that tell about the answers."
    )
    weight: str | None = Field(
        None, description="Field with the sampling weights. They enter the model by their logarithm."
    )
    strata: FieldNames = Field(
        default_factory=list, description="Fields with the strata. Up to 30 strata enter the model."
    )
    missing_design: Literal["error", "drop"] = Field(
        "error",
        description="Rows without a weight or stratum: stop, or leave them out of the survey and say so.",
    )
    unmatched: Literal["error", "keep"] = Field(
        "error",
        description="Respondents whose area is not on the map, where there are area_covariates: stop, or give them the "
        "mean of all respondents as those without an area.",
    )
    deltas: dict[str, float] = Field(
        default_factory=dict,
        description="Shift of the imputed answers of a variable, in standard deviations: what if those who did not "
        "answer differ by so much from what their other answers say? For example income=0.3.",
    )
    overimputation_share: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Share of the known answers to hide and impute again, so that the report can say how close imputed "
        "answers come and how often their intervals hold the true one. Takes another fit; 0: not done.",
    )
    seed: int = Field(1, ge=0, description="Seed: the same seed gives the same imputations.")
    imputation_field: str = Field(
        "imputation",
        min_length=1,
        description="Name of the new column that numbers the completed tables, from 1. 'survey direct' takes it.",
    )
    output: str | None = Field(
        None,
        description="Table to write (CSV, Parquet or GeoPackage): all completed tables, one below the other. Columns "
        "imputed_NAME say which answers are imputed.",
        json_schema_extra=OUT,
    )
    single: str | None = Field(
        None,
        description="Table to write for other tools: the first completed table alone, with the columns imputed_NAME.",
        json_schema_extra=OUT,
    )
    report: str | None = Field(
        None,
        description="Report to write (HTML): what was missing, and how imputed answers compare with observed ones.",
        json_schema_extra=OUT,
    )
