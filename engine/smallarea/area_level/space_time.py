"""Space-time EBLUP: areas over several times, with effects correlated over the map and within areas over time.

Marhuenda, Molina and Morales (2013); the derivation is in ``docs/methods/spatial-eblup.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.mixed import MarginalFit, information_criteria
from smallarea.area_level.sar_bootstrap import replicate_progress
from smallarea.area_level.sar_model import Progress
from smallarea.area_level.space_time_model import SpaceTimeModel, SpaceTimeParameters, estimate_space_time
from smallarea.errors import GraphProblem, JobProblem, ModelProblem, TableProblem, VarianceProblem, named
from smallarea.gmrf import SarPrecision

Vector = NDArray[np.float64]

STRUCTURES = ("ST", "S")


@dataclass(frozen=True)
class SpaceTimeEblup:
    """Space-time EBLUP fit, in the units of the data.

    Attributes
    ----------
    parameters : SpaceTimeParameters
        Variances and correlations; a variance is exactly 0.0 at its bound, its correlation then 0 and not identified.
    parameter_covariance : ndarray, shape (4, 4)
        Inverse of the observed information on (area_variance, rho_area, time_variance, rho_time); NaN for what is at a
        bound or not in the model.
    structure : {'ST', 'S'}
        Whether the effects of area and time are correlated in time.
    gls : MarginalFit
        Coefficients, their covariance and the log likelihoods at the estimates.
    estimate, synthetic : ndarray, shape (D, T)
        EBLUP of every cell, and x'beta.
    area_effect : ndarray, shape (D,)
        Predicted u1.
    time_effect : ndarray, shape (D, T)
        Predicted u2.
    observed : ndarray of bool, shape (D, T)
        Cells with a direct estimate.
    log_likelihood, restricted_log_likelihood : float
        At the estimates.
    notes : tuple of str
        What a reader of the estimates has to know, empty if nothing is unusual.
    """

    parameters: SpaceTimeParameters
    parameter_covariance: Vector
    structure: str
    gls: MarginalFit
    estimate: Vector
    synthetic: Vector
    area_effect: Vector
    time_effect: Vector
    observed: NDArray[np.bool_]
    log_likelihood: float
    restricted_log_likelihood: float
    notes: tuple[str, ...]

    @property
    def information_criteria(self) -> dict[str, float]:
        """AIC, BIC and KIC of the full likelihood; four ('ST') or three ('S') parameters beside the coefficients."""
        count = len(self.gls.beta) + (4 if self.structure == "ST" else 3)
        return information_criteria(self.log_likelihood, count, int(self.observed.sum()))


@dataclass(frozen=True)
class SpaceTimeBootstrap:
    """Parametric bootstrap mean squared errors.

    Attributes
    ----------
    mse : ndarray, shape (D, T)
        Mean over replicates of (EBLUP* - theta*)^2.
    parameters : tuple of SpaceTimeParameters
        Estimates in each replicate.
    """

    mse: Vector
    parameters: tuple[SpaceTimeParameters, ...]


def fit_space_time(
    direct: Vector,
    variance: Vector,
    x: Vector,
    weights: Any,
    *,
    structure: str = "ST",
    method: str = "reml",
    progress: Progress | None = None,
) -> SpaceTimeEblup:
    """Fit the space-time Fay-Herriot model and predict every cell.

    Parameters
    ----------
    direct, variance : ndarray, shape (D, T)
        Direct estimates of D areas at T times, equally spaced, and their sampling variances; NaN where there is none.
    x : ndarray, shape (D, T, p)
        Design, with a column of ones if there is to be an intercept.
    weights : sparse matrix, shape (D, D), or SarPrecision
        Spatial weights W, rows with a sum of at most 1, usually row-standardised.
    structure : {'ST', 'S'}
        'ST': u2 is autoregressive in time; 'S': u2 is independent over time.
    method : {'reml', 'ml'}
        What to maximise.
    progress : callable, optional
        Called with percent and text, often; what it raises stops the work.

    Returns
    -------
    SpaceTimeEblup
        The fit.

    Raises
    ------
    TableProblem, VarianceProblem, GraphProblem
        If the arrays do not fit, a variance is not positive, or the weights are not as described.
    JobProblem
        If the structure is unknown.
    ModelProblem
        If the method is unknown, there are too few direct estimates, or covariates are collinear.
    """
    model = _model(direct, variance, x, weights, structure)
    found = estimate_space_time(model, method, progress)
    given = model.condition(found.parameters)
    synthetic = model.x @ given.fit.beta
    return SpaceTimeEblup(
        parameters=found.parameters,
        parameter_covariance=found.covariance,
        structure=structure,
        gls=given.fit,
        estimate=synthetic + given.area_effect[:, None] + given.time_effect,
        synthetic=synthetic,
        area_effect=given.area_effect,
        time_effect=given.time_effect,
        observed=model.observed,
        log_likelihood=given.fit.log_likelihood,
        restricted_log_likelihood=given.fit.restricted_log_likelihood,
        notes=_notes(found.parameters, found.at_bound, structure),
    )


def bootstrap_space_time(
    direct: Vector,
    variance: Vector,
    x: Vector,
    weights: Any,
    fit: SpaceTimeEblup,
    *,
    method: str = "reml",
    replicates: int = 200,
    seed: int = 1,
    progress: Progress | None = None,
) -> SpaceTimeBootstrap:
    """Estimate the mean squared error of every cell by simulating from a fit and refitting.

    Parameters
    ----------
    direct, variance, x, weights
        As in :func:`fit_space_time`.
    fit : SpaceTimeEblup
        What was fitted to them.
    method : {'reml', 'ml'}
        What was maximised.
    replicates : int
        How many data sets to simulate.
    seed : int
        Seed; the first replicates are the same however many follow.
    progress : callable, optional
        Called with percent and text, often; what it raises stops the work.

    Returns
    -------
    SpaceTimeBootstrap
        The errors, in the units of the data.

    Raises
    ------
    JobProblem
        If there is no replicate.
    """
    if replicates < 1:
        raise JobProblem(f"A bootstrap needs at least one replicate, not {replicates}.")
    model = _model(direct, variance, x, weights, fit.structure)
    squared = np.zeros(model.y.shape)
    estimates = []
    for b in range(replicates):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(b,)))
        theta = fit.synthetic + simulate_effects(fit.parameters, model.precision, model.y.shape[1], rng)
        again = model.with_direct(theta + np.sqrt(model.v) * rng.standard_normal(theta.shape))
        within = replicate_progress(progress, b, replicates)
        estimates.append(estimate_space_time(again, method, within).parameters)
        given = again.condition(estimates[-1])
        estimate = model.x @ given.fit.beta + given.area_effect[:, None] + given.time_effect
        squared += (estimate - theta) ** 2
    return SpaceTimeBootstrap(squared / replicates, tuple(estimates))


def simulate_effects(
    parameters: SpaceTimeParameters, precision: SarPrecision, times: int, rng: np.random.Generator
) -> Vector:
    """Draw u1_d + u2_dt from the model.

    Parameters
    ----------
    parameters : SpaceTimeParameters
        Variances and correlations.
    precision : SarPrecision
        Spatial weights of D areas.
    times : int
        T.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray, shape (D, T)
        The sum of both effects.
    """
    areas = precision.pattern.n
    over_map = precision.operator(parameters.rho_area).solve(rng.standard_normal(areas))
    chain = rng.standard_normal((areas, times))
    chain[:, 0] /= np.sqrt(1.0 - parameters.rho_time**2)
    for t in range(1, times):
        chain[:, t] += parameters.rho_time * chain[:, t - 1]
    return np.sqrt(parameters.area_variance) * over_map[:, None] + np.sqrt(parameters.time_variance) * chain


def _notes(found: SpaceTimeParameters, at_bound: tuple[str, ...], structure: str) -> tuple[str, ...]:
    notes = []
    if found.area_variance == 0.0:
        notes.append("The variance of the area effects is 0; their spatial correlation is not identified.")
    if found.time_variance == 0.0:
        rest = "; their correlation in time is not identified" if structure == "ST" else ""
        notes.append(f"The variance of the effects of area and time is 0{rest}.")
    notes += [f"{name} is at the end of its range ({getattr(found, name):.4f})." for name in at_bound]
    return tuple(notes)


def _model(direct: Vector, variance: Vector, x: Vector, weights: Any, structure: str) -> SpaceTimeModel:
    direct, variance, x = (np.asarray(array, dtype=float) for array in (direct, variance, x))
    precision = weights if isinstance(weights, SarPrecision) else SarPrecision(weights)
    if structure not in STRUCTURES:
        raise JobProblem(f"The structure of a space-time model is one of {named(STRUCTURES)}, not {structure!r}.")
    if direct.ndim != 2 or direct.shape != variance.shape or x.ndim != 3 or x.shape[:2] != direct.shape:
        raise TableProblem(
            f"Arrays differ in shape: direct {direct.shape}, variance {variance.shape}, x {x.shape}. Give (areas, "
            "times) twice and (areas, times, covariates)."
        )
    if precision.pattern.n != direct.shape[0]:
        raise GraphProblem(f"The weights are of {precision.pattern.n} areas, but the data of {direct.shape[0]}.")
    if not np.all(np.isfinite(x)) or np.isinf(direct).any():
        raise TableProblem("Covariates must be finite everywhere, direct estimates finite or missing (NaN).")
    observed = np.isfinite(direct)
    bad = np.argwhere(observed & ~((variance > 0.0) & np.isfinite(variance)))
    if len(bad):
        cells = named([f"area {d} time {t}" for d, t in bad.tolist()])
        raise VarianceProblem(
            f"{len(bad)} direct estimates have no positive, finite sampling variance: {cells}. Give the variances, or "
            "set these direct estimates to missing (NaN)."
        )
    if direct.shape[1] < 2 or observed.sum() <= x.shape[2] + 4:
        raise ModelProblem(
            f"{int(observed.sum())} direct estimates at {direct.shape[1]} times are too few: a space-time model needs "
            f"two times and, with {x.shape[2]} coefficients, {x.shape[2] + 5} direct estimates."
        )
    return SpaceTimeModel(direct, variance, x, precision, structure == "ST")
