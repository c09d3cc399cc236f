"""What the algorithms that fit a model of areas have in common."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, ClassVar

from qgis.core import QgsProcessing, QgsProcessingContext

from .build_adjacency import GRAPH_FILES
from .inputs import InputProblem, Parameters, absolute_if_file, check_field, fields_of, source_of
from .parameters import ParameterMaker, key, parse_priors, yes_no_value
from .table_input import TableAlgorithm


class FitAlgorithm(TableAlgorithm):
    """An algorithm that fits a model to a table and maps its estimates."""

    GROUP = "Area-level models"
    GROUP_ID = "arealevel"
    LAYER_OUTPUTS = ("output",)
    FILE_OUTPUTS: ClassVar[tuple[str, ...]] = ("report", "csv", "excel", "posterior")
    TEXTS: ClassVar[dict[str, tuple[str, str]]] = {"FORMULA": ("formula", "Model")}
    # Parameters that are handed over as they are, by what they hold.
    CHOICES: ClassVar[tuple[str, ...]] = ()
    INTEGERS: ClassVar[tuple[str, ...]] = ()
    DECIMALS: ClassVar[tuple[str, ...]] = ()
    BOOLEANS: ClassVar[tuple[str, ...]] = ()
    FILES: ClassVar[tuple[str, ...]] = ("graph",)

    def add_estimates(self, make: ParameterMaker, title: str = "Estimates", *, report: bool = True) -> None:
        """Declare the outputs; ``report`` says whether one is written unless it is switched off."""
        self.add(
            make.layer_output("output", title, QgsProcessing.SourceType.TypeVectorPolygon),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=report),
        )
        self.add_advanced(
            make.file_output("csv", "Estimates as a CSV table", "CSV files (*.csv)"),
            make.file_output("excel", "Everything as an Excel workbook", "Excel workbooks (*.xlsx)"),
            make.file_output("posterior", "Posterior draws", "NetCDF files (*.nc)"),
        )

    def add_map_options(self, make: ParameterMaker, *, variances: bool = True, period: str = "") -> None:
        """Declare how map and table are put together; ``period`` is said where rows belong to one."""
        self.add_advanced(
            make.file("graph", "Saved adjacency graph", f"{GRAPH_FILES};;All files (*)"),
            make.choice("contiguity", "Contiguity"),
            make.choice("islands", "Areas without a neighbour"),
            make.choice(
                "unmatched", f"Table rows that are not on the map{' or in no listed period' if period else ''}"
            ),
            *([make.choice("missing_variance", "Direct estimates without a variance")] if variances else []),
            make.choice("missing_covariates", f"Areas{period} without a covariate value"),
            make.boolean("repair", "Repair polygons"),
        )

    def check_shares(self, parameters: Parameters, context: QgsProcessingContext, names: Iterable[str]) -> None:
        """Refuse numbers that do not lie between 0 and 1."""
        for name in names:
            if not 0.0 < self.parameterAsDouble(parameters, key(name), context) < 1.0:
                raise InputProblem(f"{self.label(name)}: a number between 0 and 1, without 0 and 1, is needed.")

    def check_priors(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Refuse priors that cannot be read."""
        try:
            parse_priors(self.parameterAsString(parameters, "PRIORS", context))
        except ValueError as error:
            raise InputProblem(f"Priors: {error}. Separate several by semicolons.") from error

    def check_fields(
        self,
        parameters: Parameters,
        context: QgsProcessingContext,
        names: Iterable[str],
        not_numeric: Collection[str] = (),
    ) -> None:
        """Refuse fields of the table that are not there, hold no numbers, or are chosen twice."""
        table = source_of(self, parameters, "TABLE", context)
        chosen: dict[str, str] = {}
        for name in names:
            for field in fields_of(self, parameters, key(name), context):
                check_field(table, field, self.label(name), numeric=name not in not_numeric)
                if field in chosen:
                    raise InputProblem(
                        f"The field '{field}' is chosen for '{chosen[field]}' and for '{self.label(name)}'. "
                        "Choose another field for one of them."
                    )
                chosen[field] = self.label(name)

    def options(self, parameters: Parameters, context: QgsProcessingContext) -> dict[str, Any]:
        """Return the values that are handed over as they are, without those that are not set."""
        values: dict[str, Any] = {
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in self.CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in self.INTEGERS},
            **{name: self.parameterAsDouble(parameters, key(name), context) for name in self.DECIMALS},
            **{name: self.parameterAsBoolean(parameters, key(name), context) for name in self.BOOLEANS},
            "iid_part": yes_no_value(self.parameterAsEnumString(parameters, "IID_PART", context)),
            "priors": parse_priors(self.parameterAsString(parameters, "PRIORS", context)),
            "reliability": absolute_if_file(self.parameterAsString(parameters, "RELIABILITY", context)),
            **{
                name: absolute_if_file(self.parameterAsFile(parameters, key(name), context)) or None
                for name in self.FILES
            },
        }
        return {name: value for name, value in values.items() if value is not None}
