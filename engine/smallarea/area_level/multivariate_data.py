"""Several responses of the same areas with the covariance matrices of their sampling errors, checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from smallarea.area_level.data import COLLINEARITY
from smallarea.errors import ModelProblem, TableProblem, VarianceProblem, named

Vector = NDArray[np.float64]

# A sampling correlation matrix whose smallest eigenvalue is below this says that one response is another one.
SINGULAR = 1e-10


@dataclass(frozen=True)
class MultivariateData:
    """K responses of N areas, any of them missing anywhere, in the units of the input.

    Attributes
    ----------
    areas : tuple of str, length N
        Area ids.
    responses : tuple of str, length K
        Names of the responses.
    y : ndarray, shape (N, K)
        Direct estimates, NaN where there is none.
    v : ndarray, shape (N, K, K)
        Covariance matrices of the sampling errors; rows and columns of missing responses are zero.
    x : ndarray, shape (N, K, P)
        Row k of block i has the covariates of response k in the columns of its coefficients and zeros elsewhere.
    coefficients : tuple of (str, str), length P
        Response and term of each column of ``x``.
    """

    areas: tuple[str, ...]
    responses: tuple[str, ...]
    y: Vector
    v: Vector
    x: Vector
    coefficients: tuple[tuple[str, str], ...]

    @property
    def observed(self) -> NDArray[np.bool_]:
        """Cells with a direct estimate, shape (N, K)."""
        return np.isfinite(self.y)


def multivariate_data(
    areas: Sequence[str],
    responses: Sequence[str],
    direct: Vector,
    covariance: Vector,
    covariates: Sequence[Vector],
    covariate_names: Sequence[Sequence[str]],
    *,
    intercept: bool = True,
) -> MultivariateData:
    """Check the columns of a table and lay out the design.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids, each once.
    responses : sequence of str, length K
        Names of the responses, each once.
    direct : ndarray, shape (N, K)
        Direct estimates, NaN where missing.
    covariance : ndarray, shape (N, K, K)
        Sampling covariance matrices, squared units of ``direct``; entries of missing responses are not read.
    covariates : sequence of K ndarrays, shape (N, p_k)
        Covariate values of each response; the same array K times if all responses share them.
    covariate_names : sequence of K sequences of str, length p_k
        Their names.
    intercept : bool
        Whether each response has an intercept of its own.

    Returns
    -------
    MultivariateData
        The data.

    Raises
    ------
    TableProblem
        If ids or responses repeat, shapes do not fit, a number is infinite or a covariate missing.
    VarianceProblem
        If a sampling covariance matrix is missing, not symmetric or not positive definite.
    ModelProblem
        If a response has too few direct estimates, or covariates are collinear.
    """
    ids, names = tuple(areas), tuple(responses)
    y = np.array(direct, dtype=float)
    v = np.array(covariance, dtype=float)
    tables = [np.array(table, dtype=float) for table in covariates]
    _check_shapes(ids, names, y, v, tables, covariate_names)
    observed = np.isfinite(y)
    both = observed[:, :, None] & observed[:, None, :]
    v = np.where(both, v, 0.0)
    _check_covariance(ids, names, v, observed)
    x, coefficients = _design(names, tables, covariate_names, intercept)
    _check_support(names, observed, x)
    _check_rank(x[observed], coefficients)
    return MultivariateData(ids, names, y, v, x, coefficients)


def _check_shapes(
    ids: tuple[str, ...],
    names: tuple[str, ...],
    y: Vector,
    v: Vector,
    tables: list[Vector],
    covariate_names: Sequence[Sequence[str]],
) -> None:
    n, k = len(ids), len(names)
    for what, values in (("Area ids", ids), ("Names of responses", names)):
        if len(set(values)) != len(values):
            repeated = sorted({value for value in values if values.count(value) > 1})
            raise TableProblem(f"{what} repeat: {named(repeated)}. Each needs one place.")
    fits = len(tables) == len(covariate_names) == k and all(
        table.shape == (n, len(terms)) for table, terms in zip(tables, covariate_names, strict=True)
    )
    if y.shape != (n, k) or v.shape != (n, k, k) or not fits:
        raise TableProblem(
            f"Shapes differ: {n} areas and {k} responses need direct estimates of shape {(n, k)}, covariance matrices "
            f"of shape {(n, k, k)} and {k} tables of covariates with {n} rows, each with its names; got {y.shape}, "
            f"{v.shape} and {[table.shape for table in tables]}."
        )
    infinite = np.any(np.isinf(y), axis=1)
    if infinite.any():
        raise TableProblem(f"Direct estimates are infinite: {_at(ids, infinite)}. Replace them or set them to missing.")
    for name, table in zip(names, tables, strict=True):
        bad: NDArray[np.bool_] = ~np.all(np.isfinite(table), axis=1)
        if bad.any():
            raise TableProblem(
                f"{int(bad.sum())} areas lack a finite covariate of {name!r}: {_at(ids, bad)}. A model cannot predict "
                "them. Fill the values, choose other covariates or leave these areas out."
            )


def _check_covariance(ids: tuple[str, ...], names: tuple[str, ...], v: Vector, observed: NDArray[np.bool_]) -> None:
    """Refuse what is no covariance matrix; ``v`` is zero outside observed cells."""
    variances = np.where(observed, np.einsum("ikk->ik", v), 1.0)
    bad: NDArray[np.bool_] = ~(np.isfinite(variances) & (variances > 0.0))
    if bad.any():
        which = [names[k] for k in np.flatnonzero(bad.any(axis=0)).tolist()]
        raise VarianceProblem(
            f"{int(bad.sum())} direct estimates of {named(which)} have no positive sampling variance: "
            f"{_at(ids, np.any(bad, axis=1))}. Give the variances, or set these direct estimates to missing."
        )
    root = np.sqrt(variances)
    correlation = v / root[:, :, None] / root[:, None, :]
    odd = np.any(~np.isfinite(correlation), axis=(1, 2))
    odd |= np.any(np.abs(correlation - correlation.transpose(0, 2, 1)) > 1e-8, axis=(1, 2))
    if odd.any():
        raise VarianceProblem(
            f"Sampling covariance matrices have missing entries or are not symmetric: {_at(ids, odd)}. Give the "
            "covariances, or zeros where the direct estimates are independent."
        )
    filled = correlation + np.where(observed, 0.0, 1.0)[:, :, None] * np.eye(len(names))
    flat = np.linalg.eigvalsh(filled)[:, 0] < SINGULAR
    if flat.any():
        raise VarianceProblem(
            f"Sampling covariance matrices are not positive definite: {_at(ids, flat)}. Correlations of sampling "
            "errors must be compatible and below 1; of responses that add up, such as all shares of a whole, leave "
            "one out."
        )


def _at(ids: Sequence[str], mask: NDArray[np.bool_]) -> str:
    return named([ids[i] for i in np.flatnonzero(mask).tolist()])


def _design(
    names: tuple[str, ...], tables: list[Vector], covariate_names: Sequence[Sequence[str]], intercept: bool
) -> tuple[Vector, tuple[tuple[str, str], ...]]:
    n, first = tables[0].shape[0], int(intercept)
    widths = [table.shape[1] + first for table in tables]
    x = np.zeros((n, len(names), sum(widths)))
    coefficients: list[tuple[str, str]] = []
    for k, (name, table, terms) in enumerate(zip(names, tables, covariate_names, strict=True)):
        start = len(coefficients)
        if intercept:
            x[:, k, start] = 1.0
            coefficients.append((name, "(intercept)"))
        x[:, k, start + first : start + widths[k]] = table
        coefficients += [(name, term) for term in terms]
    return x, tuple(coefficients)


def _check_support(names: tuple[str, ...], observed: NDArray[np.bool_], x: Vector) -> None:
    for k, name in enumerate(names):
        count, p = int(observed[:, k].sum()), int(np.any(x[:, k] != 0.0, axis=0).sum())
        if count <= p + 1:
            raise ModelProblem(
                f"{count} areas have a direct estimate of {name!r}, too few for {p} coefficients and a model variance: "
                f"at least {p + 2} are needed."
            )


def _check_rank(x: Vector, coefficients: tuple[tuple[str, str], ...]) -> None:
    if not coefficients:
        return
    _, r, order = scipy.linalg.qr(x / np.maximum(np.linalg.norm(x, axis=0), 1e-300), mode="economic", pivoting=True)
    left = np.abs(np.diag(r))
    dependent = sorted(order[left <= COLLINEARITY * left[0]].tolist())
    if dependent:
        terms = [f"{coefficients[j][1]} of {coefficients[j][0]}" for j in dependent]
        raise ModelProblem(
            f"Covariates are collinear where there are direct estimates: {named(terms)} can be written by the other "
            "terms. Leave them out."
        )
