"""Fit space-time model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .build_adjacency import GRAPH_FILES
from .inputs import InputProblem, Parameters, absolute_if_file, check_field, field_of, fields_of, source_of
from .parameters import UNSET, ParameterMaker, key, parse_list, parse_priors, yes_no_value
from .result_layers import show_layer
from .table_input import TableAlgorithm
from .train_spatial_prior import PRIOR_FILES

_CHOICES = (
    "model",
    "variance_type",
    "gaps",
    "form",
    "contiguity",
    "islands",
    "solver",
    "unmatched",
    "missing_variance",
    "missing_covariates",
)
_INTEGERS = ("draws", "min_ess", "seed", "workers", "replicates", "chains", "warmup")
_DECIMALS = ("moe_level", "level")
_NUMERIC = ("direct", "variance", "covariates")


class FitSpaceTime(TableAlgorithm):
    """Fit a space-time Fay-Herriot model and map its estimates in time."""

    NAME = "fitspacetime"
    TITLE = "Fit space-time model"
    GROUP = "Area-level models"
    GROUP_ID = "arealevel"
    TASK = "fit_space_time"
    TAGS = ("fay-herriot", "time series", "panel", "temporal", "ar1", "car", "bayes", "eblup", "forecast")
    SUMMARY = (
        "Improves direct survey estimates of several periods at once: areas borrow strength from covariates, from "
        "their neighbours and from their own past and future. The table is long, with one row for each area and "
        "period; areas, periods and single cells without a row are predicted.\n\n"
        "The result is a polygon layer with one feature for each area and period and a field 'time'. Layer Properties "
        "> Temporal shows it as a film: dates are taken as they are, whole years by an expression such as "
        'make_date("time", 1, 1).'
    )
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "csv", "excel", "posterior")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_PERIODS": ("n_periods", "Number of periods"),
        "N_SAMPLED": ("n_sampled", "Direct estimates"),
        "N_ESTIMATED": ("n_estimated", "Areas and periods with an estimate"),
        "N_DROPPED": ("n_dropped", "Rows and cells left out"),
        "MEDIAN_CV": ("median_cv", "Median CV of the model estimates"),
        "ESS_MIN": ("ess_min", "Smallest effective sample size"),
        "SECONDS": ("seconds", "Seconds that the engine took"),
    }
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {"FORMULA": ("formula", "Model")}

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self.add(
            make.table(
                "table",
                "Long table with the direct estimates",
                "Layer or table with the direct estimates, one row for each area and period.",
            ),
            self.table_id_parameter(make),
            make.field("time", "Period", "table"),
            make.field("direct", "Direct estimates", "table"),
            make.field("variance", "Sampling variances", "table"),
            make.choice("variance_type", "The variance field holds"),
            make.field("covariates", "Covariates", "table", many=True, optional=True),
            make.choice("model", "Model"),
        )
        self._add_options(make)
        self.add_areas_options(make)
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            make.layer_output("output", "Estimates in time", polygons),
            make.file_output("report", "Report", "HTML files (*.html)"),
        )
        self.add_advanced(
            make.file_output("csv", "Estimates as a CSV table", "CSV files (*.csv)"),
            make.file_output("excel", "Everything as an Excel workbook", "Excel workbooks (*.xlsx)"),
            make.file_output("posterior", "Posterior draws", "NetCDF files (*.nc)"),
        )

    def _add_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.text("periods", "All periods in their order (separated by semicolons)"),
            make.choice("gaps", "Periods that the numbers or dates leave out"),
            make.choice_or_default("method", "Method"),
            make.file("spatial_prior", "Method hmc: learned spatial prior", f"{PRIOR_FILES};;All files (*)"),
            make.choice("form", "Method hmc: how the spatial effect is sampled"),
            make.integer("chains", "Method hmc: chains"),
            make.integer("warmup", "Method hmc: warm-up steps of each chain"),
            make.yes_no_default("iid_part", "Independent effect beside the others"),
            make.boolean("intercept", "Include an intercept"),
            make.text("priors", "Priors"),
            make.integer("replicates", "Replicates of the bootstrap"),
            make.decimal("level", "Coverage of the intervals"),
            make.text("reliability", "Reliability preset"),
            make.integer("draws", "Posterior draws"),
            make.integer("min_ess", "Effective sample size to reach"),
            make.integer("seed", "Seed"),
            make.choice("solver", "Linear algebra"),
            make.integer("workers", "Threads (0: all)"),
            make.decimal("moe_level", "Confidence level of the margins of error"),
            make.file("graph", "Saved adjacency graph", f"{GRAPH_FILES};;All files (*)"),
            make.choice("contiguity", "Contiguity"),
            make.choice("islands", "Areas without a neighbour"),
            make.choice("unmatched", "Table rows that are not on the map or in no listed period"),
            make.choice("missing_variance", "Direct estimates without a variance"),
            make.choice("missing_covariates", "Areas and periods without a covariate value"),
            make.boolean("repair", "Repair polygons"),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        if self.is_together(parameters, context):
            raise InputProblem(
                "The long table has one row for each area and period, so it cannot be the polygon layer, which has one "
                "polygon for each area. Choose the table."
            )
        self.check_join(parameters, context)
        self._check_fields(parameters, context)
        for name in _DECIMALS:
            if not 0.0 < self.parameterAsDouble(parameters, key(name), context) < 1.0:
                raise InputProblem(f"{self.label(name)}: a number between 0 and 1, without 0 and 1, is needed.")
        try:
            parse_priors(self.parameterAsString(parameters, "PRIORS", context))
        except ValueError as error:
            raise InputProblem(f"Priors: {error}. Separate several by semicolons.") from error

    def _check_fields(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        table = source_of(self, parameters, "TABLE", context)
        chosen: dict[str, str] = {}
        for name in ("table_id_field", "time", *_NUMERIC):
            for field in fields_of(self, parameters, key(name), context):
                check_field(table, field, self.label(name), numeric=name in _NUMERIC)
                if field in chosen:
                    raise InputProblem(
                        f"The field '{field}' is chosen for '{chosen[field]}' and for '{self.label(name)}'. "
                        "Choose another field for one of them."
                    )
                chosen[field] = self.label(name)

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        wanted = [
            field
            for name in ("TIME", "DIRECT", "VARIANCE", "COVARIATES")
            for field in fields_of(self, parameters, name, context)
        ]
        areas = self.areas_job(parameters, context, feedback, folder, [])
        table, names = self.table_job(parameters, context, feedback, folder, wanted)
        return {
            **without_private(areas),
            **table,
            **{name: names[field_of(self, parameters, key(name), context)] for name in ("time", "direct", "variance")},
            "covariates": [names[field] for field in fields_of(self, parameters, "COVARIATES", context)],
            **self._options(parameters, context),
        }

    def _options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        method = self.parameterAsEnumString(parameters, "METHOD", context)
        values: dict[str, Any] = {
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in _INTEGERS},
            **{name: self.parameterAsDouble(parameters, key(name), context) for name in _DECIMALS},
            "method": None if method == UNSET else method,
            "periods": parse_list(self.parameterAsString(parameters, "PERIODS", context)),
            "intercept": self.parameterAsBoolean(parameters, "INTERCEPT", context),
            "iid_part": yes_no_value(self.parameterAsEnumString(parameters, "IID_PART", context)),
            "priors": parse_priors(self.parameterAsString(parameters, "PRIORS", context)),
            "reliability": absolute_if_file(self.parameterAsString(parameters, "RELIABILITY", context)),
            **{
                name: absolute_if_file(self.parameterAsFile(parameters, key(name), context)) or None
                for name in ("graph", "spatial_prior")
            },
        }
        return {name: value for name, value in values.items() if value is not None}

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after what was estimated."""
        direct = field_of(self, parameters, "DIRECT", context)
        show_layer(context, outputs, "OUTPUT", f"Estimates of {direct} in time")
