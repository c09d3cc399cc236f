"""Benchmark estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext, QgsProcessingFeedback

from .areas_input import without_private
from .inputs import (
    InputProblem,
    Parameters,
    absolute_if_file,
    check_field,
    field_of,
    fields_of,
    hand_over,
    source_of,
)
from .parameters import ParameterMaker, key
from .result_layers import show_layer
from .table_input import TableAlgorithm

_CHOICES = ("method", "kind", "error_type")
_NETCDF = "NetCDF files (*.nc);;All files (*)"
# What the fields of each parameter have to hold: numbers or names.
_NUMERIC = {"estimate": True, "error": True, "group_fields": False, "weight_field": True}


class BenchmarkEstimates(TableAlgorithm):
    """Make estimates, or draws, meet targets."""

    NAME = "benchmarkestimates"
    TITLE = "Benchmark estimates"
    GROUP = "Area-level models"
    GROUP_ID = "arealevel"
    TASK = "benchmark"
    TAGS = ("benchmarking", "raking", "calibration", "totals", "consistency", "ratio adjustment", "targets")
    SUMMARY = (
        "Makes estimates of areas add up to totals, or meet means, that are known better: of a country, of regions, or "
        "of regions and of urban and rural areas at once (raking). The estimates are a table or layer, such as the one "
        "that 'Fit Fay-Herriot model' writes with any method, or the posterior draws of a Bayesian fit, of which then "
        "every one meets the targets.\n\n"
        "All columns stay; the benchmarked estimates, their standard errors and intervals and the adjustment of each "
        "area come beside them. The workbook says for each group what the estimates gave before, the target, and how "
        "many standard errors lie between them."
    )
    LAYER_INPUTS = ("AREAS", "ESTIMATES", "TABLE", "TARGETS")
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS = ("csv", "excel", "benchmarked_posterior")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_AREAS": ("n_areas", "Number of areas"),
        "N_GROUPS": ("n_groups", "Number of targets"),
        "LEAST_ADJUSTMENT": ("least_adjustment", "Least adjustment to a target"),
        "MOST_ADJUSTMENT": ("most_adjustment", "Most adjustment to a target"),
        "LARGEST_GAP_IN_SE": ("largest_gap_in_se", "Largest gap to a target in standard errors"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add_areas(make)
        self.add(
            make.table(
                "estimates",
                "Estimates",
                "Layer or table with estimates of the areas and their errors, one row for each area; it may be the "
                "polygon layer itself. Leave it empty for posterior draws.",
                optional=True,
            ),
            make.table(
                "targets",
                "Targets",
                "Table with the targets: a column target; group if there are groups (or a column with the name of the "
                "group field), margin if there are several group fields, response if there are several, target_se if "
                "targets have standard errors.",
            ),
            make.choice("method", "Method"),
            make.choice("kind", "The targets are"),
            make.table(
                "table",
                "Groups and weights",
                "Layer or table with the groups and weights of the areas, one row for each area; it may be the polygon "
                "layer itself or the layer with the estimates.",
                optional=True,
            ),
            make.field("group_fields", "Groups", "table", many=True, optional=True),
            make.field("weight_field", "Weights", "table", optional=True),
        )
        self.add_advanced(
            make.field("estimates_id_field", "Field of the estimates with the area ids", "estimates", optional=True),
            make.field("estimate", "Fields with the estimates", "estimates", many=True, optional=True),
            make.field("error", "Fields with their errors", "estimates", many=True, optional=True),
            make.choice("error_type", "The error fields hold"),
            make.file("posterior", "Posterior draws", _NETCDF),
            self.table_id_parameter(make),
            make.decimal("level", "Coverage of the intervals"),
            make.integer("seed", "Seed"),
            make.boolean("repair", "Repair polygons"),
        )
        self.add_areas_options(make)
        polygons = QgsProcessing.SourceType.TypeVectorPolygon
        self.add(
            make.layer_output("output", "Benchmarked estimates", polygons),
            make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)"),
        )
        self.add_advanced(
            make.file_output("csv", "Benchmarked estimates as a CSV table", "CSV files (*.csv)"),
            make.file_output("benchmarked_posterior", "Benchmarked draws", _NETCDF),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        super().check(parameters, context)
        path = self.parameterAsFile(parameters, "POSTERIOR", context)
        if bool(path) == bool(parameters.get("ESTIMATES")):
            raise InputProblem("Choose either 'Estimates' or, under Advanced Parameters, 'Posterior draws'.")
        if path and not Path(path).is_file():
            raise InputProblem(f"Posterior draws: there is no file '{path}'. Fit a model and ask for its draws.")
        if not 0.0 < self.parameterAsDouble(parameters, "LEVEL", context) < 1.0:
            raise InputProblem(f"{self.label('level')}: a number between 0 and 1, without 0 and 1, is needed.")
        check_field(source_of(self, parameters, "TARGETS", context), "target", "Targets", numeric=True)
        self._check_fields(parameters, context)

    def _check_fields(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        for name, numeric in _NUMERIC.items():
            where = "ESTIMATES" if name in ("estimate", "error") else self._of_groups(parameters)
            for field in fields_of(self, parameters, key(name), context):
                if not parameters.get(where):
                    raise InputProblem(f"{self.label(name)}: choose the layer with the field '{field}' too.")
                check_field(source_of(self, parameters, where, context), field, self.label(name), numeric=numeric)
        for name, where in (("estimates_id_field", "ESTIMATES"), ("table_id_field", "TABLE")):
            field = field_of(self, parameters, key(name), context)
            if field and parameters.get(where):
                check_field(source_of(self, parameters, where, context), field, self.label(name))
        self.check_join(parameters, context)

    def _of_groups(self, parameters: Parameters) -> str:
        """Return where groups and weights are: the table for them, or else the estimates, or else the polygons."""
        return next(name for name in ("TABLE", "ESTIMATES", "AREAS") if parameters.get(name))

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        groups = fields_of(self, parameters, "GROUP_FIELDS", context)
        weight = field_of(self, parameters, "WEIGHT_FIELD", context)
        wanted = [*groups, *filter(None, [weight])]
        where = self._of_groups(parameters)
        on_map = where == "AREAS" or (where == "TABLE" and self.together)
        areas = self.areas_job(parameters, context, feedback, folder, wanted if on_map else [])
        job, names = self._estimates_job(parameters, context, feedback, folder)
        if on_map:
            names = areas["_names"]
        if where == "TABLE" and not self.together:
            table, names = self.table_job(parameters, context, feedback, folder, wanted)
            job.update(table)
        elif where == "TABLE" and wanted:
            # The engine looks at the estimates first; say that the polygons are meant.
            job.update({"table": areas["areas"], "table_layer": areas["layer"], "table_id_field": areas["id_field"]})
        handover = hand_over(source_of(self, parameters, "TARGETS", context), folder / "targets.gpkg", None, feedback)
        return {
            **without_private(areas),
            **job,
            "group_fields": [names[field] for field in groups],
            **({"weight_field": names[weight]} if weight else {}),
            "targets": str(handover.path),
            "targets_layer": handover.layer,
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            "level": self.parameterAsDouble(parameters, "LEVEL", context),
            "seed": self.parameterAsInt(parameters, "SEED", context),
        }

    def _estimates_job(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Hand over the estimates with all their fields, or name the draws."""
        if not parameters.get("ESTIMATES"):
            return {"posterior": absolute_if_file(self.parameterAsFile(parameters, "POSTERIOR", context))}, {}
        source = source_of(self, parameters, "ESTIMATES", context)
        handover = hand_over(source, folder / "estimates.gpkg", None, feedback)
        id_field = field_of(self, parameters, "ESTIMATES_ID_FIELD", context)
        chosen = {name: fields_of(self, parameters, key(name), context) for name in ("estimate", "error")}
        job = {
            "estimates": str(handover.path),
            "estimates_layer": handover.layer,
            **({"estimates_id_field": handover.names[id_field]} if id_field else {}),
            **{name: [handover.names[field] for field in fields] for name, fields in chosen.items() if fields},
        }
        return job, handover.names

    def name_layers(self, parameters: Parameters, context: QgsProcessingContext, outputs: dict[str, str]) -> None:
        """Name the layer after the polygons."""
        name = source_of(self, parameters, "AREAS", context).sourceName()
        show_layer(context, outputs, "OUTPUT", f"Benchmarked estimates of {name}")
