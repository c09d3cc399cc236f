"""Fit Fay-Herriot model with trees."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .build_adjacency import GRAPH_FILES
from .inputs import InputProblem, Parameters, absolute_if_file, check_field, field_of, fields_of, source_of
from .parameters import ParameterMaker, key, parse_priors, yes_no_value
from .result_layers import show_layer
from .table_input import TableAlgorithm

_CHOICES = (
    "variance_type",
    "random_effect",
    "contiguity",
    "islands",
    "unmatched",
    "missing_variance",
    "missing_covariates",
)
_INTEGERS = ("trees", "min_leaf", "chains", "warmup", "draws", "seed", "folds")
_DECIMALS = ("moe_level", "level", "leaf_k")
_SHARES = ("moe_level", "level")
_FIELDS = ("direct", "variance", "covariates")


class FitTrees(TableAlgorithm):
    """Fit a Fay-Herriot model with regression trees and map its estimates."""

    NAME = "fittrees"
    TITLE = "Fit Fay-Herriot model with trees"
    GROUP = "Area-level models"
    GROUP_ID = "arealevel"
    TASK = "fit_trees"
    TAGS = ("fay-herriot", "bart", "regression trees", "machine learning", "nonlinear", "car", "leroux", "spatial")
    SUMMARY = (
        "Improves direct survey estimates as 'Fit Fay-Herriot model' does, but lets covariates enter through a sum of "
        "regression trees (area-level BART): steps, curves and interactions are found without being named. Each area "
        "needs a direct estimate and its sampling variance; areas without one get a prediction.\n\n"
        "Trees do not always pay. The linear model with the same area effect is fitted too, and both are scored on "
        "direct estimates that they have not seen. The log and the report give the verdict: where trees do not "
        "predict better, use the linear model, which says what each covariate does.\n\n"
        "The result is a polygon layer with estimate, standard error, coefficient of variation, interval, shrinkage "
        "and a reliability flag, with maps of uncertainty and reliability stored in it (right-click the layer, "
        "Styles). A hundred areas take some seconds, a thousand some minutes; more than four thousand are refused."
    )
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "csv", "excel", "posterior")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_SAMPLED": ("n_sampled", "Areas with a direct estimate"),
        "N_ESTIMATED": ("n_estimated", "Areas with an estimate"),
        "N_DROPPED": ("n_dropped", "Areas and rows left out"),
        "MEDIAN_CV_DIRECT": ("median_cv_direct", "Median CV of the direct estimates"),
        "MEDIAN_CV": ("median_cv", "Median CV of the model estimates"),
        "GAIN": ("elpd_gain", "Log score of trees less that of the linear model"),
        "GAIN_SE": ("elpd_gain_se", "Standard error of that difference"),
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
                "Table with the direct estimates",
                "Layer or table with the direct estimates, one row for each area. Choose the polygon layer itself if "
                "they are among its attributes.",
            ),
            self.table_id_parameter(make),
            make.field("direct", "Direct estimates", "table"),
            make.field("variance", "Sampling variances", "table"),
            make.choice("variance_type", "The variance field holds"),
            make.field("covariates", "Covariates", "table", many=True),
            make.choice("random_effect", "Area random effect"),
        )
        self._add_options(make)
        self.add_areas_options(make)
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            make.layer_output("output", "Estimates", polygons),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(
            make.file_output("csv", "Estimates as a CSV table", "CSV files (*.csv)"),
            make.file_output("excel", "Everything as an Excel workbook", "Excel workbooks (*.xlsx)"),
            make.file_output("posterior", "Posterior draws", "NetCDF files (*.nc)"),
        )

    def _add_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.integer("folds", "Folds of a cross-validation against the linear model"),
            make.integer("trees", "Number of trees"),
            make.integer("min_leaf", "Fewest areas of a leaf"),
            make.decimal("leaf_k", "How tightly trees are held"),
            make.yes_no_default("iid_part", "Independent effect beside the spatial one"),
            make.text("priors", "Priors"),
            make.decimal("level", "Coverage of the intervals"),
            make.text("reliability", "Reliability preset"),
            make.integer("draws", "Posterior draws"),
            make.integer("chains", "Chains"),
            make.integer("warmup", "Warm-up sweeps of each chain"),
            make.integer("seed", "Seed"),
            make.decimal("moe_level", "Confidence level of the margins of error"),
            make.file("graph", "Saved adjacency graph", f"{GRAPH_FILES};;All files (*)"),
            make.choice("contiguity", "Contiguity"),
            make.choice("islands", "Areas without a neighbour"),
            make.choice("unmatched", "Table rows that are not on the map"),
            make.choice("missing_variance", "Direct estimates without a variance"),
            make.choice("missing_covariates", "Areas without a covariate value"),
            make.boolean("repair", "Repair polygons"),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        self._check_fields(parameters, context)
        self.check_join(parameters, context)
        for name in _SHARES:
            if not 0.0 < self.parameterAsDouble(parameters, key(name), context) < 1.0:
                raise InputProblem(f"{self.label(name)}: a number between 0 and 1, without 0 and 1, is needed.")
        if self.parameterAsDouble(parameters, "LEAF_K", context) <= 0.0:
            raise InputProblem(f"{self.label('leaf_k')}: a positive number is needed, for example 2.")
        if self.parameterAsInt(parameters, "FOLDS", context) == 1:
            raise InputProblem(f"{self.label('folds')}: two or more are needed, or 0 for none.")
        iid_part = yes_no_value(self.parameterAsEnumString(parameters, "IID_PART", context))
        if iid_part is False and self.parameterAsEnumString(parameters, "RANDOM_EFFECT", context) == "iid":
            raise InputProblem("An 'iid' random effect is the independent part: leave that at its default.")
        try:
            parse_priors(self.parameterAsString(parameters, "PRIORS", context))
        except ValueError as error:
            raise InputProblem(f"Priors: {error}. Separate several by semicolons.") from error

    def _check_fields(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        table = source_of(self, parameters, "TABLE", context)
        table_id = field_of(self, parameters, "TABLE_ID_FIELD", context)
        if table_id:
            check_field(table, table_id, self.label("table_id_field"))
        chosen: dict[str, str] = {}
        for name in _FIELDS:
            for field in fields_of(self, parameters, key(name), context):
                check_field(table, field, self.label(name), numeric=True)
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
        fields = {name: fields_of(self, parameters, key(name), context) for name in _FIELDS}
        wanted = [field for chosen in fields.values() for field in chosen]
        areas = self.areas_job(parameters, context, feedback, folder, wanted if self.together else [])
        names, table = areas["_names"], {}
        if not self.together:
            table, names = self.table_job(parameters, context, feedback, folder, wanted)
        return {
            **without_private(areas),
            **table,
            "direct": names[fields["direct"][0]],
            "variance": names[fields["variance"][0]],
            "covariates": [names[field] for field in fields["covariates"]],
            **self._options(parameters, context),
        }

    def _options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        values: dict[str, Any] = {
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in _INTEGERS},
            **{name: self.parameterAsDouble(parameters, key(name), context) for name in _DECIMALS},
            "iid_part": yes_no_value(self.parameterAsEnumString(parameters, "IID_PART", context)),
            "priors": parse_priors(self.parameterAsString(parameters, "PRIORS", context)),
            "reliability": absolute_if_file(self.parameterAsString(parameters, "RELIABILITY", context)),
            "graph": absolute_if_file(self.parameterAsFile(parameters, "GRAPH", context)) or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after what was estimated."""
        direct = field_of(self, parameters, "DIRECT", context)
        show_layer(context, outputs, "OUTPUT", f"Estimates of {direct} with trees")
