"""The task `predict_surface`: from a posterior of BARTSIMP and rasters to a surface and areas, in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from smallarea.areas import Areas, read_areas
from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.io.raster_style import write_surface_style
from smallarea.unit_level.aggregate import AreaDraws, level_of
from smallarea.unit_level.predict_surface import SurfaceResult, SurfaceStatistics
from smallarea.workflows.record import silent, within
from smallarea.workflows.surface_input import people_on
from smallarea.workflows.surface_overview import SurfaceOverview, overview_of
from smallarea.workflows.surface_run import (
    SurfaceRun,
    area_table,
    check_surface_call,
    open_run,
    save_area_draws,
    write_areas,
)

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]

LAYER = "areas"
_SUFFIXES = {
    "surface": ((".tif", ".tiff"), "a GeoTIFF"),
    "output": ((".gpkg",), "a GeoPackage"),
    "csv": ((".csv",), "CSV"),
    "area_draws": ((".nc",), "NetCDF"),
    "report": ((".html", ".htm"), "a report"),
}


@dataclass(frozen=True)
class PredictSurfaceResult:
    """What `predict_surface` found.

    Attributes
    ----------
    outcome : str
        What was predicted.
    quantity : str
        What the numbers are: its expectation, or that of its share or rate.
    table : pandas.DataFrame
        One row an area: ``area``, ``response``, ``estimate`` (mean of the draws), ``se``, ``cv``, ``lower``, ``upper``,
        ``weight`` (population, or cells), ``predicted`` (share of the weight with predictions), ``cells``, and
        ``p_above_T`` for each threshold T. Empty without polygons.
    areas : Areas or None
        The polygons.
    draws : AreaDraws or None
        Draws of the areas.
    predicted, missing : int
        Cells with a prediction, and cells of the region that lack a covariate.
    bands : tuple of str
        Of the surface.
    warnings, notes : tuple of str
        What to know before the numbers are used, and what was done.
    settings : dict
        The call.
    """

    outcome: str
    quantity: str
    table: pd.DataFrame
    areas: Areas | None
    draws: AreaDraws | None
    predicted: int
    missing: int
    bands: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """Cells and areas with and without a prediction."""
        return {
            "outcome": self.outcome,
            "n_cells": self.predicted,
            "n_missing_cells": self.missing,
            "n_areas": len(self.table),
            "n_estimated": int(self.table["estimate"].notna().sum()) if len(self.table) else 0,
            "bands": list(self.bands),
        }


def predict_surface(
    areas: PathLike | gpd.GeoDataFrame | None = None,
    *,
    posterior: PathLike,
    rasters: PathLike | Sequence[PathLike],
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    population: PathLike | None = None,
    population_band: str | None = None,
    cell: float | None = None,
    split: Literal["coverage", "centre"] = "coverage",
    draws: int = 500,
    seed: int = 1,
    level: float = 0.95,
    thresholds: Sequence[float] = (),
    surface: PathLike | None = None,
    output: PathLike | None = None,
    csv: PathLike | None = None,
    area_draws: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> PredictSurfaceResult:
    """Predict a surface from a posterior of BARTSIMP, and average its draws over areas.

    Parameters
    ----------
    areas : path or geopandas.GeoDataFrame, optional
        Polygons to average over; the surface is then predicted in them only.
    posterior : path
        What :func:`smallarea.fit_bartsimp` has written.
    rasters : path or sequence of path
        Rasters with all bands that the model was fitted with, of the same names.
    layer, id_field, crs, repair
        How to read the polygons; see :func:`smallarea.areas.read_areas`.
    population : path, optional
        Raster of people, the weights of the cells.
    population_band : str, optional
        Its band, where it has several.
    cell : float, optional
        Side of the cells, for a model fitted without rasters.
    split : {'coverage', 'centre'}
        What becomes of cells on a border.
    draws : int
        Draws to use at most.
    seed : int
        Same seed, same surface.
    level : float
        Coverage of the intervals, and of the surface's quantiles.
    thresholds : sequence of float
        Values whose probability of being exceeded is mapped.
    surface, output, csv, area_draws, report : path, optional
        What to write; all files appear together. Beside the surface goes a style for QGIS, unless there is one that
        was not written here.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    PredictSurfaceResult

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    OutputProblem
        If the posterior cannot be read, or an output cannot be written; none is then.
    RasterProblem
        If the rasters lack a band, or no cell can be predicted.
    GeometryProblem
        If the polygons cannot be used.
    EngineUnavailable
        If rasterio is not installed.
    """
    call = {name: value for name, value in locals().items() if name not in ("areas", "progress")}
    _check(call, areas is not None)
    tell = progress or silent
    tell(0.0, "reading the posterior")
    run = open_run(posterior, rasters, cell)
    polygons = None if areas is None else read_areas(areas, layer=layer, id_field=id_field, crs=crs, repair=repair)
    levels = [] if polygons is None else [level_of(LAYER, polygons.ids, polygons.frame, run.grid)]
    statistics = SurfaceStatistics(((1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0), tuple(thresholds))
    with ExitStack() as stack:
        # A report shows the surface, also one that nobody asked to keep.
        raster = _passing(stack) if surface is None and report is not None else surface
        outputs, people = stack.enter_context(AtomicOutputs()), people_on(run.grid, population, population_band)
        stack.enter_context(run.stack)
        stack.enter_context(people)
        found = run.predict(
            levels, people if population is not None else None, draws=draws, seed=seed, tell=within(tell, 5.0, 88.0),
            output=raster, outputs=outputs, statistics=statistics, split=split,
        )  # fmt: skip
        overview = None if raster is None else overview_of(outputs.written(raster), run, found, draws)
        result = _result(found, run, polygons, call, statistics)
        if surface is not None and overview is not None:
            result = _styled(result, overview, outputs, surface)
        _write(result, outputs, call, tell)
        if report is not None and overview is not None:
            from smallarea.report.surface_page import write_surface_report

            tell(97.0, "writing the report")
            write_surface_report(result, overview, str(outputs.path(report)))
        tell(100.0, "done")
    return result


def _passing(stack: ExitStack) -> Path:
    """Return a path for a surface that goes when the run ends."""
    return Path(stack.enter_context(TemporaryDirectory())) / "surface.tif"


def _styled(
    result: PredictSurfaceResult, overview: SurfaceOverview, outputs: AtomicOutputs, surface: PathLike
) -> PredictSurfaceResult:
    """Write the surface's style; a note says so where one of the user's own is in the way."""
    note = write_surface_style(outputs, surface, overview.reduced)
    return result if note is None else replace(result, notes=(*result.notes, note))


def _check(call: Mapping[str, Any], has_areas: bool) -> None:
    check_surface_call(call)
    if not has_areas:
        of_areas = [
            name
            for name in ("output", "csv", "area_draws", "population", "layer", "id_field")
            if call[name] is not None
        ]
        if of_areas:
            raise JobProblem(f"{named(of_areas)} belong to polygons, and there are none. Name a polygon layer (areas).")
    for name, (suffixes, what) in _SUFFIXES.items():
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)


def _result(
    found: SurfaceResult,
    run: SurfaceRun,
    polygons: Areas | None,
    call: Mapping[str, Any],
    statistics: SurfaceStatistics,
) -> PredictSurfaceResult:
    drawn = found.areas.get(LAYER)
    table = pd.DataFrame(columns=["area", "response", "estimate"])
    if drawn is not None:
        table = area_table(drawn, run.outcome, call["level"], call["thresholds"])
    settings = {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in call.items() if v is not None}
    return PredictSurfaceResult(
        run.outcome, run.quantity, table, polygons, drawn, found.predicted, found.missing, statistics.names,
        run.warnings(), (*(polygons.repairs if polygons is not None else ()), *found.notes, *run.notes()),
        settings,
    )  # fmt: skip


def _write(result: PredictSurfaceResult, outputs: AtomicOutputs, call: Mapping[str, Any], tell: Progress) -> None:
    """Write the areas beside the surface, all files or none."""
    if call["output"] is not None and result.areas is not None:
        tell(92.0, "writing the map")
        write_areas(result.table, result.areas, outputs.path(call["output"]), LAYER, result.outcome)
    if call["csv"] is not None:
        result.table.to_csv(outputs.path(call["csv"]), index=False)
    if call["area_draws"] is not None and result.draws is not None:
        tell(96.0, "writing the draws of the areas")
        save_area_draws(result.draws, result.outcome, call["area_draws"], outputs)
