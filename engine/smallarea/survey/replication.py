"""Replicate weights: the variance of an estimate from its spread over replicates.

With replicates r of R, ``V = scale * sum_r rscales_r (theta_r - centre)(theta_r - centre)'``. The centre is the mean of
the replicates, or the full-sample estimate (``mse``). The factors of the known methods:

| method | scale | rscales |
| --- | --- | --- |
| brr | 1 / R | 1 |
| fay (factor rho) | 1 / (R (1 - rho)^2) | 1 |
| jk1 | (R - 1) / R | 1 |
| jkn | 1 | (n_h - 1) / n_h of the stratum whose unit is left out |
| bootstrap | 1 / (R - 1) | 1 |
| sdr (successive difference, American Community Survey) | 4 / R | 1 |

References
----------
Fay, R. E. and Train, G. F. (1995). Aspects of survey and model-based postcensal estimation of income and poverty
characteristics for states and counties. Proceedings of the Section on Government Statistics, ASA, 154-159.
Judkins, D. R. (1990). Fay's method for variance estimation. Journal of Official Statistics 6, 223-239.
Wolter, K. M. (2007). Introduction to Variance Estimation, 2nd ed. Springer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named

Vector = NDArray[np.float64]
ReplicateMethod = Literal["brr", "fay", "jk1", "jkn", "bootstrap", "sdr"]


@dataclass(frozen=True)
class ReplicateWeights:
    """Replicate weights and how their estimates make a variance.

    Attributes
    ----------
    weights : ndarray, shape (n, R)
        Weights of each replicate, the sampling weight multiplied in.
    scale : float
        Common factor.
    rscales : ndarray, shape (R,)
        Factors of the replicates.
    mse : bool
        Deviations are from the full-sample estimate, not from the replicates' mean.
    """

    weights: Vector
    scale: float
    rscales: Vector
    mse: bool

    @cached_property
    def df(self) -> int:
        """Degrees of freedom: the rank of the replicate weights less one."""
        used = self.weights[:, self.rscales > 0.0]
        gram = used.T @ used
        # As the rank of the weights themselves at a relative tolerance of 1e-5.
        return int(np.linalg.matrix_rank(gram, tol=1e-10 * np.abs(gram).max(), hermitian=True)) - 1


def replicate_weights(
    weights: Vector,
    method: ReplicateMethod,
    *,
    base: Vector,
    combined: bool = True,
    fay_rho: float = 0.0,
    scale: float | None = None,
    rscales: Vector | None = None,
    mse: bool | None = None,
) -> ReplicateWeights:
    """Make replicate weights of columns.

    Parameters
    ----------
    weights : ndarray, shape (n, R)
        The columns.
    method : {'brr', 'fay', 'jk1', 'jkn', 'bootstrap', 'sdr'}
        Where they come from; it sets scale and rscales.
    base : ndarray, shape (n,)
        Sampling weights.
    combined : bool
        The columns are weights; otherwise they are factors of the sampling weights.
    fay_rho : float
        Fay's factor, 0 up to but not 1; only for ``fay``.
    scale : float, optional
        In place of the method's.
    rscales : ndarray, shape (R,), optional
        In place of the method's; ``jkn`` has none of its own and needs them.
    mse : bool, optional
        Deviations from the full-sample estimate. By default for ``sdr``, as the Census Bureau publishes.

    Returns
    -------
    ReplicateWeights
        Checked.

    Raises
    ------
    TableProblem
        If there are fewer than two replicates, or a weight is missing, or one is negative where the method has none.
    JobProblem
        If Fay's factor is not in [0, 1), or rscales are missing for jkn, of the wrong length or negative.
    """
    weights = np.asarray(weights, dtype=np.float64)
    count = weights.shape[1]
    if count < 2:
        raise TableProblem(f"There are {count} replicate weights; a variance needs two or more.")
    bad = np.flatnonzero(~np.isfinite(weights).all(axis=1)) + 1
    if len(bad):
        raise TableProblem(f"{len(bad)} rows miss a replicate weight: rows {named(bad.tolist())}.")
    negative = np.flatnonzero((weights < 0.0).any(axis=1)) + 1
    if len(negative) and method != "sdr":  # those of the ACS have a few
        raise TableProblem(f"{len(negative)} rows have a negative replicate weight: rows {named(negative.tolist())}.")
    if not 0.0 <= fay_rho < 1.0:
        raise JobProblem(f"Fay's factor is {fay_rho:g}; it is 0 or more and below 1.")
    if fay_rho != 0.0 and method != "fay":
        raise JobProblem(f"fay_rho is of the method fay, not of {method}.")
    if method == "jkn" and rscales is None:
        raise JobProblem(
            "Replicate weights of the method jkn need a factor for each replicate (replicate_rscales): (n_h - 1) / n_h "
            "of the stratum from which the replicate leaves out a unit."
        )
    if rscales is not None and len(rscales) != count:
        raise JobProblem(f"There are {count} replicate weights, but {len(rscales)} factors (replicate_rscales).")
    if rscales is not None and not (np.isfinite(rscales).all() and np.all(rscales >= 0.0) and np.any(rscales > 0.0)):
        raise JobProblem("The factors of the replicates (replicate_rscales) are numbers of zero or more, not all zero.")
    own = {
        "brr": 1.0 / count,
        "fay": 1.0 / (count * (1.0 - fay_rho) ** 2),
        "jk1": (count - 1.0) / count,
        "jkn": 1.0,
        "bootstrap": 1.0 / (count - 1.0),
        "sdr": 4.0 / count,
    }
    return ReplicateWeights(
        weights if combined else weights * np.asarray(base)[:, None],
        own[method] if scale is None else float(scale),
        np.ones(count) if rscales is None else np.asarray(rscales, dtype=np.float64),
        method == "sdr" if mse is None else mse,
    )


def replicate_covariances(estimate: Vector, replicates: Vector, given: ReplicateWeights) -> Vector:
    """Return the covariance matrices of several estimates in every domain.

    Parameters
    ----------
    estimate : ndarray, shape (D, K)
        Full-sample estimates.
    replicates : ndarray, shape (R, D, K)
        Estimates of each replicate; NaN where a replicate has no weight in a domain.
    given : ReplicateWeights
        Scales, and the choice of centre.

    Returns
    -------
    ndarray, shape (D, K, K)
        NaN where a replicate has no estimate.
    """
    centre = estimate if given.mse else replicates[given.rscales > 0.0].mean(axis=0)
    deviation = replicates - centre
    return given.scale * np.einsum("r,rda,rdb->dab", given.rscales, deviation, deviation)
