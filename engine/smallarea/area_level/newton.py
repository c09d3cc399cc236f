"""Maximum of a smooth function of a few coordinates, by Newton's method that saddle points do not hold.

The Hessian's eigenvalues enter by their size (Dauphin et al. 2014), so that a step climbs whatever the curvature; a
stationary point from which some direction still rises is left along it. Both matter for covariance matrices written
as F F': every boundary is stationary there, whether or not it is the maximum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem

Vector = NDArray[np.float64]
Evaluation = tuple[float, Vector, Vector]
Objective = Callable[[Vector], Evaluation]

ITERATIONS = 500
# Expected rise of one more step. Below LAST values are equal to rounding and steps are taken unseen.
ENOUGH, LAST = 1e-22, 1e-8
# Curvatures below this share of the largest are flat directions, such as rotations of F.
FLAT = 1e-9


@dataclass(frozen=True)
class Maximum:
    """A local maximum.

    Attributes
    ----------
    coordinates : ndarray
        Where it is.
    value : float
        How high.
    """

    coordinates: Vector
    value: float


def maximise(objective: Objective, start: Vector) -> Maximum:
    """Climb from a start to a local maximum.

    Parameters
    ----------
    objective : callable
        Returns value, gradient and Hessian.
    start : ndarray, shape (n,)
        Where to begin.

    Returns
    -------
    Maximum
        A point where the gradient vanishes to rounding and no direction rises.

    Raises
    ------
    ModelProblem
        If no maximum is found in a few hundred steps.
    """
    at, seen = start, objective(start)
    reached = np.inf
    for _ in range(ITERATIONS):
        value, gradient, hessian = seen
        size, axes = np.linalg.eigh(hessian)
        floor = FLAT * float(np.abs(size).max()) + 1e-300
        along = axes.T @ gradient
        # What is flat to rounding has no gradient but noise, which must not be divided by its curvature.
        step = axes @ np.where(np.abs(size) > floor, along / np.maximum(np.abs(size), floor), 0.0)
        rise = float(step @ gradient)
        if rise >= LAST:
            at, seen = _search(objective, at, value, step, rise)
            reached = np.inf
        elif rise >= ENOUGH and rise < 0.5 * reached:
            at, reached = at + step, rise
            seen = objective(at)
        else:
            away = _leave(objective, at, value, axes[:, -1]) if size[-1] > floor else None
            if away is None:
                return Maximum(at, value)
            (at, seen), reached = away, np.inf
    raise ModelProblem(
        f"The likelihood of the covariance matrix between responses was not maximised in {ITERATIONS} steps. Use fewer "
        "responses or covariates, or a structure with fewer parameters."
    )


def _search(objective: Objective, at: Vector, value: float, step: Vector, rise: float) -> tuple[Vector, Evaluation]:
    """Shorten a step until the function rises by a share of what the slope promises."""
    longest = min(1.0, (1.0 + float(np.linalg.norm(at))) / float(np.linalg.norm(step)))
    share = longest
    for _ in range(60):
        seen = objective(at + share * step)
        if seen[0] >= value + 1e-4 * share * rise:
            return at + share * step, seen
        share *= 0.5
    # The slope is known better than differences of values, which rounding has made equal here.
    return at + longest * step, objective(at + longest * step)


def _leave(objective: Objective, at: Vector, value: float, direction: Vector) -> tuple[Vector, Evaluation] | None:
    """Step off a stationary point along a direction in which the function rises; None if it does not, to rounding."""
    share = 0.1 * (1.0 + float(np.linalg.norm(at)))
    for _ in range(40):
        seen = objective(at + share * direction)
        if seen[0] > value:
            return at + share * direction, seen
        share *= 0.5
    return None
