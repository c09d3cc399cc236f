"""Exact posterior of the area-level models.

Hyperparameters by importance sampling, everything else by exact Gaussian algebra given them.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import threadpoolctl
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.importance import WeightedSample, importance_of_nothing, sample
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]
Item = TypeVar("Item")
Answer = TypeVar("Answer")

# Items between two looks at the progress callback, which is where a run can be cancelled.
CHUNK = 48
THREADS_FROM = 2000


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
    conditional_variance: Vector
    weighted: WeightedSample
    weighted_values: Vector
    seconds: Mapping[str, float]


class _Pool:
    """Threads that each own a copy of the model; answers come back in the order of the items."""

    def __init__(self, model: CollapsedModel, workers: int) -> None:
        # On small maps threads only wait for each other.
        count = workers or (_available_cores() if len(model.data.y) >= THREADS_FROM else 1)
        self._models: queue.SimpleQueue[CollapsedModel] = queue.SimpleQueue()
        for k in range(count):
            self._models.put(model if k == 0 else model.clone())
        self._threads = ThreadPoolExecutor(max_workers=count)
        # The parallelism is here: BLAS threads of their own would fight with these over many tiny matrices.
        self._blas = threadpoolctl.threadpool_limits(limits=1, user_api="blas")

    def map(
        self,
        work: Callable[[CollapsedModel, Item], Answer],
        items: Sequence[Item],
        between: Callable[[int], None] | None = None,
    ) -> list[Answer]:
        def one(item: Item) -> Answer:
            model = self._models.get()
            try:
                return work(model, item)
            finally:
                self._models.put(model)

        answers: list[Answer] = []
        for start in range(0, len(items), CHUNK):
            answers += self._threads.map(one, items[start : start + CHUNK])
            if between is not None:
                between(len(answers))
        return answers

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._blas.restore_original_limits()


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


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
    pool = _Pool(model, workers)
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
    moments = _moments(model, at, chosen, mixture, level)
    theta, beta = _ordered_draws(at, chosen)
    clock.append(time.perf_counter())
    stages = ("hyperparameters", "area draws", "area intervals")
    seconds = {stage: end - start for stage, start, end in zip(stages, clock, clock[1:], strict=False)}
    return Posterior(
        **moments,
        theta=theta,
        beta=beta,
        hyperparameters=values[chosen],
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
    pool: _Pool, specification: AreaLevelSpecification, min_ess: int, seed: int, report: _Reporter
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

    if free == 0:
        weighted = importance_of_nothing(float(target(np.zeros((1, 0)))[0]))
    else:
        weighted = sample(
            target, free, min_ess=min_ess, rng=np.random.default_rng([seed, 0]), progress=report.within(0.0, 55.0)
        )
    values = np.array([list(_values(specification, x).values()) for x in weighted.x]).reshape(len(weighted.x), -1)
    return weighted, values


@dataclass(frozen=True)
class _AtPoint:
    """What is kept of one set of hyperparameters: moments and the draws made there."""

    mean: Vector
    synthetic: Vector
    variance: Vector | None
    variance_known_beta: Vector | None
    beta: Vector
    theta: Vector


def _draw_effects(
    pool: _Pool,
    names: Sequence[str],
    values: Vector,
    chosen: NDArray[np.int64],
    mixture: NDArray[np.int64],
    seed: int,
    report: _Reporter,
) -> dict[int, _AtPoint]:
    """Condition on each hyperparameter point once, and draw there as often as it was chosen."""
    repeats = np.bincount(chosen, minlength=len(values))
    needs_variance = np.zeros(len(values), dtype=bool)
    needs_variance[mixture] = True
    needed = np.flatnonzero((repeats > 0) | needs_variance).tolist()

    def one(model: CollapsedModel, index: int) -> _AtPoint:
        given = model.condition(dict(zip(names, values[index].tolist(), strict=True)))
        mean, synthetic = model.mean(given)
        rng = np.random.default_rng([seed, 2, index])
        drawn = [model.draw(given, rng) for _ in range(repeats[index])]
        total, known = model.variance(given) if needs_variance[index] else (None, None)
        return _AtPoint(
            mean,
            synthetic,
            total,
            known,
            np.array([beta for beta, _, _ in drawn]),
            np.array([theta for _, _, theta in drawn]),
        )

    step = report.within(55.0, 95.0)

    def between(done: int) -> None:
        step(100.0 * done / len(needed), f"areas: drawn at {done} of {len(needed)} sets of hyperparameters")

    return dict(zip(needed, pool.map(one, needed, between), strict=True))


def _moments(
    model: CollapsedModel,
    at: dict[int, _AtPoint],
    chosen: NDArray[np.int64],
    mixture: NDArray[np.int64],
    level: float,
) -> dict[str, Vector]:
    """Moments and intervals from conditional moments (Rao-Blackwell).

    The mixture over fewer points gives the shape of each area's posterior; its centre and spread are set to those
    from all chosen points.
    """
    points, counts = np.unique(chosen, return_counts=True)
    share = counts / counts.sum()
    mean, between, synthetic = (np.zeros(len(model.data.y)) for _ in range(3))
    for weight, index in zip(share, points.tolist(), strict=True):
        mean += weight * at[index].mean
        synthetic += weight * at[index].synthetic
    for weight, index in zip(share, points.tolist(), strict=True):
        between += weight * (at[index].mean - mean) ** 2
    kept = mixture.tolist()
    centres = np.array([at[i].mean for i in kept])
    within = np.array([at[i].variance for i in kept])
    known = np.array([at[i].variance_known_beta for i in kept]).mean(axis=0)
    sd = np.sqrt(within.mean(axis=0) + between)
    raw_sd = np.sqrt(within.mean(axis=0) + centres.var(axis=0))
    raw_mean = centres.mean(axis=0)
    lower, upper = (
        mean + sd * (mixture_quantile(centres, np.sqrt(within), tail) - raw_mean) / raw_sd
        for tail in (0.5 * (1.0 - level), 0.5 * (1.0 + level))
    )
    sampled = model.data.sampled
    return {
        "mean": mean,
        "sd": sd,
        "lower": lower,
        "upper": upper,
        "synthetic": synthetic,
        "shrinkage": np.where(sampled, known / np.where(sampled, model.data.v, 1.0), np.nan),
        "conditional_variance": within.mean(axis=0),
    }


def _ordered_draws(at: dict[int, _AtPoint], chosen: NDArray[np.int64]) -> tuple[Vector, Vector]:
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


def mixture_quantile(means: Vector, sds: Vector, probability: float) -> Vector:
    """Quantile of equally weighted normal mixtures, one for each column.

    Parameters
    ----------
    means, sds : ndarray, shape (M, N)
        Components.
    probability : float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (N,)
        Quantiles, to 1e-9 of the mixture's width.
    """
    z = special.ndtri(probability)
    low = np.min(means + z * sds, axis=0)
    high = np.max(means + z * sds, axis=0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        below = np.mean(special.ndtr((middle - means) / sds), axis=0) < probability
        low = np.where(below, middle, low)
        high = np.where(below, high, middle)
    return 0.5 * (low + high)


def weighted_quantile(values: Vector, weights: Vector, probabilities: Sequence[float]) -> Vector:
    """Quantiles of a weighted sample.

    Parameters
    ----------
    values, weights : ndarray, shape (m,)
        The sample; weights sum to 1.
    probabilities : sequence of float
        Between 0 and 1.

    Returns
    -------
    ndarray, shape (len(probabilities),)
        Quantiles, interpolated between points at the middle of their weight.
    """
    order = np.argsort(values)
    middle = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(probabilities, middle, values[order])
