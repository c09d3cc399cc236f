"""How the proposals of hyperparameters are tuned while a chain warms up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

# Sweeps between looks at the proposals. Draws depend on it.
BLOCK = 25
# Acceptance aimed at: of one-dimensional random walks (Gelman, Roberts and Gilks 1996), and of the range.
WALK_TARGET, RANGE_TARGET = 0.44, 0.3


def tune_steps(steps: Vector, counts: NDArray[np.int64], hypers: list[Vector], log_ranges: Vector) -> None:
    """Steer acceptance rates, and let the field's standard deviation follow its range as it did so far.

    Parameters
    ----------
    steps : ndarray, shape (4,)
        Random walk of both log standard deviations, reach in the grid of ranges, and how much log sd follows log range;
        changed in place.
    counts : ndarray of int, shape (3, 2)
        Proposals made and accepted since the last look.
    hypers : list of ndarray, each of shape (sweeps, 3)
        Log sd of error and field and position of the range, block by block.
    log_ranges : ndarray, shape (G,)
        The grid.
    """
    gain = 3.0 / np.sqrt(1.0 + len(hypers))
    rates = counts[:, 1] / np.maximum(counts[:, 0], 1)
    steps[:2] *= np.exp(gain * (rates[:2] - WALK_TARGET))
    steps[2] = np.clip(steps[2] * np.exp(gain * (rates[2] - RANGE_TARGET)), 1.0, max(1.0, len(log_ranges) / 2.0))
    recent = np.concatenate(hypers[len(hypers) // 2 :])
    log_range = log_ranges[recent[:, 2].astype(int)]
    if len(recent) >= 4 * BLOCK and np.ptp(log_range) > 0.0:
        slope = np.cov(log_range, recent[:, 1])[0, 1] / np.var(log_range, ddof=1)
        steps[3] = np.clip(slope, 0.0, 1.5)
