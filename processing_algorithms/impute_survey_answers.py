"""Impute survey answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .inputs import InputProblem, Parameters, check_field, fields_of, source_of
from .parameters import ParameterMaker, key, parse_list
from .result_layers import show_layer
from .survey_table_input import SurveyTableAlgorithm

_CHOICES = ("method", "missing_design", "unmatched")
# Texts of NAME=VALUE, separated by semicolons.
_PAIRS = ("kinds", "ranges", "not_asked", "refused", "deltas", "settings")


class ImputeSurveyAnswers(SurveyTableAlgorithm):
    """Impute the missing answers of a survey several times."""

    NAME = "imputesurveyanswers"
    TITLE = "Impute survey answers"
    GROUP = "Survey"
    GROUP_ID = "survey"
    TASK = "impute"
    TAGS = (
        "missing data", "imputation", "multiple imputation", "nonresponse", "refusal", "don't know", "Rubin", "MICE",
        "predictive mean matching", "hot deck", "copula", "microdata", "survey",
    )  # fmt: skip
    SUMMARY = (
        "Fills the missing answers of a survey several times, each time by a draw from what the other answers, the "
        "area and the design say about them. Observed answers stay as they are; questions that were not put stay "
        "empty.\n\n"
        "The result has all completed tables, one below the other, numbered in the column 'imputation'. Give that "
        "column to 'Direct estimates from survey' (Completed tables): it estimates each, and adds to the variances "
        "what the missing answers cost. Columns imputed_NAME say which answers are imputed. For tools that know one "
        "table only, write a single completed table; its standard errors will be too small."
    )
    TWINS: ClassVar[dict[str, str]] = {
        "variables": "file_variables",
        "area_field": "file_area_field",
        "covariates": "file_covariates",
        "weight": "file_weight",
        "strata": "file_strata",
    }
    SEVERAL = frozenset(("variables", "covariates", "strata"))
    LAYER_INPUTS = ("AREAS", "TABLE")
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("single", "report")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_RESPONDENTS": ("n_respondents", "Respondents"),
        "N_IMPUTED": ("n_imputed", "Answers that are imputed"),
        "SHARE_IMPUTED": ("share_imputed", "Share of answers that are imputed"),
        "N_IMPUTATIONS": ("n_imputations", "Completed tables"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_table_layer(make)
        self.add(
            make.field("variables", "Answers to impute", "table", many=True, optional=True),
            make.field("area_field", "Field with the areas", "table", optional=True),
            make.field("covariates", "What else tells about the answers", "table", many=True, optional=True),
            make.field("weight", "Weights", "table", optional=True),
            make.field("strata", "Strata", "table", many=True, optional=True),
        )
        self.add_table_file(make)
        one, more = (
            "Name of the field, as in the file.",
            "Names of the fields, as in the file, separated by semicolons.",
        )
        self.add(
            make.own_text("file_variables", "File: answers to impute", more),
            make.own_text("file_area_field", "File: field with the areas", one),
            make.own_text("file_covariates", "File: what else tells about the answers", more),
            make.own_text("file_weight", "File: weights", one),
            make.own_text("file_strata", "File: strata", more),
            make.choice("method", "Method"),
            make.integer("imputations", "Number of completed tables"),
        )
        self._add_rules(make)
        self._add_polygons(make)
        self.add_advanced(
            make.choice("missing_design", "Rows without a weight or stratum"),
            make.text("settings", "Settings of the method (name=value, separated by semicolons)"),
            make.decimal("overimputation_share", "Report: share of known answers to hide and check"),
            make.integer("seed", "Seed"),
            make.text("imputation_field", "Name of the column that numbers the tables"),
        )
        self.add_table_options(make)
        self.add(
            make.layer_output("output", "Completed tables", QgsProcessing.SourceType.TypeVector),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
            make.file_output("single", "One completed table, for other tools", "CSV files (*.csv)"),
        )

    def _add_rules(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.text("kinds", "Kinds of answers (name=kind, separated by semicolons)"),
            make.text("ranges", "Ranges (name=lowest..highest, separated by semicolons)"),
            make.text("not_asked", "Codes for 'not asked' (name=codes, separated by semicolons)"),
            make.text("refused", "Codes for 'refused' (name=codes, separated by semicolons)"),
            make.text("skips", "Who was asked (rules separated by semicolons)"),
            make.text("deltas", "What if: shift imputed answers (name=standard deviations, separated by semicolons)"),
        )

    def _add_polygons(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.polygons("areas", "Polygons", optional=True),
            make.field("id_field", "Polygons: field with the area ids", "areas", optional=True),
            make.field("area_covariates", "Polygons: figures that tell about the answers", "areas", many=True,
                       optional=True),
            make.choice("unmatched", "Respondents who are not on the map"),
            make.boolean("repair", "Repair polygons"),
        )  # fmt: skip
        self.add_areas_options(make)

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        figures = fields_of(self, parameters, "AREA_COVARIATES", context)
        if parameters.get("AREAS"):
            super().check(parameters, context)
            for field in figures:
                check_field(source_of(self, parameters, "AREAS", context), field, self.label("area_covariates"),
                            numeric=True)  # fmt: skip
            if not figures and not parameters.get("REPORT"):
                raise InputProblem(
                    f"{self.label('area_covariates')}: choose the polygons' figures, or ask for a report."
                )
            if "area_field" not in self.named_fields(parameters, context):
                raise InputProblem(f"{self.label('area_field')}: polygons need the areas of the respondents.")
        self.check_survey_table(parameters, context)
        if "variables" not in self.named_fields(parameters, context):
            name = "variables" if parameters.get("TABLE") else "file_variables"
            raise InputProblem(f"{self.label(name)}: say which answers to impute.")
        for name in _PAIRS:
            self._pairs(parameters, name, context)
        if not self.parameterAsString(parameters, "IMPUTATION_FIELD", context).strip():
            raise InputProblem(f"{self.label('imputation_field')}: give one, for example imputation.")

    def _pairs(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> dict[str, str]:
        found: dict[str, str] = {}
        for part in parse_list(self.parameterAsString(parameters, key(name), context)):
            field, equals, text = (piece.strip() for piece in part.partition("="))
            if not (field and equals and text) or field in found:
                raise InputProblem(
                    f"{self.label(name)}: {part!r} is not of the form name=value, or its name is there twice."
                )
            found[field] = text
        return found

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        table, names = self.survey_table_job(parameters, context, feedback, folder, None)
        pairs: dict[str, dict[str, str]] = {name: self._pairs(parameters, name, context) for name in _PAIRS}
        for name in ("kinds", "ranges", "not_asked", "refused", "deltas"):
            pairs[name] = {names.get(field, field): text for field, text in pairs[name].items()}
        polygons: dict[str, Any] = {}
        if parameters.get("AREAS"):
            figures = fields_of(self, parameters, "AREA_COVARIATES", context)
            areas = self.areas_job(parameters, context, feedback, folder, figures)
            polygons = {**without_private(areas), "area_covariates": [areas["_names"][field] for field in figures]}
        return {
            **table,
            **polygons,
            **{name: value for name, value in pairs.items() if value},
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in ("imputations", "seed")},
            "overimputation_share": self.parameterAsDouble(parameters, "OVERIMPUTATION_SHARE", context),
            "skips": parse_list(self.parameterAsString(parameters, "SKIPS", context)),
            "imputation_field": self.parameterAsString(parameters, "IMPUTATION_FIELD", context).strip(),
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the table after what it was made from."""
        path = self.parameterAsFile(parameters, "TABLE_FILE", context)
        name = Path(path).stem if path else source_of(self, parameters, "TABLE", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"{name}, imputed")
