"""Aggregate surface to areas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsMapLayer, QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .inputs import InputProblem, Parameters, check_field, field_of, hand_over, source_of
from .parameters import ParameterMaker, key, parse_list
from .raster_input import posterior_path, raster_path, raster_paths, thresholds_of
from .result_layers import show_layer, show_more_layers

_OUTPUTS = ("OUTPUT", "CSV", "AREA_DRAWS", "REPORT")
_DIRECT = ("direct_field", "direct_se_field")
_OF_TOTALS = ("totals_id_field", "stratum_field", "total_field")


class AggregateSurface(AreasAlgorithm):
    """Average draws of a surface over areas of several levels."""

    NAME = "aggregatesurface"
    TITLE = "Aggregate surface to areas"
    GROUP = "Surfaces"
    GROUP_ID = "surfaces"
    TASK = "aggregate_surface"
    TAGS = (
        "BART", "BARTSIMP", "population", "zonal statistics", "districts", "regions", "admin", "urban", "rural",
        "strata", "poststratification", "census",
    )  # fmt: skip
    SUMMARY = (
        "Estimates the means of areas from what 'Fit BARTSIMP' has learned, weighted by population. Several layers of "
        "areas, such as districts and regions, get the same draws, so their estimates agree with each other.\n\n"
        "With a raster of strata, such as urban and rural, and a table of how many people live in each stratum of each "
        "area of the first layer, cells are weighted so that strata count as the table has them."
    )
    LAYER_INPUTS = ("AREAS", "TOTALS")
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "csv", "area_draws")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_CELLS": ("n_cells", "Cells with a prediction"),
        "N_AREAS": ("n_areas", "Areas of all levels"),
        "N_ESTIMATED": ("n_estimated", "Areas with an estimate"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add(
            make.file("posterior", "Posterior", "Posteriors (*.npz);;All files (*)", optional=False),
            make.rasters("rasters", "Covariate rasters", optional=False),
        )
        self.add_areas(make)
        self.add(
            make.polygon_layers(
                "more_areas",
                "More polygon layers",
                "Layers of further levels, such as regions beside districts. The same draws serve all levels, so "
                "estimates of nested levels agree.",
            ),
            make.text("more_id_fields", "Their fields with the area ids (separated by semicolons)"),
            make.raster("population", "Population"),
            make.raster("strata_raster", "Strata"),
            make.table(
                "totals",
                "People by area and stratum",
                "Table with how many people live in each stratum of each area of the first layer, a row for each.",
                optional=True,
            ),
        )
        self.add_advanced(
            make.field("totals_id_field", "Totals: field with the area ids", "totals", optional=True),
            make.text("stratum_field", "Totals: field with the stratum"),
            make.text("total_field", "Totals: field with the people"),
            make.choice("total_kind", "The totals are"),
            make.field("direct_field", "Direct estimates", "areas", optional=True),
            make.field("direct_se_field", "Their standard errors", "areas", optional=True),
            make.text("names", "Names of the levels (separated by semicolons)"),
            make.text("population_band", "Band of the population"),
            make.text("strata_band", "Band of the strata"),
            make.text("thresholds", "Thresholds (separated by semicolons)"),
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
            make.layer_output("output", "Estimates of areas", vector, optional=True),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(
            make.file_output("csv", "Estimates as a CSV table", "CSV files (*.csv)"),
            make.file_output("area_draws", "Draws of the areas", "NetCDF files (*.nc)"),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        posterior_path(self, parameters, context)
        raster_paths(self, parameters, "RASTERS", context)
        thresholds_of(self, parameters, context)
        self.needs_one_of(parameters, _OUTPUTS, "Nothing would be written.")
        layers = self._more_layers(parameters, context)
        for name, what in (("MORE_ID_FIELDS", len(layers)), ("NAMES", len(layers) + 1)):
            given = parse_list(self.parameterAsString(parameters, name, context))
            if given and len(given) != what:
                raise InputProblem(f"{name}: {len(given)} are given, and {what} are needed, one for each layer.")
        for layer, field in self._more(parameters, context):
            if field:
                check_field(self._source(layer, context), field, "MORE_ID_FIELDS")
        if bool(parameters.get("STRATA_RASTER")) != bool(parameters.get("TOTALS")):
            raise InputProblem("Strata: the raster and the people by area and stratum belong together.")
        self._check_direct(parameters, context)
        if parameters.get("TOTALS"):
            totals = source_of(self, parameters, "TOTALS", context)
            for name in _OF_TOTALS[1:]:
                check_field(totals, self.parameterAsString(parameters, key(name), context), key(name), numeric=True)
            if not self._totals_id(parameters, context):
                raise InputProblem("TOTALS_ID_FIELD: name the field with the area ids, of the totals and of the areas.")

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        direct = self._direct(parameters, context)
        polygons = self.areas_job(parameters, context, feedback, folder, list(direct.values()))
        job: dict[str, Any] = {
            **polygons,
            **{name: polygons["_names"].get(field, field) for name, field in direct.items()},
            **self._more_job(parameters, context, feedback, folder),
            **self._totals_job(parameters, context, feedback, folder),
            "posterior": posterior_path(self, parameters, context),
            "rasters": raster_paths(self, parameters, "RASTERS", context),
            **{
                name: raster_path(self, parameters, key(name), context) or None
                for name in ("population", "strata_raster")
            },
            **{
                name: self.parameterAsString(parameters, key(name), context) or None
                for name in ("population_band", "strata_band")
            },
            "names": self._names(parameters, context),
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in ("split", "total_kind")},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in ("draws", "seed")},
            "level": self.parameterAsDouble(parameters, "LEVEL", context),
            "thresholds": thresholds_of(self, parameters, context),
        }
        if parameters.get("CELL") is not None:
            job["cell"] = self.parameterAsDouble(parameters, "CELL", context)
        return without_private(job)

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the levels, and load all of them."""
        if outputs.get("OUTPUT"):
            first, *others = self._names(parameters, context)
            show_more_layers(context, outputs, "OUTPUT", {name: f"{name}: estimates" for name in others})
            show_layer(context, outputs, "OUTPUT", f"{first}: estimates")

    def _direct(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, str]:
        """Return the fields with direct estimates and their standard errors that are named."""
        named = {name: field_of(self, parameters, key(name), context) for name in _DIRECT}
        return {name: field for name, field in named.items() if field}

    def _check_direct(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        fields = self._direct(parameters, context)
        for name, field in fields.items():
            check_field(source_of(self, parameters, "AREAS", context), field, key(name), numeric=True)
        if list(fields) == ["direct_se_field"]:
            raise InputProblem("DIRECT_SE_FIELD: name the field with the direct estimates too.")

    def _more_layers(self, parameters: Parameters, context: QgsProcessingContext) -> list[QgsMapLayer]:
        if not parameters.get("MORE_AREAS"):
            return []
        return list(self.parameterAsLayerList(parameters, "MORE_AREAS", context))

    def _more(self, parameters: Parameters, context: QgsProcessingContext) -> list[tuple[QgsMapLayer, str]]:
        """Return the further layers with their id fields, which are empty if none is named."""
        fields = parse_list(self.parameterAsString(parameters, "MORE_ID_FIELDS", context))
        layers = self._more_layers(parameters, context)
        return [(layer, fields[place] if fields else "") for place, layer in enumerate(layers)]

    def _source(self, layer: QgsMapLayer, context: QgsProcessingContext) -> Any:
        """Return a layer as a source, as if it had been chosen as the polygon layer."""
        return source_of(self, {"AREAS": layer}, "AREAS", context)

    def _names(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Return the names of the levels: those given, else of the layers, each once and fit for a file."""
        given = parse_list(self.parameterAsString(parameters, "NAMES", context))
        if given:
            return given
        layers = [layer.name() for layer in self._more_layers(parameters, context)]
        names: list[str] = []
        for wanted in [source_of(self, parameters, "AREAS", context).sourceName(), *layers]:
            name = "".join("_" if sign in "/\\:" else sign for sign in wanted).strip() or "areas"
            while name.casefold() in {one.casefold() for one in names}:
                name += "_"
            names.append(name)
        return names

    def _more_job(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        job: dict[str, list[str]] = {"more_areas": [], "more_layers": [], "more_id_fields": []}
        for number, (layer, field) in enumerate(self._more(parameters, context)):
            path = folder / f"more_{number}.gpkg"
            handover = hand_over(self._source(layer, context), path, [field] if field else [], feedback)
            job["more_areas"].append(str(handover.path))
            job["more_layers"].append(handover.layer)
            job["more_id_fields"] += [handover.names[field]] if field else []
        return job

    def _totals_id(self, parameters: Parameters, context: QgsProcessingContext) -> str:
        own = field_of(self, parameters, "TOTALS_ID_FIELD", context)
        return own or field_of(self, parameters, "ID_FIELD", context)

    def _totals_job(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        if not parameters.get("TOTALS"):
            return {}
        fields = {name: self.parameterAsString(parameters, key(name), context) for name in _OF_TOTALS[1:]}
        fields["totals_id_field"] = self._totals_id(parameters, context)
        source = source_of(self, parameters, "TOTALS", context)
        handover = hand_over(source, folder / "totals.gpkg", list(fields.values()), feedback)
        return {
            "totals": str(handover.path),
            "totals_layer": handover.layer,
            **{name: handover.names.get(field, field) for name, field in fields.items()},
        }
