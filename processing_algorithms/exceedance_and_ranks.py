"""Exceedance and ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeatureSource, QgsProcessingFeedback

from .areas_input import without_private
from .build_adjacency import GRAPH_FILES
from .inputs import InputProblem, Parameters, absolute_if_file, check_field, field_of, hand_over, source_of
from .parameters import ParameterMaker, key, parse_list
from .result_layers import show_layer
from .table_input import TableAlgorithm

_CHOICES = ("direction", "compare", "benchmark_method", "benchmark_kind")
_YES_NO = ("ranks", "constrained")
_DECIMALS = ("level", "top_share")


class ExceedanceAndRanks(TableAlgorithm):
    """Make what offices need of posterior draws."""

    NAME = "exceedanceandranks"
    TITLE = "Exceedance and ranks"
    GROUP = "Area-level models"
    GROUP_ID = "arealevel"
    TASK = "export"
    TAGS = ("probability", "threshold", "ranking", "league table", "benchmark", "raking", "difference", "excel")
    SUMMARY = (
        "Answers questions that an estimate with its standard error does not: how probable is it that an area lies "
        "above a threshold, which place does it have among all areas, does it differ from its neighbours? It reads the "
        "posterior draws that 'Fit Fay-Herriot model' writes if you ask for them under Advanced Parameters.\n\n"
        "The estimates can be made to meet published means or totals of groups of areas; everything else then follows. "
        "The layer opens as a map of the first threshold's probabilities; maps of ranks and estimates are stored "
        "in it and listed when you right-click the layer (Styles)."
    )
    LAYER_INPUTS = ("AREAS", "TABLE", "BENCHMARK")
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("csv", "excel")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_ESTIMATED": ("n_estimated", "Areas with an estimate"),
        "LEAST_ADJUSTMENT": ("least_adjustment", "Least adjustment to a target"),
        "MOST_ADJUSTMENT": ("most_adjustment", "Most adjustment to a target"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self.add(
            make.file("posterior", "Posterior draws", "NetCDF files (*.nc);;All files (*)", optional=False),
            make.text("thresholds", "Thresholds (separated by semicolons)"),
            make.choice("direction", "End of interest"),
            make.boolean("ranks", "Rank the areas"),
            make.choice("compare", "Compare every area with"),
        )
        self._add_comparison_options(make)
        self._add_benchmark_options(make)
        self.add_areas_options(make)
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            make.layer_output("output", "Exceedance and ranks", polygons),
            make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)"),
        )
        self.add_advanced(make.file_output("csv", "Every number in a CSV table", "CSV files (*.csv)"))

    def _add_comparison_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.decimal("top_share", "Share of the areas that is the top"),
            make.text("pairs", "Pairs of areas to compare (FIRST=SECOND, separated by semicolons)"),
            make.text("reference", "Area to compare all others with"),
            make.file("graph", "Saved adjacency graph", f"{GRAPH_FILES};;All files (*)"),
            make.boolean("constrained", "Estimates against over-shrinkage"),
            make.decimal("level", "Coverage of the intervals"),
            make.boolean("repair", "Repair polygons"),
        )

    def _add_benchmark_options(self, make: ParameterMaker) -> None:
        self.add_advanced(
            make.table("benchmark", "Table with targets to meet", optional=True),
            make.choice("benchmark_method", "Method of benchmarking"),
            make.choice("benchmark_kind", "The targets are"),
            make.table(
                "table",
                "Table with groups and weights of the areas",
                "Layer or table with the areas' groups and weights, one row for each area. Choose the polygon layer "
                "itself if they are among its attributes.",
                optional=True,
            ),
            self.table_id_parameter(make),
            make.field("group_field", "Groups", "table", optional=True),
            make.field("weight_field", "Weights", "table", optional=True),
            make.integer("seed", "Seed"),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        path = self.parameterAsFile(parameters, "POSTERIOR", context)
        if not Path(path).is_file():
            raise InputProblem(f"Posterior draws: there is no file '{path}'. Fit a model and ask for its draws.")
        for name in _DECIMALS:
            if not 0.0 < self.parameterAsDouble(parameters, key(name), context) < 1.0:
                raise InputProblem(f"{self.label(name)}: a number between 0 and 1, without 0 and 1, is needed.")
        for text in parse_list(self.parameterAsString(parameters, "THRESHOLDS", context)):
            if not _is_number(text.rpartition("=")[2]):
                raise InputProblem(
                    f"Thresholds: '{text}' is no number with a decimal point, for example 3.5 or rate=3.5."
                )
        for text in parse_list(self.parameterAsString(parameters, "PAIRS", context)):
            if "=" not in text:
                raise InputProblem(f"Pairs of areas: '{text}' is not of the form FIRST=SECOND.")
        self._check_tables(parameters, context)

    def _check_tables(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        if parameters.get("BENCHMARK"):
            check_field(source_of(self, parameters, "BENCHMARK", context), "target", "Targets", numeric=True)
        table = self._table(parameters, context)
        for name, numeric in (("group_field", False), ("weight_field", True)):
            field = field_of(self, parameters, key(name), context)
            if field:
                check_field(table, field, self.label(name), numeric=numeric)
        table_id = field_of(self, parameters, "TABLE_ID_FIELD", context)
        if table_id:
            check_field(table, table_id, self.label("table_id_field"))
        self.check_join(parameters, context)

    def _table(self, parameters: Parameters, context: QgsProcessingContext) -> QgsProcessingFeatureSource:
        """Return where groups and weights are: the table, or the polygons if there is none."""
        return source_of(self, parameters, "TABLE" if parameters.get("TABLE") else "AREAS", context)

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        chosen = {name: field_of(self, parameters, key(name), context) for name in ("group_field", "weight_field")}
        wanted = [field for field in chosen.values() if field]
        areas = self.areas_job(parameters, context, feedback, folder, wanted if self.together else [])
        names, table = areas["_names"], {}
        if not self.together and wanted:
            table, names = self.table_job(parameters, context, feedback, folder, wanted)
        return {
            **without_private(areas),
            **table,
            **{name: names[field] for name, field in chosen.items() if field},
            **self._benchmark_job(parameters, context, feedback, folder),
            **self._options(parameters, context),
        }

    def _benchmark_job(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        if not parameters.get("BENCHMARK"):
            return {}
        source = source_of(self, parameters, "BENCHMARK", context)
        handover = hand_over(source, folder / "benchmark.gpkg", None, feedback)
        return {"benchmark": str(handover.path), "benchmark_layer": handover.layer}

    def _options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        values: dict[str, Any] = {
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsBoolean(parameters, key(name), context) for name in _YES_NO},
            **{name: self.parameterAsDouble(parameters, key(name), context) for name in _DECIMALS},
            "seed": self.parameterAsInt(parameters, "SEED", context),
            "posterior": absolute_if_file(self.parameterAsFile(parameters, "POSTERIOR", context)),
            "thresholds": parse_list(self.parameterAsString(parameters, "THRESHOLDS", context)),
            "pairs": parse_list(self.parameterAsString(parameters, "PAIRS", context)),
            "reference": self.parameterAsString(parameters, "REFERENCE", context) or None,
            "graph": absolute_if_file(self.parameterAsFile(parameters, "GRAPH", context)) or None,
        }
        return {name: value for name, value in values.items() if value is not None}

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after the polygons."""
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"Exceedance and ranks of {name}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
