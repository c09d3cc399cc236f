"""Parametric bootstrap of the mean squared error of the spatial EBLUP (Molina, Salvati and Pratesi 2009, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.sar import SarEblup, sar_model
from smallarea.area_level.sar_model import Progress, SarConditional, SarModel, estimate_sar
from smallarea.area_level.sar_mse import known_parameters_error
from smallarea.errors import JobProblem

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class SarBootstrap:
    """Bootstrap mean squared errors.

    Attributes
    ----------
    mse : ndarray, shape (N,)
        Mean over replicates of (EBLUP* - theta*)^2.
    bias_corrected : ndarray, shape (N,)
        2 (g1 + g2) - mean of (g1* + g2*) + mean of (EBLUP* - BLUP*)^2, whose Monte Carlo error is smaller and which
        does not inherit the bias of g1 at estimated parameters.
    parameters : ndarray, shape (replicates, 2)
        Estimates of (A, rho) in each replicate; rho is NaN where A is 0.
    """

    mse: Vector
    bias_corrected: Vector
    parameters: Vector


def bootstrap_sar(
    direct: Vector,
    variance: Vector,
    x: Vector,
    weights: Any,
    fit: SarEblup,
    method: str = "reml",
    *,
    replicates: int = 200,
    seed: int = 1,
    progress: Progress | None = None,
) -> SarBootstrap:
    """Simulate data from a fit, refit, and see how far the EBLUP is from the truth.

    Parameters
    ----------
    direct, variance, x, weights
        As in :func:`smallarea.area_level.sar.fit_sar`.
    fit : SarEblup
        What was fitted to them.
    method : {'reml', 'ml'}
        Estimator of (A, rho), that of the fit.
    replicates : int
        How many data sets to simulate.
    seed : int
        Seed; the first replicates are the same however many follow.
    progress : callable, optional
        Called with percent and text, often; what it raises stops the work.

    Returns
    -------
    SarBootstrap
        The errors, in the units of the fit.

    Raises
    ------
    JobProblem
        If there is no replicate.
    """
    if replicates < 1:
        raise JobProblem(f"A bootstrap needs at least one replicate, not {replicates}.")
    model = sar_model(direct, variance, x, weights)
    a, rho = fit.model_variance, 0.0 if fit.model_variance == 0.0 else fit.rho
    squared, refitted, known = (np.zeros(len(model.y)) for _ in range(3))
    parameters = np.empty((replicates, 2))
    for b in range(replicates):
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(b,)))
        theta, again = _simulate(model, a, rho, fit.synthetic, rng)
        found = estimate_sar(again, method, replicate_progress(progress, b, replicates))
        parameters[b] = found.a, found.rho
        best = _predict(again, again.condition(a, rho))
        given = again.condition(found.a, found.rho if found.a > 0.0 else 0.0)
        estimate = _predict(again, given)
        squared += (estimate - theta) ** 2
        refitted += (estimate - best) ** 2
        known += sum(known_parameters_error(again, given))
    corrected = 2.0 * (fit.g1 + fit.g2) + (refitted - known) / replicates
    return SarBootstrap(squared / replicates, corrected, parameters)


def replicate_progress(progress: Progress | None, b: int, replicates: int) -> Progress | None:
    """Return what the search within replicate b calls: the percentage is that of the whole bootstrap.

    Parameters
    ----------
    progress : callable or None
        What the caller of the bootstrap gave.
    b, replicates : int
        Replicate, from 0, and how many there are.
    """
    if progress is None:
        return None
    return lambda _percent, _text: progress(100.0 * b / replicates, f"bootstrap replicate {b + 1} of {replicates}")


def _simulate(
    model: SarModel, a: float, rho: float, synthetic: Vector, rng: np.random.Generator
) -> tuple[Vector, SarModel]:
    n = len(model.y)
    innovations = rng.standard_normal(n)
    theta = synthetic + np.sqrt(a) * model.precision.operator(rho).solve(innovations)
    return theta, model.with_direct(theta + np.sqrt(model.v) * rng.standard_normal(n))


def _predict(model: SarModel, given: SarConditional) -> Vector:
    return model.x @ given.fit.beta + given.a * given.score
