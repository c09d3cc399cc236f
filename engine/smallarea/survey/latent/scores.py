"""Factor scores: what the answers of a respondent say about the factors, with uncertainty and draws.

Given the parameters, answers y_o and factors eta are jointly normal, so eta | y_o is normal with

    mean Phi_o' Sigma_oo^{-1} (y_o - mu_o),    covariance Phi - Phi_o' Sigma_oo^{-1} Phi_o

(the regression method; Thomson 1951). Its mean is the score, its covariance the uncertainty; missing answers only
widen it. Scores are deviations from the mean of all respondents, in units of the item whose loading is 1.

**Areas.** A score is pulled towards the mean of all respondents, the more the fewer the answers say; the mean of an
area's scores would be pulled as well. So with areas the factors are given area effects,

    eta_i = alpha_area(i) + w_i,    alpha ~ N(0, T),    w ~ N(0, W),

with T and W estimated by the EM algorithm, and respondents are pulled towards their own area only. With weights a
respondent counts for the area's effect, and for W, as often as the weight says (pseudo-likelihood; Pfeffermann and
others 1998); weights of an area add up to its effective number of respondents. What the answers say
about eta is kept from the model, exp(-eta' J eta / 2 + h' eta) with J = Cov(eta | y)^{-1} - Phi^{-1} and
h = Cov(eta | y)^{-1} E(eta | y): items measure the factors alike in all areas.

**Plausible values** (Mislevy 1991) are draws of eta, with alpha and the parameters drawn as well. Means of plausible
values, combined by Rubin's rules, estimate an area's mean of eta with its uncertainty; means of scores do not have it.

References
----------
Mislevy, R. J. (1991). Randomization-based inference about latent variables from complex samples. Psychometrika 56,
177-196.
Pfeffermann, D., Skinner, C. J., Holmes, D. J., Goldstein, H. and Rasbash, J. (1998). Weighting for unequal selection
probabilities in multilevel models. Journal of the Royal Statistical Society B 60, 23-40.
Thomson, G. H. (1951). The Factorial Analysis of Human Ability. University of London Press.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem, named
from smallarea.survey.latent.model import LatentModel
from smallarea.survey.latent.patterns import group_rows

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]

_STEPS = 500
_SETTLED = 1e-4
_FIRST_SHARE = 0.1
_SINGULAR = 1e-10


@dataclass(frozen=True)
class Evidence:
    """What answers say about the factors.

    Attributes
    ----------
    pattern : ndarray of int, shape (n,)
        Pattern of missingness of each respondent.
    precision : ndarray, shape (G, k, k)
        J of each pattern.
    natural : ndarray, shape (n, k)
        h of each respondent.
    prior : ndarray, shape (k, k)
        Covariance of the factors by the model.
    """

    pattern: Codes
    precision: Vector
    natural: Vector
    prior: Vector


@dataclass(frozen=True)
class AreaVariation:
    """How the factors vary between and within areas.

    Attributes
    ----------
    between, within : ndarray, shape (k, k)
        T and W.
    """

    between: Vector
    within: Vector


@dataclass(frozen=True)
class FactorScores:
    """Scores of all respondents.

    Attributes
    ----------
    mean, variance : ndarray, shape (n, k)
        Of the factors given the answers.
    """

    mean: Vector
    variance: Vector


def evidence(model: LatentModel, theta: Vector, mean: Vector, values: Vector) -> Evidence:
    """Return what answers say about the factors.

    Parameters
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Free parameters.
    mean : ndarray, shape (p,)
        Means of the items.
    values : ndarray, shape (n, p)
        Answers, NaN where missing; rows without any answer say nothing.

    Returns
    -------
    Evidence
        By pattern and respondent.

    Raises
    ------
    ModelProblem
        If a variance is negative, or a factor is a combination of others or of items.
    """
    p, k = len(model.observed), len(model.latent)
    check_variances(model, theta)
    joint = model.covariance(theta)
    prior = joint[p:, p:]
    prior_precision = _inverse(prior, model)
    groups = group_rows(np.isfinite(values))
    pattern = np.zeros(len(values), dtype=np.int64)
    precision, natural = np.zeros((len(groups), k, k)), np.zeros((len(values), k))
    for g, (o, rows) in enumerate(groups):
        pattern[rows] = g
        if not len(o):
            continue
        slopes = np.linalg.solve(joint[np.ix_(o, o)], joint[o, p:]).T
        given = _inverse(prior - slopes @ joint[o, p:], model)
        precision[g] = given - prior_precision
        natural[rows] = (values[np.ix_(rows, o)] - mean[o]) @ (given @ slopes).T
    return Evidence(pattern, precision, natural, prior)


def check_variances(model: LatentModel, theta: Vector) -> None:
    """Refuse negative variances: with them nothing can be said about respondents.

    Parameters
    ----------
    model : LatentModel
        The model.
    theta : ndarray, shape (q,)
        Free parameters.

    Raises
    ------
    ModelProblem
        Naming the variables.
    """
    below = negative_variances(model, theta)
    if below:
        raise ModelProblem(
            f"The variance of {named(below)} that the model leaves unexplained is estimated below zero (a Heywood "
            "case), so there are no scores. Fix it at a small value ('x ~~ 0.05*x'), simplify the model, or use the "
            "method bayes."
        )


def negative_variances(model: LatentModel, theta: Vector) -> list[str]:
    """Return the variables whose unexplained variance is negative."""
    _, covariances = model.matrices(theta)
    return [name for name, value in zip(model.variables, np.diag(covariances), strict=True) if value < 0.0]


def area_variation(
    of: Evidence, areas: Codes, start: AreaVariation | None = None, weights: Vector | None = None
) -> AreaVariation:
    """Estimate how factors vary between and within areas.

    Parameters
    ----------
    of : Evidence
        What the answers say.
    areas : ndarray of int, shape (n,)
        Area of each respondent, 0 to D - 1.
    start : AreaVariation, optional
        Where to begin.
    weights : ndarray, shape (n,), optional
        How often each respondent counts (`area_weights`).

    Returns
    -------
    AreaVariation
        By maximum likelihood; with weights by maximum pseudo-likelihood, areas counting alike.
    """
    now = start or AreaVariation(_FIRST_SHARE * of.prior, (1.0 - _FIRST_SHARE) * of.prior)
    scale = np.sqrt(np.outer(np.diag(of.prior), np.diag(of.prior)))
    given = np.ones(len(areas)) if weights is None else weights
    for _ in range(_STEPS):
        new = _em_step(of, areas, now, given)
        change = max(np.abs((new.between - now.between) / scale).max(), np.abs((new.within - now.within) / scale).max())
        now = new
        if change < _SETTLED * _FIRST_SHARE:
            break
    return now


def _em_step(of: Evidence, areas: Codes, now: AreaVariation, weights: Vector) -> AreaVariation:
    part = _Given(of, now.within)
    mean, spread = part.areas(areas, now.between, weights)
    between = (np.einsum("ai,aj->ij", mean, mean) + spread.sum(axis=0)) / len(mean)
    pull = part.pull - np.eye(len(of.prior))  # (G, k, k)
    away = part.own + np.einsum("nij,nj->ni", pull[of.pattern], mean[areas])
    turned = np.einsum("nij,njk->nik", pull[of.pattern], spread[areas])
    within = (away * weights[:, None]).T @ away + np.einsum("n,nik,njk->ij", weights, turned, pull[of.pattern])
    within += np.einsum("g,gij->ij", np.bincount(of.pattern, weights, minlength=len(part.covariance)), part.covariance)
    return AreaVariation(0.5 * (between + between.T), 0.5 * (within + within.T) / weights.sum())


class _Given:
    """Conditional distributions of the factors, given the answers and the area's effect.

    Attributes
    ----------
    covariance : ndarray, shape (G, k, k)
        Q = (W^{-1} + J)^{-1}.
    pull : ndarray, shape (G, k, k)
        Q W^{-1}: how much the area's effect counts.
    own : ndarray, shape (n, k)
        Q h: what the answers add.
    """

    def __init__(self, of: Evidence, within: Vector) -> None:
        self._of = of
        self._precision = np.linalg.inv(within)
        self.covariance: Vector = np.asarray(np.linalg.inv(self._precision + of.precision), dtype=np.float64)
        self.pull = self.covariance @ self._precision
        self.own = np.einsum("nij,nj->ni", self.covariance[of.pattern], of.natural)

    def areas(self, areas: Codes, between: Vector, weights: Vector | None = None) -> tuple[Vector, Vector]:
        """Return mean and covariance of the areas' effects, shapes (D, k), (D, k, k)."""
        given = np.ones(len(areas)) if weights is None else weights
        k, d = len(between), int(areas.max()) + 1
        said = self._precision - self._precision @ self.pull  # (G, k, k)
        counts = np.zeros((d, len(said)))
        np.add.at(counts, (areas, self._of.pattern), given)
        precision = np.einsum("dg,gij->dij", counts, said)
        weighted = np.stack(
            [np.bincount(areas, given * column, minlength=d) for column in (self.own @ self._precision).T], axis=1
        )
        spread = np.linalg.solve(np.eye(k) + between @ precision, np.broadcast_to(between, (d, k, k)))
        spread = 0.5 * (spread + spread.transpose(0, 2, 1))
        return np.einsum("dij,dj->di", spread, weighted), spread


def factor_scores(
    of: Evidence, areas: Codes | None = None, variation: AreaVariation | None = None, weights: Vector | None = None
) -> FactorScores:
    """Return means and variances of the factors given the answers.

    Parameters
    ----------
    of : Evidence
        What the answers say.
    areas : ndarray of int, shape (n,), optional
        Areas of the respondents.
    variation : AreaVariation, optional
        How factors vary between and within areas; belongs to `areas`.
    weights : ndarray, shape (n,), optional
        How often each respondent counts for the effect of the area (`area_weights`).

    Returns
    -------
    FactorScores
        One row a respondent.
    """
    if areas is None or variation is None:
        part = _Given(of, of.prior)
        return FactorScores(part.own, np.einsum("gii->gi", part.covariance)[of.pattern])
    part = _Given(of, variation.within)
    mean, spread = part.areas(areas, variation.between, weights)
    pull = part.pull[of.pattern]
    variance = np.einsum("gii->gi", part.covariance)[of.pattern]
    variance = variance + np.einsum("nij,njk,nik->ni", pull, spread[areas], pull, optimize=True)
    return FactorScores(part.own + np.einsum("nij,nj->ni", pull, mean[areas]), variance)


def plausible_values(
    of: Evidence,
    rng: np.random.Generator,
    areas: Codes | None = None,
    variation: AreaVariation | None = None,
    weights: Vector | None = None,
) -> Vector:
    """Draw the factors of all respondents once.

    Parameters
    ----------
    of : Evidence
        What the answers say.
    rng : numpy.random.Generator
        Source of randomness.
    areas, variation, weights
        As for `factor_scores`.

    Returns
    -------
    ndarray, shape (n, k)
        One draw of each respondent's factors; respondents of an area share its drawn effect.
    """
    n, k = of.natural.shape
    part = _Given(of, of.prior if variation is None else variation.within)
    centre = part.own
    if areas is not None and variation is not None:
        mean, spread = part.areas(areas, variation.between, weights)
        effects = mean + np.einsum("dij,dj->di", _root(spread), rng.standard_normal(mean.shape))
        centre = centre + np.einsum("nij,nj->ni", part.pull[of.pattern], effects[areas])
    noise = rng.standard_normal((n, k))
    return centre + np.einsum("nij,nj->ni", _root(part.covariance)[of.pattern], noise)


def _root(matrices: Vector) -> Vector:
    """Return square roots of covariance matrices, which may be singular."""
    values, vectors = np.linalg.eigh(matrices)
    return vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]


def _inverse(matrix: Vector, model: LatentModel) -> Vector:
    spread = np.sqrt(np.abs(np.diag(matrix)))
    if not (spread > 0.0).all() or np.linalg.eigvalsh(matrix / np.outer(spread, spread))[0] < _SINGULAR:
        raise ModelProblem(
            f"The factors {named(model.latent)} cannot be told apart for respondents: one is a combination of others, "
            "or an item measures it without error. Merge factors, or free the variances of items and factors."
        )
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)
