"""How surveys move the places of clusters, and a few candidates for the true place given the published one.

DHS moves a cluster in a uniform direction by a distance that is uniform on [0, reach]; the reach is 2 km for urban and
5 km for rural clusters, and 10 km for one rural cluster in a hundred (Burgert, Colston, Roy and Zachary 2013). The move
has a density that depends on the distance alone. If a cluster is as likely to be in one place of the neighbourhood as
in another, its true place given the published one has that same density around the published place,

    density(s) = 1 / (2 pi reach |s - published|) ,  |s - published| <= reach ,

and with the density of people as another factor if clusters are where people are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem

Vector = NDArray[np.float64]

# Successive points of a spiral are this part of a turn apart, which spreads any number of them evenly.
_GOLDEN_TURN = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True)
class Displacement:
    """Distribution of the distance by which a cluster was moved; the direction is uniform.

    Attributes
    ----------
    reach : float
        Distances are uniform on [0, reach].
    far_share : float
        But of this share of the clusters they are uniform on [0, far_reach].
    far_reach : float
        In the same unit, not less than ``reach``.

    Raises
    ------
    JobProblem
        If a distance is not positive, the far ones are shorter, or the share is no share.
    """

    reach: float
    far_share: float = 0.0
    far_reach: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if not 0.0 < self.reach < np.inf:
            raise JobProblem(f"A displacement needs a positive distance, not {self.reach}.")
        if not 0.0 <= self.far_share <= 1.0:
            raise JobProblem(f"The share of far displacements lies between 0 and 1, not {self.far_share}.")
        if self.far_share > 0.0 and not self.reach <= self.far_reach < np.inf:
            raise JobProblem(
                f"Far displacements reach at least as far as the others ({self.reach:g}), not {self.far_reach:g}."
            )

    def distances(self, probability: Vector) -> Vector:
        """Return quantiles of the distance.

        Parameters
        ----------
        probability : ndarray
            Between 0 and 1.

        Returns
        -------
        ndarray, same shape
        """
        u = np.asarray(probability, float)
        if self.far_share == 0.0:
            return u * self.reach
        near = (1.0 - self.far_share) / self.reach + self.far_share / self.far_reach
        beyond = self.far_reach * (u - (1.0 - self.far_share)) / self.far_share
        return np.where(u <= near * self.reach, u / near, beyond)

    def spiral(self, count: int, rng: np.random.Generator) -> Vector:
        """Spread points that all stand for the same share of the displacements.

        Distances are the middles of ``count`` classes of equal probability, directions go round by the golden angle
        from a random start.

        Parameters
        ----------
        count : int
            How many.
        rng : numpy.random.Generator
            Where the first one lies.

        Returns
        -------
        ndarray, shape (count, 2)
            Displacements, nearest first.
        """
        steps = np.arange(count)
        distance = self.distances((steps + 0.5) / count)
        angle = 2.0 * np.pi * rng.random() + _GOLDEN_TURN * steps
        return np.column_stack([distance * np.cos(angle), distance * np.sin(angle)])


def thin(weights: Vector, count: int, rng: np.random.Generator) -> Vector:
    """Keep at most ``count`` of some weighted points, so that every weight is right on average.

    The resampling of Fearnhead and Clifford (2003, Journal of the Royal Statistical Society B 65, 887-899), section 3:
    weights above a threshold are kept as they are, of the others a systematic sample is, with the threshold as its
    weight. Of all unbiased ways to keep so many different points it has the smallest expected squared error.

    Parameters
    ----------
    weights : ndarray, shape (m,)
        Not negative, with sum 1. Neighbours in this order are spread evenly over the sample.
    count : int
        Points to keep, at least 1.
    rng : numpy.random.Generator
        Start of the systematic sample.

    Returns
    -------
    ndarray, shape (m,)
        New weights with sum 1, zero for points that are left out.
    """
    if np.count_nonzero(weights) <= count:
        return weights.copy()
    threshold = _threshold(weights, count)
    out = np.where(weights >= threshold, weights, 0.0)
    low = np.flatnonzero((weights < threshold) & (weights > 0.0))
    room = count - np.count_nonzero(out)
    if room:
        shares = np.cumsum(weights[low])
        marks = (np.arange(room) + rng.random()) * shares[-1] / room
        out[low[np.searchsorted(shares, marks, side="right").clip(max=len(low) - 1)]] = shares[-1] / room
    return out / out.sum()


def _threshold(weights: Vector, count: int) -> float:
    """Return c with ``sum_i min(w_i / c, 1) = count``."""
    down = np.sort(weights)[::-1]
    # The largest 0, 1, 2, ... weights stay, and the others share the places that are left.
    kept = np.arange(count)
    shared = (down.sum() - np.concatenate([[0.0], np.cumsum(down)[: count - 1]])) / (count - kept)
    return float(shared[np.argmax(down[:count] < shared)])
