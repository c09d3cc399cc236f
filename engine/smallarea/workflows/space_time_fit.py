"""From checked cells to the tables of a space-time fit, Bayesian or frequentist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from smallarea.area_level import (
    SpaceTimeSpecification,
    bootstrap_space_time,
    stack_periods,
    standardise,
)
from smallarea.area_level import fit_space_time as fit_eblup_in_time
from smallarea.area_level.hmc import normal_observations
from smallarea.area_level.sar import graph_weights
from smallarea.errors import named
from smallarea.results.space_time_result import in_time
from smallarea.results.stfh_tables import stfh_tables
from smallarea.results.tables import FitTables
from smallarea.workflows.fit_hmc import HmcSettings, fit_hmc
from smallarea.workflows.fit_model import Settings, fit_stacked
from smallarea.workflows.space_time_input import SpaceTimeInput

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph

Progress = Callable[[float, str], None]

# The shape of the frequentist model, as it is printed.
_STFH = """direct_it ~ N(theta_it, variance_it)
theta_it = {terms} + u_i + w_it
t = {first} to {last}, {count} periods; the same coefficients in all
u ~ N(0, sd_area^2 ((I - rho_area B)'(I - rho_area B))^-1), B the rows of W divided by their sums
w_it = rho_time w_i,t-1 + N(0, sd_time^2), stationary"""


@dataclass(frozen=True)
class SpaceTimeFit:
    """Tables with a period in each row, the printed model, seconds by stage, what to warn of, what to record."""

    tables: FitTables
    formula: str
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    record: dict[str, Any] = field(default_factory=dict)


def fit_in_time(
    found: SpaceTimeInput,
    specification: SpaceTimeSpecification,
    graph: AreaGraph,
    response: str,
    settings: Settings | HmcSettings,
    tell: Progress,
) -> SpaceTimeFit:
    """Fit a separable space-time model by any method.

    Parameters
    ----------
    found : SpaceTimeInput
        The data.
    specification : SpaceTimeSpecification
        The model.
    graph : AreaGraph
        The adjacency graph of the areas in their order.
    response : str
        Field with the direct estimates.
    settings : Settings or HmcSettings
        How to fit; the latter for the method ``hmc``.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.

    Returns
    -------
    SpaceTimeFit
        Tables in the units of the input.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    stacked = stack_periods(standardise(found.cells, specification.intercept), len(found.periods.labels))
    tell(0.0, "fitting the model")
    if isinstance(settings, HmcSettings):
        observations = normal_observations(stacked, found.ids)
        fitted = fit_hmc(found.by_period(), stacked, observations, specification, graph, settings, tell)
    else:
        fitted = fit_stacked(found.by_period(), stacked, specification, graph, settings, tell)
    tables = in_time(fitted.tables, found.periods.column(), response)
    return SpaceTimeFit(tables, str(fitted.specification), fitted.seconds, fitted.warnings, fitted.record)


def fit_stfh(
    found: SpaceTimeInput,
    graph: AreaGraph,
    response: str,
    *,
    intercept: bool,
    method: str,
    level: float,
    replicates: int,
    seed: int,
    tell: Progress,
) -> SpaceTimeFit:
    """Fit the space-time model of Marhuenda, Molina and Morales (2013), with bootstrap mean squared errors.

    Parameters
    ----------
    found : SpaceTimeInput
        The data.
    graph : AreaGraph
        The adjacency graph of the areas in their order.
    response : str
        Field with the direct estimates.
    intercept, method, level, replicates, seed
        As in the job ``fit_space_time``.
    tell : callable
        ``tell(percent, text)``; may raise to cancel.

    Returns
    -------
    SpaceTimeFit
        Tables in the units of the input.

    Raises
    ------
    SmallareaError
        Of the family that says what to mend.
    """
    periods = found.periods.labels
    cells = standardise(found.cells, intercept)
    shape = (len(found.ids), len(periods))
    arrays = (cells.y.reshape(shape), cells.v.reshape(shape), cells.x.reshape(*shape, -1), graph_weights(graph))
    fit = fit_eblup_in_time(*arrays, method=method, progress=lambda _, text: tell(2.0, text))
    bootstrap = bootstrap_space_time(
        *arrays,
        fit,
        method=method,
        replicates=replicates,
        seed=seed,
        progress=lambda percent, text: tell(max(5.0, percent), text),
    )
    terms = [*(["intercept"] if intercept else []), *found.cells.covariate_names]
    tables = stfh_tables(found.by_period(), cells, fit, bootstrap.mse, periods=periods, terms=terms, level=level)
    formula = _STFH.format(terms=" + ".join(terms), first=periods[0], last=periods[-1], count=len(periods))
    return SpaceTimeFit(in_time(tables, found.periods.column(), response), formula, {}, fit.notes)


def space_time_warnings(found: SpaceTimeInput, graph: AreaGraph, islands_apart: bool) -> list[str]:
    """Say what a user should know of the data before trusting the estimates.

    Parameters
    ----------
    found : SpaceTimeInput
        The data.
    graph : AreaGraph
        The adjacency graph.
    islands_apart : bool
        Whether areas without neighbours have no effect but an independent one.

    Returns
    -------
    list of str
        May be empty.
    """
    said = []
    cells = found.cells
    aside = [name for name, note in zip(cells.areas, cells.notes, strict=True) if "set aside" in note]
    if aside:
        said.append(
            f"{len(aside)} direct estimates have no positive sampling variance and were set aside: {named(aside)}. "
            "They are treated as missing."
        )
    gone = [name for name, ok in zip(cells.areas, cells.estimable.tolist(), strict=True) if not ok]
    if gone:
        said.append(f"{len(gone)} cells lack a covariate value and have no estimate: {named(gone)}.")
    seen = cells.sampled.reshape(len(found.ids), -1)
    without = [found.periods.labels[at] for at in np.flatnonzero(~seen.any(axis=0)).tolist()]
    if without:
        said.append(
            f"{len(without)} periods have no direct estimate at all: {named(without)}. Their predictions rest on the "
            "covariates and on the periods beside them."
        )
    if islands_apart and graph.islands:
        said.append(
            f"{len(graph.islands)} areas have no neighbour and borrow strength from the covariates only, not from "
            f"their own past: {named(graph.islands)}. With leroux or bym2 effects they do."
        )
    labels = np.asarray(graph.component_labels)
    sampled = np.bincount(labels, weights=np.any(seen, axis=1))
    empty = (np.bincount(labels) > (1 if islands_apart else 0)) & (sampled == 0)
    alone = [found.ids[at] for at in np.flatnonzero(empty[labels]).tolist()]
    if alone:
        said.append(
            f"{len(alone)} areas lie in parts of the map without any direct estimate in any period: {named(alone)}. "
            "Their predictions are as uncertain as the prior of the effects."
        )
    return said
