"""Means and covariances of the items without a model, and the model in which nothing is related."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem
from smallarea.survey.latent.patterns import Answers, likelihood

Vector = NDArray[np.float64]
_STEPS = 2_000
_SETTLED = 1e-9
_COLLINEAR = 1e-10
_COLLINEAR_ITEMS = (
    "The covariances of the items cannot be estimated: some items are combinations of others, or too few respondents "
    "answered them together. Leave items out."
)


def saturated(answers: Answers) -> tuple[Vector, Vector]:
    """Return means and covariances without a model, by maximum likelihood.

    Complete answers have them in closed form; otherwise the EM algorithm (Dempster, Laird and Rubin 1977) fills the
    sums of squares with their expectations pattern by pattern.

    Parameters
    ----------
    answers : Answers
        The data.

    Returns
    -------
    mean, covariance : ndarray, shapes (p,), (p, p)
        The covariance has divisor n.

    Raises
    ------
    ModelProblem
        If items are collinear, or the algorithm does not settle.
    """
    if answers.complete:
        mean, covariance = answers.patterns[0].mean, answers.patterns[0].covariance
        if _is_collinear(covariance):
            raise ModelProblem(_COLLINEAR_ITEMS)
        return mean, covariance
    p = len(answers.names)
    mean = np.array([_weighted(answers, j)[0] for j in range(p)])
    covariance = np.diag([_weighted(answers, j)[1] for j in range(p)])
    scale = np.sqrt(np.diag(covariance))
    for _ in range(_STEPS):
        before, earlier = covariance, mean
        mean, covariance = _em_step(answers, mean, covariance)
        change = np.abs((covariance - before) / np.outer(scale, scale)).max()
        if max(change, np.abs((mean - earlier) / scale).max()) < _SETTLED:
            return mean, covariance
        if _is_collinear(covariance):
            break
    raise ModelProblem(_COLLINEAR_ITEMS)


def _is_collinear(covariance: Vector) -> bool:
    scale = np.sqrt(np.diag(covariance))
    return bool(np.linalg.eigvalsh(covariance / np.outer(scale, scale))[0] < _COLLINEAR)


def _em_step(answers: Answers, mean: Vector, covariance: Vector) -> tuple[Vector, Vector]:
    p = len(mean)
    first, second = np.zeros(p), np.zeros((p, p))
    for one in answers.patterns:
        o = one.observed
        u = np.setdiff1d(np.arange(p), o)
        filled, spread = mean.copy(), np.zeros((p, p))
        filled[o] = one.mean
        onto = np.zeros((p, len(o)))
        onto[o, np.arange(len(o))] = 1.0
        if len(u):
            slopes = np.linalg.solve(covariance[np.ix_(o, o)], covariance[np.ix_(o, u)]).T
            onto[u] = slopes
            filled[u] = mean[u] + slopes @ (one.mean - mean[o])
            spread[np.ix_(u, u)] = covariance[np.ix_(u, u)] - slopes @ covariance[np.ix_(o, u)]
        first += one.n * filled
        second += one.n * (onto @ one.covariance @ onto.T + spread + np.outer(filled, filled))
    n = sum(one.n for one in answers.patterns)
    new = first / n
    return new, second / n - np.outer(new, new)


def _weighted(answers: Answers, item: int) -> tuple[float, float]:
    """Return mean and variance of an item among those who answered it."""
    used = np.isfinite(answers.values[:, item]) & (answers.weights > 0.0)
    x, w = answers.values[used, item], answers.weights[used]
    mean = float(np.average(x, weights=w))
    return mean, float(np.average((x - mean) ** 2, weights=w))


def independent(answers: Answers) -> float:
    """Return the log-likelihood of the baseline model: every item by itself.

    Parameters
    ----------
    answers : Answers
        The data.

    Returns
    -------
    float
        Maximised over means and variances.
    """
    variances = [_weighted(answers, j)[1] for j in range(len(answers.names))]
    return likelihood(answers, np.diag(variances)).value
