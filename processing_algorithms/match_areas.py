"""Match table to areas."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .inputs import InputProblem, Parameters, check_field, hand_over, source_of
from .parameters import ParameterMaker, key, parse_list
from .result_layers import show_layer
from .survey_table_input import SurveyTableAlgorithm

_CHOICES = ("near_misses", "several", "unmatched")
_YES_NO = ("code_labels", "points")


class MatchAreas(SurveyTableAlgorithm):
    """Join the rows of a survey table to areas and report how well they fit."""

    NAME = "matchtabletoareas"
    TITLE = "Match table to areas"
    GROUP = "Survey"
    GROUP_ID = "survey"
    TASK = "match_areas"
    TAGS = ("survey", "microdata", "join", "codes", "points in polygon", "stata", "spss", "dhs", "mics", "crosswalk")
    SUMMARY = (
        "Gives every row of a survey table its area, by a code or by the point where it lies, and reports what fits "
        "and what does not: codes that are only in the table, areas without rows, codes that are written differently, "
        "points on no area or on several.\n\n"
        "Nothing is joined by guessing. What does not fit stops the run until it is mended or accepted; the report and "
        "the list of codes are written in any case, if you name files for them. The result is the table with a new "
        "column, which 'Direct estimates from survey' takes."
    )
    TWINS: ClassVar[dict[str, str]] = {
        "table_id_field": "file_id_field",
        "longitude_field": "file_longitude_field",
        "latitude_field": "file_latitude_field",
    }
    LAYER_INPUTS = ("AREAS", "TABLE", "CROSSWALK")
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("report", "matching")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_ROWS": ("n_rows", "Number of rows"),
        "N_JOINED": ("n_joined", "Rows with an area"),
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_AREAS_WITH_ROWS": ("n_areas_with_rows", "Areas with rows"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self._add_tables(make)
        self.add(
            make.choice("near_misses", "Codes that are written differently"),
            make.choice("unmatched", "Rows without an area"),
            make.boolean("points", "The table is a point layer: join by its points"),
        )
        self.add_advanced(
            make.boolean("code_labels", "File: match the value labels, not the codes"),
            make.table(
                "crosswalk",
                "Crosswalk",
                "Table with the columns from (a code of the table) and to (an area id, or empty to leave the code's "
                "rows out). It overrides every other match.",
                optional=True,
            ),
            *(
                make.field(
                    f"{name}_field",
                    f"Field with {name}s",
                    "table",
                    optional=True,
                    own_help=f"Field of the layer with {name}s, to join rows without shapes as points.",
                )
                for name in ("longitude", "latitude")
            ),
            *(
                make.own_text(
                    f"file_{name}_field", f"Field of the file with {name}s", "Name of the field, as in the file."
                )
                for name in ("longitude", "latitude")
            ),
            make.crs("point_crs", "Reference system of the coordinates"),
            make.choice("several", "Points on several areas"),
            make.text("columns", "Columns to keep (separated by semicolons)"),
            make.text("area_field", "Name of the new column"),
        )
        self.add_table_options(make)
        self.add_advanced(make.boolean("repair", "Repair polygons"))
        self.add_areas_options(make)
        self.add(
            make.layer_output("output", "Table with areas", QgsProcessing.SourceType.TypeVector),
            make.file_output("report", "Report", "HTML files (*.html);;JSON files (*.json)", by_default=True),
            make.file_output("matching", "List of codes", "CSV files (*.csv)"),
        )

    def _add_tables(self, make: ParameterMaker) -> None:
        self.add_table_layer(make)
        self.add(
            make.field(
                "table_id_field",
                "Field with the codes of the areas",
                "table",
                optional=True,
                own_help="Field of the layer with the area codes. Not for points.",
            )
        )
        self.add_table_file(make)
        self.add(
            make.own_text(
                "file_id_field", "Field of the file with the codes of the areas", "Name of the field, as in the file."
            )
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        self.check_survey_table(parameters, context)
        self.check_table_fields(parameters, context, "columns", self._columns(parameters, context))
        if parameters.get("CROSSWALK"):
            for name in ("from", "to"):
                check_field(source_of(self, parameters, "CROSSWALK", context), name, "Crosswalk")
        if not self.parameterAsString(parameters, "AREA_FIELD", context).strip():
            raise InputProblem("Name of the new column: give one, for example area.")
        given = self._by(parameters, context)
        coordinates = [name for name in given if "itude" in name]
        if len(coordinates) == 1:
            raise InputProblem("Longitudes and latitudes belong together: choose both fields or none.")
        if len(given) - len(coordinates) + bool(coordinates) != 1:
            raise InputProblem(
                "Choose one way to find a row's area: the field with the codes, fields with longitudes and latitudes, "
                "or the points of the layer."
            )

    def _by(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Return which ways to find a row's area are chosen."""
        given = list(self.named_fields(parameters, context))
        if self.parameterAsBoolean(parameters, "POINTS", context):
            given.append("points")
        return given

    def _columns(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        return parse_list(self.parameterAsString(parameters, "COLUMNS", context))

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        areas = self.areas_job(parameters, context, feedback, folder, [])
        columns = self._columns(parameters, context)
        table, names = self.survey_table_job(parameters, context, feedback, folder, columns or None)
        crs = self.parameterAsCrs(parameters, "POINT_CRS", context)
        job: dict[str, Any] = {
            **without_private(areas),
            **table,
            "columns": [names.get(column, column) for column in columns],
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsBoolean(parameters, key(name), context) for name in _YES_NO},
            "area_field": self.parameterAsString(parameters, "AREA_FIELD", context).strip(),
        }
        if crs.isValid():
            job["point_crs"] = crs.authid() or crs.toWkt()
        if parameters.get("CROSSWALK"):
            source = source_of(self, parameters, "CROSSWALK", context)
            job["crosswalk"] = str(hand_over(source, folder / "crosswalk.gpkg", ["from", "to"], feedback).path)
        return job

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the table after what it was made from."""
        path = self.parameterAsFile(parameters, "TABLE_FILE", context)
        name = Path(path).stem if path else source_of(self, parameters, "TABLE", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"{name} with areas")
