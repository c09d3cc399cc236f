"""EBLUP and its mean squared error matrices for several responses with correlated area effects.

``theta_i = X_i beta + u_i``, ``u_i ~ N(0, Sigma)``, ``y_i = theta_i + e_i``, ``e_i ~ N(0, V_i)``, independently over
areas (Benavent and Morales 2016). With ``B_i = Sigma W_i`` the matrix of shrinkage weights, g1 = (I - B) Sigma,
g2 = (X_i - B X_i) C (X_i - B X_i)' and g3 = (I - B) [sum_ab F^ab Sigma_a W Sigma_b] (I - B)', where Sigma_a are the
derivatives of Sigma in its parameters and F their information. The mean squared error is
g1 + g2 + 2 g3 - (I - B) b (I - B)', b being the leading bias of the estimator of Sigma. Nothing larger than K x K per
area, or N K by the number of coefficients, is ever formed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.between_response import NaturalParameters, Structure, structure
from smallarea.area_level.multivariate_data import MultivariateData
from smallarea.area_level.multivariate_likelihood import MultivariateLeastSquares, MultivariateModel
from smallarea.area_level.newton import maximise
from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]

STRUCTURES = ("unstructured", "diagonal", "ar1", "har1")
METHODS = ("reml", "ml")


@dataclass(frozen=True)
class MultivariateEblup:
    """Fit of K responses in the units of the input.

    Attributes
    ----------
    structure, method : str
        As asked for.
    sigma : ndarray, shape (K, K)
        Covariance matrix of the area effects.
    parameter_names : tuple of str, length q
        Natural parameters of ``sigma``.
    parameters : ndarray, shape (q,)
        Their estimates; rho is NaN where fewer than two variances are positive.
    parameter_covariance : ndarray, shape (q, q)
        Inverse of the information 1/2 sum tr(W Sigma_a W Sigma_b); of no use for tests at the boundary.
    boundary : tuple of str
        What of ``sigma`` is at the boundary, in words; empty if it is positive definite.
    gls : MultivariateLeastSquares
        Coefficients ``beta``, shape (P,), and their ``covariance`` at ``sigma``.
    estimate, synthetic : ndarray, shape (N, K)
        EBLUP of every cell (through the area's other responses where it is not observed) and X beta.
    mse, g1, g2, g3 : ndarray, shape (N, K, K)
        Estimated mean squared error matrices and their parts.
    weights : ndarray, shape (N, K, K)
        B = Sigma W: weight of each direct estimate (column) in each estimate (row).
    gamma : ndarray, shape (N, K)
        Diagonal of ``weights``, NaN where not observed.
    bias : ndarray, shape (K, K)
        Leading bias of the estimator of ``sigma``, which the mean squared error corrects for.
    log_likelihood, restricted_log_likelihood : float
        At the estimates, with all constants.
    aic, bic : float
        From the log likelihood, with the coefficients and the parameters of ``sigma``; for BIC the sample size is the
        number of areas with a direct estimate.
    """

    structure: str
    method: str
    sigma: Vector
    parameter_names: tuple[str, ...]
    parameters: Vector
    parameter_covariance: Vector
    boundary: tuple[str, ...]
    gls: MultivariateLeastSquares
    estimate: Vector
    synthetic: Vector
    mse: Vector
    g1: Vector
    g2: Vector
    g3: Vector
    weights: Vector
    gamma: Vector
    bias: Vector
    log_likelihood: float
    restricted_log_likelihood: float
    aic: float
    bic: float


def fit_multivariate_eblup(
    data: MultivariateData, structure_name: str = "unstructured", method: str = "reml"
) -> MultivariateEblup:
    """Fit by REML or ML and predict every response of every area.

    Parameters
    ----------
    data : MultivariateData
        The data; cells that are not observed are predicted too.
    structure_name : {'unstructured', 'diagonal', 'ar1', 'har1'}
        Structure of Sigma. ``ar1`` and ``har1`` depend on the order of the responses, and ``ar1``, having one
        variance, on their units.
    method : {'reml', 'ml'}
        Estimator of Sigma.

    Returns
    -------
    MultivariateEblup
        The fit.

    Raises
    ------
    ModelProblem
        If structure or method is unknown, or no maximum is found.
    """
    if structure_name not in STRUCTURES:
        raise ModelProblem(f"Unknown structure {structure_name!r}; choose one of {', '.join(STRUCTURES)}.")
    if method not in METHODS:
        raise ModelProblem(f"Unknown method {method!r} for several responses; choose one of {', '.join(METHODS)}.")
    form = structure(structure_name, len(data.responses))
    coordinates = _estimate(data, form, structure_name == "ar1", method == "reml")
    model = MultivariateModel(data.y, data.v, data.x)
    sigma = form.sigma(coordinates)
    natural = form.natural(coordinates, data.responses)
    return _predict(data, model, sigma, natural, structure_name, method)


def _estimate(data: MultivariateData, form: Structure, one_scale: bool, restricted: bool) -> Vector:
    """Coordinates of the highest maximum found from several starts, in the units of the data."""
    plain = _plain_residuals(data)
    variances = np.where(data.observed, np.einsum("ikk->ik", data.v), np.nan)
    # Medians, because one variance of 1e14, a way to say "no information", must not set the scale.
    size = np.sqrt(np.nanmedian(plain**2, axis=0) + np.nanmedian(variances, axis=0))
    scale = np.full(len(size), np.sqrt(np.mean(size**2))) if one_scale else size
    model = MultivariateModel(data.y / scale, data.v / scale[:, None] / scale, data.x)

    def objective(coordinates: Vector) -> tuple[float, Vector, Vector]:
        gls = model.fit(form.sigma(coordinates))
        slope = model.gradient(gls, restricted)
        jacobian = form.jacobian(coordinates).reshape(slope.size, -1)
        value = model.restricted_log_likelihood(gls) if restricted else model.log_likelihood(gls)
        hessian = jacobian.T @ model.hessian(gls, restricted) @ jacobian + form.curvature(coordinates, slope)
        return value, jacobian.T @ slope.ravel(), 0.5 * (hessian + hessian.T)

    starts = [start for guess in _guesses(model, plain / scale) for start in form.starts(guess)]
    best = max((maximise(objective, start) for start in starts), key=lambda found: found.value)
    return form.rescale(form.settle(best.coordinates), scale)


def _plain_residuals(data: MultivariateData) -> Vector:
    """Ordinary least squares residuals, NaN where not observed, shape (N, K)."""
    rows = data.observed
    beta, *_ = np.linalg.lstsq(data.x[rows], data.y[rows], rcond=None)
    return data.y - data.x @ beta


def _guesses(model: MultivariateModel, residual: Vector) -> list[Vector]:
    """Positive definite matrices to start from: moments of the residuals less sampling errors, and a small one."""
    filled = np.where(model.observed, residual, 0.0)
    pairs = np.maximum(model.both.sum(axis=0), 1)
    moments = (filled.T @ filled) / pairs - np.where(model.both, model.v, 0.0).sum(axis=0) / pairs
    size, axes = np.linalg.eigh(np.where(np.isfinite(moments), moments, 0.0))
    floored = np.clip(size, 0.05, 1.0)
    return [(axes * floored) @ axes.T, 0.05 * np.eye(len(size))]


def _predict(
    data: MultivariateData,
    model: MultivariateModel,
    sigma: Vector,
    natural: NaturalParameters,
    structure_name: str,
    method: str,
) -> MultivariateEblup:
    gls = model.fit(sigma)
    weights = sigma @ gls.weights
    rest = np.eye(len(sigma)) - weights
    synthetic = data.x @ gls.beta
    first = natural.first.reshape(len(natural.first), -1)
    covariance = _inverse(first @ model.information(gls) @ first.T)
    spread = np.einsum("ab,akl,ilm,bmn->ikn", covariance, natural.first, gls.weights, natural.first, optimize=True)
    transposed = rest.transpose(0, 2, 1)
    left = data.x - weights @ data.x
    g1 = rest @ sigma
    g2 = left @ gls.covariance @ left.transpose(0, 2, 1)
    g3 = rest @ spread @ transposed
    bias = _bias(model, gls, natural, covariance, method)
    mse = g1 + g2 + 2.0 * g3 - rest @ bias @ transposed
    log_likelihood = model.log_likelihood(gls)
    size = data.x.shape[2] + len(natural.names)
    areas = int(data.observed.any(axis=1).sum())
    return MultivariateEblup(
        structure_name,
        method,
        sigma,
        natural.names,
        natural.values,
        covariance,
        _boundary(sigma, data.responses),
        gls,
        synthetic + np.einsum("ikl,il->ik", weights, gls.residual),
        synthetic,
        mse,
        g1,
        g2,
        g3,
        weights,
        np.where(data.observed, np.einsum("ikk->ik", weights), np.nan),
        bias,
        log_likelihood,
        model.restricted_log_likelihood(gls),
        -2.0 * log_likelihood + 2.0 * size,
        -2.0 * log_likelihood + math.log(areas) * size,
    )


def _inverse(information: Vector) -> Vector:
    """Inverse of an information matrix, without what it says nothing of: rho where all variances are zero."""
    size = np.sqrt(np.diag(information))
    size = np.where(size > 0.0, size, 1.0)
    inverse: Vector = np.linalg.pinv(information / np.outer(size, size), rcond=1e-12, hermitian=True)
    return inverse / np.outer(size, size)


def _bias(
    model: MultivariateModel,
    gls: MultivariateLeastSquares,
    natural: NaturalParameters,
    covariance: Vector,
    method: str,
) -> Vector:
    """Leading bias of the estimator of Sigma, shape (K, K).

    REML of a linear structure has none to this order. ML lacks the degrees of freedom of beta (Datta and Lahiri 2000):
    its score has mean -1/2 tr(C X'W Sigma_a W X). A curved structure (``ar1``, ``har1``) adds half of what its second
    derivatives, averaged over the covariance of the parameters, stand off its tangent space in the metric of the
    information: the part within is undone by the bias of the parameters (Kenward and Roger 2009 for REML).
    """
    first = natural.first.reshape(len(natural.first), -1)
    bend = 0.5 * np.einsum("ab,abkl->kl", covariance, natural.second)
    pull = first @ model.information(gls) @ bend.ravel()
    if method == "ml":
        lost = np.sum(gls.weighted_design @ gls.weighted_design.transpose(0, 2, 1), axis=0)
        pull = pull + 0.5 * first @ lost.ravel()
    return bend - np.einsum("a,akl->kl", covariance @ pull, natural.first)


def _boundary(sigma: Vector, responses: Sequence[str]) -> tuple[str, ...]:
    """Say what makes Sigma singular."""
    sd = np.sqrt(np.diag(sigma))
    words = [f"the variance of {responses[k]!r} is zero" for k in np.flatnonzero(sd == 0.0).tolist()]
    some = np.flatnonzero(sd > 0.0)
    correlation = sigma[np.ix_(some, some)] / np.outer(sd[some], sd[some])
    rank = int(np.sum(np.linalg.eigvalsh(correlation) > 1e-10)) if len(some) else 0
    if rank < len(some):
        words.append(
            f"the area effects of {len(some)} responses are combinations of {rank} (correlations at their bound)"
        )
    return tuple(words)
