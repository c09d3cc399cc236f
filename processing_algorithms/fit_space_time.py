"""Fit space-time model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .fit_algorithm import FitAlgorithm
from .inputs import InputProblem, Parameters, field_of, fields_of
from .parameters import UNSET, ParameterMaker, key, parse_list
from .result_layers import show_layer
from .train_spatial_prior import PRIOR_FILES

_NAMES = ("table_id_field", "time")
_NUMERIC = ("direct", "variance", "covariates")


class FitSpaceTime(FitAlgorithm):
    """Fit a space-time Fay-Herriot model and map its estimates in time."""

    NAME = "fitspacetime"
    TITLE = "Fit space-time model"
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
    CHOICES = (
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
    INTEGERS = ("draws", "min_ess", "seed", "workers", "replicates", "chains", "warmup")
    DECIMALS = ("moe_level", "level")
    BOOLEANS = ("intercept",)
    FILES = ("graph", "spatial_prior")
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
        self.add_estimates(make, "Estimates in time", report=False)

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
        )
        self.add_map_options(make, period=" and periods")

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        if self.is_together(parameters, context):
            raise InputProblem(
                "The long table has one row for each area and period, so it cannot be the polygon layer, which has one "
                "polygon for each area. Choose the table."
            )
        self.check_join(parameters, context)
        self.check_fields(parameters, context, (*_NAMES, *_NUMERIC), not_numeric=_NAMES)
        self.check_shares(parameters, context, self.DECIMALS)
        self.check_priors(parameters, context)

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
            **self.options(parameters, context),
        }

    def options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        """Return the values that are handed over as they are, without those that are not set."""
        method = self.parameterAsEnumString(parameters, "METHOD", context)
        return {
            **super().options(parameters, context),
            **({} if method == UNSET else {"method": method}),
            "periods": parse_list(self.parameterAsString(parameters, "PERIODS", context)),
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after what was estimated."""
        direct = field_of(self, parameters, "DIRECT", context)
        show_layer(context, outputs, "OUTPUT", f"Estimates of {direct} in time")
