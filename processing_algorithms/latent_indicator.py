"""Latent indicator."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .inputs import InputProblem, Parameters, check_geopackage, check_outputs_apart, source_of
from .parameters import ParameterMaker, key, parse_list
from .result_layers import show_layer
from .survey_table_input import SurveyTableAlgorithm

_CHOICES = ("method", "lonely_psu")
_ONLY_BAYES_DECIMALS = ("loading_mean", "loading_sd", "path_sd", "lkj")
_WHOLE = ("imputations", "chains", "warmup", "draws", "seed")
_OUTPUTS = ("OUTPUT", "SCORES", "CSV", "EXCEL", "REPORT")


class LatentIndicator(SurveyTableAlgorithm):
    """Score respondents on what several survey items have in common."""

    NAME = "latentindicator"
    TITLE = "Latent indicator"
    GROUP = "Survey"
    GROUP_ID = "survey"
    TASK = "latent_indicator"
    TAGS = (
        "factor analysis", "CFA", "SEM", "structural equation model", "latent variable", "deprivation index", "index",
        "plausible values", "lavaan", "survey", "scores",
    )  # fmt: skip
    SUMMARY = (
        "Finds what several items of a survey have in common, for example deprivation behind heating, meals and "
        "arrears, and gives every respondent a score with its standard error. Missing answers need not be filled "
        "in.\n\n"
        "The model is text: 'hardship =~ heating + meals + arrears' says which items measure the factor hardship, "
        "'hardship ~ age' that age is a cause of it. Effects, their intervals and the fit of the model are in the "
        "workbook.\n\n"
        "The table of plausible values has the survey several times, numbered by the field imputation: with it 'Direct "
        "estimates from survey' makes a mean of the factor for every area that knows how uncertain the scores are, and "
        "'Fit Fay-Herriot model' smooths it. Name the field with the areas, or the means of areas are pulled towards "
        "each other."
    )
    TWINS: ClassVar[dict[str, str]] = {
        "area_field": "file_area_field",
        "weight": "file_weight",
        "strata": "file_strata",
        "psu": "file_psu",
    }
    SEVERAL = frozenset(("strata", "psu"))
    LAYER_INPUTS = ("TABLE",)
    LAYER_OUTPUTS = ("output", "scores")
    FILE_OUTPUTS = ("csv", "excel", "report")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_RESPONDENTS": ("n_respondents", "Respondents"),
        "N_ITEMS": ("n_items", "Items"),
        "N_FACTORS": ("n_factors", "Factors"),
        "CHI2": ("chi2", "Chi-squared of the fit"),
        "DF": ("df", "Degrees of freedom of the fit"),
        "CFI": ("cfi", "CFI"),
        "RMSEA": ("rmsea", "RMSEA"),
        "SRMR": ("srmr", "SRMR"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_table_layer(make)
        self.add(
            make.text("model", "Model", many_lines=True),
            make.field("area_field", "Field with the areas", "table", optional=True),
            make.field("weight", "Weights", "table", optional=True),
        )
        self.add_table_file(make)
        one, more = (
            "Name of the field, as in the file.",
            "Names of the fields, as in the file, separated by semicolons.",
        )
        self.add(
            make.own_text("file_area_field", "File: field with the areas", one),
            make.own_text("file_weight", "File: weights", one),
            make.choice("method", "Method"),
            make.text("ordinal", "Ordinal items (separated by semicolons)"),
        )
        self.add_advanced(
            make.file("model_file", "Model: a text file with it", "Text (*.txt *.lav);;All files (*)"),
            make.field("strata", "Strata", "table", many=True, optional=True),
            make.field("psu", "Sampling units (PSU first)", "table", many=True, optional=True),
            make.own_text("file_strata", "File: strata", more),
            make.own_text("file_psu", "File: sampling units (PSU first)", more),
            make.text("fpc", "Finite populations (separated by semicolons)"),
            make.boolean("nest", "Names of sampling units start anew in every stratum"),
            make.choice("lonely_psu", "Strata with a single sampling unit"),
            make.integer("imputations", "Number of plausible values"),
            make.decimal("level", "Coverage of the intervals"),
            make.decimal("loading_mean", "bayes: mean of loadings"),
            make.decimal("loading_sd", "bayes: standard deviation of loadings"),
            make.decimal("path_sd", "bayes: standard deviation of regressions"),
            make.decimal("lkj", "bayes: LKJ concentration of correlations"),
            make.choice("residual_prior", "bayes: prior of residual standard deviations"),
            make.integer("chains", "bayes: chains"),
            make.integer("warmup", "bayes: warm-up steps"),
            make.integer("draws", "bayes: draws of each chain"),
            make.integer("seed", "Seed"),
        )
        self.add_table_options(make)
        vector = QgsProcessing.SourceType.TypeVector
        self.add(
            make.layer_output("output", "Plausible values", vector, optional=True),
            make.layer_output("scores", "Scores", vector, optional=True, by_default=False),
            make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)", by_default=True),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(make.file_output("csv", "Parameters as a CSV table", "CSV files (*.csv)"))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        self.check_survey_table(parameters, context)
        written = self.parameterAsString(parameters, "MODEL", context).strip()
        path = self.parameterAsFile(parameters, "MODEL_FILE", context)
        if bool(written) == bool(path):
            raise InputProblem("Model: write it, for example 'f =~ x1 + x2 + x3', or choose a text file with it.")
        if path and not Path(path).is_file():
            raise InputProblem(f"{self.label('model_file')}: there is no file '{path}'.")
        self.check_table_fields(parameters, context, "fpc", self._fpc(parameters, context))
        self.check_table_fields(parameters, context, "ordinal", self._ordinal(parameters, context))
        if self.parameterAsEnumString(parameters, "METHOD", context) == "bayes":
            given = [name for name in ("strata", "psu") if name in self.named_fields(parameters, context)]
            if given or self._fpc(parameters, context):
                raise InputProblem("The method bayes takes the weights only. Leave strata, sampling units and finite "
                                   "populations out here.")  # fmt: skip
        if not 0.0 < self.parameterAsDouble(parameters, "LEVEL", context) < 1.0:
            raise InputProblem(f"{self.label('level')}: a number between 0 and 1, without 0 and 1, is needed.")
        outputs = [key(name) for name in (*self.LAYER_OUTPUTS, *self.FILE_OUTPUTS)]
        check_outputs_apart(self, parameters, context, self.LAYER_INPUTS, outputs)
        for name in self.LAYER_OUTPUTS:
            check_geopackage(parameters.get(key(name)), self.label(name))
        self.needs_one_of(parameters, _OUTPUTS, "Nothing would be written.")

    def _ordinal(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        return parse_list(self.parameterAsString(parameters, "ORDINAL", context))

    def _fpc(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        return parse_list(self.parameterAsString(parameters, "FPC", context))

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        # The whole table: the result is the table with the factors.
        table, names = self.survey_table_job(parameters, context, feedback, folder, None)
        path = self.parameterAsFile(parameters, "MODEL_FILE", context)
        method = self.parameterAsEnumString(parameters, "METHOD", context)
        job: dict[str, Any] = {
            **table,
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in _WHOLE},
            "nest": self.parameterAsBoolean(parameters, "NEST", context),
            "level": self.parameterAsDouble(parameters, "LEVEL", context),
            "ordinal": self._ordinal(parameters, context),
            "fpc": [names.get(field, field) for field in self._fpc(parameters, context)],
        }
        if method == "bayes":
            job |= {name: self.parameterAsDouble(parameters, key(name), context) for name in _ONLY_BAYES_DECIMALS}
            job["residual_prior"] = self.parameterAsEnumString(parameters, "RESIDUAL_PRIOR", context)
        if path:
            return {**job, "model_file": str(Path(path).absolute())}
        return {**job, "model": self.parameterAsString(parameters, "MODEL", context)}

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the tables after the survey."""
        path = self.parameterAsFile(parameters, "TABLE_FILE", context)
        name = Path(path).stem if path else source_of(self, parameters, "TABLE", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"{name}: plausible values")
        show_layer(context, outputs, "SCORES", f"{name}: scores")
