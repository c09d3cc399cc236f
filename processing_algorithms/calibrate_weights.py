"""Calibrate survey weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .base import EngineAlgorithm
from .inputs import InputProblem, Parameters, check_field, field_of, fields_of, hand_over, outcome, source_of
from .parameters import ParameterMaker, key

_OUTPUTS = ("csv", "excel")


class CalibrateWeights(EngineAlgorithm):
    """Calibrate the weights of a survey to known totals."""

    NAME = "calibratesurveyweights"
    TITLE = "Calibrate survey weights"
    GROUP = "Survey"
    GROUP_ID = "survey"
    TASK = "calibrate_weights"
    TAGS = (
        "calibration",
        "raking",
        "post-stratification",
        "GREG",
        "weights",
        "totals",
        "iterative proportional fitting",
    )
    SUMMARY = (
        "Adjusts the design weights of a survey so that they add up to known totals of the population: by one set of "
        "categories (post-stratification), by several in turn (raking), or by a linear regression on categories and "
        "numbers (GREG).\n\n"
        "The result is the survey with the weights before (weight_design) and after (weight). The workbook has the "
        "totals before and after, the range of the factors and the design effect of the weights."
    )
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_RESPONDENTS": ("n_respondents", "Respondents"),
        "N_TOTALS": ("n_totals", "Known totals"),
        "SUM_AFTER": ("sum_after", "Sum of the calibrated weights"),
        "LEAST_FACTOR": ("least_factor", "Least factor"),
        "LARGEST_FACTOR": ("largest_factor", "Largest factor"),
        "DEFF_AFTER": ("deff_after", "Design effect of the calibrated weights"),
        "N_NEGATIVE": ("n_negative", "Negative weights"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters."""
        self.add(
            make.table("table", "Survey", "The survey: a layer or table with one row for each respondent."),
            make.field("weight", "Design weights", "table"),
            make.table(
                "totals",
                "Known totals",
                "Table with known totals. Its columns are fields of the survey with categories, and the numbers; a "
                "number belongs to the categories that its row fills in, so rows with one column filled make the "
                "margins of a raking.",
            ),
            make.text("total_field", "Column of the totals with the numbers of people"),
            make.choice("method", "Method"),
            make.file_output("csv", "Survey with calibrated weights", "CSV files (*.csv)", by_default=True),
            make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)"),
        )
        self.add_advanced(
            make.field("auxiliaries", "Totals of numbers (greg)", "totals", many=True, optional=True),
            make.decimal("cell_change", "Stop raking at changes below (people)"),
        )

    def checkParameterValues(self, parameters: Parameters, context: QgsProcessingContext) -> tuple[bool, str]:
        """Find out before the run what the engine would only say after it has read everything."""
        ok, message = super().checkParameterValues(parameters, context)
        return outcome(lambda: self.check(parameters, context)) if ok else (ok, message)

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values.

        Raises
        ------
        InputProblem
            If one cannot be used.
        """
        survey, totals = (source_of(self, parameters, name, context) for name in ("TABLE", "TOTALS"))
        check_field(survey, field_of(self, parameters, "WEIGHT", context), "Design weights", numeric=True)
        auxiliaries = fields_of(self, parameters, "AUXILIARIES", context)
        for field in auxiliaries:
            check_field(totals, field, "Totals of numbers", numeric=True)
            check_field(survey, field, "Totals of numbers", numeric=True)
        if not auxiliaries:
            name = self.parameterAsString(parameters, "TOTAL_FIELD", context)
            check_field(totals, name, "Column of the totals", numeric=True)
        if not any(parameters.get(key(name)) for name in _OUTPUTS):
            raise InputProblem("Nothing would be written. Ask for at least one of CSV, EXCEL.")

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        survey = hand_over(source_of(self, parameters, "TABLE", context), folder / "survey.gpkg", None, feedback)
        totals = hand_over(source_of(self, parameters, "TOTALS", context), folder / "totals.gpkg", None, feedback)
        total_field = self.parameterAsString(parameters, "TOTAL_FIELD", context)
        change = parameters.get("CELL_CHANGE")
        return {
            "table": str(survey.path),
            "table_layer": survey.layer,
            "weight": survey.names[field_of(self, parameters, "WEIGHT", context)],
            "totals": str(totals.path),
            "totals_layer": totals.layer,
            "total_field": totals.names.get(total_field, total_field),
            "auxiliaries": [totals.names[field] for field in fields_of(self, parameters, "AUXILIARIES", context)],
            "method": self.parameterAsEnumString(parameters, "METHOD", context),
            **({"cell_change": self.parameterAsDouble(parameters, "CELL_CHANGE", context)} if change else {}),
        }

    def destinations(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, str]:
        """Return the files that are asked for, by Processing name."""
        files = {key(name): self.parameterAsFileOutput(parameters, key(name), context) for name in _OUTPUTS}
        return {name: path for name, path in files.items() if path}
