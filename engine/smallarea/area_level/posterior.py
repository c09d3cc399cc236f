"""Exact posterior of the area-level models.

Hyperparameters by importance sampling, everything else by exact Gaussian algebra given them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.checkpoint import Checkpoint
from smallarea.area_level.collapsed import CollapsedModel
from smallarea.area_level.drawn import Batch, Drawn, Progress, Reporter
from smallarea.area_level.importance import WeightedSample, importance_of_nothing, sample
from smallarea.area_level.parameters import as_arrays, inside, natural_values
from smallarea.area_level.specification import AreaLevelSpecification
from smallarea.area_level.summaries import Mixture, area_summaries
from smallarea.area_level.threads import ModelPool

Vector = NDArray[np.float64]
Array = TypeVar("Array", bound=NDArray[Any])

# Sets of hyperparameters that are worked on at once: many on small maps, where Python's overhead counts, and few on
# large ones, where memory does.
LANES = 8
CELLS_AT_ONCE = 40_000
MOST_GROUPS = 32
NUMBERS_IN_MIXTURE = 20_000_000
# Maps with more cells than this draw the areas several times at each of min_ess sets of hyperparameters.
CELLS_WITH_A_POINT_A_DRAW = 10_000


@dataclass(frozen=True)
class Posterior:
    """Posterior of one model on the standardised scale, for N areas and K responses.

    Attributes
    ----------
    mean, sd : ndarray, shape (N, K)
        Posterior mean and SD of theta.
    lower, upper : ndarray, shape (N, K)
        Equal-tailed interval of theta.
    synthetic : ndarray, shape (N, K)
        Posterior mean of x'beta.
    shrinkage : ndarray, shape (N, K)
        Weight of the area's own direct estimate, averaged over the posterior; NaN where not observed. Without sampling
        covariances it is Var(theta | y, beta, hyperparameters) / v; for iid effects the mean of
        sd_delta^2 / (sd_delta^2 + v).
    theta : ndarray, shape (S, N, K)
        Equally weighted exact draws, **in the units of the input** (large arrays are not copied to change units).
    beta : ndarray, shape (S, p)
        Draws of the coefficients of all responses, one after the other.
    hyperparameters : ndarray, shape (S, q)
        The hyperparameters that go with them.
    beta_mean, beta_covariance : ndarray, shapes (S, p), (S, p, p)
        Conditional moments of the coefficients at these hyperparameters.
    mixture : Mixture
        Conditional moments of every area at a few sets of hyperparameters.
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
    mixture: Mixture
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
    checkpoint: Checkpoint | None = None,
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
    checkpoint : Checkpoint, optional
        Where to keep the sampler's progress; a run that finds progress there goes on from it, to the result of one that
        was never stopped.

    Returns
    -------
    Posterior
        Moments, intervals, draws and the weighted sample.
    """
    return _Sampler(model, specification, seed, workers, progress, checkpoint).run(draws, min_ess, level)


class _Sampler:
    """One run: the model, its threads, and who is told about progress."""

    def __init__(
        self,
        model: CollapsedModel,
        specification: AreaLevelSpecification,
        seed: int,
        workers: int,
        progress: Progress | None,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._model = model
        self._specification = specification
        self._layout = specification.layout
        self._order = tuple(specification.responses.index(name) for name in specification.order)
        self._k = len(specification.responses)
        self._seed = seed
        self._report = Reporter(progress)
        n, k = model.data.shape
        self._at_once = LANES * int(np.clip(CELLS_AT_ONCE // (n * k * LANES), 1, MOST_GROUPS))
        if model.field is not None:
            # Prepares determinants once, before threads share them.
            model.field.logdet(as_arrays(self._layout, self._order, self._k, self.values(np.zeros((1, self._free)))))
        self._pool = ModelPool(model, workers)

    @property
    def _free(self) -> int:
        return sum(not prior.fixed for prior in self._specification.priors.values())

    def values(self, x: Vector) -> Vector:
        """Hyperparameters at standard normal coordinates, shape (B, q)."""
        return natural_values(self._layout, self._specification.priors, self._k, x)

    def run(self, draws: int, min_ess: int, level: float) -> Posterior:
        """Sample; see :func:`sample_posterior`."""
        clock = [time.perf_counter()]
        try:
            weighted, values = self._sample_hyperparameters(min_ess)
            clock.append(time.perf_counter())
            rng = np.random.default_rng([self._seed, 1])
            chosen = _chosen(weighted, draws, min_ess, self._model.data.shape, rng)
            few = weighted.resample(_mixture_size(*self._model.data.shape), rng)
            drawn = self._draw(values, chosen)
            clock.append(time.perf_counter())
            mixture = self._mixture(values, few)
        finally:
            self._pool.close()
        self._report.within(95.0, 100.0)(50.0, "areas: intervals")
        summaries = area_summaries(self._model, drawn.means, mixture, level)
        clock.append(time.perf_counter())
        stages = ("hyperparameters", "area draws", "area intervals")
        return Posterior(
            **summaries,
            synthetic=drawn.synthetic.mean,
            theta=drawn.theta,
            beta=drawn.beta,
            hyperparameters=values[chosen],
            beta_mean=drawn.beta_mean,
            beta_covariance=drawn.beta_covariance,
            mixture=mixture,
            weighted=weighted,
            weighted_values=values,
            seconds={stage: end - start for stage, start, end in zip(stages, clock, clock[1:], strict=False)},
        )

    def _log_posterior(self, model: CollapsedModel, x: Vector) -> Vector:
        values = self.values(x)
        good = inside(self._layout, values)
        out = np.full(len(x), -np.inf)
        if good.any():
            hyper = as_arrays(self._layout, self._order, self._k, values[good])
            log_likelihood = model.log_likelihood(hyper)
            out[good] = np.where(np.isfinite(log_likelihood), log_likelihood, -np.inf)
        return out - 0.5 * np.sum(x**2, axis=1) - 0.5 * x.shape[1] * np.log(2.0 * np.pi)

    def _sample_hyperparameters(self, min_ess: int) -> tuple[WeightedSample, Vector]:
        def target(points: Vector) -> Vector:
            parts = []
            for part in self._pool.stream(self._log_posterior, _split(points, self._at_once)):
                parts.append(part)
                self._report.again()
            return np.concatenate(parts)

        if self._free == 0:
            weighted = importance_of_nothing(float(target(np.zeros((1, 0)))[0]))
        else:
            weighted = sample(
                target,
                self._free,
                min_ess=min_ess,
                rng=np.random.default_rng([self._seed, 0]),
                quantities=self.values,
                progress=self._report.within(0.0, 55.0),
                resume=self._checkpoint.load() if self._checkpoint else None,
                keep=self._checkpoint.save if self._checkpoint else None,
            )
        return weighted, self.values(weighted.x)

    def _draw(self, values: Vector, chosen: NDArray[np.int64]) -> Drawn:
        """Condition on each chosen point once, and draw there as often as it was chosen."""
        points, turns, repeats = np.unique(chosen, return_inverse=True, return_counts=True)
        # Points that were chosen equally often stand together: a batch draws as often as its most frequent point.
        order = np.argsort(-repeats, kind="stable")
        batches = _split(order, self._at_once)
        rows = np.argsort(turns, kind="stable")
        starts = np.concatenate([[0], np.cumsum(repeats)])

        def work(model: CollapsedModel, item: tuple[int, NDArray[np.int64]]) -> Batch:
            number, members = item
            given = model.condition(as_arrays(self._layout, self._order, self._k, values[points[members]]))
            moments = model.moments(given)
            rng = np.random.default_rng([self._seed, 2, number])
            beta, theta = moments.draw(int(repeats[members].max()), rng)
            return Batch(moments.theta, moments.synthetic, given.beta, given.beta_covariance, beta, theta)

        out = Drawn.empty(self._model, len(chosen))
        tell = self._report.within(55.0, 90.0)
        done = 0
        for members, batch in zip(batches, self._pool.stream(work, list(enumerate(batches))), strict=True):
            out.means.add(batch.mean, repeats[members])
            out.synthetic.add(batch.synthetic, repeats[members])
            for lane, member in enumerate(members.tolist()):
                mine = rows[starts[member] : starts[member + 1]]
                out.take(mine, lane, batch)
            done += len(members)
            tell(100.0 * done / len(points), f"areas: drawn at {done} of {len(points)} sets of hyperparameters")
        return out

    def _mixture(self, values: Vector, few: NDArray[np.int64]) -> Mixture:
        """Exact conditional moments of every area at a few equally weighted points."""

        def work(model: CollapsedModel, members: NDArray[np.int64]) -> tuple[Vector, Vector, Vector]:
            given = model.condition(as_arrays(self._layout, self._order, self._k, values[members]))
            moments = model.moments(given)
            return moments.theta, *moments.covariances

        tell = self._report.within(90.0, 95.0)
        means, totals, known = [], [], 0.0
        for number, part in enumerate(self._pool.stream(work, _split(few, self._at_once))):
            means.append(part[0])
            totals.append(part[1])
            known = known + part[2].sum(axis=-1)
            tell(100.0 * number * self._at_once / len(few), "areas: exact variances")
        return Mixture(
            np.moveaxis(np.concatenate(means, axis=-1), -1, 0),
            np.moveaxis(np.concatenate(totals, axis=-1), -1, 0),
            np.asarray(known) / len(few),
        )


def _chosen(
    weighted: WeightedSample, draws: int, min_ess: int, shape: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the point of each draw: a point for each, or on large maps no more points than the sample is worth.

    Conditioning on a point costs as much as finding it. Where that takes long, a second draw of the areas at the same
    point costs next to nothing.
    """
    if shape[0] * shape[1] <= CELLS_WITH_A_POINT_A_DRAW or draws <= min_ess:
        return weighted.resample(draws, rng)
    return rng.permutation(np.resize(weighted.resample(min_ess, rng), draws))


def _split(items: Array, size: int) -> list[Array]:
    return [cast(Array, items[start : start + size]) for start in range(0, len(items), size)]


def _mixture_size(n: int, k: int) -> int:
    """How many hyperparameter points carry exact variances: many on small maps, enough on large ones.

    Each carries N matrices of K x K, which limits the number where there are many periods.
    """
    return int(np.clip(min(200_000 // n, NUMBERS_IN_MIXTURE // (n * k * k)), 32, 400))
