"""Direct estimates from survey."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .inputs import InputProblem, Parameters, check_field, field_of, fields_of, hand_over, source_of
from .parameters import ParameterMaker, key, parse_list, yes_no_value
from .result_layers import show_layer
from .survey_table_input import SurveyTableAlgorithm

_CHOICES = (
    "lonely_psu",
    "missing_design",
    "replicate_method",
    "calibration_method",
    "variance_method",
    "interval",
    "deff_reference",
    "unmatched",
)
_YES_NO = ("nest", "replicate_combined")
_DECIMALS = ("fay_rho", "level")
# Fields that are written, for a layer as for a file: one, or several separated by semicolons.
_ONE = ("imputation_field", "group_field", "design_weight")
_MANY = ("fpc", "replicate_weights", "auxiliaries")
_INDICATORS_HELP = (
    "What to estimate, separated by semicolons: mean(income); proportion(smoker = 1); proportion(income < 12000); "
    "total(cars); total() for the number of people; ratio(rent, income); median(income); quantile(income, 0.25). With "
    "a name of your own in front: poor = proportion(income < 12000). In brackets stand fields of the survey."
)

_MEANS_HELP = (
    "Numeric fields whose means are wanted, a simple way beside the indicators. The mean of a field that is 0 or 1 is "
    "a share; ask for its proportion to have an interval between 0 and 1."
)
_TOTALS_HELP = (
    "For calibrated weights: layer or table with the totals that they were calibrated to. Its columns are called as "
    "fields of the survey and hold categories; one column holds the numbers of people."
)


class DirectEstimates(SurveyTableAlgorithm):
    """Estimate every area from a survey's respondents."""

    NAME = "directestimates"
    TITLE = "Direct estimates from survey"
    GROUP = "Survey"
    GROUP_ID = "survey"
    TASK = "direct_estimates"
    TAGS = (
        "survey", "microdata", "weights", "strata", "cluster", "PSU", "design effect", "Horvitz-Thompson", "Hajek",
        "replicate weights", "BRR", "jackknife", "bootstrap", "mean", "proportion", "total", "ratio", "quantile",
    )  # fmt: skip
    SUMMARY = (
        "Estimates every area from a table of respondents, with the variance of the whole sampling design: means, "
        "proportions, totals, ratios and quantiles. The result is the input of 'Fit Fay-Herriot model': for each "
        "indicator NAME it has the fields NAME, variance_NAME, se_NAME, cv_NAME, lower_NAME, upper_NAME, n_NAME, "
        "n_psu_NAME, population_NAME, n_eff_NAME, deff_NAME, df_NAME and flag_NAME, and for two indicators their "
        "sampling covariance covariance_NAME1_NAME2.\n\n"
        "A survey that 'Impute survey answers' has completed several times is estimated table by table; the variances "
        "then hold what missing answers cost (Rubin's rules), and fmi_NAME is the share of information that is missing."
        "\n\n"
        "A variance that no model may use as it is (one respondent, no variation) is left empty, and flag_NAME says "
        "why. The layer opens as a map of the first indicator; maps of the others and of the coefficients of variation "
        "are stored in it and listed when you right-click the layer (Styles)."
    )
    TWINS: ClassVar[dict[str, str]] = {
        "area_field": "file_area_field",
        "weight": "file_weight",
        "strata": "file_strata",
        "psu": "file_psu",
    }
    SEVERAL = frozenset(("strata", "psu"))
    LAYER_INPUTS = ("AREAS", "TABLE", "TOTALS")
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("csv", "excel", "report")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_SAMPLED": ("n_sampled", "Areas with respondents"),
        "N_USABLE": ("n_usable", "Areas with a variance for every indicator"),
        "N_RESPONDENTS": ("n_respondents", "Respondents"),
        "SUM_OF_WEIGHTS": ("sum_of_weights", "Sum of the weights"),
        "N_STRATA": ("n_strata", "Strata"),
        "N_PSU": ("n_psu", "Primary sampling units"),
        "DF": ("df", "Degrees of freedom of the design"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self._add_survey(make)
        self._add_design_options(make)
        self._add_estimation_options(make)
        self.add_table_options(make)
        self.add_advanced(make.choice("unmatched", "Respondents who are not on the map"))
        self.add_advanced(make.boolean("repair", "Repair polygons"))
        self.add_areas_options(make)
        self.add(
            make.layer_output("output", "Direct estimates", QgsProcessing.SourceType.TypeVectorPolygon),
            make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)"),
        )
        self.add_advanced(
            make.file_output("csv", "Direct estimates as a CSV table", "CSV files (*.csv)"),
            make.file_output("report", "Report on what missing answers cost", "HTML files (*.html)"),
        )

    def _add_survey(self, make: ParameterMaker) -> None:
        self.add_table_layer(make)
        self.add(
            make.field("area_field", "Field with the areas", "table", optional=True),
            make.own_text("indicators", "Indicators (separated by semicolons)", _INDICATORS_HELP),
            make.own_fields("means", "Means of fields", "table", _MEANS_HELP),
            make.field("weight", "Weights", "table", optional=True),
            make.field("strata", "Strata", "table", many=True, optional=True),
            make.field("psu", "Sampling units (PSU first)", "table", many=True, optional=True),
        )
        self.add_table_file(make)
        one, more = (
            "Name of the field, as in the file.",
            "Names of the fields, as in the file, separated by semicolons.",
        )
        self.add(
            make.own_text("file_area_field", "File: field with the areas", one),
            make.own_text("file_weight", "File: weights", one),
            make.own_text("file_strata", "File: strata", more),
            make.own_text("file_psu", "File: sampling units (PSU first)", more),
        )

    def _add_design_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.text("fpc", "Finite populations (separated by semicolons)"),
            make.boolean("nest", "Names of sampling units start anew in every stratum"),
            make.choice("lonely_psu", "Strata with a single sampling unit"),
            make.choice("missing_design", "Rows without a place in the design"),
            make.text("replicate_weights", "Replicate weights (separated by semicolons)"),
            make.choice("replicate_method", "Replicate weights: method"),
            make.decimal("replicate_scale", "Replicate weights: factor"),
            make.text("replicate_rscales", "Replicate weights: a factor for each (separated by semicolons)"),
            make.yes_no_default("replicate_mse", "Replicate weights: deviations from the full estimate"),
            make.boolean("replicate_combined", "Replicate weights hold the sampling weight"),
            make.decimal("fay_rho", "Replicate weights: Fay's factor"),
            make.text("design_weight", "Calibrated weights: field with the weights before"),
            make.table("totals", "Calibrated weights: table with the totals", _TOTALS_HELP, optional=True),
            make.text("total_field", "Calibrated weights: column with the totals"),
            make.text("auxiliaries", "Calibrated weights: numeric fields (separated by semicolons)"),
            make.choice("calibration_method", "Calibrated weights: method"),
        )

    def _add_estimation_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.text("imputation_field", "Completed tables: field that numbers them"),
            make.text("group_field", "Groups of respondents"),
            make.field("population_field", "Known numbers of units in the areas", "areas", optional=True),
            make.choice("variance_method", "Variances"),
            make.choice("interval", "Intervals of proportions"),
            make.decimal("level", "Coverage of the intervals"),
            make.choice("deff_reference", "Design effects compare with"),
            make.integer("min_df", "Degrees of freedom below which a variance is flagged"),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        self.check_survey_table(parameters, context)
        if "area_field" not in self.named_fields(parameters, context):
            name = "area_field" if parameters.get("TABLE") else "file_area_field"
            raise InputProblem(f"{self.label(name)}: say which field holds the areas of the respondents.")
        means = fields_of(self, parameters, "MEANS", context)
        self.check_table_fields(parameters, context, "means", means)
        if means and not parameters.get("TABLE"):
            raise InputProblem("Means of fields: these are for a layer. Write mean(FIELD) into 'Indicators'.")
        if not means and not self._list(parameters, "indicators", context):
            raise InputProblem("Say what to estimate: write indicators, for example mean(income), or choose fields.")
        for name in (*_ONE, *_MANY):
            plain = [field for field in self._list(parameters, name, context) if "*" not in field]
            self.check_table_fields(parameters, context, name, plain)
        population = field_of(self, parameters, "POPULATION_FIELD", context)
        if population:
            areas = source_of(self, parameters, "AREAS", context)
            check_field(areas, population, self.label("population_field"), numeric=True)
        if not 0.0 < self.parameterAsDouble(parameters, "LEVEL", context) < 1.0:
            raise InputProblem(f"{self.label('level')}: a number between 0 and 1, without 0 and 1, is needed.")
        self._rscales(parameters, context)

    def _list(self, parameters: Parameters, name: str, context: QgsProcessingContext) -> list[str]:
        return parse_list(self.parameterAsString(parameters, key(name), context))

    def _rscales(self, parameters: Parameters, context: QgsProcessingContext) -> list[float]:
        texts = self._list(parameters, "replicate_rscales", context)
        try:
            return [float(text) for text in texts]
        except ValueError:
            raise InputProblem(
                f"{self.label('replicate_rscales')}: numbers with a decimal point, separated by semicolons, are needed."
            ) from None

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        # All attributes of the polygons: they are the covariates of the fit that follows.
        areas = self.areas_job(parameters, context, feedback, folder, None)
        wanted = self._wanted(parameters, context)
        table, names = self.survey_table_job(parameters, context, feedback, folder, wanted)
        means = [f"mean({names[field]})" for field in fields_of(self, parameters, "MEANS", context)]
        written = {name: self._list(parameters, name, context) for name in (*_ONE, *_MANY)}
        fields = {name: [names.get(field, field) for field in found] for name, found in written.items() if found}
        population = field_of(self, parameters, "POPULATION_FIELD", context)
        return {
            **without_private(areas),
            **table,
            **{name: found if name in _MANY else found[0] for name, found in fields.items()},
            **({"population_field": areas["_names"][population]} if population else {}),
            "indicators": [*means, *self._list(parameters, "indicators", context)],
            **self._totals_job(parameters, context, feedback, folder),
            **self._options(parameters, context),
        }

    def _wanted(self, parameters: Parameters, context: QgsProcessingContext) -> list[str] | None:
        """Return the fields of a layer that may be needed: those that are named somewhere, whatever it means there.

        Totals name fields of the survey by their columns.
        """
        if not parameters.get("TABLE"):
            return None
        means = fields_of(self, parameters, "MEANS", context)
        patterns = [text for name in (*_ONE, *_MANY) for text in self._list(parameters, name, context)]
        said = self.parameterAsString(parameters, "INDICATORS", context)
        by_totals: list[str] = []
        if parameters.get("TOTALS"):
            by_totals = source_of(self, parameters, "TOTALS", context).fields().names()
        return [
            field
            for field in source_of(self, parameters, "TABLE", context).fields().names()
            if field in means
            or field in said
            or field in by_totals
            or any(field == pattern or fnmatchcase(field, pattern) for pattern in patterns)
        ]

    def _totals_job(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        if not parameters.get("TOTALS"):
            return {}
        source = source_of(self, parameters, "TOTALS", context)
        # Every column without totals is one of categories; a feature's number is none.
        names = [name for name in source.fields().names() if name.casefold() not in ("fid", "ogc_fid")]
        handover = hand_over(source, folder / "totals.gpkg", names, feedback)
        return {"totals": str(handover.path), "totals_layer": handover.layer}

    def _options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        scale = parameters.get("REPLICATE_SCALE")
        values: dict[str, Any] = {
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsBoolean(parameters, key(name), context) for name in _YES_NO},
            **{name: self.parameterAsDouble(parameters, key(name), context) for name in _DECIMALS},
            "min_df": self.parameterAsInt(parameters, "MIN_DF", context),
            "total_field": self.parameterAsString(parameters, "TOTAL_FIELD", context),
            "replicate_rscales": self._rscales(parameters, context),
            "replicate_mse": yes_no_value(self.parameterAsEnumString(parameters, "REPLICATE_MSE", context)),
            "replicate_scale": None
            if scale is None
            else self.parameterAsDouble(parameters, "REPLICATE_SCALE", context),
        }
        return {name: value for name, value in values.items() if value is not None}

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after the polygons."""
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"Direct estimates of {name}")
