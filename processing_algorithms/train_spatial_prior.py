"""Train spatial prior."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .build_adjacency import GRAPH_FILES
from .inputs import InputProblem, Parameters, absolute_if_file
from .parameters import UNSET, ParameterMaker, key

PRIOR_FILES = "Spatial priors (*.safetensors)"
_CHOICES = ("architecture", "family", "contiguity", "islands", "device", "distribution", "cure")
_INTEGERS = ("degree", "terms", "latent", "width", "steps", "draws", "seed")
_DECIMALS = ("lower", "upper", "cut", "beta")
_YES_NO = ("certify", "keep")


class TrainSpatialPrior(AreasAlgorithm):
    """Train a spatial prior for a geography and certify it."""

    NAME = "trainspatialprior"
    TITLE = "Train spatial prior"
    GROUP = "Spatial priors"
    GROUP_ID = "spatialpriors"
    TASK = "train_prior"
    TAGS = ("prior", "neural network", "vae", "decoder", "graph filter", "car", "bym2", "gaussian process", "learned")
    SUMMARY = (
        "Learns how effects that are alike among neighbours look on a map, and keeps that as a file which later models "
        "use as their spatial prior. The polygons are all it needs: no data, since it learns from draws of the prior "
        "that you name.\n\n"
        "A graph filter takes seconds and serves other maps too. The two networks take minutes and serve this map "
        "only. Every prior is then compared with what it imitates, on draws of its own: look at the report before you "
        "use it. A prior that misses a bar says so wherever it is used.\n\n"
        "This runs outside QGIS and can be cancelled at any time; a network with a checkpoint goes on where it stopped."
    )
    FILE_OUTPUTS = ("output", "report", "checkpoint")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_WEIGHTS": ("n_weights", "Number of weights"),
        "N_FAILURES": ("n_failures", "Bars of the certificate that are missed"),
    }
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {
        "CERTIFICATE": ("certificate", "Certificate: passed, not passed, or none"),
        "FINGERPRINT": ("fingerprint", "Fingerprint of the geography"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters."""
        self.add_areas(make)
        self.add(
            make.choice("architecture", "Architecture"),
            make.choice("family", "Prior to imitate"),
            make.decimal("lower", "Lower end of the hyperparameter"),
            make.decimal("upper", "Upper end of the hyperparameter"),
        )
        self.add_advanced(
            make.choice_or_default("distribution", "How training draws the hyperparameter"),
            make.integer("degree", "graph-filter: degree"),
            make.decimal("cut", "graph-filter: cut of the spectrum"),
            make.integer("terms", "decoder: number of matrices"),
            make.integer("latent", "beta-vae: latent variables"),
            make.integer("width", "beta-vae: width of the hidden layers"),
            make.decimal("beta", "beta-vae: weight of the divergence"),
            make.choice_or_default("cure", "beta-vae: cure of the latent variables"),
            make.integer("steps", "Networks: steps at most"),
            make.choice("device", "Networks: where they are trained"),
            make.boolean("certify", "Compute the certificate"),
            make.integer("draws", "Draws for the certificate"),
            make.integer("seed", "Seed"),
            make.boolean("keep", "Keep the prior in the library"),
            make.folder("library", "Folder of the library"),
            make.file("graph", "Saved adjacency graph", f"{GRAPH_FILES};;All files (*)"),
            make.choice("contiguity", "Contiguity"),
            make.choice("islands", "Areas without a neighbour"),
            make.boolean("repair", "Repair polygons"),
        )
        self.add_areas_options(make)
        self.add(
            make.file_output("output", "Prior file", PRIOR_FILES, by_default=True),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(make.file_output("checkpoint", "Checkpoint of the training", "Checkpoints (*.npz)"))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        keep = self.parameterAsBoolean(parameters, "KEEP", context)
        if not keep and not parameters.get("OUTPUT"):
            raise InputProblem("The prior would not be written anywhere: name a prior file, or keep it in the library.")
        if parameters.get("LIBRARY") and not keep:
            raise InputProblem("A folder of the library is named, so switch 'Keep the prior in the library' on too.")
        if parameters.get("REPORT") and not self.parameterAsBoolean(parameters, "CERTIFY", context):
            raise InputProblem("The report shows the certificate: switch that on, or leave the report out.")
        lower, upper = (self._number(parameters, context, name) for name in ("lower", "upper"))
        if lower is not None and upper is not None and not lower < upper:
            raise InputProblem("The lower end of the hyperparameter must be below the upper end.")

    def _number(self, parameters: Parameters, context: QgsProcessingContext, name: str) -> float | int | None:
        """Return a number; QGIS takes one that is not set for zero."""
        if parameters.get(key(name), self.parameterDefinition(key(name)).defaultValue()) in (None, ""):
            return None
        read = self.parameterAsInt if name in _INTEGERS else self.parameterAsDouble
        return read(parameters, key(name), context)

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        choices = {name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES}
        numbers = {name: self._number(parameters, context, name) for name in (*_INTEGERS, *_DECIMALS)}
        paths = {
            "graph": absolute_if_file(self.parameterAsFile(parameters, "GRAPH", context)) or None,
            "library": self.parameterAsFile(parameters, "LIBRARY", context) or None,
        }
        return {
            **without_private(self.areas_job(parameters, context, feedback, folder, [])),
            **{name: choice for name, choice in choices.items() if choice != UNSET},
            **{name: value for name, value in {**numbers, **paths}.items() if value is not None},
            **{name: self.parameterAsBoolean(parameters, key(name), context) for name in _YES_NO},
        }
