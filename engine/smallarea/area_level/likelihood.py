"""Restricted and full maximum likelihood for the models with spatial effects or several responses.

The likelihood is that of the collapsed model. Hyperparameters are searched in unbounded coordinates (the quantiles of
the default priors serve as a change of variable; the priors themselves play no part), so a standard deviation that the
data put at zero ends at the far side of its coordinate and is reported as zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.mode import find_mode
from smallarea.area_level.parameters import as_arrays, inside, natural_values
from smallarea.area_level.priors import DEFAULT_PRIORS, Prior, Uniform
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]

# Beyond this coordinate a parameter counts as lying on its boundary: a standard deviation below 1e-5 of the data's.
BOUNDARY = -4.3
# And beyond this one a dependence parameter (rho, a correlation) counts as lying at the end of its range. The search
# does not go far past it: the precision matrices become singular, and then rounding decides.
END_OF_RANGE = 5.5
WALL = 6.0
STEP = 0.02


@dataclass(frozen=True)
class LikelihoodFit:
    """Empirical best predictors at the estimated hyperparameters, on the standardised scale.

    Attributes
    ----------
    values, values_se : ndarray, shape (q,)
        Hyperparameters and their asymptotic standard errors (NaN on a boundary).
    at_zero, at_end : tuple of str
        Standard deviations that the data put at zero, and dependence parameters at the end of their range.
    log_likelihood, restricted_log_likelihood : float
        At the estimates.
    beta, beta_covariance : ndarray, shapes (p,), (p, p)
        Coefficients of all responses.
    estimate, synthetic, shrinkage : ndarray, shape (N, K)
        EBLUP, x'beta, and the weight of the own direct estimate.
    covariance, known_beta : ndarray, shape (N, K, K)
        Cov(theta_i) given the hyperparameters (g1 + g2 on its diagonal), and with beta known as well (g1).
    g3 : ndarray, shape (N, K)
        What the estimation of the hyperparameters adds, once.
    sensitivity : ndarray, shape (N, K, K)
        The same between the responses of an area; g3 is its diagonal.
    """

    values: Vector
    values_se: Vector
    at_zero: tuple[str, ...]
    at_end: tuple[str, ...]
    log_likelihood: float
    restricted_log_likelihood: float
    beta: Vector
    beta_covariance: Vector
    estimate: Vector
    synthetic: Vector
    covariance: Vector
    known_beta: Vector
    g3: Vector
    sensitivity: Vector

    @property
    def mse(self) -> Vector:
        """Mean squared error, g1 + g2 + 2 g3 (Prasad and Rao 1990; Datta and Lahiri 2000), shape (N, K)."""
        return np.einsum("nkk->nk", self.covariance) + 2.0 * self.g3


def fit_likelihood(
    model: CollapsedModel,
    specification: AreaLevelSpecification,
    progress: Callable[[float, str], None] | None = None,
) -> LikelihoodFit:
    """Estimate hyperparameters by REML or ML and predict every area.

    Parameters
    ----------
    model : CollapsedModel
        The model and its data.
    specification : AreaLevelSpecification
        What it is; its method is ``reml`` or ``ml``.
    progress : callable, optional
        ``progress(percent, text)``; may raise to cancel.

    Returns
    -------
    LikelihoodFit
        The fit. ``g3`` is by the delta method: the sensitivity of the predictor to the hyperparameters at the data,
        times their asymptotic covariance (Kackar and Harville 1984).

    Raises
    ------
    ModelProblem
        If the likelihood cannot be maximised.
    """
    bare = replace(specification, priors=_coordinates(specification))
    layout, k = bare.layout, len(bare.responses)
    order = tuple(bare.responses.index(name) for name in bare.order)
    bounded = np.array([parameter.is_bounded for parameter in layout])

    def values(x: Vector) -> Vector:
        return natural_values(layout, bare.priors, k, x)

    def target(x: Vector) -> Vector:
        if progress is not None:
            progress(10.0, "searching for the maximum of the likelihood")
        natural = values(x)
        good = inside(layout, natural) & np.all(np.abs(x[:, bounded]) < WALL, axis=1)
        out = np.full(len(x), -np.inf)
        if good.any():
            given = model.condition(as_arrays(layout, order, k, natural[good]))
            height = given.log_likelihood if specification.method == "reml" else given.log_profile
            out[good] = np.where(np.isfinite(height), height, -np.inf)
        return out

    mode, covariance, _ = find_mode(target, len(layout), flat=True)
    low = np.array([parameter.is_sd for parameter in layout]) & (mode < BOUNDARY)
    end = bounded & (np.abs(mode) > END_OF_RANGE)
    free = ~(low | end)
    shifts = STEP * np.eye(len(layout))[free]
    points = np.vstack([mode, mode + shifts, mode - shifts])
    given = model.condition(as_arrays(layout, order, k, values(points)))
    moments = model.moments(given)
    if not np.isfinite(given.log_likelihood[0]):
        raise ModelProblem("The likelihood could not be maximised: it is not finite at the best point that was found.")
    ends = 1 + int(free.sum())
    slope = (moments.theta[:, :, 1:ends] - moments.theta[:, :, ends:]) / (2.0 * STEP)
    natural = values(points)
    natural_slope = (natural[1:ends] - natural[ends:]) / (2.0 * STEP)
    inner = covariance[np.ix_(free, free)]
    total, known = moments.covariances
    estimates = np.where(low, 0.0, natural[0])
    at_zero, at_end = (
        tuple(parameter.name for parameter, at in zip(layout, where, strict=True) if at) for where in (low, end)
    )
    se = np.sqrt(np.einsum("iq,ij,jq->q", natural_slope, inner, natural_slope))
    return LikelihoodFit(
        estimates,
        np.where(free, se, np.nan),
        at_zero,
        at_end,
        float(given.log_profile[0]),
        float(given.log_likelihood[0]),
        given.beta[:, 0],
        given.beta_covariance[:, :, 0],
        moments.theta[:, :, 0],
        moments.synthetic[:, :, 0],
        total[..., 0],
        known[..., 0],
        np.einsum("nki,ij,nkj->nk", slope, inner, slope),
        np.einsum("nki,ij,nlj->nkl", slope, inner, slope),
    )


def _coordinates(specification: AreaLevelSpecification) -> dict[str, Prior]:
    """Return changes of variable: the default priors, but rho may be negative where the precision allows it."""
    out = {parameter.name: DEFAULT_PRIORS[parameter.kind] for parameter in specification.layout}
    if specification.random_effect == "car":
        out |= {name: Uniform(-1.0, 1.0) for name in out if name.startswith("rho")}
    return out
