"""What the algorithms that read a survey table have in common: a layer of the project, or a file beside it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm
from .inputs import InputProblem, Parameters, check_field, fields_of, hand_over, source_of
from .parameters import UNSET, ParameterMaker, key, parse_list

TABLE_FILES = (
    "Survey tables (*.csv *.txt *.tsv *.xlsx *.xlsm *.parquet *.dta *.sav *.zsav);;Stata (*.dta);;SPSS (*.sav *.zsav);;"
    "CSV (*.csv *.txt *.tsv);;Excel (*.xlsx *.xlsm);;Parquet (*.parquet);;All files (*)"
)
_FORMATS = ("decimal", "thousands")


class SurveyTableAlgorithm(AreasAlgorithm):
    """An algorithm over polygons and a survey table, which is a layer or a file.

    No dialog can offer the fields of a file. So each parameter that offers those of the layer has a twin into which
    the names are written.
    """

    # Job parameter that names a field of the table to its twin; those that name several.
    TWINS: ClassVar[dict[str, str]] = {}
    SEVERAL: ClassVar[frozenset[str]] = frozenset()

    def add_table_layer(self, make: ParameterMaker) -> None:
        """Declare the table as a layer."""
        self.add(
            make.table(
                "table",
                "Survey table: a layer",
                "Layer or table with one row a respondent. Choose a layer here or a file below.",
                optional=True,
            )
        )

    def add_table_file(self, make: ParameterMaker) -> None:
        """Declare the table as a file."""
        self.add(
            make.own_file(
                "table_file",
                "Survey table: a file",
                TABLE_FILES,
                "A file that is not in the project: CSV, Excel, Parquet, Stata (.dta) or SPSS (.sav). Value labels are "
                "only read from such a file.",
            )
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
        """Check that there is one table, and that its fields are named where they belong.

        Raises
        ------
        InputProblem
            Saying which parameter to mend.
        """
        path = self.parameterAsFile(parameters, "TABLE_FILE", context)
        if bool(parameters.get("TABLE")) == bool(path):
            raise InputProblem("Choose the survey table as a layer or as a file: one of them.")
        if path and not Path(path).is_file():
            raise InputProblem(f"Survey table: there is no file '{path}'.")
        for name, twin in self.TWINS.items():
            if path and fields_of(self, parameters, key(name), context):
                raise InputProblem(
                    f"{self.label(name)}: this is for a layer. Write the names into '{self.label(twin)}'."
                )
            if not path and self.parameterAsString(parameters, key(twin), context).strip():
                raise InputProblem(f"{self.label(twin)}: this is for a file. Choose them in '{self.label(name)}'.")
            if not path:
                self.check_table_fields(parameters, context, name, fields_of(self, parameters, key(name), context))

    def check_table_fields(
        self, parameters: Parameters, context: QgsProcessingContext, name: str, fields: Iterable[str]
    ) -> None:
        """Check that a table that is a layer has fields; those of a file are checked by the engine.

        Raises
        ------
        InputProblem
            Naming the parameter and the field.
        """
        if parameters.get("TABLE"):
            table = source_of(self, parameters, "TABLE", context)
            for field in fields:
                check_field(table, field, self.label(name))

    def named_fields(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, list[str]]:
        """Return the fields of the table that are named, by the job's parameter."""
        if parameters.get("TABLE"):
            found = {name: fields_of(self, parameters, key(name), context) for name in self.TWINS}
        else:
            found = {n: self._written(parameters, context, n, twin) for n, twin in self.TWINS.items()}
        return {name: fields for name, fields in found.items() if fields}

    def survey_table_job(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        feedback: QgsProcessingFeedback,
        folder: Path,
        wanted: Iterable[str] | None,
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Hand a layer over; a file is read where it is.

        Parameters
        ----------
        parameters, context, feedback
            Of the run.
        folder : pathlib.Path
            The job's folder.
        wanted : iterable of str or None
            Fields of a layer that are needed beside those of `TWINS`; None for all.

        Returns
        -------
        job : dict
            The job's parameters that speak of the table.
        names : dict
            The layer's fields as the engine sees them; empty for a file.
        """
        fields = self.named_fields(parameters, context)
        path = self.parameterAsFile(parameters, "TABLE_FILE", context)
        if path:
            options: dict[str, Any] = {
                "table_layer": self.parameterAsString(parameters, "TABLE_LAYER", context),
                "encoding": self.parameterAsString(parameters, "ENCODING", context),
                **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _FORMATS},
            }
            given = {name: value for name, value in options.items() if value not in ("", UNSET)}
            return {"table": str(Path(path).absolute()), **given, **self._as_job(fields, {})}, {}
        every = [field for chosen in fields.values() for field in chosen]
        needed = None if wanted is None else list(dict.fromkeys([*every, *wanted]))
        handover = hand_over(source_of(self, parameters, "TABLE", context), folder / "table.gpkg", needed, feedback)
        job = {"table": str(handover.path), "table_layer": handover.layer, **self._as_job(fields, handover.names)}
        return job, handover.names

    def label(self, name: str) -> str:
        """Return the label of a parameter, for messages."""
        return self.parameterDefinition(key(name)).description()

    def _written(self, parameters: Parameters, context: QgsProcessingContext, name: str, twin: str) -> list[str]:
        text = self.parameterAsString(parameters, key(twin), context)
        return parse_list(text) if name in self.SEVERAL else [text.strip()] if text.strip() else []

    def _as_job(self, fields: dict[str, list[str]], names: dict[str, str]) -> dict[str, Any]:
        found = {name: [names.get(field, field) for field in chosen] for name, chosen in fields.items()}
        return {name: chosen if name in self.SEVERAL else chosen[0] for name, chosen in found.items()}
