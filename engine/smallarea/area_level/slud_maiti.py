"""Back from the log scale with the model's own moments (Slud and Maiti 2006).

If ``theta_i = x_i'beta + u_i`` is the logarithm of what is wanted, the best predictor of ``exp(theta_i)`` is
``exp(theta~_i + g1_i / 2)``, theta~_i being the best predictor of theta_i and g1_i its error. Its mean squared error
and what the estimation of beta and A adds have closed forms; `docs/methods/transformations.md` derives them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.data import StandardisedData
from smallarea.area_level.eblup import Eblup
from smallarea.area_level.transformations import BackTransformed

Vector = NDArray[np.float64]


def slud_maiti(fit: Eblup, data: StandardisedData) -> BackTransformed:
    """Transform an EBLUP of logarithms back.

    Parameters
    ----------
    fit : Eblup
        Fit to logarithms of direct estimates, with independent area effects.
    data : StandardisedData
        What it was fitted to; the fit is brought back from its location and scale.

    Returns
    -------
    BackTransformed
        On the scale of the direct estimates. The mean squared error is that over repeated samples and areas, given
        the covariates, not given the direct estimate.
    """
    s2 = data.scale**2
    a, error, bias = fit.model_variance * s2, fit.model_variance_error * s2**2, fit.bias * s2
    synthetic = data.location + data.scale * fit.synthetic
    # An area without a direct estimate is one whose sampling variance is infinite: gamma = 0 and g1 = A.
    precision = np.where(data.sampled, 1.0 / (a + data.v * s2), 0.0)
    rest = 1.0 - a * precision
    g1, slope, bend = a * rest, rest**2, -2.0 * rest**2 * precision
    estimate = np.exp(data.location + data.scale * fit.estimate + 0.5 * g1)
    leverage = np.einsum("ij,jk,ik->i", data.x, fit.gls.covariance, data.x) * s2
    level = np.exp(2.0 * synthetic + 2.0 * a)
    best = -np.expm1(-g1)
    kept = np.exp(-g1)
    first = 2.0 * best + slope * kept
    second = 4.0 * best + 4.0 * slope * kept + (bend - slope**2) * kept
    # E[M(beta^, A^)] / M - 1 to leading order; taken off as a factor, which keeps the estimate positive.
    inflation = 2.0 * leverage + _ratio(first * bias + 0.5 * second * error, best)
    # The predictor's derivative in A is itself times (weight r + slope / 2), and r = y - x'beta ~ N(2 A, A + v) under
    # its square as a density.
    weight = rest * precision
    of_a = rest**2 * precision + 4.0 * (a * weight) ** 2 + 2.0 * a * weight * slope + 0.25 * slope**2
    mse = level * (best * np.exp(-inflation) + kept * (rest**2 * leverage + of_a * error))
    return BackTransformed(estimate, mse, "exp(estimate + g1 / 2), bias-corrected after Slud and Maiti (2006)")


def _ratio(top: Vector, bottom: Vector) -> Vector:
    """Ratio, or 0 where A = 0 leaves nothing of the best predictor's error to correct."""
    return np.where(bottom > 0.0, top / np.where(bottom > 0.0, bottom, 1.0), 0.0)
