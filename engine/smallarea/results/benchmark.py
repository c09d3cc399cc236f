"""Benchmarking: draws that add up to totals which are known better than the model knows them.

Every draw is adjusted, so that intervals, ranks and exceedance probabilities follow. With weights ``w`` an aggregate is
``A = sum_i w_i theta_i`` over the areas of a group (a mean if the weights are scaled to sum to one) and ``t`` its
target. The adjusted quantities are

- ``ratio``: ``theta_i t / A``. With several groups this is raking to their totals. It minimises
  ``sum_i w_i (e_i log(e_i / theta_i) - e_i + theta_i)``, a loss of Kullback-Leibler type as Ghosh, Kubokawa and
  Kawakubo (2015) use for positive quantities.
- ``difference``: ``theta_i + (t - A) / sum_j w_j``, the same shift for all areas of a group.
- ``weighted_difference``: ``theta_i + (t - A) w_i V_i / sum_j w_j^2 V_j`` with V_i the posterior variance. It minimises
  ``sum_i (e_i - theta_i)^2 / V_i`` (Datta et al. 2011, with their phi_i = 1 / V_i). Areas that the survey
  knows well have a small V_i and hardly move, which keeps their estimates design consistent (Bell, Datta and Ghosh
  2013); the first two methods move them as much as the others.

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
from smallarea.results.draws import blocks, estimated

Vector = NDArray[np.float64]
Method = Literal["ratio", "difference", "weighted_difference"]


@dataclass(frozen=True)
class Targets:
    """What groups of areas have to add up to.

    Attributes
    ----------
    groups : tuple of str, length G
        Their names.
    values, errors : ndarray, shape (G,)
        Targets and their standard errors, zero where a target is exact.
    kind : {'mean', 'total'}
        Whether targets are weighted means or weighted sums of the areas' quantities.
    """

    groups: tuple[str, ...]
    values: Vector
    errors: Vector
    kind: Literal["mean", "total"] = "mean"


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
    group : ndarray of int, shape (N,)
        Position of each area's group among those of the targets.
    weights : ndarray, shape (N,)
        Of the areas in their group's aggregate, not negative.
    targets : Targets
        What the groups have to add up to. A target with a standard error is drawn anew for every draw, from a normal
        distribution, independently of the model.
    method : {'ratio', 'difference', 'weighted_difference'}
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
        If an area with a weight has no estimate, or a ratio is to be made of an aggregate that is not positive.
    """
    share = _shares(theta, areas, group, weights, targets)
    here = sparse.csr_array((share, (group, np.arange(len(group)))), shape=(len(targets.groups), len(group)))
    aggregate, leverage = np.zeros((len(targets.groups), len(theta))), np.zeros(len(group))
    for part, block in blocks(theta):
        known = share[part] > 0.0
        aggregate += here[:, part][:, known] @ block[known]
        leverage[part] = share[part] * (block.var(axis=1, ddof=1) if method == "weighted_difference" else 1.0)
    wanted = targets.values[:, None] + targets.errors[:, None] * rng.standard_normal(aggregate.shape)
    if method == "ratio":
        _check_positive(aggregate, wanted, targets.groups)
        adjustment = wanted / aggregate
        adjusted = _moved(theta, lambda part, block: block * adjustment[group[part]])
    else:
        adjustment = wanted - aggregate
        gain = _gains(share, leverage, group, targets, method)
        adjusted = _moved(theta, lambda part, block: block + gain[part, None] * adjustment[group[part]])
    return Benchmarked(
        adjusted,
        aggregate.mean(axis=1),
        aggregate.std(axis=1, ddof=1),
        wanted.mean(axis=1),
        wanted.std(axis=1, ddof=1),
        adjustment.mean(axis=1),
        adjustment.std(axis=1, ddof=1),
        np.bincount(group, minlength=len(targets.groups)),
    )


def _moved(theta: Vector, move: Callable[[slice, Vector], Vector]) -> Vector:
    """Return the draws after a function of a block of areas and its draws."""
    moved = np.empty_like(theta, dtype=np.float64)
    for part, block in blocks(theta):
        moved[:, part] = move(part, block).T
    return moved


def _gains(share: Vector, leverage: Vector, group: NDArray[np.int64], targets: Targets, method: Method) -> Vector:
    """How much of the gap of its group each area takes, so that ``sum_i w_i gain_i = 1``."""
    if method == "difference":
        return 1.0 / np.bincount(group, weights=share, minlength=len(targets.groups))[group]
    total = np.bincount(group, weights=share * np.where(share > 0.0, leverage, 0.0), minlength=len(targets.groups))
    fixed = [targets.groups[g] for g in np.flatnonzero(total <= 0.0).tolist()]
    if fixed:
        raise ModelProblem(
            f"The draws of all areas of the groups {named(fixed)} are constant, so no area can give way. Use another "
            "method of benchmarking."
        )
    return leverage / total[group]


def _shares(theta: Vector, areas: Sequence[str], group: NDArray[np.int64], weights: Vector, targets: Targets) -> Vector:
    """Return the weights in the aggregates, after checks."""
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0.0))).tolist()
    if len(bad):
        raise TableProblem(
            f"{len(bad)} areas have a missing or negative weight: {named([areas[i] for i in bad])}. Benchmarking needs "
            "a weight of zero or more for each area."
        )
    gone = np.flatnonzero(~estimated(theta) & (weights > 0.0)).tolist()
    if len(gone):
        raise ModelProblem(
            f"{len(gone)} areas have no estimate but count for the totals: {named([areas[i] for i in gone])}. Give "
            "them a weight of zero and leave them out of the targets, or give them their covariates."
        )
    total = np.bincount(group, weights=weights, minlength=len(targets.groups))
    empty = [targets.groups[g] for g in np.flatnonzero(total <= 0.0).tolist()]
    if empty:
        raise TableProblem(
            f"There is a target but no area with a positive weight in the groups {named(empty)}. Compare the names of "
            "the groups with those of the areas."
        )
    return weights / total[group] if targets.kind == "mean" else np.asarray(weights, dtype=np.float64)


def _check_positive(aggregate: Vector, wanted: Vector, groups: Sequence[str]) -> None:
    bad = [groups[g] for g in np.flatnonzero((aggregate <= 0.0).any(axis=1) | (wanted <= 0.0).any(axis=1)).tolist()]
    if bad:
        raise ModelProblem(
            f"A ratio needs aggregates and targets above zero in every draw; it is not so in the groups {named(bad)}. "
            "Use the method 'difference' or 'weighted_difference'."
        )
