"""The scale on which a column is modelled, and the way back.

On its working scale a column is close to a standard normal one: numbers are standardised (linear), brought there by
their own ranks (quantiles: skewed and bounded columns), or are categories cut out of a normal variable (thresholds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Vector = NDArray[np.float64]

# A value that so large a share of the answers have is one on its own, as an income of zero.
_ATOM = 0.01


class Margin(Protocol):
    """One column between its own scale and the working scale."""

    def encode(self, values: Vector) -> Vector:
        """Return working values, shape (n,); NaN where the input is."""

    def decode(self, working: Vector) -> Vector:
        """Return values on the scale of the table, shape (n,)."""


@dataclass(frozen=True)
class Linear:
    """Centred and divided by the standard deviation; whole numbers come back as whole numbers."""

    centre: float
    spread: float
    whole: bool

    def encode(self, values: Vector) -> Vector:
        """See `Margin`."""
        return (values - self.centre) / self.spread

    def decode(self, working: Vector) -> Vector:
        """See `Margin`."""
        values = working * self.spread + self.centre
        return np.round(values) if self.whole else values


@dataclass(frozen=True)
class Quantiles:
    """Normal scores of the empirical distribution, between knots linear in the score.

    What is decoded lies between the smallest and the largest answer, or between the bounds where they are given.

    Attributes
    ----------
    scores, values : ndarray, shape (k,)
        Knots, scores not decreasing. An atom (a value of at least 1 % of the answers) has two, so that it is drawn
        as often as it is observed.
    whole : bool
        Whether answers are whole numbers.
    """

    scores: Vector
    values: Vector
    whole: bool

    def encode(self, values: Vector) -> Vector:
        """See `Margin`: an atom gets the mean of a standard normal variable between its scores."""
        knots, first = np.unique(self.values, return_index=True)
        last = len(self.values) - 1 - np.unique(self.values[::-1], return_index=True)[1]
        low, high = self.scores[first], self.scores[last]
        share = ndtr(high) - ndtr(low)
        mean = np.divide(_density(low) - _density(high), share, out=low.copy(), where=share > 0.0)
        return np.where(np.isnan(values), np.nan, np.interp(values, knots, mean))

    def decode(self, working: Vector) -> Vector:
        """See `Margin`."""
        values = np.interp(working, self.scores, self.values)
        return np.round(values) if self.whole else values


@dataclass(frozen=True)
class Thresholds:
    """Categories 0 to K - 1 as intervals of a normal variable.

    Attributes
    ----------
    cuts : ndarray, shape (K - 1,)
        Ends of the intervals, increasing.
    scores : ndarray, shape (K,)
        Mean of a standard normal variable in each interval: the working value of the category.
    """

    cuts: Vector
    scores: Vector

    @property
    def binary(self) -> bool:
        """Whether there are two categories, so that the scale of the normal variable is free."""
        return len(self.cuts) == 1

    def encode(self, values: Vector) -> Vector:
        """See `Margin`: `values` are category numbers."""
        known = ~np.isnan(values)
        working = np.full(len(values), np.nan)
        working[known] = self.scores[values[known].astype(int)]
        return working

    def decode(self, working: Vector) -> Vector:
        """See `Margin`: category numbers."""
        return np.where(np.isnan(working), np.nan, np.searchsorted(self.cuts, working, side="left"))

    def interval(self, working: Vector) -> tuple[Vector, Vector]:
        """Return the ends of the intervals in which working values lie, infinite where the value is NaN."""
        ends = np.concatenate([[-np.inf], self.cuts, [np.inf]])
        known = ~np.isnan(working)
        place = np.searchsorted(self.cuts, np.where(known, working, 0.0), side="left")
        return np.where(known, ends[place], -np.inf), np.where(known, ends[place + 1], np.inf)


def linear_margin(values: Vector) -> Linear:
    """Fit a linear margin to observed values (no NaN)."""
    return Linear(float(values.mean()), float(values.std()), bool(np.all(values == np.round(values))))


def quantile_margin(values: Vector, lower: float | None, upper: float | None) -> Quantiles:
    """Fit normal scores to observed values (no NaN).

    The distribution function is the mid-rank one, ``(F(v-) + F(v)) / 2``. The outermost knots are the bounds, where
    they are given, half a rank further out.
    """
    distinct, counts = np.unique(values, return_counts=True)
    above = np.cumsum(counts)
    n = float(len(values))
    atom = counts >= max(_ATOM * n, 2.0)
    knots = [(distinct, (above - 0.5 * counts) / n)]
    half = 0.5 / n
    if atom.any():
        below = (above - counts)[atom] / n
        knots = [
            (distinct[~atom], (above - 0.5 * counts)[~atom] / n),
            (distinct[atom], np.maximum(below, half * 0.5)),
            (distinct[atom], np.minimum(above[atom] / n, 1.0 - half * 0.5)),
        ]
    ends = [
        (np.array([bound]), np.array([share]))
        for bound, share in ((lower, half / 4), (upper, 1.0 - half / 4))
        if bound is not None
    ]
    v, u = (np.concatenate([pair[k] for pair in [*knots, *ends]]) for k in (0, 1))
    order = np.lexsort((u, v))
    v, u = v[order], np.maximum.accumulate(u[order])
    return Quantiles(ndtri(u), v, bool(np.all(values == np.round(values))))


def threshold_margin(counts: Sequence[float] | NDArray) -> Thresholds:
    """Cut a standard normal variable so that its intervals have the shares of the categories.

    Parameters
    ----------
    counts : sequence of float, length K
        Observed answers of each category; one without any is never drawn.
    """
    shares = np.asarray(counts, dtype=float) / np.sum(counts)
    cuts = ndtri(np.cumsum(shares)[:-1])
    edges = np.concatenate([[0.0], _density(cuts), [0.0]])
    scores = np.divide(edges[:-1] - edges[1:], shares, out=np.zeros(len(shares)), where=shares > 0.0)
    return Thresholds(cuts, scores)


def _density(scores: Vector) -> Vector:
    return np.exp(-0.5 * scores**2) / np.sqrt(2.0 * np.pi)
