"""Spatial EBLUP: the Fay-Herriot model with simultaneously autoregressive (SAR) area effects.

Model and estimators: Petrucci and Salvati (2006), Singh, Shukla and Kundu (2005), Molina, Salvati and Pratesi (2009).
The derivation is in ``docs/methods/spatial-eblup.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.data import StandardisedData
from smallarea.area_level.mixed import MarginalFit, information_criteria
from smallarea.area_level.sar_model import Progress, SarModel, estimate_sar
from smallarea.area_level.sar_mse import mean_squared_error
from smallarea.errors import GraphProblem, ModelProblem, TableProblem, VarianceProblem, named
from smallarea.gmrf import SarPrecision

if TYPE_CHECKING:
    from smallarea.areas import AreaGraph

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SarEblup:
    """Spatial EBLUP fit, in the units of the data that it was given.

    Attributes
    ----------
    model_variance : float
        A, the variance of the innovations u; exactly 0.0 at its bound.
    rho : float
        Autoregression parameter. NaN if A is 0: no effect is left that it could correlate.
    rho_at_bound : bool
        Whether rho is at the end of its range, where its asymptotic variance means little.
    parameter_covariance : ndarray, shape (2, 2)
        Asymptotic covariance of the estimators of (A, rho); NaN for rho where A is 0.
    gls : MarginalFit
        Coefficients, their covariance and the log likelihoods at (A, rho).
    estimate, synthetic : ndarray, shape (N,)
        EBLUP of every area, and x'beta.
    effect : ndarray, shape (N,)
        Predicted v.
    mse, g1, g2, g3, g4 : ndarray, shape (N,)
        Estimated mean squared error and its parts, of areas without a direct estimate too.
    gamma : ndarray, shape (N,)
        Weight of the area's own direct estimate given beta, Var(theta | y, beta) / variance; NaN where not sampled.
    bias : ndarray, shape (2,)
        Leading bias of the estimators of (A, rho), which the mean squared error corrects for; zero for REML.
    log_likelihood, restricted_log_likelihood : float
        At the estimates.
    """

    model_variance: float
    rho: float
    rho_at_bound: bool
    parameter_covariance: Vector
    gls: MarginalFit
    estimate: Vector
    synthetic: Vector
    effect: Vector
    mse: Vector
    g1: Vector
    g2: Vector
    g3: Vector
    g4: Vector
    gamma: Vector
    bias: Vector
    log_likelihood: float
    restricted_log_likelihood: float

    @property
    def model_variance_error(self) -> float:
        """Asymptotic variance of the estimator of A."""
        return float(self.parameter_covariance[0, 0])

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the estimates has to know, empty if nothing is unusual."""
        notes = list(self.error_notes)
        if self.model_variance == 0.0:
            notes.insert(
                0,
                "The model variance is 0: the covariates explain all that the sampling variances leave, every estimate "
                "is synthetic, and the spatial parameter rho is not identified.",
            )
        return tuple(notes)

    @property
    def error_notes(self) -> tuple[str, ...]:
        """Those of the notes that speak of the analytic mean squared errors, which the bootstrap does without."""
        notes = []
        if self.rho_at_bound:
            notes.append(
                f"The spatial parameter rho is at the end of its range ({self.rho:.5f}); its standard error and the "
                "part of the mean squared errors that comes from it are not to be trusted. Use the bootstrap (mse "
                "'bootstrap')."
            )
        doubtful = int(np.sum(self.mse < 0.5 * (self.g1 + self.g2 + 2.0 * self.g3)))
        if doubtful and not self.rho_at_bound:
            notes.append(
                f"The analytic mean squared error of {doubtful} areas is less than half of what its positive parts add "
                f"up to ({int(np.sum(self.mse <= 0.0))} are not positive): rho is too uncertain (standard error "
                f"{np.sqrt(self.parameter_covariance[1, 1]):.2g}) for the approximation. Use the bootstrap (mse "
                "'bootstrap')."
            )
        return tuple(notes)

    @property
    def information_criteria(self) -> dict[str, float]:
        """AIC, BIC and KIC of the full likelihood, with two parameters beside the coefficients."""
        sampled = int(np.isfinite(self.gamma).sum())
        return information_criteria(self.log_likelihood, len(self.gls.beta) + 2, sampled)


def fit_sar_eblup(
    data: StandardisedData, graph: AreaGraph, method: str = "reml", progress: Progress | None = None
) -> SarEblup:
    """Fit on the standardised scale, with the row-standardised weights of a graph.

    Parameters
    ----------
    data : StandardisedData
        The data.
    graph : AreaGraph
        Neighbours, its areas in the order of the data.
    method : {'reml', 'ml'}
        Estimator of (A, rho).
    progress : callable, optional
        Called with percent and text; what it raises stops the work.

    Returns
    -------
    SarEblup
        The fit.

    Raises
    ------
    GraphProblem
        If the graph has no edge, or another number of areas.
    ModelProblem
        If the model cannot be fitted.
    """
    return fit_sar(data.y, data.v, data.x, graph_weights(graph), method, progress)


def graph_weights(graph: AreaGraph) -> SarPrecision:
    """Row-standardised weights of a graph.

    Parameters
    ----------
    graph : AreaGraph
        Neighbours. An area without any has an effect that is independent of all others.

    Returns
    -------
    SarPrecision
        The precision that the models here take.

    Raises
    ------
    GraphProblem
        If the graph has no edge.
    """
    if len(graph.edges) == 0:
        raise GraphProblem(
            "The adjacency graph has no edge: no two areas are neighbours, so a spatial EBLUP has nothing to borrow. "
            "Link islands to their nearest area (islands 'nearest'), or fit independent effects."
        )
    return SarPrecision.from_adjacency(graph.adjacency)


def fit_sar(
    direct: Vector,
    variance: Vector,
    x: Vector,
    weights: Any,
    method: str = "reml",
    progress: Progress | None = None,
) -> SarEblup:
    """Fit the spatial Fay-Herriot model and predict every area.

    Parameters
    ----------
    direct, variance : ndarray, shape (N,)
        Direct estimates, NaN where not sampled, and their sampling variances.
    x : ndarray, shape (N, p)
        Design matrix, with a column of ones if there is to be an intercept.
    weights : sparse matrix, shape (N, N), or SarPrecision
        Spatial weights W, rows with a sum of at most 1, usually row-standardised.
    method : {'reml', 'ml'}
        Estimator of (A, rho).
    progress : callable, optional
        Called with percent and text; what it raises stops the work.

    Returns
    -------
    SarEblup
        The fit.

    Raises
    ------
    TableProblem, VarianceProblem, GraphProblem
        If the arrays do not fit, a variance is not positive, or the weights are not as described.
    ModelProblem
        If the method is unknown, there are too few areas, or covariates are collinear.
    """
    model = sar_model(direct, variance, x, weights)
    found = estimate_sar(model, method, progress)
    # Without effects their correlation is of no matter; that of independent ones makes the errors those of fit_eblup.
    given = model.condition(found.a, found.rho if found.a > 0.0 else 0.0)
    errors = mean_squared_error(model, given, method, progress)
    synthetic, effect = model.x @ given.fit.beta, given.a * given.score
    return SarEblup(
        model_variance=found.a,
        rho=found.rho,
        rho_at_bound=found.rho_at_bound,
        parameter_covariance=errors.covariance,
        gls=given.fit,
        estimate=synthetic + effect,
        synthetic=synthetic,
        effect=effect,
        mse=errors.mse,
        g1=errors.g1,
        g2=errors.g2,
        g3=errors.g3,
        g4=errors.g4,
        gamma=np.where(model.sampled, errors.g1 * model.k, np.nan),
        bias=errors.bias,
        log_likelihood=given.fit.log_likelihood,
        restricted_log_likelihood=given.fit.restricted_log_likelihood,
    )


def sar_model(direct: Vector, variance: Vector, x: Vector, weights: Any) -> SarModel:
    """Check the arrays of :func:`fit_sar` and set up the model.

    Parameters
    ----------
    direct, variance : ndarray, shape (N,)
        Direct estimates, NaN where not sampled, and their sampling variances.
    x : ndarray, shape (N, p)
        Design matrix.
    weights : sparse matrix, shape (N, N), or SarPrecision
        Spatial weights.

    Returns
    -------
    SarModel
        The model.

    Raises
    ------
    TableProblem, VarianceProblem, GraphProblem
        If the arrays do not fit, a variance is not positive, or the weights are not as described.
    ModelProblem
        If there are too few sampled areas.
    """
    direct, variance, x = (np.asarray(array, dtype=float) for array in (direct, variance, x))
    precision = weights if isinstance(weights, SarPrecision) else SarPrecision(weights)
    n = len(direct)
    if direct.shape != (n,) or variance.shape != (n,) or x.ndim != 2 or x.shape[0] != n:
        raise TableProblem(
            f"Arrays differ in length: direct {direct.shape}, variance {variance.shape}, x {x.shape}. Give (N,), (N,) "
            "and (N, p)."
        )
    if precision.pattern.n != n:
        raise GraphProblem(f"The spatial weights are of {precision.pattern.n} areas, but the data of {n}.")
    if not np.all(np.isfinite(x)) or np.isinf(direct).any():
        raise TableProblem("Covariates must be finite everywhere, direct estimates finite or missing (NaN).")
    sampled = np.isfinite(direct)
    bad = np.flatnonzero(sampled & ~((variance > 0.0) & np.isfinite(variance)))
    if len(bad):
        raise VarianceProblem(
            f"{len(bad)} direct estimates have no positive, finite sampling variance: rows {named((bad + 1).tolist())}."
            " Give the variances, or set these direct estimates to missing (NaN)."
        )
    if sampled.sum() <= x.shape[1] + 2:
        raise ModelProblem(
            f"{int(sampled.sum())} areas have a direct estimate, too few for {x.shape[1]} coefficients, a model "
            f"variance and a spatial parameter: at least {x.shape[1] + 3} are needed."
        )
    return SarModel(direct, variance, x, sampled, precision)
