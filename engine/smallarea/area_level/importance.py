"""Adaptive importance sampling of a few hyperparameters in standard normal coordinates.

The target is ``exp(log_target(x))`` times nothing else: the N(0, I) prior of the coordinates is part of it. The
sampler finds the mode,
measures the curvature there, and draws batches from a mixture of multivariate t distributions that it refits to what it
has seen (Cappe et al. 2008, population Monte Carlo with mixtures). All batches count in the end, weighted against the
mixture of
all proposals used (Cornuet et al. 2012, AMIS). A share of each batch comes from wide components, so that no weight
can explode
where the mode's curvature says little. Random numbers depend on the seed alone, never on the number of threads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import special

from smallarea.area_level.pareto import pareto_k
from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]
# Evaluates the log target at each row of an (m, d) array; may use several threads.
BatchTarget = Callable[[Vector], Vector]
Progress = Callable[[float, str], None]

DEGREES_OF_FREEDOM = 6.0
DEFENSIVE_SHARE = 0.15
# Refitted components lean towards the overall covariance and are widened: a proposal narrower than the target is what
# makes
# importance weights explode, and few EM steps keep components from collapsing onto single heavy points.
OVERALL_SHARE = 0.1
INFLATION = 1.08
EM_STEPS = 4
FIRST_BATCH = 200
PILOT_BATCHES = 5
LARGEST_BATCH = 4000
# The sampler gives up after this many times the evaluations that a perfect proposal would need.
PATIENCE = 25.0
# The search for the mode.
MOST_STEPS = 80
DIFFERENCE = 1e-3
GRADIENT_TOLERANCE = 1e-4
SMALLEST_GAIN = 1e-10
LONGEST_STEP = 1.5
LINE_SEARCH = np.array([2.0, 1.0, 0.6, 0.35, 0.2, 0.1, 0.04, 0.01])


@dataclass(frozen=True)
class TMixture:
    """Mixture of multivariate t distributions with common degrees of freedom.

    Attributes
    ----------
    shares : ndarray, shape (k,)
        Mixture weights.
    centres : ndarray, shape (k, d)
        Locations.
    roots : ndarray, shape (k, d, d)
        Lower Cholesky factors of the scale matrices.
    """

    shares: Vector
    centres: Vector
    roots: Vector

    def draw(self, n: int, rng: np.random.Generator) -> Vector:
        """Draw n points, shape (n, d)."""
        which = rng.choice(len(self.shares), size=n, p=self.shares)
        normal = rng.standard_normal((n, self.centres.shape[1]))
        spread = np.sqrt(DEGREES_OF_FREEDOM / rng.chisquare(DEGREES_OF_FREEDOM, size=n))
        return self.centres[which] + spread[:, None] * np.einsum("nij,nj->ni", self.roots[which], normal)

    def log_components(self, x: Vector) -> Vector:
        """Log of share times density of each component, shape (n, k)."""
        d, nu = x.shape[1], DEGREES_OF_FREEDOM
        constant = special.gammaln(0.5 * (nu + d)) - special.gammaln(0.5 * nu) - 0.5 * d * math.log(nu * math.pi)
        columns = []
        for share, centre, root in zip(self.shares, self.centres, self.roots, strict=True):
            z = np.linalg.solve(root, (x - centre).T)
            log_density = constant - np.sum(np.log(np.diag(root)))
            columns.append(math.log(share) + log_density - 0.5 * (nu + d) * np.log1p(np.sum(z**2, axis=0) / nu))
        return np.column_stack(columns)

    def log_density(self, x: Vector) -> Vector:
        """Log density, shape (n,)."""
        return special.logsumexp(self.log_components(x), axis=1)


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


def find_mode(target: BatchTarget, dimension: int, *, flat: bool = False) -> tuple[Vector, Vector, int]:
    """Find the mode and the covariance that the curvature there implies.

    Parameters
    ----------
    target : callable
        Log target of each row of an (m, d) array.
    dimension : int
        d.
    flat : bool
        Whether the target is a bare likelihood: without a prior of variance 1 in it, it may be flat in a direction.

    Returns
    -------
    mode : ndarray, shape (d,)
        Where the target is highest.
    covariance : ndarray, shape (d, d)
        Inverse of the negative Hessian, with eigenvalues of at most 2 (100 if flat) and at least 1e-6.
    evaluations : int
        Evaluations spent.

    Raises
    ------
    ModelProblem
        If the target is not finite at any starting point.
    """
    spent = 0

    def evaluate(points: Vector) -> Vector:
        nonlocal spent
        spent += len(points)
        return target(points)

    # A coarse look first: a likelihood with two modes should not be entered from the wrong side.
    starts = np.vstack([np.zeros(dimension), 1.5 * np.eye(dimension), -1.5 * np.eye(dimension)])
    heights = evaluate(starts)
    if not np.isfinite(heights).any():
        raise ModelProblem(
            "The likelihood is not finite at any starting point. Check for sampling variances that are many orders of "
            "magnitude smaller or larger than the differences between areas."
        )
    ranked = np.argsort(-np.where(np.isfinite(heights), heights, -np.inf))
    # A bare likelihood may have a plateau at a boundary: several climbs, and the highest end counts.
    ends = [_climb(evaluate, starts[at], float(heights[at])) for at in ranked[: 4 if flat else 1].tolist()]
    mode, _ = max(ends, key=lambda end: end[1])
    least = 0.01 if flat else 0.5
    if flat:
        mode = _polish(evaluate, mode, least)
    return mode, _covariance_at(evaluate, mode, least), spent


def _polish(evaluate: BatchTarget, mode: Vector, least: float) -> Vector:
    """Newton steps with the whole Hessian until they gain nothing."""
    height = float(evaluate(mode[None])[0])
    for _ in range(MOST_STEPS):
        slope, _ = _slopes(evaluate, mode, height)
        direction = _covariance_at(evaluate, mode, least) @ slope
        direction *= min(1.0, LONGEST_STEP / max(float(np.max(np.abs(direction))), 1e-300))
        ahead = mode + LINE_SEARCH[:, None] * direction
        heights = evaluate(ahead)
        best = int(np.argmax(np.where(np.isfinite(heights), heights, -np.inf)))
        if not heights[best] > height + SMALLEST_GAIN:
            break
        mode, height = ahead[best], float(heights[best])
    return mode


def _climb(evaluate: BatchTarget, start: Vector, height: float) -> tuple[Vector, float]:
    """Quasi-Newton ascent (BFGS) whose line searches evaluate all steps at once.

    A step into a region where the target is zero (its logarithm minus infinity) is just a bad step, which the line
    searches of library routines do not survive.
    """
    d = len(start)
    x, slope, curvature = start, *_slopes(evaluate, start, height)
    inverse = np.diag(1.0 / np.maximum(curvature, 1.0))
    for _ in range(MOST_STEPS):
        direction = inverse @ slope
        if slope @ direction < GRADIENT_TOLERANCE:  # twice what a full step would gain
            break
        direction *= min(1.0, LONGEST_STEP / float(np.max(np.abs(direction))))
        ahead = x + LINE_SEARCH[:, None] * direction
        heights = evaluate(ahead)
        best = int(np.argmax(np.where(np.isfinite(heights), heights, -np.inf)))
        if not heights[best] > height:
            break
        moved = ahead[best] - x
        x, height = ahead[best], float(heights[best])
        new_slope, curvature = _slopes(evaluate, x, height)
        change = slope - new_slope
        slope = new_slope
        along = float(moved @ change)
        if along <= 1e-12 * float(np.linalg.norm(moved) * np.linalg.norm(change)):
            inverse = np.diag(1.0 / np.maximum(curvature, 1.0))  # not concave along the step: start afresh
            continue
        shift = np.eye(d) - np.outer(moved, change) / along
        inverse = shift @ inverse @ shift.T + np.outer(moved, moved) / along
    return x, height


def _slopes(evaluate: BatchTarget, x: Vector, height: float) -> tuple[Vector, Vector]:
    """Gradient and negative second derivatives along the axes by central differences."""
    d = len(x)
    step = DIFFERENCE * np.eye(d)
    values = evaluate(np.vstack([x + step, x - step]))
    up, down = (np.where(np.isfinite(part), part, height) for part in (values[:d], values[d:]))
    return (up - down) / (2.0 * DIFFERENCE), -(up - 2.0 * height + down) / DIFFERENCE**2


def _covariance_at(evaluate: BatchTarget, mode: Vector, least: float) -> Vector:
    """Inverse negative Hessian by central differences, its eigenvalues at least ``least`` before it is inverted."""
    d = len(mode)
    h = 0.05
    shifts = [np.zeros(d)]
    pairs = [(i, j) for i in range(d) for j in range(i, d)]
    for i, j in pairs:
        for a in (h, -h):
            for b in (h, -h):
                shift = np.zeros(d)
                shift[i] += a
                shift[j] += b
                shifts.append(shift)
    values = evaluate(mode + np.array(shifts))
    hessian = np.zeros((d, d))
    for (i, j), block in zip(pairs, values[1:].reshape(-1, 4), strict=True):
        second = (block[0] - block[1] - block[2] + block[3]) / (4.0 * h * h)
        hessian[i, j] = hessian[j, i] = second if math.isfinite(second) else -float(i == j)
    eigenvalues, vectors = np.linalg.eigh(-hessian)
    variances = np.clip(1.0 / np.maximum(eigenvalues, least), 1e-6, None)
    return (vectors * variances) @ vectors.T


def _first_mixture(mode: Vector, covariance: Vector) -> TMixture:
    """Start: the mode at its own scale, shifted copies along the longest axis, and two wide defensive components."""
    root = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    values, vectors = np.linalg.eigh(covariance)
    axes = [math.sqrt(values[-k]) * vectors[:, -k] for k in range(1, min(2, len(values)) + 1)]
    shifts = [sign * 1.5 * axis for axis in axes for sign in (1.0, -1.0)]
    centres = np.array([mode] + [mode + shift for shift in shifts])
    shares = np.full(len(centres), 1.0 / len(centres))
    core = TMixture(shares, centres, np.stack([1.1 * root] * len(centres)))
    return _with_defence(core, mode, root)


def _with_defence(core: TMixture, mode: Vector, root: Vector) -> TMixture:
    """Add a widened core and the prior's own scale to a fitted mixture."""
    d = len(mode)
    wide = np.stack([2.5 * root, np.eye(d)])
    centres = np.stack([mode, 0.5 * mode])
    return TMixture(
        np.concatenate([(1.0 - DEFENSIVE_SHARE) * core.shares, np.full(2, 0.5 * DEFENSIVE_SHARE)]),
        np.concatenate([core.centres, centres]),
        np.concatenate([core.roots, wide]),
    )


def _without_defence(proposal: TMixture) -> TMixture:
    """Undo ``_with_defence``."""
    shares = proposal.shares[:-2]
    return TMixture(shares / shares.sum(), proposal.centres[:-2], proposal.roots[:-2])


def _tempered(log_weights: Vector) -> Vector:
    """Weights raised to a power below 1 until enough points count to learn a proposal from."""
    enough = 0.2 * len(log_weights)
    power = 1.0
    while True:
        powered = power * log_weights
        weights = np.exp(powered - special.logsumexp(powered))
        if 1.0 / np.sum(weights**2) >= enough or power < 1e-3:
            return weights
        power *= 0.8


def _refit(core: TMixture, x: Vector, weights: Vector, root: Vector) -> TMixture:
    """Make a few weighted EM steps of the t mixture on all points seen so far.

    ``root`` is the Cholesky factor at the mode; a trace of it keeps covariances definite.
    """
    d = x.shape[1]
    mean = weights @ x
    overall = (weights[:, None] * (x - mean)).T @ (x - mean) + 1e-3 * root @ root.T
    for _ in range(EM_STEPS):
        log_parts = core.log_components(x)
        share = np.exp(log_parts - special.logsumexp(log_parts, axis=1, keepdims=True)) * weights[:, None]
        total = np.maximum(share.sum(axis=0), 1e-300)
        centres, roots = [], []
        for k in range(len(total)):
            z = np.linalg.solve(core.roots[k], (x - core.centres[k]).T)
            # The t distribution's own weights: far points count less.
            robust = share[:, k] * (DEGREES_OF_FREEDOM + d) / (DEGREES_OF_FREEDOM + np.sum(z**2, axis=0))
            centre = robust @ x / max(robust.sum(), 1e-300)
            away = x - centre
            scatter = (robust[:, None] * away).T @ away / total[k]
            centres.append(centre)
            roots.append(INFLATION * np.linalg.cholesky((1 - OVERALL_SHARE) * scatter + OVERALL_SHARE * overall))
        shares = np.maximum(total / total.sum(), 0.02)
        core = TMixture(shares / shares.sum(), np.array(centres), np.array(roots))
    return core


def sample(
    target: BatchTarget,
    dimension: int,
    *,
    min_ess: int,
    rng: np.random.Generator,
    quantities: Callable[[Vector], Vector] | None = None,
    progress: Progress | None = None,
) -> WeightedSample:
    """Draw a weighted sample whose effective size is at least ``min_ess`` for every coordinate and quantity.

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
        What the sample is for, (m, d) points to (m, q) values; the size is reached for these instead of coordinates.
    progress : callable, optional
        ``progress(percent, text)``.

    Returns
    -------
    WeightedSample
        The sample without points of weight zero, ``converged`` false if the size was not reached within the evaluations
        allowed.
    """
    mode, covariance, spent = find_mode(target, dimension)
    root = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)
    proposal = _first_mixture(mode, covariance)
    batches: list[Vector] = []
    heights: list[Vector] = []
    used: list[TMixture] = []
    size = FIRST_BATCH
    allowed = int(PATIENCE * min_ess) + 10 * FIRST_BATCH
    while True:
        x = proposal.draw(size, rng)
        batches.append(x)
        heights.append(target(x))
        used.append(proposal)
        points, log_weights = np.concatenate(batches), _mixture_log_weights(batches, heights, used)
        result = _summarise(points, log_weights, spent + len(points))
        watched = points if quantities is None else quantities(points)
        reached = float(np.min(result.ess(watched)))
        if progress is not None:
            progress(
                100.0 * min(1.0, reached / min_ess),
                f"hyperparameters: effective sample size {reached:.0f} of {min_ess} after {len(points)} evaluations",
            )
        if reached >= min_ess or len(points) >= allowed:
            counted = result.weights > 0.0
            return replace(
                result,
                x=result.x[counted],
                log_weights=result.log_weights[counted],
                converged=reached >= min_ess,
            )
        core = _without_defence(proposal)
        proposal = _with_defence(_refit(core, points, _tempered(log_weights), root), mode, root)
        size = _next_size(reached, len(points), min_ess, len(batches))


def _next_size(reached: float, drawn: int, min_ess: int, batches: int) -> int:
    """Small batches while the proposal is being learned, then what is missing at the rate seen."""
    if batches < PILOT_BATCHES:
        return FIRST_BATCH
    rate = max(reached / drawn, 0.02)
    missing = 1.05 * (min_ess - reached) / rate
    # Small steps: each batch is drawn from a better proposal than the rate so far speaks of.
    return int(np.clip(missing, 50, min(LARGEST_BATCH, max(drawn // 3, FIRST_BATCH))))


def _mixture_log_weights(batches: Sequence[Vector], heights: Sequence[Vector], used: Sequence[TMixture]) -> Vector:
    """Log of target over the mixture of all proposals, each counted by its draws."""
    points = np.concatenate(batches)
    sizes = np.array([len(batch) for batch in batches], dtype=float)
    log_q = np.column_stack([proposal.log_density(points) for proposal in used])
    return np.concatenate(heights) - special.logsumexp(log_q + np.log(sizes / sizes.sum()), axis=1)


def _summarise(points: Vector, log_weights: Vector, evaluations: int) -> WeightedSample:
    n = len(points)
    total = special.logsumexp(log_weights)
    normalised = log_weights - total
    relative = n * np.exp(normalised)
    error = float(np.sqrt(np.mean((relative - 1.0) ** 2) / n))
    return WeightedSample(
        points, normalised, float(total - math.log(n)), error, pareto_k(normalised), evaluations, False
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
