"""Prior certificate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .build_adjacency import GRAPH_FILES
from .inputs import InputProblem, Parameters, absolute_if_file, source_of
from .parameters import ParameterMaker, key
from .result_layers import show_layer
from .train_spatial_prior import PRIOR_FILES

_CHOICES = ("contiguity", "islands")
_INTEGERS = ("draws", "seed")


class PriorCertificate(AreasAlgorithm):
    """Compute the fidelity certificate of a prior on a geography."""

    NAME = "priorcertificate"
    TITLE = "Prior certificate"
    GROUP = "Spatial priors"
    GROUP_ID = "spatialpriors"
    TASK = "verify_prior"
    TAGS = ("prior", "certificate", "fidelity", "neural network", "graph filter", "validation", "learned")
    SUMMARY = (
        "Says how close a learned spatial prior is to the one it imitates, on the map where you want to use it: "
        "variances, correlations with neighbours, covariances, and posteriors of simulated data.\n\n"
        "The result is a layer with the fidelity in each area. It opens as a map of learned over exact variance, where "
        "white is as it should be; a map of the error of the correlation with the neighbours is stored in it and "
        "listed when you right-click the layer (Styles). The report has the figures, the bars and pictures.\n\n"
        "A graph filter can be certified on any map. A network serves the map that it was trained for, and is refused "
        "on another one with the areas that differ. A prior that misses a bar is no error; the log warns."
    )
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "certified")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_FAILURES": ("n_failures", "Bars of the certificate that are missed"),
    }
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {
        "CERTIFICATE": ("certificate", "Certificate: passed or not passed"),
        "ARCHITECTURE": ("architecture", "Architecture of the prior"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters."""
        self.add(make.file("prior", "Prior", f"{PRIOR_FILES};;All files (*)", optional=False))
        self.add_areas(make)
        self.add_advanced(
            make.integer("draws", "Draws for the certificate"),
            make.integer("seed", "Seed"),
            make.folder("library", "Folder of the library"),
            make.file("graph", "Saved adjacency graph", f"{GRAPH_FILES};;All files (*)"),
            make.choice("contiguity", "Contiguity"),
            make.choice("islands", "Areas without a neighbour"),
            make.boolean("repair", "Repair polygons"),
        )
        self.add_areas_options(make)
        self.add(
            make.layer_output("output", "Certificate", QgsProcessing.SourceType.TypeVectorPolygon, optional=True),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(make.file_output("certified", "Certified copy of the prior", PRIOR_FILES))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        if not self.parameterAsFile(parameters, "PRIOR", context).strip():
            raise InputProblem("Prior: choose a prior file, or write the name of one in the library.")
        self.needs_one_of(
            parameters, ("OUTPUT", "REPORT", "CERTIFIED"), "The certificate would not be written anywhere."
        )

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        paths = {
            "graph": absolute_if_file(self.parameterAsFile(parameters, "GRAPH", context)) or None,
            "library": self.parameterAsFile(parameters, "LIBRARY", context) or None,
        }
        return {
            **without_private(self.areas_job(parameters, context, feedback, folder, [])),
            "prior": absolute_if_file(self.parameterAsFile(parameters, "PRIOR", context).strip()),
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in _INTEGERS},
            **{name: path for name, path in paths.items() if path is not None},
        }

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after prior and polygons."""
        prior = Path(self.parameterAsFile(parameters, "PRIOR", context)).stem
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"Certificate of {prior} on {name}")
