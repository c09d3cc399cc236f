"""Benchmarking as tables: draws or estimates of several responses, and what was adjusted in each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.summaries import tails
from smallarea.results.benchmark import FACTORS, Benchmarked, Method, Targets, benchmark
from smallarea.results.benchmark_points import BenchmarkedPoints, benchmark_points
from smallarea.results.posterior import PosteriorDraws

Vector = NDArray[np.float64]

BENCHMARK_COLUMNS = (
    "response", "margin", "group", "n_areas", "method", "kind", "target", "target_se", "before", "before_se", "after",
    "after_se", "adjustment", "adjustment_se", "gap_in_se",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What the areas have to add up to for one response.

    Attributes
    ----------
    group : ndarray of int, shape (M, N)
        Position of each area's group among those of the targets, for each margin.
    weights : ndarray, shape (N,)
        Of the areas in their groups.
    targets : Targets
        The groups' targets.
    """

    group: NDArray[np.int64]
    weights: Vector
    targets: Targets


def benchmarked_draws(
    draws: PosteriorDraws, wanted: Mapping[str, Wanted], method: Method, seed: int
) -> tuple[PosteriorDraws, pd.DataFrame]:
    """Adjust the draws of each response that has targets.

    Parameters
    ----------
    draws : PosteriorDraws
        From a fit.
    wanted : mapping
        Response to targets.
    method : {'ratio', 'difference', 'weighted_difference', 'raking'}
        See :mod:`smallarea.results.benchmark`.
    seed : int
        For targets with a standard error.

    Returns
    -------
    draws : PosteriorDraws
        Adjusted; responses without targets are as they were.
    table : pandas.DataFrame
        One row a response and group, see `adjustments`.
    """
    streams = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(draws.responses))]
    layers, parts = [], []
    for k, response in enumerate(draws.responses):
        theta = draws.theta[:, :, k]
        if response not in wanted:
            layers.append(theta)
            continue
        aim = wanted[response]
        found = benchmark(theta, draws.areas, aim.group, aim.weights, aim.targets, method, streams[k])
        layers.append(found.theta)
        parts.append(adjustments(response, aim.targets, method, found))
    theta = np.stack(layers, axis=2) if len(layers) > 1 else layers[0][:, :, None]
    return replace(draws, theta=theta), pd.concat(parts, ignore_index=True)


def benchmarked_estimates(
    areas: Sequence[str],
    response: str,
    estimates: Vector,
    variances: Vector | None,
    wanted: Wanted,
    method: Method,
    level: float,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Adjust the estimates of one response.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids.
    response : str
        Its name.
    estimates : ndarray, shape (N,)
        NaN for areas without one.
    variances : ndarray, shape (N,), or None
        Mean squared errors.
    wanted : Wanted
        Targets.
    method : {'ratio', 'difference', 'weighted_difference', 'raking'}
        See :mod:`smallarea.results.benchmark_points`.
    level : float
        Coverage of the intervals.

    Returns
    -------
    estimates : pandas.DataFrame, N rows
        Columns of `compared`.
    table : pandas.DataFrame
        One row a group, see `adjustments`.
    """
    found = benchmark_points(estimates, variances, areas, wanted.group, wanted.weights, wanted.targets, method)
    lower, upper = (found.estimate + special.ndtri(tail) * found.se for tail in tails(level))
    table = compared(estimates, found.estimate, found.se, lower, upper, method)
    return table, adjustments(response, wanted.targets, method, found)


def compared(
    before: Vector, estimate: Vector, se: Vector, lower: Vector, upper: Vector, method: Method
) -> pd.DataFrame:
    """Return benchmarked estimates as columns.

    Parameters
    ----------
    before : ndarray, shape (N,)
        Estimates before.
    estimate, se, lower, upper : ndarray, shape (N,)
        After.
    method : str
        Of benchmarking.

    Returns
    -------
    pandas.DataFrame
        Columns ``benchmarked``, ``benchmarked_se``, ``benchmarked_cv``, ``benchmarked_lower``, ``benchmarked_upper``,
        ``adjustment`` (the factor of a ratio or raking, what was added otherwise).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = estimate / before if method in FACTORS else estimate - before
        cv = np.where(estimate != 0.0, se / np.abs(estimate), np.nan)
    columns = {
        "benchmarked": estimate, "benchmarked_se": se, "benchmarked_cv": cv, "benchmarked_lower": lower,
        "benchmarked_upper": upper, "adjustment": moved,
    }  # fmt: skip
    return pd.DataFrame(columns)


def adjustments(
    response: str, targets: Targets, method: Method, found: Benchmarked | BenchmarkedPoints
) -> pd.DataFrame:
    """Return what was adjusted in each group.

    Parameters
    ----------
    response : str
        Its name.
    targets : Targets
        Its targets.
    method : str
        Of benchmarking.
    found : Benchmarked or BenchmarkedPoints
        What came out.

    Returns
    -------
    pandas.DataFrame
        One row a group with the columns `BENCHMARK_COLUMNS`: aggregates before and after, the adjustment (``t / A`` for
        factors, ``t - A`` else), and the gap ``t - A`` in its standard errors.
    """
    spread = np.hypot(found.before_se, targets.errors)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(spread > 0.0, (targets.values - found.before) / spread, np.nan)
    values: list[Any] = [
        response, list(targets.margins) or "", list(targets.groups), found.n_areas, method, targets.kind,
        targets.values, targets.errors, found.before, found.before_se, found.after, found.after_se, found.adjustment,
        found.adjustment_se, gap,
    ]  # fmt: skip
    return pd.DataFrame(dict(zip(BENCHMARK_COLUMNS, values, strict=True)))
