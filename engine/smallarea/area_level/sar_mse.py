"""Mean squared error of the spatial EBLUP: all terms for every area, sampled or not, from columns of F^{-1}.

The best predictor of theta_o has the error ``g1_o = A [F^{-1}]_oo``. With ``f = F^{-1} e_o``, ``h = F^{-1} K f``, ``t =
Q1' f``, where ``Q1' = dQ1/drho = -(W'B + B'W)``, the terms that the estimation of (A, rho) adds follow from::

    d g1 / dA   = |B f|^2                 M_AA   = (B f)'(B h)
    d g1 / drho = -A f' t                 M_Arho = -A h' t
                                          M_rhorho = A^2 (C t)' K (F^{-1} t)
    D_Arho      = -f' t                   D_rhorho = 2 A (|B'^{-1} t|^2 - |W f|^2)

where M is the covariance of the derivative of the predictor in (A, rho), D the part of the second derivative of g1 that
the second derivative of the effects' covariance brings, and C = Q1^{-1}; see ``docs/methods/spatial-eblup.md``.
Columns are solved for in blocks; no n by n matrix exists at any time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.sar_model import Progress, SarConditional, SarModel
from smallarea.errors import ModelProblem
from smallarea.gmrf.sar import SarOperator

Vector = NDArray[np.float64]

BLOCK = 64
# One minus the squared correlation of two estimators below which they are one: rounding of the traces.
ALIASED = 1e-9


@dataclass(frozen=True)
class MeanSquaredError:
    """Mean squared errors of the spatial EBLUP and their parts.

    Attributes
    ----------
    mse : ndarray, shape (N,)
        g1 + g2 + 2 g3 - g4 - bias' (derivative of g1).
    g1, g2, g3, g4 : ndarray, shape (N,)
        Error of the best predictor, what estimating beta adds, what estimating (A, rho) adds, and the curvature of
        the covariance in rho.
    covariance : ndarray, shape (2, 2)
        Asymptotic covariance of the estimators of (A, rho); NaN for rho where A = 0.
    bias : ndarray, shape (2,)
        Leading bias of the estimators of (A, rho) that was corrected for; zero for REML.
    """

    mse: Vector
    g1: Vector
    g2: Vector
    g3: Vector
    g4: Vector
    covariance: Vector
    bias: Vector


@dataclass
class _Columns:
    """What the columns of F^{-1} add up to."""

    g1: Vector
    slope: Vector
    moment: Vector
    curvature: Vector
    information: Vector


def known_parameters_error(model: SarModel, given: SarConditional) -> tuple[Vector, Vector]:
    """Return the parts g1 and g2 of the mean squared error, shapes (N,): what is left if A and rho are known.

    Parameters
    ----------
    model : SarModel
        The model.
    given : SarConditional
        Straight from ``model.condition``.
    """
    return given.a * given.factor.diag_inverse(), _leverage(model, given)


def mean_squared_error(
    model: SarModel, given: SarConditional, method: str, progress: Progress | None = None
) -> MeanSquaredError:
    """Estimate the mean squared error of the EBLUP of every area.

    Singh, Shukla and Kundu (2005), Molina, Salvati and Pratesi (2009, section 3), extended to areas without a direct
    estimate.

    Parameters
    ----------
    model : SarModel
        The model.
    given : SarConditional
        Straight from ``model.condition`` at the estimates.
    method : {'reml', 'ml'}
        The estimator.
    progress : callable, optional
        Called with percent and text; what it raises stops the work.

    Returns
    -------
    MeanSquaredError
        The errors.

    Raises
    ------
    ModelProblem
        If the data hold no information on rho although there are effects.
    """
    columns = _column_sums(model, given, progress)
    trend = _Trend(model, given)
    # The restricted information for both: to the order of the formula it is that of ML too, and it counts the
    # degrees of freedom that beta takes. So does the R package sae.
    information = 0.5 * (columns.information + trend.restriction())
    covariance, filled = _inverse(information, given.a > 0.0)
    bias = 0.5 * filled @ trend.information_slope() if method == "ml" else np.zeros(2)
    g2 = _leverage(model, given)
    g3 = np.einsum("ojk,jk->o", columns.moment, filled)
    g4 = 0.5 * np.einsum("ojk,jk->o", columns.curvature, filled)
    mse = columns.g1 + g2 + 2.0 * g3 - g4 - columns.slope @ bias
    return MeanSquaredError(mse, columns.g1, g2, g3, g4, covariance, bias)


def _leverage(model: SarModel, given: SarConditional) -> Vector:
    reach = model.x - given.a * given.slope
    return np.einsum("ij,jk,ik->i", reach, given.fit.covariance, reach)


def _inverse(information: Vector, has_effects: bool) -> tuple[Vector, Vector]:
    """Covariance of (A, rho) as reported and with zeros for NaN: at A = 0 nothing is known, or needed, of rho."""
    if has_effects:
        size = information[0, 0] * max(information[1, 1], 0.0)
        if not size - information[0, 1] ** 2 > ALIASED * size:
            raise ModelProblem(
                "The sampled areas cannot tell the model variance from the spatial parameter rho: hardly any two of "
                "them are connected on the map. Check the neighbours, or fit independent effects (random_effect 'iid')."
            )
        covariance = np.asarray(np.linalg.inv(information), dtype=float)
        return covariance, covariance
    filled = np.array([[1.0 / information[0, 0], 0.0], [0.0, 0.0]])
    return np.array([[filled[0, 0], np.nan], [np.nan, np.nan]]), filled


def _column_sums(model: SarModel, given: SarConditional, progress: Progress | None) -> _Columns:
    n = len(model.y)
    sums = _Columns(np.empty(n), np.empty((n, 2)), np.empty((n, 2, 2)), np.zeros((n, 2, 2)), np.zeros((2, 2)))
    for start in range(0, n, BLOCK):
        _add_block(sums, model, given, np.arange(start, min(start + BLOCK, n)))
        if progress is not None:
            progress(100.0 * min(start + BLOCK, n) / n, "mean squared errors")
    return sums


def _add_block(sums: _Columns, model: SarModel, given: SarConditional, areas: NDArray[np.int64]) -> None:
    """Solve for the columns of some areas and add what they contribute."""
    a, operator, factor, k = given.a, given.operator, given.factor, model.k[:, None]
    place = np.arange(len(areas))
    unit = np.zeros((len(model.y), len(areas)))
    unit[areas, place] = 1.0
    f = factor.solve(unit)
    t = operator.precision_slope_times(f)
    solved = factor.solve(np.hstack([k * f, t]))
    h, smooth_t = solved[:, : len(areas)], solved[:, len(areas) :]
    half = operator.transposed_solve(t)
    free_t = operator.solve(half)
    bf, ft, ht = operator.times(f), _dot(f, t), _dot(h, t)
    sums.g1[areas] = a * f[areas, place]
    sums.slope[areas] = np.column_stack([_dot(bf, bf), -a * ft])
    sums.moment[areas, 0, 0] = _dot(bf, operator.times(h))
    sums.moment[areas, 0, 1] = sums.moment[areas, 1, 0] = -a * ht
    sums.moment[areas, 1, 1] = a**2 * _dot(free_t, k * smooth_t)
    sums.curvature[areas, 0, 1] = sums.curvature[areas, 1, 0] = -ft
    wf = operator.weights @ f
    sums.curvature[areas, 1, 1] = 2.0 * a * (_dot(half, half) - _dot(wf, wf))
    # tr(S^{-1} G_j S^{-1} G_k), a sum over sampled areas, from the same columns and those of d(Q1^{-1})/drho.
    weight = model.k[areas]
    covariance_slope = _covariance_times(operator, operator.precision_slope_times(_covariance_times(operator, unit)))
    mixed = -a * float(weight @ _dot(f, k * free_t))
    both = a**2 * float(weight @ _dot(smooth_t, k * covariance_slope))
    sums.information += np.array([[float(weight @ _dot(f, k * f)), mixed], [mixed, both]])


class _Trend:
    """Traces that involve the coefficients; all matrices have p rows or columns.

    With ``G_j`` the derivatives of the effects' covariance and ``O = F^{-1} K X``: ``S^{-1} X = Q1 O`` on the sampled
    areas, so that ``G_A S^{-1} X = O`` and ``G_rho S^{-1} X = -A C Q1' O``.
    """

    def __init__(self, model: SarModel, given: SarConditional) -> None:
        a, operator, slope = given.a, given.operator, given.slope
        turned = operator.precision_slope_times(slope)
        self._spread = (slope, -a * _covariance_times(operator, turned))
        # S^{-1} times these, as K F^{-1} Q1 of them: near rho = 1 the plain residual would lose the digits that the
        # trace below loses already.
        k = model.k[:, None]
        flat = (operator.precision_times(slope), -a * turned)
        self._weighted = tuple(k * given.factor.solve(side) for side in flat)
        root = operator.times(slope)
        covariance = given.fit.covariance
        self._shares = (covariance @ (root.T @ root), -a * covariance @ (slope.T @ turned))
        self._covariance = covariance

    def restriction(self) -> Vector:
        """Return twice what the restricted information has beyond that of the likelihood, shape (2, 2)."""
        terms = np.empty((2, 2))
        for i, j in np.ndindex(2, 2):
            linear = np.sum(self._covariance * (self._spread[i].T @ self._weighted[j]))
            terms[i, j] = np.sum(self._shares[i] * self._shares[j].T) - 2.0 * linear
        return 0.5 * (terms + terms.T)

    def information_slope(self) -> Vector:
        """Return the derivative of log|X'S^{-1}X| in A and rho, shape (2,)."""
        return -np.array([np.trace(share) for share in self._shares])


def _covariance_times(operator: SarOperator, x: Vector) -> Vector:
    """Return C x."""
    return operator.solve(operator.transposed_solve(x))


def _dot(x: Vector, y: Vector) -> Vector:
    return np.einsum("ij,ij->j", x, y)
