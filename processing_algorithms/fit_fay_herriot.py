"""Fit Fay-Herriot model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeatureSource, QgsProcessingFeedback

from .areas_input import without_private
from .fit_algorithm import FitAlgorithm
from .inputs import (
    InputProblem,
    Parameters,
    check_field,
    fields_of,
    source_of,
)
from .model_checks import AUTO, ModelChoice, check_model, pairing
from .parameters import ParameterMaker, key, parse_list, yes_no_value
from .result_layers import show_layer
from .train_spatial_prior import PRIOR_FILES

_SHARES = ("moe_level", "level")
_FIELDS = ("direct", "variance", "covariance", "covariates", "n_eff")
# Stands for the variance of a covariate that is known exactly.
_EXACT = "0"
# So many responses are named in the name of the layer.
_MOST_NAMES = 3
_ORDER_HELP = (
    "For several responses the order counts. It is that of the list from top to bottom, and not that of checking: open "
    "the list and drag the checked fields into their order. The log says which field was taken for which."
)


class FitFayHerriot(FitAlgorithm):
    """Fit a Fay-Herriot model and map its estimates."""

    NAME = "fitfayherriot"
    TITLE = "Fit Fay-Herriot model"
    TASK = "fit"
    TAGS = ("fay-herriot", "eblup", "bayes", "car", "leroux", "spatial", "shrinkage", "direct estimate", "cv")
    SUMMARY = (
        "Improves direct survey estimates by borrowing strength from covariates and from neighbouring areas, and says "
        "how sure the result is. Each area needs a direct estimate and its sampling variance; areas without one get a "
        "prediction from the model. Several responses, such as income and rent, can be fitted together: each then "
        "learns from the others.\n\n"
        "The result is a polygon layer with estimate, standard error, coefficient of variation, interval, shrinkage "
        "and a reliability flag. It opens as a map of the estimates; maps of uncertainty and reliability are stored "
        "in it and listed when you right-click the layer (Styles). With several responses the fields end in their "
        "names, and each response has maps of its own. The report shows whether the model can be trusted."
    )
    FILE_OUTPUTS = (*FitAlgorithm.FILE_OUTPUTS, "checkpoint")
    CHOICES = (
        "variance_type",
        "random_effect",
        "link",
        "method",
        "likelihood",
        "form",
        "contiguity",
        "islands",
        "solver",
        "unmatched",
        "missing_variance",
        "missing_covariates",
        "transformation",
        "back_transformation",
        "mse",
    )
    INTEGERS = ("draws", "min_ess", "seed", "workers", "replicates", "chains", "warmup")
    DECIMALS = (*_SHARES, "tuning")
    BOOLEANS = ("intercept",)
    FILES = ("graph", "spatial_prior")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_SAMPLED": ("n_sampled", "Areas with a direct estimate"),
        "N_ESTIMATED": ("n_estimated", "Areas with an estimate"),
        "N_DROPPED": ("n_dropped", "Areas and rows left out"),
        "MEDIAN_CV_DIRECT": ("median_cv_direct", "Median CV of the direct estimates"),
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
                "Table with the direct estimates",
                "Layer or table with the direct estimates, one row for each area. Choose the polygon layer itself if "
                "they are among its attributes.",
            ),
            self.table_id_parameter(make),
            make.field("direct", "Direct estimates", "table", many=True, more_help=_ORDER_HELP),
            make.field("variance", "Sampling variances", "table", many=True),
            make.choice("variance_type", "The variance fields hold"),
            make.field("covariates", "Covariates", "table", many=True, optional=True),
            make.choice("random_effect", "Area random effect"),
            make.choice("method", "Method"),
        )
        self._add_model_options(make)
        self._add_data_options(make)
        self.add_estimates(make)
        self.add_advanced(
            make.file_output("checkpoint", "Checkpoint of a long run", "NumPy archives (*.npz)"),
        )

    def _add_model_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.choice("link", "Several responses: how they hang together"),
            make.text(
                "order",
                "Several responses: order of a chain",
                more_help="Separate the names by semicolons, for example rent; income.",
            ),
            make.field("covariance", "Several responses: sampling covariances", "table", many=True, optional=True),
            make.decimal("sampling_correlation", "Several responses: assumed sampling correlation"),
            make.choice("transformation", "Transformation of the direct estimates"),
            make.choice("back_transformation", "Transformation: way back"),
            make.field("n_eff", "Transformation arcsin: effective sample sizes", "table", many=True, optional=True),
            make.text(
                "covariate_variance",
                "Method ybarra_lohr: sampling variances of the covariates",
                more_help="Separate the fields by semicolons, for example poverty_var; 0.",
            ),
            make.file("spatial_prior", "Method hmc: learned spatial prior", f"{PRIOR_FILES};;All files (*)"),
            make.choice("form", "Method hmc: how the spatial effect is sampled"),
            make.choice("likelihood", "Method hmc: likelihood"),
            make.integer("chains", "Method hmc: chains"),
            make.integer("warmup", "Method hmc: warm-up steps of each chain"),
            make.decimal("tuning", "Method robust: where influence is bounded"),
            make.choice("mse", "Methods robust and effect sar: mean squared errors"),
            make.integer("replicates", "Bootstrap replicates"),
            make.decimal("level", "Coverage of the intervals"),
            make.text("reliability", "Reliability preset"),
            make.boolean("intercept", "Include an intercept"),
            make.yes_no_default("iid_part", "Independent effect beside the spatial one"),
            make.text("priors", "Priors"),
            make.integer("draws", "Posterior draws"),
            make.integer("min_ess", "Effective sample size to reach"),
            make.integer("seed", "Seed"),
            make.choice("solver", "Linear algebra"),
            make.integer("workers", "Threads (0: what pays)"),
        )

    def _add_data_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.decimal("moe_level", "Confidence level of the margins of error"),
        )
        self.add_map_options(make)
        self.add_areas_options(make)

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        table = source_of(self, parameters, "TABLE", context)
        self._check_numbers(parameters, context, table)
        self.check_join(parameters, context)
        self.check_shares(parameters, context, _SHARES)
        self._check_model(parameters, context)

    def _check_numbers(
        self, parameters: Parameters, context: QgsProcessingContext, table: QgsProcessingFeatureSource
    ) -> None:
        self.check_fields(parameters, context, ("table_id_field", *_FIELDS), not_numeric=("table_id_field",))
        for field in parse_list(self.parameterAsString(parameters, "COVARIATE_VARIANCE", context)):
            if field != _EXACT:
                check_field(table, field, self.label("covariate_variance"), numeric=True)
        if self.parameterAsDouble(parameters, "TUNING", context) <= 0.0:
            raise InputProblem(f"{self.label('tuning')}: a positive number is needed, for example 1.345.")

    def _check_model(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        self.check_priors(parameters, context)
        direct, variance, covariance = (
            fields_of(self, parameters, key(name), context) for name in ("direct", "variance", "covariance")
        )
        check_model(
            ModelChoice(
                direct,
                variance,
                covariance,
                self._correlation(parameters, context),
                self.parameterAsEnumString(parameters, "RANDOM_EFFECT", context),
                self.parameterAsEnumString(parameters, "LINK", context),
                parse_list(self.parameterAsString(parameters, "ORDER", context)),
                self.parameterAsEnumString(parameters, "METHOD", context),
                yes_no_value(self.parameterAsEnumString(parameters, "IID_PART", context)),
                bool(parameters.get("POSTERIOR")),
            )
        )

    def _correlation(self, parameters: Parameters, context: QgsProcessingContext) -> float | None:
        """Return the assumed sampling correlation; QGIS takes a number that is not set for zero."""
        unset = parameters.get("SAMPLING_CORRELATION") in (None, "")
        return None if unset else self.parameterAsDouble(parameters, "SAMPLING_CORRELATION", context)

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        fields = {name: fields_of(self, parameters, key(name), context) for name in _FIELDS}
        errors = parse_list(self.parameterAsString(parameters, "COVARIATE_VARIANCE", context))
        wanted = [field for chosen in (*fields.values(), errors) for field in chosen if field != _EXACT]
        areas = self.areas_job(parameters, context, feedback, folder, wanted if self.together else [])
        names, table = areas["_names"], {}
        if not self.together:
            table, names = self.table_job(parameters, context, feedback, folder, wanted)
        if len(fields["direct"]) > 1:
            feedback.pushInfo(pairing(fields["direct"], fields["variance"], fields["covariance"]))
        order = parse_list(self.parameterAsString(parameters, "ORDER", context))
        return {
            **without_private(areas),
            **table,
            **{name: [names[field] for field in chosen] for name, chosen in fields.items()},
            "order": order if order == AUTO else [names[field] for field in order],
            "covariate_variance": [names.get(field, field) for field in errors],
            **self.options(parameters, context),
        }

    def options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        """Return the values that are handed over as they are, without those that are not set."""
        correlation = self._correlation(parameters, context)
        found = super().options(parameters, context)
        return found if correlation is None else {**found, "sampling_correlation": correlation}

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after what was estimated."""
        direct = fields_of(self, parameters, "DIRECT", context)
        show_layer(context, outputs, "OUTPUT", f"Estimates of {listed(direct)}")


def listed(names: list[str]) -> str:
    """Return names as they stand in a title: the first few, and how many more there are."""
    if len(names) > _MOST_NAMES:
        return f"{', '.join(names[:_MOST_NAMES])} and {len(names) - _MOST_NAMES} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
