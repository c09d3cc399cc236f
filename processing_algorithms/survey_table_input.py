"""What the algorithms that read a survey table have in common: a layer of the project, or a file beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm
from .inputs import InputProblem, Parameters, check_field, field_of, hand_over, source_of
from .parameters import UNSET, ParameterMaker, key, parse_list

TABLE_FILES = (
    "Survey tables (*.csv *.txt *.tsv *.xlsx *.xlsm *.parquet *.dta *.sav *.zsav);;Stata (*.dta);;SPSS (*.sav *.zsav);;"
    "CSV (*.csv *.txt *.tsv);;Excel (*.xlsx *.xlsm);;Parquet (*.parquet);;All files (*)"
)
# Job parameter to its twin for a file.
_FIELDS = {
    "table_id_field": "file_id_field",
    "longitude_field": "file_longitude_field",
    "latitude_field": "file_latitude_field",
}
_FORMATS = ("decimal", "thousands")


class SurveyTableAlgorithm(AreasAlgorithm):
    """An algorithm over polygons and a survey table, which is a layer or a file."""

    def add_survey_table(self, make: ParameterMaker) -> None:
        """Declare the table, as a layer or as a file, and the field with the codes of the areas."""
        self.add(
            make.table(
                "table",
                "Survey table: a layer",
                "Layer or table with one row a respondent. Choose a layer here or a file below.",
                optional=True,
            ),
            make.field(
                "table_id_field",
                "Field with the codes of the areas",
                "table",
                optional=True,
                own_help="Field of the layer with the area codes. Not for points.",
            ),
            make.own_file(
                "table_file",
                "Survey table: a file",
                TABLE_FILES,
                "A file that is not in the project: CSV, Excel, Parquet, Stata (.dta) or SPSS (.sav). Value labels are "
                "only read from such a file.",
            ),
            make.own_text(
                "file_id_field", "Field of the file with the codes of the areas", "Name of the field, as in the file."
            ),
        )

    def add_table_options(self, make: ParameterMaker) -> None:
        """Declare what is rarely needed about reading a file."""
        self.add_advanced(
            make.text("table_layer", "File: layer or sheet"),
            make.text("encoding", "File: encoding"),
            make.choice_or_default("decimal", "File: decimal sign"),
            make.choice_or_default("thousands", "File: thousands separator"),
        )

    def check_survey_table(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check that there is one table, and that a layer has the fields that are named.

        Raises
        ------
        InputProblem
            Saying which parameter to mend.
        """
        path = self.parameterAsFile(parameters, "TABLE_FILE", context)
        if bool(parameters.get("TABLE")) == bool(path):
            raise InputProblem("Choose the survey table as a layer or as a file: one of them.")
        if path:
            if not Path(path).is_file():
                raise InputProblem(f"Survey table: there is no file '{path}'.")
            return
        table = source_of(self, parameters, "TABLE", context)
        for name in self._fields():
            field = field_of(self, parameters, key(name), context)
            if field:
                check_field(table, field, self.parameterDefinition(key(name)).description())
        for field in parse_list(self.parameterAsString(parameters, "COLUMNS", context)):
            check_field(table, field, self.parameterDefinition("COLUMNS").description())

    def survey_table_job(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
        folder: Path,
    ) -> dict[str, Any]:
        """Return the job's parameters that speak of the table; a layer is handed over, a file is read where it is."""
        columns = parse_list(self.parameterAsString(parameters, "COLUMNS", context))
        path = self.parameterAsFile(parameters, "TABLE_FILE", context)
        if path:
            said: dict[str, Any] = {
                "table": str(Path(path).absolute()),
                "table_layer": self.parameterAsString(parameters, "TABLE_LAYER", context),
                "encoding": self.parameterAsString(parameters, "ENCODING", context),
                **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _FORMATS},
                **{
                    name: self.parameterAsString(parameters, key(twin), context).strip()
                    for name, twin in self._fields().items()
                },
            }
            said = {name: value for name, value in said.items() if value not in ("", UNSET)}
            return {**said, "columns": columns}
        fields = {name: field_of(self, parameters, key(name), context) for name in self._fields()}
        wanted = None if not columns else list(dict.fromkeys([*filter(None, fields.values()), *columns]))
        handover = hand_over(source_of(self, parameters, "TABLE", context), folder / "table.gpkg", wanted, feedback)
        return {
            "table": str(handover.path),
            "table_layer": handover.layer,
            "columns": [handover.names[column] for column in columns],
            **{name: handover.names[field] for name, field in fields.items() if field},
        }

    def _fields(self) -> dict[str, str]:
        """Return the job's parameters that name fields of the table, as far as the algorithm has them."""
        return {name: twin for name, twin in _FIELDS.items() if self.parameterDefinition(key(name)) is not None}
