"""Fit BARTSIMP."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from qgis.core import QgsProcessingContext, QgsProcessingFeedback

from .areas_input import AreasAlgorithm, without_private
from .displaced_clusters import check_displaced, displaced_job, displaced_parameters
from .inputs import (
    InputProblem,
    Parameters,
    check_field,
    check_outputs_apart,
    field_of,
    fields_of,
    hand_over,
    source_of,
)
from .parameters import ParameterMaker, key, parse_list
from .raster_input import raster_paths

_FIELDS = ("outcome_field", "trials_field", "exposure_field", "cluster_field", "stratum_field", "urban_field")
_CHOICES = ("likelihood", "missing", "model", "preset", "leaf_spread", "fold_kind")
_WHOLE = ("trees", "chains", "warmup", "draws", "seed", "folds")
_LISTS = ("bands", "categorical")


class FitBartsimp(AreasAlgorithm):
    """Fit trees plus a field to survey clusters."""

    NAME = "fitbartsimp"
    TITLE = "Fit BARTSIMP"
    GROUP = "Surfaces"
    GROUP_ID = "surfaces"
    TASK = "fit_bartsimp"
    TAGS = (
        "BART", "regression trees", "geostatistics", "Gaussian process", "kriging", "Matern", "SPDE", "clusters", "DHS",
        "raster", "covariates", "prevalence",
    )  # fmt: skip
    SUMMARY = (
        "Learns how an outcome at survey clusters depends on covariate rasters (regression trees) and on place (a "
        "Matérn field). It writes a posterior; 'Predict surface' makes maps and estimates of areas from it.\n\n"
        "The outcome is taken as normal. If it counts those who have something, name the field with how many were "
        "examined and choose the likelihood binomial: predictions are then shares. Counts of events at an exposure are "
        "negative binomial, and predictions are rates. Points in degrees need a projected reference system.\n\n"
        "Ask for folds to learn whether flexible covariates pay: the report then compares the model with trees alone "
        "and with linear models.\n\n"
        "DHS displaces the places of its clusters: say so under Advanced. Covariates are then read at candidate "
        "places, and the fit learns which of them are likely."
    )
    FILE_OUTPUTS = ("posterior", "report", "csv", "excel", "positions", "checkpoint")
    LAYER_INPUTS = ("TABLE", "STAY_WITHIN")
    NUMBERS: ClassVar[dict[str, tuple[str, str]]] = {
        "N_CLUSTERS": ("n_clusters", "Clusters"),
        "SIGMA_E": ("sigma_e", "Median standard deviation of observations"),
        "SIGMA_M": ("sigma_m", "Median standard deviation of the field"),
        "R_HAT_MAX": ("r_hat_max", "Largest R-hat"),
        "ESS_MIN": ("ess_min", "Fewest effective draws"),
    }

    def add_parameters(self, make: ParameterMaker) -> None:
        """Declare the parameters: what everybody has to say first, the rest under Advanced."""
        self.add(
            make.points("table", "Clusters (points)", "Points, one an observation or a cluster."),
            make.field("outcome_field", "Outcome", "table"),
            make.field("trials_field", "Number examined", "table", optional=True),
            make.choice("likelihood", "Likelihood of the outcome"),
            make.rasters("rasters", "Covariate rasters"),
            make.text("categorical", "Bands with codes (separated by semicolons)"),
            make.crs("working_crs", "Projected reference system"),
            make.choice("missing", "Points without covariates"),
            make.choice("model", "Model"),
        )
        self.add_advanced(
            make.field("exposure_field", "Exposure of counts", "table", optional=True),
            make.field("cluster_field", "Cluster of each row", "table", optional=True),
            make.field("stratum_field", "Stratum of each cluster", "table", optional=True),
            make.field("covariates", "More covariates", "table", many=True, optional=True),
            make.text("bands", "Bands to use (separated by semicolons)"),
            make.crs("point_crs", "Reference system of the points if they have none"),
            make.decimal("cell", "Side of the grid's cells"),
            *displaced_parameters(make),
            make.choice("preset", "Prior of the field"),
            make.integer("trees", "Trees"),
            make.choice("leaf_spread", "Scale of the trees' prior"),
            make.integer("rank", "Rank of a reduced field"),
            make.integer("mesh_nodes", "Nodes of the field's mesh"),
            make.integer("chains", "Chains"),
            make.integer("warmup", "Warm-up sweeps"),
            make.integer("draws", "Draws of each chain"),
            make.integer("seed", "Seed"),
            make.decimal("level", "Coverage of the intervals"),
            make.integer("folds", "Folds of a cross-validation"),
            make.choice("fold_kind", "What a fold leaves out"),
        )
        self.add(
            make.file_output("posterior", "Posterior", "Posteriors (*.npz)", by_default=True),
            make.file_output("report", "Report", "HTML files (*.html)", by_default=True),
        )
        self.add_advanced(
            make.file_output("csv", "Hyperparameters as a CSV table", "CSV files (*.csv)"),
            make.file_output("excel", "Excel workbook", "Excel workbooks (*.xlsx)"),
            make.file_output("positions", "Candidate places", "GeoPackages (*.gpkg);;CSV files (*.csv)"),
            make.file_output("checkpoint", "Checkpoint", "Checkpoints (*.npz)"),
        )

    def check(self, parameters: Parameters, context: QgsProcessingContext) -> None:
        """Check the values."""
        source = source_of(self, parameters, "TABLE", context)
        for name in _FIELDS[:3]:
            field = field_of(self, parameters, key(name), context)
            if field:
                check_field(source, field, self.parameterDefinition(key(name)).description(), numeric=True)
        if not raster_paths(self, parameters, "RASTERS", context) and not fields_of(
            self, parameters, "COVARIATES", context
        ):
            raise InputProblem("Covariate rasters: trees need something to split on. Choose rasters, or covariates.")
        working = self.parameterAsCrs(parameters, "WORKING_CRS", context)
        crs = working if working.isValid() else source.sourceCrs()
        if not crs.isValid():
            crs = self.parameterAsCrs(parameters, "POINT_CRS", context)
        if crs.isGeographic():
            raise InputProblem(
                "Projected reference system: distances are measured in a plane, and these are degrees. Choose a "
                "projected one, for example the UTM zone of the clusters."
            )
        check_displaced(self, parameters, context)
        if self.parameterAsInt(parameters, "FOLDS", context) == 1:
            raise InputProblem("Folds of a cross-validation: two or more are needed, or 0 for none.")
        check_outputs_apart(self, parameters, context, self.LAYER_INPUTS, [key(name) for name in self.FILE_OUTPUTS])
        self.needs_one_of(parameters, ("POSTERIOR", "REPORT", "CSV", "EXCEL", "POSITIONS"), "Nothing would be written.")

    def job_parameters(
        self, parameters: Parameters, context: QgsProcessingContext, feedback: QgsProcessingFeedback, folder: Path
    ) -> dict[str, Any]:
        """Return the job's parameters."""
        fields = {name: field_of(self, parameters, key(name), context) for name in _FIELDS}
        more = fields_of(self, parameters, "COVARIATES", context)
        wanted = list(dict.fromkeys([*filter(None, fields.values()), *more]))
        handover = hand_over(source_of(self, parameters, "TABLE", context), folder / "table.gpkg", wanted, feedback)
        job: dict[str, Any] = {
            "table": str(handover.path),
            "table_layer": handover.layer,
            **{name: handover.names[field] for name, field in fields.items() if field},
            "covariates": [handover.names[field] for field in more],
            "rasters": raster_paths(self, parameters, "RASTERS", context),
            **{name: parse_list(self.parameterAsString(parameters, key(name), context)) for name in _LISTS},
            **{name: self.parameterAsEnumString(parameters, key(name), context) for name in _CHOICES},
            **{name: self.parameterAsInt(parameters, key(name), context) for name in _WHOLE},
            "level": self.parameterAsDouble(parameters, "LEVEL", context),
            **displaced_job(self, parameters, context, feedback, folder),
        }
        for name in ("point_crs", "working_crs"):
            crs = self.parameterAsCrs(parameters, key(name), context)
            job[name] = (crs.authid() or crs.toWkt()) if crs.isValid() else None
        if parameters.get("CELL") is not None:
            job["cell"] = self.parameterAsDouble(parameters, "CELL", context)
        for name in ("rank", "mesh_nodes"):
            if parameters.get(key(name)) is not None:
                job[name] = self.parameterAsInt(parameters, key(name), context)
        return without_private(job)
