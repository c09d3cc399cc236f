"""The task `aggregate_surface`: from a posterior of BARTSIMP to areas of several levels, stratified if asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from smallarea.areas import Areas
from smallarea.errors import JobProblem, named
from smallarea.io import AtomicOutputs, check_suffix
from smallarea.unit_level.aggregate import AreaDraws, Level, level_of
from smallarea.unit_level.poststrata import Poststrata, StratumWeights
from smallarea.unit_level.predict_surface import SurfaceResult
from smallarea.workflows.levels_input import direct_columns, level_names, listed, read_levels
from smallarea.workflows.record import silent, within
from smallarea.workflows.stratum_totals import TotalKind, read_stratum_totals
from smallarea.workflows.surface_input import one_band, people_on
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

_SUFFIXES = {
    "output": ((".gpkg",), "a GeoPackage"),
    "csv": ((".csv",), "CSV"),
    "area_draws": ((".nc",), "NetCDF"),
    "report": ((".html", ".htm"), "a report"),
}
_OF_TOTALS = ("strata_band", "totals_layer", "totals_id_field")


@dataclass(frozen=True)
class AggregateSurfaceResult:
    """What `aggregate_surface` found.

    Attributes
    ----------
    outcome : str
        What was averaged.
    quantity : str
        What the numbers are: its expectation, or that of its share or rate.
    table : pandas.DataFrame
        One row an area of each level: ``layer`` (the level), then as in :class:`PredictSurfaceResult`. With strata,
        ``weight`` are people as the totals have them; of the first level, ``direct`` and ``direct_se`` where their
        fields are named.
    strata : pandas.DataFrame
        One row a stratum over all areas of the first level: ``stratum``, ``raster`` (people of the population raster in
        cells with predictions), ``people`` (as they count), ``estimate``, ``se``, ``lower``, ``upper``. Empty without
        strata.
    areas : dict of str to Areas
        Polygons of each level.
    draws : dict of str to AreaDraws
        Draws of the areas of each level; those of one number belong together in all levels.
    predicted, missing : int
        Cells with a prediction, and cells of the areas that lack a covariate.
    warnings, notes : tuple of str
        What to know before the numbers are used, and what was done.
    settings : dict
        The call.
    """

    outcome: str
    quantity: str
    table: pd.DataFrame
    strata: pd.DataFrame
    areas: dict[str, Areas]
    draws: dict[str, AreaDraws]
    predicted: int
    missing: int
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> dict[str, Any]:
        """Levels, cells, and areas with and without an estimate."""
        return {
            "outcome": self.outcome,
            "layers": list(self.areas),
            "n_cells": self.predicted,
            "n_missing_cells": self.missing,
            "n_areas": len(self.table),
            "n_estimated": int(self.table["estimate"].notna().sum()),
        }


def aggregate_surface(
    areas: PathLike | gpd.GeoDataFrame,
    *,
    posterior: PathLike,
    rasters: PathLike | Sequence[PathLike],
    layer: str | None = None,
    id_field: str | None = None,
    crs: str | None = None,
    repair: bool = False,
    more_areas: Sequence[PathLike | gpd.GeoDataFrame] = (),
    more_layers: str | Sequence[str] = (),
    more_id_fields: str | Sequence[str] = (),
    names: str | Sequence[str] = (),
    population: PathLike | None = None,
    population_band: str | None = None,
    strata_raster: PathLike | None = None,
    strata_band: str | None = None,
    totals: PathLike | pd.DataFrame | None = None,
    totals_layer: str | None = None,
    totals_id_field: str | None = None,
    stratum_field: str = "stratum",
    total_field: str = "total",
    total_kind: TotalKind = "people",
    direct_field: str | None = None,
    direct_se_field: str | None = None,
    cell: float | None = None,
    split: Literal["coverage", "centre"] = "coverage",
    draws: int = 500,
    seed: int = 1,
    level: float = 0.95,
    thresholds: Sequence[float] = (),
    output: PathLike | None = None,
    csv: PathLike | None = None,
    area_draws: PathLike | None = None,
    report: PathLike | None = None,
    progress: Progress | None = None,
) -> AggregateSurfaceResult:
    """Average draws of a surface over areas of one or several levels, with people and strata as weights.

    Parameters
    ----------
    areas : path or geopandas.GeoDataFrame
        Polygons of the first level, whose strata totals speak of.
    posterior : path
        What :func:`smallarea.fit_bartsimp` has written.
    rasters : path or sequence of path
        Rasters with all bands that the model was fitted with, of the same names.
    layer, id_field, crs, repair
        How to read the polygons; see :func:`smallarea.areas.read_areas`. `crs` and `repair` hold for all levels.
    more_areas : sequence of path or geopandas.GeoDataFrame
        Polygons of further levels.
    more_layers, more_id_fields : str or sequence of str
        Their layers (where files have several) and id fields: none, or one for each.
    names : str or sequence of str
        What the levels are called, the first one first; as their layers or files if not given.
    population : path, optional
        Raster of people, the weights of the cells.
    population_band : str, optional
        Its band, where it has several.
    strata_raster : path, optional
        Raster with the code of each cell's stratum, such as urban and rural.
    strata_band : str, optional
        Its band, where it has several.
    totals : path or DataFrame, optional
        How many people live in each stratum of each area of the first level, one row for each.
    totals_layer, totals_id_field : str, optional
        Layer or sheet of the totals, and their field with the area ids; `id_field` if not given.
    stratum_field, total_field : str
        Their fields with the stratum's code and the people.
    total_kind : {'people', 'shares'}
        Whether totals are numbers of people, or shares of the people of an area.
    direct_field, direct_se_field : str, optional
        Fields of the first layer with direct estimates and their standard errors, to be shown beside the others.
    cell : float, optional
        Side of the cells, for a model fitted without rasters.
    split : {'coverage', 'centre'}
        What becomes of cells on a border.
    draws : int
        Draws to use at most.
    seed : int
        Same seed, same draws, whatever the areas of the same region.
    level : float
        Coverage of the intervals.
    thresholds : sequence of float
        Values whose probability of being exceeded is given.
    output, csv, area_draws, report : path, optional
        What to write; all files appear together. With several levels, the draws of each go to a file of its own, with
        the level's name before the ending.
    progress : callable, optional
        ``progress(percent, text)``; what it raises stops the run.

    Returns
    -------
    AggregateSurfaceResult

    Raises
    ------
    JobProblem
        If parameters do not fit each other.
    OutputProblem
        If the posterior cannot be read, or an output cannot be written; none is then.
    RasterProblem
        If the rasters lack a band, or no cell can be predicted.
    GeometryProblem
        If polygons cannot be used.
    TableProblem
        If totals do not fit areas or strata.
    EngineUnavailable
        If rasterio is not installed.
    """
    call = {name: value for name, value in locals().items() if name not in ("areas", "progress")}
    call |= {name: listed(call[name]) for name in ("more_areas", "more_layers", "more_id_fields", "names")}
    sources = [areas, *call["more_areas"]]
    called = level_names(sources, call)
    _check(call)
    tell = progress or silent
    tell(0.0, "reading the posterior")
    run = open_run(posterior, rasters, cell)
    tell(3.0, "reading the areas")
    polygons = read_levels(sources, called, call)
    direct = direct_columns(polygons[called[0]], direct_field, direct_se_field)
    levels = [level_of(name, one.ids, one.frame, run.grid) for name, one in polygons.items()]
    with ExitStack() as stack:
        outputs = stack.enter_context(AtomicOutputs())
        stack.enter_context(run.stack)
        people = stack.enter_context(people_on(run.grid, population, population_band))
        found = run.predict(
            levels, people if population is not None else None, draws=draws, seed=seed, tell=within(tell, 5.0, 90.0),
            split=split, strata=_strata(call, run, levels[0], stack),
        )  # fmt: skip
        result = _result(found, run, polygons, call, direct)
        _write(result, outputs, call, tell)
    return result


def _check(call: Mapping[str, Any]) -> None:
    check_surface_call(call)
    if call["direct_se_field"] is not None and call["direct_field"] is None:
        raise JobProblem("'direct_se_field' belongs to 'direct_field', which is not given.")
    if (call["strata_raster"] is None) != (call["totals"] is None):
        raise JobProblem("'strata_raster' and 'totals' belong together: give both or none.")
    alone = [name for name in _OF_TOTALS if call[name] is not None and call["totals"] is None]
    if alone:
        raise JobProblem(f"{named(alone)} belong to strata, and there are none. Give 'strata_raster' and 'totals'.")
    if call["totals"] is not None and (call["totals_id_field"] or call["id_field"]) is None:
        raise JobProblem(
            "Say which field of the totals has the area ids (totals_id_field), and of the areas (id_field)."
        )
    if call["total_kind"] not in ("people", "shares"):
        raise JobProblem(f"There is no total_kind {call['total_kind']!r}. Choose people or shares.")
    for name, (suffixes, what) in _SUFFIXES.items():
        if call[name] is not None:
            check_suffix(call[name], suffixes, what)


def _strata(call: Mapping[str, Any], run: SurfaceRun, first: Level, stack: ExitStack) -> Poststrata | None:
    if call["totals"] is None:
        return None
    totals = read_stratum_totals(
        call["totals"], call["totals_layer"], call["totals_id_field"] or call["id_field"], call["stratum_field"],
        call["total_field"], call["total_kind"], first.ids,
    )  # fmt: skip
    bands = stack.enter_context(
        one_band(run.grid, call["strata_raster"], call["strata_band"], "categorical", "strata_band")
    )
    return Poststrata(bands, first.ids, first.shapes, totals)


def _result(
    found: SurfaceResult,
    run: SurfaceRun,
    polygons: dict[str, Areas],
    call: Mapping[str, Any],
    direct: Mapping[str, pd.Series],
) -> AggregateSurfaceResult:
    tables: list[pd.DataFrame] = []
    for name in polygons:
        table = area_table(found.areas[name], run.outcome, call["level"], call["thresholds"])
        table.insert(0, "layer", name)
        tables.append(table.assign(**direct) if not tables else table)
    repaired = [note for one in polygons.values() for note in one.repairs]
    settings = {
        name: value for name, value in call.items() if isinstance(value, str | int | float | list | os.PathLike)
    }
    return AggregateSurfaceResult(
        run.outcome, run.quantity, pd.concat(tables, ignore_index=True),
        _strata_table(found.strata, call["level"]), polygons, found.areas, found.predicted,
        found.missing, run.warnings(), (*repaired, *found.notes, *run.notes()), settings,
    )  # fmt: skip


def _strata_table(weights: StratumWeights | None, level: float) -> pd.DataFrame:
    """Say of each stratum how many people it has, before and after, and its mean."""
    columns = ["stratum", "raster", "people", "estimate", "se", "lower", "upper"]
    if weights is None:
        return pd.DataFrame(columns=columns)
    lower, upper = np.quantile(weights.draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    values = [weights.codes, weights.before.sum(axis=0), weights.after.sum(axis=0), weights.draws.mean(axis=0)]
    values += [weights.draws.std(axis=0, ddof=1), lower, upper]
    return pd.DataFrame(dict(zip(columns, values, strict=True)))


def _write(result: AggregateSurfaceResult, outputs: AtomicOutputs, call: Mapping[str, Any], tell: Progress) -> None:
    """Write a layer and a file of draws for each level, all files or none."""
    target = None if call["output"] is None else outputs.path(call["output"])
    first = next(iter(result.areas))
    for name, areas in result.areas.items():
        own = result.table[result.table["layer"] == name].drop(columns="layer")
        if name != first:
            own = own.drop(columns=["direct", "direct_se"], errors="ignore")
        if target is not None:
            tell(92.0, f"writing the map of {name}")
            write_areas(own, areas, target, name, result.outcome)
        if call["area_draws"] is not None:
            tell(96.0, f"writing the draws of {name}")
            whole = Path(call["area_draws"])
            path = whole if len(result.areas) == 1 else whole.with_name(f"{whole.stem}_{name}{whole.suffix}")
            save_area_draws(result.draws[name], result.outcome, path, outputs)
    if call["csv"] is not None:
        result.table.to_csv(outputs.path(call["csv"]), index=False)
    if call["report"] is not None:
        from smallarea.report.levels_page import write_levels_report

        tell(98.0, "writing the report")
        write_levels_report(result, str(outputs.path(call["report"])))
    tell(100.0, "done")
