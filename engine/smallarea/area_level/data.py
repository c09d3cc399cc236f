"""The numbers that a model is fitted to: checked, then standardised.

Standardising inside (direct estimates to SD 1, covariates to mean 0 and SD 1) gives priors without units; everything is
reported back on the scale of the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from smallarea.errors import ModelProblem, TableProblem, VarianceProblem, named

Vector = NDArray[np.float64]

# A covariate is collinear if what the others leave of it is below this share of its norm.
COLLINEARITY = 1e-8
# Beyond this many times the scale of the data, squares and their sums leave the range of floating point numbers.
LARGEST = 1e60


@dataclass(frozen=True)
class AreaLevelData:
    """One response with known sampling variances, in the units of the input.

    Attributes
    ----------
    areas : tuple of str, length N
        Area ids.
    direct : ndarray, shape (N,)
        Direct estimates, NaN where there is none that can be used.
    variance : ndarray, shape (N,)
        Sampling variances, NaN where ``direct`` is NaN.
    covariates : ndarray, shape (N, p)
        Covariate values; a row with NaN has no estimate.
    covariate_names : tuple of str, length p
        Their names.
    notes : tuple of str, length N
        Why an area is not sampled or has no estimate; empty where there is nothing to say.
    """

    areas: tuple[str, ...]
    direct: Vector
    variance: Vector
    covariates: Vector
    covariate_names: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def sampled(self) -> NDArray[np.bool_]:
        """Areas whose direct estimate enters the likelihood, shape (N,)."""
        return np.isfinite(self.direct)

    @property
    def estimable(self) -> NDArray[np.bool_]:
        """Areas that get an estimate: all covariates are there, shape (N,)."""
        return np.all(np.isfinite(self.covariates), axis=1)


def area_level_data(
    areas: Sequence[str],
    direct: Vector,
    variance: Vector,
    covariates: Vector | None = None,
    covariate_names: Sequence[str] = (),
    *,
    missing_variance: str = "out_of_sample",
    missing_covariates: str = "error",
) -> AreaLevelData:
    """Check the columns of a table and decide which areas count as sampled.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids, each once.
    direct, variance : ndarray, shape (N,)
        Direct estimates and their sampling variances, NaN where missing.
    covariates : ndarray, shape (N, p), optional
        Covariate values.
    covariate_names : sequence of str, length p
        Their names.
    missing_variance : {'out_of_sample', 'error'}
        What to do with a direct estimate whose variance is missing or zero.
    missing_covariates : {'error', 'drop'}
        What to do with an area that lacks a covariate value.

    Returns
    -------
    AreaLevelData
        The data, with a note for each area that was set aside.

    Raises
    ------
    TableProblem
        If ids repeat, shapes do not fit, a number is infinite, or covariates are missing and that is an error.
    VarianceProblem
        If a variance is negative, or missing or zero where that is an error.
    """
    ids = tuple(areas)
    direct = np.array(direct, dtype=float)
    variance = np.array(variance, dtype=float)
    table = np.empty((len(ids), 0)) if covariates is None else np.array(covariates, dtype=float)
    _check_columns(ids, direct, variance, table, covariate_names)
    given = np.isfinite(direct)
    bad = given & (~np.isfinite(variance) | (variance == 0.0))
    if missing_variance == "error" and bad.any():
        raise VarianceProblem(
            f"{int(bad.sum())} areas have a direct estimate but no positive sampling variance: {_at(ids, bad)}. "
            "Give the variances, remove these estimates, or set missing_variance to 'out_of_sample' to treat the areas "
            "as not sampled."
        )
    incomplete = ~check_covariates(ids, table, covariate_names, missing_covariates)
    notes = [
        _note(has, value, lacks)
        for has, value, lacks in zip(given.tolist(), variance.tolist(), incomplete.tolist(), strict=True)
    ]
    unusable = bad | incomplete
    direct[unusable] = np.nan
    variance[~np.isfinite(direct)] = np.nan
    return AreaLevelData(ids, direct, variance, table, tuple(covariate_names), tuple(notes))


def check_covariates(
    areas: Sequence[str], table: Vector, names: Sequence[str], missing_covariates: str
) -> NDArray[np.bool_]:
    """Find the areas that have all covariates.

    Parameters
    ----------
    areas : sequence of str, length N
        Area ids, for messages.
    table : ndarray, shape (N, p)
        Covariate values, NaN where missing.
    names : sequence of str, length p
        Their names.
    missing_covariates : {'error', 'drop'}
        What to do with an area that lacks a value.

    Returns
    -------
    ndarray of bool, shape (N,)
        Which areas can be estimated.

    Raises
    ------
    TableProblem
        If values are missing and that is an error.
    """
    complete = np.all(np.isfinite(table), axis=1)
    if missing_covariates == "error" and not complete.all():
        columns = [name for name, column in zip(names, table.T, strict=True) if np.isnan(column).any()]
        raise TableProblem(
            f"{int((~complete).sum())} areas lack a value of {named(columns)}: {_at(areas, ~complete)}. A model cannot "
            "predict them. Fill the values, choose other covariates, or set missing_covariates to 'drop' to leave "
            "these areas without an estimate."
        )
    return complete


def _check_columns(ids: tuple[str, ...], direct: Vector, variance: Vector, table: Vector, names: Sequence[str]) -> None:
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        repeated = sorted({area for area in ids if area in seen or seen.add(area)})  # type: ignore[func-returns-value]
        raise TableProblem(f"Area ids repeat: {named(repeated)}. Each area needs one row.")
    if direct.shape != (len(ids),) or variance.shape != (len(ids),) or table.shape != (len(ids), len(names)):
        raise TableProblem(
            f"Columns differ in length: {len(ids)} areas, direct {direct.shape}, variance {variance.shape}, covariates "
            f"{table.shape} for {len(names)} names."
        )
    for name, column in [("direct", direct), ("variance", variance), *zip(names, table.T, strict=True)]:
        if np.isinf(column).any():
            raise TableProblem(
                f"{name} holds infinite values: {_at(ids, np.isinf(column))}. Replace them or set them to missing."
            )
    negative = variance < 0.0
    if negative.any():
        values = named(variance[negative].tolist())
        raise VarianceProblem(
            f"{int(negative.sum())} sampling variances are negative: {_at(ids, negative)} (values {values}). "
            "Negative numbers are often codes for a missing value; set them to missing (NULL)."
        )


def _at(ids: Sequence[str], mask: NDArray[np.bool_]) -> str:
    return named([ids[i] for i in np.flatnonzero(mask).tolist()])


def _note(given: bool, variance: float, incomplete: bool) -> str:
    parts = []
    if not given:
        parts.append("no direct estimate")
    elif np.isnan(variance):
        parts.append("direct estimate set aside: sampling variance missing")
    elif variance == 0.0:
        parts.append("direct estimate set aside: sampling variance zero")
    if incomplete:
        parts.append("no estimate: covariate missing")
    return "; ".join(parts)


@dataclass(frozen=True)
class StandardisedData:
    """The data on the scale on which the model is fitted.

    Attributes
    ----------
    y, v : ndarray, shape (N,)
        Standardised direct estimates and sampling variances, NaN where not sampled.
    x : ndarray, shape (N, p)
        Design matrix with the intercept first if there is one; rows of areas without an estimate are zero.
    sampled : ndarray of bool, shape (N,)
        Which areas enter the likelihood.
    location, scale : float
        ``direct = location + scale * y``.
    x_location, x_scale : ndarray, shape (p,)
        What was subtracted from and divided out of each column of ``x`` (0 and 1 for the intercept).
    intercept : bool
        Whether the first column is an intercept.
    """

    y: Vector
    v: Vector
    x: Vector
    sampled: NDArray[np.bool_]
    location: float
    scale: float
    x_location: Vector
    x_scale: Vector
    intercept: bool

    def coefficients_to_input(self) -> tuple[Vector, Vector]:
        """Return T, shape (p, p), and t, shape (p,), with ``beta_input = t + T beta``."""
        p = self.x.shape[1]
        transform = np.diag(self.scale / self.x_scale)
        shift = np.zeros(p)
        if self.intercept:
            transform[0, 1:] = -self.scale * self.x_location[1:] / self.x_scale[1:]
            shift[0] = self.location
        return transform, shift


def standardise(data: AreaLevelData, intercept: bool) -> StandardisedData:
    """Standardise as the default specification says.

    ``y = (direct - mean) / SD`` over sampled areas and covariates ``(x - mean) / SD`` over all areas with a value,
    both with ddof 1. Without an intercept nothing is centred, because that would change the model.

    Parameters
    ----------
    data : AreaLevelData
        The data.
    intercept : bool
        Whether the model has an intercept.

    Returns
    -------
    StandardisedData
        The standardised data.

    Raises
    ------
    ModelProblem
        If there are too few sampled areas, the direct estimates do not vary, or covariates are constant or collinear.
    VarianceProblem
        If a sampling variance is out of all proportion to the direct estimates.
    """
    sampled = data.sampled
    p = len(data.covariate_names) + int(intercept)
    if sampled.sum() <= p + 1:
        raise ModelProblem(
            f"{int(sampled.sum())} areas have a direct estimate with a positive sampling variance, too few for {p} "
            f"coefficients and a model variance: at least {p + 2} are needed."
        )
    direct = data.direct[sampled]
    spread = float(np.ptp(direct))
    if not spread > 1e-12 * float(np.abs(direct).max()):
        raise ModelProblem("All direct estimates are the same; there is no variation between areas to model.")
    if not 1.0 / LARGEST < spread < LARGEST:
        raise ModelProblem(f"The direct estimates vary by about {spread:.0e}, too far from 1. Change their unit.")
    location = float(direct.mean()) if intercept else 0.0
    scale = float(direct.std(ddof=1))
    v = data.variance / scale / scale
    extreme = sampled & ~((v > 1.0 / LARGEST) & (v < LARGEST))
    if extreme.any():
        raise VarianceProblem(
            f"{int(extreme.sum())} sampling variances are {LARGEST:.0e} times smaller or larger than the variance "
            f"between direct estimates: {_at(data.areas, extreme)}. Set those that are not known to missing (NULL)."
        )
    x, x_location, x_scale = standardised_design(data.covariates, data.covariate_names, sampled, intercept)
    return StandardisedData(
        (data.direct - location) / scale,
        v,
        x,
        sampled,
        location,
        scale,
        x_location,
        x_scale,
        intercept,
    )


def standardised_design(
    covariates: Vector, names: Sequence[str], sampled: NDArray[np.bool_], intercept: bool
) -> tuple[Vector, Vector, Vector]:
    """Standardise covariates and refuse those that no coefficient can be estimated of.

    Parameters
    ----------
    covariates : ndarray, shape (N, p)
        Values; a row with NaN has no estimate.
    names : sequence of str, length p
        Their names.
    sampled : ndarray of bool, shape (N,)
        Areas that enter the likelihood.
    intercept : bool
        Whether a column of ones goes first, and covariates are centred.

    Returns
    -------
    x, location, scale : ndarray, shapes (N, p + 1), (p + 1,), (p + 1,), or p without an intercept
        As in :class:`StandardisedData`.

    Raises
    ------
    ModelProblem
        If covariates are constant or collinear.
    """
    rows = np.all(np.isfinite(covariates), axis=1)
    x, location, scale = _design(covariates, names, rows, intercept)
    _check_rank(x[sampled], names, intercept)
    return x, location, scale


def _design(
    table: Vector, names: Sequence[str], rows: NDArray[np.bool_], intercept: bool
) -> tuple[Vector, Vector, Vector]:
    spread = table[rows].std(axis=0, ddof=1)
    constant = ~(spread > 1e-12 * np.maximum(1e-300, np.abs(table[rows]).max(axis=0, initial=0.0)))
    if intercept and constant.any():
        raise ModelProblem(
            f"Covariates that are the same everywhere say nothing beside the intercept: "
            f"{named([names[j] for j in np.flatnonzero(constant).tolist()])}. Leave them out."
        )
    # A constant column without an intercept is an intercept of the user's own: keep it, scaled by its size.
    size = np.where(constant, np.maximum(np.abs(table[rows]).max(axis=0, initial=0.0), 1e-300), spread)
    centre = table[rows].mean(axis=0) if intercept else np.zeros(table.shape[1])
    scaled = np.where(rows[:, None], (table - centre) / size, 0.0)
    if not intercept:
        return scaled, centre, size
    ones = np.where(rows, 1.0, 0.0)[:, None]
    return np.hstack([ones, scaled]), np.concatenate([[0.0], centre]), np.concatenate([[1.0], size])


def _check_rank(x: Vector, names: Sequence[str], intercept: bool) -> None:
    """Refuse a design without full column rank on the sampled areas, naming the columns that depend on others."""
    _, r, order = scipy.linalg.qr(x / np.maximum(np.linalg.norm(x, axis=0), 1e-300), mode="economic", pivoting=True)
    left = np.abs(np.diag(r))
    dependent = order[left <= COLLINEARITY * left[0]]
    if len(dependent):
        terms = (["the intercept"] if intercept else []) + list(names)
        raise ModelProblem(
            f"Covariates are collinear on the sampled areas: {named([terms[j] for j in sorted(dependent)])} can be "
            "written by the other terms. Leave them out."
        )
