"""Predict surface."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .inputs import InputProblem, Parameters, check_geopackage, source_of
from .parameters import ParameterMaker
from .raster_input import posterior_path, raster_path, raster_paths, thresholds_of
from .result_layers import show_layer
from .surface_styles import show_surface

_OUTPUTS = ("SURFACE", "OUTPUT", "CSV", "AREA_DRAWS", "REPORT")


class PredictSurface(AreasAlgorithm):
    """Predict a surface and the means of areas."""

    NAME = "predictsurface"
    TITLE = "Predict surface"
    GROUP = "Surfaces"
    GROUP_ID = "surfaces"
    TASK = "predict_surface"
    TAGS = (
        "BART",
        "BARTSIMP",
        "raster",
        "map",
        "prediction",
        "population",
        "aggregate",
        "exceedance",
        "zonal statistics",
    )
    SUMMARY = (
        "Predicts a surface from what 'Fit BARTSIMP' has learned: a raster with mean, standard deviation, quantiles "
        "and the probability of exceeding thresholds. With polygons it also estimates their means, weighted by "
        "population, from each draw of the surface, so that their intervals are right.\n\n"
        "The rasters must have the bands that the model was fitted with, of the same names."
    )
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "csv", "area_draws")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_CELLS": ("n_cells", "Cells with a prediction"),
        "N_AREAS": ("n_areas", "Areas"),
        "N_ESTIMATED": ("n_estimated", "Areas with an estimate"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add(
            make.file("posterior", "Posterior", "Posteriors (*.npz);;All files (*)", optional=False),
            make.rasters("rasters", "Covariate rasters", optional=False),
            make.polygons("areas", "Polygon layer", optional=True),
            make.field("id_field", "Field with the area ids", "areas", optional=True),
            make.raster("population", "Population"),
            make.text("thresholds", "Thresholds (separated by semicolons)"),
        )
        self.add_advanced(
            make.text("population_band", "Band of the population"),
            make.decimal("cell", "Side of the cells"),
            make.choice("split", "Cells on a border"),
            make.integer("draws", "Draws"),
            make.integer("seed", "Seed"),
            make.decimal("level", "Coverage of the intervals"),
            make.boolean("repair", "Repair polygons"),
        )
        self.add_areas_options(make)
        vector = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            make.raster_output("surface", "Surface"),
            make.layer_output("output", "Estimates of areas", vector, optional=True, by_default=False),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(
            make.file_output("csv", "Estimates as a CSV table", "CSV files (*.csv)"),
            make.file_output("area_draws", "Draws of the areas", "NetCDF files (*.nc)"),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        posterior_path(self, parameters, context)
        raster_paths(self, parameters, "RASTERS", context)
        thresholds_of(self, parameters, context)
        self.needs_one_of(parameters, _OUTPUTS, "Nothing would be written.")
        if parameters.get("AREAS"):
            super().check(parameters, context)
            return
        given = [name for name in ("OUTPUT", "CSV", "AREA_DRAWS", "POPULATION") if parameters.get(name)]
        if given:
            raise InputProblem(f"{', '.join(given)}: this is about areas. Choose a polygon layer, or leave it empty.")
        check_geopackage(parameters.get("OUTPUT"), self.parameterDefinition("OUTPUT").description())

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        areas = self.areas_job(parameters, context, feedback, folder, []) if parameters.get("AREAS") else {}
        job: dict[str, Any] = {
            **areas,
            "posterior": posterior_path(self, parameters, context),
            "rasters": raster_paths(self, parameters, "RASTERS", context),
            "population": raster_path(self, parameters, "POPULATION", context) or None,
            "population_band": self.parameterAsString(parameters, "POPULATION_BAND", context) or None,
            "split": self.parameterAsEnumString(parameters, "SPLIT", context),
            "draws": self.parameterAsInt(parameters, "DRAWS", context),
            "seed": self.parameterAsInt(parameters, "SEED", context),
            "level": self.parameterAsDouble(parameters, "LEVEL", context),
            "thresholds": thresholds_of(self, parameters, context),
        }
        if parameters.get("CELL") is not None:
            job["cell"] = self.parameterAsDouble(parameters, "CELL", context)
        return without_private(job)

    def destinations(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, str]:
        """Return the files that are asked for, the raster among them."""
        found = super().destinations(parameters, context)
        surface = self.parameterAsOutputLayer(parameters, "SURFACE", context)
        return {**found, "SURFACE": surface} if surface else found

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the areas after the polygons, and give the surface its colours."""
        show_surface(context, outputs, "SURFACE")
        if outputs.get("OUTPUT"):
            name = source_of(self, parameters, "AREAS", context).sourceName()
            show_layer(context, outputs, "OUTPUT", f"{name}: estimates")
