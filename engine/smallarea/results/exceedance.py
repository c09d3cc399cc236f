"""Probabilities that an area's quantity lies beyond thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.results.draws import blocks

Vector = NDArray[np.float64]
Direction = Literal["high", "low"]


def exceedance(theta: Vector, thresholds: Sequence[float], direction: Direction = "high") -> Vector:
    """Posterior probability of lying beyond each threshold.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    thresholds : sequence of float, length T
        In the units of the input.
    direction : {'high', 'low'}
        Strictly above, or strictly below.

    Returns
    -------
    ndarray, shape (N, T)
        Shares of draws, NaN for areas without an estimate. A share p of S independent draws has a Monte Carlo standard
        error of ``sqrt(p (1 - p) / S)``.
    """
    found = np.full((theta.shape[1], len(thresholds)), np.nan)
    for part, block in blocks(theta):
        present = ~np.isnan(block).any(axis=1)
        for k, threshold in enumerate(thresholds):
            beyond = block > threshold if direction == "high" else block < threshold
            found[part, k] = np.where(present, beyond.mean(axis=1), np.nan)
    return found
