"""What the algorithms that take a polygon layer have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .base import EngineAlgorithm
from .inputs import (
    InputProblem,
    Parameters,
    check_field,
    check_geopackage,
    check_outputs_apart,
    field_of,
    hand_over,
    outcome,
    source_of,
)
from .parameters import ParameterMaker, key

# Columns that every GeoPackage of the engine has.
_TAKEN_BY_RESULTS = ("fid", "geom")


class AreasAlgorithm(EngineAlgorithm):
    """An algorithm over a polygon layer with an id field, the same everywhere."""

    # Job parameters that are files to write: those that Processing loads as layers, and the others.
    LAYER_OUTPUTS: tuple[str, ...] = ()
    FILE_OUTPUTS: tuple[str, ...] = ()
    # Processing names of the inputs that are layers.
    LAYER_INPUTS: tuple[str, ...] = ("AREAS",)

    def add_areas(self, make: ParameterMaker) -> None:
        """Declare the polygon layer and its id field."""
        self.add(
            make.polygons("areas", "Polygon layer"),
            make.field("id_field", "Field with the area ids", "areas", optional=True),
        )

    def add_areas_options(self, make: ParameterMaker) -> None:
        """Declare what is rarely needed, at the end."""
        self.add_advanced(make.crs("crs", "Reference system if the layer has none"))

    def areas_job(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
        folder: Path,
        fields: list[str] | None,
    ) -> dict[str, Any]:
        """Hand the polygons over and return the job's parameters that speak of them.

        Parameters
        ----------
        parameters, context, feedback
            Of the run.
        folder : pathlib.Path
            The job's folder.
        fields : list of str or None
            Fields that are needed beside the id; None for all.

        Returns
        -------
        dict
            With ``_names``, the fields' names as the engine sees them.
        """
        id_field = field_of(self, parameters, "ID_FIELD", context)
        wanted = None if fields is None else list(dict.fromkeys([*filter(None, [id_field]), *fields]))
        source = source_of(self, parameters, "AREAS", context)
        handover = hand_over(source, folder / "areas.gpkg", wanted, feedback)
        if id_field.casefold() in _TAKEN_BY_RESULTS:
            feedback.pushInfo(
                f"The field '{id_field}' is called '{id_field}_' in the result: a GeoPackage has its own."
            )
        crs = self.parameterAsCrs(parameters, "CRS", context)
        return {
            "areas": str(handover.path),
            "layer": handover.layer,
            "id_field": handover.names.get(id_field),
            "crs": (crs.authid() or crs.toWkt()) if crs.isValid() else None,
            "repair": self.parameterAsBoolean(parameters, "REPAIR", context),
            "_names": handover.names,
        }

    def destinations(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, str]:
        """Return the files that are asked for, by Processing name."""
        layers = {key(n): self.parameterAsOutputLayer(parameters, key(n), context) for n in self.LAYER_OUTPUTS}
        files = {key(n): self.parameterAsFileOutput(parameters, key(n), context) for n in self.FILE_OUTPUTS}
        return {name: path for name, path in {**layers, **files}.items() if path}

    def checkParameterValues(self, parameters: Parameters, context: QgsProcessingContext) -> tuple[bool, str]:
        """Find out before the run what the engine would only say after it has read everything."""
        ok, message = super().checkParameterValues(parameters, context)
        if not ok:
            return ok, message
        return outcome(lambda: self.check(parameters, context))

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values; subclasses add to it.

        Raises
        ------
        InputProblem
            If one cannot be used.
        """
        source = source_of(self, parameters, "AREAS", context)
        id_field = field_of(self, parameters, "ID_FIELD", context)
        if id_field:
            check_field(source, id_field, "Field with the area ids")
        outputs = [key(name) for name in (*self.LAYER_OUTPUTS, *self.FILE_OUTPUTS)]
        check_outputs_apart(self, parameters, context, self.LAYER_INPUTS, outputs)
        for name in self.LAYER_OUTPUTS:
            check_geopackage(parameters.get(key(name)), self.parameterDefinition(key(name)).description())

    def needs_one_of(self, parameters: Parameters, names: tuple[str, ...], why: str) -> None:
        """Refuse a run that would leave nothing behind.

        Raises
        ------
        InputProblem
            If none of the outputs is asked for.
        """
        if not any(parameters.get(name) for name in names):
            raise InputProblem(f"{why} Ask for at least one of {', '.join(names)}.")


def without_private(job: dict[str, Any]) -> dict[str, Any]:
    """Return the job's parameters without what only the plugin needs, and without what is not set."""
    return {name: value for name, value in job.items() if not name.startswith("_") and value is not None}
