"""The sampling design: weights, strata, sampling units stage by stage, finite populations, replicate weights.

A design is made of columns once, checked once, and never subset: an area is a domain of the whole design, so that
every sampling unit counts, whether it has respondents in the area or not (Särndal, Swensson and Wretman 1992, ch. 10).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named

if TYPE_CHECKING:
    from smallarea.survey.calibration import Calibration
    from smallarea.survey.replication import ReplicateWeights

Vector = NDArray[np.float64]
Codes = NDArray[np.int64]
LonelyPsu = Literal["fail", "adjust", "average", "certainty"]

# Below this share of units not sampled a stratum counts as taken whole.
_WHOLE = 1e-7


@dataclass(frozen=True)
class Stage:
    """One stage of sampling.

    Attributes
    ----------
    unit : ndarray of int, shape (n,)
        Sampling unit of each row, 0 to U - 1, different in different strata and parents.
    stratum : ndarray of int, shape (U,)
        Stratum of each unit, 0 to H - 1; units of different parents are in different strata.
    parent : ndarray of int, shape (H,)
        Unit of the stage before in which the stratum lies; 0 at the first stage.
    labels : tuple of str, length H
        What to call the strata in messages.
    size : ndarray of int, shape (H,)
        Units in the sample.
    population : ndarray, shape (H,)
        Units in the population; infinite without a finite population correction.
    """

    unit: Codes
    stratum: Codes
    parent: Codes
    labels: tuple[str, ...]
    size: Codes
    population: Vector

    @property
    def unsampled(self) -> Vector:
        """Share of the units that is not in the sample, ``1 - n / N``, shape (H,)."""
        return 1.0 - self.size / self.population

    @property
    def lonely(self) -> NDArray[np.bool_]:
        """Strata with a single unit which are not taken whole, shape (H,)."""
        return (self.size == 1) & (self.unsampled > _WHOLE)


@dataclass(frozen=True)
class SurveyDesign:
    """How the sample was drawn.

    Attributes
    ----------
    weights : ndarray, shape (n,)
        Weight of each row, not negative; a row with weight zero does not count.
    stages : tuple of Stage
        First stage first.
    lonely_psu : {'fail', 'adjust', 'average', 'certainty'}
        What a stratum with one sampling unit contributes to a variance: an error, its deviation from the grand mean,
        the mean of the other strata, or nothing.
    replicates : ReplicateWeights, optional
        If given, variances come from them and the stages are not used.
    calibration : Calibration, optional
        How the weights were calibrated; linearised variances then are those of calibrated estimates.
    """

    weights: Vector
    stages: tuple[Stage, ...]
    lonely_psu: LonelyPsu = "fail"
    replicates: ReplicateWeights | None = None
    calibration: Calibration | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.weights)

    @property
    def df(self) -> int:
        """Degrees of freedom of the design: first-stage units less strata, both with a positive weight somewhere."""
        first = self.stages[0]
        units = np.unique(first.unit[self.weights > 0.0])
        return len(units) - len(np.unique(first.stratum[units]))


def survey_design(
    weights: Vector,
    *,
    strata: Sequence[Sequence[object] | NDArray] = (),
    psu: Sequence[Sequence[object] | NDArray] = (),
    fpc: Sequence[Vector] = (),
    nest: bool = False,
    lonely_psu: LonelyPsu = "fail",
    replicates: ReplicateWeights | None = None,
    calibration: Calibration | None = None,
) -> SurveyDesign:
    """Make a design of columns.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Sampling weights, the inverse of inclusion probabilities or calibrated.
    strata : sequence of columns
        Strata of each stage, first stage first; may be shorter than `psu`, or empty.
    psu : sequence of columns
        Sampling units of each stage: primary sampling units, then second stages. Without any, rows are the units.
    fpc : sequence of ndarray
        For each stage the number of units in the population of the stratum, or the sampling fraction if no value is
        above one. Without it, or at stages after the last one given, sampling counts as with replacement.
    nest : bool
        Labels of sampling units start anew in every stratum.
    lonely_psu, replicates, calibration
        See `SurveyDesign`.

    Returns
    -------
    SurveyDesign
        Checked.

    Raises
    ------
    TableProblem
        If weights are missing, negative or all zero, a stratum or unit is missing, a unit lies in several strata and
        `nest` is not set, a population is smaller than its sample or not the same within a stratum.
    JobProblem
        If there are more strata or populations than stages, or a later stage's population without the earlier one's.

    Notes
    -----
    A stage after the first adds to a variance only if the stages before it have finite populations, as in R's
    ``survey`` (Lumley 2004): with replacement, the first stage holds all the variance (Wolter 2007, ch. 2).
    """
    weights = np.asarray(weights, dtype=np.float64)
    check_weights(weights)
    n = len(weights)
    depth = max(len(psu), 1)
    if len(strata) > depth or len(fpc) > depth:
        raise JobProblem(
            f"There are {len(psu)} stages of sampling units, but {len(strata)} of strata and {len(fpc)} of finite "
            "populations. Name a unit for each stage."
        )
    parent = np.zeros(n, dtype=np.int64)
    stages: list[Stage] = []
    for at in range(depth):
        if at > 0 and len(fpc) < at:
            break  # with replacement at the stage before: what follows adds nothing
        stage = _stage(
            parent,
            strata[at] if at < len(strata) else None,
            psu[at] if at < len(psu) else None,
            fpc[at] if at < len(fpc) else None,
            at + 1,
            nest or at > 0,
        )
        stages.append(stage)
        parent = stage.unit
    return SurveyDesign(weights, tuple(stages), lonely_psu, replicates, calibration)


def check_weights(weights: Vector) -> None:
    """Refuse weights that are no weights.

    Parameters
    ----------
    weights : ndarray, shape (n,)
        Sampling weights.

    Raises
    ------
    TableProblem
        If there are none, or some are missing or negative, or all are zero.
    """
    if len(weights) == 0:
        raise TableProblem("The survey table has no rows.")
    missing = np.flatnonzero(~np.isfinite(weights)) + 1
    if len(missing):
        raise TableProblem(
            f"{len(missing)} rows have no weight: rows {named(missing.tolist())}. Give each respondent a weight, or "
            "leave such rows out of the table yourself."
        )
    negative = np.flatnonzero(weights < 0.0) + 1
    if len(negative):
        raise TableProblem(
            f"{len(negative)} rows have a negative weight: rows {named(negative.tolist())}. Weights are zero or more; "
            "calibrate them again with bounds."
        )
    if not (weights > 0.0).any():
        raise TableProblem("All weights are zero. Choose the field with the sampling weights.")


def _stage(
    parent: Codes,
    strata: Sequence[object] | NDArray | None,
    units: Sequence[object] | NDArray | None,
    fpc: Vector | None,
    number: int,
    nest: bool,
) -> Stage:
    """Give numbers to the strata and units of one stage, within the units of the stage before."""
    n = len(parent)
    own, names = _coded(strata, f"stratum of stage {number}") if strata is not None else (np.zeros(n, np.int64), ("",))
    stratum, first_row = _crossed(parent, own)
    labels = tuple(_label(names[own[row]], parent[row], number) for row in first_row.tolist())
    if units is None:
        unit, unit_row = np.arange(n, dtype=np.int64), np.arange(n, dtype=np.int64)
    else:
        code, unit_names = _coded(units, f"sampling unit of stage {number}")
        unit, unit_row = _crossed(stratum, code)
        if not nest:
            _check_split(code[unit_row], unit_names)
    of_unit = stratum[unit_row]
    size = np.bincount(of_unit, minlength=len(first_row))
    population = np.full(len(first_row), np.inf) if fpc is None else _populations(fpc, stratum, size, labels, number)
    return Stage(unit, of_unit, parent[first_row], labels, size, population)


def _label(name: str, parent: int, number: int) -> str:
    """Call a stratum by its name, and by its parent where it has one."""
    within = f"unit {parent + 1} of stage {number - 1}" if number > 1 else ""
    return " in ".join(part for part in (name, within) if part) or "the whole sample"


def _coded(column: Sequence[object] | NDArray, what: str) -> tuple[Codes, tuple[str, ...]]:
    """Give numbers to the values of a column in their order."""
    import pandas as pd

    # A list of texts with a gap must not become an array in which 'nan' is a text.
    array = column if isinstance(column, np.ndarray) else np.asarray(column, dtype=object)
    codes, values = pd.factorize(array, sort=False)
    missing = np.flatnonzero(codes < 0) + 1
    if len(missing):
        raise TableProblem(
            f"{len(missing)} rows have no {what}: rows {named(missing.tolist())}. Every respondent belongs to one, "
            "also those without an area."
        )
    return codes.astype(np.int64), tuple(str(value) for value in values)


def _crossed(outer: Codes, inner: Codes) -> tuple[Codes, Codes]:
    """Give numbers to the combinations of two codes; return the number of each row and the first row of each number."""
    key = outer * (int(inner.max()) + 1) + inner
    _, first, codes = np.unique(key, return_index=True, return_inverse=True)
    return codes.astype(np.int64), first.astype(np.int64)


def _check_split(code: Codes, names: tuple[str, ...]) -> None:
    """Refuse units that occur in several strata."""
    split = np.flatnonzero(np.bincount(code, minlength=len(names)) > 1)
    if len(split):
        raise TableProblem(
            f"{len(split)} sampling units occur in more than one stratum: {named([names[i] for i in split.tolist()])}. "
            "If their labels start anew in every stratum, say so with 'nest'; otherwise correct the table."
        )


def _populations(fpc: Vector, stratum: Codes, size: Codes, labels: tuple[str, ...], number: int) -> Vector:
    """Return the number of units in the population of each stratum."""
    values = np.asarray(fpc, dtype=np.float64)
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0.0))) + 1
    if len(bad):
        raise TableProblem(
            f"{len(bad)} rows have no positive finite population of stage {number}: rows {named(bad.tolist())}."
        )
    low, high = np.full(len(size), np.inf), np.zeros(len(size))
    np.minimum.at(low, stratum, values)
    np.maximum.at(high, stratum, values)
    varying = np.flatnonzero(high - low > 1e-9 * high)
    if len(varying):
        raise TableProblem(
            f"The finite population of stage {number} differs within {len(varying)} strata: "
            f"{named([labels[i] for i in varying.tolist()])}. It is the number of units in the stratum, the same for "
            "all its rows."
        )
    population = size / high if values.max() <= 1.0 else high
    small = np.flatnonzero(population < size * (1.0 - 1e-9))
    if len(small):
        examples = [f"{labels[i]} ({size[i]} of {population[i]:g})" for i in small.tolist()]
        raise TableProblem(
            f"{len(small)} strata of stage {number} have more sampled units than their population: {named(examples)}. "
            "Check the field, or whether rows are repeated."
        )
    return np.maximum(population, size)
