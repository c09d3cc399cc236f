"""The task `predict_surface`: from a posterior of BARTSIMP and rasters to a surface and areas, in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from smallarea.areas import Areas, read_areas
from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, add_layer, check_suffix
from smallarea.unit_level import BartsimpPosterior
from smallarea.unit_level.aggregate import AreaDraws, level_of
from smallarea.unit_level.posterior_file import load_posterior
from smallarea.unit_level.predict_surface import SurfaceResult, SurfaceStatistics
from smallarea.unit_level.predict_surface import predict_surface as predict_cells
from smallarea.unit_level.surface import SurfaceDraws
from smallarea.workflows.bartsimp_covariates import CodedStack, Coding
from smallarea.workflows.bartsimp_result import convergence_warnings
from smallarea.workflows.record import silent, within
from smallarea.workflows.surface_input import (
    ModelDraws,
    about_posterior,
    beyond_warning,
    bounds_of_cells,
    covariates_on,
    people_on,
    prediction_grid,
)

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]
Vector = NDArray[np.float64]

LAYER = "areas"
_SUFFIXES = {
    "surface": ((".tif", ".tiff"), "a GeoTIFF"),
    "output": ((".gpkg",), "a GeoPackage"),
    "csv": ((".csv",), "CSV"),
    "area_draws": ((".nc",), "NetCDF"),
}


@dataclass(frozen=True)
class PredictSurfaceResult:
    """What `predict_surface` found.

    Attributes
    ----------
    outcome : str
        What was predicted.
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
    surface, output, csv, area_draws : path, optional
        What to write; all files appear together.
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
    paths = [rasters] if isinstance(rasters, str | os.PathLike) else list(rasters)
    _check(call, areas is not None)
    tell = progress or silent
    tell(0.0, "reading the posterior")
    drawn, about = load_posterior(posterior), about_posterior(posterior)
    coding = Coding.read(about["coding"])
    grid = prediction_grid(about, paths, cell)
    polygons = None if areas is None else read_areas(areas, layer=layer, id_field=id_field, crs=crs, repair=repair)
    levels = [] if polygons is None else [level_of(LAYER, polygons.ids, polygons.frame, grid)]
    region = None if not levels else shapely.union_all(levels[0].shapes)
    statistics = SurfaceStatistics(((1.0 - level) / 2.0, 0.5, (1.0 + level) / 2.0), tuple(thresholds))
    stack = covariates_on(grid, paths, coding, drawn.clusters)
    with AtomicOutputs() as outputs, stack, people_on(grid, population, population_band) as people:
        tell(5.0, "finding the cells")
        bounds = bounds_of_cells(stack, about["crs"], region)
        source = ModelDraws(SurfaceDraws(drawn, bounds, draws=draws, seed=seed), stack, about["transformation"])
        found = predict_cells(
            source, stack, crs=about["crs"], output=surface, outputs=outputs, statistics=statistics, levels=levels,
            population=people if population is not None else None, region=region, split=split,
            progress=within(tell, 10.0, 90.0),
        )  # fmt: skip
        result = _result(found, drawn, about, polygons, call, statistics, stack)
        _write(result, outputs, call, tell)
    return result


def _check(call: Mapping[str, Any], has_areas: bool) -> None:
    if call["split"] not in ("coverage", "centre"):
        raise JobProblem(f"There is no split {call['split']!r}. Choose coverage or centre.")
    if call["population_band"] is not None and call["population"] is None:
        raise JobProblem("'population_band' names a band of 'population', which is not given.")
    if not 0.0 < call["level"] < 1.0:
        raise JobProblem(f"level lies between 0 and 1; got {call['level']!r}.")
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
    posterior: BartsimpPosterior,
    about: Mapping[str, Any],
    polygons: Areas | None,
    call: Mapping[str, Any],
    statistics: SurfaceStatistics,
    stack: CodedStack,
) -> PredictSurfaceResult:
    outcome = str(about["outcome"])
    drawn = found.areas.get(LAYER)
    table = pd.DataFrame(columns=["area", "response", "estimate"])
    if drawn is not None:
        table = drawn.table(call["level"])
        table.insert(1, "response", outcome)
        for threshold in call["thresholds"]:
            above = np.where(np.isnan(drawn.values).any(axis=0), np.nan, (drawn.values > threshold).mean(axis=0))
            table[f"p_above_{threshold:g}"] = above
    warnings = convergence_warnings(posterior) + beyond_warning(stack.shares_beyond(), "cells")
    notes = found.notes
    if about["transformation"] == "empirical_logit":
        notes += (
            f"{outcome!r} was modelled as empirical logits; what is mapped are shares, from each draw of a logit.",
        )
    settings = {name: os.fspath(v) if isinstance(v, os.PathLike) else v for name, v in call.items() if v is not None}
    return PredictSurfaceResult(
        outcome, table, polygons, drawn, found.predicted, found.missing, statistics.names, warnings, notes, settings
    )


def _write(result: PredictSurfaceResult, outputs: AtomicOutputs, call: Mapping[str, Any], tell: Progress) -> None:
    """Write the areas beside the surface, all files or none."""
    if call["output"] is not None and result.areas is not None:
        from smallarea.io.styles import estimates_styles, store_styles
        from smallarea.results.layers import joined_layer

        tell(92.0, "writing the map")
        path, frame = outputs.path(call["output"]), joined_layer(result.table, result.areas)
        renamed = add_layer(frame, path, LAYER)
        styles = estimates_styles(frame.rename(columns=renamed), fields=renamed, title=result.outcome)
        store_styles(path, LAYER, styles)
    if call["csv"] is not None:
        result.table.to_csv(outputs.path(call["csv"]), index=False)
    if call["area_draws"] is not None and result.draws is not None:
        tell(96.0, "writing the draws of the areas")
        _estimated(result.draws).posterior(result.outcome).save(outputs.path(call["area_draws"]))
    tell(100.0, "done")


def _estimated(draws: AreaDraws) -> AreaDraws:
    """Return the areas that have an estimate."""
    keep = np.flatnonzero(~np.isnan(draws.values).any(axis=0))
    return replace(
        draws, ids=tuple(draws.ids[i] for i in keep), values=draws.values[:, keep], weight=draws.weight[keep],
        predicted=draws.predicted[keep], cells=draws.cells[keep],
    )  # fmt: skip
