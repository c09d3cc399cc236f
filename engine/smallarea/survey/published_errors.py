"""Sampling variances from whatever measure of error an office publishes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, VarianceProblem, named

Vector = NDArray[np.float64]

ERROR_TYPES = ("variance", "standard_error", "margin_of_error", "cv", "cv_percent", "confidence_limits")
MOE_FACTORS = ("rounded", "exact")
# Offices publish margins of error with these rounded factors (U.S. Census Bureau: 1.645 at 90 percent).
Z_DIGITS = 3


def moe_factor(level: float, rounding: str = "rounded") -> float:
    """Return by what a standard error is multiplied to make a margin of error.

    Parameters
    ----------
    level : float
        Confidence level, between 0 and 1.
    rounding : {'rounded', 'exact'}
        ``rounded``: the normal quantile with three decimals, as offices use it (1.645 at 0.90, 1.960 at 0.95).
        ``exact``: the normal quantile itself (1.6448536... at 0.90).

    Returns
    -------
    float
        The factor.

    Raises
    ------
    JobProblem
        If there is no such rounding.
    """
    from scipy import special

    if rounding not in MOE_FACTORS:
        raise JobProblem(f"There is no moe_factor {rounding!r}. Choose one of {named(MOE_FACTORS)}.")
    exact = float(special.ndtri(0.5 + 0.5 * level))
    return round(exact, Z_DIGITS) if rounding == "rounded" else exact


def variance_of(
    error: Vector, estimate: Vector, error_type: str, factor: float, field: str, ids: Sequence[str]
) -> Vector:
    """Turn a published measure of error into sampling variances.

    Parameters
    ----------
    error : ndarray, shape (N,)
        As published, NaN where missing.
    estimate : ndarray, shape (N,)
        The estimates, which coefficients of variation are relative to.
    error_type : {'variance', 'standard_error', 'margin_of_error', 'cv', 'cv_percent'}
        What it is.
    factor : float
        Of margins of error; see `moe_factor`.
    field : str
        Name of the field, for messages.
    ids : sequence of str, length N
        Area ids, for messages.

    Returns
    -------
    ndarray, shape (N,)
        Sampling variances.

    Raises
    ------
    VarianceProblem
        If a value is negative: squaring would hide it.
    """
    negative = np.flatnonzero(error < 0.0).tolist()
    if negative:
        raise VarianceProblem(
            f"Field {field!r} is negative in {len(negative)} areas: {named([ids[i] for i in negative])} (values "
            f"{named(error[negative].tolist())}). Errors are never negative; if these are codes for a missing value, "
            "leave them empty."
        )
    if error_type == "variance":
        return error
    if error_type == "cv":
        return (error * estimate) ** 2
    if error_type == "cv_percent":
        return (error * estimate / 100.0) ** 2
    return (error / (factor if error_type == "margin_of_error" else 1.0)) ** 2


def variance_of_limits(
    lower: Vector, upper: Vector, estimate: Vector, factor: float, fields: tuple[str, str], ids: Sequence[str]
) -> Vector:
    """Turn confidence limits that are symmetric about the estimate into sampling variances.

    Parameters
    ----------
    lower, upper : ndarray, shape (N,)
        The limits, NaN where missing.
    estimate : ndarray, shape (N,)
        The estimates.
    factor : float
        Half widths in standard errors; see `moe_factor`.
    fields : (str, str)
        Names of the two fields, for messages.
    ids : sequence of str, length N
        Area ids, for messages.

    Returns
    -------
    ndarray, shape (N,)
        ``((upper - lower) / (2 factor))^2``.

    Raises
    ------
    VarianceProblem
        If an estimate lies outside its limits, as where fields are swapped.
    """
    # Limits are published with few digits; the estimate may be a rounding error outside.
    slack = 1e-9 * np.abs(estimate)
    outside = np.flatnonzero((lower > estimate + slack) | (upper < estimate - slack) | (lower > upper)).tolist()
    if outside:
        raise VarianceProblem(
            f"{len(outside)} estimates lie outside their confidence limits {fields[0]!r} and {fields[1]!r}: "
            f"{named([ids[i] for i in outside])}. Check that the lower limits come first and belong to this estimate."
        )
    return ((upper - lower) / (2.0 * factor)) ** 2
