"""Maximum likelihood of a latent model, missing answers included.

Fisher scoring with damping: the information is computed from the patterns, the means are profiled out, and a step is
taken only if the likelihood rises. Standard errors come from the expected information where nobody left anything out,
and from the observed one otherwise: with answers missing at random the expected information is biased (Kenward and
Molenberghs 1998). With a sampling design they are those of weighted (pseudo) maximum likelihood, a sandwich of the
information and the design's covariance of the score (Skinner 1989).

References
----------
Kenward, M. G. and Molenberghs, G. (1998). Likelihood based frequentist inference when data are missing at random.
Statistical Science 13, 236-247.
Skinner, C. J. (1989). Domain means, regression and multivariate analysis. In: Skinner, Holt and Smith (eds), Analysis
of Complex Surveys. Wiley.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem, named
from smallarea.survey.design import SurveyDesign
from smallarea.survey.latent.model import LatentModel, Parameter
from smallarea.survey.latent.patterns import Answers, Likelihood, expected_information, likelihood
from smallarea.survey.latent.saturated import saturated
from smallarea.survey.linearisation import domain_covariances

Vector = NDArray[np.float64]

_STEPS = 500
# Fisher scoring stops when a step promises to change the log-likelihood by less than this. What steps really gain is
# rounding by then, the more so the more respondents there are.
_SETTLED = 1e-10
_DAMPINGS = 40
# Relative step of the derivatives of the score; the score itself is exact.
_DIFFERENCE = 1e-5
_SINGULAR = 1e-9


@dataclass(frozen=True)
class MaximumLikelihood:
    """Estimates of a latent model.

    Attributes
    ----------
    model : LatentModel
        What was fitted.
    theta : ndarray, shape (q,)
        Free parameters.
    covariance : ndarray, shape (q, q)
        Of the estimates.
    mean : ndarray, shape (p,)
        Means of the items.
    log_likelihood : float
        At the estimates.
    errors : {'expected', 'observed', 'design'}
        Where the standard errors come from.
    steps : int
        Steps it took.
    within : ndarray, shape (q, q), or None
        Where fits to several tables were put together by Rubin's rules: the mean of their covariances.
    tables : int
        How many tables; 1 for a fit to the answers themselves.
    """

    model: LatentModel
    theta: Vector
    covariance: Vector
    mean: Vector
    log_likelihood: float
    errors: Literal["expected", "observed", "design"]
    steps: int
    within: Vector | None = None
    tables: int = 1


def maximise(model: LatentModel, answers: Answers, design: SurveyDesign | None = None) -> MaximumLikelihood:
    """Fit a model by maximum likelihood.

    Parameters
    ----------
    model : LatentModel
        The model.
    answers : Answers
        Its items, in the model's order.
    design : SurveyDesign, optional
        Of the same rows; standard errors then follow it.

    Returns
    -------
    MaximumLikelihood
        Estimates and their covariance.

    Raises
    ------
    ModelProblem
        If the parameters are not identified, or the search does not come to an end.
    """
    theta = starting_values(model, answers)
    now = _evaluate(model, answers, theta)
    if now is None:
        raise ModelProblem("The model has no positive definite covariance at its starting values. Check fixed values.")
    damping, steps = 1e-3, 0
    while steps < _STEPS:
        steps += 1
        derivatives = model.derivatives(theta)
        score = _score(now, derivatives)
        information = expected_information(answers, _items(model, theta), derivatives)
        if _promise(score, information) < _SETTLED:
            break
        taken = _step(model, answers, theta, now, score, information, damping)
        if taken is None:
            break  # no direction goes up any more, to rounding
        gained = taken[1].value - now.value
        theta, now, damping = taken[0], taken[1], max(taken[2] / 10.0, 1e-12)
        if gained < _SETTLED and damping < 1.0:
            break
    _check_end(model, answers, theta, now)
    covariance, errors = _errors(model, answers, theta, now, design)
    return MaximumLikelihood(model, theta, covariance, now.mean, now.value, errors, steps)


def starting_values(model: LatentModel, answers: Answers) -> Vector:
    """Return where the search begins: loadings by the correlation with the first item, half of each variance.

    Parameters
    ----------
    model : LatentModel
        The model.
    answers : Answers
        Its items.

    Returns
    -------
    ndarray, shape (q,)
        Starting values.
    """
    _, covariance = saturated(answers)
    spread = np.sqrt(np.diag(covariance))
    p = len(model.observed)
    marker = {f: _marker(model, f) for f in range(p, len(model.variables))}
    scale = {f: (0.7 * spread[i] / abs(fixed) if fixed else 1.0) for f, (i, fixed) in marker.items()}
    theta = np.zeros(len(model.names))
    for one in reversed(model.parameters):
        if one.index >= 0:
            theta[one.index] = _start(one, covariance, spread, marker, scale, p)
    return theta


def _marker(model: LatentModel, factor: int) -> tuple[int, float]:
    """Return the item that gives a factor its scale, and its loading (0 if the variance is fixed)."""
    loadings = [one for one in model.parameters if one.kind == "loading" and one.column == factor]
    observed = [one for one in loadings if one.row < len(model.observed)] or loadings
    fixed = next((one for one in observed if one.index < 0 and one.fixed != 0.0), None)
    chosen = fixed or observed[0]
    row = chosen.row if chosen.row < len(model.observed) else 0
    return row, fixed.fixed if fixed else 0.0


def _start(
    one: Parameter,
    covariance: Vector,
    spread: Vector,
    marker: dict[int, tuple[int, float]],
    scale: dict[int, float],
    p: int,
) -> float:
    if one.kind == "loading":
        if one.row >= p:
            return 0.7 * scale[one.row] / scale[one.column]
        item, fixed = marker[one.column]
        sign = np.sign(covariance[item, one.row]) * (np.sign(fixed) or 1.0) or 1.0
        return float(sign * 0.7 * spread[one.row] / scale[one.column])
    if one.kind == "variance":
        return float(0.5 * spread[one.row] ** 2) if one.row < p else float(scale[one.row] ** 2)
    return 0.0


def _items(model: LatentModel, theta: Vector) -> Vector:
    p = len(model.observed)
    return model.covariance(theta)[:p, :p]


def _evaluate(model: LatentModel, answers: Answers, theta: Vector) -> Likelihood | None:
    """Return the likelihood, or None where the covariance is not positive definite."""
    try:
        found = likelihood(answers, _items(model, theta))
    except np.linalg.LinAlgError:
        return None
    return found if np.isfinite(found.value) else None


def _score(at: Likelihood, derivatives: Vector) -> Vector:
    return np.einsum("kij,ij->k", derivatives, at.by_covariance)


def _step(
    model: LatentModel,
    answers: Answers,
    theta: Vector,
    now: Likelihood,
    score: Vector,
    information: Vector,
    damping: float,
) -> tuple[Vector, Likelihood, float] | None:
    scale = np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny))
    for _ in range(_DAMPINGS):
        # The damped matrix is scaled to ones on its diagonal, so that units of items do not matter.
        scaled = information / scale[:, None] / scale + damping * np.eye(len(scale))
        move = np.linalg.solve(scaled, score / scale) / scale
        tried = _evaluate(model, answers, theta + move)
        if tried is not None and tried.value >= now.value:
            return theta + move, tried, damping
        damping = max(10.0 * damping, 1e-6)
    return None


def _promise(score: Vector, information: Vector) -> float:
    """Return twice what an undamped step gains if the likelihood is quadratic; infinite without identification."""
    scale = np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] < _SINGULAR:
        return float("inf")
    return float(np.sum((vectors.T @ (score / scale)) ** 2 / values))


def _check_end(model: LatentModel, answers: Answers, theta: Vector, now: Likelihood) -> None:
    derivatives = model.derivatives(theta)
    information = expected_information(answers, _items(model, theta), derivatives)
    score = _score(now, derivatives)
    scale = np.sqrt(np.maximum(np.diag(information), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if values[0] < _SINGULAR:
        weak = np.flatnonzero(np.abs(vectors[:, 0]) > 0.1)
        raise ModelProblem(
            "The model is not identified: the data cannot tell apart "
            f"{named([model.names[i] for i in weak.tolist()])}. Fix one of them, give each "
            "factor three items or more, or leave arrows out."
        )
    left = np.abs(score / scale).max()
    if left > 1e-3:
        worst = model.names[int(np.abs(score / scale).argmax())]
        raise ModelProblem(
            f"The search for the maximum of the likelihood did not come to an end (at {worst!r}). The model may not "
            "fit at all, or have a factor that its items do not share: simplify it, or use the method bayes."
        )


def observed_information(model: LatentModel, answers: Answers, theta: Vector) -> Vector:
    """Return the observed information with the means profiled out, by differences of the exact score.

    Parameters
    ----------
    model : LatentModel
        The model.
    answers : Answers
        Its items.
    theta : ndarray, shape (q,)
        Where.

    Returns
    -------
    ndarray, shape (q, q)
        Symmetric.
    """
    information = expected_information(answers, _items(model, theta), model.derivatives(theta))
    # Steps follow the standard errors, and are small enough to stay where the covariance is positive definite.
    width = _DIFFERENCE * np.sqrt(answers.n / np.diag(information))
    columns = []
    for k, h in enumerate(width):
        ends = []
        for sign in (1.0, -1.0):
            at = theta.copy()
            at[k] += sign * h
            ends.append(_score(likelihood(answers, _items(model, at)), model.derivatives(at)))
        columns.append((ends[1] - ends[0]) / (2.0 * h))
    found = np.stack(columns, axis=1)
    return 0.5 * (found + found.T)


def _errors(
    model: LatentModel, answers: Answers, theta: Vector, now: Likelihood, design: SurveyDesign | None
) -> tuple[Vector, Literal["expected", "observed", "design"]]:
    sigma, derivatives = _items(model, theta), model.derivatives(theta)
    if answers.complete and design is None:
        return _inverse(expected_information(answers, sigma, derivatives), model), "expected"
    inverse = _inverse(observed_information(model, answers, theta), model)
    if design is None:
        return inverse, "observed"
    scores = casewise_scores(answers, sigma, derivatives, now)
    domain = np.where(answers.weights > 0.0, 0, -1)
    middle = domain_covariances(scores, domain, 1, design)[0]
    return inverse @ middle @ inverse, "design"


def casewise_scores(answers: Answers, sigma: Vector, derivatives: Vector, at: Likelihood) -> Vector:
    """Return each respondent's share of the score, the estimation of the means included.

    Parameters
    ----------
    answers : Answers
        The data.
    sigma : ndarray, shape (p, p)
        Covariance of the items.
    derivatives : ndarray, shape (q, p, p)
        Its derivatives.
    at : Likelihood
        At `sigma`.

    Returns
    -------
    ndarray, shape (n, q)
        Weighted; zero for rows without answers. Their sum is the score.
    """
    n, p = answers.values.shape
    found, to_means = np.zeros((n, len(derivatives))), np.zeros((n, p))
    mixed = np.zeros((len(derivatives), p))
    for one in answers.patterns:
        o = one.observed
        inverse = np.linalg.inv(sigma[np.ix_(o, o)])
        part = derivatives[:, o[:, None], o[None, :]]
        u = (answers.values[np.ix_(one.rows, o)] - at.mean[o]) @ inverse
        constant = np.einsum("kij,ij->k", part, inverse)
        quadratic = np.stack([((u @ block) * u).sum(axis=1) for block in part], axis=1)
        w = answers.weights[one.rows, None]
        found[one.rows] = 0.5 * w * (quadratic - constant)
        to_means[np.ix_(one.rows, o)] = w * u
        mixed[:, o] += one.n * np.einsum("kij,j->ki", inverse @ part, inverse @ (one.mean - at.mean[o]))
    return found - to_means @ np.linalg.solve(at.mean_information, mixed.T)


def _inverse(information: Vector, model: LatentModel) -> Vector:
    # Scaled to ones on the diagonal, so that the units of items do not matter.
    diagonal = np.diag(information)
    scale = np.sqrt(np.outer(diagonal, diagonal)) if (diagonal > 0.0).all() else None
    if scale is None or np.linalg.eigvalsh(information / scale)[0] <= 0.0:
        raise ModelProblem(
            "The standard errors cannot be computed: the likelihood is flat or still rising at the estimates. Simplify "
            f"the model of {len(model.names)} parameters, or use the method bayes."
        )
    return np.asarray(np.linalg.inv(information / scale) / scale, dtype=np.float64)
