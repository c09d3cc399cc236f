"""Parameters of clusters whose places were displaced before they were published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingContext,
    QgsProcessingFeedback,
    QgsProcessingParameterDefinition,
)

from .inputs import InputProblem, Parameters, hand_over, source_of
from .parameters import ParameterMaker, key
from .raster_input import raster_path

_DISTANCES = ("urban_distance", "rural_distance", "far_share", "far_distance")
# Without effect unless clusters are displaced; distances have defaults of their own.
_CHOSEN = ("URBAN_FIELD", "STAY_WITHIN", "POPULATION", "POPULATION_BAND", "POSITIONS")


def displaced_parameters(make: ParameterMaker) -> list[QgsProcessingParameterDefinition]:
    """Return the parameters that are rarely needed, the outputs not among them."""
    return [
        make.boolean("displaced", "The places of clusters were displaced (DHS)"),
        make.field("urban_field", "Displaced: urban or rural", "table", optional=True),
        make.polygons("stay_within", "Displaced: polygons that no cluster left", optional=True, own_help=""),
        make.raster("population", "Displaced: population"),
        make.text("population_band", "Displaced: band of the population"),
        make.decimal("urban_distance", "Displaced: farthest urban displacement (m)"),
        make.decimal("rural_distance", "Displaced: farthest rural displacement (m)"),
        make.decimal("far_share", "Displaced: share of rural clusters that go farther"),
        make.decimal("far_distance", "Displaced: how far these go (m)"),
        make.integer("candidates", "Displaced: candidate places of a cluster"),
    ]


def check_displaced(algorithm: QgsProcessingAlgorithm, parameters: Parameters, context: QgsProcessingContext) -> None:
    """Refuse choices that would have no effect.

    Raises
    ------
    InputProblem
        If something is chosen for displaced clusters, and they are not said to be.
    """
    if algorithm.parameterAsBoolean(parameters, "DISPLACED", context):
        if not parameters.get("RASTERS"):
            raise InputProblem("Displaced: covariates are uncertain where they come from rasters. Choose rasters.")
        return
    given = [algorithm.parameterDefinition(name).description() for name in _CHOSEN if parameters.get(name)]
    if given:
        raise InputProblem(f"{', '.join(given)}: say that the places of clusters were displaced, or leave it empty.")


def displaced_job(
    algorithm: QgsProcessingAlgorithm,
    parameters: Parameters,
    context: QgsProcessingContext,
    feedback: QgsProcessingFeedback,
    folder: Path,
) -> dict[str, Any]:
    """Return the job's parameters without the field of the table; empty if nothing is displaced."""
    if not algorithm.parameterAsBoolean(parameters, "DISPLACED", context):
        return {}
    job: dict[str, Any] = {
        "displaced": True,
        "candidates": algorithm.parameterAsInt(parameters, "CANDIDATES", context),
        "population": raster_path(algorithm, parameters, "POPULATION", context) or None,
        "population_band": algorithm.parameterAsString(parameters, "POPULATION_BAND", context) or None,
        **{name: algorithm.parameterAsDouble(parameters, key(name), context) for name in _DISTANCES},
    }
    if parameters.get("STAY_WITHIN"):
        source = source_of(algorithm, parameters, "STAY_WITHIN", context)
        job["stay_within"] = str(hand_over(source, folder / "stay_within.gpkg", [], feedback).path)
    return job
