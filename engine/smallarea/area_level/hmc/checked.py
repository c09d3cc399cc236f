"""Counts and proportions as they come from a table: checked, with their covariates standardised."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from smallarea.area_level.data import standardised_design
from smallarea.area_level.hmc.observations import Observations
from smallarea.errors import ModelProblem, TableProblem, VarianceProblem, named

Vector = NDArray[np.float64]

# Above this many, a count in floating point numbers may have been rounded.
LARGEST_COUNT = 2.0**53


def binomial_observations(
    areas: Sequence[str],
    counts: Vector,
    trials: Vector,
    covariates: Vector | None = None,
    covariate_names: Sequence[str] = (),
    *,
    intercept: bool = True,
    common: bool = False,
) -> Observations:
    """Take counts out of a number of trials.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids.
    counts, trials : ndarray, shape (N,) or (N, K)
        Whole numbers, counts no larger than trials; a cell where either is NaN, or with no trial, is missing.
    covariates : ndarray, shape (N, p) or (N, K, p), optional
        Covariates, the same for every response or each with its own, finite everywhere.
    covariate_names : sequence of str
        Their names.
    intercept : bool
        Whether the model has an intercept.
    common : bool
        Whether all responses have the same coefficients, as periods of one quantity have.

    Returns
    -------
    Observations
        With the binomial likelihood and covariates standardised.

    Raises
    ------
    TableProblem
        If numbers are not counts, there are more than trials, or a covariate is missing.
    ModelProblem
        If covariates are constant or collinear, or too few areas are observed.
    """
    y, n = _columns(areas, counts, "counts"), _columns(areas, trials, "trials")
    _refuse(areas, ~_whole(y), TableProblem, "Counts must be whole numbers, 0 or more; they are not in {}.")
    _refuse(areas, ~_whole(n), TableProblem, "Trials must be whole numbers, 0 or more; they are not in {}.")
    _refuse(
        areas,
        y > n,
        TableProblem,
        "There are more counts than trials in {}. Exchange the two fields, or mend the table.",
    )
    seen = np.isfinite(y) & np.isfinite(n) & (np.nan_to_num(n) > 0.0)
    return _assemble(
        "binomial", areas, y, seen, n, np.zeros_like(y), covariates, covariate_names, intercept=intercept, common=common
    )


def poisson_observations(
    areas: Sequence[str],
    counts: Vector,
    exposure: Vector | None = None,
    covariates: Vector | None = None,
    covariate_names: Sequence[str] = (),
    *,
    intercept: bool = True,
    common: bool = False,
) -> Observations:
    """Take counts of events with their exposure: population, person-years, or expected counts.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids.
    counts : ndarray, shape (N,) or (N, K)
        Whole numbers, NaN where missing.
    exposure : ndarray, shape (N,) or (N, K), optional
        Positive numbers; 1 everywhere if not given. The rate is per unit of exposure. Where a count is missing the
        exposure does not matter.
    covariates, covariate_names, intercept, common
        As in :func:`binomial_observations`.

    Returns
    -------
    Observations
        With the Poisson likelihood and covariates standardised.

    Raises
    ------
    TableProblem
        If numbers are not counts, an exposure is not positive, or a covariate is missing.
    ModelProblem
        If covariates are constant or collinear, or too few areas are observed.
    """
    y = _columns(areas, counts, "counts")
    given = np.ones_like(y) if exposure is None else _columns(areas, exposure, "exposure", like=y)
    _refuse(areas, ~_whole(y), TableProblem, "Counts must be whole numbers, 0 or more; they are not in {}.")
    seen = np.isfinite(y)
    _refuse(
        areas,
        seen & ~((given > 0.0) & np.isfinite(given)),
        TableProblem,
        "Exposure must be positive where there is a count; it is not in {}. Set the counts there to missing (NULL), or "
        "mend the exposure.",
    )
    return _assemble(
        "poisson",
        areas,
        y,
        seen,
        given,
        np.zeros_like(y),
        covariates,
        covariate_names,
        intercept=intercept,
        common=common,
    )


def beta_observations(
    areas: Sequence[str],
    proportions: Vector,
    variances: Vector,
    covariates: Vector | None = None,
    covariate_names: Sequence[str] = (),
    *,
    intercept: bool = True,
    common: bool = False,
) -> Observations:
    """Take direct estimates of proportions with known sampling variances.

    The variance is known at the estimate, so it says how much the area's sample is worth:
    ``precision = y (1 - y) / variance - 1``, and the estimate has variance ``theta (1 - theta) / (1 + precision)``
    around a proportion theta.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids.
    proportions, variances : ndarray, shape (N,) or (N, K)
        Direct estimates between 0 and 1 and their variances; a cell where either is NaN is missing.
    covariates, covariate_names, intercept, common
        As in :func:`binomial_observations`.

    Returns
    -------
    Observations
        With the beta likelihood and covariates standardised.

    Raises
    ------
    TableProblem
        If a proportion is not between 0 and 1 or a covariate is missing.
    VarianceProblem
        If a variance is not positive or larger than any distribution on (0, 1) with that mean has.
    ModelProblem
        If covariates are constant or collinear, or too few areas are observed.
    """
    y = _columns(areas, proportions, "proportions")
    v = _columns(areas, variances, "variances", like=y)
    seen = np.isfinite(y) & np.isfinite(v)
    _refuse(
        areas,
        seen & ~((y > 0.0) & (y < 1.0)),
        TableProblem,
        "Proportions must lie between 0 and 1, ends not included; they do not in {}. Set them to missing (NULL), or "
        "use the counts with the binomial likelihood.",
    )
    _refuse(
        areas,
        seen & ~(v > 0.0),
        VarianceProblem,
        "Sampling variances must be positive; they are not in {}. Set these direct estimates to missing (NULL).",
    )
    _refuse(
        areas,
        seen & ~(v < y * (1.0 - y)),
        VarianceProblem,
        "A proportion y cannot have a variance of y (1 - y) or more; it has in {}. Check the units of the variances "
        "(percent?), or set these direct estimates to missing (NULL).",
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = y * (1.0 - y) / v - 1.0
    return _assemble(
        "beta", areas, y, seen, precision, v, covariates, covariate_names, intercept=intercept, common=common
    )


def _columns(areas: Sequence[str], values: Vector, what: str, like: Vector | None = None) -> Vector:
    out = np.asarray(values, dtype=float)
    out = out[:, None] if out.ndim == 1 else out
    if out.ndim != 2 or len(out) != len(areas) or (like is not None and out.shape != like.shape):
        raise TableProblem(
            f"The {what} have shape {np.shape(values)}, but there are {len(areas)} areas. Give one number for each "
            "area and response."
        )
    return out


def _whole(values: Vector) -> NDArray[np.bool_]:
    """Say which are counts, or missing."""
    with np.errstate(invalid="ignore"):
        good = (values >= 0.0) & (values == np.floor(values)) & (values <= LARGEST_COUNT)
    return good | np.isnan(values)


def _refuse(
    areas: Sequence[str], bad: NDArray[np.bool_], error: type[TableProblem] | type[VarianceProblem], text: str
) -> None:
    rows = np.flatnonzero(bad.any(axis=1))
    if len(rows):
        raise error(text.format(f"{len(rows)} areas: {named([areas[i] for i in rows.tolist()])}"))


def _assemble(
    likelihood: str,
    areas: Sequence[str],
    y: Vector,
    seen: NDArray[np.bool_],
    size: Vector,
    variance: Vector,
    covariates: Vector | None,
    names: Sequence[str],
    *,
    intercept: bool,
    common: bool,
) -> Observations:
    if size.shape != y.shape:
        raise TableProblem(f"Arrays differ in shape: {y.shape} and {size.shape}. Give one number for each of both.")
    k = y.shape[1]
    table = _table(areas, covariates, names, k)
    p = len(names) + int(intercept)
    if p == 0:
        raise ModelProblem("The model has neither an intercept nor a covariate. Add one of them.")
    groups = [seen.any(axis=1)] if common else list(seen.T)
    few = [number for number, rows in enumerate(groups) if rows.sum() <= p + 1]
    if few:
        raise ModelProblem(
            f"Response {few[0] + 1} is observed in {int(groups[few[0]].sum())} areas, too few for {p} coefficients and "
            f"a model variance: at least {p + 2} are needed."
        )
    design, terms, locations, scales = _designs(table, names, seen, intercept, common)
    return Observations(
        likelihood,
        tuple(areas),
        np.where(seen, y, np.nan),
        design,
        terms,
        np.einsum("nk,kl->nkl", np.where(seen, variance, 0.0), np.eye(k)),
        np.where(seen, size, 1.0),
        np.zeros(k),
        np.ones(k),
        locations,
        scales,
        intercept,
    )


def _table(areas: Sequence[str], covariates: Vector | None, names: Sequence[str], k: int) -> Vector:
    """Covariates of each response, shape (N, K, p)."""
    n = len(areas)
    table = np.empty((n, 0)) if covariates is None else np.asarray(covariates, dtype=float)
    table = np.repeat(table[:, None], k, axis=1) if table.ndim == 2 else table
    if table.shape != (n, k, len(names)):
        raise TableProblem(
            f"The covariates have shape {table.shape}; {n} areas, {k} responses and {len(names)} names were given."
        )
    bad = ~np.isfinite(table).all(axis=2)
    _refuse(areas, bad, TableProblem, "A covariate is missing or not finite in {}. Fill it in.")
    return table


def _designs(
    table: Vector, names: Sequence[str], seen: NDArray[np.bool_], intercept: bool, common: bool
) -> tuple[Vector, tuple[slice, ...], tuple[Vector, ...], tuple[Vector, ...]]:
    """Standardise, responses one by one, or all together where they have the same coefficients."""
    n, k = seen.shape
    p = len(names) + int(intercept)
    if common:
        x, location, scale = standardised_design(table.reshape(n * k, -1), names, seen.ravel(), intercept)
        return x.reshape(n, k, p), (slice(0, p),) * k, (location,) * k, (scale,) * k
    design = np.zeros((n, k, k * p))
    terms = tuple(slice(start, end) for start, end in pairwise(range(0, k * p + 1, p)))
    found = [standardised_design(table[:, each], names, seen[:, each], intercept) for each in range(k)]
    for each, at in enumerate(terms):
        design[:, each, at] = found[each][0]
    return design, terms, tuple(one[1] for one in found), tuple(one[2] for one in found)
