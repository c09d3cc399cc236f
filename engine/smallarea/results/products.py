"""What offices need from posterior draws, as tables: one row an area and response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from smallarea.results import differences as compare
from smallarea.results.draws import summarise
from smallarea.results.ensemble import constrained_bayes, triple_goal
from smallarea.results.exceedance import Direction, exceedance
from smallarea.results.posterior import PosteriorDraws
from smallarea.results.ranks import Ranks, mean_ranks, rank_areas

Vector = NDArray[np.float64]


def estimates_table(draws: PosteriorDraws, level: float) -> pd.DataFrame:
    """Posterior means, standard deviations and equal-tailed intervals.

    Parameters
    ----------
    draws : PosteriorDraws
        As they are, or benchmarked.
    level : float
        Coverage of the intervals.

    Returns
    -------
    pandas.DataFrame
        Columns ``area``, ``response``, ``direct``, ``estimate``, ``se``, ``lower``, ``upper``.
    """
    parts = []
    for k, response in enumerate(draws.responses):
        found = summarise(draws.theta[:, :, k], level)
        columns = {"direct": draws.direct[:, k], "estimate": found.mean, "se": found.sd}
        parts.append(_frame(draws, response, columns | {"lower": found.lower, "upper": found.upper}))
    return pd.concat(parts, ignore_index=True)


def exceedance_table(
    draws: PosteriorDraws, thresholds: Mapping[str, Sequence[float]], direction: Direction
) -> pd.DataFrame:
    """Probabilities of lying beyond thresholds.

    Parameters
    ----------
    draws : PosteriorDraws
        Draws.
    thresholds : mapping
        Response to thresholds in its units.
    direction : {'high', 'low'}
        Above or below.

    Returns
    -------
    pandas.DataFrame
        Columns ``area``, ``response``, ``direction`` (text ``above`` or ``below``), ``threshold``, ``probability``.
    """
    word = beyond(direction)
    parts = [pd.DataFrame(columns=["area", "response", "direction", "threshold", "probability"])]
    for response, values in thresholds.items():
        found = exceedance(draws.of(response), values, direction)
        for k, threshold in enumerate(values):
            columns = {"direction": word, "threshold": threshold, "probability": found[:, k]}
            parts.append(_frame(draws, response, columns))
    return pd.concat(parts[1:], ignore_index=True) if len(parts) > 1 else parts[0]


def ranks_table(draws: PosteriorDraws, level: float, top_share: float, direction: Direction) -> pd.DataFrame:
    """Ranks of the areas.

    Parameters
    ----------
    draws : PosteriorDraws
        Draws.
    level : float
        Coverage of the rank intervals.
    top_share : float
        Share of the areas that counts as the top.
    direction : {'high', 'low'}
        Which end has rank 1.

    Returns
    -------
    pandas.DataFrame
        Columns ``area``, ``response``, ``rank``, ``rank_mean``, ``rank_median``, ``rank_lower``, ``rank_upper``,
        ``rank_joint_lower``, ``rank_joint_upper``, ``p_top``; see :class:`smallarea.results.ranks.Ranks`.
    """
    parts = []
    for k, response in enumerate(draws.responses):
        found = rank_areas(draws.theta[:, :, k], level, top_share, direction)
        parts.append(_frame(draws, response, _rank_columns(found)))
    return pd.concat(parts, ignore_index=True)


def ensemble_table(draws: PosteriorDraws) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Estimates against over-shrinkage, and how much they moved.

    Parameters
    ----------
    draws : PosteriorDraws
        Draws.

    Returns
    -------
    estimates : pandas.DataFrame
        Columns ``area``, ``response``, ``constrained``, ``triple_goal``.
    factors : pandas.DataFrame
        Columns ``response``, ``factor``: by how much constrained Bayes stretches the posterior means.
    """
    parts, factors = [], []
    for k, response in enumerate(draws.responses):
        theta = draws.theta[:, :, k]
        estimates, factor = constrained_bayes(theta)
        goal = triple_goal(theta, mean_ranks(theta))
        parts.append(_frame(draws, response, {"constrained": estimates, "triple_goal": goal}))
        factors.append({"response": response, "factor": factor})
    return pd.concat(parts, ignore_index=True), pd.DataFrame(factors)


def differences_table(
    draws: PosteriorDraws,
    level: float,
    *,
    pairs: Sequence[tuple[str, str]] = (),
    reference: str | None = None,
    mean_weights: Vector | None = None,
    with_mean: bool = False,
    adjacency: sparse.csr_array | None = None,
) -> pd.DataFrame:
    """Differences between areas, and of areas from what they are compared with.

    Parameters
    ----------
    draws : PosteriorDraws
        Draws.
    level : float
        Coverage of the intervals.
    pairs : sequence of (str, str)
        Areas to compare with each other.
    reference : str, optional
        Area to compare all others with.
    mean_weights : ndarray, shape (N,), optional
        Weights of the areas in the mean of all; equal if not given.
    with_mean : bool
        Compare every area with the mean of all.
    adjacency : csr_array, shape (N, N), optional
        Compare every area with the mean of its neighbours.

    Returns
    -------
    pandas.DataFrame
        Columns ``area``, ``response``, ``comparison`` (``pair``, ``reference``, ``mean`` or ``neighbours``),
        ``against`` (an area id, or empty), ``difference``, ``se``, ``lower``, ``upper``, ``p_positive``.
    """
    at = {area: k for k, area in enumerate(draws.areas)}
    columns = ["area", "response", "comparison", "against", "difference", "se", "lower", "upper", "p_positive"]
    parts = [pd.DataFrame(columns=columns)]
    for k, response in enumerate(draws.responses):
        theta = draws.theta[:, :, k]
        if pairs:
            first, second = (np.array([at[pair[end]] for pair in pairs], dtype=np.intp) for end in (0, 1))
            found = compare.between_pairs(theta, first, second, level)
            names = [pair[0] for pair in pairs]
            parts.append(_differences(names, response, "pair", [pair[1] for pair in pairs], found))
        everywhere = {}
        if reference is not None:
            everywhere["reference"] = compare.from_area(theta, at[reference], level)
        if with_mean:
            everywhere["mean"] = compare.from_mean(theta, level, mean_weights)
        if adjacency is not None:
            everywhere["neighbours"] = compare.from_neighbours(theta, adjacency, level)
        for word, found in everywhere.items():
            against = reference if word == "reference" else ""
            parts.append(_differences(draws.areas, response, word, against, found))
    return pd.concat(parts[1:], ignore_index=True) if len(parts) > 1 else parts[0]


def beyond(direction: Direction) -> str:
    """Return the word for lying beyond a threshold."""
    return "above" if direction == "high" else "below"


def _frame(draws: PosteriorDraws, response: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    return pd.DataFrame({"area": list(draws.areas), "response": response, **columns})


def _rank_columns(found: Ranks) -> dict[str, Any]:
    whole = {"rank": found.rank, "rank_mean": found.mean, "rank_median": found.median}
    ends = {"rank_lower": found.lower, "rank_upper": found.upper}
    joint = {"rank_joint_lower": found.joint_lower, "rank_joint_upper": found.joint_upper}
    return {**whole, **ends, **joint, "p_top": found.top}


def _differences(
    areas: Sequence[str],
    response: str,
    comparison: str,
    against: str | Sequence[str] | None,
    found: compare.Differences,
) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "area": list(areas),
            "response": response,
            "comparison": comparison,
            "against": against,
            "difference": found.mean,
            "se": found.sd,
            "lower": found.lower,
            "upper": found.upper,
            "p_positive": found.positive,
        }
    )
