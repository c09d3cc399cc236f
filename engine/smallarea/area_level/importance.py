"""Adaptive importance sampling of a few hyperparameters in standard normal coordinates.

The target is ``exp(log_target(x))`` times nothing else: the N(0, I) prior of the coordinates is part of it. The sampler
finds the mode, measures the curvature there, and learns: it draws batches from a mixture of multivariate t
distributions that it refits to all it has seen (Cappe et al. 2008, population Monte Carlo with mixtures; weights
against the mixture of all proposals, Cornuet et al. 2012). Then the proposal is settled, and only what is drawn from it
counts. Points from which a proposal was learned would make its weights look better than they are: the evidence came out
low and tails too light. A share of each batch comes from wide components, so that no weight can explode where the
mode's curvature says little. Random numbers depend on the seed alone, never on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.mixture import TMixture, first_mixture, refit, tempered, with_defence, without_defence
from smallarea.area_level.mode import BatchTarget, find_mode
from smallarea.area_level.pareto import pareto_k

Vector = NDArray[np.float64]
Progress = Callable[[float, str], None]

FIRST_BATCH = 200
# Learning ends when all batches together are worth so many independent draws; fewer if the last batch had a good share.
LEAST_BATCHES = 2
GOOD_SHARE, GOOD_FROM = 0.4, 600.0
LEARN_FROM = 1000.0
LARGEST_BATCH = 4000
# The sampler gives up after this many times the evaluations that a perfect proposal would need.
PATIENCE = 25.0


@dataclass(frozen=True)
class WeightedSample:
    """Weighted draws from the target.

    Attributes
    ----------
    x : ndarray, shape (m, d)
        Points.
    log_weights : ndarray, shape (m,)
        Normalised log weights.
    log_evidence : float
        Log of the target's integral.
    log_evidence_error : float
        Its Monte Carlo standard error.
    pareto_k : float
        Tail index of the weights; below 0.7 they can be relied on (Vehtari et al. 2024).
    evaluations : int
        Evaluations of the target, those of the search for the mode included.
    converged : bool
        Whether the effective sample size that was asked for was reached.
    """

    x: Vector
    log_weights: Vector
    log_evidence: float
    log_evidence_error: float
    pareto_k: float
    evaluations: int
    converged: bool
    weights: Vector = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", np.exp(self.log_weights))

    def ess(self, values: Vector) -> Vector:
        """Effective sample size of the weighted mean of each column, never above that of the weights.

        Parameters
        ----------
        values : ndarray, shape (m, q)
            A quantity at each point.

        Returns
        -------
        ndarray, shape (q,)
            Var(value) over the variance of its weighted mean, capped by 1 / sum(w^2).
        """
        # Far out a quantity may be infinite where the weight is zero, or so large that only its product with the weight
        # can be squared.
        counted = self.weights > 0.0
        w, values = self.weights[counted], values[counted]
        away = values - w @ values
        error = np.sum((w[:, None] * away) ** 2, axis=0)
        spread = np.sum((np.sqrt(w)[:, None] * away) ** 2, axis=0)
        own = np.divide(spread, error, out=np.full(values.shape[1], np.inf), where=error > 0.0)
        return np.minimum(own, 1.0 / np.sum(w**2))

    def r_hat(self, values: Vector) -> Vector:
        """Compare quarters of the sample with each other, as R-hat does with chains (Gelman and Rubin 1992).

        Draws from a settled proposal are independent, so R-hat is near one unless a few weights carry a quarter: what
        a mode or a tail that is seldom hit does. By chance it is ``1 + 2 / ESS`` on average.

        Parameters
        ----------
        values : ndarray, shape (m, q)
            A quantity at each point.

        Returns
        -------
        ndarray, shape (q,)
            ``sqrt(1 + var(means of the quarters) / mean(variances within))``; NaN for a constant, or where a quarter
            has no weight.
        """
        parts = [part for part in np.array_split(np.arange(len(self.weights)), 4) if self.weights[part].sum() > 0.0]
        if len(parts) < 4:
            return np.full(values.shape[1], np.nan)
        means, within = [], []
        for part in parts:
            w = self.weights[part] / self.weights[part].sum()
            counted = w > 0.0
            mean = w[counted] @ values[part][counted]
            means.append(mean)
            within.append(w[counted] @ (values[part][counted] - mean) ** 2)
        inside = np.mean(within, axis=0)
        ratio = np.divide(np.var(means, axis=0, ddof=1), inside, out=np.full(len(inside), np.nan), where=inside > 0.0)
        return np.asarray(np.sqrt(1.0 + ratio), dtype=np.float64)

    def resample(self, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return indices of n equally weighted draws in random order, shape (n,).

        Systematic resampling along the longest axis of the sample, so that even few draws represent it evenly.
        """
        order = np.arange(len(self.weights))
        if self.x.shape[1]:
            away = self.x - self.weights @ self.x
            axis = np.linalg.eigh((self.weights[:, None] * away).T @ away)[1][:, -1]
            order = np.argsort(away @ axis)
        cumulative = np.cumsum(self.weights[order])
        steps = (np.arange(n) + rng.uniform()) / n * cumulative[-1]
        chosen = np.minimum(np.searchsorted(cumulative, steps), len(order) - 1)
        return rng.permutation(order[chosen])


@dataclass(frozen=True)
class SamplerState:
    """Everything that a sampler needs to go on after a batch.

    Attributes
    ----------
    mode : ndarray, shape (d,)
        Where the search for the mode ended.
    root : ndarray, shape (d, d)
        Cholesky factor of the covariance that the curvature there implies.
    spent : int
        Evaluations of that search.
    batches, heights : tuples of ndarray, shapes (m, d), (m,)
        Points of each batch and the log target there.
    used : tuple of TMixture
        The proposal of each batch.
    random : mapping
        State of the generator after the last batch.
    settled : int
        Number of batches that the proposal was learned from; 0 while it is being learned.
    """

    mode: Vector
    root: Vector
    spent: int
    batches: tuple[Vector, ...]
    heights: tuple[Vector, ...]
    used: tuple[TMixture, ...]
    random: Mapping[str, Any]
    settled: int = 0


def sample(
    target: BatchTarget,
    dimension: int,
    *,
    min_ess: int,
    rng: np.random.Generator,
    quantities: Callable[[Vector], Vector] | None = None,
    progress: Progress | None = None,
    resume: SamplerState | None = None,
    keep: Callable[[SamplerState], None] | None = None,
) -> WeightedSample:
    """Draw a weighted sample whose effective size is at least ``min_ess`` for every quantity.

    Parameters
    ----------
    target : callable
        Log target of each row of an (m, d) array; -inf where it is zero.
    dimension : int
        d, at least 1.
    min_ess : int
        Effective sample size to reach.
    rng : numpy.random.Generator
        Source of randomness.
    quantities : callable, optional
        What the sample is for, (m, d) points to (m, q) values; the coordinates if not given.
    progress : callable, optional
        ``progress(percent, text)``.
    resume : SamplerState, optional
        Where an earlier call for the same target stopped: the result is that of a call that did not stop.
    keep : callable, optional
        Gets the state after every batch.

    Returns
    -------
    WeightedSample
        The sample without points of weight zero, ``converged`` false if the size was not reached within the evaluations
        allowed.
    """
    if resume is None:
        mode, covariance, spent = find_mode(target, dimension)
        root = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
        state = SamplerState(mode, root, spent, (), (), (), rng.bit_generator.state)
    else:
        state = resume
        rng.bit_generator.state = dict(resume.random)
    allowed = int(PATIENCE * min_ess) + 10 * FIRST_BATCH
    densities = _Densities(state)
    while True:
        proposal, size = first_mixture(state.mode, state.root), FIRST_BATCH
        if state.settled:
            result = _summarise(state)
            reached = float(np.min(result.ess(result.x if quantities is None else quantities(result.x))))
            drawn = sum(len(batch) for batch in state.batches)
            if progress is not None:
                progress(
                    100.0 * min(1.0, reached / min_ess),
                    f"hyperparameters: effective sample size {reached:.0f} of {min_ess} after {drawn} evaluations",
                )
            if reached >= min_ess or drawn >= allowed:
                return replace(result, converged=reached >= min_ess)
            proposal, size = state.used[-1], _next_size(reached, len(result.x), min_ess)
        elif state.batches:
            points, log_weights = np.concatenate(state.batches), densities.log_weights(state)
            if progress is not None:
                progress(0.0, f"hyperparameters: learning a proposal, {len(points)} evaluations")
            core = refit(without_defence(state.used[-1]), points, tempered(log_weights), state.root)
            proposal = with_defence(core, state.mode, state.root)
            if _has_learned(state, log_weights, min_ess):
                state = replace(state, settled=len(state.batches))
            size = max(FIRST_BATCH, len(points) // 3)
        x = proposal.draw(size, rng)
        state = replace(
            state,
            batches=(*state.batches, x),
            heights=(*state.heights, target(x)),
            used=(*state.used, proposal),
            random=rng.bit_generator.state,
        )
        if not state.settled:
            densities.extend(state)
        if keep is not None:
            keep(state)


def _has_learned(state: SamplerState, log_weights: Vector, min_ess: int) -> bool:
    """Whether the proposal fits well already, or was learned from enough, or learning has become too dear."""
    if len(state.batches) < LEAST_BATCHES:
        return False
    weights = np.exp(log_weights - special.logsumexp(log_weights))
    worth = 1.0 / float(np.sum(weights**2))
    # One batch can be lucky: a good share counts once the proposal was learned from something.
    good = _share(state, len(state.batches) - 1) >= GOOD_SHARE
    enough = worth >= min(GOOD_FROM if good else LEARN_FROM, max(200.0, float(min_ess)))
    return enough or len(log_weights) >= PATIENCE * min_ess / 2.0


def _share(state: SamplerState, batch: int) -> float:
    """Effective share of a batch under its own proposal, which it had no part in learning."""
    points = state.batches[batch]
    log_weights = state.heights[batch] - state.used[batch].log_density(points)
    if not np.isfinite(log_weights).any():
        return 0.0
    weights = np.exp(log_weights - special.logsumexp(log_weights))
    return 1.0 / (len(points) * float(np.sum(weights**2)))


def _next_size(reached: float, drawn: int, min_ess: int) -> int:
    """Return what is missing at the rate seen, in steps of at most what there is: the rate is an estimate too."""
    rate = max(reached / drawn, 0.02)
    missing = 1.05 * (min_ess - reached) / rate
    return int(np.clip(missing, 50, min(LARGEST_BATCH, drawn)))


class _Densities:
    """Log density of every proposal at every point so far, computed once each."""

    def __init__(self, state: SamplerState) -> None:
        points = np.concatenate(state.batches) if state.batches else np.empty((0, len(state.mode)))
        columns = [proposal.log_density(points) for proposal in state.used]
        self._log_q = np.column_stack(columns) if columns else np.empty((0, 0))

    def extend(self, state: SamplerState) -> None:
        """Take in the last batch of a state and its proposal."""
        points, new = np.concatenate(state.batches), state.batches[-1]
        rows = [proposal.log_density(new) for proposal in state.used[:-1]]
        old = np.vstack([self._log_q, np.column_stack(rows)]) if rows else np.empty((len(points), 0))
        self._log_q = np.column_stack([old, state.used[-1].log_density(points)])

    def log_weights(self, state: SamplerState) -> Vector:
        """Log of target over the mixture of all proposals, each counted by its draws."""
        sizes = np.array([len(batch) for batch in state.batches], dtype=float)
        log_q = special.logsumexp(self._log_q + np.log(sizes / sizes.sum()), axis=1)
        return np.concatenate(state.heights) - log_q


def _summarise(state: SamplerState) -> WeightedSample:
    """Weights of what was drawn from the settled proposal; points of weight zero are left out."""
    points = np.concatenate(state.batches[state.settled :])
    log_weights = np.concatenate(state.heights[state.settled :]) - state.used[-1].log_density(points)
    n = len(points)
    total = special.logsumexp(log_weights)
    normalised = log_weights - total
    relative = n * np.exp(normalised)
    error = float(np.sqrt(np.mean((relative - 1.0) ** 2) / n))
    evaluations = state.spent + sum(len(batch) for batch in state.batches)
    counted = relative > 0.0
    return WeightedSample(
        points[counted],
        normalised[counted],
        float(total - math.log(n)),
        error,
        pareto_k(normalised),
        evaluations,
        False,
    )


def importance_of_nothing(log_evidence: float) -> WeightedSample:
    """Return the sample of a model whose hyperparameters are all fixed: one point of weight one.

    Parameters
    ----------
    log_evidence : float
        The log likelihood there, which is the evidence.

    Returns
    -------
    WeightedSample
        The point, in no dimension.
    """
    return WeightedSample(np.zeros((1, 0)), np.zeros(1), log_evidence, 0.0, -math.inf, 1, True)
