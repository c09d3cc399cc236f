"""Benchmarking: draws that add up to totals which are known better than the model knows them.

Every draw is adjusted, so that intervals, ranks and exceedance probabilities follow. With weights ``w`` an aggregate is
``A = sum_i w_i theta_i`` over the areas of a group (a mean if the weights are scaled to sum to one) and ``t`` its
target. The adjusted quantities are

- ``ratio``: ``theta_i t / A``, for one margin: one set of groups.
- ``raking``: ``theta_i`` times a factor for its group in each of several margins, found by iterative proportional
  fitting; with one margin that is the ratio. Both minimise ``sum_i w_i (e_i log(e_i / theta_i) - e_i + theta_i)``, a
  loss of Kullback-Leibler type as Ghosh, Kubokawa and Kawakubo (2015) use for positive quantities.
- ``difference``: ``theta_i + (t - A) / sum_j w_j``, the same shift for all areas of a group.
- ``weighted_difference``: ``theta_i + (t - A) w_i V_i / sum_j w_j^2 V_j`` with V_i the posterior variance. It minimises
  ``sum_i (e_i - theta_i)^2 / V_i`` (Datta et al. 2011, with their phi_i = 1 / V_i). Areas that the survey
  knows well have a small V_i and hardly move, which keeps their estimates design consistent (Bell, Datta and Ghosh
  2013); the other methods move them as much as the others.

With several margins the differences minimise the same losses subject to all targets; see
:mod:`smallarea.results.benchmark_system`. Estimates without draws: :mod:`smallarea.results.benchmark_points`.

References
----------
Bell, W. R., Datta, G. S. and Ghosh, M. (2013). Benchmarking small area estimators. Biometrika 100, 189-202.
Datta, G. S., Ghosh, M., Steorts, R. and Maples, J. (2011). Bayesian benchmarking with applications to small area
estimation. TEST 20, 574-588.
Ghosh, M., Kubokawa, T. and Kawakubo, Y. (2015). Benchmarked empirical Bayes methods in multiplicative area-level models
with risk evaluation. Biometrika 102, 647-659.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from smallarea.errors import ModelProblem, TableProblem, named
from smallarea.results.benchmark_system import Cells, cells_of, factors, reconciled, shifts
from smallarea.results.draws import blocks, estimated

Vector = NDArray[np.float64]
Method = Literal["ratio", "difference", "weighted_difference", "raking"]
FACTORS = ("ratio", "raking")


@dataclass(frozen=True)
class Targets:
    """What groups of areas have to add up to.

    Attributes
    ----------
    groups : tuple of str, length G
        Their names; those of one margin after those of the other.
    values, errors : ndarray, shape (G,)
        Targets and their standard errors, zero where a target is exact.
    kind : {'mean', 'total'}
        Whether targets are weighted means or weighted sums of the areas' quantities.
    margins : tuple of str, length G
        The margin of each group; empty if there is one and it needs no name.
    """

    groups: tuple[str, ...]
    values: Vector
    errors: Vector
    kind: Literal["mean", "total"] = "mean"
    margins: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """What the groups are called in messages; with their margin if there are several."""
        if len(set(self.margins)) < 2:
            return self.groups
        return tuple(f"{group} ({margin})" for group, margin in zip(self.groups, self.margins, strict=True))


@dataclass(frozen=True)
class Aim:
    """Targets as weighted sums, ready to be met.

    Attributes
    ----------
    cells : Cells
        Areas by their groups.
    unit : ndarray, shape (G,)
        Sums are so many times what the targets are in: the sum of weights for means, one for totals.
    totals : ndarray, shape (G,)
        Targets that do not contradict each other.
    matrix : ndarray, shape (G, G)
        Takes targets as given there.
    """

    cells: Cells
    unit: Vector
    totals: Vector
    matrix: Vector


@dataclass(frozen=True)
class Benchmarked:
    """Draws that meet their targets.

    Attributes
    ----------
    theta : ndarray, shape (S, N)
        The adjusted draws.
    before, before_se : ndarray, shape (G,)
        Posterior mean and standard deviation of the aggregates that the model gives.
    after, after_se : ndarray, shape (G,)
        The same of the adjusted ones: the target and its standard error, but for the draws of the target.
    adjustment, adjustment_se : ndarray, shape (G,)
        Posterior mean and standard deviation of ``t / A`` (method ``ratio``) or ``t - A``.
    n_areas : ndarray of int, shape (G,)
        Areas of each group.
    """

    theta: Vector
    before: Vector
    before_se: Vector
    after: Vector
    after_se: Vector
    adjustment: Vector
    adjustment_se: Vector
    n_areas: NDArray[np.int64]


def benchmark(
    theta: Vector,
    areas: Sequence[str],
    group: NDArray[np.int64],
    weights: Vector,
    targets: Targets,
    method: Method,
    rng: np.random.Generator,
) -> Benchmarked:
    """Adjust draws to targets.

    Parameters
    ----------
    theta : ndarray, shape (S, N)
        Draws of one response; NaN for areas without an estimate.
    areas : sequence of str, length N
        Area ids, for messages.
    group : ndarray of int, shape (N,) or (M, N)
        Position of each area's group among those of the targets, for each margin.
    weights : ndarray, shape (N,)
        Of the areas in their groups' aggregates, not negative.
    targets : Targets
        What the groups have to add up to. A target with a standard error is drawn anew for every draw, from a normal
        distribution, independently of the model (with several margins given that they do not contradict each other).
    method : {'ratio', 'difference', 'weighted_difference', 'raking'}
        How.
    rng : numpy.random.Generator
        For targets with a standard error.

    Returns
    -------
    Benchmarked
        The adjusted draws; ``theta`` itself stays as it is.

    Raises
    ------
    TableProblem
        If a weight is missing or negative, or a group has no area with a positive weight.
    ModelProblem
        If an area with a weight has no estimate, factors are to be made of aggregates that are not positive, or
        targets contradict each other.
    """
    aim = aim_of(estimated(theta), areas, np.atleast_2d(group), weights, targets, method)
    cells = aim.cells
    count = len(cells.weight)
    here = sparse.csr_array((weights, (cells.cell, np.arange(len(weights)))), shape=(count, len(weights)))
    sums, variance = np.zeros((count, len(theta))), np.zeros(len(weights))
    for part, block in blocks(theta):
        known = weights[part] > 0.0
        sums += here[:, part][:, known] @ block[known]
        if method == "weighted_difference":
            variance[part] = block.var(axis=1, ddof=1)
    aggregate = cells.members @ sums
    noise = targets.errors[:, None] * rng.standard_normal(aggregate.shape)
    wanted = aim.totals[:, None] + aim.matrix @ (noise * aim.unit[:, None])
    if method in FACTORS:
        check_positive(cells, sums, wanted, targets.names)
        factor = factors(cells, sums, wanted, targets.names)
        adjustment = wanted / aggregate
        adjusted = _moved(theta, lambda part, block: block * factor[cells.cell[part]])
    else:
        gain = gains(weights, variance, cells, method, targets.names)
        shift = shifts(cells, sums, cells.sums(np.where(weights > 0.0, weights * gain, 0.0)), wanted, targets.names)
        adjustment = (wanted - aggregate) / aim.unit[:, None]
        adjusted = _moved(theta, lambda part, block: block + gain[part, None] * shift[cells.cell[part]])
    aggregate, wanted = aggregate / aim.unit[:, None], wanted / aim.unit[:, None]
    return Benchmarked(
        adjusted,
        aggregate.mean(axis=1),
        aggregate.std(axis=1, ddof=1),
        wanted.mean(axis=1),
        wanted.std(axis=1, ddof=1),
        adjustment.mean(axis=1),
        adjustment.std(axis=1, ddof=1),
        counts(cells),
    )


def aim_of(
    known: NDArray[np.bool_],
    areas: Sequence[str],
    group: NDArray[np.int64],
    weights: Vector,
    targets: Targets,
    method: Method,
) -> Aim:
    """Check weights and targets, and bring these to weighted sums that do not contradict each other.

    Parameters
    ----------
    known : ndarray of bool, shape (N,)
        Which areas have an estimate.
    areas, group, weights, targets, method
        As for `benchmark`; ``group`` of shape (M, N).

    Returns
    -------
    Aim
        The targets.

    Raises
    ------
    TableProblem, ModelProblem
        As `benchmark`.
    """
    if method == "ratio" and len(group) > 1:
        raise ModelProblem(
            f"The method 'ratio' meets one set of groups, and there are {len(group)}. Use the method 'raking'."
        )
    _check_weights(known, areas, weights)
    cells = cells_of(group, weights, len(targets.groups))
    total = cells.members @ cells.weight
    empty = [targets.names[g] for g in np.flatnonzero(total <= 0.0).tolist()]
    if empty:
        raise TableProblem(
            f"There is a target but no area with a positive weight in the groups {named(empty)}. Compare the names of "
            "the groups with those of the areas."
        )
    unit = total if targets.kind == "mean" else np.ones(len(total))
    margins = targets.margins or ("",) * len(total)
    totals, matrix = reconciled(cells, unit * targets.values, unit * targets.errors, targets.names, margins)
    return Aim(cells, unit, totals, matrix)


def gains(weights: Vector, variance: Vector, cells: Cells, method: Method, names: Sequence[str]) -> Vector:
    """Return by how much each area moves with a shift of one; shape (N,).

    Parameters
    ----------
    weights, variance : ndarray, shape (N,)
        Of the areas.
    cells : Cells
        Areas by their groups.
    method : {'difference', 'weighted_difference'}
        Alike, or in proportion to weight and variance.
    names : sequence of str, length G
        Names of the groups, for messages.

    Raises
    ------
    ModelProblem
        If no area of a group can give way.
    """
    if method == "difference":
        return np.ones(len(weights))
    used = np.where(weights > 0.0, weights * variance, 0.0)
    fixed = np.flatnonzero(cells.members @ cells.sums(weights * used) <= 0.0).tolist()
    if fixed:
        raise ModelProblem(
            f"The draws of all areas of the groups {named([names[g] for g in fixed])} are constant, or their standard "
            "errors zero, so no area can give way. Use another method of benchmarking."
        )
    return used


def counts(cells: Cells) -> NDArray[np.int64]:
    """Return how many areas each group has, shape (G,)."""
    return (cells.members @ cells.sums(np.ones(len(cells.cell)))).astype(np.int64)


def check_positive(cells: Cells, sums: Vector, wanted: Vector, names: Sequence[str]) -> None:
    """Raise if a factor would have to be made of sums or targets that are not above zero.

    Raises
    ------
    ModelProblem
        Naming the groups.
    """
    bad = (wanted <= 0.0).any(axis=1) | (cells.members @ sums <= 0.0).any(axis=1)
    if len(cells.group) > 1:
        # Groups of several margins meet in cells, each of which has a factor of its own.
        low = (sums <= 0.0).any(axis=1) & (cells.weight > 0.0)
        bad |= cells.members @ low.astype(np.float64) > 0.0
    if bad.any():
        raise ModelProblem(
            "Factors need aggregates and targets above zero in every draw; it is not so in the groups "
            f"{named([names[g] for g in np.flatnonzero(bad).tolist()])}. Use the method 'difference' or "
            "'weighted_difference'."
        )


def _moved(theta: Vector, move: Callable[[slice, Vector], Vector]) -> Vector:
    """Return the draws after a function of a block of areas and its draws."""
    moved = np.empty_like(theta, dtype=np.float64)
    for part, block in blocks(theta):
        moved[:, part] = move(part, block).T
    return moved


def _check_weights(known: NDArray[np.bool_], areas: Sequence[str], weights: Vector) -> None:
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0))).tolist()
    if len(bad):
        raise TableProblem(
            f"{len(bad)} areas have a missing or negative weight: {named([areas[i] for i in bad])}. Benchmarking needs "
            "a weight of zero or more for each area."
        )
    gone = np.flatnonzero(~known & (weights > 0.0)).tolist()
    if len(gone):
        raise ModelProblem(
            f"{len(gone)} areas have no estimate but count for the totals: {named([areas[i] for i in gone])}. Give "
            "them a weight of zero and leave them out of the targets, or give them their covariates."
        )
