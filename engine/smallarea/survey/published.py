"""One published indicator: estimates and errors as they were printed, made into what a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import TableProblem, VarianceProblem, named
from smallarea.io import numeric_column
from smallarea.survey import acs
from smallarea.survey.published_errors import variance_of, variance_of_limits
from smallarea.survey.scales import (
    PROPORTIONS,
    effective_sample_size,
    freeman_tukey,
    freeman_tukey_variance,
    transform,
)

Vector = NDArray[np.float64]
Marks = NDArray[np.object_]

MISSING = "missing"
ZERO_VARIANCE = "zero_variance"
ZERO_ESTIMATE = "zero_estimate"
NOT_TRANSFORMED = "not_transformed"

# Limits of an open interval in place of an estimate.
CODED = frozenset({acs.TOP_CODED, acs.BOTTOM_CODED, acs.OPEN_ENDED})


@dataclass(frozen=True)
class Rules:
    """How published numbers are read; the names are those of the job ``prepare_published``.

    Attributes
    ----------
    error_type, annotations, coded_estimates, zero_estimates, transformation
        As in the job.
    factor : float
        Of margins of error and confidence limits, in standard errors.
    scale : float
        What stands for 1: 100 for percentages.
    multiplier : float
        Of the Freeman-Tukey transformation.
    """

    error_type: str
    annotations: str
    coded_estimates: str
    zero_estimates: str
    transformation: str
    factor: float
    scale: float
    multiplier: float


@dataclass(frozen=True)
class Fields:
    """Fields of one indicator; None for what there is not.

    Attributes
    ----------
    name : str
        What the indicator is called in the output.
    estimate : str
        Estimates.
    error : str or None
        Their errors, or lower confidence limits.
    upper : str or None
        Upper confidence limits.
    n, n_eff, denominator : str or None
        Sample sizes, effective sample sizes, those at risk.
    """

    name: str
    estimate: str
    error: str | None
    upper: str | None
    n: str | None
    n_eff: str | None
    denominator: str | None


@dataclass(frozen=True)
class Indicator:
    """One indicator, prepared.

    Attributes
    ----------
    name : str
        What it is called.
    columns : dict of str to ndarray, each of shape (N,)
        Columns of the output by name.
    flags : tuple of tuple of str, length N
        What is special about each area.
    has_error : bool
        Whether sampling variances of the untransformed estimates were published.
    """

    name: str
    columns: dict[str, NDArray[np.generic]]
    flags: tuple[tuple[str, ...], ...]
    has_error: bool

    def areas_with(self, flag: str, ids: Sequence[str]) -> list[str]:
        """List the areas that have a flag."""
        return [area for area, flags in zip(ids, self.flags, strict=True) if flag in flags]


def prepare_indicator(frame: pd.DataFrame, fields: Fields, rules: Rules, ids: Sequence[str]) -> Indicator:
    """Read one indicator and bring it into the form that a model takes.

    Parameters
    ----------
    frame : pandas.DataFrame
        A row for each area.
    fields : Fields
        Where the indicator is.
    rules : Rules
        How it is read.
    ids : sequence of str, length N
        Area ids.

    Returns
    -------
    Indicator
        Columns NAME, variance_NAME, se_NAME, cv_NAME (those of the error if there is one), n_NAME, n_eff_NAME,
        denominator_NAME as far as they are known, flag_NAME, and those of the transformed estimates.

    Raises
    ------
    TableProblem, VarianceProblem
        If a field is missing, or a number cannot be what it is said to be.
    """
    flags: list[list[str]] = [[] for _ in ids]
    estimate, variance = _read(frame, fields, rules, ids, flags)
    estimate, variance = _refuse_what_misleads(estimate, variance, fields, rules, flags)
    columns: dict[str, NDArray[np.generic]] = {fields.name: estimate}
    if fields.error is not None:
        columns |= _errors(fields.name, estimate, variance)
    sizes = _sizes(frame, fields, ids)
    n_eff = sizes.get("n_eff")
    if n_eff is None and rules.transformation in PROPORTIONS:
        sizes["n_eff"] = effective_sample_size(estimate, variance)
    columns |= {f"{kind}_{fields.name}": values for kind, values in sizes.items()}
    more = (
        {}
        if rules.transformation == "none"
        else _other_scale(fields, rules, ids, estimate, variance, sizes, n_eff, flags)
    )
    columns[f"flag_{fields.name}"] = np.array(["; ".join(of) for of in flags], dtype=object)
    return Indicator(fields.name, columns | more, tuple(tuple(of) for of in flags), fields.error is not None)


def _read(
    frame: pd.DataFrame, fields: Fields, rules: Rules, ids: Sequence[str], flags: list[list[str]]
) -> tuple[Vector, Vector]:
    """Return estimates and variances, in proportions if there is a scale; note what stands in their place."""
    read = acs.read_annotated if rules.annotations == "acs" else _read_plain
    found = read(frame, fields.estimate, ids)
    error = read(frame, fields.error, ids) if fields.error is not None else None
    upper = read(frame, fields.upper, ids) if fields.upper is not None else None
    if error is None:
        variance = np.full(len(ids), np.nan)
    elif upper is not None:
        names = (str(fields.error), str(fields.upper))
        variance = variance_of_limits(error.numbers, upper.numbers, found.numbers, rules.factor, names, ids)
    else:
        variance = variance_of(error.numbers, found.numbers, rules.error_type, rules.factor, str(fields.error), ids)
    if rules.annotations == "acs" and error is not None:
        found = acs.mark_open_ends(found, error.numbers)
    for row, of in enumerate(flags):
        _note(of, found.numbers[row], str(found.marks[row]), variance[row], _mark(error, row), error is not None)
    return found.numbers / rules.scale, variance / rules.scale**2


def _mark(error: acs.Annotated | None, row: int) -> str:
    return "" if error is None else str(error.marks[row])


def _note(flags: list[str], estimate: float, mark: str, variance: float, error_mark: str, has_error: bool) -> None:
    """Write down what is known of an area before any rule is applied."""
    if not np.isfinite(estimate):
        flags.append(mark or MISSING)
        return
    if mark:
        flags.append(mark)
    if not has_error:
        return
    if error_mark in (acs.CONTROLLED, acs.OPEN_ENDED):
        # An open end whose direction is known needs no second word.
        if not (error_mark == acs.OPEN_ENDED and mark):
            flags.append(error_mark)
    elif not np.isfinite(variance):
        if not mark:
            flags.append(acs.NO_ERROR)
    elif variance == 0.0:
        flags.append(ZERO_VARIANCE)
    if estimate == 0.0:
        flags.append(ZERO_ESTIMATE)


def _refuse_what_misleads(
    estimate: Vector, variance: Vector, fields: Fields, rules: Rules, flags: list[list[str]]
) -> tuple[Vector, Vector]:
    """Empty what must not be used as it is."""
    estimate, variance = estimate.copy(), variance.copy()
    # Of a zero count whose law is known (Poisson) nothing is doubtful; it has no published error either.
    doubtful_zero = fields.error is not None and rules.zero_estimates == "missing"
    for row, of in enumerate(flags):
        coded = bool(CODED & set(of)) and rules.coded_estimates == "missing"
        if coded or (ZERO_ESTIMATE in of and doubtful_zero):
            estimate[row] = np.nan
    variance[(variance == 0.0) | ~np.isfinite(estimate)] = np.nan
    return estimate, variance


def _errors(name: str, estimate: Vector, variance: Vector) -> dict[str, NDArray[np.generic]]:
    error = np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        cv = error / np.abs(estimate)
    return {f"variance_{name}": variance, f"se_{name}": error, f"cv_{name}": np.where(np.isfinite(cv), cv, np.nan)}


def _sizes(frame: pd.DataFrame, fields: Fields, ids: Sequence[str]) -> dict[str, Vector]:
    """Return sample sizes and denominators, none of which is negative."""
    found: dict[str, Vector] = {}
    for kind, field in (("n", fields.n), ("n_eff", fields.n_eff), ("denominator", fields.denominator)):
        if field is None:
            continue
        values = numeric_column(frame, field, ids)
        negative = np.flatnonzero(values < 0.0).tolist()
        if negative:
            raise TableProblem(
                f"Field {field!r} is negative in {len(negative)} areas: {named([ids[i] for i in negative])}. Sizes are "
                "zero or more; leave unknown ones empty."
            )
        found[kind] = values
    return found


def _other_scale(
    fields: Fields,
    rules: Rules,
    ids: Sequence[str],
    estimate: Vector,
    variance: Vector,
    sizes: dict[str, Vector],
    n_eff: Vector | None,
    flags: list[list[str]],
) -> dict[str, NDArray[np.generic]]:
    """Return the columns of the transformed estimates, and flag the areas that have none."""
    name = f"{rules.transformation}_{fields.name}"
    if rules.transformation == "freeman_tukey":
        total = sizes["denominator"]
        lacking = np.flatnonzero(np.isfinite(estimate) & ~(total > 0.0)).tolist()
        if lacking:
            raise VarianceProblem(
                f"{len(lacking)} areas with a count {fields.estimate!r} have no positive number of those at risk "
                f"({fields.denominator!r}): {named([ids[i] for i in lacking])}. Give it, or set the counts to missing."
            )
        negative = np.flatnonzero(estimate < 0.0).tolist()
        if negative:
            raise TableProblem(f"Counts of {fields.estimate!r} are negative in {named([ids[i] for i in negative])}.")
        total = np.where(total > 0.0, total, np.nan)
        y = freeman_tukey(estimate, total, rules.multiplier)
        given = variance if fields.error is not None else None
        v, impossible = freeman_tukey_variance(estimate, given, total, rules.multiplier)
        y, v = np.where(impossible, np.nan, y), np.where(np.isfinite(estimate), v, np.nan)
    else:
        done = transform(rules.transformation, estimate, variance, n_eff, fields.estimate, ids)
        y, v, impossible = done.estimate, done.variance, done.impossible
    for row in np.flatnonzero(impossible).tolist():
        flags[row].append(NOT_TRANSFORMED)
    return {name: y, f"variance_{name}": v, f"se_{name}": np.sqrt(v)}


def _read_plain(frame: pd.DataFrame, name: str, ids: Sequence[str]) -> acs.Annotated:
    return acs.Annotated(numeric_column(frame, name, ids), np.full(len(frame), "", dtype=object))
