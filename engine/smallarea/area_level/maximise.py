"""The highest point of a smooth log likelihood of a few hyperparameters: coarse scan, then Newton steps in a box.

Spatial likelihoods can have several maxima in rho and maxima at the bounds, where scoring from one start fails. Here
every local maximum on a coarse grid is a start, and derivatives come from symmetric differences of fourth order, whose
error (below 1e-8 of a log likelihood) is far less than what the data say about any parameter.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

Vector = NDArray[np.float64]
Criterion = Callable[[Vector], float]

STARTS = 4
# Hyperparameters are on log and inverse hyperbolic tangent scales, where likelihoods change over about 1.
DIFFERENCE = 2e-3
LONGEST_STEP = 1.0
MOST_STEPS = 80
# Gain that a Newton step predicts below which rounding of the criterion hides whether it rose.
NOISE = 1e-8
SMALLEST_STEP = 1e-9
# Steps on trust after that: Newton's method squares the error, so what a third one would mend is rounding.
FINAL_STEPS = 3


@dataclass(frozen=True)
class Maximum:
    """A local maximum.

    Attributes
    ----------
    point : ndarray, shape (k,)
        Where.
    value : float
        How high.
    at_bound : ndarray of bool, shape (k,)
        Which coordinates are held by their bounds.
    """

    point: Vector
    value: float
    at_bound: NDArray[np.bool_]


def maximise(criterion: Criterion, axes: Sequence[Vector], lower: Vector, upper: Vector) -> list[Maximum]:
    """Find the local maxima of a criterion, the highest first.

    Parameters
    ----------
    criterion : callable
        Takes a point, shape (k,), within the box or very near it.
    axes : sequence of k ndarrays
        Values of each coordinate on the grid of the scan.
    lower, upper : ndarray, shape (k,)
        The box.

    Returns
    -------
    list of Maximum
        What the highest local maxima of the grid lead to.
    """
    shape = tuple(len(axis) for axis in axes)
    values = np.array([criterion(np.array(point)) for point in itertools.product(*axes)]).reshape(shape)
    peaks = np.argwhere(values >= maximum_filter(values, size=3, mode="nearest")).tolist()
    found = [
        climb(criterion, np.array([axis[i] for axis, i in zip(axes, peak, strict=True)]), lower, upper)
        for peak in sorted(peaks, key=lambda at: -values[tuple(at)])[:STARTS]
    ]
    return sorted(found, key=lambda maximum: -maximum.value)


def climb(criterion: Criterion, start: Vector, lower: Vector, upper: Vector) -> Maximum:
    """Climb from a start by damped Newton steps that stay in the box.

    Parameters
    ----------
    criterion : callable
        Takes a point, shape (k,), within the box or very near it.
    start, lower, upper : ndarray, shape (k,)
        Start and box.

    Returns
    -------
    Maximum
        Where no step gains anything.
    """
    point, value = np.clip(start, lower, upper), criterion(np.clip(start, lower, upper))
    held = np.zeros(len(point), dtype=bool)
    final_steps = 0
    for _ in range(MOST_STEPS):
        gradient, hessian = derivatives(criterion, point, value)
        held = ((point <= lower) & (gradient <= 0.0)) | ((point >= upper) & (gradient >= 0.0))
        if held.all():
            break
        step = _newton_step(gradient, hessian, ~held)
        gain = 0.5 * float(gradient @ step)
        if gain < NOISE:
            step *= min(1.0, LONGEST_STEP / np.abs(step).max(initial=LONGEST_STEP))
            point = np.clip(point + step, lower, upper)
            value = criterion(point)
            final_steps += 1
            if np.abs(step).max() < SMALLEST_STEP or final_steps == FINAL_STEPS:
                break
            continue
        step *= min(1.0, LONGEST_STEP / np.abs(step).max())
        better = _rise(criterion, point, value, step, lower, upper)
        if better is None:
            break
        point, value = better
    return Maximum(point, value, held)


def derivatives(criterion: Criterion, point: Vector, value: float) -> tuple[Vector, Vector]:
    """Gradient and Hessian by symmetric differences, of fourth order but for the mixed second derivatives.

    Parameters
    ----------
    criterion : callable
        Takes a point, shape (k,).
    point : ndarray, shape (k,)
        Where.
    value : float
        The criterion there.

    Returns
    -------
    gradient : ndarray, shape (k,)
        First derivatives.
    hessian : ndarray, shape (k, k)
        Second derivatives.
    """
    k, h = len(point), DIFFERENCE
    gradient, hessian = np.empty(k), np.empty((k, k))
    for i in range(k):
        unit = np.zeros(k)
        unit[i] = h
        down2, down, up, up2 = (criterion(point + s * unit) for s in (-2.0, -1.0, 1.0, 2.0))
        gradient[i] = (8.0 * (up - down) - (up2 - down2)) / (12.0 * h)
        hessian[i, i] = (16.0 * (up + down) - (up2 + down2) - 30.0 * value) / (12.0 * h**2)
        for j in range(i):
            other = np.zeros(k)
            other[j] = h
            same = criterion(point + unit + other) + criterion(point - unit - other)
            opposite = criterion(point + unit - other) + criterion(point - unit + other)
            hessian[i, j] = hessian[j, i] = (same - opposite) / (4.0 * h**2)
    return gradient, hessian


def _newton_step(gradient: Vector, hessian: Vector, free: NDArray[np.bool_]) -> Vector:
    """Newton step in the free coordinates, turned uphill where the surface is not concave."""
    values, vectors = np.linalg.eigh(hessian[np.ix_(free, free)])
    curvature = np.maximum(np.abs(values), 1e-6 * max(1.0, float(np.abs(values).max())))
    step = np.zeros(len(gradient))
    step[free] = vectors @ ((vectors.T @ gradient[free]) / curvature)
    return step


def _rise(
    criterion: Criterion, point: Vector, value: float, step: Vector, lower: Vector, upper: Vector
) -> tuple[Vector, float] | None:
    """Return the first point along a halved step that is higher, None if there is none."""
    for _ in range(30):
        candidate = np.clip(point + step, lower, upper)
        height = criterion(candidate)
        if height > value:
            return candidate, height
        step = 0.5 * step
    return None
