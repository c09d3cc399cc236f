"""How many of the field's directions most of the work needs, from a first look at the data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.unit_level.clusters import Clusters
from smallarea.unit_level.field_exact import Factor

Vector = NDArray[np.float64]

# From so many clusters on, it pays to leave directions out at first.
FROM_CLUSTERS = 500
# Numbers tried: multiples of this, up to this share of all.
STEP, LARGEST_SHARE = 25, 0.6
# Variance of the logarithm of p / p~ at which about nine sweeps in ten are accepted.
VARIANCE = 1.0
# Ratios of the variances of field and error that are tried.
RATIOS = np.exp(np.linspace(np.log(1e-4), np.log(1e3), 57))


def near_directions(clusters: Clusters, factors: list[Factor]) -> int:
    """Choose how many directions to keep near.

    Least squares stand in for the trees; with the most likely range and ratio of variances among some, and a_k the
    ratio times eigenvalue k, the logarithm of p / p~ has the variance ``1/2 sum_far ((a_k - a) / (1 + a))^2``, a being
    their mean.

    Parameters
    ----------
    clusters : Clusters
        The data.
    factors : list of (ndarray (n, n), ndarray (n,))
        V and the eigenvalues, in ascending order, of some ranges.

    Returns
    -------
    int
        All of them if few do not serve.
    """
    n = clusters.n
    best, scaled = -np.inf, np.zeros(n)
    residual = clusters.residuals()
    for vectors, values in factors:
        squares = (vectors.T @ residual) ** 2
        scales = 1.0 + RATIOS[:, None] * values
        error = (clusters.within.sum() + (squares / scales).sum(axis=1)) / clusters.observations
        logs = -0.5 * (np.log(scales).sum(axis=1) + clusters.observations * np.log(error))
        i = int(np.argmax(logs))
        if logs[i] > best:
            best, scaled = float(logs[i]), RATIOS[i] * values
    for k in range(STEP, int(LARGEST_SHARE * n), STEP):
        far = scaled[: n - k]
        if 0.5 * np.sum(((far - far.mean()) / (1.0 + far.mean())) ** 2) <= VARIANCE:
            return k
    return n
