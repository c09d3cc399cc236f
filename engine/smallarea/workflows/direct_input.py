"""Reading what direct estimates need: respondents, their areas, their design, what is asked of them."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from smallarea.errors import JobProblem, TableProblem, named
from smallarea.io import check_field, numeric_column
from smallarea.io.survey_table import SurveyTable, read_survey
from smallarea.survey.calibration import Calibration, calibration_matrix
from smallarea.survey.calibration_totals import category_fields, read_specification
from smallarea.survey.design import SurveyDesign, check_weights, survey_design
from smallarea.survey.estimators import Variable
from smallarea.survey.indicators import Indicator
from smallarea.survey.replication import ReplicateWeights, replicate_weights

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]

_COMPARISONS = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


@dataclass(frozen=True)
class Fields:
    """Which fields of the survey are used, and how the design is to be read; the names are those of the job."""

    area_field: str
    indicators: tuple[Indicator, ...]
    group_field: str | None
    weight: str | None
    strata: tuple[str, ...]
    psu: tuple[str, ...]
    fpc: tuple[str, ...]
    replicate_weights: tuple[str, ...]
    design_weight: str | None
    population_field: str | None

    def of_survey(self, calibrated_by: Sequence[str]) -> list[str]:
        """Return the fields to read, each once."""
        single = (self.group_field, self.weight, self.design_weight)
        fields = [*(f for f in single if f), *self.strata, *self.psu, *self.fpc, *self.replicate_weights]
        fields += [field for indicator in self.indicators for field in indicator.fields]
        return list(dict.fromkeys([*fields, *calibrated_by]))


def read_respondents(
    table: PathLike | pd.DataFrame,
    layer: str | None,
    fields: Fields,
    calibrated_by: Sequence[str],
    population_in_table: bool,
    reading: Mapping[str, Any],
) -> SurveyTable:
    """Read the fields of the survey that are used.

    Parameters
    ----------
    table : path or DataFrame
        The survey.
    layer : str or None
        Layer or sheet.
    fields : Fields
        What is used.
    calibrated_by : sequence of str
        Fields of the calibration.
    population_in_table : bool
        The known sizes of areas are a field of the survey.
    reading : mapping
        Further arguments of `read_survey`.

    Returns
    -------
    SurveyTable
        All rows.

    Raises
    ------
    TableProblem
        If the table cannot be used or lacks a field.
    """
    wanted: list[str] | None = fields.of_survey(calibrated_by)
    if population_in_table and fields.population_field:
        wanted = [*(wanted or []), fields.population_field]
    if any("*" in name for name in fields.replicate_weights):
        wanted = None
    text = [fields.area_field, *([fields.group_field] if fields.group_field else [])]
    return read_survey(table, layer, columns=wanted, text_columns=text, **reading)


def complete_rows(survey: SurveyTable, fields: Fields, missing_design: str) -> NDArray[np.bool_]:
    """Return which rows say everything about their place in the design.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    fields : Fields
        What is used.
    missing_design : {'error', 'drop'}
        What to do with the others.

    Returns
    -------
    ndarray of bool, shape (n,)
        Rows to keep.

    Raises
    ------
    TableProblem
        If rows lack a weight, stratum, sampling unit or finite population and must not be dropped; or no row is left,
        or a weight is negative.
    """
    named_fields = [*(f for f in (fields.weight, fields.design_weight) if f), *fields.strata, *fields.psu, *fields.fpc]
    frame = survey.frame
    missing = {name: frame[name].isna().to_numpy() for name in named_fields}
    keep = ~np.logical_or.reduce([np.zeros(len(frame), dtype=bool), *missing.values()])
    if not keep.all() and missing_design == "error":
        rows = (np.flatnonzero(~keep) + 1).tolist()
        where = ", ".join(f"{name!r} in {int(gaps.sum())}" for name, gaps in missing.items() if gaps.any())
        raise TableProblem(
            f"{len(rows)} rows do not say their place in the sampling design: rows {named(rows)} ({where}). Complete "
            "them, or set missing_design to 'drop' to leave them out of the survey."
        )
    if not keep.any():
        raise TableProblem("No row of the survey says its place in the sampling design.")
    if fields.weight is not None:
        weights = numeric_column(frame, fields.weight)
        check_weights(np.where(keep, weights, 0.0))
    return keep


def read_design(
    survey: SurveyTable, fields: Fields, options: Mapping[str, Any], totals: pd.DataFrame | None
) -> SurveyDesign:
    """Make the sampling design of the survey's fields.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    fields : Fields
        What is used.
    options : mapping
        ``nest``, ``lonely_psu``, ``replicate_*``, ``fay_rho``, ``total_field``, ``auxiliaries``,
        ``calibration_method`` as in the job.
    totals : pandas.DataFrame or None
        Known totals that the weights were calibrated to.

    Returns
    -------
    SurveyDesign
        Checked.

    Raises
    ------
    TableProblem, JobProblem
        As `survey_design` and `replicate_weights` do.
    """
    frame = survey.frame
    weights = np.ones(len(frame)) if fields.weight is None else numeric_column(frame, fields.weight)
    replicates = _replicates(frame, fields, weights, options) if fields.replicate_weights else None
    return survey_design(
        weights,
        strata=[frame[name].to_numpy() for name in fields.strata],
        psu=[frame[name].to_numpy() for name in fields.psu],
        fpc=[numeric_column(frame, name) for name in fields.fpc],
        nest=options["nest"],
        lonely_psu=options["lonely_psu"],
        replicates=replicates,
        calibration=None if totals is None else _calibration(frame, fields, weights, totals, options),
    )


def _replicates(frame: pd.DataFrame, fields: Fields, weights: Vector, options: Mapping[str, Any]) -> ReplicateWeights:
    names = [str(column) for column in frame.columns]
    chosen: list[str] = []
    for pattern in fields.replicate_weights:
        found = [name for name in names if fnmatch.fnmatchcase(name, pattern)] if "*" in pattern else [pattern]
        if not found:
            raise TableProblem(f"No field of the survey matches {pattern!r} (replicate_weights).")
        chosen += [name for name in found if name not in chosen]
    columns = np.column_stack([numeric_column(frame, name) for name in chosen])
    rscales = options["replicate_rscales"]
    return replicate_weights(
        columns,
        options["replicate_method"],
        base=weights,
        combined=options["replicate_combined"],
        fay_rho=options["fay_rho"],
        scale=options["replicate_scale"],
        rscales=np.asarray(rscales, dtype=np.float64) if len(rscales) else None,
        mse=options["replicate_mse"],
    )


def _calibration(
    frame: pd.DataFrame, fields: Fields, weights: Vector, totals: pd.DataFrame, options: Mapping[str, Any]
) -> Calibration:
    if fields.design_weight is None or fields.weight is None:
        raise JobProblem(
            "The variance of calibrated estimates needs both weights: 'weight' with the calibrated ones and "
            "'design_weight' with those before."
        )
    method = options["calibration_method"]
    specification = read_specification(totals, method, options["total_field"], list(options["auxiliaries"]))
    base = numeric_column(frame, fields.design_weight)
    return Calibration(method, calibration_matrix(frame, specification), base, weights)


def calibration_fields(totals: pd.DataFrame | None, total_field: str, auxiliaries: Sequence[str]) -> list[str]:
    """Return the fields of the survey that the totals are of."""
    if totals is None:
        return []
    return [*category_fields(totals, total_field, list(auxiliaries)), *auxiliaries]


def make_variables(survey: SurveyTable, fields: Fields) -> tuple[Variable, ...]:
    """Turn indicators into numbers, one for each group if there are groups.

    Parameters
    ----------
    survey : SurveyTable
        The respondents.
    fields : Fields
        Indicators and groups.

    Returns
    -------
    tuple of Variable
        Indicator by indicator; with groups the names are ``INDICATOR_GROUP``.

    Raises
    ------
    TableProblem
        If a field is not numeric where it has to be, a proportion's field is neither 0 nor 1, or nobody fulfils a
        condition.
    """
    single = tuple(_variable(survey, indicator) for indicator in fields.indicators)
    if fields.group_field is None:
        return single
    groups = np.asarray(survey.texts(fields.group_field), dtype=object)
    levels = sorted({group for group in groups if group is not None})
    if not levels:
        raise TableProblem(f"Field {fields.group_field!r} has no values, so there are no groups.")
    return tuple(
        Variable(
            f"{one.name}_{_safe(level)}", one.statistic, one.y, one.x, one.probability, np.asarray(groups == level)
        )
        for one in single
        for level in levels
    )


def _safe(text: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in text)


def _variable(survey: SurveyTable, indicator: Indicator) -> Variable:
    frame = survey.frame
    if not indicator.fields:
        return Variable(indicator.name, indicator.statistic, np.ones(len(frame)))
    if indicator.operator:
        return Variable(indicator.name, indicator.statistic, _fulfilled(survey, indicator))
    y = numeric_column(frame, indicator.fields[0])
    if indicator.statistic == "proportion":
        other = np.flatnonzero(np.isfinite(y) & (y != 0.0) & (y != 1.0)) + 1
        if len(other):
            raise TableProblem(
                f"Field {indicator.fields[0]!r} is neither 0 nor 1 in {len(other)} rows: rows {named(other.tolist())}. "
                f"Say what counts, for example proportion({indicator.fields[0]} = 1)."
            )
    x = numeric_column(frame, indicator.fields[1]) if len(indicator.fields) > 1 else None
    return Variable(indicator.name, indicator.statistic, y, x, indicator.probability)


def _fulfilled(survey: SurveyTable, indicator: Indicator) -> Vector:
    """Return 1 where the condition holds, 0 where not, NaN where the field is missing."""
    field = indicator.fields[0]
    if indicator.operator in _COMPARISONS:
        try:
            limit = float(indicator.value)
        except ValueError:
            raise JobProblem(f"The indicator '{indicator}' compares with {indicator.value!r}, no number.") from None
        y = numeric_column(survey.frame, field)
        return np.where(np.isfinite(y), _COMPARISONS[indicator.operator](y, limit), np.nan)
    texts = survey.texts(field)
    codes, uniques = pd.factorize(np.asarray(texts, dtype=object))
    same = _same_value([str(one) for one in uniques], indicator.value)
    if not same.any() and survey.labels.get(field):
        labels = survey.label_texts(field)
        same = np.array([labels.get(str(one)) == indicator.value for one in uniques], dtype=bool)
    if not same.any():
        raise TableProblem(
            f"No row has {field} = {indicator.value!r}. The field holds {named([str(one) for one in uniques], 8)}."
        )
    holds = np.append(same if indicator.operator == "==" else ~same, False)[codes]
    return np.where(codes >= 0, holds, np.nan)


def _same_value(values: Sequence[str], wanted: str) -> NDArray[np.bool_]:
    """Compare as text, and as numbers where both are."""
    try:
        number = float(wanted)
    except ValueError:
        return np.array([one == wanted for one in values], dtype=bool)
    return np.array([one == wanted or _number(one) == number for one in values], dtype=bool)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def known_populations(
    areas: gpd.GeoDataFrame | None,
    survey: SurveyTable,
    domain: NDArray[np.int64],
    ids: Sequence[str],
    field: str,
) -> Vector:
    """Return the known number of units in every area.

    Parameters
    ----------
    areas : GeoDataFrame or None
        Polygons in the order of `ids`; if None the field is one of the survey, the same in all rows of an area.
    survey : SurveyTable
        The respondents.
    domain : ndarray of int, shape (n,)
        Their areas.
    ids : sequence of str, length D
        Area ids.
    field : str
        The field.

    Returns
    -------
    ndarray, shape (D,)
        NaN where unknown and nobody was asked.

    Raises
    ------
    TableProblem
        If it is missing or not positive for an area with respondents, or differs between rows of an area.
    """
    if areas is not None:
        check_field(areas, field, "the polygons")
        sizes = numeric_column(pd.DataFrame(areas), field, ids)
    else:
        values = numeric_column(survey.frame, field)
        inside = domain >= 0
        low, high = np.full(len(ids), np.inf), np.full(len(ids), -np.inf)
        np.fmin.at(low, domain[inside], values[inside])
        np.fmax.at(high, domain[inside], values[inside])
        varying = np.flatnonzero(high > low)
        if len(varying):
            raise TableProblem(
                f"The known size {field!r} differs within {len(varying)} areas: "
                f"{named([ids[i] for i in varying.tolist()])}. It is one number an area."
            )
        sizes = np.where(np.isfinite(low), low, np.nan)
    asked = np.bincount(domain[domain >= 0], minlength=len(ids)) > 0
    bad = np.flatnonzero(asked & ~(sizes > 0.0))
    if len(bad):
        raise TableProblem(
            f"{len(bad)} areas with respondents have no positive known size {field!r}: "
            f"{named([ids[i] for i in bad.tolist()])}."
        )
    return sizes
