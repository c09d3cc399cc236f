"""What the algorithms that take a table beside the polygons have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm
from .inputs import InputProblem, Parameters, check_field, field_of, hand_over, same_source, source_of
from .parameters import ParameterMaker, key


class TableAlgorithm(AreasAlgorithm):
    """An algorithm over polygons and a table, which may be the polygon layer itself."""

    LAYER_INPUTS = ("AREAS", "TABLE")
    # Whether what is read from the table is among the polygons' own attributes.
    together = False

    def table_id_parameter(self, make: ParameterMaker) -> Any:
        """Return the parameter for the table's id field."""
        return make.field(
            "table_id_field",
            "Field of the table with the area ids",
            "table",
            optional=True,
            own_help="Needed only if the table is another layer and the field has another name there.",
        )

    def prepareAlgorithm(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback
    ) -> bool:
        """Compare the layers while still in their own thread."""
        self.together = self.is_together(parameters, context)
        return super().prepareAlgorithm(parameters, context, feedback)

    def is_together(self, parameters: Parameters, context: QgsProcessingContext) -> bool:
        """Say whether the table is the polygon layer itself, or not named at all."""
        return not parameters.get("TABLE") or same_source(self, parameters, "AREAS", "TABLE", context)

    def check_join(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check that a table of its own can be joined.

        Raises
        ------
        InputProblem
            If there is no field with the area ids.
        """
        if not self.is_together(parameters, context) and not field_of(self, parameters, "ID_FIELD", context):
            raise InputProblem(
                "The table is not the polygon layer itself, so it has to be joined: choose the 'Field with the area "
                "ids'."
            )

    def table_job(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
        folder: Path,
        wanted: list[str],
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Hand the table over; its id field has the polygons' name for it unless another is chosen.

        Parameters
        ----------
        parameters, context, feedback
            Of the run.
        folder : pathlib.Path
            The job's folder.
        wanted : list of str
            Fields that are needed beside the id.

        Returns
        -------
        job : dict
            The job's parameters that speak of the table.
        names : dict
            The fields' names as the engine sees them.
        """
        source = source_of(self, parameters, "TABLE", context)
        id_field = field_of(self, parameters, "TABLE_ID_FIELD", context) or field_of(
            self, parameters, "ID_FIELD", context
        )
        check_field(source, id_field, self.label("table_id_field"))
        handover = hand_over(source, folder / "table.gpkg", [id_field, *wanted], feedback)
        job = {
            "table": str(handover.path),
            "table_layer": handover.layer,
            "table_id_field": handover.names[id_field],
        }
        return job, handover.names

    def label(self, name: str) -> str:
        """Return the label of a parameter, for messages."""
        return self.parameterDefinition(key(name)).description()
