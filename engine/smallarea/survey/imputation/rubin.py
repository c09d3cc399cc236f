"""Rubin's rules: one estimate, with its variance, of the estimates from several completed tables.

With M completed tables, estimates Q_m and their variances U_m (as if nothing had been missing):

- estimate ``Q = mean Q_m``, within-imputation variance ``U = mean U_m``,
- between-imputation variance ``B = sum (Q_m - Q)^2 / (M - 1)``,
- total variance ``T = U + (1 + 1/M) B``, and its share that is due to missing answers ``lambda = (1 + 1/M) B / T``,
- degrees of freedom of Barnard and Rubin: ``1 / df = 1 / df_old + 1 / df_observed`` with ``df_old = (M - 1) /
  lambda^2`` and ``df_observed = (df_complete + 1) / (df_complete + 3) df_complete (1 - lambda)``,
- fraction of missing information ``(r + 2 / (df + 3)) / (r + 1)`` with ``r = (1 + 1/M) B / U``.

For several estimates at once U_m are covariance matrices and squares become outer products.

References
----------
Rubin, D. B. (1987). Multiple Imputation for Nonresponse in Surveys. Wiley. Formulas 3.1.2 to 3.1.10.
Barnard, J. and Rubin, D. B. (1999). Small-sample degrees of freedom with multiple imputation. Biometrika 86, 948-955.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smallarea.errors import TableProblem, VarianceProblem

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Combined:
    """Estimates of all completed tables together.

    Attributes
    ----------
    estimate : ndarray, shape (...)
        Mean over the tables.
    variance : ndarray, shape (...) or (..., K, K)
        Total variance, or covariance matrices of the last axis.
    within, between : ndarray, shape as `variance`
        Mean of the variances, and variance of the estimates (without the factor ``1 + 1/M``).
    fraction_missing : ndarray, shape (...)
        Fraction of missing information of each estimate.
    df : ndarray, shape (...)
        Degrees of freedom of each.
    """

    estimate: Vector
    variance: Vector
    within: Vector
    between: Vector
    fraction_missing: Vector
    df: Vector


def combine(estimates: ArrayLike, variances: ArrayLike, df_complete: ArrayLike | None = None) -> Combined:
    """Combine the estimates of M completed tables by Rubin's rules.

    Parameters
    ----------
    estimates : array_like, shape (M, ...)
        Estimates of each completed table. One that is missing (NaN) in any table is missing in the result.
    variances : array_like, shape (M, ...) or (M, ..., K, K)
        Their variances, or covariance matrices of the last axis of `estimates`.
    df_complete : array_like, broadcastable to shape (...), optional
        Degrees of freedom if nothing were missing; without them they are infinite.

    Returns
    -------
    Combined
        With nothing between the tables, the variance is the one within and degrees of freedom are ``(d + 1) / (d + 3)
        d`` for d `df_complete`, the limit of Barnard and Rubin's formula. Where both are zero, no information is
        missing.

    Raises
    ------
    TableProblem
        If there are fewer than two completed tables, or shapes do not fit.
    VarianceProblem
        If a variance is negative.
    """
    q, u = np.asarray(estimates, dtype=np.float64), np.asarray(variances, dtype=np.float64)
    matrices = _check_shapes(q, u)
    count = len(q)
    estimate, within = q.mean(axis=0), u.mean(axis=0)
    deviation = q - estimate
    squares = deviation[..., :, None] * deviation[..., None, :] if matrices else deviation**2
    between = squares.sum(axis=0) / (count - 1)
    total = within + (1.0 + 1.0 / count) * between
    single = [_diagonal(one) if matrices else one for one in (within, between, total)]
    if (single[0] < 0.0).any():
        raise VarianceProblem("A variance of a completed table is negative. Check how it was estimated.")
    complete = np.broadcast_to(np.inf if df_complete is None else np.asarray(df_complete, float), estimate.shape)
    df, fraction = _of_missing(single[0], (1.0 + 1.0 / count) * single[1], single[2], complete, count)
    return Combined(estimate, total, within, between, fraction, df)


def _check_shapes(q: Vector, u: Vector) -> bool:
    """Return whether variances are matrices."""
    if q.ndim == 0 or len(q) < 2:
        raise TableProblem(
            "Rubin's rules need two completed tables or more: what differs between them is the uncertainty of the "
            "imputed values. Impute more than once."
        )
    if u.shape == q.shape:
        return False
    if q.ndim > 1 and u.shape == (*q.shape, q.shape[-1]):
        return True
    raise TableProblem(
        f"Estimates of shape {q.shape} do not fit variances of shape {u.shape}. There is one variance for each "
        "estimate, or one covariance matrix for each table and group of estimates."
    )


def _diagonal(matrices: Vector) -> Vector:
    return np.asarray(np.einsum("...kk->...k", matrices))


def _of_missing(within: Vector, extra: Vector, total: Vector, complete: Vector, count: int) -> tuple[Vector, Vector]:
    """Return degrees of freedom and fractions of missing information; `extra` is ``(1 + 1/M) B``."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(total > 0.0, extra / total, np.where(np.isnan(total), np.nan, 0.0))
        old = (count - 1.0) / share**2
        observed = (complete + 1.0) / (complete + 3.0) * complete * (1.0 - share)
        # An infinite number of degrees of freedom leaves the other one, in place of infinity over infinity.
        both = np.where(np.isinf(old), observed, old * observed / (old + observed))
        df = np.where(np.isnan(total), np.nan, np.where(np.isinf(complete), old, both))
        # (r + 2 / (df + 3)) / (r + 1) with r = extra / within, written so that it holds for within = 0.
        fraction = np.where(total > 0.0, (extra + within * 2.0 / (df + 3.0)) / total, share)
    return df, fraction
