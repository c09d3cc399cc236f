"""Smooth sampling variances."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .inputs import InputProblem, Parameters, check_field, field_of, fields_of, source_of
from .parameters import ParameterMaker, key
from .result_layers import show_layer
from .table_input import TableAlgorithm

_CHOICES = ("method", "estimate_term", "bias_correction", "unmatched")
_FIELDS = ("direct", "variance", "covariance", "n", "df", "covariates")


class SmoothVariances(TableAlgorithm):
    """Smooth sampling variances by a generalised variance function."""

    NAME = "smoothvariances"
    TITLE = "Smooth sampling variances"
    GROUP = "Survey"
    GROUP_ID = "survey"
    TASK = "smooth_variances"
    TAGS = ("generalised variance function", "GVF", "variance", "design effect", "effective sample size")
    SUMMARY = (
        "Sampling variances that are estimated from a few cases are noisy, and a model takes them for known. This "
        "makes of them what they would be on average in areas with such a sample: for each response NAME the fields "
        "variance_smoothed_NAME and se_smoothed_NAME, which 'Fit Fay-Herriot model' takes as they are.\n\n"
        "Areas with an estimate but without a usable variance (missing, zero, from one observation) get the "
        "function's; flag_NAME and the log say so. Look at the report before you use the result."
    )
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "csv")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_USED": ("n_used", "Raw variances that went in"),
        "N_SMOOTHED": ("n_smoothed", "Areas with a smoothed variance"),
        "N_REPLACED": ("n_replaced", "Areas without a usable raw variance that have one now"),
        "N_OUTLIERS": ("n_outliers", "Raw variances far from the function"),
        "R_SQUARED": ("r_squared", "Share of the variation explained"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self.add(
            make.table(
                "table",
                "Table with the direct estimates",
                "Layer or table with the direct estimates, one row for each area. Choose the polygon layer itself if "
                "they are among its attributes.",
            ),
            self.table_id_parameter(make),
            make.field("direct", "Direct estimates", "table", many=True),
            make.field("variance", "Raw sampling variances", "table", many=True),
            make.field("n", "Sample sizes", "table", many=True, optional=True),
            make.field("df", "Degrees of freedom or numbers of PSUs", "table", many=True, optional=True),
            make.choice("method", "Variance function"),
            make.choice("estimate_term", "Variances depend on the estimate"),
        )
        self.add_advanced(
            make.field("covariance", "Sampling covariances", "table", many=True, optional=True),
            make.field("covariates", "Covariates of the variances", "table", many=True, optional=True),
            make.field("group_field", "Groups", "table", optional=True),
            make.choice("bias_correction", "Bias correction (log_linear)"),
            make.boolean("combine", "Combine raw and smoothed variances"),
            make.decimal("min_df", "Warn below so many degrees of freedom"),
            make.choice("unmatched", "Table rows that are not on the map"),
            make.boolean("repair", "Repair polygons where needed"),
        )
        self.add_areas_options(make)
        self.add(
            make.layer_output("output", "Smoothed variances", QgsProcessing.SourceType.TypeVectorPolygon),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(make.file_output("csv", "Smoothed variances as a CSV table", "CSV files (*.csv)"))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        source = source_of(self, parameters, "TABLE", context)
        chosen = {name: fields_of(self, parameters, key(name), context) for name in _FIELDS}
        for name, fields in chosen.items():
            for field in fields:
                check_field(source, field, self.label(name), numeric=True)
        wanted = len(chosen["direct"])
        for name, allowed in (("variance", {wanted}), ("n", {0, 1, wanted}), ("df", {0, 1, wanted})):
            if len(chosen[name]) not in allowed:
                raise InputProblem(
                    f"{self.label(name)}: {len(chosen[name])} fields are chosen for {wanted} direct estimates. Choose "
                    "one for each, in the same order."
                )
        group = field_of(self, parameters, "GROUP_FIELD", context)
        if group:
            check_field(source, group, self.label("group_field"))
        if self.parameterAsDouble(parameters, "MIN_DF", context) < 0.0:
            raise InputProblem(f"{self.label('min_df')}: a number of 0 or more is needed.")
        self.check_join(parameters, context)

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        chosen = {name: fields_of(self, parameters, key(name), context) for name in _FIELDS}
        group = field_of(self, parameters, "GROUP_FIELD", context)
        areas = self.areas_job(parameters, context, feedback, folder, None)
        names, table = areas["_names"], {}
        if not self.together:
            # The whole table: its other fields are in the result too.
            source = source_of(self, parameters, "TABLE", context)
            table, names = self.table_job(parameters, context, feedback, folder, source.fields().names())
        return {
            **without_private(areas),
            **table,
            **{name: [names[field] for field in fields] for name, fields in chosen.items() if fields},
            **({"group_field": names[group]} if group else {}),
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            "combine": self.parameterAsBoolean(parameters, "COMBINE", context),
            "min_df": self.parameterAsDouble(parameters, "MIN_DF", context),
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after the polygons."""
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"Smoothed variances of {name}")
