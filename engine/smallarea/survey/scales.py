"""Transformed estimates with their sampling variances, for a model that is fitted on the transformed scale.

Log, logit and arcsine are those of :mod:`smallarea.area_level.transformations`, to which `fit` has the way back.
Freeman-Tukey is for counts: Freeman, M. F. and Tukey, J. W. (1950), Transformations related to the angular and the
square root, *Annals of Mathematical Statistics* 21, 607-611; for rates as in Cressie, N. and Chan, N. H. (1989),
*JASA* 84, 393-401.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

TRANSFORMATIONS = ("none", "log", "logit", "arcsin", "freeman_tukey")
# Of which quantities an effective sample size can be computed: proportions.
PROPORTIONS = ("logit", "arcsin")


@dataclass(frozen=True)
class Transformed:
    """Estimates on another scale.

    Attributes
    ----------
    estimate, variance : ndarray, shape (N,)
        NaN where there are none.
    impossible : ndarray of bool, shape (N,)
        Areas with an estimate that has no value, or no variance, on this scale: zeros, and for proportions ones.
    """

    estimate: Vector
    variance: Vector
    impossible: Mask


def freeman_tukey(count: Vector, total: Vector, multiplier: float) -> Vector:
    """Transform rates so that their sampling variance depends on the total alone.

    Parameters
    ----------
    count, total : ndarray, shape (N,)
        Cases, and those at risk.
    multiplier : float
        1000 for rates per thousand.

    Returns
    -------
    ndarray, shape (N,)
        ``sqrt(multiplier) (sqrt(count / total) + sqrt((count + 1) / total))``; about twice the square root of the rate.
    """
    found: Vector = np.sqrt(multiplier) * (np.sqrt(count / total) + np.sqrt((count + 1.0) / total))
    return found


def freeman_tukey_variance(
    count: Vector, variance: Vector | None, total: Vector, multiplier: float
) -> tuple[Vector, Mask]:
    """Return the sampling variance of a Freeman-Tukey transformed rate.

    The square root of a Poisson count plus that of the next number has a variance of about 1, so the transformed rate
    has ``multiplier / total``. A count with a sampling variance of its own follows the delta method: the slope is
    ``sqrt(multiplier / total) (1 / sqrt(count) + 1 / sqrt(count + 1)) / 2``.

    Parameters
    ----------
    count, total : ndarray, shape (N,)
        Cases, and those at risk.
    variance : ndarray, shape (N,), or None
        Sampling variances of the counts; None for Poisson counts.
    multiplier : float
        1000 for rates per thousand.

    Returns
    -------
    variance : ndarray, shape (N,)
        Sampling variances, NaN where there are none.
    impossible : ndarray of bool, shape (N,)
        Zero counts with a sampling variance of their own: the slope has no value there.
    """
    if variance is None:
        return multiplier / total, np.zeros(len(count), dtype=bool)
    impossible = count == 0.0
    known = np.where(impossible, np.nan, count)
    slope = 0.5 * (1.0 / np.sqrt(known) + 1.0 / np.sqrt(known + 1.0))
    return multiplier / total * slope**2 * variance, impossible


def effective_sample_size(proportion: Vector, variance: Vector) -> Vector:
    """Return the size of a simple random sample (with replacement) with the same variance.

    Parameters
    ----------
    proportion, variance : ndarray, shape (N,)
        Proportions and sampling variances.

    Returns
    -------
    ndarray, shape (N,)
        ``p (1 - p) / variance``, NaN where it is not positive.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = proportion * (1.0 - proportion) / variance
    return np.where(np.isfinite(size) & (size > 0.0), size, np.nan)


def transform(
    name: str, estimate: Vector, variance: Vector, n_eff: Vector | None, field: str, areas: Sequence[str]
) -> Transformed:
    """Transform estimates and their sampling variances by logarithm, log odds or arcsine.

    Parameters
    ----------
    name : {'log', 'logit', 'arcsin'}
        The transformation.
    estimate, variance : ndarray, shape (N,)
        NaN where missing.
    n_eff : ndarray, shape (N,), or None
        Effective sample sizes, for the arcsine; without them they are ``p (1 - p) / variance``.
    field : str
        Name of the estimate, for messages.
    areas : sequence of str, length N
        Area ids, for messages.

    Returns
    -------
    Transformed
        Zeros (for proportions also ones) are not an error, as published tables have them: they are ``impossible``
        where the transformation has no value or no variance.

    Raises
    ------
    TableProblem
        If an estimate is negative, or no proportion.
    """
    from smallarea.area_level.transformations import transformation

    top = 1.0 if name in PROPORTIONS else np.inf
    wrong = np.flatnonzero((estimate < 0.0) | (estimate > top)).tolist()
    if wrong:
        what = "between 0 and 1 (percentages need scale=100)" if name in PROPORTIONS else "positive"
        raise TableProblem(
            f"{len(wrong)} estimates of {field!r} cannot be transformed by {name}: they are not {what}: "
            f"{named([areas[i] for i in wrong])} (values {named(estimate[wrong].tolist())})."
        )
    if name == "arcsin":
        return _arcsin(estimate, variance, n_eff, areas)
    rim = (estimate == 0.0) | (estimate == top)
    inside = np.where(rim, np.nan, estimate)
    y, v = transformation(name).forward(inside, variance, None, areas)
    return Transformed(y, v, rim)


def _arcsin(estimate: Vector, variance: Vector, n_eff: Vector | None, areas: Sequence[str]) -> Transformed:
    """Transform proportions; where no effective sample size is given, the variance says what it is."""
    from smallarea.area_level.transformations import transformation

    implied = effective_sample_size(estimate, variance)
    size = implied if n_eff is None else np.where(n_eff > 0.0, n_eff, implied)
    known = np.isfinite(size)
    y, v = transformation("arcsin").forward(estimate, variance, np.where(known, size, 1.0), areas)
    impossible = np.isfinite(estimate) & ~known & ((estimate == 0.0) | (estimate == 1.0))
    return Transformed(np.where(impossible, np.nan, y), np.where(known, v, np.nan), impossible)
