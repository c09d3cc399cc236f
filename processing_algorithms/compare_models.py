"""Compare models."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .build_adjacency import GRAPH_FILES
from .inputs import InputProblem, Parameters, absolute_if_file, check_field, field_of, fields_of, source_of
from .parameters import ParameterMaker, key, parse_list
from .table_input import TableAlgorithm

_CHOICES = (
    "variance_type",
    "method",
    "unit",
    "contiguity",
    "islands",
    "solver",
    "unmatched",
    "missing_variance",
    "missing_covariates",
)
_INTEGERS = ("folds", "repeats", "min_ess", "seed", "workers")
_DECIMALS = ("moe_level", "level", "thinning_share")
_FIELDS = ("direct", "variance", "covariance", "covariates")
# What a model's text says in the names of fields.
_NAMES = ("covariates", "order")


class CompareModels(TableAlgorithm):
    """Compare Fay-Herriot models by how well they predict."""

    NAME = "comparemodels"
    TITLE = "Compare models"
    GROUP = "Area-level models"
    GROUP_ID = "arealevel"
    TASK = "compare"
    TAGS = ("cross-validation", "loo", "waic", "aic", "fay-herriot", "spatial", "model choice", "data thinning")
    SUMMARY = (
        "Says which model predicts direct estimates best that it has not seen, by how much, and whether the difference "
        "means anything. Without a list of models it compares independent area effects with effects that are alike "
        "among neighbours.\n\n"
        "Leaving out one area at a time (loo) is fast, but an area's neighbours stay and help models that interpolate: "
        "to judge predictions for regions without a survey, leave out spatial blocks (cv_block); to judge estimates "
        "where there is a survey, split it in two (thinning). The report explains each."
    )
    FILE_OUTPUTS = ("report", "csv", "cells", "excel")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_MODELS": ("n_models", "Number of models"),
        "SECONDS": ("seconds", "Seconds that the engine took"),
    }
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {
        f"BEST_{name.upper()}": (f"best_{name}", f"Best model by {name}")
        for name in ("loo", "waic", "cv_area", "cv_block", "thinning")
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self.add(
            make.table(
                "table",
                "Table with the direct estimates",
                "Layer or table with the direct estimates, one row for each area. Choose the polygon layer itself if "
                "they are among its attributes.",
            ),
            self.table_id_parameter(make),
            make.field("direct", "Direct estimates", "table", many=True),
            make.field("variance", "Sampling variances", "table", many=True),
            make.choice("variance_type", "The variance fields hold"),
            make.field("covariates", "Covariates", "table", many=True, optional=True),
            make.text("models", "Models (separated by semicolons)"),
            make.choices("criteria", "Criteria"),
        )
        self.add_advanced(
            make.field("covariance", "Several responses: sampling covariances", "table", many=True, optional=True),
            make.decimal("sampling_correlation", "Several responses: assumed sampling correlation"),
            make.choice("method", "Method of the models that name none"),
            make.choice("unit", "Left out at a time"),
            make.integer("folds", "Folds and blocks"),
            make.decimal("thinning_share", "Share of the survey to fit to (thinning)"),
            make.integer("repeats", "Repeated splits (thinning)"),
            make.decimal("level", "Coverage of the intervals"),
            make.integer("min_ess", "Effective sample size to reach"),
            make.integer("seed", "Seed"),
            make.choice("solver", "Linear algebra"),
            make.integer("workers", "Threads (0: what pays)"),
        )
        self._add_data_options(make)
        self.add(
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
            make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)"),
        )
        self.add_advanced(
            make.file_output("csv", "Scores as a CSV table", "CSV files (*.csv)"),
            make.file_output("cells", "Every prediction as a CSV table", "CSV files (*.csv)"),
        )

    def _add_data_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.decimal("moe_level", "Confidence level of the margins of error"),
            make.file("graph", "Saved adjacency graph", f"{GRAPH_FILES};;All files (*)"),
            make.choice("contiguity", "Contiguity"),
            make.choice("islands", "Areas without a neighbour"),
            make.choice("unmatched", "Table rows that are not on the map"),
            make.choice("missing_variance", "Direct estimates without a variance"),
            make.choice("missing_covariates", "Areas without a covariate value"),
            make.boolean("repair", "Repair polygons"),
        )
        self.add_areas_options(make)

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        self.needs_one_of(
            parameters, tuple(key(name) for name in self.FILE_OUTPUTS), "A comparison leaves tables and a report."
        )
        table = source_of(self, parameters, "TABLE", context)
        table_id = field_of(self, parameters, "TABLE_ID_FIELD", context)
        if table_id:
            check_field(table, table_id, self.label("table_id_field"))
        for name in _FIELDS:
            for field in fields_of(self, parameters, key(name), context):
                check_field(table, field, self.label(name), numeric=True)
        for field in self._named_by_models(parameters, context):
            check_field(table, field, self.label("models"), numeric=True)
        direct, variance = (fields_of(self, parameters, key(name), context) for name in ("direct", "variance"))
        if len(direct) != len(variance):
            raise InputProblem(
                f"There are {len(direct)} fields with direct estimates and {len(variance)} with sampling variances. "
                "Choose one variance for each direct estimate, in the same order."
            )
        self.check_join(parameters, context)
        for name in _DECIMALS:
            if not 0.0 < self.parameterAsDouble(parameters, key(name), context) < 1.0:
                raise InputProblem(f"{self.label(name)}: a number between 0 and 1, without 0 and 1, is needed.")

    def _models(self, parameters: Parameters, context: QgsProcessingContext) -> list[list[str]]:
        """Return the words of each model."""
        try:
            return [shlex.split(text) for text in parse_list(self.parameterAsString(parameters, "MODELS", context))]
        except ValueError as error:
            raise InputProblem(f"{self.label('models')}: {error}. Close every quotation mark.") from error

    def _named_by_models(self, parameters: Parameters, context: QgsProcessingContext) -> list[str]:
        """Return the covariates that models name."""
        said = [word.partition("=") for words in self._models(parameters, context) for word in words]
        return [field for name, _, value in said if name == "covariates" for field in _parts(value)]

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        fields = {name: fields_of(self, parameters, key(name), context) for name in _FIELDS}
        wanted = [field for chosen in fields.values() for field in chosen]
        wanted = list(dict.fromkeys([*wanted, *self._named_by_models(parameters, context)]))
        areas = self.areas_job(parameters, context, feedback, folder, wanted if self.together else [])
        names, table = areas["_names"], {}
        if not self.together:
            table, names = self.table_job(parameters, context, feedback, folder, wanted)
        return {
            **without_private(areas),
            **table,
            **{name: [names[field] for field in chosen] for name, chosen in fields.items()},
            "models": [_renamed(words, names) for words in self._models(parameters, context)],
            **self._options(parameters, context),
        }

    def _options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        values: dict[str, Any] = {
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in _INTEGERS},
            **{name: self.parameterAsDouble(parameters, key(name), context) for name in _DECIMALS},
            # None chosen comes as one empty text.
            "criteria": [name for name in self.parameterAsEnumStrings(parameters, "CRITERIA", context) if name],
            "graph": absolute_if_file(self.parameterAsFile(parameters, "GRAPH", context)) or None,
        }
        # QGIS takes a number that is not set for zero.
        if parameters.get("SAMPLING_CORRELATION") not in (None, ""):
            values["sampling_correlation"] = self.parameterAsDouble(parameters, "SAMPLING_CORRELATION", context)
        return {name: value for name, value in values.items() if value is not None}


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


def _renamed(words: list[str], names: dict[str, str]) -> str:
    """Return a model's text with the names that its fields have in the copy that the engine reads."""
    out = []
    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in _NAMES:
            word = f"{name}={','.join(names.get(part, part) for part in _parts(value))}"
        out.append(word)
    return shlex.join(out)
