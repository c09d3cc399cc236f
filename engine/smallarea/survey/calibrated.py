"""Calibrated weights and what is to be known of them: totals before and after, g-factors, design effects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem, named
from smallarea.io import numeric_column
from smallarea.survey.calibration import Calibration, CalibrationSpecification, calibration_matrix
from smallarea.survey.calibration_solve import poststratified, raked, regression
from smallarea.survey.calibration_totals import match_totals

Vector = NDArray[np.float64]

DESIGN, CALIBRATED, FACTOR = "weight_design", "weight", "g_factor"
_QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)
# A respondent who stands for so many times more, or fewer, people than the design says.
_EXTREME = 4.0


@dataclass(frozen=True)
class CalibratedWeights:
    """Respondents with calibrated weights.

    Attributes
    ----------
    frame : pandas.DataFrame
        The survey with the columns ``weight_design`` (before), ``weight`` (calibrated) and ``g_factor`` (their ratio)
        in the place of the weights.
    totals : pandas.DataFrame
        One row a total: ``margin``, ``category``, ``respondents``, ``total``, ``before``, ``after``, ``factor``
        (after / before).
    weights : pandas.DataFrame
        One row a number of ``name``, ``before``, ``after``: sum, least, largest, design effect of weighting, effective
        sample size.
    specification : CalibrationSpecification
        What was asked for.
    settings : mapping
        Printable.
    warnings, notes : tuple of str
        What to know before using the weights.
    """

    frame: pd.DataFrame
    totals: pd.DataFrame
    weights: pd.DataFrame
    specification: CalibrationSpecification
    settings: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def calibration(self) -> Calibration:
        """What variance estimation needs. Its matrix has a column for each total and is made when it is asked for."""
        matrix = calibration_matrix(self.frame, self.specification)
        base, found = (self.frame[name].to_numpy(dtype=np.float64) for name in (DESIGN, CALIBRATED))
        return Calibration(self.specification.method, matrix, base, found)

    @property
    def summary(self) -> dict[str, Any]:
        """Numbers of respondents and totals, sums, g-factors, design effects of weighting."""
        before, after = (self.weights.set_index("name")[name] for name in ("before", "after"))
        factors = self.frame[FACTOR]
        return {
            "method": self.specification.method,
            "n_respondents": len(self.frame),
            "n_totals": len(self.totals),
            "sum_before": float(before["sum"]),
            "sum_after": float(after["sum"]),
            "least_factor": float(factors.min()),
            "largest_factor": float(factors.max()),
            "deff_before": float(before["design effect"]),
            "deff_after": float(after["design effect"]),
            "n_negative": int((self.frame[CALIBRATED] < 0.0).sum()),
        }


def calibrate(
    frame: pd.DataFrame,
    weight: str,
    specification: CalibrationSpecification,
    *,
    cell_change: float | None = None,
    settings: Mapping[str, Any] | None = None,
) -> CalibratedWeights:
    """Calibrate the weights of a survey to known totals.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each respondent.
    weight : str
        Field with the base weights, zero or more.
    specification : CalibrationSpecification
        What the weights have to add up to.
    cell_change : float, optional
        For raking, see :func:`smallarea.survey.calibration_solve.raked`.
    settings : mapping, optional
        What was asked for, kept in the result.

    Returns
    -------
    CalibratedWeights
        With the totals before and after.

    Raises
    ------
    TableProblem
        If weights are missing or negative, a name of the output is taken, or totals and respondents do not match.
    ModelProblem
        If a raking does not come to an end.
    EngineUnavailable
        If svy is needed and not installed.
    """
    base = _base_weights(frame, weight)
    taken = [name for name in (DESIGN, CALIBRATED, FACTOR) if name in frame.columns and name != weight]
    if taken:
        raise TableProblem(
            f"The survey has fields of the names that the result needs: {named(taken)}. Rename them, or use them as "
            "weights."
        )
    specification, codes = match_totals(frame, base, specification)
    names = [f"{label} of {m.name}" if m.fields else m.name for m in specification.margins for label in m.labels]
    notes: tuple[str, ...] = ()
    if specification.method == "poststratify":
        found = poststratified(base, codes[0], specification.totals)
    elif specification.method == "rake":
        found, sweeps = raked(base, codes, specification.margins, cell_change)
        notes = (f"Raking ended after {sweeps} sweeps.",)
    else:
        found = regression(base, calibration_matrix(frame, specification), specification.totals, names)
    factors = g_factors(base, found)
    return CalibratedWeights(
        _with_weights(frame, base, found, factors),
        _totals_table(frame, specification, codes, base, found),
        _weights_table(base, found, factors),
        specification,
        dict(settings or {}),
        _warnings(found, factors),
        notes,
    )


def g_factors(base: Vector, found: Vector) -> Vector:
    """Return the ratios of calibrated to base weights; 1 where both are zero.

    Parameters
    ----------
    base, found : ndarray, shape (n,)
        Weights before and after.

    Returns
    -------
    ndarray, shape (n,)
        Factors.
    """
    return np.divide(found, base, out=np.ones_like(base), where=base > 0.0)


def weighting_effect(weights: Vector) -> float:
    """Return the design effect of unequal weights, ``n sum w^2 / (sum w)^2`` (Kish 1965).

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Weights; zeros do not count.

    Returns
    -------
    float
        1 for equal weights.
    """
    used = weights[weights != 0.0]
    return float(len(used) * np.sum(used**2) / np.sum(used) ** 2)


_MEASURES: Mapping[str, Callable[[Vector], Any]] = {
    "sum": np.sum,
    "least": np.min,
    "largest": np.max,
    "design effect": weighting_effect,
}


def _base_weights(frame: pd.DataFrame, weight: str) -> Vector:
    if not len(frame):
        raise TableProblem("The survey has no rows.")
    base = numeric_column(frame, weight)
    for bad, what in ((np.isnan(base), "missing"), (base < 0.0, "negative")):
        rows = (np.flatnonzero(bad) + 1).tolist()
        if rows:
            raise TableProblem(
                f"{len(rows)} weights of the field {weight!r} are {what}: rows {named(rows)}. Give every respondent a "
                "weight of zero or more."
            )
    if not base.any():
        raise TableProblem(f"All weights of the field {weight!r} are zero.")
    return base


def _with_weights(frame: pd.DataFrame, base: Vector, found: Vector, factors: Vector) -> pd.DataFrame:
    columns = {DESIGN: base, CALIBRATED: found, FACTOR: factors}
    # The weight field itself stays under its own name unless that is one of the new ones: it is repeated as
    # weight_design, so that programs find it whatever it was called.
    kept = frame.drop(columns=[name for name in columns if name in frame.columns])
    return kept.assign(**columns)


def _totals_table(
    frame: pd.DataFrame,
    specification: CalibrationSpecification,
    codes: Sequence[NDArray[np.int64]],
    base: Vector,
    found: Vector,
) -> pd.DataFrame:
    parts = []
    for margin, place in zip(specification.margins, codes, strict=True):
        here = place >= 0
        size = len(margin.levels)
        values = np.ones(len(frame)) if margin.variable is None else numeric_column(frame, margin.variable)
        sums = [np.bincount(place[here], weights=(values * w)[here], minlength=size) for w in (base, found)]
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.where(sums[0] != 0.0, sums[1] / sums[0], np.nan)
        columns = {
            "margin": margin.name, "category": list(margin.labels),
            "respondents": np.bincount(place[here], minlength=size), "total": margin.totals, "before": sums[0],
            "after": sums[1], "factor": factor,
        }  # fmt: skip
        parts.append(pd.DataFrame(columns))
    return pd.concat(parts, ignore_index=True)


def _weights_table(base: Vector, found: Vector, factors: Vector) -> pd.DataFrame:
    rows = [(name, float(of(base)), float(of(found))) for name, of in _MEASURES.items()]
    effective = [float(np.count_nonzero(side)) / weighting_effect(side) for side in (base, found)]
    rows.append(("effective sample size", effective[0], effective[1]))
    for share, value in zip(_QUANTILES, np.quantile(factors, _QUANTILES), strict=True):
        rows.append((f"g-factor, quantile {share:g}", np.nan, float(value)))
    return pd.DataFrame(rows, columns=["name", "before", "after"])


def _warnings(found: Vector, factors: Vector) -> tuple[str, ...]:
    said = []
    negative = _rows(found < 0.0)
    if negative:
        said.append(
            f"{len(negative)} calibrated weights are negative: rows {named(negative)}. A regression estimator allows "
            "it, but many programs do not take such weights; rake instead, or merge categories."
        )
    # Against the common change of scale: weights that are to add up to a population are often all far too small.
    usual = float(np.median(factors))
    extreme = (
        _rows((factors > _EXTREME * usual) | ((factors >= 0.0) & (factors < usual / _EXTREME))) if usual > 0 else []
    )
    if extreme:
        said.append(
            f"The weights of {len(extreme)} respondents change by more than {_EXTREME:g} times the usual factor "
            f"{usual:.3g}: rows {named(extreme)}. Their categories are thin or the totals are of something else; merge "
            "categories or look at the totals."
        )
    return tuple(said)


def _rows(flags: Sequence[bool] | NDArray[np.bool_]) -> list[int]:
    return [int(row) + 1 for row in np.flatnonzero(flags)]
