"""League tables that say how little is known about a place in them.

Ranks are those of the areas that have an estimate. With ``direction='high'`` rank 1 is the largest quantity, with
``'low'`` the smallest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from smallarea.area_level.summaries import tails
from smallarea.results.draws import blocks, estimated, summarise
from smallarea.results.exceedance import Direction

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Ranks:
    """Posterior distribution of each area's rank; arrays of shape (N,), NaN for areas without an estimate.

    Attributes
    ----------
    rank : ndarray
        Rank of the posterior mean rank (Shen and Louis 1998): the published place. Ties share the better place.
    mean, median : ndarray
        Posterior mean rank (Laird and Louis 1989) and median rank.
    lower, upper : ndarray
        Equal-tailed interval: at most (1 - level) / 2 of the draws have a rank beyond either end.
    top : ndarray
        Probability of being among the first ``n_top``.
    n_top : int
        How many places that is.
    joint_lower, joint_upper : ndarray
        Set of ranks that holds for all areas at once with probability of at least ``level``.
    """

    rank: Vector
    mean: Vector
    median: Vector
    lower: Vector
    upper: Vector
    top: Vector
    n_top: int
    joint_lower: Vector
    joint_upper: Vector


def rank_areas(theta: Vector, level: float, top_share: float = 0.1, direction: Direction = "high") -> Ranks:
    """Rank the areas in every draw and summarise their ranks.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    level : float
        Coverage of the intervals.
    top_share : float
        Share of the areas that counts as the top, rounded up to whole areas.
    direction : {'high', 'low'}
        Which end has rank 1.

    Returns
    -------
    Ranks
        Of each area.

    References
    ----------
    Laird, N. M. and Louis, T. A. (1989). Empirical Bayes ranking methods. Journal of Educational Statistics 14, 29-46.
    Shen, W. and Louis, T. A. (1998). Triple-goal estimates in two-stage hierarchical models. JRSS B 60, 455-471.
    """
    there = np.flatnonzero(estimated(theta))
    count = len(there)
    n_top = max(1, math.ceil(round(top_share * count, 9))) if count else 0
    found = {name: np.full(theta.shape[1], np.nan) for name in ("mean", "median", "lower", "upper", "top")}
    drawn = _ranks_of_draws(theta, there, direction)
    for part, block in blocks(drawn):
        places = there[part]
        found["mean"][places] = block.mean(axis=1)
        found["top"][places] = np.mean(block <= n_top, axis=1)
        quantiles = np.quantile(block, (*tails(level), 0.5), axis=1, method="inverted_cdf")
        found["lower"][places], found["upper"][places], found["median"][places] = quantiles
    place = np.full(theta.shape[1], np.nan)
    place[there] = stats.rankdata(found["mean"][there], method="min")
    joint_lower, joint_upper = joint_rank_sets(theta, level, direction)
    return Ranks(place, n_top=n_top, joint_lower=joint_lower, joint_upper=joint_upper, **found)


def joint_rank_sets(theta: Vector, level: float, direction: Direction = "high") -> tuple[Vector, Vector]:
    """Ranks that hold for all areas at once.

    A simultaneous credible band ``mean_i +- c sd_i`` is widened (c) until it holds all areas' quantities in a share
    ``level`` of the draws. Area i then ranks behind every area whose interval lies wholly beyond its own, and before
    every area whose interval lies wholly short of it: the construction of Klein, Wright and Wieczorek (2020)
    with credible instead of confidence intervals.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    level : float
        Joint probability.
    direction : {'high', 'low'}
        Which end has rank 1.

    Returns
    -------
    lower, upper : ndarray, shape (N,)
        First and last possible rank; NaN for areas without an estimate.

    References
    ----------
    Klein, M., Wright, T. and Wieczorek, J. (2020). A joint confidence region for an overall ranking of populations.
    JRSS C 69, 589-606.
    """
    summary = summarise(theta, level)
    there = np.flatnonzero(np.isfinite(summary.mean))
    lower, upper = np.full((2, theta.shape[1]), np.nan)
    if not len(there):
        return lower, upper
    furthest = np.zeros(len(theta))
    for part, block in blocks(theta):
        moving = summary.sd[part] > 0.0
        away = np.abs(block[moving] - summary.mean[part][moving, None]) / summary.sd[part][moving, None]
        furthest = np.maximum(furthest, away.max(axis=0, initial=0.0))
    half = float(np.quantile(furthest, level, method="inverted_cdf")) * summary.sd[there]
    sign = -1.0 if direction == "high" else 1.0
    middle = sign * summary.mean[there]
    # In the sorted limits: how many intervals end before this one begins, and how many begin after it ends.
    before = np.searchsorted(np.sort(middle + half), middle - half, side="left")
    after = len(there) - np.searchsorted(np.sort(middle - half), middle + half, side="right")
    lower[there], upper[there] = before + 1, len(there) - after
    return lower, upper


def mean_ranks(theta: Vector) -> Vector:
    """Posterior mean rank of each area, 1 for the smallest quantity.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.

    Returns
    -------
    ndarray, shape (N,)
        NaN for areas without an estimate.
    """
    there = np.flatnonzero(estimated(theta))
    total = np.zeros(len(there))
    for row in theta:
        total += _ranks(row[there])
    found = np.full(theta.shape[1], np.nan)
    found[there] = total / len(theta)
    return found


def _ranks_of_draws(theta: Vector, there: NDArray[np.intp], direction: Direction) -> NDArray[np.float32]:
    """Rank the areas in each draw, shape (S, M); single precision holds ranks exactly."""
    ranks = np.empty((len(theta), len(there)), dtype=np.float32)
    for row, target in zip(theta, ranks, strict=True):
        target[:] = _ranks(-row[there] if direction == "high" else row[there])
    return ranks


def _ranks(values: Vector) -> Vector:
    """Rank numbers, 1 for the smallest; ties share their mean rank."""
    order = np.argsort(values)
    if np.any(np.diff(values[order]) == 0.0):
        return np.asarray(stats.rankdata(values))
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    return ranks
