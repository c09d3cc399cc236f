"""How good were the estimates? Against the direct estimates, and against the truth where it comes to be known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special, stats

from smallarea.area_level.summaries import tails
from smallarea.errors import JobProblem
from smallarea.results.draws import blocks
from smallarea.results.posterior import PosteriorDraws

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class OverlapTest:
    """Do the intervals of direct and model estimates overlap as often as they should? (Brown et al. 2001).

    Attributes
    ----------
    n, apart : int
        Areas with both estimates, and those whose intervals do not overlap.
    expected : float
        How many would not if the two were independent and unbiased.
    p_value : float
        Probability of as many or more (binomial). Model and direct estimate of an area are positively correlated, so
        the test is conservative: a small value is alarming, a large one proves little.
    areas : tuple of str
        Those whose intervals do not overlap.
    """

    n: int
    apart: int
    expected: float
    p_value: float
    areas: tuple[str, ...]


def overlap(estimates: pd.DataFrame, level: float = 0.95) -> OverlapTest | None:
    """Coverage diagnostic of model estimates.

    Two intervals of coverage ``level`` fail to overlap far less often than ``1 - level``. Brown et al. shorten them by
    the factor ``sqrt(1 + s1^2 / s2^2) / (1 + s1 / s2)``, s1 and s2 the standard errors, so that they do; overlapping is
    then the same as ``|direct - estimate| <= z sqrt(s1^2 + s2^2)``.

    Parameters
    ----------
    estimates : pandas.DataFrame
        Estimates table of one response: ``area``, ``direct``, ``direct_se``, ``estimate``, ``se``.
    level : float
        Coverage of the intervals.

    Returns
    -------
    OverlapTest or None
        None if no area has both estimates with their errors.

    References
    ----------
    Brown, G., Chambers, R., Heady, P. and Heasman, D. (2001). Evaluation of small area estimation methods: an
    application to unemployment estimates from the UK LFS. Proceedings of Statistics Canada Symposium 2001.
    """
    columns = ("direct", "direct_se", "estimate", "se")
    direct, direct_se, estimate, se = (estimates[c].to_numpy(np.float64, na_value=np.nan) for c in columns)
    error = np.hypot(direct_se, se)
    usable = np.isfinite(direct - estimate) & np.isfinite(error) & (error > 0.0)
    n = int(usable.sum())
    if n == 0:
        return None
    z = float(special.ndtri(tails(level)[1]))
    apart = usable & (np.abs(direct - estimate) > z * np.where(usable, error, np.inf))
    count = int(apart.sum())
    p_value = float(stats.binom.sf(count - 1, n, 1.0 - level))
    return OverlapTest(n, count, n * (1.0 - level), p_value, tuple(estimates["area"][apart].astype(str)))


def score(draws: PosteriorDraws, truth: pd.DataFrame | pd.Series, level: float = 0.95) -> pd.DataFrame:
    """Score draws against the true quantities, for example of a census that came later, or of a simulation.

    Parameters
    ----------
    draws : PosteriorDraws
        Draws.
    truth : Series or DataFrame
        True quantities indexed by area id; with several responses a column for each. Areas that are missing or NaN are
        not scored.
    level : float
        Coverage of the interval that is scored.

    Returns
    -------
    pandas.DataFrame
        A row for each scored area and response: ``area``, ``response``, ``truth``, ``estimate``, ``error`` (estimate
        minus truth), ``covered`` (whether the interval holds the truth), ``pit`` (share of draws below the truth;
        uniform if the posterior is calibrated), ``crps`` and ``interval_score`` (both in the units of the input; the
        smaller the better).

    Raises
    ------
    JobProblem
        If no area has a true quantity, or a response has no column.

    References
    ----------
    Gneiting, T. and Raftery, A. E. (2007). Strictly proper scoring rules, prediction, and estimation. JASA 102,
    359-378 (eq. 20, 21 and 43).
    """
    frame = truth.to_frame(draws.responses[0]) if isinstance(truth, pd.Series) else truth
    lacking = [response for response in draws.responses if response not in frame.columns]
    if lacking:
        raise JobProblem(f"The true quantities have no column {lacking[0]!r}. Name a column for each response.")
    parts = []
    for k, response in enumerate(draws.responses):
        known = frame[response].reindex(list(draws.areas)).to_numpy(np.float64, na_value=np.nan)
        found = pd.DataFrame(_scores(draws.theta[:, :, k], known, level))
        found.insert(0, "area", list(draws.areas))
        found.insert(1, "response", response)
        parts.append(found[np.isfinite(found["crps"])])
    scores = pd.concat(parts, ignore_index=True)
    if not len(scores):
        raise JobProblem("No area has both draws and a true quantity. Index the true quantities by the areas' ids.")
    return scores.astype({"covered": bool})


def _scores(theta: Vector, truth: Vector, level: float) -> dict[str, Vector]:
    names = ("truth", "estimate", "error", "covered", "pit", "crps", "interval_score")
    found = {name: np.full(len(truth), np.nan) for name in names}
    found["truth"] = truth
    count = len(theta)
    # CRPS = E|X - y| - E|X - X'| / 2, which sorted draws give without comparing all pairs.
    places = (2.0 * np.arange(1, count + 1) - count - 1.0) / count**2
    for part, block in blocks(theta):
        y = truth[part]
        block.sort(axis=1)
        estimate = block.mean(axis=1)
        lower, upper = np.quantile(block, tails(level), axis=1)
        below, above = np.maximum(lower - y, 0.0), np.maximum(y - upper, 0.0)
        found["estimate"][part] = estimate
        found["error"][part] = estimate - y
        found["covered"][part] = (lower <= y) & (y <= upper)
        found["pit"][part] = np.mean(block < y[:, None], axis=1)
        found["crps"][part] = np.abs(block - y[:, None]).mean(axis=1) - block @ places
        found["interval_score"][part] = upper - lower + 2.0 / (1.0 - level) * (below + above)
    return found
