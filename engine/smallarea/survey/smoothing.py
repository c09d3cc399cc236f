"""Smoothed sampling variances of one response: which raw ones count, on what they depend, who gets which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import ModelProblem, TableProblem, VarianceProblem, named
from smallarea.survey.pooled_variances import combine, outlyingness, prior_degrees_of_freedom
from smallarea.survey.variance_functions import VarianceFunction, n_eff
from smallarea.survey.variance_regressions import gamma, log_linear

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]

ESTIMATE_TERMS = ("none", "log", "binomial")


@dataclass(frozen=True)
class RawVariances:
    """What is known of the sampling variances of one response.

    Attributes
    ----------
    name : str
        The response.
    ids : tuple of str, length N
        Area ids.
    direct, variance : ndarray, shape (N,)
        Direct estimates and raw variances, NaN where missing.
    size, df : ndarray, shape (N,), or None
        Sample sizes, and degrees of freedom (or numbers of PSUs) of the raw variances.
    covariates : ndarray, shape (N, p)
        What else the variances may depend on, NaN where missing.
    covariate_names : tuple of str, length p
        Their names.
    groups : tuple of str, length N
        Group of each area.
    """

    name: str
    ids: tuple[str, ...]
    direct: Vector
    variance: Vector
    size: Vector | None
    df: Vector | None
    covariates: Vector
    covariate_names: tuple[str, ...]
    groups: tuple[str, ...]

    @property
    def usable(self) -> Mask:
        """Areas whose raw variance is one: positive, and from more than one observation."""
        found = np.isfinite(self.direct) & (self.variance > 0.0)
        if self.size is not None:
            found &= self.size > 1.0
        if self.df is not None:
            found &= self.df > 0.0
        return found

    def check(self) -> None:
        """Refuse numbers that cannot be what they are said to be.

        Raises
        ------
        VarianceProblem
            If a variance is negative.
        TableProblem
            If a sample size is not positive where there is an estimate.
        """
        negative = [self.ids[i] for i in np.flatnonzero(self.variance < 0.0).tolist()]
        if negative:
            raise VarianceProblem(
                f"Sampling variances of {self.name!r} are negative in {len(negative)} areas: {named(negative)}. "
                "Prepare published estimates first ('smallarea survey prepare'), or leave them empty."
            )
        if self.size is None:
            return
        bad = [self.ids[i] for i in np.flatnonzero(np.isfinite(self.direct) & (self.size <= 0.0)).tolist()]
        if bad:
            raise TableProblem(
                f"{len(bad)} areas with an estimate of {self.name!r} have a sample size of zero or less: {named(bad)}. "
                "Correct the sample sizes, or set the estimates to missing."
            )


@dataclass(frozen=True)
class SmoothedResponse:
    """Smoothed sampling variances of one response.

    Attributes
    ----------
    raw : RawVariances
        What they were made of.
    function : VarianceFunction
        The generalised variance function.
    variance : ndarray, shape (N,)
        Smoothed variances, NaN where there is no estimate or a term is missing.
    n_eff : ndarray, shape (N,), or None
        Effective sample sizes that go with them, if the estimates are proportions.
    prior_df : float or None
        Degrees of freedom of the function where raw variances have a say too.
    """

    raw: RawVariances
    function: VarianceFunction
    variance: Vector
    n_eff: Vector | None
    prior_df: float | None

    @property
    def residuals(self) -> Vector:
        """How far raw variances are from the function, standard normal if it holds; zero where they were not used.

        With degrees of freedom by the distribution that they imply, else the log ratio over its standard deviation.
        """
        used, fitted = self.function.used, self.function.fitted
        found = np.zeros(len(fitted))
        raw = self.raw.variance[used]
        if self.raw.df is not None:
            df = self.raw.df[used]
            found[used] = outlyingness(raw, fitted[used], df, prior_degrees_of_freedom(raw, fitted[used], df))
        elif self.function.residual_sd > 0.0:
            ratio = np.log(raw / fitted[used])
            found[used] = (ratio - ratio.mean()) / self.function.residual_sd
        return found

    @property
    def replaced(self) -> Mask:
        """Areas that had no usable raw variance and now have a smoothed one."""
        return np.isfinite(self.variance) & ~self.raw.usable

    @property
    def lacking(self) -> Mask:
        """Areas with an estimate that have no smoothed variance, as a term is missing."""
        return np.isfinite(self.raw.direct) & ~np.isfinite(self.variance)


def smooth(
    raw: RawVariances, method: str, estimate_term: str, bias_correction: str, *, combined: bool
) -> SmoothedResponse:
    """Smooth the sampling variances of one response.

    Parameters
    ----------
    raw : RawVariances
        The raw variances and what they may depend on.
    method : {'log_linear', 'gamma', 'n_eff'}
        The generalised variance function.
    estimate_term : {'none', 'log', 'binomial'}
        How variances depend on the estimate itself: not, on ``log |y|``, or on ``log y (1 - y)``. With ``n_eff`` they
        are proportional to ``y^2`` or ``y (1 - y)``.
    bias_correction : str
        Of ``log_linear``.
    combined : bool
        Whether raw variances keep a say according to their degrees of freedom.

    Returns
    -------
    SmoothedResponse
        For every area with an estimate.

    Raises
    ------
    TableProblem, VarianceProblem
        If numbers cannot be what they are said to be.
    ModelProblem
        If the function cannot be fitted.
    """
    raw.check()
    if not raw.usable.any():
        raise ModelProblem(
            f"No area has an estimate of {raw.name!r} with a usable variance (positive, from more than one "
            "observation), so that there is nothing to smooth. Check the fields of the variances, sample sizes and "
            "degrees of freedom."
        )
    shape = _shape(raw, estimate_term)
    if method == "n_eff" and raw.size is not None:
        complete = np.isfinite(shape) & np.isfinite(raw.size)
        weight = raw.size if raw.df is None else raw.df
        function = n_eff(raw.variance, raw.size, shape, raw.groups, raw.usable & complete, weight)
    else:
        design, terms = _design(raw, shape, estimate_term)
        used = raw.usable & np.isfinite(design).all(axis=1)
        if method == "gamma":
            weight = np.ones(len(raw.ids)) if raw.df is None else raw.df
            function = gamma(raw.variance, design, terms, used, weight)
        else:
            function = log_linear(raw.variance, design, terms, used, bias_correction, raw.df)
    variance = np.where(np.isfinite(raw.direct), function.fitted, np.nan)
    prior_df = None
    if combined and raw.df is not None:
        used, df = function.used, raw.df
        prior_df = prior_degrees_of_freedom(raw.variance[used], function.fitted[used], df[used])
        own = np.where(raw.usable, raw.variance, np.nan)
        variance = np.where(np.isfinite(raw.direct), combine(own, function.fitted, df, prior_df), np.nan)
    sizes = shape / variance if estimate_term == "binomial" else None
    return SmoothedResponse(raw, function, variance, sizes, prior_df)


def smooth_covariances(
    covariances: Sequence[Vector], responses: Sequence[SmoothedResponse]
) -> tuple[list[Vector], list[float]]:
    """Rescale sampling covariances so that correlations stay what they were.

    Parameters
    ----------
    covariances : sequence of ndarray, each of shape (N,)
        In the order (1, 2), (1, 3), ..., (2, 3), ...
    responses : sequence of SmoothedResponse, length K
        The responses.

    Returns
    -------
    covariances : list of ndarray, each of shape (N,)
        ``c sqrt(s1 s2 / (v1 v2))`` with raw variances v and smoothed ones s. Where a raw variance is not usable the
        correlation is not known; the mean of the known ones stands in.
    means : list of float
        That mean correlation for each pair, NaN where no area has one.
    """
    found, means = [], []
    for covariance, (one, two) in zip(covariances, combinations(responses, 2), strict=True):
        usable = one.raw.usable & two.raw.usable & np.isfinite(covariance)
        correlation = np.full(len(covariance), np.nan)
        correlation[usable] = covariance[usable] / np.sqrt(one.raw.variance[usable] * two.raw.variance[usable])
        mean = float(correlation[usable].mean()) if usable.any() else float(np.nan)
        correlation[~usable] = mean
        found.append(correlation * np.sqrt(one.variance * two.variance))
        means.append(mean)
    return found, means


def _shape(raw: RawVariances, estimate_term: str) -> Vector:
    """Return how the variance of one observation depends on the estimate, up to a factor.

    Zeros, and for proportions ones, would have no variance at all; the mean estimate of their group stands in.
    """
    y = raw.direct
    if estimate_term == "none":
        return np.ones(len(y))
    if estimate_term == "binomial":
        wrong = [raw.ids[i] for i in np.flatnonzero((y < 0.0) | (y > 1.0)).tolist()]
        if wrong:
            raise TableProblem(
                f"{len(wrong)} estimates of {raw.name!r} are no proportions between 0 and 1: {named(wrong)}. Divide "
                "percentages by 100 ('smallarea survey prepare --scale 100'), or choose another estimate_term."
            )
    rim = (y == 0.0) | ((y == 1.0) if estimate_term == "binomial" else False)
    weight = np.where(np.isfinite(y), 1.0 if raw.size is None else np.nan_to_num(raw.size), 0.0)
    groups = np.array(raw.groups, dtype=object)
    stand_in = y.copy()
    for group in dict.fromkeys(groups[rim].tolist()):
        member = groups == group
        total = float(weight[member].sum())
        size = np.abs(np.nan_to_num(y[member]))
        stand_in[member & rim] = float(weight[member] @ size) / total if total > 0.0 else np.nan
    found = stand_in * (1.0 - stand_in) if estimate_term == "binomial" else stand_in**2
    return np.where(found > 0.0, found, np.nan)


def _design(raw: RawVariances, shape: Vector, estimate_term: str) -> tuple[Vector, list[str]]:
    """Return the terms of a regression of variances, and their names."""
    columns: list[Vector] = [np.ones(len(raw.ids))]
    terms = ["intercept"]
    if raw.size is not None:
        columns.append(np.log(np.where(raw.size > 0.0, raw.size, np.nan)))
        terms.append("log n")
    if estimate_term != "none":
        columns.append(np.log(shape) / (2.0 if estimate_term == "log" else 1.0))
        terms.append("log |estimate|" if estimate_term == "log" else "log estimate (1 - estimate)")
    columns += list(raw.covariates.T)
    terms += raw.covariate_names
    for group in list(dict.fromkeys(raw.groups))[1:]:
        columns.append(np.array([float(other == group) for other in raw.groups]))
        terms.append(f"group {group}")
    return np.column_stack(columns), terms
