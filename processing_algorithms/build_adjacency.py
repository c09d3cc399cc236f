"""Build adjacency graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .inputs import Parameters, source_of
from .parameters import ParameterMaker
from .result_layers import show_layer

GRAPH_FILES = "Adjacency graphs (*.json)"


class BuildAdjacency(AreasAlgorithm):
    """Build the adjacency graph of the areas."""

    NAME = "buildadjacency"
    TITLE = "Build adjacency graph"
    GROUP = "Areas"
    GROUP_ID = "areas"
    TASK = "build_adjacency"
    TAGS = ("neighbours", "contiguity", "weights", "queen", "rook", "islands")
    SUMMARY = (
        "Finds out which areas are neighbours and draws the links between them. Look at the links before you trust a "
        "spatial model: an area without a neighbour borrows no strength.\n\n"
        "The graph can be saved and given to 'Fit Fay-Herriot model', which otherwise builds it by the same rules."
    )
    LAYER_OUTPUTS = ("edges",)
    FILE_OUTPUTS = ("graph",)
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_EDGES": ("n_edges", "Number of links"),
        "MEAN_NEIGHBOURS": ("mean_neighbours", "Mean number of neighbours"),
        "N_COMPONENTS": ("n_components", "Number of connected components"),
        "N_ISLANDS": ("n_islands", "Areas without a neighbour"),
        "N_LINKS_ADDED": ("n_links_added", "Links added for them"),
    }
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {"FINGERPRINT": ("fingerprint", "Fingerprint of the graph")}

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters."""
        self.add_areas(make)
        self.add(make.choice("contiguity", "Contiguity"), make.choice("islands", "Areas without a neighbour"))
        self.add_advanced(make.boolean("repair", "Repair what can be repaired without guessing"))
        self.add_areas_options(make)
        lines = QgsProcessing.SourceType.TypeVectorLine
        self.add(
            make.layer_output("edges", "Links between neighbours", lines, optional=True),
            make.file_output("graph", "Adjacency graph", GRAPH_FILES),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        self.needs_one_of(parameters, ("EDGES", "GRAPH"), "The graph would not be written anywhere.")

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        return {
            **without_private(self.areas_job(parameters, context, feedback, folder, [])),
            "contiguity": self.parameterAsEnumString(parameters, "CONTIGUITY", context),
            "islands": self.parameterAsEnumString(parameters, "ISLANDS", context),
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the links after the polygons."""
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "EDGES", f"Neighbours in {name}")
