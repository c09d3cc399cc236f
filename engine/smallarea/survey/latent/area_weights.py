"""Sampling weights as a model of areas takes them.

References
----------
Kish, L. (1965). Survey Sampling. Wiley.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


def area_weights(weights: Vector, areas: NDArray[np.int64]) -> Vector:
    """Scale weights so that those of an area add up to its effective number of respondents.

    That is ``(sum w)^2 / sum w^2`` (Kish 1965): an area's effect is then as uncertain as a weighted mean is, and equal
    weights count as none.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Not negative.
    areas : ndarray of int, shape (n,)
        Area of each respondent.

    Returns
    -------
    ndarray, shape (n,)
        Zeros in areas whose weights are all zero.
    """
    total, squares = np.bincount(areas, weights), np.bincount(areas, weights**2)
    scale = np.divide(total, squares, out=np.zeros(len(total)), where=squares > 0.0)
    return weights * scale[areas]
