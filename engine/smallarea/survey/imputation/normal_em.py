"""Mode of a multivariate normal distribution from a table with gaps, by expectation and maximisation."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from smallarea.survey.imputation.pattern_groups import PatternGroups, expect_missing

Vector = NDArray[np.float64]

RIDGE = 1.0
_TOLERANCE = 1e-5


class NormalMode(NamedTuple):
    """Mean, shape (p,), covariance matrix, shape (p, p), and the steps it took."""

    mean: Vector
    covariance: Vector
    steps: int


def normal_mode(
    values: Vector,
    groups: PatternGroups,
    *,
    ridge: float = RIDGE,
    tolerance: float = _TOLERANCE,
    most_steps: int = 100,
) -> NormalMode:
    """Maximise the likelihood of the observed cells (Dempster, Laird and Rubin 1977; Schafer 1997, section 5.3).

    Parameters
    ----------
    values : ndarray, shape (n, p)
        Standardised columns, NaN in the gaps.
    groups : PatternGroups
        The gaps.
    ridge : float
        Weight, in rows, of a prior guess of independent columns with variance 1; 0 is maximum likelihood.
    tolerance : float
        Stop when no entry of the covariance matrix changes by more.
    most_steps : int
        Stop after so many steps in any case.

    Returns
    -------
    NormalMode
    """
    n, p = values.shape
    filled = np.where(np.isnan(values), np.nanmean(values, axis=0), values)
    mean, covariance = filled.mean(axis=0), np.eye(p)
    step = 0
    for step in range(1, most_steps + 1):  # noqa: B007 - reported
        deviations = filled - mean
        extra = expect_missing(groups, deviations, np.asarray(np.linalg.inv(covariance), dtype=float))
        shift = deviations.mean(axis=0)
        filled = deviations + mean
        cross = deviations.T @ deviations - n * np.outer(shift, shift) + extra
        mean = mean + shift
        last, covariance = covariance, (cross + ridge * np.eye(p)) / (n + ridge)
        if np.abs(covariance - last).max() < tolerance:
            break
    return NormalMode(mean, covariance, step)
