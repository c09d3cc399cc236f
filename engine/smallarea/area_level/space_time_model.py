"""The space-time Fay-Herriot model at given variance parameters, by sparse factors, and their estimation.

``y_dt = x_dt' beta + u1_d + u2_dt + e_dt`` for areas d and times t (Marhuenda, Molina and Morales 2013): u1 is
simultaneously autoregressive over areas, u2 autoregressive of order one in time within each area, and e_dt has the
known variance psi_dt. With effects of unit scale, ``u1 = s1 w1`` and ``u2 = s2 w2``, w has the posterior precision::

    P = [ Q1(rho1) + s1^2 sum_t K      s1 s2 K           ]        K = diag(1 / psi_dt), zero where nothing was observed
        [ s1 s2 K'                     H(rho2) + s2^2 K  ]

where Q1 = (I - rho1 W')(I - rho1 W) and H is block diagonal with the tridiagonal precision of an AR(1) with unit
innovations. Nothing is divided by a variance, so that both may be zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.maximise import Maximum, derivatives, maximise
from smallarea.area_level.mixed import MarginalFit, marginal_fit
from smallarea.area_level.sar_model import RHO_LIMIT, VARIANCE_RANGE, Progress
from smallarea.errors import ModelProblem
from smallarea.gmrf import SarPrecision, SymmetricPattern, factoriser

Vector = NDArray[np.float64]

RHO_SCAN = np.arctanh([-0.6, 0.1, 0.6, 0.93])
# Variance components of the scan, as shares of what the covariates leave of the direct estimates.
VARIANCE_SCAN = np.log([0.01, 0.1, 0.4, 1.5])


@dataclass(frozen=True)
class SpaceTimeParameters:
    """Variance parameters.

    Attributes
    ----------
    area_variance, rho_area : float
        Innovation variance and spatial autoregression of u1.
    time_variance, rho_time : float
        Innovation variance and autoregression in time of u2.
    """

    area_variance: float
    rho_area: float
    time_variance: float
    rho_time: float


@dataclass(frozen=True)
class SpaceTimeConditional:
    """What follows from the variance parameters.

    Attributes
    ----------
    fit : MarginalFit
        Coefficients and likelihoods.
    area_effect : ndarray, shape (D,)
        E[u1 | y].
    time_effect : ndarray, shape (D, T)
        E[u2 | y].
    """

    fit: MarginalFit
    area_effect: Vector
    time_effect: Vector


class SpaceTimeModel:
    """One data set with spatial weights.

    Parameters
    ----------
    y, v : ndarray, shape (D, T)
        Direct estimates, NaN where there is none, and their sampling variances.
    x : ndarray, shape (D, T, p)
        Design.
    precision : SarPrecision
        Spatial weights of the D areas.
    temporal : bool
        Whether u2 is correlated in time; otherwise rho_time is 0.
    """

    def __init__(self, y: Vector, v: Vector, x: Vector, precision: SarPrecision, temporal: bool) -> None:
        self.x, self.precision, self.temporal = x, precision, temporal
        self.observed = np.isfinite(y)
        self.y = np.where(self.observed, y, 0.0)
        self.v = np.where(self.observed, v, np.nan)
        self.k = np.where(self.observed, 1.0 / np.where(self.observed, v, 1.0), 0.0)
        areas, times = y.shape
        self._columns = np.concatenate([x, self.y[:, :, None]], axis=2)
        cells = areas + np.arange(areas * times).reshape(areas, times)
        across = np.column_stack([np.repeat(np.arange(areas), times), cells.ravel()])
        along = np.column_stack([cells[:, :-1].ravel(), cells[:, 1:].ravel()])
        edges = np.vstack([precision.pattern.edges, across, along])
        self._factoriser = factoriser(SymmetricPattern(areas + areas * times, edges))

    def with_direct(self, y: Vector) -> SpaceTimeModel:
        """Return the same model of other direct estimates, which shares the factoriser."""
        other = object.__new__(SpaceTimeModel)
        other.__dict__.update(self.__dict__)
        other.y = np.where(self.observed, y, 0.0)
        other._columns = np.concatenate([self.x, other.y[:, :, None]], axis=2)
        return other

    def condition(self, at: SpaceTimeParameters) -> SpaceTimeConditional:
        """Fit beta and the effects given the variance parameters.

        Parameters
        ----------
        at : SpaceTimeParameters
            Where.

        Returns
        -------
        SpaceTimeConditional
            The fit.

        Raises
        ------
        ModelProblem
            If the weighted covariates are collinear.
        """
        areas, times = self.y.shape
        s1, s2 = np.sqrt(at.area_variance), np.sqrt(at.time_variance)
        operator = self.precision.operator(at.rho_area)
        weighted = self.k[:, :, None] * self._columns
        right = np.vstack([s1 * weighted.sum(axis=1), s2 * weighted.reshape(areas * times, -1)])
        diagonal, off_diagonal = self._entries(at, s1, s2)
        factor = self._factoriser.factor(diagonal, off_diagonal)
        solved = factor.solve(right)
        first, second = solved[:areas], solved[areas:].reshape(areas, times, -1)
        residual = self._columns - s1 * first[:, None, :] - s2 * second
        innovations = second.copy()
        innovations[:, 1:] -= at.rho_time * second[:, :-1]
        innovations[:, 0] *= np.sqrt(1.0 - at.rho_time**2)
        count = self._columns.shape[2]
        stacked = np.vstack(
            [
                (np.sqrt(self.k)[:, :, None] * residual).reshape(-1, count),
                operator.times(first),
                innovations.reshape(-1, count),
            ]
        )
        logdet = float(np.sum(np.log(self.v[self.observed]))) + factor.logdet - 2.0 * operator.logdet
        logdet -= areas * np.log1p(-(at.rho_time**2))
        fit = marginal_fit(stacked, int(self.observed.sum()), float(logdet))
        contrast = np.append(-fit.beta, 1.0)
        return SpaceTimeConditional(fit, s1 * (first @ contrast), s2 * (second @ contrast))

    def _entries(self, at: SpaceTimeParameters, s1: float, s2: float) -> tuple[Vector, Vector]:
        """Diagonal and edges of P, in the order of its pattern."""
        areas, times = self.y.shape
        chain = np.full(times, 1.0 + at.rho_time**2)
        chain[0] -= at.rho_time**2
        chain[-1] -= at.rho_time**2
        diagonal = np.concatenate(
            [
                self.precision.diagonal(at.rho_area) + s1**2 * self.k.sum(axis=1),
                (chain + s2**2 * self.k).ravel(),
            ]
        )
        along = np.full(areas * (times - 1), -at.rho_time)
        return diagonal, np.concatenate([self.precision.off_diagonal(at.rho_area), (s1 * s2 * self.k).ravel(), along])

    def criterion(self, at: SpaceTimeParameters, method: str) -> float:
        """Log likelihood ('ml') or restricted log likelihood ('reml')."""
        fit = self.condition(at).fit
        return fit.restricted_log_likelihood if method == "reml" else fit.log_likelihood


@dataclass(frozen=True)
class SpaceTimeEstimate:
    """Estimated variance parameters.

    Attributes
    ----------
    parameters : SpaceTimeParameters
        The estimates; a correlation is 0 where its variance is 0.
    covariance : ndarray, shape (4, 4)
        Inverse of the observed information on (area_variance, rho_area, time_variance, rho_time); NaN for what is at a
        bound or not in the model.
    at_bound : tuple of str
        Correlations that are where their range ends.
    """

    parameters: SpaceTimeParameters
    covariance: Vector
    at_bound: tuple[str, ...]


# The parameters in their order; variances are searched on a log scale, correlations on an inverse hyperbolic tangent.
_NAMES = ("area_variance", "rho_area", "time_variance", "rho_time")
_IS_VARIANCE = np.array([True, False, True, False])


def estimate_space_time(model: SpaceTimeModel, method: str, progress: Progress | None = None) -> SpaceTimeEstimate:
    """Estimate the variance parameters.

    The model and its limits without one or both effects are maximised each from a coarse scan; the highest wins, the
    smaller model where nothing is higher.

    Parameters
    ----------
    model : SpaceTimeModel
        The model.
    method : {'reml', 'ml'}
        What to maximise.
    progress : callable, optional
        Called with 0 percent and text at every evaluation; what it raises stops the search.

    Returns
    -------
    SpaceTimeEstimate
        The estimates.

    Raises
    ------
    ModelProblem
        If the method is unknown or the weighted covariates are collinear.
    """
    if method not in ("reml", "ml"):
        raise ModelProblem(f"Space-time EBLUPs are fitted by 'reml' or 'ml', not by {method!r}.")
    time = [2, 3] if model.temporal else [2]
    empty = Maximum(np.empty(0), model.criterion(_natural(np.empty(0), []), method), np.empty(0, dtype=bool))
    best, chosen = empty, list[int]()
    for used in ([0, 1], time, [0, 1, *time]):
        found = _maximum(model, method, used, progress)
        if found is not None and found.value > best.value:
            best, chosen = found, used
    parameters = _natural(best.point, chosen)
    return SpaceTimeEstimate(
        parameters,
        _covariance(model, method, best, chosen),
        tuple(_NAMES[j] for j, held in zip(chosen, best.at_bound, strict=True) if held),
    )


def _natural(point: Vector, used: list[int]) -> SpaceTimeParameters:
    values = np.zeros(4)
    for j, coordinate in zip(used, point, strict=True):
        values[j] = np.exp(coordinate) if _IS_VARIANCE[j] else np.tanh(coordinate)
    return SpaceTimeParameters(*values.tolist())


def _maximum(model: SpaceTimeModel, method: str, used: list[int], progress: Progress | None) -> Maximum | None:
    """Return the highest maximum with these parameters in which no variance is at the end of its range."""
    size = np.log(max(_residual_variance(model), float(np.median(model.v[model.observed]))))
    bound = np.arctanh(RHO_LIMIT)
    is_variance = _IS_VARIANCE[used]

    def criterion(point: Vector) -> float:
        if progress is not None:
            progress(0.0, "variances and correlations")
        return model.criterion(_natural(point, used), method)

    found = maximise(
        criterion,
        [size + VARIANCE_SCAN if variance else RHO_SCAN for variance in is_variance],
        np.where(is_variance, size - VARIANCE_RANGE, -bound),
        np.where(is_variance, size + VARIANCE_RANGE, bound),
    )
    inside = [maximum for maximum in found if not np.any(maximum.at_bound & is_variance)]
    return inside[0] if inside else None


def _residual_variance(model: SpaceTimeModel) -> float:
    x, y = model.x[model.observed], model.y[model.observed]
    return float(np.mean((y - x @ np.linalg.lstsq(x, y, rcond=None)[0]) ** 2))


def _covariance(model: SpaceTimeModel, method: str, best: Maximum, used: list[int]) -> Vector:
    covariance = np.full((4, 4), np.nan)
    free = [i for i in range(len(used)) if not best.at_bound[i]]
    if not free:
        return covariance

    def criterion(part: Vector) -> float:
        point = best.point.copy()
        point[free] = part
        return model.criterion(_natural(point, used), method)

    _, hessian = derivatives(criterion, best.point[free], best.value)
    at = [used[i] for i in free]
    point = best.point[free]
    slope = np.where(_IS_VARIANCE[at], np.exp(point), 1.0 - np.tanh(point) ** 2)
    covariance[np.ix_(at, at)] = np.linalg.inv(-hessian) * np.outer(slope, slope)
    return covariance
