"""Sampling variances, and correlations between the sampling errors of responses, from what offices publish."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import VarianceProblem, named
from smallarea.survey.published_errors import moe_factor

Vector = NDArray[np.float64]

# Sampling covariances whose matrix of correlations has a smaller eigenvalue count as contradictory.
SMALLEST_EIGENVALUE = 1e-10


def sampling_variance(values: Vector, variance_type: str, moe_level: float, field: str, ids: Sequence[str]) -> Vector:
    """Turn standard errors or margins of error into sampling variances.

    Parameters
    ----------
    values : ndarray, shape (N,)
        As in the table, NaN where missing.
    variance_type : {'variance', 'standard_error', 'margin_of_error'}
        What they are.
    moe_level : float
        Confidence level of margins of error; the normal factor is rounded to three digits, as offices do
        (1.645 at 0.90).
    field : str
        The field's name, for messages.
    ids : sequence of str
        Area ids, for messages.

    Returns
    -------
    ndarray, shape (N,)
        Sampling variances.

    Raises
    ------
    VarianceProblem
        If a value is negative: squaring would hide a missing-value code such as -555555555.
    """
    negative = values < 0.0
    if negative.any():
        where = np.flatnonzero(negative)
        raise VarianceProblem(
            f"Field {field!r} is negative in {len(where)} areas: {_areas(ids, negative)} (values "
            f"{named(values[where].tolist())}). Negative numbers are often codes for a missing value; set them to "
            "missing (NULL)."
        )
    if variance_type == "variance":
        return values
    if variance_type == "standard_error":
        return values**2
    return (values / moe_factor(moe_level)) ** 2


def correlation_of(covariance: Vector, first: Vector, second: Vector, field: str, ids: Sequence[str]) -> Vector:
    """Turn sampling covariances between two responses into correlations.

    Parameters
    ----------
    covariance : ndarray, shape (N,)
        As in the table, NaN where missing.
    first, second : ndarray, shape (N,)
        Sampling variances of the two responses where they have direct estimates, NaN elsewhere.
    field : str
        The field's name, for messages.
    ids : sequence of str
        Area ids, for messages.

    Returns
    -------
    ndarray, shape (N,)
        Correlations; 0 where not both responses have direct estimates.

    Raises
    ------
    VarianceProblem
        If a covariance is missing where both responses have direct estimates, or not smaller than the product of the
        standard errors.
    """
    used = np.isfinite(first) & np.isfinite(second)
    missing = used & ~np.isfinite(covariance)
    if missing.any():
        raise VarianceProblem(
            f"Field {field!r} has no sampling covariance in {int(missing.sum())} areas where both responses have "
            f"direct estimates: {_areas(ids, missing)}. Fill them in (0 if the errors are independent), or leave "
            "'covariance' out."
        )
    value = np.zeros(len(covariance))
    value[used] = covariance[used] / np.sqrt(first[used] * second[used])
    large = np.abs(value) >= 1.0
    if large.any():
        raise VarianceProblem(
            f"Field {field!r} is not smaller than the product of the standard errors in {int(large.sum())} areas: "
            f"{_areas(ids, large)}. Covariances have the units of the two direct estimates multiplied; check that "
            "they are not correlations or standard errors, and that the fields are in the order (1, 2), (1, 3), ..., "
            "(2, 3), ..."
        )
    return value


def check_together(correlation: Vector, fields: Sequence[str], ids: Sequence[str]) -> None:
    """Refuse covariances between three responses or more that cannot all be true at once.

    Parameters
    ----------
    correlation : ndarray, shape (N, K, K)
        Sampling correlations, with ones on the diagonal.
    fields : sequence of str
        The fields that they come from, for the message.
    ids : sequence of str
        Area ids, for the message.

    Raises
    ------
    VarianceProblem
        If the matrix of an area is not positive definite.
    """
    bad = np.linalg.eigvalsh(correlation)[:, 0] < SMALLEST_EIGENVALUE
    if bad.any():
        raise VarianceProblem(
            f"The sampling covariances {named(fields)} contradict each other in {int(bad.sum())} areas: "
            f"{_areas(ids, bad)}. With the variances they do not form a positive definite matrix. Check their order: "
            "(1, 2), (1, 3), ..., (2, 3), ..."
        )


def _areas(ids: Sequence[str], where: NDArray[np.bool_]) -> str:
    return named([ids[i] for i in np.flatnonzero(where).tolist()])
