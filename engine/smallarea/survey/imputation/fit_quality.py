"""How well a model of a table holds its joint structure: residual correlations and their one-number summary."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import TableProblem

Matrix = NDArray[np.float64]


def as_correlation(covariance: Matrix) -> Matrix:
    """Scale a covariance matrix to correlations.

    Parameters
    ----------
    covariance : ndarray, shape (p, p)
        Covariances or correlations.

    Returns
    -------
    ndarray, shape (p, p)
        Ones on the diagonal.

    Raises
    ------
    TableProblem
        If a variance is not above 0.
    """
    variance = np.diag(covariance)
    if not np.all(variance > 0.0):
        raise TableProblem(
            f"{int(np.sum(~(variance > 0.0)))} of {len(variance)} columns do not vary, so they have no correlations. "
            "Leave them out."
        )
    scale = np.sqrt(variance)
    found = covariance / scale / scale[:, None]
    np.fill_diagonal(found, 1.0)
    return found


def correlation_residuals(model: Matrix, reference: Matrix) -> Matrix:
    """Correlations of the model minus those that it should have.

    Parameters
    ----------
    model, reference : ndarray, shape (p, p)
        Covariances or correlations.

    Returns
    -------
    ndarray, shape (p, p)
        Residuals, 0 on the diagonal.

    Raises
    ------
    TableProblem
        If the shapes differ or a variance is not above 0.
    """
    if model.shape != reference.shape:
        raise TableProblem(f"Matrices of {len(model)} and {len(reference)} columns cannot be compared.")
    return as_correlation(model) - as_correlation(reference)


def srmr(model: Matrix, reference: Matrix) -> float:
    """Standardised root mean squared residual.

    ``sqrt( sum_{j >= k} r_jk^2 / (p (p + 1) / 2) )`` with r the residual correlations (Hu and Bentler 1999, Structural
    Equation Modeling 6; Bentler 1995). The diagonal, which is 0, counts in the denominator.

    The population value is meant: give the correlations that the model implies, not those of a sample drawn from it,
    whose noise would add about ``sqrt((p - 1) / (p + 1) / n)`` for weak correlations even if the model were right.

    Parameters
    ----------
    model, reference : ndarray, shape (p, p)
        Covariances or correlations.

    Returns
    -------
    float
        0 for a perfect model; below 0.08 is called good by the usual rule of thumb.

    Raises
    ------
    TableProblem
        If the shapes differ or a variance is not above 0.
    """
    return srmr_of_residuals(correlation_residuals(model, reference))


def srmr_of_residuals(residuals: Matrix) -> float:
    """Summarise residual correlations in one number.

    Parameters
    ----------
    residuals : ndarray, shape (p, p)
        Residual correlations, 0 on the diagonal; NaN for pairs that cannot be compared, which are left out.

    Returns
    -------
    float
        See :func:`srmr`; NaN if nothing can be compared.
    """
    lower = residuals[np.tril_indices(len(residuals))]
    lower = lower[np.isfinite(lower)]
    return float(np.sqrt(np.mean(lower**2))) if len(lower) else float("nan")


def pairwise_correlation(values: Matrix, weight: Matrix | None = None) -> Matrix:
    """Correlations of each pair of columns over the rows that have both.

    Parameters
    ----------
    values : ndarray, shape (n, p)
        NaN where missing.
    weight : ndarray, shape (n,), optional
        Weights of the rows.

    Returns
    -------
    ndarray, shape (p, p)
        NaN for pairs with fewer than three common rows or without variation. Unbiased only if cells are missing
        completely at random: the report says so.
    """
    seen = np.isfinite(values)
    w = np.ones(len(values)) if weight is None else np.asarray(weight, dtype=float)
    centre = np.nansum(np.where(seen, values, 0.0) * w[:, None], axis=0) / np.maximum(
        (seen * w[:, None]).sum(axis=0), 1e-300
    )
    x = np.where(seen, values - centre, 0.0)
    s = seen.astype(float)
    sw, xw = s * w[:, None], x * w[:, None]
    total = sw.T @ s
    with np.errstate(divide="ignore", invalid="ignore"):
        own = (xw.T @ s) / total  # mean of column j over the rows that have j and k
        cross = (xw.T @ x) / total - own * own.T
        square = ((x * xw).T @ s) / total - own**2
        found = cross / np.sqrt(square * square.T)
    found[(s.T @ s < 3) | ~np.isfinite(found)] = np.nan
    found = np.clip(found, -1.0, 1.0)
    np.fill_diagonal(found, np.where(np.isnan(np.diag(found)), np.nan, 1.0))
    return found
