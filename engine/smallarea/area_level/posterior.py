"""Exact posterior of the area-level models.

Hyperparameters by importance sampling, everything else by exact Gaussian algebra given them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.importance import WeightedSample, importance_of_nothing, sample
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_level.summaries import AtPoint, area_moments
from smallarea.area_level.threads import ModelPool
from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class Posterior:
    """Posterior of one model on the standardised scale.

    Attributes
    ----------
    mean, sd : ndarray, shape (N,)
        Posterior mean and SD of theta.
    lower, upper : ndarray, shape (N,)
        Equal-tailed interval of theta.
    synthetic : ndarray, shape (N,)
        Posterior mean of x'beta.
    shrinkage : ndarray, shape (N,)
        Weight of the area's own direct estimate, Var(theta | y, beta, hyperparameters) / v averaged over the
        posterior; NaN where not sampled. For iid effects this is the mean of sd_delta^2 / (sd_delta^2 + v).
    theta, beta : ndarray, shapes (S, N), (S, p)
        Equally weighted exact draws.
    hyperparameters : ndarray, shape (S, q)
        The hyperparameters that go with them.
    beta_mean, beta_covariance : ndarray, shapes (S, p), (S, p, p)
        Conditional moments of the coefficients at these hyperparameters.
    conditional_variance : ndarray, shape (N,)
        Var(theta | y, hyperparameters) averaged over the posterior of the hyperparameters.
    weighted : WeightedSample
        The importance sample of the hyperparameters.
    weighted_values : ndarray, shape (m, q)
        Hyperparameters at its points.
    seconds : mapping
        Stage to seconds.
    """

    mean: Vector
    sd: Vector
    lower: Vector
    upper: Vector
    synthetic: Vector
    shrinkage: Vector
    theta: Vector
    beta: Vector
    hyperparameters: Vector
    beta_mean: Vector
    beta_covariance: Vector
    conditional_variance: Vector
    weighted: WeightedSample
    weighted_values: Vector
    seconds: Mapping[str, float]


def sample_posterior(
    model: CollapsedModel,
    specification: AreaLevelSpecification,
    *,
    draws: int = 2000,
    min_ess: int = 1000,
    level: float = 0.95,
    seed: int = 1,
    workers: int = 0,
    progress: Progress | None = None,
) -> Posterior:
    """Sample the posterior of a collapsed model.

    Parameters
    ----------
    model : CollapsedModel
        The model and its data.
    specification : AreaLevelSpecification
        Which hyperparameters there are and their priors.
    draws : int
        Equally weighted draws to return.
    min_ess : int
        Effective sample size to reach for each hyperparameter.
    level : float
        Coverage of the intervals.
    seed : int
        Seed; the result does not depend on ``workers``.
    workers : int
        Threads; 0 for all cores on large maps, one on small ones.
    progress : callable, optional
        ``progress(percent, text)``; may raise to cancel.

    Returns
    -------
    Posterior
        Moments, intervals, draws and the weighted sample.
    """
    report = _Reporter(progress)
    if model.field is not None:
        model.field.precision.logdet(0.5)  # prepares the determinant once, before threads share it
    pool = ModelPool(model, workers)
    clock = [time.perf_counter()]
    try:
        weighted, values = _sample_hyperparameters(pool, specification, min_ess, seed, report)
        clock.append(time.perf_counter())
        rng = np.random.default_rng([seed, 1])
        chosen = weighted.resample(draws, rng)
        mixture = weighted.resample(_mixture_size(len(model.data.y)), rng)
        at = _draw_effects(pool, list(specification.priors), values, chosen, mixture, seed, report)
    finally:
        pool.close()
    clock.append(time.perf_counter())
    report.within(95.0, 100.0)(0.0, "areas: intervals")
    moments = area_moments(model, at, chosen, mixture, level)
    theta, beta = _ordered_draws(at, chosen)
    clock.append(time.perf_counter())
    stages = ("hyperparameters", "area draws", "area intervals")
    seconds = {stage: end - start for stage, start, end in zip(stages, clock, clock[1:], strict=False)}
    return Posterior(
        **moments,
        theta=theta,
        beta=beta,
        hyperparameters=values[chosen],
        beta_mean=np.array([at[index].beta_mean for index in chosen.tolist()]),
        beta_covariance=np.array([at[index].beta_covariance for index in chosen.tolist()]),
        weighted=weighted,
        weighted_values=values,
        seconds=seconds,
    )


class _Reporter:
    """Passes progress on and can repeat the last word, so that a caller gets many chances to cancel."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._last = (0.0, "hyperparameters: searching for the mode")

    def within(self, start: float, end: float) -> Progress:
        """Return a progress callable whose 0 to 100 percent is start to end."""

        def tell(percent: float, text: str) -> None:
            self._last = (max(self._last[0], start + (end - start) * percent / 100.0), text)
            self.again()

        return tell

    def again(self) -> None:
        """Repeat the last word."""
        if self._progress is not None:
            self._progress(*self._last)


def _values(specification: AreaLevelSpecification, x: Vector) -> dict[str, float]:
    """Hyperparameters at standard normal coordinates; fixed ones take none."""
    coordinates = iter(x)
    return {
        name: prior.from_normal(0.0 if prior.fixed else float(next(coordinates)))
        for name, prior in specification.priors.items()
    }


def _sample_hyperparameters(
    pool: ModelPool, specification: AreaLevelSpecification, min_ess: int, seed: int, report: _Reporter
) -> tuple[WeightedSample, Vector]:
    free = sum(not prior.fixed for prior in specification.priors.values())

    def one(model: CollapsedModel, x: Vector) -> float:
        hyper = _values(specification, x)
        if any(value <= 0.0 for name, value in hyper.items() if name != "rho") or abs(hyper.get("rho", 0.0)) >= 1.0:
            return -np.inf  # so far in a tail that the parameter has rounded to its boundary
        try:
            log_likelihood = model.log_likelihood(hyper)
        except ModelProblem:
            return -np.inf
        return log_likelihood - 0.5 * float(x @ x) - 0.5 * len(x) * np.log(2.0 * np.pi)

    def target(points: Vector) -> Vector:
        return np.array(pool.map(one, list(points), lambda _: report.again()))

    def quantities(points: Vector) -> Vector:
        return np.array([list(_values(specification, x).values()) for x in points]).reshape(len(points), -1)

    if free == 0:
        weighted = importance_of_nothing(float(target(np.zeros((1, 0)))[0]))
    else:
        weighted = sample(
            target,
            free,
            min_ess=min_ess,
            rng=np.random.default_rng([seed, 0]),
            quantities=quantities,
            progress=report.within(0.0, 55.0),
        )
    return weighted, quantities(weighted.x)


def _draw_effects(
    pool: ModelPool,
    names: Sequence[str],
    values: Vector,
    chosen: NDArray[np.int64],
    mixture: NDArray[np.int64],
    seed: int,
    report: _Reporter,
) -> dict[int, AtPoint]:
    """Condition on each hyperparameter point once, and draw there as often as it was chosen."""
    repeats = np.bincount(chosen, minlength=len(values))
    needs_variance = np.zeros(len(values), dtype=bool)
    needs_variance[mixture] = True
    needed = np.flatnonzero((repeats > 0) | needs_variance).tolist()

    def one(model: CollapsedModel, index: int) -> AtPoint:
        given = model.condition(dict(zip(names, values[index].tolist(), strict=True)))
        mean, synthetic = model.mean(given)
        rng = np.random.default_rng([seed, 2, index])
        drawn = [model.draw(given, rng) for _ in range(repeats[index])]
        total, known = model.variance(given) if needs_variance[index] else (None, None)
        return AtPoint(
            mean,
            synthetic,
            total,
            known,
            given.beta,
            scipy.linalg.cho_solve((given.beta_factor, True), np.eye(len(given.beta))),
            np.array([beta for beta, _, _ in drawn]),
            np.array([theta for _, _, theta in drawn]),
        )

    step = report.within(55.0, 95.0)

    def between(done: int) -> None:
        step(100.0 * done / len(needed), f"areas: drawn at {done} of {len(needed)} sets of hyperparameters")

    return dict(zip(needed, pool.map(one, needed, between), strict=True))


def _ordered_draws(at: dict[int, AtPoint], chosen: NDArray[np.int64]) -> tuple[Vector, Vector]:
    """Draws of theta and beta in the order of ``chosen``."""
    first = at[int(chosen[0])]
    theta = np.empty((len(chosen), first.theta.shape[1]))
    beta = np.empty((len(chosen), first.beta.shape[1]))
    used: dict[int, int] = {}
    for row, index in enumerate(chosen.tolist()):
        turn = used.get(index, 0)
        theta[row], beta[row] = at[index].theta[turn], at[index].beta[turn]
        used[index] = turn + 1
    return theta, beta


def _mixture_size(n: int) -> int:
    """How many hyperparameter points carry exact variances: many on small maps, enough on large ones."""
    return int(np.clip(200_000 // n, 32, 400))
