"""Matérn correlation with smoothness 1, the one that the SPDE of the plane approximates.

``corr(d) = kappa d K_1(kappa d)`` with ``kappa = sqrt(8) / range``: at the distance ``range`` the correlation is 0.14.

References
----------
Lindgren, F., Rue, H. and Lindström, J. (2011). An explicit link between Gaussian fields and Gaussian Markov random
fields: the stochastic partial differential equation approach. JRSS B 73, 423-498.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]

# sqrt(8 nu) with nu = 1: kappa times the range.
KAPPA_RANGE = math.sqrt(8.0)
# Below this x K_1(x) differs from 1 by less than rounding, while K_1 itself comes near overflow.
_TINY = 1e-100


def matern_correlation(distance: Vector, spatial_range: float) -> Vector:
    """Correlation of a Matérn field of smoothness 1 at a distance.

    Parameters
    ----------
    distance : ndarray
        Distances, not negative, of any shape.
    spatial_range : float
        Range, above 0, in the unit of the distances.

    Returns
    -------
    ndarray
        Correlations, 1 at distance 0, of the same shape.

    Raises
    ------
    ModelProblem
        If the range is not a positive number.
    """
    if not (math.isfinite(spatial_range) and spatial_range > 0.0):
        raise ModelProblem(f"The range of a field must be a positive number, not {spatial_range}.")
    x = (KAPPA_RANGE / spatial_range) * np.asarray(distance, dtype=np.float64)
    safe = np.maximum(x, _TINY)
    return np.where(x > _TINY, safe * special.k1(safe), 1.0)


def distances(points: Vector, others: Vector | None = None) -> Vector:
    """Straight distances between points of the plane.

    Parameters
    ----------
    points : ndarray, shape (n, 2)
        Coordinates.
    others : ndarray, shape (m, 2), optional
        Coordinates in the same unit; the points themselves if left out.

    Returns
    -------
    ndarray, shape (n, m)
        Distances; those of a point to itself are exactly 0.
    """
    there = points if others is None else others
    return np.hypot(points[:, None, 0] - there[None, :, 0], points[:, None, 1] - there[None, :, 1])
