"""Benchmarking of estimates without draws: adjusted estimates, and how far they are from the truth.

Let ``y_i = theta_i + e_i`` be the estimates, with errors that are independent between areas and have mean squares V_i,
and ``t = t_0 + u`` the targets, with ``t_0`` the true aggregates and u independent of e with covariance S. A
benchmarked estimate is a function ``g(y, t)`` which gives back the truth where there are no errors:
``g(theta, t_0) = theta``. To first order its error is therefore ``J e + K u`` with J and K the derivatives of g, and
its mean squared error

    MSE_i = sum_j J_ij^2 V_j + (K S K')_ii .

Its square root is the standard error that is given, and the interval is the normal one around the benchmarked
estimate. Nothing is held fixed: that the aggregate is itself an estimate is in J, that the target has an error is in K.
It is exact for the differences, whose g is linear. The common practice of multiplying the standard error by the factor
takes the factor for known, and is too wide with a good target and too narrow with a poor one.

With ``p_i`` by how much an area moves, D the indicators of its groups, and ``M = sum_i w_i p_i D_i D_i'``:

- differences: ``p_i`` = 1, or ``w_i V_i``; ``J_ij = 1(i = j) - p_i D_i' M^- D_j w_j`` and ``K_i = p_i D_i' M^-``;
- factors ``f_i`` (ratio, raking): ``p_i = f_i y_i``, the benchmarked estimate, and the same with ``f_j`` after each
  term of J, by implicit differentiation of the equations ``sum_i w_i f_i y_i D_i = t``.

Errors of model estimates are not independent: those of the coefficients are common to all areas. An error that is the
same for all areas (differences), or in proportion to them (factors), goes out with the gap to an exact target, since
then ``J e = 0``; the standard errors are on the safe side to that extent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import VarianceProblem, named
from smallarea.results.benchmark import FACTORS, Aim, Method, Targets, aim_of, check_positive, counts, gains
from smallarea.results.benchmark_system import factors, inverse, shifts

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class BenchmarkedPoints:
    """Estimates that meet their targets.

    Attributes
    ----------
    estimate, se : ndarray, shape (N,)
        Benchmarked estimates and the square roots of their mean squared errors, NaN without variances.
    before, before_se : ndarray, shape (G,)
        Aggregates of the estimates and their standard errors, in the units of the targets.
    after, after_se : ndarray, shape (G,)
        The same of the benchmarked estimates: the targets, brought together if there are several margins.
    adjustment, adjustment_se : ndarray, shape (G,)
        ``t / A`` (factors) or ``t - A`` of each group, and its standard error to first order.
    n_areas : ndarray of int, shape (G,)
        Areas of each group.
    """

    estimate: Vector
    se: Vector
    before: Vector
    before_se: Vector
    after: Vector
    after_se: Vector
    adjustment: Vector
    adjustment_se: Vector
    n_areas: NDArray[np.int64]


def benchmark_points(
    estimates: Vector,
    variances: Vector | None,
    areas: Sequence[str],
    group: NDArray[np.int64],
    weights: Vector,
    targets: Targets,
    method: Method,
) -> BenchmarkedPoints:
    """Adjust estimates to targets.

    Parameters
    ----------
    estimates : ndarray, shape (N,)
        Of one response; NaN for areas without an estimate.
    variances : ndarray, shape (N,), or None
        Mean squared errors of the estimates.
    areas : sequence of str, length N
        Area ids, for messages.
    group : ndarray of int, shape (N,) or (M, N)
        Position of each area's group among those of the targets, for each margin.
    weights : ndarray, shape (N,)
        Of the areas in their groups' aggregates, not negative.
    targets : Targets
        What the groups have to add up to.
    method : {'ratio', 'difference', 'weighted_difference', 'raking'}
        How; the last but one needs variances.

    Returns
    -------
    BenchmarkedPoints
        Adjusted estimates.

    Raises
    ------
    VarianceProblem
        If a variance is missing or negative, or there are none and the method needs them.
    TableProblem, ModelProblem
        As :func:`smallarea.results.benchmark.benchmark`.
    """
    known = np.isfinite(estimates)
    aim = aim_of(known, areas, np.atleast_2d(group), weights, targets, method)
    _check_variances(variances, known, areas, method)
    cells, names = aim.cells, targets.names
    used = weights > 0.0
    sums = cells.sums(np.where(used, weights * np.where(known, estimates, 0.0), 0.0))[:, None]
    wanted = aim.totals[:, None]
    spread = np.zeros(len(estimates)) if variances is None else np.where(known, variances, 0.0)
    scale = np.ones(len(estimates))
    if method in FACTORS:
        check_positive(cells, sums, wanted, names)
        scale = factors(cells, sums, wanted, names)[cells.cell, 0]
        adjusted = estimates * scale
        move = adjusted
    else:
        move = gains(weights, spread, cells, method, names)
        shift = shifts(cells, sums, cells.sums(weights * move), wanted, names)
        adjusted = estimates + move * shift[cells.cell, 0]
    mse = _mean_squares(aim, targets, weights, np.where(known, move, 0.0), scale, spread)
    unit = aim.unit
    before = (cells.members @ sums)[:, 0] / unit
    before_se = np.sqrt(cells.members @ cells.sums(weights**2 * spread)) / unit
    after, covariance = aim.totals / unit, _covariance(aim, targets)
    after_se = np.sqrt(np.diag(covariance)) / unit
    if method in FACTORS:
        adjustment = after / before
        adjustment_se = np.hypot(after_se, adjustment * before_se) / before
    else:
        adjustment, adjustment_se = after - before, np.hypot(before_se, after_se)
    absent = np.nan if variances is None else 1.0
    return BenchmarkedPoints(
        adjusted,
        np.where(known, np.sqrt(mse), np.nan) * absent,
        before,
        before_se * absent,
        after,
        after_se,
        adjustment,
        adjustment_se * absent,
        counts(cells),
    )


def _mean_squares(
    aim: Aim, targets: Targets, weights: Vector, move: Vector, scale: Vector, variances: Vector
) -> Vector:
    """Return the mean squared errors; areas meet through their cells, so nothing of size N x N is made."""
    cells = aim.cells
    solved = inverse(cells.matrix(cells.sums(np.where(weights > 0.0, weights * move, 0.0))))
    between = cells.members.T @ (cells.members.T @ solved).T
    place = cells.cell
    common = (between**2 @ cells.sums((weights * scale) ** 2 * variances))[place]
    own = np.diag(between)[place]
    loading = cells.members.T @ solved
    target = np.einsum("cg,gh,ch->c", loading, _covariance(aim, targets), loading)[place]
    kept = scale**2 * variances * (1.0 - 2.0 * move * own * weights)
    return np.maximum(kept + move**2 * (common + target), 0.0)


def _covariance(aim: Aim, targets: Targets) -> Vector:
    """Covariance of the targets as weighted sums, shape (G, G)."""
    given = (aim.unit * targets.errors) ** 2
    return (aim.matrix * given[None, :]) @ aim.matrix.T


def _check_variances(variances: Vector | None, known: NDArray[np.bool_], areas: Sequence[str], method: Method) -> None:
    if variances is None:
        if method == "weighted_difference":
            raise VarianceProblem(
                "The method 'weighted_difference' moves areas in proportion to their mean squared errors: name the "
                "field with standard errors or variances, or use another method."
            )
        return
    bad = np.flatnonzero(known & ~(variances >= 0.0)).tolist()
    if bad:
        raise VarianceProblem(
            f"{len(bad)} areas have an estimate but no standard error of zero or more: "
            f"{named([areas[i] for i in bad])}. Give each its standard error, or "
            "leave the field out; there are then no intervals."
        )
