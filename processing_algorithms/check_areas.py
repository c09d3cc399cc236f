"""Check areas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .inputs import InputProblem, Parameters, source_of
from .parameters import ParameterMaker
from .result_layers import show_layer


class CheckAreas(AreasAlgorithm):
    """Validate polygons and report what would break an adjacency graph."""

    NAME = "checkareas"
    TITLE = "Check areas"
    GROUP = "Areas"
    GROUP_ID = "areas"
    TASK = "check_areas"
    TAGS = ("validate", "polygons", "topology", "gaps", "overlaps", "slivers", "repair")
    SUMMARY = (
        "Says what is wrong with a polygon layer before it is used as areas of a model. It looks for repeated ids, "
        "missing, empty and invalid shapes, slivers, and overlaps and gaps between neighbours.\n\n"
        "Nothing is changed unless a repair is asked for; the repaired polygons then go to a layer of their own, and "
        "the log says what was done."
    )
    LAYER_OUTPUTS = ("output", "repaired")
    FILE_OUTPUTS = ("report",)
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_ERRORS": ("errors", "Findings that have to be mended"),
        "N_WARNINGS": ("warnings", "Findings worth a look"),
        "N_NOTES": ("notes", "Other findings"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters."""
        self.add_areas(make)
        self.add(make.boolean("repair", "Repair what can be repaired without guessing"))
        self.add_advanced(
            make.decimal("min_gap", "Report gaps and overlaps narrower than (metres)"),
            make.decimal("sliver_area", "Report polygons smaller than (square metres)"),
        )
        self.add_areas_options(make)
        kind = QgsProcessing.SourceType.TypeVectorAnyGeometry
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            make.layer_output("output", "Findings", kind, optional=True),
            make.layer_output("repaired", "Repaired polygons", polygons, optional=True, by_default=False),
        )
        self.add(make.file_output("report", "Findings as JSON", "JSON files (*.json)"))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        if parameters.get("REPAIRED") and not self.parameterAsBoolean(parameters, "REPAIR", context):
            raise InputProblem("'Repaired polygons' names an output for repaired polygons, so switch 'Repair' on too.")

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        # The repaired polygons keep all attributes, so these are handed over only then.
        fields = None if parameters.get("REPAIRED") else []
        return {
            **without_private(self.areas_job(parameters, context, feedback, folder, fields)),
            "min_gap": self.parameterAsDouble(parameters, "MIN_GAP", context),
            "sliver_area": self.parameterAsDouble(parameters, "SLIVER_AREA", context),
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layers after the layer that was checked."""
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"Findings in {name}")
        show_layer(context, outputs, "REPAIRED", f"{name}, repaired")
