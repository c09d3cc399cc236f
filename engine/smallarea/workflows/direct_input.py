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

from smallarea.errors import TableProblem, named
from smallarea.io import check_field, numeric_column
from smallarea.io.survey_table import SurveyTable, read_survey
from smallarea.survey.calibration import Calibration, CalibrationSpecification, calibration_matrix
from smallarea.survey.calibration_totals import read_specification
from smallarea.survey.design import SurveyDesign, check_weights, survey_design
from smallarea.survey.indicators import Indicator
from smallarea.survey.replication import ReplicateWeights, replicate_weights

if TYPE_CHECKING:
    import geopandas as gpd

PathLike = str | os.PathLike[str]
Vector = NDArray[np.float64]

# Raking may stop a little short of its totals.
_NOT_MET = 0.01


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
    imputation_field: str | None = None

    def of_survey(self, calibrated_by: Sequence[str]) -> list[str]:
        """Return the fields to read, each once."""
        single = (self.group_field, self.weight, self.design_weight, self.imputation_field)
        fields = [*(f for f in single if f), *self.strata, *self.psu, *self.fpc, *self.replicate_weights]
        fields += [field for indicator in self.indicators for field in indicator.fields]
        return list(dict.fromkeys([*fields, *calibrated_by]))


def read_respondents(
    table: PathLike | pd.DataFrame,
    layer: str | None,
    fields: Fields,
    categories: Sequence[str],
    auxiliaries: Sequence[str],
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
    categories, auxiliaries : sequence of str
        Fields of the calibration; categories are read as text, with the zeros in front that the totals have.
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
    wanted: list[str] | None = fields.of_survey([*categories, *auxiliaries])
    if population_in_table and fields.population_field:
        wanted = [*(wanted or []), fields.population_field]
    if any("*" in name for name in fields.replicate_weights):
        wanted = None
    text = [fields.area_field, *([fields.group_field] if fields.group_field else []), *categories]
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
    frame = survey.frame
    numbers = [*(f for f in (fields.weight, fields.design_weight) if f), *fields.fpc]
    missing = {name: np.isnan(numeric_column(frame, name)) for name in numbers}
    missing |= {name: frame[name].isna().to_numpy() for name in (*fields.strata, *fields.psu)}
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
    for name in (fields.weight, fields.design_weight):
        if name is not None:
            check_weights(np.where(keep, numeric_column(frame, name), 0.0))
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
    calibration = None
    if totals is not None and fields.design_weight is not None:
        calibration = _calibration(frame, fields.design_weight, weights, totals, options)
    return survey_design(
        weights,
        strata=[frame[name].to_numpy() for name in fields.strata],
        psu=[frame[name].to_numpy() for name in fields.psu],
        fpc=[numeric_column(frame, name) for name in fields.fpc],
        nest=options["nest"],
        lonely_psu=options["lonely_psu"],
        replicates=replicates,
        calibration=calibration,
    )


def replicate_fields(frame: pd.DataFrame, fields: Fields) -> list[str]:
    """Return the fields with replicate weights, ``*`` standing for any letters.

    Parameters
    ----------
    frame : pandas.DataFrame
        The survey.
    fields : Fields
        What is used.

    Returns
    -------
    list of str
        Each once.

    Raises
    ------
    TableProblem
        If no field fits a name.
    """
    names = [str(column) for column in frame.columns]
    chosen: list[str] = []
    for pattern in fields.replicate_weights:
        found = [pattern]
        if "*" in pattern:
            # The American Community Survey calls them PWGTP1, PWGTP2, ... and the sampling weight PWGTP.
            others = [name for name in names if name not in (fields.weight, fields.design_weight)]
            found = [name for name in others if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            raise TableProblem(f"No field of the survey matches {pattern!r} (replicate_weights).")
        chosen += [name for name in found if name not in chosen]
    return chosen


def _replicates(frame: pd.DataFrame, fields: Fields, weights: Vector, options: Mapping[str, Any]) -> ReplicateWeights:
    columns = np.column_stack([numeric_column(frame, name) for name in replicate_fields(frame, fields)])
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
    frame: pd.DataFrame, design_weight: str, weights: Vector, totals: pd.DataFrame, options: Mapping[str, Any]
) -> Calibration:
    method = options["calibration_method"]
    specification = read_specification(totals, method, options["total_field"], list(options["auxiliaries"]))
    matrix = calibration_matrix(frame, specification)
    _check_calibrated(weights, matrix, specification)
    base = numeric_column(frame, design_weight)
    lost = np.flatnonzero((base <= 0.0) & (weights > 0.0)) + 1
    if len(lost):
        raise TableProblem(
            f"{len(lost)} rows have a weight, but none before calibration ({design_weight!r}): rows "
            f"{named(lost.tolist())}. Calibration multiplies weights, so one of the two fields is wrong."
        )
    return Calibration(method, matrix, base, weights)


def _check_calibrated(weights: Vector, matrix: Vector, specification: CalibrationSpecification) -> None:
    """Refuse weights that do not add up to the totals: the variance takes what was calibrated to for known."""
    wanted = specification.totals
    gap = np.abs(weights @ matrix - wanted) / np.maximum(np.abs(wanted), np.finfo(float).tiny)
    off = np.flatnonzero(gap > _NOT_MET)
    if len(off):
        raise TableProblem(
            f"The weights miss {len(off)} of {len(wanted)} totals by more than {_NOT_MET:.0%}, at most by "
            f"{gap.max():.2g} of the total. So they were not calibrated to these totals, or rows are missing that "
            "were. Give the totals and all rows of the calibration, or leave out totals and design_weight."
        )


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
