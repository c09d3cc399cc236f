"""What a sum of trees says of its covariates, draw by draw: partial dependence, local effects, interactions.

With weights w_i of rows that sum to one, and x_i without the covariates J written x_i,-J,

    PD_J(z) = sum_i w_i f(z, x_i,-J)                                                  (Friedman 2001)
    ALE_j(z_k) = sum_{l <= k} mean over rows in (z_{l-1}, z_l] of [f(z_l, x_-j) - f(z_{l-1}, x_-j)] - c
                                                                                      (Apley and Zhu 2020)
    H_jk^2 = sum_i w_i [PD_jk - PD_j - PD_k]^2 / sum_i w_i PD_jk^2, all centred       (Friedman and Popescu 2008)

all of each posterior draw f, so that their intervals are those of the posterior. f is the sum of the trees: the field
is a function of place, not of covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, ModelProblem
from smallarea.unit_level.dependence_kernel import add_dependence
from smallarea.unit_level.posterior import BartsimpPosterior
from smallarea.unit_level.tree_covariates import Covariate

Vector = NDArray[np.float64]
Positions = NDArray[np.int64]

# Slack of cumulative weights, so that a quantile does not move on by rounding.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Interaction:
    """How two covariates act together, of each draw.

    Attributes
    ----------
    h : ndarray, shape (S,)
        Friedman and Popescu's H: the share of the spread of their joint partial dependence, as a root, that is no sum
        of two functions. 0 if the draw has no spread.
    strength : ndarray, shape (S,)
        Standard deviation over the rows of what is no sum, in the unit of the trees.
    h_of_mean : float
        H of the mean of all draws.
    together : float
        Share of the draws in which they interact at all.
    """

    h: Vector
    strength: Vector
    h_of_mean: float
    together: float


class TreeEffects:
    """Effects of covariates on the sum of trees.

    Parameters
    ----------
    posterior : BartsimpPosterior
        With trees.
    covariates : ndarray, shape (n, p)
        Rows that are averaged over, in the columns of the model.
    weights : ndarray, shape (n,)
        Their weights; they need not sum to one.
    draws : int, optional
        Use at most so many draws, evenly chosen.

    Raises
    ------
    ModelProblem
        If the model has no trees, or no covariates.
    JobProblem
        If the weights are no weights.
    """

    def __init__(
        self, posterior: BartsimpPosterior, covariates: Vector, weights: Vector, draws: int | None = None
    ) -> None:
        if not posterior.settings.trees.trees or not posterior.clusters.names:
            raise ModelProblem(
                "This posterior has no trees or no covariates, so nothing depends on a covariate. Fit a model with "
                "trees and covariates."
            )
        if len(weights) != len(covariates) or not np.all(np.isfinite(weights) & (weights >= 0.0)) or not weights.sum():
            raise JobProblem("Every row that is averaged over needs a weight of at least 0, and one must be positive.")
        self._posterior = posterior
        used = np.asarray(weights) > 0.0
        self._rows = np.asarray(covariates, float)[used]
        self._bins = posterior.cuts.bins(self._rows)
        self.weights = np.asarray(weights, float)[used] / np.sum(weights)
        self.which = posterior.thinned(draws)
        # Deviations below this are rounding.
        self._floor = _ROUNDING * float(np.abs(posterior.forest.values).max(initial=0.0))
        self._of_rows: dict[str, tuple[Vector, Positions]] = {}

    def grid(self, covariate: Covariate, points: int) -> Vector:
        """Values at which a covariate is looked at.

        Parameters
        ----------
        covariate : Covariate
            One with codes has these.
        points : int
            Intervals of equal weight between the values of one with numbers, whose ends are values of rows; all
            different values if these are not more.

        Returns
        -------
        ndarray, shape (K + 1,)
            Increasing; for codes, the most frequent one first.
        """
        if covariate.codes:
            return np.array(covariate.codes)
        different = np.unique(covariate.values(self._rows))
        if len(different) <= points + 1:
            return different
        return self.quantiles(covariate, np.arange(points + 1) / points)

    def quantiles(self, covariate: Covariate, shares: Vector) -> Vector:
        """Return the different values of rows below or at which given shares of the weight lie."""
        values = covariate.values(self._rows)
        order = np.argsort(values, kind="stable")
        reached = np.searchsorted(np.cumsum(self.weights[order]), shares - _ROUNDING)
        return np.unique(values[order][np.minimum(reached, len(order) - 1)])

    def shares(self, covariate: Covariate, values: Vector) -> Vector:
        """Weight of the rows in each interval (z_{k-1}, z_k] of a grid, or with each code, shape (K + 1,)."""
        if covariate.codes:
            return np.array([self.weights[covariate.values(self._rows) == code].sum() for code in values])
        at = np.searchsorted(values, covariate.values(self._rows))
        return np.bincount(at, self.weights, minlength=len(values)).astype(np.float64)

    def partial_dependence(self, covariate: Covariate, values: Vector) -> Vector:
        """Mean over the rows of the expected outcome, were all to have a value.

        Parameters
        ----------
        covariate : Covariate
            Which.
        values : ndarray, shape (K,)
            Its values.

        Returns
        -------
        ndarray, shape (S, K)
            Trees plus the outcome's mean, of each draw.
        """
        first = np.repeat(self._rows[:1], len(values), axis=0)
        at = self._posterior.cuts.bins(covariate.put(first, np.asarray(values, float)))
        return self._dependence(at, (covariate,)) + self._posterior.centre

    def joint(self, first: Covariate, second: Covariate, values: tuple[Vector, Vector]) -> Vector:
        """Mean over the rows of the expected outcome, were all to have values of two covariates.

        Parameters
        ----------
        first, second : Covariate
            Two covariates.
        values : tuple of ndarray, shapes (K,) and (L,)
            Their values.

        Returns
        -------
        ndarray, shape (S, K, L)
            Trees plus the outcome's mean, of each draw.
        """
        across, up = (part.ravel() for part in np.meshgrid(*values, indexing="ij"))
        rows = second.put(first.put(np.repeat(self._rows[:1], len(across), axis=0), across), up)
        found = self._dependence(self._posterior.cuts.bins(rows), (first, second)) + self._posterior.centre
        return found.reshape(-1, *(len(part) for part in values))

    def accumulated(self, covariate: Covariate, values: Vector) -> Vector:
        """Accumulated local effects: differences between rows that are alike, added up.

        Codes have no order along which to add. Each is compared with the first one, over the rows that have either.

        Parameters
        ----------
        covariate : Covariate
            Which.
        values : ndarray, shape (K + 1,)
            Its grid; every interval must hold a row.

        Returns
        -------
        ndarray, shape (S, K + 1)
            Centred: zero on average over the rows. NaN for a code that no row has.
        """
        own = covariate.values(self._rows)
        at = np.asarray(values, float)
        if len(at) == 1:
            return np.zeros((len(self.which), 1))
        if covariate.codes:
            effects = np.column_stack([self._between(covariate, own, at[0], code) for code in at[1:]])
        else:
            interval = np.maximum(np.searchsorted(at, own), 1)
            change = self._change(covariate, self._rows, at[interval - 1], at[interval])
            share = np.zeros((len(own), len(at) - 1))
            share[np.arange(len(own)), interval - 1] = self.weights
            effects = np.cumsum(change @ (share / share.sum(axis=0)), axis=1)
        out = np.column_stack([np.zeros(len(effects)), effects])
        shares = self.shares(covariate, at)
        centre = np.where(shares > 0.0, out, 0.0) @ shares
        return out - centre[:, None]

    def spread(self, covariate: Covariate) -> Vector:
        """Return the standard deviation over the rows of a covariate's partial dependence, shape (S,)."""
        main, place = self._main(covariate)
        return self._deviation(main, np.bincount(place, self.weights, minlength=main.shape[1]).astype(float))

    def interaction(self, first: Covariate, second: Covariate) -> Interaction:
        """How far the joint partial dependence of two covariates is from a sum of two functions.

        Only trees that split on both can hold an interaction; in all others the joint function is a sum.

        Parameters
        ----------
        first, second : Covariate
            Two covariates.

        Returns
        -------
        Interaction
        """
        pair = (first, second)
        both = self._dependence(self._bins, pair, pair)
        for one in pair:
            both -= self._dependence(self._bins, (one,), pair)
        both -= (both @ self.weights)[:, None]
        joint = both.copy()
        for one in pair:
            main, place = self._main(one)
            joint += main[:, place]
        part, whole = self._deviation(both, self.weights), self._deviation(joint, self.weights)
        of_mean = [self._deviation(drawn.mean(axis=0), self.weights) for drawn in (both, joint)]
        return Interaction(_ratio(part, whole), part, float(_ratio(*of_mean)), float((part > 0.0).mean()))

    def _deviation(self, centred: Vector, weights: Vector) -> Vector:
        """Weighted standard deviation of what has mean zero, over the last axis; 0 where it is only rounding."""
        found = np.sqrt(centred**2 @ weights)
        return np.where(found > self._floor, found, 0.0)

    def _main(self, covariate: Covariate) -> tuple[Vector, Positions]:
        """Centred partial dependence at the different values of the rows (S, U), and which of them each row has."""
        if covariate.name not in self._of_rows:
            own = self._bins[:, list(covariate.columns)]
            _, first, place = np.unique(own, axis=0, return_index=True, return_inverse=True)
            found = self._dependence(self._bins[first], (covariate,))
            share = np.bincount(place.ravel(), self.weights, minlength=len(first))
            self._of_rows[covariate.name] = (found - (found @ share)[:, None], place.ravel())
        return self._of_rows[covariate.name]

    def _dependence(
        self, at: NDArray[np.int32], asked: Sequence[Covariate], of_trees_with: Sequence[Covariate] = ()
    ) -> Vector:
        """Partial dependence on some covariates at places (M, p) in bins, of trees that split on others; (S, M)."""
        forest, p = self._posterior.forest, len(self._posterior.clusters.names)
        mask, groups = np.zeros(p, np.bool_), np.zeros(p, np.int64)
        mask[[column for one in asked for column in one.columns]] = True
        for number, one in enumerate(of_trees_with, start=1):
            groups[list(one.columns)] = number
        out = np.zeros((len(self.which), len(at)))
        add_dependence(
            forest.variables, forest.cuts, forest.starts, forest.values, forest.trees, self.which, self._bins,
            self.weights, np.ascontiguousarray(at), mask, groups, len(of_trees_with), out,
        )  # fmt: skip
        return out

    def _change(self, covariate: Covariate, rows: Vector, low: Vector, high: Vector) -> Vector:
        """Differences of the trees at some rows, were these to have two values, shape (S, rows)."""
        upper = self._posterior.trees_at(covariate.put(rows, high), self.which)
        return np.asarray(upper - self._posterior.trees_at(covariate.put(rows, low), self.which))

    def _between(self, covariate: Covariate, own: Vector, low: float, high: float) -> Vector:
        """Weighted mean of the differences between two codes over the rows that have either, shape (S,)."""
        rows = np.flatnonzero((own == low) | (own == high))
        if not len(rows):
            return np.full(len(self.which), np.nan)
        change = self._change(covariate, self._rows[rows], np.full(len(rows), low), np.full(len(rows), high))
        return np.asarray(change @ (self.weights[rows] / self.weights[rows].sum()))


def _ratio(part: Vector, whole: Vector) -> Vector:
    """Divide; 0 of nothing."""
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0.0)
