"""The Fay-Herriot model with simultaneously autoregressive area effects, at given (A, rho), by sparse factors.

``y = X beta + v + e``, ``v = rho W v + u``, ``u ~ N(0, A I)``, ``e_i ~ N(0, psi_i)``: Petrucci and Salvati (2006).
With ``B = I - rho W``, ``Q1 = B'B``, ``K = diag(1 / psi_i)`` (zero where not sampled) and ``F = Q1 + A K``::

    E[v | y]   = A F^{-1} K (y - X beta)
    Var(v | y) = A F^{-1}
    log|S|     = sum log psi_i + log|F| - 2 log|B|

F has the pattern of neighbours of neighbours, and nothing is divided by A, so that A = 0 needs no case of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.maximise import Maximum, maximise
from smallarea.area_level.mixed import MarginalFit, marginal_fit
from smallarea.errors import ModelProblem
from smallarea.gmrf import Factor, SarPrecision, factoriser
from smallarea.gmrf.sar import SarOperator

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

# Closer to its bounds rho changes no estimate, and what is left of the information on it would drown in rounding.
RHO_LIMIT = 0.9999
# How far beyond the scan (in logs) the search may follow A before it counts as zero: near a bound of rho the effects
# keep their variance while A falls with the square of the distance to the bound.
VARIANCE_RANGE = 25.0
RHO_SCAN = np.array([-0.9, -0.6, -0.3, 0.0, 0.3, 0.6, 0.8, 0.93, 0.99])


@dataclass(frozen=True)
class SarConditional:
    """What follows from (A, rho).

    Attributes
    ----------
    a, rho : float
        Where.
    fit : MarginalFit
        Coefficients and likelihoods.
    operator : SarOperator
        B.
    factor : Factor
        Factor of F; valid until the model is conditioned again.
    slope : ndarray, shape (N, p)
        F^{-1} K X.
    score : ndarray, shape (N,)
        F^{-1} K (y - X beta), so that E[v | y] is A times it.
    """

    a: float
    rho: float
    fit: MarginalFit
    operator: SarOperator
    factor: Factor
    slope: Vector
    score: Vector


class SarModel:
    """One data set with spatial weights.

    Parameters
    ----------
    y, v : ndarray, shape (N,)
        Direct estimates and sampling variances; both are ignored where not sampled.
    x : ndarray, shape (N, p)
        Design matrix.
    sampled : ndarray of bool, shape (N,)
        Which areas have a direct estimate.
    precision : SarPrecision
        The spatial weights of all N areas.
    solver : str
        Backend, see :func:`smallarea.gmrf.factoriser`.
    """

    def __init__(
        self,
        y: Vector,
        v: Vector,
        x: Vector,
        sampled: NDArray[np.bool_],
        precision: SarPrecision,
        solver: str = "auto",
    ) -> None:
        self.x, self.sampled, self.precision, self.solver = x, sampled, precision, solver
        self.y = np.where(sampled, y, 0.0)
        self.v = np.where(sampled, v, np.nan)
        self.k = np.where(sampled, 1.0 / np.where(sampled, v, 1.0), 0.0)
        self._columns = np.column_stack([x, self.y])
        self._factoriser = factoriser(precision.pattern, solver)

    def with_direct(self, y: Vector) -> SarModel:
        """Return the same model of other direct estimates, which shares the factoriser."""
        other = object.__new__(SarModel)
        other.__dict__.update(self.__dict__)
        other.y = np.where(self.sampled, y, 0.0)
        other._columns = np.column_stack([self.x, other.y])
        return other

    def condition(self, a: float, rho: float) -> SarConditional:
        """Fit beta and v given A and rho.

        Parameters
        ----------
        a : float
            Model variance A, zero or positive.
        rho : float
            Autoregression parameter.

        Returns
        -------
        SarConditional
            The fit; its factor is valid until the next call.

        Raises
        ------
        ModelProblem
            If the weighted covariates are collinear.
        """
        operator = self.precision.operator(rho)
        factor = self._factoriser.factor(self.precision.diagonal(rho) + a * self.k, self.precision.off_diagonal(rho))
        count = self._columns.shape[1]
        right = np.hstack([self.k[:, None] * self._columns, operator.precision_times(self._columns)])
        solved = factor.solve(right)
        # The residual x - A F^{-1} K x, written as F^{-1} Q1 x because that keeps its digits where x is smooth and rho
        # is near 1; there the difference would be rounding.
        weighted, residual = solved[:, :count], solved[:, count:]
        stacked = np.vstack([np.sqrt(self.k)[:, None] * residual, np.sqrt(a) * operator.times(weighted)])
        logdet = float(np.sum(np.log(self.v[self.sampled]))) + factor.logdet - 2.0 * operator.logdet
        fit = marginal_fit(stacked, int(self.sampled.sum()), logdet)
        slope = weighted[:, :-1]
        return SarConditional(a, rho, fit, operator, factor, slope, weighted[:, -1] - slope @ fit.beta)

    def criterion(self, a: float, rho: float, method: str) -> float:
        """Log likelihood ('ml') or restricted log likelihood ('reml') at (A, rho)."""
        fit = self.condition(a, rho).fit
        return fit.restricted_log_likelihood if method == "reml" else fit.log_likelihood


@dataclass(frozen=True)
class SarEstimate:
    """Estimated variance parameters.

    Attributes
    ----------
    a : float
        Model variance, exactly 0.0 at its bound.
    rho : float
        Autoregression parameter, NaN if A is 0: then nothing depends on it.
    rho_at_bound : bool
        Whether rho is where its range ends.
    """

    a: float
    rho: float
    rho_at_bound: bool


def estimate_sar(model: SarModel, method: str, progress: Progress | None = None) -> SarEstimate:
    """Estimate A and rho.

    Parameters
    ----------
    model : SarModel
        The model.
    method : {'reml', 'ml'}
        What to maximise.
    progress : callable, optional
        Called with 0 percent and text at every evaluation; what it raises stops the search.

    Returns
    -------
    SarEstimate
        The highest maximum over A >= 0 and abs(rho) <= 0.9999; A = 0 if nothing is higher than that.

    Raises
    ------
    ModelProblem
        If the method is unknown or the weighted covariates are collinear.
    """
    if method not in ("reml", "ml"):
        raise ModelProblem(f"Spatial EBLUPs are fitted by 'reml' or 'ml', not by {method!r}.")
    log_a = variance_axis(model.y[model.sampled], model.v[model.sampled])
    bound = np.arctanh(RHO_LIMIT)
    lower, upper = np.array([log_a[0] - VARIANCE_RANGE, -bound]), np.array([log_a[-1] + VARIANCE_RANGE, bound])

    def criterion(point: Vector) -> float:
        if progress is not None:
            progress(0.0, "model variance and spatial dependence")
        return model.criterion(float(np.exp(point[0])), float(np.tanh(point[1])), method)

    maxima = maximise(criterion, [log_a, np.arctanh(RHO_SCAN)], lower, upper)
    inside = [maximum for maximum in maxima if not maximum.at_bound[0]]
    if not inside or inside[0].value <= model.criterion(0.0, 0.0, method):
        return SarEstimate(0.0, np.nan, False)
    best: Maximum = inside[0]
    return SarEstimate(float(np.exp(best.point[0])), float(np.tanh(best.point[1])), bool(best.at_bound[1]))


def variance_axis(y: Vector, v: Vector) -> Vector:
    """Return logs of a variance component, a decade apart, from where it does nothing to where it is all.

    Parameters
    ----------
    y, v : ndarray, shape (m,)
        Direct estimates and sampling variances.

    Returns
    -------
    ndarray
        Increasing. One tiny sampling variance does not stretch it beyond what floating point numbers resolve.
    """
    high = 10.0 * max(float(np.var(y)), float(np.median(v)))
    low = max(1e-2 * float(np.min(v)), 1e-14 * high)
    return np.linspace(np.log(low), np.log(high), max(5, int(np.ceil(np.log10(high / low))) + 1))
