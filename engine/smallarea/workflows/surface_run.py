"""What predictions over a grid share: the posterior and its rasters opened, one pass, tables and files of areas."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import shapely

from smallarea.areas import Areas
from smallarea.errors import JobProblem
from smallarea.io import AtomicOutputs, add_layer
from smallarea.io.raster_grid import Grid
from smallarea.io.rasters import RasterStack
from smallarea.unit_level import BartsimpPosterior
from smallarea.unit_level.aggregate import AreaDraws, Level
from smallarea.unit_level.posterior_file import load_posterior
from smallarea.unit_level.predict_surface import SurfaceResult
from smallarea.unit_level.predict_surface import predict_surface as predict_cells
from smallarea.unit_level.surface import SurfaceDraws
from smallarea.workflows.bartsimp_counts import surface_notes
from smallarea.workflows.bartsimp_covariates import CodedStack, Coding
from smallarea.workflows.bartsimp_result import convergence_warnings
from smallarea.workflows.record import within
from smallarea.workflows.surface_input import (
    ModelDraws,
    about_posterior,
    beyond_warning,
    bounds_of_cells,
    covariates_on,
    prediction_grid,
)

PathLike = str | os.PathLike[str]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class SurfaceRun:
    """A posterior and the rasters to predict from.

    Attributes
    ----------
    posterior : BartsimpPosterior
        The draws.
    about : dict
        What is known of the fit.
    stack : CodedStack
        The model's columns on the grid; open it in a ``with`` block.
    """

    posterior: BartsimpPosterior
    about: Mapping[str, Any]
    stack: CodedStack

    @property
    def grid(self) -> Grid:
        """The cells."""
        return self.stack.grid

    @property
    def outcome(self) -> str:
        """Name of the outcome."""
        return str(self.about["outcome"])

    @property
    def quantity(self) -> str:
        """What the numbers are."""
        likelihood = self.posterior.settings.likelihood
        shares = self.about["transformation"] == "empirical_logit" or likelihood == "binomial"
        kind = "share" if shares else "rate" if likelihood == "negative_binomial" else ""
        return f"expected {kind} of {self.outcome}" if kind else f"expected {self.outcome}"

    def predict(
        self,
        levels: Sequence[Level],
        people: RasterStack | None,
        *,
        draws: int,
        seed: int,
        tell: Progress,
        **more: Any,
    ) -> SurfaceResult:
        """Go over the cells once.

        Parameters
        ----------
        levels : sequence of Level
            Polygons; without any, all cells are predicted.
        people : RasterStack or None
            Open, the weights of the cells.
        draws, seed : int
            Draws to use at most, and the field's seed.
        tell : callable
            Progress.
        **more
            For :func:`smallarea.unit_level.predict_surface.predict_surface`.

        Returns
        -------
        SurfaceResult
        """
        tell(0.0, "finding the cells")
        region = shapely.union_all([shape for level in levels for shape in level.shapes]) if levels else None
        bounds = bounds_of_cells(self.stack, self.about["crs"], region)
        surface = SurfaceDraws(self.posterior, bounds, draws=draws, seed=seed)
        source = ModelDraws(surface, self.stack, self.about["transformation"])
        return predict_cells(
            source, self.stack, crs=self.about["crs"], levels=levels, population=people, region=region,
            progress=within(tell, 5.0, 100.0), **more,
        )  # fmt: skip

    def warnings(self) -> tuple[str, ...]:
        """Say, after the pass, what must be known before the numbers are used."""
        return convergence_warnings(self.posterior) + beyond_warning(self.stack.shares_beyond(), "cells")

    def notes(self) -> tuple[str, ...]:
        """Say on which scale predictions are, where it is not that of the model."""
        if self.about["transformation"] != "empirical_logit":
            return surface_notes(self.posterior, self.outcome)
        return (
            f"{self.outcome!r} was modelled as empirical logits; what is mapped are shares, from each draw of a logit.",
        )


def open_run(posterior: PathLike, rasters: PathLike | Sequence[PathLike], cell: float | None) -> SurfaceRun:
    """Read a posterior and lay the rasters on its grid.

    Raises
    ------
    JobProblem
        If a cell size is given although the fit has a grid.
    OutputProblem
        If the posterior cannot be used.
    RasterProblem
        If the rasters lack a covariate.
    """
    paths = [rasters] if isinstance(rasters, str | os.PathLike) else list(rasters)
    drawn, about = load_posterior(posterior), about_posterior(posterior)
    grid = prediction_grid(about, paths, cell)
    return SurfaceRun(drawn, about, covariates_on(grid, paths, Coding.read(about["coding"]), drawn.clusters))


def check_surface_call(call: Mapping[str, Any]) -> None:
    """Refuse what no prediction of areas can use.

    Raises
    ------
    JobProblem
        Saying what.
    """
    if call["split"] not in ("coverage", "centre"):
        raise JobProblem(f"There is no split {call['split']!r}. Choose coverage or centre.")
    if call["population_band"] is not None and call["population"] is None:
        raise JobProblem("'population_band' names a band of 'population', which is not given.")
    if not 0.0 < call["level"] < 1.0:
        raise JobProblem(f"level lies between 0 and 1; got {call['level']!r}.")


def area_table(drawn: AreaDraws, outcome: str, level: float, thresholds: Sequence[float]) -> pd.DataFrame:
    """Summarise the draws of areas.

    Parameters
    ----------
    drawn : AreaDraws
        The draws.
    outcome : str
        What was predicted.
    level : float
        Coverage of the intervals.
    thresholds : sequence of float
        Values whose probability of being exceeded is given.

    Returns
    -------
    pandas.DataFrame
        One row an area: ``area``, ``response``, ``estimate``, ``se``, ``cv``, ``lower``, ``upper``, ``weight``,
        ``predicted``, ``cells`` and ``p_above_T`` for each threshold T.
    """
    table = drawn.table(level)
    table.insert(1, "response", outcome)
    for threshold in thresholds:
        above = np.where(np.isnan(drawn.values).any(axis=0), np.nan, (drawn.values > threshold).mean(axis=0))
        table[f"p_above_{threshold:g}"] = above
    return table


def write_areas(table: pd.DataFrame, areas: Areas, target: Path, layer: str, title: str) -> None:
    """Add a layer of areas with their estimates and styles to a GeoPackage.

    Parameters
    ----------
    table : pandas.DataFrame
        By :func:`area_table`.
    areas : Areas
        The polygons.
    target : pathlib.Path
        The GeoPackage, the temporary path of an `AtomicOutputs`.
    layer, title : str
        Name of the layer, and of what its styles show.
    """
    from smallarea.io.styles import estimates_styles, store_styles
    from smallarea.results.layers import joined_layer

    frame = joined_layer(table, areas)
    renamed = add_layer(frame, target, layer)
    store_styles(target, layer, estimates_styles(frame.rename(columns=renamed), fields=renamed, title=title))


def save_area_draws(drawn: AreaDraws, outcome: str, path: PathLike, outputs: AtomicOutputs) -> None:
    """Write the draws of the areas that have an estimate."""
    keep = np.flatnonzero(~np.isnan(drawn.values).any(axis=0))
    estimated = replace(
        drawn, ids=tuple(drawn.ids[i] for i in keep), values=drawn.values[:, keep], weight=drawn.weight[keep],
        predicted=drawn.predicted[keep], cells=drawn.cells[keep],
    )  # fmt: skip
    estimated.posterior(outcome).save(outputs.path(path))
