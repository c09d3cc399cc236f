"""Transformations of direct estimates, and the way back without bias.

A model is fitted to ``y = h(direct)``. On the way there sampling variances follow the delta method, except for the
arcsine, which makes them 1 / (4 n_eff). On the way back ``h^{-1}`` of the estimate is biased, because ``h^{-1}`` bends.
With theta ~ N(estimate, mse) the corrections below take the mean of ``h^{-1}(theta)`` and its mean squared error about
the reported number. Draws need no correction: transform each. Quantiles and ends of intervals are transformed as they
are, as ``h`` is increasing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from smallarea.area_level.normal_moments import arcsine_moments, logistic_moments
from smallarea.errors import ModelProblem, TableProblem, VarianceProblem, named

Vector = NDArray[np.float64]

CORRECTIONS = ("bias_corrected", "naive")


@dataclass(frozen=True)
class BackTransformed:
    """Estimates on the scale of the direct estimates.

    Attributes
    ----------
    estimate, mse : ndarray, shape (N,)
        Estimates and their mean squared errors.
    correction : str
        What was done, in words for a report.
    """

    estimate: Vector
    mse: Vector
    correction: str


class Transformation(Protocol):
    """An increasing function of direct estimates."""

    @property
    def name(self) -> str:
        """Name in specifications."""

    def forward(
        self, direct: Vector, variance: Vector, n_eff: Vector | None = None, areas: Sequence[str] | None = None
    ) -> tuple[Vector, Vector]:
        """Transform direct estimates and their sampling variances; NaN stays NaN."""

    def inverse(self, theta: Vector) -> Vector:
        """Transform back, element by element."""

    def back_transform(self, estimate: Vector, mse: Vector, correction: str = "bias_corrected") -> BackTransformed:
        """Transform estimates and their mean squared errors back."""


@dataclass(frozen=True)
class Log:
    """Natural logarithm, for positive quantities such as incomes."""

    name: str = "log"

    def forward(
        self, direct: Vector, variance: Vector, n_eff: Vector | None = None, areas: Sequence[str] | None = None
    ) -> tuple[Vector, Vector]:
        """Transform to log(direct) and variance / direct^2.

        Parameters
        ----------
        direct, variance : ndarray, shape (N,)
            Direct estimates and sampling variances, NaN where missing.
        n_eff : ndarray, optional
            Not needed by this transformation; an error if given.
        areas : sequence of str, optional
            Area ids for messages; row numbers otherwise.

        Returns
        -------
        y, v : ndarray, shape (N,)
            Transformed estimates and variances.

        Raises
        ------
        TableProblem
            If a direct estimate is not positive.
        """
        _refuse_sizes(self.name, n_eff)
        _refuse(direct, direct <= 0.0, areas, "not positive and have no logarithm")
        return np.log(direct), variance / direct**2

    def inverse(self, theta: Vector) -> Vector:
        """Return exp(theta)."""
        return np.exp(theta)

    def back_transform(self, estimate: Vector, mse: Vector, correction: str = "bias_corrected") -> BackTransformed:
        """Mean exp(estimate + mse / 2) and variance of a lognormal; `slud_maiti` uses more of the model.

        Parameters
        ----------
        estimate, mse : ndarray, shape (N,)
            On the log scale.
        correction : {'bias_corrected', 'naive'}
            ``naive`` is exp(estimate).

        Returns
        -------
        BackTransformed
            On the original scale.
        """
        _check(correction, mse)
        mean, variance = np.exp(estimate + 0.5 * mse), np.exp(2.0 * estimate + mse) * np.expm1(mse)
        words = "exp(estimate + mse / 2), the mean of a lognormal distribution"
        return _reported(correction, np.exp(estimate), mean, variance, words, "exp(estimate)")


@dataclass(frozen=True)
class Arcsine:
    """Arcsine of the square root, for proportions from samples of known effective size."""

    name: str = "arcsin"

    def forward(
        self, direct: Vector, variance: Vector, n_eff: Vector | None = None, areas: Sequence[str] | None = None
    ) -> tuple[Vector, Vector]:
        """Transform to arcsin(sqrt(direct)) and 1 / (4 n_eff).

        Without ``n_eff`` the delta method gives variance / (4 direct (1 - direct)), which is the same if
        ``variance = direct (1 - direct) / n_eff`` but has no value at 0 and 1.

        Parameters
        ----------
        direct, variance : ndarray, shape (N,)
            Proportions and sampling variances, NaN where missing.
        n_eff : ndarray, shape (N,), optional
            Effective sample sizes.
        areas : sequence of str, optional
            Area ids for messages; row numbers otherwise.

        Returns
        -------
        y, v : ndarray, shape (N,)
            Transformed estimates and variances.

        Raises
        ------
        TableProblem
            If a direct estimate is no proportion, or 0 or 1 without an effective sample size.
        VarianceProblem
            If an effective sample size is not positive.
        """
        _refuse(direct, (direct < 0.0) | (direct > 1.0), areas, "not between 0 and 1")
        y = np.arcsin(np.sqrt(direct))
        if n_eff is None:
            ends = (direct == 0.0) | (direct == 1.0)
            _refuse(direct, ends, areas, "0 or 1, where their variances say nothing: give effective sample sizes")
            return y, variance / (4.0 * direct * (1.0 - direct))
        bad = np.isfinite(direct) & ~((n_eff > 0.0) & np.isfinite(n_eff))
        if bad.any():
            raise VarianceProblem(
                f"{int(bad.sum())} areas with a direct estimate have no positive effective sample size: "
                f"{_where(bad, areas)}. Give it, or set their direct estimates to missing."
            )
        return y, np.where(np.isfinite(direct), 0.25 / np.where(bad | np.isnan(n_eff), 1.0, n_eff), np.nan)

    def inverse(self, theta: Vector) -> Vector:
        """Return sin(theta)^2, 0 below 0 and 1 above pi / 2."""
        return np.asarray(np.sin(np.clip(theta, 0.0, 0.5 * np.pi)) ** 2, dtype=np.float64)

    def back_transform(self, estimate: Vector, mse: Vector, correction: str = "bias_corrected") -> BackTransformed:
        """Mean and mean squared error of the inverse under a normal distribution.

        Parameters
        ----------
        estimate, mse : ndarray, shape (N,)
            On the arcsine scale.
        correction : {'bias_corrected', 'naive'}
            ``naive`` is the inverse of the estimate.

        Returns
        -------
        BackTransformed
            Proportions.
        """
        _check(correction, mse)
        mean, variance = arcsine_moments(estimate, mse)
        words = "mean of sin^2(theta) over theta ~ N(estimate, mse), 0 below 0 and 1 above pi / 2"
        return _reported(correction, self.inverse(estimate), mean, variance, words, "sin^2(estimate)")


@dataclass(frozen=True)
class Logit:
    """Log odds, for proportions that are never 0 or 1."""

    name: str = "logit"

    def forward(
        self, direct: Vector, variance: Vector, n_eff: Vector | None = None, areas: Sequence[str] | None = None
    ) -> tuple[Vector, Vector]:
        """Transform to log(direct / (1 - direct)) and variance / (direct (1 - direct))^2.

        Parameters
        ----------
        direct, variance : ndarray, shape (N,)
            Proportions and sampling variances, NaN where missing.
        n_eff : ndarray, optional
            Not needed by this transformation; an error if given.
        areas : sequence of str, optional
            Area ids for messages; row numbers otherwise.

        Returns
        -------
        y, v : ndarray, shape (N,)
            Transformed estimates and variances.

        Raises
        ------
        TableProblem
            If a direct estimate is not strictly between 0 and 1.
        """
        _refuse_sizes(self.name, n_eff)
        outside = (direct <= 0.0) | (direct >= 1.0)
        _refuse(direct, outside, areas, "not strictly between 0 and 1; 'arcsin' can take 0 and 1")
        return logit(direct), variance / (direct * (1.0 - direct)) ** 2

    def inverse(self, theta: Vector) -> Vector:
        """Return 1 / (1 + exp(-theta))."""
        return np.asarray(expit(theta), dtype=np.float64)

    def back_transform(self, estimate: Vector, mse: Vector, correction: str = "bias_corrected") -> BackTransformed:
        """Mean and mean squared error of the inverse under a normal distribution.

        Parameters
        ----------
        estimate, mse : ndarray, shape (N,)
            On the logit scale.
        correction : {'bias_corrected', 'naive'}
            ``naive`` is the inverse of the estimate.

        Returns
        -------
        BackTransformed
            Proportions.
        """
        _check(correction, mse)
        mean, variance = logistic_moments(estimate, mse)
        words = "mean of 1 / (1 + exp(-theta)) over theta ~ N(estimate, mse)"
        return _reported(correction, self.inverse(estimate), mean, variance, words, "1 / (1 + exp(-estimate))")


def transformation(name: str) -> Transformation:
    """Return the transformation of a name.

    Parameters
    ----------
    name : {'log', 'arcsin', 'logit'}
        Its name.

    Returns
    -------
    Transformation
        The transformation.

    Raises
    ------
    ModelProblem
        If there is none of that name.
    """
    known: dict[str, Transformation] = {"log": Log(), "arcsin": Arcsine(), "logit": Logit()}
    if name not in known:
        raise ModelProblem(f"Unknown transformation {name!r}; choose one of {', '.join(known)}.")
    return known[name]


def _reported(
    correction: str, naive: Vector, mean: Vector, variance: Vector, corrected_words: str, naive_words: str
) -> BackTransformed:
    if correction == "naive":
        return BackTransformed(naive, variance + (mean - naive) ** 2, f"{naive_words}, without correction of its bias")
    return BackTransformed(mean, variance, corrected_words)


def _check(correction: str, mse: Vector) -> None:
    if correction not in CORRECTIONS:
        raise ModelProblem(f"Unknown correction {correction!r}; choose one of {', '.join(CORRECTIONS)}.")
    if np.any(mse < 0.0):
        raise VarianceProblem(
            "Mean squared errors to be transformed back are negative. Use an estimator that keeps them positive."
        )


def _refuse(direct: Vector, bad: NDArray[np.bool_], areas: Sequence[str] | None, words: str) -> None:
    if bad.any():
        values = named(direct[bad].tolist())
        raise TableProblem(
            f"{int(bad.sum())} direct estimates are {words}: {_where(bad, areas)} (values {values}). Otherwise set "
            "them to missing or use another transformation."
        )


def _refuse_sizes(name: str, n_eff: Vector | None) -> None:
    if n_eff is not None:
        raise ModelProblem(f"Effective sample sizes say nothing to the transformation {name!r}; leave them out.")


def _where(bad: NDArray[np.bool_], areas: Sequence[str] | None) -> str:
    rows = np.flatnonzero(bad).tolist()
    return named([areas[i] for i in rows]) if areas is not None else "rows " + named(i + 1 for i in rows)
