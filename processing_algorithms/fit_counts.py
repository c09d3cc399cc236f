"""Fit count model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .fit_algorithm import FitAlgorithm
from .fit_fay_herriot import listed
from .inputs import InputProblem, Parameters, fields_of
from .parameters import ParameterMaker, key, parse_list
from .result_layers import show_layer
from .train_spatial_prior import PRIOR_FILES

_FIELDS = ("count", "trials", "exposure", "covariates")


class FitCounts(FitAlgorithm):
    """Fit a model of counts or shares and map its estimates."""

    NAME = "fitcounts"
    TITLE = "Fit count model"
    TASK = "fit_counts"
    TAGS = ("binomial", "poisson", "disease mapping", "rates", "shares", "counts", "car", "bym2", "spatial", "bayes")
    SUMMARY = (
        "Estimates probabilities or rates of all areas from counts: yes answers out of all answers (binomial), or "
        "events with the population at risk (Poisson). Areas borrow strength from covariates and from their "
        "neighbours, so that rates of small areas no longer jump with every single case; areas without a count get a "
        "prediction.\n\n"
        "The result is a polygon layer with estimate, standard error, coefficient of variation, interval and a "
        "reliability flag, with maps of uncertainty and reliability stored in it (right-click the layer, Styles). The "
        "report shows whether the model can be trusted.\n\n"
        "The engine samples by Hamiltonian Monte Carlo and needs its extra 'hmc'. A few hundred areas take a "
        "minute or two, many thousands half an hour."
    )
    CHOICES = (
        "likelihood",
        "random_effect",
        "link",
        "form",
        "contiguity",
        "islands",
        "unmatched",
        "missing_covariates",
    )
    INTEGERS = ("draws", "chains", "warmup", "seed")
    DECIMALS = ("level",)
    BOOLEANS = ("intercept",)
    FILES = ("graph", "spatial_prior")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_SAMPLED": ("n_sampled", "Areas with a count"),
        "N_ESTIMATED": ("n_estimated", "Areas with an estimate"),
        "N_DROPPED": ("n_dropped", "Areas and rows left out"),
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
                "Table with the counts",
                "Layer or table with the counts, one row for each area. Choose the polygon layer itself if they are "
                "among its attributes.",
            ),
            self.table_id_parameter(make),
            make.choice("likelihood", "What the counts are"),
            make.field("count", "Counts", "table", many=True),
            make.field("trials", "Binomial: trials", "table", many=True, optional=True),
            make.field("exposure", "Poisson: exposure", "table", many=True, optional=True),
            make.field("covariates", "Covariates", "table", many=True, optional=True),
            make.choice("random_effect", "Area random effect"),
        )
        self._add_options(make)
        self.add_areas_options(make)
        self.add_estimates(make)

    def _add_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.choice("link", "Several responses: how they hang together"),
            make.text(
                "order",
                "Several responses: order of a chain",
                more_help="Separate the names by semicolons, for example deaths; cases.",
            ),
            make.choice("form", "How the spatial effect is sampled"),
            make.file("spatial_prior", "Learned spatial prior", f"{PRIOR_FILES};;All files (*)"),
            make.yes_no_default("iid_part", "Independent effect beside the spatial one"),
            make.boolean("intercept", "Include an intercept"),
            make.text("priors", "Priors"),
            make.decimal("level", "Coverage of the intervals"),
            make.text("reliability", "Reliability preset"),
            make.integer("draws", "Posterior draws"),
            make.integer("chains", "Chains"),
            make.integer("warmup", "Warm-up steps of each chain"),
            make.integer("seed", "Seed"),
        )
        self.add_map_options(make, variances=False)

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        self._check_counts(parameters, context)
        self.check_join(parameters, context)
        self.check_shares(parameters, context, ("level",))
        self.check_priors(parameters, context)

    def _check_counts(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        self.check_fields(parameters, context, ("table_id_field", *_FIELDS), not_numeric=("table_id_field",))
        binomial = self.parameterAsEnumString(parameters, "LIKELIHOOD", context) == "binomial"
        trials, exposure = (fields_of(self, parameters, name, context) for name in ("TRIALS", "EXPOSURE"))
        if binomial and not trials:
            raise InputProblem("Binomial counts are out of a number of trials: choose their field.")
        if exposure if binomial else trials:
            wrong = self.label("exposure" if binomial else "trials")
            raise InputProblem(f"'{wrong}' does not belong to the chosen kind of counts. Leave it empty.")

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        fields = {name: fields_of(self, parameters, key(name), context) for name in _FIELDS}
        wanted = list(dict.fromkeys(field for chosen in fields.values() for field in chosen))
        areas = self.areas_job(parameters, context, feedback, folder, wanted if self.together else [])
        names, table = areas["_names"], {}
        if not self.together:
            table, names = self.table_job(parameters, context, feedback, folder, wanted)
        order = parse_list(self.parameterAsString(parameters, "ORDER", context))
        return {
            **without_private(areas),
            **table,
            **{name: [names[field] for field in chosen] for name, chosen in fields.items()},
            "order": [names.get(field, field) for field in order],
            **self.options(parameters, context),
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after what was estimated."""
        show_layer(context, outputs, "OUTPUT", f"Estimates of {listed(fields_of(self, parameters, 'COUNT', context))}")
