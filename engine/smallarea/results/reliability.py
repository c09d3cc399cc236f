"""Reliability classes of estimates, by a preset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from smallarea.errors import TableProblem, named
from smallarea.results.reliability_preset import (
    NO_ESTIMATE,
    NOT_MEANINGFUL,
    OTHERWISE,
    ReliabilityClass,
    ReliabilityPreset,
    load_preset,
    preset_from_mapping,
    preset_names,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "NOT_MEANINGFUL",
    "NO_ESTIMATE",
    "OTHERWISE",
    "ReliabilityClass",
    "ReliabilityPreset",
    "classify",
    "coefficient_of_variation",
    "load_preset",
    "preset_from_mapping",
    "preset_names",
    "scale_cautions",
]

FloatArray = npt.NDArray[np.float64]


def coefficient_of_variation(estimate: npt.ArrayLike, se: npt.ArrayLike) -> FloatArray:
    """Return standard error over absolute estimate; NaN where the estimate is zero or a value is missing.

    Parameters
    ----------
    estimate, se : array-like
        Estimates and their standard errors.

    Returns
    -------
    numpy.ndarray
        Fractions, not percentages.
    """
    size = np.abs(np.asarray(estimate, dtype=np.float64))
    error = np.asarray(se, dtype=np.float64)
    ratio = np.full(np.broadcast(size, error).shape, np.nan)
    with np.errstate(over="ignore"):  # an estimate next to zero: an infinite CV is the right answer
        np.divide(error, size, out=ratio, where=np.isfinite(size) & np.isfinite(error) & (size > 0.0))
    return ratio


def classify(estimates: pd.DataFrame, preset: ReliabilityPreset) -> npt.NDArray[np.object_]:
    """Give each estimate its reliability class.

    An estimate that is missing is of the class *no estimate*. Where a relative error says nothing, because the
    interval contains zero, the estimate is zero or there is no standard error (rule ``cv``), or because the estimate
    is not strictly between 0 and 1 (rule ``log_proportion``), it is of the class *not meaningful*. Areas without a
    direct estimate are classed like the others, by the error of their prediction; the column ``sampled`` tells them
    apart.

    Parameters
    ----------
    estimates : pandas.DataFrame
        Columns ``estimate`` and ``se``; ``lower`` and ``upper`` are used if there.
    preset : ReliabilityPreset
        The rule.

    Returns
    -------
    numpy.ndarray of object
        Labels, one for each row.

    Raises
    ------
    TableProblem
        If a column is missing.
    """
    missing = [c for c in ("estimate", "se") if c not in estimates]
    if missing:
        raise TableProblem(f"The estimates table has no column {named(missing)}, so it cannot be classed.")
    estimate = estimates["estimate"].to_numpy(dtype=np.float64, na_value=np.nan)
    se = estimates["se"].to_numpy(dtype=np.float64, na_value=np.nan)
    if preset.rule == "log_proportion":
        error, effective_n, meaningful = _log_proportion_error(estimate, se)
    else:
        error = coefficient_of_variation(estimate, se)
        effective_n = np.full(error.shape, np.inf)
        meaningful = np.isfinite(error) & ~_interval_contains_zero(estimates)
    percent = 100.0 * error
    if preset.decimals is not None:
        percent = np.round(percent, preset.decimals)

    labels = np.full(len(estimates), preset.label_when(OTHERWISE), dtype=object)
    for one in reversed([c for c in preset.classes if c.when is None]):
        # Worst first, so that each better class overwrites what it may claim.
        inside = one.admits(percent)
        if one.effective_n_above is not None:
            inside &= effective_n > one.effective_n_above
        labels[inside] = one.label
    labels[~meaningful] = preset.label_when(NOT_MEANINGFUL)
    labels[~np.isfinite(estimate)] = preset.label_when(NO_ESTIMATE)
    return labels


def scale_cautions(estimates: pd.DataFrame, preset: ReliabilityPreset) -> tuple[str, ...]:
    """Say where the preset does not suit the estimates.

    Parameters
    ----------
    estimates : pandas.DataFrame
        Column ``estimate``.
    preset : ReliabilityPreset
        The rule.

    Returns
    -------
    tuple of str
        Sentences for the user; empty if there is nothing to say.
    """
    values = estimates["estimate"].to_numpy(dtype=np.float64, na_value=np.nan)
    values = values[np.isfinite(values)]
    if not values.size:
        return ()
    if preset.rule == "log_proportion":
        outside = int(np.count_nonzero((values <= 0.0) | (values >= 1.0)))
        if outside:
            return (
                f"The reliability preset {preset.name!r} is for proportions, but {outside} of {values.size} "
                "estimates are not strictly between 0 and 1. Choose a preset that judges by the CV, or divide "
                "percentages by 100.",
            )
        return ()
    negative = int(np.count_nonzero(values < 0.0))
    if 0 < negative < values.size:
        return (
            f"Estimates change sign ({negative} of {values.size} are negative). The CV compares the error with the "
            "distance from zero, which has no special meaning for such a quantity: judge by the standard error, "
            "not by the class.",
        )
    return ()


def _interval_contains_zero(estimates: pd.DataFrame) -> npt.NDArray[np.bool_]:
    if "lower" not in estimates or "upper" not in estimates:
        return np.zeros(len(estimates), dtype=bool)
    lower = estimates["lower"].to_numpy(dtype=np.float64, na_value=np.nan)
    upper = estimates["upper"].to_numpy(dtype=np.float64, na_value=np.nan)
    return (lower <= 0.0) & (upper >= 0.0)


def _log_proportion_error(p: FloatArray, se: FloatArray) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    # The delta method: se(-ln p) = se(p) / p. Above one half the complement is judged, so the rule is symmetric.
    inside = (p > 0.0) & (p < 1.0) & (se >= 0.0)
    q = np.where(inside, np.minimum(p, 1.0 - p), 0.5)
    spread = np.where(inside & (se > 0.0), se, 1.0)
    error = np.where(inside, np.where(se > 0.0, spread, 0.0) / q / -np.log(q), np.nan)
    effective_n = np.where(inside & (se > 0.0), q * (1.0 - q) / spread**2, np.inf)
    return error, effective_n, inside
