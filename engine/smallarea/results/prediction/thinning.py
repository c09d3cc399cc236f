"""Data thinning: two independent surveys out of one whose sampling variances are known.

With ``y ~ N(theta, V)``, V known, and ``u ~ N(0, share (1 - share) V)`` drawn, ``first = share y + u`` and ``second = y
- first`` are independent: their covariance is ``share (1 - share) V - share (1 - share) V = 0``. Scaled to the mean of
y they are ``first / share ~ N(theta, V / share)`` and ``second / (1 - share) ~ N(theta, V / (1 - share))``: what
surveys of these shares of the sample would have given. A model fitted to the first is scored on the second, in the
very areas that the survey has.

References
----------
Neufeld, A., Dharamshi, A., Gao, L. L. and Witten, D. (2024). Data thinning for convolution-closed distributions. JMLR
25(57).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def thin(
    direct: Vector, variance: Vector, correlation: Vector | None, share: float, rng: np.random.Generator
) -> tuple[Vector, Vector]:
    """Split direct estimates into two independent sets.

    Parameters
    ----------
    direct, variance : ndarray, shape (N, K)
        Direct estimates and sampling variances, NaN where there are none.
    correlation : ndarray, shape (N, K, K), or None
        Sampling correlations between responses; both sets have the same.
    share : float
        Share of the information that goes into the first set, between 0 and 1.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    first, second : ndarray, shape (N, K)
        Direct estimates on the scale of the input, with the variances ``variance / share`` and ``variance / (1 -
        share)``; NaN where there are none.
    """
    observed = np.isfinite(direct) & (variance > 0.0)
    sd = np.sqrt(np.where(observed, variance, 0.0))
    noise = rng.standard_normal(direct.shape)
    if correlation is not None:
        k = direct.shape[1]
        both = observed[:, :, None] & observed[:, None, :]
        matrix = np.where(both, correlation, 0.0)
        matrix[:, np.arange(k), np.arange(k)] = 1.0
        noise = np.einsum("nkl,nl->nk", np.linalg.cholesky(matrix), noise)
    first = share * direct + np.sqrt(share * (1.0 - share)) * sd * noise
    return np.where(observed, first / share, np.nan), np.where(observed, (direct - first) / (1.0 - share), np.nan)
