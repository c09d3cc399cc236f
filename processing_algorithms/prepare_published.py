"""Prepare published estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .inputs import InputProblem, Parameters, check_field, fields_of, source_of
from .parameters import ParameterMaker, key, parse_list
from .result_layers import show_layer
from .table_input import TableAlgorithm

_CHOICES = (
    "error_type",
    "moe_factor",
    "annotations",
    "coded_estimates",
    "zero_estimates",
    "transformation",
    "unmatched",
)
_DECIMALS = ("moe_level", "scale", "multiplier")
_FIELDS = ("estimate", "error", "upper", "n", "n_eff", "denominator")


class PreparePublished(TableAlgorithm):
    """Turn published estimates and their errors into the input of a fit."""

    NAME = "preparepublished"
    TITLE = "Prepare published estimates"
    GROUP = "Survey"
    GROUP_ID = "survey"
    TASK = "prepare_published"
    TAGS = ("margin of error", "MOE", "ACS", "American Community Survey", "census", "standard error", "annotation")
    SUMMARY = (
        "Makes of published estimates with their margins of error (or standard errors, coefficients of variation, "
        "confidence limits) a layer that 'Fit Fay-Herriot model' takes: for each estimate NAME the fields NAME, "
        "variance_NAME, se_NAME, cv_NAME and flag_NAME.\n\n"
        "Annotations of the American Community Survey are recognised. What must not be used as it is (codes such as "
        "-666666666, medians in an open interval, errors of zero) is left empty; flag_NAME and the log say why."
    )
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("csv",)
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_USABLE": ("n_usable", "Areas with every estimate and its variance"),
        "N_FLAGGED": ("n_flagged", "Areas with a flag"),
        "MOE_FACTOR_USED": ("moe_factor", "Standard errors in a margin of error"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self.add(
            make.table(
                "table",
                "Table with the published estimates",
                "A layer or table with a row for each area. Choose the polygon layer itself if the estimates are among "
                "its attributes.",
            ),
            self.table_id_parameter(make),
            make.field("estimate", "Estimates", "table", many=True),
            make.field("error", "Errors, in the same order", "table", many=True, optional=True),
            make.choice("error_type", "The error fields hold"),
            make.decimal("moe_level", "Level of margins of error and limits"),
            make.text("names", "Names of the indicators (separated by semicolons)"),
            make.decimal("scale", "Number that stands for 1 (100 for percentages)"),
            make.choice("transformation", "Also on the scale"),
        )
        self.add_advanced(
            make.field("upper", "Upper confidence limits", "table", many=True, optional=True),
            make.choice("moe_factor", "Standard errors in a margin of error"),
            make.choice("annotations", "Annotations"),
            make.choice("coded_estimates", "Top- and bottom-coded estimates"),
            make.choice("zero_estimates", "Estimates of zero"),
            make.field("n", "Sample sizes", "table", many=True, optional=True),
            make.field("n_eff", "Effective sample sizes", "table", many=True, optional=True),
            make.field("denominator", "Numbers at risk (freeman_tukey)", "table", many=True, optional=True),
            make.decimal("multiplier", "Rates per (freeman_tukey)"),
            make.choice("unmatched", "Table rows that are not on the map"),
            make.boolean("repair", "Repair polygons where needed"),
        )
        self.add_areas_options(make)
        self.add(make.layer_output("output", "Prepared estimates", QgsProcessing.SourceType.TypeVectorPolygon))
        self.add_advanced(make.file_output("csv", "Prepared estimates as a CSV table", "CSV files (*.csv)"))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        if not 0.0 < self.parameterAsDouble(parameters, "MOE_LEVEL", context) < 1.0:
            raise InputProblem(f"{self.label('moe_level')}: a number between 0 and 1, without 0 and 1, is needed.")
        for name in ("scale", "multiplier"):
            if self.parameterAsDouble(parameters, key(name), context) <= 0.0:
                raise InputProblem(f"{self.label(name)}: a number above 0 is needed.")
        source = source_of(self, parameters, "TABLE", context)
        wanted = len(fields_of(self, parameters, "ESTIMATE", context))
        for name in _FIELDS:
            chosen = fields_of(self, parameters, key(name), context)
            for field in chosen:
                check_field(source, field, self.label(name))
            if chosen and len(chosen) != wanted:
                raise InputProblem(
                    f"{self.label(name)}: {len(chosen)} fields are chosen for {wanted} estimates. Choose one for each, "
                    "in the same order."
                )
        self.check_join(parameters, context)

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        chosen = {name: fields_of(self, parameters, key(name), context) for name in _FIELDS}
        wanted = list(dict.fromkeys(field for fields in chosen.values() for field in fields))
        # All attributes of the polygons: they are the covariates of the fit that follows.
        areas = self.areas_job(parameters, context, feedback, folder, None)
        names, table = areas["_names"], {}
        if not self.together:
            table, names = self.table_job(parameters, context, feedback, folder, wanted)
        given = parse_list(self.parameterAsString(parameters, "NAMES", context))
        return {
            **without_private(areas),
            **table,
            **{name: [names[field] for field in fields] for name, fields in chosen.items() if fields},
            # The engine may see other field names than the user.
            "names": given or chosen["estimate"],
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsDouble(parameters, key(name), context) for name in _DECIMALS},
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after the polygons."""
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"Prepared estimates of {name}")
