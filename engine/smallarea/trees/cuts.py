"""Cut points of covariates: a rule is a covariate and one of its cuts, so covariates become small whole numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named

Vector = NDArray[np.float64]
CutRule = Literal["even", "quantile"]


@dataclass(frozen=True)
class Cuts:
    """Where each covariate may be cut; values below a cut go left.

    Attributes
    ----------
    points : tuple of ndarray
        Increasing cut points of each covariate, in the covariate's unit. Empty for a covariate that does not vary.
    names : tuple of str
        Names of the covariates.
    """

    points: tuple[Vector, ...]
    names: tuple[str, ...]

    @classmethod
    def from_values(
        cls, values: Vector, *, names: Sequence[str] | None = None, rule: CutRule = "even", count: int = 100
    ) -> Cuts:
        """Choose cut points from the covariates of a sample.

        Parameters
        ----------
        values : ndarray, shape (n, p)
            Covariates, all finite.
        names : sequence of str, optional
            Names of the covariates; ``x1``, ``x2``, ... by default.
        rule : {"even", "quantile"}
            ``even``: ``count`` cuts at equal distances strictly between the smallest and the largest value (the rule
            of Chipman, George and McCulloch 2010). ``quantile``: at quantiles, for skewed covariates. Either way a
            covariate with at most ``count`` different values is cut halfway between neighbours.
        count : int
            Most cuts of a covariate.

        Returns
        -------
        Cuts

        Raises
        ------
        TableProblem
            If a covariate is not finite.
        JobProblem
            If ``count`` is not positive.
        """
        x = np.asarray(values, float)
        labels = tuple(names) if names is not None else tuple(f"x{j + 1}" for j in range(x.shape[1]))
        if count < 1:
            raise JobProblem(f"A covariate needs at least one cut, not {count}. Ask for a positive number of cuts.")
        _check(x, labels)
        return cls(tuple(_points(column, rule, count) for column in x.T), labels)

    @property
    def counts(self) -> NDArray[np.int32]:
        """Number of cuts of each covariate, shape (p,)."""
        return np.array([len(points) for points in self.points], np.int32)

    def bins(self, values: Vector) -> NDArray[np.int32]:
        """Count the cut points at or below each value: a value goes left at cut c if its bin is at most c.

        Parameters
        ----------
        values : ndarray, shape (n, p)
            Covariates, all finite.

        Returns
        -------
        ndarray of int32, shape (n, p)

        Raises
        ------
        TableProblem
            If a covariate is missing or not finite.
        """
        x = np.asarray(values, float)
        if x.ndim != 2 or x.shape[1] != len(self.points):
            raise TableProblem(
                f"The trees use {len(self.points)} covariates ({named(self.names)}), but {x.shape[-1]} came. "
                f"Give the same covariates in the same order."
            )
        _check(x, self.names)
        placed = [
            np.searchsorted(points, column, side="right") for points, column in zip(self.points, x.T, strict=True)
        ]
        return np.stack(placed, axis=1).astype(np.int32) if placed else np.empty(x.shape, np.int32)


def _check(x: Vector, names: tuple[str, ...]) -> None:
    bad = ~np.isfinite(x)
    if bad.any():
        fields = [name for name, column in zip(names, bad.T, strict=True) if column.any()]
        raise TableProblem(
            f"Covariates with missing or infinite values: {named(fields)} (rows counted from 0: "
            f"{named(np.flatnonzero(bad.any(axis=1)))}). Trees need a number everywhere: drop these rows or fill them."
        )


def _points(column: Vector, rule: CutRule, count: int) -> Vector:
    different = np.unique(column)
    if len(different) <= count:
        return (different[1:] + different[:-1]) / 2.0
    if rule == "even":
        low, high = different[0], different[-1]
        return np.asarray(low + np.arange(1, count + 1) * (high - low) / (count + 1))
    return np.unique(np.quantile(column, np.arange(1, count + 1) / (count + 1)))
