"""Draws of covariance matrices given a complete table.

Of the answers: standard deviations half-normal, correlations LKJ. No distribution is conjugate to that prior. But
written as a chain of regressions, each column on those before it, the likelihood is conjugate column by column. So each
regression is proposed from a conjugate distribution and accepted by the ratio of the priors (an independence sampler
within Gibbs). Late regressions touch few variances and are nearly always accepted, so the columns change places at
random.

Of the areas: the hierarchical inverse Wishart prior of Huang and Wand (2013), conjugate with any number of areas.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from smallarea.survey.imputation.normal_kernels import chain_step, rebuild

Vector = NDArray[np.float64]

# Degrees of freedom of Huang and Wand's prior: correlations are marginally uniform with 2.
_FREEDOM = 2.0


def draw_covariance(
    cross: Vector, rows: int, covariance: Vector, rng: np.random.Generator, *, shape: float, scale: float
) -> tuple[Vector, float]:
    """Draw the covariance matrix of normal deviations under LKJ and half-normal priors.

    In the chain of regressions (slopes b_j, residual variances d_j; j = 1 to p) the prior density is
    ``prod s_j^-p exp(-s_j^2 / (2 scale^2)) |R|^(shape - 1) prod d_j^(p - j)``: the priors of the standard deviations
    s_j and of the correlation matrix R with the Jacobians of ``(s, R)`` to the covariance matrix and of that to (b, d).

    Parameters
    ----------
    cross : ndarray, shape (p, p)
        Cross-products of the deviations.
    rows : int
        Number of deviations, more than p.
    covariance : ndarray, shape (p, p)
        The current draw.
    rng : numpy.random.Generator
        Source of randomness.
    shape : float
        Of the LKJ prior; 1 is uniform over correlation matrices.
    scale : float
        Of the half-normal prior.

    Returns
    -------
    tuple of ndarray, shape (p, p), and float
        The next draw, and the share of proposals accepted.
    """
    p = len(cross)
    order = rng.permutation(p)
    slopes, variances = _chain_of(covariance[np.ix_(order, order)])
    centres, rates, roots = _least_squares(cross[np.ix_(order, order)])
    place = np.arange(p)
    powers = place + 1.0 - 0.5 * p
    accepted = np.zeros(p)
    chain_step(
        centres,
        roots,
        rates,
        slopes,
        variances,
        rng.standard_normal((p, p)),
        rng.standard_gamma(0.5 * (rows + place - p)),
        np.log(rng.random(p)),
        powers,
        shape,
        scale,
        accepted,
    )
    drawn = np.zeros((p, p))
    rebuild(slopes, variances, drawn)
    back = np.argsort(order)
    return drawn[np.ix_(back, back)], float(accepted.mean())


def draw_area_covariance(deviations: Vector, rates: Vector, rng: np.random.Generator) -> tuple[Vector, Vector]:
    """Draw the covariance matrix of area effects and the rates of its prior.

    ``Psi ~ IW(nu + p - 1, 2 nu diag(1/a))``, ``a_j ~ IG(1/2, 1)`` with nu = 2: standard deviations are half-t with
    2 degrees of freedom and scale 1, correlations uniform (Huang and Wand 2013, section 2).

    Parameters
    ----------
    deviations : ndarray, shape (A, p)
        Area means less the mean.
    rates : ndarray, shape (p,)
        Current draw of a.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    tuple of ndarray
        Covariance matrix, shape (p, p), and rates, shape (p,).
    """
    count, p = deviations.shape
    scale = deviations.T @ deviations + np.diag(2.0 * _FREEDOM / rates)
    freedom = _FREEDOM + p - 1.0 + count
    # An inverse Wishart draw is L A'^-1 A^-1 L' with L the factor of the scale and A Bartlett's lower triangle.
    triangle = np.tril(rng.standard_normal((p, p)), -1)
    triangle[np.diag_indices(p)] = np.sqrt(2.0 * rng.standard_gamma(0.5 * (freedom - np.arange(p))))
    half = solve_triangular(triangle, np.linalg.cholesky(scale).T, lower=True)
    drawn = half.T @ half
    precision = np.linalg.inv(drawn)
    rates = (_FREEDOM * np.diag(precision) + 1.0) / rng.standard_gamma(np.full(p, 0.5 * (_FREEDOM + p)))
    return drawn, rates


def _chain_of(covariance: Vector) -> tuple[Vector, Vector]:
    """Return slopes (p, p), below the diagonal, and residual variances (p,) of the chain of regressions."""
    lower = np.linalg.cholesky(covariance)
    spread = np.diag(lower)
    unit = lower / spread
    inverse = solve_triangular(unit, np.eye(len(lower)), lower=True, unit_diagonal=True)
    return np.eye(len(lower)) - inverse, spread**2


def _least_squares(cross: Vector) -> tuple[Vector, Vector, Vector]:
    """Return slopes (p, p), half residual sums of squares (p,) and factors of the slopes' covariances (p, p, p)."""
    p = len(cross)
    slopes, sums = _chain_of(cross)
    inverse = solve_triangular(np.linalg.cholesky(cross), np.eye(p), lower=True)
    # The corner of an inverse triangle is the inverse of the corner, and (A A')^-1 = A'^-1 A^-1.
    roots = np.zeros((p, p, p))
    for j in range(p):
        roots[j, :j, :j] = inverse[:j, :j].T
    return slopes, 0.5 * sums, roots
