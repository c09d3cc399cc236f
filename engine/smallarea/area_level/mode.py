"""The mode of a log density of few coordinates and the curvature there, from batches of evaluations."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]
# Evaluates the log target at each row of an (m, d) array; may use several threads.
BatchTarget = Callable[[Vector], Vector]

MOST_STEPS = 80
DIFFERENCE = 1e-3
GRADIENT_TOLERANCE = 1e-8
SMALLEST_GAIN = 1e-10
LONGEST_STEP = 1.5
# A climb stays this near to the prior's centre: beyond it a parameter has all but rounded to the end of its range, and
# a search that starts with the others far off would run there and not come back. A likelihood without a prior may go
# further.
REACH, FLAT_REACH = 4.5, 8.0
LINE_SEARCH = np.array([2.0, 1.0, 0.6, 0.35, 0.2, 0.1, 0.04, 0.01])


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
    ends = [
        _climb(evaluate, starts[at], float(heights[at]), FLAT_REACH if flat else REACH)
        for at in ranked[: 4 if flat else 1].tolist()
    ]
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


def _climb(evaluate: BatchTarget, start: Vector, height: float, reach: float) -> tuple[Vector, float]:
    """Quasi-Newton ascent (BFGS) whose line searches evaluate all steps at once.

    A step into a region where the target is zero (its logarithm minus infinity) is just a bad step, which the line
    searches of library routines do not survive.
    """
    d = len(start)
    x, slope, curvature = start, *_slopes(evaluate, start, height)
    inverse, fresh = np.diag(1.0 / np.maximum(curvature, 1.0)), True
    for _ in range(MOST_STEPS):
        direction = inverse @ slope
        if slope @ direction < GRADIENT_TOLERANCE:  # twice what a full step would gain
            break
        direction *= min(1.0, LONGEST_STEP / float(np.max(np.abs(direction))))
        ahead = np.clip(x + LINE_SEARCH[:, None] * direction, -reach, reach)
        heights = evaluate(ahead)
        best = int(np.argmax(np.where(np.isfinite(heights), heights, -np.inf)))
        if not heights[best] > height:
            if fresh:
                break
            inverse, fresh = np.diag(1.0 / np.maximum(curvature, 1.0)), True
            continue
        moved, fresh = ahead[best] - x, False
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
        with np.errstate(invalid="ignore"):  # beside a boundary several may be minus infinity
            second = (block[0] - block[1] - block[2] + block[3]) / (4.0 * h * h)
        hessian[i, j] = hessian[j, i] = second if math.isfinite(second) else -float(i == j)
    eigenvalues, vectors = np.linalg.eigh(-hessian)
    variances = np.clip(1.0 / np.maximum(eigenvalues, least), 1e-6, None)
    return (vectors * variances) @ vectors.T
