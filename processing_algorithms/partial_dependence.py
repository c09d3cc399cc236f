"""Partial dependence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .inputs import InputProblem, Parameters, check_geopackage
from .parameters import ParameterMaker, parse_list
from .raster_input import posterior_path, raster_path, raster_paths

_OUTPUTS = ("OUTPUT", "EXCEL", "REPORT")
_WHOLE = ("grid", "cells", "draws", "seed")


class PartialDependence(AreasAlgorithm):
    """Show what trees say of covariates."""

    NAME = "partialdependence"
    TITLE = "Partial dependence"
    GROUP = "Surfaces"
    GROUP_ID = "surfaces"
    TASK = "partial_dependence"
    TAGS = (
        "BART", "BARTSIMP", "covariates", "effects", "ALE", "accumulated local effects", "interactions", "H statistic",
        "variable importance", "explain",
    )  # fmt: skip
    SUMMARY = (
        "Shows what the trees of 'Fit BARTSIMP' say of each covariate, with intervals: the expected outcome if all "
        "clusters had a value of it (partial dependence), and how the outcome changes with it among clusters that are "
        "alike (accumulated local effects, to be preferred where covariates go together). It also says how much each "
        "covariate matters, and which pairs act together.\n\n"
        "The report has a plot for each covariate. With rasters, effects are averaged over their cells, and with a "
        "population over people, in place of the clusters."
    )
    LAYER_INPUTS = ()
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "excel")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_COVARIATES": ("n_covariates", "Covariates"),
        "STRONGEST_SPREAD": ("strongest_spread", "Standard deviation of the strongest effect"),
        "STRONGEST_H": ("strongest_h", "H of the strongest pair"),
    }
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {
        "STRONGEST": ("strongest", "Covariate with the strongest effect"),
        "STRONGEST_PAIR": ("strongest_pair", "Pair with the strongest interaction"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add(
            make.file("posterior", "Posterior", "Posteriors (*.npz);;All files (*)", optional=False),
            make.text("covariates", "Covariates (separated by semicolons)"),
            make.boolean("interactions", "Look at pairs"),
        )
        self.add_advanced(
            make.integer("grid", "Intervals of a curve"),
            make.rasters("rasters", "Covariate rasters, to average over cells"),
            make.raster("population", "Population"),
            make.text("population_band", "Band of the population"),
            make.integer("cells", "Cells at most"),
            make.integer("draws", "Draws"),
            make.integer("seed", "Seed"),
            make.decimal("level", "Coverage of the intervals"),
        )
        self.add(
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
            make.layer_output("output", "Curves", QgsProcessing.SourceType.TypeVector, optional=True, by_default=False),
        )
        self.add_advanced(make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)"))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        posterior_path(self, parameters, context)
        if not raster_paths(self, parameters, "RASTERS", context) and parameters.get("POPULATION"):
            raise InputProblem("Population: it weights cells of rasters. Choose the covariate rasters, or leave it.")
        check_geopackage(parameters.get("OUTPUT"), self.parameterDefinition("OUTPUT").description())
        self.needs_one_of(parameters, _OUTPUTS, "Nothing would be written.")

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        job: dict[str, Any] = {
            "posterior": posterior_path(self, parameters, context),
            "covariates": parse_list(self.parameterAsString(parameters, "COVARIATES", context)),
            "interactions": self.parameterAsBoolean(parameters, "INTERACTIONS", context),
            "rasters": raster_paths(self, parameters, "RASTERS", context),
            "population": raster_path(self, parameters, "POPULATION", context) or None,
            "population_band": self.parameterAsString(parameters, "POPULATION_BAND", context) or None,
            **{name: self.parameterAsInt(parameters, name.upper(), context) for name in _WHOLE},
            "level": self.parameterAsDouble(parameters, "LEVEL", context),
        }
        return without_private(job)
